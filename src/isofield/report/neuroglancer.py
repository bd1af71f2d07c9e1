"""The neuroglancer state: measured and isotropic volume side by side, at one place in one space."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

BASE = "{base}"
"""Stands for the server's address in stored states; `with_base` fills it in."""

_PANEL_PX = 640
_SHADER = "#uicontrol invlerp contrast\nvoid main() {\n  emitGrayscale(contrast());\n}\n"


def viewer_state(
    measured_url: str,
    isotropic_url: str,
    voxel_size_nm: float,
    shape: Sequence[int],
    position_nm: Sequence[float] | None = None,
    windows: Mapping[str, tuple[float, float]] | None = None,
    extra_layers: Iterable[Mapping[str, Any]] = (),
    isotropic_format: str = "zarr3",
    layout: str = "xz",
) -> dict[str, Any]:
    """State of two linked panels, `measured` left and `isotropic` right, over OME-Zarr stores.

    The urls are of OME-Zarr groups, without the `|zarr3:` ending; they may begin with `BASE`. isotropic_format: zarr3 or zarr2.
    voxel_size_nm is the isotropic one, shape the isotropic volume's (z, y, x) in voxels. position_nm (z, y, x) is measured
    from the volume's first voxel edge (default: its centre). windows: layer name -> intensities shown as
    black and white. extra_layers are complete layer objects; they are listed with the isotropic panel.
    layout: one of neuroglancer's, for each panel ("xz", "4panel").
    """
    size_z, size_y, size_x = shape
    position = [length / 2 for length in shape] if position_nm is None else [p / voxel_size_nm for p in position_nm]
    windows = windows or {}
    extra = [dict(layer) for layer in extra_layers]
    layers = [
        _image_layer("measured", measured_url, windows.get("measured")),
        _image_layer("isotropic", isotropic_url, windows.get("isotropic"), isotropic_format),
        *extra,
    ]
    panels = [["measured"], ["isotropic", *(layer["name"] for layer in extra)]]
    across = max(size_x, size_z) if layout in ("xz", "yz") else max(size_x, size_y, size_z)
    if layout.startswith("4panel"):
        across *= 2
    step = [voxel_size_nm * 1e-9, "m"]
    return {
        # Named x, y, z in this order, so that x runs right whatever the axis order of the arrays.
        "dimensions": {"x": step, "y": step, "z": step},
        "position": [float(p) for p in reversed(position)],
        "crossSectionScale": round(max(across / _PANEL_PX, 1e-3), 6),
        "projectionScale": float(max(shape) * 1.6),
        "layers": layers,
        "crossSectionBackgroundColor": "#101316",
        "showAxisLines": True,
        "showDefaultAnnotations": False,
        "showSlices": True,
        "selectedLayer": {"visible": False, "layer": "isotropic"},
        "layout": {
            "type": "row",
            "children": [{"type": "viewer", "layers": names, "layout": layout} for names in panels],
        },
    }


def with_base(state: Mapping[str, Any], address: str) -> dict[str, Any]:
    """The state with every source that begins with BASE pointing to `address` (no slash at its end)."""

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return address.rstrip("/") + value[len(BASE) :] if value.startswith(BASE) else value
        if isinstance(value, Mapping):
            return {key: filled(item) for key, item in value.items()}
        return [filled(item) for item in value] if isinstance(value, list) else value

    return filled(dict(state))


def fragment(state: Mapping[str, Any]) -> str:
    """What follows a neuroglancer address: `#!` and the state, percent-encoded."""
    return "#!" + quote(json.dumps(state, separators=(",", ":"), allow_nan=False), safe="{}:,[]/|")


def _image_layer(name: str, url: str, window: tuple[float, float] | None, format: str = "zarr3") -> dict[str, Any]:
    layer: dict[str, Any] = {
        "type": "image",
        "name": name,
        "source": f"{url.rstrip('/')}/|{format}:",
        "shader": _SHADER,
    }
    if window is not None:
        low, high = map(float, window)
        layer["shaderControls"] = {"contrast": {"range": [low, high], "window": [low, high]}}
    return layer
