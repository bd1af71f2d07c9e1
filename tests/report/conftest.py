from __future__ import annotations

import browser
import pytest
from report_example import example, volumes

from isofield.report.content import ReportContent


@pytest.fixture(scope="session")
def content() -> ReportContent:
    """A report about a small phantom, with truth."""
    return example(volumes((32, 48, 64)))


@pytest.fixture(scope="session")
def chromium() -> type[browser.Browser]:
    """The browser to drive; tests that ask for it are skipped, with the reason, where there is none."""
    reason = browser.missing()
    if reason:
        pytest.skip(reason)
    return browser.Browser
