"""Line charts as inline SVG whose colours follow the page's light or dark theme."""

from __future__ import annotations

import re
from io import StringIO

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from isofield.report.content import Curve

# Placeholder colours, replaced by the page's CSS variables after drawing.
_INK, _MUTED, _GRID = "#000101", "#000102", "#000103"
_SERIES = tuple(f"#0002{n:02x}" for n in range(1, 7))
_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
_THEME = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--line)"} | {
    colour: f"var(--series-{n})" for n, colour in enumerate(_SERIES, 1)
}
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "isofield",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "text.color": _INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
}


def line_chart(curve: Curve, width_in: float = 5.6, height_in: float = 3.0) -> str:
    """An `<svg>` element, safe to place in HTML: text escaped, nothing to load, same bytes for same data."""
    with rc_context(_RC):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(True)
        axes.set_axisbelow(True)
        lines = 0
        for n, (name, (x, y)) in enumerate(curve.series.items()):
            x, y = np.asarray(x, float), np.asarray(y, float)
            x = np.where(x > 0, x, np.nan) if curve.x_log else x
            y = np.where(y > 0, y, np.nan) if curve.y_log else y
            if not np.isfinite(x * y).any():
                continue
            colour, style = _SERIES[n % len(_SERIES)], _STYLES[n % len(_STYLES)]
            axes.plot(x, y, color=colour, linestyle=style, linewidth=1.8, label=name)
            lines += 1
        if curve.reference is not None:
            axes.axhline(curve.reference, color=_MUTED, linewidth=1, dashes=(3, 3))
        if curve.y_within is not None:
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, curve.y_within[0]), max(high, curve.y_within[1]))
        if lines and curve.x_log:
            axes.set_xscale("log")
        if lines and curve.y_log:
            axes.set_yscale("log")
            _plain_ticks(axes.yaxis)
        if lines > 1:
            axes.legend(frameon=False, labelcolor=_INK, handlelength=2.6)
        axes.set_xlabel(curve.x_label)
        axes.set_ylabel(curve.y_label)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(out.getvalue(), re.sub(r"\W+", "-", curve.title.lower()))


def alt_text(curve: Curve) -> str:
    """The chart in one sentence: what is drawn and where each line starts and ends."""
    parts = []
    for name, (_, y) in curve.series.items():
        finite = np.asarray(y, float)[np.isfinite(np.asarray(y, float))]
        if len(finite):
            parts.append(f"{name} from {finite[0]:.3g} to {finite[-1]:.3g}")
    return f"Line chart, {curve.y_label} against {curve.x_label}: " + ("; ".join(parts) or "no data") + "."


def _plain_ticks(axis) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _themed(svg: str, stem: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    # matplotlib's style sheet would reach the whole page, and its ids would clash between two charts of one
    # page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.S)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{stem}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font)", svg)
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
