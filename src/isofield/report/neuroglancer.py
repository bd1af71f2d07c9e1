"""The neuroglancer state: measured volume, isotropic volume and their map side by side, at one place in one space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

BASE = "{base}"
"""Stands for the server's address in stored states; `with_base` fills it in."""

_ROW_PX = 1280
_MAP_SHADER = (
    "#uicontrol invlerp contrast\nvoid main() {\n  float v = 3.0 * contrast();\n"
    "  emitRGB(vec3(clamp(v, 0.0, 1.0), clamp(v - 1.0, 0.0, 1.0), clamp(v - 2.0, 0.0, 1.0)));\n}\n"
)
_SHADER = "#uicontrol invlerp contrast\nvoid main() {\n  emitGrayscale(contrast());\n}\n"


_COLOUR_SHADER = (
    '#uicontrol invlerp contrast\n#uicontrol vec3 colour color(default="#{colour}")\n'
    "void main() {{\n  emitRGB(colour * contrast());\n}}\n"
)


@dataclass(frozen=True)
class ChannelView:
    """One channel as the viewer shows it. measured_url: of the sections; window: grey values shown black and in full colour."""

    label: str
    measured_url: str
    colour: str
    window: tuple[float, float]


def viewer_state(
    measured_url: str,
    isotropic_url: str,
    voxel_size_nm: float,
    shape: Sequence[int],
    position_nm: Sequence[float] | None = None,
    windows: Mapping[str, tuple[float, float]] | None = None,
    maps: Mapping[str, tuple[str, float]] | None = None,
    labels: Mapping[str, str] | None = None,
    isotropic_format: str = "zarr3",
    extent_vox: float | None = None,
    layout: str = "xz",
    channel: int | None = None,
) -> dict[str, Any]:
    """State of linked panels in a row, `measured`, `isotropic` and one for each of `maps`, over OME-Zarr stores.

    The urls are of OME-Zarr groups, without the `|zarr3:` ending; they may begin with `BASE`. voxel_size_nm is the isotropic
    one, shape the isotropic volume's (z, y, x) in voxels. position_nm (z, y, x) is measured from the volume's first voxel edge
    (default: its centre). windows: layer name -> intensities shown as black and white. maps: layer name -> (url, value shown
    brightest). labels: name -> url, listed with `isotropic` and not shown until they are asked for. isotropic_format: zarr3 or
    zarr2, of the isotropic image and its labels. extent_vox: how much each panel shows across (default: all of it). layout: one
    of neuroglancer's, for each panel ("xz", "4panel"). channel: which one of the isotropic image and its labels, of several.
    """
    windows = windows or {}
    layers = [
        _image_layer("measured", measured_url, windows.get("measured")),
        _image_layer("isotropic", isotropic_url, windows.get("isotropic"), isotropic_format) | _at_channel(channel),
        *(_image_layer(name, url, (0, limit), shader=_MAP_SHADER) for name, (url, limit) in (maps or {}).items()),
        *(_label_layer(name, url, isotropic_format) | _at_channel(channel) for name, url in (labels or {}).items()),
    ]
    panels = [["measured"], ["isotropic", *(labels or {})], *([name] for name in maps or {})]
    return _state(layers, panels, voxel_size_nm, shape, position_nm, extent_vox, layout)


def channels_state(
    isotropic_url: str,
    channels: Sequence[ChannelView],
    voxel_size_nm: float,
    shape: Sequence[int],
    position_nm: Sequence[float] | None = None,
    isotropic_format: str = "zarr3",
    extent_vox: float | None = None,
    layout: str = "xz",
) -> dict[str, Any]:
    """State of two linked panels, all channels as measured and as reconstructed, in colours that add up; see `viewer_state`.

    The isotropic image has axes c, z, y, x and the channels in this order.
    """
    # Layers have names of their own, channels need not.
    names = [f"{index} {channel.label}" for index, channel in enumerate(channels)]
    measured = [
        _coloured(f"measured {name}", channel, channel.measured_url) for name, channel in zip(names, channels, strict=True)
    ]
    isotropic = [
        _coloured(name, channel, isotropic_url, isotropic_format) | _at_channel(index)
        for index, (name, channel) in enumerate(zip(names, channels, strict=True))
    ]
    panels = [[layer["name"] for layer in layers] for layers in (measured, isotropic)]
    return _state(measured + isotropic, panels, voxel_size_nm, shape, position_nm, extent_vox, layout)


def _state(
    layers: list[dict[str, Any]],
    panels: list[list[str]],
    voxel_size_nm: float,
    shape: Sequence[int],
    position_nm: Sequence[float] | None,
    extent_vox: float | None,
    layout: str,
) -> dict[str, Any]:
    size_z, size_y, size_x = shape
    position = [length / 2 for length in shape] if position_nm is None else [p / voxel_size_nm for p in position_nm]
    panel_px = _ROW_PX / len(panels)
    across = max(size_x, size_z) if layout in ("xz", "yz") else max(size_x, size_y, size_z)
    across = min(across, extent_vox or across)
    if layout.startswith("4panel"):
        across *= 2
    step = [voxel_size_nm * 1e-9, "m"]
    return {
        # Named x, y, z in this order, so that x runs right whatever the axis order of the arrays.
        "dimensions": {"x": step, "y": step, "z": step},
        "position": [float(p) for p in reversed(position)],
        "crossSectionScale": round(max(across / panel_px, 1e-3), 6),
        "projectionScale": float(max(shape) * 1.6),
        "layers": layers,
        "crossSectionBackgroundColor": "#101316",
        "showAxisLines": True,
        "showDefaultAnnotations": False,
        "showSlices": True,
        "selectedLayer": {"visible": False, "layer": panels[1][0]},
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


def _image_layer(
    name: str, url: str, window: tuple[float, float] | None, store: str = "zarr3", shader: str = _SHADER
) -> dict[str, Any]:
    layer: dict[str, Any] = {"type": "image", "name": name, "source": f"{url.rstrip('/')}/|{store}:", "shader": shader}
    if window is not None:
        low, high = map(float, window)
        layer["shaderControls"] = {"contrast": {"range": [low, high], "window": [low, high]}}
    return layer


def _coloured(name: str, channel: ChannelView, url: str, store: str = "zarr3") -> dict[str, Any]:
    layer = _image_layer(name, url, channel.window, store, _COLOUR_SHADER.format(colour=channel.colour))
    # Half transparent, as layers are by default, they would add up to half of their brightness.
    return {**layer, "blend": "additive", "opacity": 1}


def _at_channel(index: int | None) -> dict[str, Any]:
    """What a layer shows along the axis of channels, which neuroglancer takes for an axis of the layer alone."""
    return {} if index is None else {"localDimensions": {"c'": [1, ""]}, "localPosition": [index]}


def _label_layer(name: str, url: str, store: str) -> dict[str, Any]:
    return {"type": "segmentation", "name": name, "source": f"{url.rstrip('/')}/|{store}:", "visible": False}
