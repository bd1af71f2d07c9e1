"""A headless Chromium for tests and for the pictures of the documentation.

As a command: `python tests/report/browser.py URL OUT.png [--width 1400 --height 900 --dark --wait JS]`, where
JS is an expression that becomes true once the page is ready to be taken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--use-gl=angle",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)
# Anything but loopback fails to resolve: what needs the internet shows itself.
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
NEUROGLANCER_READY = "window.viewer !== undefined && viewer.isReady()"


def missing() -> str | None:
    """Why no browser can be driven here, in one sentence; None where one can."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "the selenium package is not installed"
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} not found (Debian packages chromium and chromium-driver)"
    return None


class Browser:
    """A Chromium window of a given size, closed on leaving the context."""

    def __init__(self, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        self.width, self.height, self.dark = width, height, dark

    def __enter__(self) -> Browser:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        self._profile = tempfile.mkdtemp(prefix="isofield-browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, NO_NETWORK, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        options.add_argument(f"--window-size={self.width},{self.height}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # A proxy of this machine's environment would swallow the requests to loopback.
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        service = Service(shutil.which("chromedriver"), env=environment)
        self.driver = webdriver.Chrome(options=options, service=service)
        # On a machine that does something else too, what takes a second takes half a minute.
        self.driver.set_script_timeout(180)
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": self.width, "height": self.height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str, ready: str = "document.readyState === 'complete'", timeout_s: float = 60) -> None:
        """Load `url` and wait until the expression `ready` is true; TimeoutError if it never is."""
        self.driver.get(url)
        end = time.monotonic() + timeout_s
        while not self.run(f"return Boolean({ready})"):
            if time.monotonic() > end:
                raise TimeoutError(f"{url[:200]}: not ready after {timeout_s} s; console: {self.console()}")
            time.sleep(0.2)

    def run(self, script: str, *arguments: object) -> object:
        """The value a script returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def console(self) -> list[str]:
        """Errors and warnings the page has logged since the last call."""
        return [
            f"{entry['level']}: {entry['message']}"
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    def picture(self, path: Path | str | None = None, whole_page: bool = False) -> bytes:
        """PNG of the window, or of the whole page however long; also written to `path` where one is given."""
        import base64

        options = {"format": "png", "captureBeyondViewport": whole_page}
        if whole_page:
            size = self.run("return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
            options["clip"] = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        data = base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"])
        if path is not None:
            Path(path).write_bytes(data)
        return data


def main() -> None:
    parser = argparse.ArgumentParser(description="Picture of a page in headless Chromium")
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--whole-page", action="store_true")
    parser.add_argument("--wait", default="document.readyState === 'complete'", metavar="JS")
    parser.add_argument("--neuroglancer", action="store_true", help="wait until neuroglancer has drawn its data")
    chosen = parser.parse_args()
    with Browser(chosen.width, chosen.height, chosen.dark) as browser:
        browser.open(chosen.url, NEUROGLANCER_READY if chosen.neuroglancer else chosen.wait)
        browser.picture(chosen.out, chosen.whole_page)


if __name__ == "__main__":
    main()
