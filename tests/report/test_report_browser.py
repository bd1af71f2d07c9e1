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
from test_report_safety import HOSTILE, hostile_content

from isofield.report.content import ReportContent
from isofield.report.neuroglancer import BASE, viewer_state
from isofield.report.page import build_page
from isofield.report.server import FolderServer, serve

pytestmark = pytest.mark.browser


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


def test_plane_and_slice_choice_change_the_picture(page: Browser) -> None:
    shown_slices = (
        "return [...document.querySelectorAll('.slice')].filter((s) => !s.hidden).map((s) => s.getAttribute('aria-label'))"
    )
    seen = [page.run(shown_slices)]
    for selector in ("#plane-choice input[value='XY']", "#slice-choice input[value='0']"):
        page.run("document.querySelector(arguments[0]).click()", selector)
        seen.append(page.run(shown_slices))
    assert [len(labels) for labels in seen] == [1, 1, 1]
    assert [labels[0].split(" at ")[0] for labels in seen] == ["ZX plane", "XY plane", "XY plane"]
    assert len({labels[0] for labels in seen}) == 3


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
    """Colours of the measured, the isotropic and the error panel."""
    state = viewer_state(
        f"{BASE}/measured.ome.zarr",
        f"{BASE}/isotropic.ome.zarr",
        VOXEL_NM,
        SHAPE,
        position_nm=[VOXEL_NM * side / 2 for side in SHAPE],
        windows={"measured": (0, 255), "isotropic": (0, 255)},
        maps={"error": (f"{BASE}/error.ome.zarr", 100)},
    )
    browser.open("about:blank")
    browser.open(server.neuroglancer_link(state), NEUROGLANCER_READY)
    boxes = browser.run(
        "return [...document.querySelectorAll('.neuroglancer-rendered-data-panel')].map((e) => {"
        "const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom].map(Math.round)})"
    )
    picture = Image.open(BytesIO(browser.picture())).convert("RGB")
    return [np.asarray(picture.crop(box)) for box in boxes]


def bright_box(panel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centroid and extent (first row and column, last row and column) of bright pixels, from the centre.

    Without the margins, where controls and scale bars are.
    """
    inner = panel[80:-80].min(axis=2)
    rows, columns = np.nonzero(inner > 200)
    assert len(rows) > 1000, "nothing bright is drawn"
    centre = (np.array(inner.shape) - 1) / 2
    corners = [rows.min() - centre[0], columns.min() - centre[1], rows.max() - centre[0], columns.max() - centre[1]]
    return np.array([rows.mean(), columns.mean()]) - centre, np.array(corners)


def scale_bar_px(panel: np.ndarray) -> int:
    """Length of the white bar at the lower left."""
    corner = panel[-60:, : panel.shape[1] // 2].min(axis=2) == 255
    return int(corner.sum(axis=1).max())


def is_round(nm: float) -> bool:
    """Whether a length is one that a scale bar may have, to a pixel in a hundred."""
    digits = nm / 10 ** np.floor(np.log10(nm))
    return min(abs(digits / round_one - 1) for round_one in (1, 1.5, 2, 3, 5, 7.5, 10)) < 0.015


def test_neuroglancer_draws_all_images_at_the_same_place_and_to_scale(chromium: type[Browser], tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    write_pair(right)
    write_pair(wrong, measured_shift_nm=64.0)
    with chromium(1400, 800) as browser:
        with serve(right) as server:
            measured, isotropic, error = panels(browser, server)
            assert browser.console() == []
        with serve(wrong) as server:
            misplaced, _, _ = panels(browser, server)
    for panel in (measured, isotropic):
        assert {60, 240} <= set(np.unique(panel[80:-80])), "sections or structure are not drawn"
    # The controls of a panel are as light as the object: where the images lie, nothing but them is drawn.
    (place_m, box_m), (place_i, box_i), (place_e, box_e) = bright_box(measured), bright_box(isotropic), bright_box(error)
    assert np.abs(place_m - place_i).max() < 1
    assert np.abs(box_m - box_i).max() <= 1
    assert np.abs(place_e - place_i).max() < 2
    assert np.abs(box_e - box_i).max() <= 2

    # Where it should be: a third of 1280 pixels shows the 96 voxels of x, around the centre of the volume.
    pixels_per_vox = 1280 / 3 / SHAPE[2]
    z = (min(b[0][0] for b in BARS), max(b[0][1] for b in BARS))
    x = (min(b[1][0] for b in BARS), max(b[1][1] for b in BARS))
    expected = np.array([z[0] - SHAPE[0] / 2, x[0] - SHAPE[2] / 2, z[1] - SHAPE[0] / 2, x[1] - SHAPE[2] / 2])
    assert np.abs(box_i - expected * pixels_per_vox).max() < 3
    # The long bar is at the top and the short one on the left: neither axis is flipped.
    assert place_i[0] < (box_i[0] + box_i[2]) / 2
    assert place_i[1] < (box_i[1] + box_i[3]) / 2

    # The object, whose size is known, is the ruler: the scale bar is as long as it says, a round length.
    nm_per_pixel = (x[1] - x[0]) * VOXEL_NM / (box_i[3] - box_i[1] + 1)
    for panel in (measured, isotropic, error):
        assert is_round(scale_bar_px(panel) * nm_per_pixel), scale_bar_px(panel) * nm_per_pixel
    assert not is_round(1.1 * scale_bar_px(isotropic) * nm_per_pixel), "a bar that is a tenth too long would not be noticed"

    shifted = bright_box(misplaced)[0] - place_i
    assert shifted[0] == pytest.approx(8 * pixels_per_vox, abs=2), "a volume one section off would not be noticed"
