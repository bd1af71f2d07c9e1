"""Pictures for the documentation: python docs/screenshots.py RUN OUT

RUN is the folder of a finished run, such as results/demo; OUT a folder, such as docs/images. Takes neuroglancer.png and, of the
report, report_top.png, report_swipe.png and report_blocks.png (of several channels, their joint page alone) in a headless
Chromium, which needs the test extra and the Debian packages chromium and chromium-driver.
"""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from isofield.report.server import serve

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "report"))
from browser import NEUROGLANCER_READY, Browser

WIDTH, HEIGHT = 1280, 860
DRAWN = "document.getElementById('cube-data').dataset.drawn"
SECTIONS = {"report_swipe": "#viewer", "report_blocks": "#map"}


def main(run: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = json.loads((run / "neuroglancer.json").read_text("utf-8"))
    with serve(run) as server:
        with Browser(1300, 620) as browser:
            browser.open(server.neuroglancer_link(state), NEUROGLANCER_READY, timeout_s=300)
            save(browser.picture(), out / "neuroglancer.png")
        with Browser(WIDTH, HEIGHT) as browser:
            of_one_channel = (run / "plan.json").exists()
            browser.open(f"{server.address}/report/", DRAWN if of_one_channel else "document.images.length", timeout_s=300)
            save(browser.picture(), out / "report_top.png")
            if not of_one_channel:
                return
            for name, selector in SECTIONS.items():
                box = show(browser, selector)
                save(browser.picture(), out / f"{name}.png", box)


def show(browser: Browser, selector: str) -> tuple[int, int, int, int]:
    """Scroll to an element; its box in the window, with a margin."""
    script = (
        "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center', behavior: 'instant'});"
        "const r = e.getBoundingClientRect(); return [r.left - 16, r.top - 16, r.right + 16, r.bottom + 16].map(Math.round)"
    )
    left, top, right, bottom = browser.run(script, selector)  # type: ignore[misc]
    return max(0, left), max(0, top), min(WIDTH, right), min(HEIGHT, bottom)


def save(png: bytes, path: Path, box: tuple[int, int, int, int] | None = None) -> None:
    """Write a picture, or a part of it, in 256 colours: a quarter of the bytes, and nothing to be seen of it."""
    picture = Image.open(BytesIO(png)).convert("RGB").crop(box)
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
