"""Mixed precision: bfloat16 where the device computes in it natively, which halves to quarters the time of the network."""

from __future__ import annotations

import torch

from isofield.prior.spec import Precision


def native_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware: NVIDIA from Ampere on, x86 CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in probes)


def mixed_precision(device: torch.device, precision: Precision = "auto") -> torch.autocast:
    """Context in which a network computes: "auto" is bfloat16 where native and float32 elsewhere, "float32" always that."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "auto" and native_bfloat16(device))
