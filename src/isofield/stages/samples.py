"""The picture of what a prior has learned: patches that it is trained on, and its answers."""

from __future__ import annotations

import io

import numpy as np
import torch

from isofield.prior.denoiser import Denoiser
from isofield.prior.patches import PatchSampler


def samples_picture(denoiser: Denoiser, sampler: PatchSampler, n: int = 6) -> bytes:
    """PNG of `n` training patches: degraded and interpolated, denoised by the prior, and as they were (or were restored)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    device = next(denoiser.parameters()).device
    batch = sampler.batch(2**30, n)
    condition = torch.from_numpy(batch.condition).to(device)
    with torch.no_grad():
        denoised = denoiser(None, torch.full((n,), torch.inf, device=device), condition).cpu().numpy()
    rows = (
        ("degraded", batch.condition[:, 0]),
        ("posterior mean", denoised[:, 0]),
        ("XY patch", batch.clean[:, 0]),
    )
    figure, axes = pyplot.subplots(3, n, figsize=(1.6 * n, 5), layout="constrained", squeeze=False)
    for row, (label, images) in zip(axes, rows, strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(np.asarray(image), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(label)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()
