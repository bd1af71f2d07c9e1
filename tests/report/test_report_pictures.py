"""Pictures and charts: the right grey in the right place, colours that follow the theme."""

from __future__ import annotations

from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image

from isofield.report.charts import alt_text, line_chart
from isofield.report.content import Curve, Slice
from isofield.report.pictures import (
    comparison_png,
    contrast_window,
    cropped,
    data_uri,
    length_text,
    map_limit,
    png,
    scale_bar_nm,
    spread,
)


def pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(encoded)))


def test_window_maps_to_black_and_white_and_clips() -> None:
    image = np.array([[-5.0, 10.0, 15.0], [20.0, 99.0, np.nan]])
    assert pixels(png(image, (10.0, 20.0))).tolist() == [[0, 0, 128], [255, 255, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_any_dtype_keeps_rows_and_columns(dtype: type) -> None:
    image = np.arange(6, dtype=dtype).reshape(2, 3)
    assert pixels(png(image, (0, 5))).tolist() == [[0, 51, 102], [153, 204, 255]]


def test_maps_are_coloured_by_the_named_colours() -> None:
    shown = np.asarray(Image.open(BytesIO(png(np.array([[0.0, 1.0]]), (0.0, 1.0), "magma"))).convert("RGB"))
    ends = [(np.array(colormaps["magma"](level))[:3] * 255).round().tolist() for level in (0, 255)]
    assert shown[0].tolist() == ends


def test_window_of_a_constant_image_is_not_empty() -> None:
    low, high = contrast_window([np.full((4, 4), 7)])
    assert low < 7 < high
    assert map_limit([np.zeros((4, 4))]) > 0


def test_window_ignores_nan_and_spans_all_images() -> None:
    images = [np.array([[0.0, np.nan]]), np.array([[100.0, 50.0]])]
    assert contrast_window(images, (0, 100)) == (0.0, 100.0)


@given(st.integers(0, 500), st.integers(1, 12))
def test_spread_is_distinct_and_inside(n: int, count: int) -> None:
    places = spread(n, count)
    assert places == sorted(set(places))
    assert all(0 <= place < n for place in places)
    assert len(places) == count or n <= count + 1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30))
def test_crop_is_centred_and_the_same_for_all(rows: int, columns: int, side: int) -> None:
    image = np.arange(rows * columns).reshape(rows, columns)
    cut = cropped({"a": image, "b": -image}, side)
    assert cut["a"].shape == (min(rows, side), min(columns, side))
    assert np.array_equal(cut["a"], -cut["b"])
    top, left = divmod(int(cut["a"][0, 0]), columns)
    assert abs(2 * top + cut["a"].shape[0] - rows) <= 1
    assert abs(2 * left + cut["a"].shape[1] - columns) <= 1


@pytest.mark.parametrize(
    ("width_nm", "bar", "shown"), [(1024, 200, "200 nm"), (80_000, 20_000, "20 µm"), (9e6, 2_000_000, "2 mm")]
)
def test_scale_bar_is_a_round_length(width_nm: float, bar: int, shown: str) -> None:
    assert scale_bar_nm(width_nm) == bar
    assert length_text(bar) == shown


@given(st.floats(4, 1e9))
def test_scale_bar_fits(width_nm: float) -> None:
    assert 0.05 * width_nm <= scale_bar_nm(width_nm) <= 0.25 * width_nm or width_nm > 2e8


def test_data_uri_holds_the_bytes() -> None:
    assert data_uri(b"abc") == "data:image/png;base64,YWJj"


def test_comparison_has_a_column_per_picture_known_anywhere() -> None:
    plain = {"measured": np.eye(16), "isotropic": np.eye(16)}
    two = pixels(comparison_png([Slice("ZX", 3, plain)], 8.0))
    with_truth = Slice("XY", 3, plain | {"truth": np.eye(16), "error": np.zeros((16, 16))})
    four = pixels(comparison_png([Slice("ZX", 3, plain), with_truth], 8.0))
    assert four.shape[1] == pytest.approx(2 * two.shape[1], abs=2)
    assert four.shape[0] > 1.5 * two.shape[0]
    assert comparison_png([with_truth], 8.0) == comparison_png([with_truth], 8.0)


def curve(**changes: object) -> Curve:
    x = np.linspace(0.1, 1, 20)
    series = {"isotropic": (x, x), "cubic": (x, x**2)}
    return Curve(**({"title": "Power", "x_label": "f", "y_label": "P", "series": series} | changes))


def test_chart_takes_its_colours_from_the_page() -> None:
    svg = line_chart(curve(reference=1.0))
    assert "var(--series-1)" in svg
    assert "var(--series-2)" in svg
    assert "var(--ink)" in svg
    assert "#0001" not in svg
    assert "#0002" not in svg
    assert "<style" not in svg
    assert "<!DOCTYPE" not in svg


def test_charts_of_one_page_share_no_id() -> None:
    def ids(title: str) -> set[str]:
        tree = ElementTree.fromstring(line_chart(curve(title=title)))
        return {element.get("id") for element in tree.iter() if element.get("id")}

    assert not ids("Power") & ids("Loss")


def test_every_reference_in_a_chart_has_its_target() -> None:
    tree = ElementTree.fromstring(line_chart(curve(y_log=True)))
    ids = {element.get("id") for element in tree.iter()}
    used = {value[1:] for e in tree.iter() for name, value in e.attrib.items() if name.endswith("href")}
    clips = {e.get("clip-path")[5:-1] for e in tree.iter() if e.get("clip-path")}
    assert used
    assert clips
    assert used | clips <= ids


@pytest.mark.parametrize("log", [False, True])
def test_chart_stands_gaps_zeros_and_nothing(log: bool) -> None:
    series = {
        "gaps": (np.arange(4.0), np.array([1.0, np.nan, 0.0, -2.0])),
        "none": (np.empty(0), np.empty(0)),
    }
    ElementTree.fromstring(line_chart(curve(series=series, x_log=log, y_log=log)))
    ElementTree.fromstring(line_chart(curve(series={}, x_log=log, y_log=log)))


def test_alt_text_says_what_is_drawn() -> None:
    assert alt_text(curve()) == "Line chart, P against f: isotropic from 0.1 to 1; cubic from 0.01 to 1."
