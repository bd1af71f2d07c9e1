"""A field on disk: grids quantised to one byte per number, everything else in single precision."""

from __future__ import annotations

import json

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from isofield.field.representation import Fields, make_fields
from isofield.field.spec import FieldSpec

LEVELS = 127


def pack_field(fields: Fields, index: int, spec: FieldSpec) -> bytes:
    """Field `index` of a batch as safetensors bytes, the same bytes for the same numbers.

    Feature grids are stored as int8 times one scale per feature, at most 1/254 of the feature's largest value off.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in fields.state_dict().items():
        own = value[index].detach().cpu()
        if name.startswith("grids."):
            scale = own.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / LEVELS
            tensors[name] = (own / scale[:, None, None, None]).round().to(torch.int8).contiguous()
            tensors[f"scale.{name}"] = scale.contiguous()
        else:
            tensors[name] = own.contiguous()
    about = {"format": "isofield-field-1", "spec": spec.model_dump(mode="json"), "shape": list(fields.shape)}
    return save(tensors, {"isofield": json.dumps(about, sort_keys=True)})


def unpack_field(data: bytes, device: torch.device) -> Fields:
    """The field in `data`, as a batch of one. Raises ValueError if it is damaged."""
    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["isofield"])
        fields = make_fields(FieldSpec.model_validate(about["spec"]), about["shape"], [0])
        values = {}
        for name in fields.state_dict():
            value = tensors[name]
            if name.startswith("grids."):
                value = value.to(torch.float32) * tensors[f"scale.{name}"][:, None, None, None]
            values[name] = value[None]
        fields.load_state_dict(values)
    except (SafetensorError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"not a field: {error}") from error
    return fields.to(device).requires_grad_(False)
