"""The page as axe-core judges it, in light and dark, with everything on it opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from browser import Browser
from report_example import block_table

from isofield.report.content import ReportContent
from isofield.report.page import build_page

pytestmark = pytest.mark.browser
RUN = (
    "const done = arguments[arguments.length - 1];"
    "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}).then((found) => done("
    "found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 5).join(', ')}`)))"
)


def violations(browser: Browser) -> list[str]:
    """Rules of axe-core that the open page breaks, and where."""
    browser.run(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    return browser.driver.execute_async_script(RUN)


@pytest.fixture(params=["light", "dark"])
def page(request, chromium: type[Browser], content: ReportContent, tmp_path: Path) -> Iterator[Browser]:
    path = tmp_path / "index.html"
    path.write_text(build_page(replace(content, blocks=block_table((64, 96, 128), 32))), "utf-8")
    with chromium(1280, 900, dark=request.param == "dark") as browser:
        browser.open(path.as_uri(), "document.getElementById('cube-data').dataset.drawn")
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        yield browser


def test_axe_finds_nothing_and_would(page: Browser) -> None:
    assert violations(page) == []
    page.run(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<section><h2>x</h2><img src=\"data:,\">"
        '<p style="color: #888; background: #777">faint</p></section>\')'
    )
    found = [name.split(":")[0] for name in violations(page)]
    assert {"image-alt", "color-contrast"} <= set(found)
