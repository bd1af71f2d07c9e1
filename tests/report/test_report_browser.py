"""The page and the viewer in a real browser: what a person would see and do."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from browser import NEUROGLANCER_READY, Browser
from ome_pair import BARS, SHAPE, VOXEL_NM, write_pair
from PIL import Image
from report_example import block_table
from test_report_page import HOSTILE, hostile_content

from isofield.report.content import ReportContent
from isofield.report.neuroglancer import BASE, viewer_state
from isofield.report.page import build_page
from isofield.report.server import FolderServer, serve

pytestmark = pytest.mark.browser
SWIPE_AT = "return getComputedStyle(document.getElementById('swipe')).getPropertyValue('--at')"


def put(folder: Path, html: str) -> Path:
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "index.html").write_text(html, "utf-8")
    return folder


def shown(browser: Browser, selector: str) -> np.ndarray:
    """Pixels (rows, columns, 3) of one element as drawn now."""
    browser.run(
        "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})",
        selector,
    )
    box = browser.run(
        "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [r.left, r.top, r.right, r.bottom].map(Math.round)",
        selector,
    )
    return np.asarray(Image.open(BytesIO(browser.picture())).convert("RGB").crop(box))


@pytest.fixture(scope="module")
def page(chromium: type[Browser], content: ReportContent, tmp_path_factory: pytest.TempPathFactory):
    """The example's report, open in a window of a laptop's size."""
    pictured = replace(content, blocks=block_table((64, 96, 128), 32))
    folder = put(tmp_path_factory.mktemp("run"), build_page(pictured))
    with serve(folder) as server, chromium(1280, 800) as browser:
        browser.open(f"{server.address}/report/")
        yield browser


def test_page_opens_without_a_console_message(page: Browser) -> None:
    assert page.console() == []
    page.run("console.error('planted')")
    assert len(page.console()) == 1, "the check above would not see an error"


def test_page_fits_a_laptop(page: Browser) -> None:
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")


def test_swipe_moves_with_the_keys_and_uncovers_the_other_picture(page: Browser) -> None:
    def slide(to: int) -> np.ndarray:
        page.run(
            "const r = document.getElementById('swipe-range'); r.value = arguments[0];r.dispatchEvent(new Event('input'))",
            to,
        )
        # The tags and the scale bar lie on both pictures; the middle rows show pictures and the line alone.
        image = shown(page, "#swipe").astype(int)
        return image[len(image) // 4 : len(image) // 3]

    left, middle, right = slide(100), slide(50), slide(0)
    assert np.abs(left - right).mean() > 5, "both sides show the same picture"
    half = left.shape[1] // 2
    assert np.array_equal(middle[:, : half - 20], left[:, : half - 20])
    assert np.array_equal(middle[:, half + 20 :], right[:, half + 20 :])

    slide(50)
    page.driver.find_element("id", "swipe-range").send_keys("\ue012" * 10)  # arrow left
    assert page.run(SWIPE_AT) == "45%"


def test_swipe_moves_with_the_mouse(page: Browser) -> None:
    from selenium.webdriver import ActionChains

    handle = page.driver.find_element("id", "swipe-range")
    page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", handle)
    width = handle.size["width"]
    chain = ActionChains(page.driver).move_to_element(handle).click_and_hold()
    chain.move_by_offset(int(0.3 * width), 0).release().perform()
    assert 70 < float(str(page.run(SWIPE_AT)).rstrip("%")) < 90


def test_plane_and_slice_choice_change_the_picture(page: Browser) -> None:
    source = "return document.getElementById('swipe-right').src"
    seen = [page.run(source)]
    for selector in ("#plane-choice input[value='XY']", "#slice-choice input[value='0']"):
        page.run("document.querySelector(arguments[0]).click()", selector)
        seen.append(page.run(source))
    assert len(set(seen)) == 3
    visible = "return [...document.querySelectorAll('.slice')].filter((s) => !s.hidden).map((s) => s.dataset.plane)"
    assert page.run(visible) == ["XY"]
    page.run("const s = document.getElementById('right-choice'); s.value = 'truth'; s.dispatchEvent(new Event('change'))")
    assert page.run("return document.getElementById('tag-right').textContent") == "truth"


def test_block_map_shows_the_clicked_block_and_sorts_by_the_chosen_metric(page: Browser) -> None:
    title = "return document.querySelector('#map-detail h3').textContent"
    assert page.run(title) == "Block 0000-0000-0001", "the worst block, which failed, is shown first"
    page.run("document.getElementById('map-grid').scrollIntoView({block: 'center', behavior: 'instant'})")
    page.driver.find_element("css selector", "#map-grid rect[data-block='0000-0002-0003']").click()
    assert page.run(title) == "Block 0000-0002-0003"
    assert page.run("return document.querySelectorAll('#map-grid rect[aria-pressed=true]').length") == 1

    def column(metric: str) -> list[float]:
        page.run(
            "const s = document.getElementById('metric-choice'); s.value = arguments[0];s.dispatchEvent(new Event('change'))",
            metric,
        )
        cells = page.run(
            "const n = [...document.querySelectorAll('#worst thead th')].findIndex((t) => "
            "t.textContent.startsWith(arguments[0])); return [...document.querySelectorAll('#worst tbody "
            "tr')].map((r) => r.cells[n].textContent)",
            {"psnr_db": "PSNR", "residual_rms": "Measurement residual"}[metric],
        )
        return [float(cell) for cell in cells if cell != "–"]

    assert column("residual_rms") == sorted(column("residual_rms"), reverse=True)
    assert column("psnr_db") == sorted(column("psnr_db"))
    assert len(column("psnr_db")) > 5


def test_block_map_is_walked_with_the_keys(page: Browser) -> None:
    page.run("document.querySelector('#map-grid rect[tabindex=\"0\"]').focus()")
    page.driver.switch_to.active_element.send_keys("\ue014")  # arrow right
    page.driver.switch_to.active_element.send_keys("\ue015")  # arrow down
    page.driver.switch_to.active_element.send_keys("\ue007")  # enter
    assert page.run("return document.querySelector('#map-detail h3').textContent") == "Block 0000-0001-0001"


def test_dark_mode_is_dark(chromium: type[Browser], content: ReportContent, tmp_path: Path) -> None:
    light_dark = []
    for dark in (False, True):
        with serve(put(tmp_path, build_page(content))) as server, chromium(1000, 700, dark=dark) as browser:
            browser.open(f"{server.address}/report/")
            light_dark.append(np.asarray(Image.open(BytesIO(browser.picture())).convert("L")).mean())
            assert browser.console() == []
    assert light_dark[0] > 200
    assert light_dark[1] < 60


def test_hostile_content_runs_nothing(chromium: type[Browser], content: ReportContent, tmp_path: Path) -> None:
    raises_flag = HOSTILE.replace("alert(1)", "window.hit=1").replace("alert(2)", "window.hit=2")
    bare = f"<!doctype html><body>{raises_flag}</body>"
    with chromium() as browser:
        for html, hit in ((build_page(hostile_content(content)), False), (bare, True)):
            with serve(put(tmp_path, html)) as server:
                browser.open(f"{server.address}/report/")
                if hit:
                    assert browser.run("return window.hit") in (1, 2), "the payload itself does not work"
                else:
                    assert browser.console() == []
                    assert HOSTILE in str(browser.run("return document.querySelector('h1').textContent"))
                    assert HOSTILE in str(browser.run("return document.getElementById('map-detail').textContent"))


def panels(browser: Browser, server: FolderServer) -> list[np.ndarray]:
    """Grey levels of the measured and of the isotropic panel, without their controls and scale bars."""
    state = viewer_state(
        f"{BASE}/measured.ome.zarr",
        f"{BASE}/isotropic.ome.zarr",
        VOXEL_NM,
        SHAPE,
        position_nm=[VOXEL_NM * side / 2 for side in SHAPE],
        windows={"measured": (0, 255), "isotropic": (0, 255)},
    )
    browser.open("about:blank")
    browser.open(server.neuroglancer_link(state), NEUROGLANCER_READY)
    boxes = browser.run(
        "return [...document.querySelectorAll('.neuroglancer-rendered-data-panel')].map((e) => {"
        "const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom].map(Math.round)})"
    )
    picture = Image.open(BytesIO(browser.picture())).convert("L")
    margin = 80
    return [np.asarray(picture.crop((x0, y0 + margin, x1, y1 - margin))) for x0, y0, x1, y1 in boxes]


def bright_box(panel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centroid and extent (first row and column, last row and column) of bright pixels, from the centre."""
    rows, columns = np.nonzero(panel > 200)
    assert len(rows) > 1000, "nothing bright is drawn"
    centre = (np.array(panel.shape) - 1) / 2
    corners = [
        rows.min() - centre[0],
        columns.min() - centre[1],
        rows.max() - centre[0],
        columns.max() - centre[1],
    ]
    return np.array([rows.mean(), columns.mean()]) - centre, np.array(corners)


