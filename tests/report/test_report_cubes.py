"""Looking through the volume in a real browser: what is drawn is the volume, wherever one looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from report_example import FACTOR, block_table, cube, volumes

from isofield.report.content import ReportContent
from isofield.report.neuroglancer import BASE, viewer_state
from isofield.report.page import build_page
from isofield.report.server import serve

pytestmark = pytest.mark.browser
SHAPE = (48, 56, 64)
OFFSET = (8, 4, 12)
READY = "document.getElementById('cube-data').dataset.drawn"


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return volumes(SHAPE)


@pytest.fixture(scope="module")
def page(chromium: type[Browser], content: ReportContent, arrays, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A report with two cubes, of which the first is off the corner, served as `isofield view` does."""
    cubes = [cube(arrays, "first", OFFSET, 40), cube(arrays, "second", (0, 0, 32), 24)]
    state = viewer_state(f"{BASE}/measured.ome.zarr", f"{BASE}/isotropic.ome.zarr", 8.0, SHAPE)
    blocks = block_table(SHAPE, 32).assign(state="done", message="")
    shown = replace(content, cubes=cubes, window=(0.0, 255.0), blocks=blocks, viewer_state=state, origin_nm=(80.0, 16.0, 0.0))
    folder = tmp_path_factory.mktemp("run")
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text(build_page(shown), "utf-8")
    with serve(folder) as server, chromium(1280, 800) as browser:
        browser.open(f"{server.address}/report/", READY)
        yield browser
        assert browser.console() == []


def act(page: Browser, script: str, *arguments: object) -> None:
    """Run a script that changes what is shown, and wait until it is."""
    before = page.run(f"return Number({READY})")
    page.run(script, *arguments)
    for _ in range(500):
        if page.run(f"return Number({READY})") > before:
            return
        page.run("return 0")
    raise AssertionError("nothing was drawn")


def put(page: Browser, **values: object) -> None:
    """Set controls by their ids (dashes for underscores)."""
    for name, value in values.items():
        script = (
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'))"
        )
        act(page, script, name.replace("_", "-"), value)


