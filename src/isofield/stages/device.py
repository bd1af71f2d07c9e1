"""Where torch computes, and with how many threads."""

from __future__ import annotations

import gc

import torch

from isofield.errors import InputError


def choose_device(name: str, n_threads: int) -> torch.device:
    """The device called `name` ("auto": CUDA where there is one), with torch set to `n_threads` CPU threads.

    The number of threads is part of what makes CPU results reproducible. Raises InputError if there is no such device.
    """
    torch.set_num_threads(n_threads)
    # Else convolutions "in float32" round their inputs to 10 bits.
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError("run.device", name, f"this machine has {torch.cuda.device_count()} CUDA devices", "Use auto or cpu")
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, the device's or the machine's, did not suffice."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # On the CPU torch has no type for it.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Give back what is kept for later tensors."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
