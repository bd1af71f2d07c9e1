"""The list of bad sections in the report: all of them, in words and pictures, and nothing where there are none."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from isofield.report.bad_sections import PICTURES, BadSectionView, bad_sections_html
from isofield.report.content import ReportContent
from isofield.report.page import build_page

IMAGES = {name: np.full((20, 30), 40.0 * k) for k, name in enumerate(PICTURES)}
VIEWS = [
    BadSectionView(17, 700.0, "missing", "nothing was recorded", "100% of it has a single value", IMAGES),
    BadSectionView(40, 1620.0, "listed", "named in sections.bad", "<b>&", {}),
]


def test_every_section_is_listed_with_its_grounds():
    html = str(bad_sections_html(VIEWS, 125, (0, 120)))
    assert "2 of 125 sections are not believed" in html
    for text in (">17</th>", "700 nm", "missing: nothing was recorded", "100% of it", "1.62 µm", "&lt;b&gt;&amp;"):
        assert text in html
    assert "1 of 9 sections is" in bad_sections_html(VIEWS[:1], 9, (0, 120))


def test_pictures_stand_in_order_and_show_what_they_say():
    html = str(bad_sections_html(VIEWS[:1], 125, (0, 120)))
    assert re.findall(r'title="([^"]+)"', html) == list(PICTURES)
    assert html.count("<img") == html.count("alt=") == 4
    levels = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"data:image/png;base64,([^\"]+)", html)
    ]
    assert [int(image[0, 0]) for image in levels] == [0, 85, 170, 255]
    assert levels[0].shape == (20, 30)


def test_a_page_without_bad_sections_does_not_speak_of_them():
    assert bad_sections_html([], 125, (0, 1)) == ""
    assert "bad-sections" not in build_page(ReportContent("run", 4.0)).replace(".bad-sections", "")
    page = build_page(ReportContent("run", 4.0, bad_sections=bad_sections_html(VIEWS, 125, (0, 120))))
    assert 'href="#bad-sections"' in page
    assert 'id="bad-sections"' in page
