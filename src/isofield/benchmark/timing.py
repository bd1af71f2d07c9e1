"""Wall time and operations of a piece of work, and what the device is able to do at best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from isofield.prior.precision import native_bfloat16

Work = Callable[[], object]


def timed(work: Work, device: torch.device, repeats: int = 3) -> float:
    """Least of `repeats` wall times in seconds, after one run to warm up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        wait_for(device)
        started = time.perf_counter()
        work()
        wait_for(device)
        best = min(best, time.perf_counter() - started)
    return best


def counted(work: Work) -> float:
    """Floating-point operations of matrix products and convolutions in `work`, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def wait_for(device: torch.device) -> None:
    """Return once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class DevicePeak:
    """What a device was seen to do: matrix products per second in one precision, and bytes read and written per second."""

    flop_per_s: float
    bytes_per_s: float
    dtype: str

    @classmethod
    def measured(cls, device: torch.device) -> DevicePeak:
        """From square products of 2048 (8192 on CUDA) in the precision the network uses, and copies of 256 MB (2 GB)."""
        cuda = device.type == "cuda"
        n = 8192 if cuda else 2048
        dtype = torch.bfloat16 if native_bfloat16(device) else torch.float32
        factor = torch.randn(n, n, device=device).to(dtype)
        product_s = timed(lambda: factor @ factor, device)
        source = torch.empty((2**31 if cuda else 2**28) // 4, device=device)
        target = torch.empty_like(source)
        copy_s = timed(lambda: target.copy_(source), device)
        return cls(2 * n**3 / product_s, 2 * source.numel() * 4 / copy_s, str(dtype).removeprefix("torch."))

    def floor_s(self, flops: float, n_bytes: float) -> float:
        """The least time in seconds that so many operations and so many bytes take."""
        return max(flops / self.flop_per_s, n_bytes / self.bytes_per_s)

    def __str__(self) -> str:
        return f"{self.flop_per_s / 1e12:.2f} TFLOP/s in {self.dtype}, {self.bytes_per_s / 1e9:.0f} GB/s, both measured"
