"""The page loads nothing and runs nothing but its own script, whatever names and messages say."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import numpy as np
from elements import Elements, loads, runs

from isofield.report.content import ReportContent, Slice, Stage, spectrum_curve
from isofield.report.page import build_page
from isofield.report.spec import ReportSpec

HOSTILE = "\"'></script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;{{ 7*7 }}$x_1$"


def test_page_loads_nothing(content: ReportContent) -> None:
    html = build_page(content)
    assert loads(html) == []
    assert not Elements(html).named("iframe")


def test_the_check_above_finds_what_is_loaded(content: ReportContent) -> None:
    html = build_page(content)
    for planted in (
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="style.css">',
        "<style>@import 'x.css';</style>",
        '<p style="background: url(https://example.org/x.png)">',
    ):
        assert len(loads(html.replace("</main>", planted + "</main>"))) == 1, planted


def test_policy_allows_our_script_only(content: ReportContent) -> None:
    elements = Elements(build_page(content))
    (policy,) = [a["content"] for a in elements.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    script = elements.texts["script"][-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy


def hostile_content(content: ReportContent) -> ReportContent:
    blocks = content.blocks.assign(message=HOSTILE, state=HOSTILE, block_id=HOSTILE)
    frequency = np.linspace(0.1, 0.5, 5)
    return replace(
        content,
        run_name=HOSTILE,
        spec=ReportSpec(title=HOSTILE),
        summary=[HOSTILE],
        facts=[(HOSTILE, HOSTILE)],
        methods={HOSTILE: {"psnr_db": 1.0}, "isotropic": {"psnr_db": 2.0}},
        figures={HOSTILE: 1.0},
        warnings=[HOSTILE],
        blocks=blocks,
        slices=[Slice("ZX", 3, {HOSTILE: np.eye(8), "isotropic": np.eye(8)})],
        curves=[
            replace(
                spectrum_curve(frequency, {HOSTILE: frequency, "b": frequency}),
                title=HOSTILE,
                caption=HOSTILE,
            )
        ],
        cubes=[replace(content.cubes[0], label=HOSTILE)],
        stages=[Stage(HOSTILE, 1, 1.0)],
        cost=[HOSTILE],
        verdict=HOSTILE,
        viewer_state={HOSTILE: HOSTILE},
        config_yaml=HOSTILE,
        provenance={HOSTILE: HOSTILE},
        citations=[HOSTILE],
    )


def test_nothing_injects(content: ReportContent) -> None:
    html = build_page(hostile_content(content))
    assert runs(html) == []
    assert loads(html) == []
    assert Elements(html).texts["title"] == [f"{HOSTILE} · isofield report"]
    assert Elements(html).texts["h1"] == [HOSTILE]
    blocks = Elements(html).data("block-data")
    assert blocks["rows"][0][blocks["columns"].index("message")] == HOSTILE


def test_the_check_above_finds_injection(content: ReportContent) -> None:
    html = build_page(content)
    injected = html.replace("</main>", f"<p>{HOSTILE}</p></main>")
    assert runs(html) == []
    assert runs(injected) == ["alert(1)", "onerror"]