def drawn(page: Browser, plane: str) -> np.ndarray:
    """Pixels (rows, columns, 3) of one panel."""
    script = (
        "const c = document.querySelector(`#panel-${arguments[0]} canvas`);"
        "return [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    rows, columns, data = page.run(script, plane)
    return np.array(data, np.uint8).reshape(rows, columns, 4)[..., :3]


def plane_of(volume: np.ndarray, plane: str, at: dict[str, int]) -> np.ndarray:
    """The same plane of an array over the whole volume, where the first cube is."""
    region = volume[tuple(slice(o, min(o + 40, n)) for o, n in zip(OFFSET, SHAPE, strict=True))]
    axis = ("XY", "ZX", "ZY").index(plane)
    return region.take(at["zyx"[axis]], axis)


@pytest.mark.parametrize("plane", ["XY", "ZX", "ZY"])
def test_each_plane_shows_measured_left_and_isotropic_right_of_the_line(page: Browser, arrays, plane: str) -> None:
    at = {"z": 17, "y": 5, "x": 30}
    put(page, place_choice=0, left_choice="measured", right_choice="isotropic")
    put(page, at_z=at["z"], at_y=at["y"], at_x=at["x"], swipe_range=25)
    shown, edge = drawn(page, plane), 10
    measured, isotropic = (plane_of(arrays[key], plane, at) for key in ("measured", "isotropic"))
    assert np.array_equal(shown[:, :edge, 0], measured[:, :edge])
    assert np.array_equal(shown[:, edge:, 0], isotropic[:, edge:])
    assert np.array_equal(shown[..., 0], shown[..., 1])
    assert not np.array_equal(shown[:, :edge, 0], isotropic[:, :edge]), "both sides would pass for the same"
    put(page, swipe_range=0)
    assert np.array_equal(drawn(page, plane)[..., 0], isotropic)
    put(page, swipe_range=100)
    assert np.array_equal(drawn(page, plane)[..., 0], measured)


def test_linear_interpolation_error_and_residual_are_what_their_names_say(page: Browser, arrays) -> None:
    at = {"z": 17, "y": 5, "x": 30}
    put(page, place_choice=0, at_z=at["z"], at_y=at["y"], at_x=at["x"], swipe_range=0, right_choice="linear")
    # The first and last half section have no neighbour in the cube; elsewhere it is the interpolation of the whole volume.
    expected = plane_of(arrays["linear"], "ZX", at).astype(int)
    inner = slice(FACTOR // 2, -FACTOR // 2)
    assert np.abs(drawn(page, "ZX")[inner, :, 0].astype(int) - expected[inner]).max() <= 1
    put(page, right_choice="error")
    shown = drawn(page, "ZX").astype(int)
    assert np.ptp(shown, axis=2).max() > 20, "a map is in colour"
    error = plane_of(arrays["error"], "ZX", at)
    assert np.corrcoef(shown.sum(axis=2).ravel(), error.ravel())[0, 1] > 0.9
    assert page.run("return document.getElementById('cube-scale').checkVisibility()")
    put(page, right_choice="residual")
    # One colour per section.
    sections = drawn(page, "ZX").reshape(-1, FACTOR, 40, 3)
    assert np.array_equal(sections, np.broadcast_to(sections[:, :1], sections.shape))
    put(page, right_choice="isotropic")
    assert not page.run("return document.getElementById('cube-scale').checkVisibility()")


def test_planes_are_linked_by_a_click(page: Browser, arrays) -> None:
    from selenium.webdriver import ActionChains

    put(page, place_choice=0, swipe_range=0, at_z=10, at_y=20, at_x=20)
    frame = page.driver.find_element("css selector", "#panel-XY .frame")
    page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", frame)
    size = frame.size
    offset = (int(0.7625 * size["width"] - size["width"] / 2), int(0.2625 * size["height"] - size["height"] / 2))
    before = page.run(f"return Number({READY})")
    ActionChains(page.driver).move_to_element_with_offset(frame, *offset).click().perform()
    assert page.run(f"return Number({READY})") >= before
    x, y = (int(page.run(f"return document.getElementById('at-{axis}').value")) for axis in "xy")
    assert abs(x - 30) <= 1
    assert abs(y - 10) <= 1
    put(page, at_z=10)
    assert np.array_equal(drawn(page, "ZX")[..., 0], plane_of(arrays["isotropic"], "ZX", {"y": y}))
    assert np.array_equal(drawn(page, "ZY")[..., 0], plane_of(arrays["isotropic"], "ZY", {"x": x}))
    assert page.run("return document.querySelector('#panel-ZX h3 span').textContent") == f"y = {OFFSET[1] + y}"


def test_the_line_is_dragged_with_the_mouse(page: Browser) -> None:
    from selenium.webdriver import ActionChains

    put(page, place_choice=0, swipe_range=50, at_x=3)
    frame = page.driver.find_element("css selector", "#panel-ZX .frame")
    page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", frame)
    chain = ActionChains(page.driver).move_to_element(frame).click_and_hold()
    chain.move_by_offset(int(0.3 * frame.size["width"]), 0).release().perform()
    assert 75 < float(page.run("return document.getElementById('swipe-range').value")) < 85
    assert page.run("return document.getElementById('at-x').value") == "3", "dragging the line moves the line alone"


def test_everything_is_reached_with_the_keys(page: Browser) -> None:
    put(page, place_choice=0, swipe_range=50, at_z=10)
    for element, key, expected in (("swipe-range", "\ue012", "45"), ("at-z", "\ue014", "20")):  # arrow left, arrow right
        page.driver.find_element("id", element).send_keys(key * 10)
        assert page.run(f"return document.getElementById('{element}').value") == expected
    assert page.run("return document.getElementById('at-z').getAttribute('aria-valuetext')") == f"z = {OFFSET[0] + 20}"


def test_a_block_of_the_map_is_shown_and_linked_to_the_viewer(page: Browser) -> None:
    page.run("const l = document.getElementById('layer-choice'); l.value = '0'; l.dispatchEvent(new Event('change'))")
    page.run("document.querySelector('#map-grid rect[data-block=\"0000-0000-0001\"]').dispatchEvent(new Event('click'))")
    act(page, "document.querySelector('#map-detail button').click()")
    assert page.run("return document.getElementById('place-choice').value") == "0"
    # The block from (0, 0, 32) of 32 x 32 x 32 has its middle at z 16, y 16, x 48.
    assert [int(page.run(f"return document.getElementById('at-{a}').value")) for a in "zyx"] == [8, 12, 36]
    link = page.run("return decodeURIComponent(document.querySelector('#map-detail a').href)")
    assert '"position":[48.5,18.5,26.5]' in link
    assert "127.0.0.1" in link
    assert BASE not in link


def test_opened_as_a_file_the_page_asks_for_nothing(chromium: type[Browser], content: ReportContent, tmp_path: Path) -> None:
    requested = "return performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith('data:'))"
    (tmp_path / "index.html").write_text(build_page(content), "utf-8")
    (tmp_path / "bare.html").write_text("<!doctype html><img src='http://127.0.0.1:9/x.png' alt=''>", "utf-8")
    with chromium() as browser:
        browser.open((tmp_path / "index.html").as_uri(), READY)
        assert browser.run(requested) == []
        assert browser.console() == []
        assert drawn(browser, "ZX").std() > 5, "nothing is drawn from a file"
        browser.open((tmp_path / "bare.html").as_uri())
        assert browser.run(requested) == ["http://127.0.0.1:9/x.png"], "a request would not be seen"
