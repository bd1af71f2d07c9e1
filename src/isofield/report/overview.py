"""The page over the channels of a run: what they look like together, their figures, and where their reports are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from isofield.report import glossary
from isofield.report.pictures import data_uri, length_text, png, scale_bar_nm


@dataclass(frozen=True)
class ChannelShown:
    """One channel. planes: name -> (rows, columns) of grey values, of one shape in all channels; window: grey values shown black
    and white; page: address of its report; colour: six hexadecimal digits; figures: names of glossary.METRICS -> values."""

    label: str
    colour: str
    page: str
    window: tuple[float, float]
    planes: Mapping[str, np.ndarray]
    figures: Mapping[str, float]
    blocks: str


def build_overview(title: str, channels: Sequence[ChannelShown], voxel_size_nm: float) -> str:
    """The page as one HTML text that loads nothing. All text is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    folder = files("isofield.report")
    names = list(dict.fromkeys(name for one in channels for name in one.figures))
    rows = [
        {"label": c.label, "colour": c.colour, "page": c.page, "blocks": c.blocks, "cells": [_cell(c, n) for n in names]}
        for c in channels
    ]
    planes = [_plane(name, channels, voxel_size_nm) for name in channels[0].planes]
    return environment.from_string(folder.joinpath("overview.html.jinja").read_text("utf-8")).render(
        title=title,
        style=Markup(folder.joinpath("page.css").read_text("utf-8")),
        columns=[glossary.metric(name) for name in names],
        rows=rows,
        planes=planes,
    )


def composite(images: Sequence[np.ndarray], windows: Sequence[tuple[float, float]], colours: Sequence[str]) -> np.ndarray:
    """uint8 (rows, columns, 3): each image in its colour, from black at the low end of its window, all added up."""
    total = np.zeros((*images[0].shape, 3))
    for image, (low, high), colour in zip(images, windows, colours, strict=True):
        bright = np.clip((np.asarray(image, np.float64) - low) / (high - low), 0, 1)
        total += bright[..., None] * list(bytes.fromhex(colour))
    return np.rint(np.clip(total, 0, 255)).astype(np.uint8)


def _cell(channel: ChannelShown, name: str) -> str:
    return glossary.text(name, channel.figures.get(name))


def _plane(name: str, channels: Sequence[ChannelShown], voxel_size_nm: float) -> dict:
    together = composite([c.planes[name] for c in channels], [c.window for c in channels], [c.colour for c in channels])
    encoded = BytesIO()
    Image.fromarray(together).save(encoded, format="PNG")
    rows, columns = together.shape[:2]
    images = [("all channels", encoded.getvalue())] + [(c.label, png(c.planes[name], c.window)) for c in channels]
    bar_nm = scale_bar_nm(columns * voxel_size_nm)
    return {
        "name": name,
        "rows": rows,
        "columns": columns,
        "bar_percent": round(100 * bar_nm / (columns * voxel_size_nm), 3),
        "bar_text": length_text(bar_nm),
        "images": [
            {"label": label, "uri": data_uri(data), "alt": f"{label}, {name} plane, {rows} by {columns} voxels"}
            for label, data in images
        ],
    }