def test_neuroglancer_draws_both_volumes_at_the_same_place(chromium: type[Browser], tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    write_pair(right)
    write_pair(wrong, measured_shift_nm=64.0)
    with chromium(1400, 800) as browser:
        with serve(right) as server:
            measured, isotropic = panels(browser, server)
            assert browser.console() == []
        with serve(wrong) as server:
            misplaced, _ = panels(browser, server)
    for panel in (measured, isotropic):
        assert {60, 240} <= set(np.unique(panel)), "sections or structure are not drawn"
    (place_m, box_m), (place_i, box_i) = bright_box(measured), bright_box(isotropic)
    assert np.abs(place_m - place_i).max() < 1
    assert np.abs(box_m - box_i).max() <= 1

    # Where it should be: 640 pixels show the 96 voxels of x, around the centre of the volume.
    pixels_per_vox = 640 / SHAPE[2]
    z = (min(b[0][0] for b in BARS), max(b[0][1] for b in BARS))
    x = (min(b[1][0] for b in BARS), max(b[1][1] for b in BARS))
    expected = np.array([z[0] - SHAPE[0] / 2, x[0] - SHAPE[2] / 2, z[1] - SHAPE[0] / 2, x[1] - SHAPE[2] / 2])
    assert np.abs(box_i - expected * pixels_per_vox).max() < 3
    # The long bar is at the top and the short one on the left: neither axis is flipped.
    assert place_i[0] < (box_i[0] + box_i[2]) / 2
    assert place_i[1] < (box_i[1] + box_i[3]) / 2

    shifted = bright_box(misplaced)[0] - place_i
    assert shifted[0] == pytest.approx(8 * pixels_per_vox, abs=2), "a volume one section off would not be noticed"
