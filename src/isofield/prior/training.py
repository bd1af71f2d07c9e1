"""Training the prior: deterministic in its seed, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from isofield.optimisers import Muon
from isofield.prior.denoiser import Denoiser
from isofield.prior.patches import PatchBatch, PatchSampler
from isofield.prior.spec import PriorSpec


@dataclass
class TrainingState:
    """Everything that training needs to go on: weights, their average, optimiser moments, step, losses."""

    denoiser: Denoiser
    average: Denoiser
    optimiser: Muon
    step: int = 0
    losses: list[tuple[int, float, float]] = field(default_factory=list)
    """(step, mean loss, mean loss of the posterior-mean share) per LOSS_EVERY steps."""
    running: list[tuple[float, float]] = field(default_factory=list)
    """Both losses of each step since the last entry of `losses`."""


LOSS_EVERY = 20
N_STATISTICS_BATCHES = 8


def initial_state(spec: PriorSpec, sampler: PatchSampler, seed: int, device: torch.device) -> TrainingState:
    """Fresh weights drawn from `seed`; sigma_data and sigma_residual measured on the sampler's own patches."""
    batches = [sampler.batch(-1 - i & 0x7FFFFFFF, 32) for i in range(N_STATISTICS_BATCHES)]
    sigma_data = math.sqrt(sum(float(b.clean.var()) for b in batches) / len(batches))
    residual = sum(float(((b.clean - b.condition[:, :1]) ** 2).mean()) for b in batches) / len(batches)
    torch.manual_seed(seed)
    ratio = sampler.degradation.ratio
    denoiser = Denoiser(spec, max(sigma_data, 1e-3), max(math.sqrt(residual), 1e-3), ratio).to(device)
    average = Denoiser(spec, denoiser.sigma_data, denoiser.sigma_residual, ratio).to(device)
    average.load_state_dict(denoiser.state_dict())
    return TrainingState(denoiser, average, make_optimiser(denoiser))


def make_optimiser(denoiser: Denoiser) -> Muon:
    """Muon, for what docs/method.md says it is worth. Fused: many small parameters cost more in calls than in arithmetic."""
    return Muon(denoiser.parameters(), betas=(0.9, 0.99), fused=True)


def learning_rate(spec: PriorSpec, step: int) -> float:
    """Linear rise over warmup_steps, then half a cosine down to zero at the last step."""
    rise = min(1.0, (step + 1) / spec.warmup_steps)
    return spec.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / spec.steps)))


def train(state: TrainingState, spec: PriorSpec, sampler: PatchSampler, seed: int) -> Iterator[TrainingState]:
    """Train from state.step to spec.steps, yielding the state after every step. Step k depends on (seed, k) only.

    Raises FloatingPointError when the loss is not finite.
    """
    device = next(state.denoiser.parameters()).device
    while state.step < spec.steps:
        step = state.step
        batch = sampler.batch(step, spec.batch)
        generator = torch.Generator().manual_seed(_mix(seed, step))
        loss, mean_loss = denoising_loss(state.denoiser, spec, batch, generator, device)
        state.denoiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.denoiser.parameters(), 1.0)
        state.optimiser.step(learning_rate(spec, step))
        update_average(state.average, state.denoiser, min(spec.ema_decay, (1 + step) / (10 + step)))
        state.running.append((float(loss.detach()), float(mean_loss.detach())))
        state.step += 1
        if state.step % LOSS_EVERY == 0 or state.step == spec.steps:
            total, mean = (sum(column) / len(column) for column in zip(*state.running, strict=True))
            if not math.isfinite(total):
                raise FloatingPointError(f"training loss is {total} at step {state.step}")
            state.losses.append((state.step, total, mean))
            state.running.clear()
        yield state


def denoising_loss(
    denoiser: Denoiser, spec: PriorSpec, batch: PatchBatch, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """EDM loss, weight 1 / c_out^2 (Karras et al. 2022, eq. 8), over the three shares of the batch.

    Returns the mean over the batch and the mean over its posterior-mean share: the squared error in units of the
    residual's variance, so 1.0 is what interpolation alone achieves.
    """
    clean, condition = (torch.from_numpy(a).to(device) for a in (batch.clean, batch.condition))
    n = clean.shape[0]
    n_mean = round(n * spec.posterior_mean_share)
    n_unconditional = round(n * spec.unconditional_share)
    noise = torch.randn(clean.shape, generator=generator)
    log_sigma = spec.sigma_log_mean + spec.sigma_log_std * torch.randn(n, generator=generator)
    sigma = log_sigma.exp().clamp(max=spec.sigma_max * 0.999)
    noise, sigma = noise.to(device), sigma.to(device)
    flag = clean.new_ones(n)
    flag[n - n_unconditional :] = 0
    condition = condition * flag[:, None, None, None]
    noisy = clean + sigma[:, None, None, None] * noise
    sigma[:n_mean] = torch.inf
    base = condition[:, :1]
    denoised = denoiser.precondition(noisy, base, sigma, condition, flag)
    _, c_out, _, _ = denoiser.coefficients(clean, sigma, flag)
    per_patch = ((denoised - clean) / c_out).square().mean(dim=(1, 2, 3))
    return per_patch.mean(), per_patch[:n_mean].mean() if n_mean else per_patch.mean()


@torch.no_grad()
def update_average(average: Denoiser, denoiser: Denoiser, decay: float) -> None:
    """Move `average` by 1 - decay of the way to `denoiser`."""
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(denoiser.parameters()), None)


def _mix(seed: int, step: int) -> int:
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63


def run_training(
    state: TrainingState,
    spec: PriorSpec,
    sampler: PatchSampler,
    seed: int,
    save: Callable[[TrainingState], None],
    progress: Callable[[TrainingState], None],
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the end, or until `stop()`, saving every `checkpoint_every_s` seconds and after the last step."""
    saved = time.monotonic()
    for current in train(state, spec, sampler, seed):
        progress(current)
        if time.monotonic() - saved > spec.checkpoint_every_s:
            save(current)
            saved = time.monotonic()
        if stop():
            break
    save(state)
