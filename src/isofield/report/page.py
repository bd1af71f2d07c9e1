"""The report page: one HTML file that loads nothing, made from ReportContent."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from isofield.report import charts, glossary, pictures
from isofield.report.block_view import block_view
from isofield.report.content import NORMAL_AXIS, PLANES, ReportContent, Slice
from isofield.report.cubes import LABELS, cube_view

METHOD_COLUMNS = ("psnr_db", "ssim", "ssim_axial")
PLANE_WORDS = {
    "XY": "as the sections lie",
    "ZX": "across the sections, depth down",
    "ZY": "across the sections, depth down",
}


SHRINK = 0.95
LEAST_SIDE_VOX = 32


def build_page(content: ReportContent) -> str:
    """The whole page as one HTML text: pictures, styles and script inside, nothing loaded from anywhere.

    Pictures and cubes are cut about their centres until the page has at most `spec.max_page_mb`, but not below 32 voxels a side.
    All text of `content` is escaped; a content security policy in the page forbids network and any script but ours.
    """
    share = 1.0
    while True:
        html = _build(content, share)
        largest = max(content.spec.max_picture_vox, content.spec.cube_vox)
        excess = len(html.encode()) / (content.spec.max_page_mb * 1e6)
        if excess <= 1 or share * largest <= LEAST_SIDE_VOX:
            return html
        # The bytes go with the square of the sides of slices, with the cube of those of cubes.
        share *= min(SHRINK, excess**-0.5)


def _build(content: ReportContent, share: float) -> str:
    """The page with pictures and cubes of at most `share` of the sides that the settings allow."""
    picture_vox, cube_vox = (max(LEAST_SIDE_VOX, round(share * n)) for n in (content.spec.max_picture_vox, content.spec.cube_vox))
    window = _window(content, picture_vox)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_percent_unbroken
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"number": glossary.text, "duration": duration, "size": size}
    script = _packaged("viewer.js") + _packaged("page.js")
    blocks = None if content.blocks is None else block_view(content.blocks, content.spec.n_worst_blocks)
    if blocks and content.viewer_state:
        edge = [edge_nm / content.voxel_size_nm for edge_nm in reversed(content.origin_nm)]
        blocks["data"] |= {"state": content.viewer_state, "edge": edge}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string(_packaged("page.html.jinja"))
    return template.render(
        content=content,
        title=content.spec.title or content.run_name,
        style=Markup(_packaged("page.css")),
        script=Markup(script),
        script_digest=digest,
        verdict=verdict(content.methods) or content.verdict,
        methods=_methods(content.methods),
        method_columns=[(name, glossary.metric(name)) for name in _present(content.methods)],
        tiles=[(name, glossary.metric(name), value) for name, value in content.figures.items()],
        cubes=cube_view(content.cubes, content.voxel_size_nm, window, cube_vox),
        planes=_planes(content, window, picture_vox),
        plane_words=PLANE_WORDS,
        blocks=blocks,
        charts={
            section: [(c, Markup(charts.line_chart(c)), charts.alt_text(c)) for c in content.curves if c.section == section]
            for section in ("quality", "run")
        },
        longest_stage=max((stage.seconds for stage in content.stages), default=0) or 1,
        total_seconds=sum(stage.seconds for stage in content.stages),
        glossary=_glossary(content, blocks),
    )


def _percent_unbroken(value: object) -> object:
    """Text that breaks no line between a number and its %; styles and script as they are."""
    return value.replace(" %", "\N{NO-BREAK SPACE}%") if type(value) is str else value


def verdict(methods: Mapping[str, Mapping[str, float]]) -> str:
    """One sentence comparing isotropic with the best interpolation; says so plainly when it is not better."""
    ours = methods.get("isotropic", {}).get("psnr_db")
    others = {name: m["psnr_db"] for name, m in methods.items() if name != "isotropic" and _known(m.get("psnr_db"))}
    if not _known(ours) or not others:
        return ""
    best = max(others, key=others.__getitem__)
    gain = ours - others[best]
    relation = "above" if gain >= 0 else "below"
    sentence = f"Against the truth, isotropic is {abs(gain):.2f} dB {relation} {_method_label(best)}"
    ssims = methods["isotropic"].get("ssim"), methods[best].get("ssim")
    if all(map(_known, ssims)):
        sentence += f" ({ssims[0] - ssims[1]:+.3f} SSIM)"
    return sentence + ("." if gain >= 0 else ": on this volume interpolation was the better choice.")


def duration(seconds: float | None) -> str:
    """Wall time for people: 48 s, 12 min 5 s, 3 h 20 min."""
    if not _known(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(n_bytes: float | None) -> str:
    """Bytes for people: 12 MB, 1.3 GB."""
    if not _known(n_bytes):
        return "–"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _packaged(name: str) -> str:
    return files("isofield.report").joinpath(name).read_text("utf-8")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _method_label(name: str) -> str:
    return {"nearest": "nearest section", "linear": "linear interpolation", "cubic": "cubic spline"}.get(name, name)


def _present(methods: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [name for name in METHOD_COLUMNS if any(_known(m.get(name)) for m in methods.values())]


def _methods(methods: Mapping[str, Mapping[str, float]]) -> list[dict]:
    best = {}
    for column in _present(methods):
        best[column] = max(m[column] for m in methods.values() if _known(m.get(column)))
    return [
        {
            "name": name,
            "label": _method_label(name),
            "cells": [(column, m.get(column), m.get(column) == best[column]) for column in best],
        }
        for name, m in methods.items()
    ]


def _window(content: ReportContent, picture_vox: int) -> tuple[float, float]:
    """Intensities shown as black and white, everywhere on the page."""
    if content.window:
        return content.window
    views = [pictures.cropped(s.images, picture_vox) for s in content.slices]
    plain = [image for view in views for key, image in view.items() if key not in pictures.MAP_KEYS]
    plain = plain or [values for cube in content.cubes for values in cube.planes.values()]
    return pictures.contrast_window(plain, content.spec.window_percentiles) if plain else (0.0, 1.0)


def _planes(content: ReportContent, window: tuple[float, float], picture_vox: int) -> list[dict]:
    if not content.slices:
        return []
    views = [pictures.cropped(s.images, picture_vox) for s in content.slices]
    limits = {
        key: pictures.map_limit(view[key] for view in views if key in view)
        for key in pictures.MAP_KEYS
        if any(key in view for view in views)
    }
    shown = []
    for plane in PLANES:
        pairs = [(s, v) for s, v in zip(content.slices, views, strict=True) if s.plane == plane]
        if pairs:
            slices = [_slice(item, view, content.voxel_size_nm, window, limits) for item, view in pairs]
            shown.append({"name": plane, "words": PLANE_WORDS[plane], "slices": slices})
    return shown


def _slice(item: Slice, view: dict[str, np.ndarray], voxel_size_nm: float, window, limits) -> dict:
    rows, columns = next(iter(view.values())).shape
    bar_nm = pictures.scale_bar_nm(columns * voxel_size_nm)
    place = f"{NORMAL_AXIS[item.plane]} = {item.index}"
    images = []
    for key in sorted(view, key=lambda k: list(LABELS).index(k) if k in LABELS else len(LABELS)):
        is_map = key in limits
        encoded = pictures.png(view[key], (0.0, limits[key]) if is_map else window, pictures.MAP_COLOURS if is_map else None)
        label = LABELS.get(key, key)
        images.append(
            {
                "key": key,
                "label": label,
                "is_map": is_map,
                "limit": f"{limits[key]:.3g}" if is_map else "",
                "uri": pictures.data_uri(encoded),
                "alt": f"{label}, {item.plane} plane at {place}, {rows} by {columns} voxels",
            }
        )
    return {
        "place": place,
        "depth": pictures.length_text((item.index + 0.5) * voxel_size_nm),
        "rows": rows,
        "columns": columns,
        "bar_percent": round(100 * bar_nm / (columns * voxel_size_nm), 3),
        "bar_text": pictures.length_text(bar_nm),
        "images": images,
    }


def _glossary(content: ReportContent, blocks: dict | None) -> list[glossary.Metric]:
    names = [*_present(content.methods), *content.figures, *(blocks["metrics"] if blocks else ())]
    return [glossary.METRICS[name] for name in dict.fromkeys(names) if name in glossary.METRICS]
