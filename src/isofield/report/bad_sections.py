"""The part of the report that lists bad sections: what is wrong with each, and what stands there now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from isofield.report import pictures

PICTURES = ("below", "as stored", "reconstructed", "above")
"""Nearest good section below, the section itself, the isotropic plane at its centre, nearest good section above."""


@dataclass(frozen=True)
class BadSectionView:
    """section: counted from 0 in the source; position_nm: of its centre from the source's first voxel edge; kind, words, why:
    what is wrong with it; images: some of PICTURES -> (rows, columns) of one place, intensities in source units.
    """

    section: int
    position_nm: float
    kind: str
    words: str
    why: str
    images: Mapping[str, np.ndarray] = field(default_factory=dict)


def bad_sections_html(views: Sequence[BadSectionView], n_sections: int, window: tuple[float, float]) -> Markup:
    """The part as HTML; empty where there are none. window: intensities shown as black and white."""
    if not views:
        return Markup("")
    rows = [
        {
            "view": view,
            "position": pictures.length_text(view.position_nm),
            "images": [
                (key, pictures.data_uri(pictures.png(view.images[key], window))) for key in PICTURES if key in view.images
            ],
        }
        for view in views
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("isofield.report").joinpath("bad_sections.html.jinja").read_text("utf-8"))
    return Markup(template.render(rows=rows, n_sections=n_sections))
