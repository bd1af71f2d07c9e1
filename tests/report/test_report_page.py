"""The page: loads nothing, escapes everything, says what is bad first."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from elements import Elements, loads
from report_example import block_table, cube, example, slices, volumes

from isofield.report.content import Cube, ReportContent, Slice, loss_curve
from isofield.report.cubes import atlas, cube_view, cut
from isofield.report.glossary import text
from isofield.report.page import build_page, duration, verdict
from isofield.report.spec import ReportSpec


def test_pictures_tables_and_charts_have_words(content: ReportContent) -> None:
    html = build_page(content)
    elements = Elements(html)
    pictures = [a for a in elements.named("img") if not (a.get("id") or "").startswith("swipe-")]
    assert len(pictures) == sum(len(s.images) for s in content.slices)
    assert all(len(a["alt"] or "") > 20 for a in pictures)
    assert html.count("<table") == html.count("<caption>") == 4
    assert len([a for a in elements.named("div") if a.get("role") == "img" and a["aria-label"]]) == len(content.curves)
    assert elements.named("html") == [{"lang": "en"}]


def test_same_content_same_bytes(content: ReportContent) -> None:
    assert build_page(content) == build_page(content)


def test_smallest_content_makes_a_page() -> None:
    html = build_page(ReportContent(run_name="bare", voxel_size_nm=8.0))
    assert loads(html) == []
    assert "No truth is known" not in html
    for absent in ('id="pictures"', 'id="blocks"', 'id="curves"', 'id="glossary"'):
        assert absent not in html


def test_without_truth_the_page_says_so() -> None:
    arrays = {key: np.random.default_rng(0).integers(0, 255, (16, 16, 16)) for key in ("measured", "isotropic")}
    html = build_page(example(arrays))
    assert "No truth is known for this volume" in html
    assert "psnr" not in html.lower().replace("cubic_psnr_db", "").split('id="block-data"')[0]


def test_unknown_figures_are_dashes_not_nan(content: ReportContent) -> None:
    html = build_page(replace(content, figures={"seam_score": math.nan, "residual_rms": 0.0}))
    tiles = html[html.index('class="tiles"') : html.index("</ul>", html.index('class="tiles"'))]
    assert "–" in tiles
    assert "0.00\N{NO-BREAK SPACE}%" in tiles
    assert "nan" not in tiles


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (24.0, "isotropic is 1.00 dB above cubic spline (+0.100 SSIM)."),
        (
            22.5,
            "isotropic is 0.50 dB below cubic spline (+0.100 SSIM): on this volume interpolation was the better choice.",
        ),
    ],
)
def test_verdict_compares_with_the_best_interpolation(ours: float, says: str) -> None:
    methods = {
        "linear": {"psnr_db": 22.0, "ssim": 0.7},
        "cubic": {"psnr_db": 23.0, "ssim": 0.5},
        "isotropic": {"psnr_db": ours, "ssim": 0.6},
    }
    assert verdict(methods) == f"Against the truth, {says}"


def test_no_verdict_without_truth() -> None:
    assert verdict({}) == verdict({"isotropic": {"psnr_db": math.nan}, "cubic": {"psnr_db": 3.0}}) == ""


def block_data(content: ReportContent) -> tuple[list[dict], dict]:
    data = Elements(build_page(content)).data("block-data")
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]], data


def test_worst_blocks_come_first(content: ReportContent) -> None:
    rows, data = block_data(replace(content, blocks=block_table((64, 96, 128), 32)))
    assert [row["state"] for row in rows[:2]] == ["failed", "fallback"]
    assert rows[-1]["state"] == "skipped"
    psnr = [row["psnr_db"] for row in rows if row["state"] == "done"]
    assert psnr == sorted(psnr)
    assert data["default"] == "psnr_db"
    lowest = rows[2]
    assert lowest["gain_db"] == pytest.approx(lowest["psnr_db"] - 23.4, abs=1)


def test_worst_blocks_by_residual_without_truth(content: ReportContent) -> None:
    rows, data = block_data(replace(content, blocks=block_table((64, 96, 128), 32, with_truth=False)))
    assert data["default"] == "residual_rms"
    assert list(data["metrics"]) == ["residual_rms", "seam", "overlap_rms", "seconds", "attempts"]
    residual = [row["residual_rms"] for row in rows if row["state"] == "done"]
    assert residual == sorted(residual, reverse=True)


def test_blocks_table_may_lack_metrics_but_not_places(content: ReportContent) -> None:
    bare = content.blocks[["block_id", "state", *(f"{w}_{a}" for w in ("offset", "shape") for a in "zyx")]]
    rows, data = block_data(replace(content, blocks=bare))
    assert data["metrics"] == {}
    assert len(rows) == len(bare)
    with pytest.raises(ValueError, match=r"lacks the columns \['shape_x'\]"):
        replace(content, blocks=bare.drop(columns="shape_x"))


def test_numbers_of_any_kind_reach_the_page(content: ReportContent) -> None:
    frame = block_table((32, 32, 64), 32)
    frame["block_id"] = [7, 8]
    frame["psnr_db"] = [np.inf, np.float32(20.123456)]
    frame["attempts"] = pd.array([None, 2], dtype="Int64")
    rows, _ = block_data(replace(content, blocks=frame))
    by_id = {row["block_id"]: row for row in rows}
    assert by_id["7"]["psnr_db"] is None
    assert by_id["8"]["psnr_db"] == 20.123
    assert by_id["7"]["attempts"] is None


def test_large_slices_are_cropped_about_their_centre(content: ReportContent) -> None:
    ramp = np.arange(100.0 * 100).reshape(100, 100)
    cut = replace(content, slices=[Slice("XY", 0, {"isotropic": ramp})], spec=ReportSpec(max_picture_vox=32))
    (picture,) = [a for a in Elements(build_page(cut)).named("img") if a.get("data-key") == "isotropic"]
    assert (picture["width"], picture["height"]) == ("32", "32")


def test_slices_of_differing_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="of one shape"):
        Slice("XY", 0, {"measured": np.zeros((4, 4)), "isotropic": np.zeros((4, 5))})
    with pytest.raises(ValueError, match="is none of"):
        Slice("YX", 0, {"measured": np.zeros((4, 4))})


def test_one_slice_per_orientation_and_place() -> None:
    made = slices({"isotropic": np.zeros((8, 12, 16))}, 3)
    assert [(s.plane, s.index) for s in made][:6] == [
        ("XY", 2),
        ("XY", 4),
        ("XY", 6),
        ("ZX", 3),
        ("ZX", 6),
        ("ZX", 9),
    ]
    assert [s.images["isotropic"].shape for s in made[::3]] == [(12, 16), (8, 16), (8, 12)]


def test_loss_curve_of_a_long_log_is_thinned_and_of_none_is_empty() -> None:
    assert len(loss_curve(np.arange(100_000), np.ones(100_000)).series["loss"][0]) == 200
    assert "no data" in build_page(ReportContent(run_name="x", voxel_size_nm=1.0, curves=[loss_curve(np.empty(0), np.empty(0))]))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("psnr_db", 24.123, "24.12 dB"),
        ("residual_rms", 0.0312, "3.12 %"),
        ("clipped_fraction", 1e-7, "1.0e-05 %"),
        ("ssim", None, "–"),
        ("anything", 2.0, "2.000"),
    ],
)
def test_numbers_are_printed_with_their_unit(name: str, value: float | None, shown: str) -> None:
    assert text(name, value) == shown


def test_durations_read_like_a_clock() -> None:
    assert [duration(s) for s in (3.21, 75, 3 * 3600 + 125, None, math.nan)] == [
        "3.2 s",
        "1 min 15 s",
        "3 h 2 min",
        "–",
        "–",
    ]


def test_spec_refuses_percentiles_that_do_not_ascend() -> None:
    with pytest.raises(ValueError, match="not two ascending percentiles"):
        ReportSpec(window_percentiles=(99.0, 1.0))


def test_a_page_is_no_larger_than_it_may_be() -> None:
    noise = {key: np.random.default_rng(0).integers(0, 255, (64, 96, 96), np.uint8) for key in ("measured", "isotropic", "truth")}
    free = example(noise, cubes=[cube(noise, side=96)])
    assert len(build_page(free)) > 1.5e6
    held = replace(free, spec=ReportSpec(max_page_mb=1.5))
    assert len(build_page(held)) <= 1.5e6
    assert len(build_page(replace(free, spec=ReportSpec(max_page_mb=0.001)))) > 1000, "what cannot be cut is shown all the same"


def test_a_cut_cube_keeps_planes_and_sections_together() -> None:
    arrays = volumes((64, 48, 48))
    whole = cube(arrays, side=64)
    part = cut(whole, 16)
    assert part.shape == (16, 16, 16)
    assert part.offset == (24, 16, 16)
    for plane in range(16):
        there = whole.section_of(24 + plane)
        assert part.first_section + part.section_of(plane) == there
        shown = part.sections["measured"][part.section_of(plane)]
        assert np.array_equal(shown, whole.sections["measured"][there][16:32, 16:32])
        assert np.array_equal(shown, arrays["measured"][24 + plane, 16:32, 16:32])


def test_cubes_without_their_sections_or_of_several_shapes_are_refused() -> None:
    arrays = volumes((32, 16, 16))
    whole = cube(arrays, side=32)
    with pytest.raises(ValueError, match="must hold sections 0 to 3"):
        replace(whole, sections={"measured": whole.sections["measured"][:3]})
    with pytest.raises(ValueError, match="of one shape"):
        replace(whole, planes={**whole.planes, "truth": np.zeros((32, 16, 15))})
    with pytest.raises(ValueError, match="hold isotropic"):
        Cube("x", (0, 0, 0), 8.0, 0, {}, {})


@pytest.mark.parametrize("shape", [(1, 5, 7), (7, 5, 3), (12, 4, 4), (5, 1, 30)])
def test_an_atlas_holds_every_plane_once(shape: tuple[int, int, int]) -> None:
    planes = np.arange(np.prod(shape)).reshape(shape)
    sheet, across = atlas(planes)
    _, rows, columns = shape
    for k, plane in enumerate(planes):
        top, left = k // across * rows, k % across * columns
        assert np.array_equal(sheet[top : top + rows, left : left + columns], plane)


def test_the_viewer_offers_what_is_known() -> None:
    arrays = volumes((32, 32, 32))
    known = cube_view([cube(arrays)], 8.0, (0, 255), 128)
    assert known["cubes"][0]["keys"] == ["measured", "linear", "isotropic", "truth", "error", "residual"]
    del arrays["truth"]
    unknown = cube_view([cube(arrays)], 8.0, (0, 255), 128)
    assert unknown["cubes"][0]["keys"] == ["measured", "linear", "isotropic", "residual"]
    assert set(unknown["limits"]) == {"residual"}
    assert cube_view([], 8.0, (0, 255), 128) is None


def test_no_line_breaks_between_a_number_and_its_percent_sign(content: ReportContent) -> None:
    page = build_page(replace(content, methods={}, verdict="it agrees to 9.8 % (noise: 10 %)"))
    assert "it agrees to 9.8\N{NO-BREAK SPACE}% (noise: 10\N{NO-BREAK SPACE}%)" in page
