"""The page over the channels of a run, in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import Browser

from isofield.report.overview import ChannelShown, build_overview
from isofield.report.server import serve

HOSTILE = '"><script>document.title = "run"</script>'
SHAPES = {"XY": (60, 48), "ZX": (20, 48)}


def channel(label: str, colour: str) -> ChannelShown:
    planes = {name: np.arange(np.prod(shape)).reshape(shape) for name, shape in SHAPES.items()}
    return ChannelShown(label, colour, f"../{label}/report/index.html", (0, 2000), planes, {"seam_score": 1.0}, "4 done")


@pytest.fixture
def overview(chromium: type[Browser], tmp_path: Path):
    (tmp_path / "report").mkdir()
    html = build_overview("two", [channel("DNA", "00FF00"), channel(HOSTILE, "FF00FF")], 100.0)
    (tmp_path / "report" / "index.html").write_text(html, "utf-8")
    with serve(tmp_path) as server, chromium(1280, 800) as browser:
        browser.open(f"{server.address}/report/")
        yield browser


@pytest.mark.browser
def test_pictures_keep_their_proportions(overview: Browser):
    sizes = "return [...document.images].map(i => [i.clientWidth / i.clientHeight, i.naturalWidth / i.naturalHeight])"
    shown = overview.run(sizes)
    assert sorted({round(natural, 2) for _, natural in shown}) == [0.8, 2.4]
    assert all(drawn == pytest.approx(natural, rel=0.02) for drawn, natural in shown)
    overview.run("document.images[0].style.height = '40px'")
    assert overview.run(sizes)[0][0] != pytest.approx(0.8, rel=0.02), "the check above would not see a squashed one"


@pytest.mark.browser
def test_the_bar_lies_below_the_picture_that_it_measures(overview: Browser):
    below = (
        "const f = document.querySelector('.channels figure'), p = f.querySelector('img').getBoundingClientRect(),"
        "b = f.querySelector('.length').getBoundingClientRect();"
        "return [b.top - p.bottom, b.left - p.left, b.width / p.width, b.height]"
    )
    gap, left, share, height = overview.run(below)
    assert 0 <= gap < 10
    assert left == 0
    assert height >= 2
    assert 0.05 < share < 0.6


@pytest.mark.browser
def test_names_of_channels_are_text(overview: Browser):
    assert overview.run("return document.title") == "two"
    assert HOSTILE in overview.run("return document.querySelector('table').innerText")
    assert overview.console() == []
