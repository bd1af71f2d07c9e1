"""Training a network within a budget of time, or of steps where results must repeat."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from isofield.optimisers import Muon

N_TIMED_STEPS = 15
MAX_GRADIENT_NORM = 1.0
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """Muon, as for the prior; linear rise and half a cosine of the learning rate; an average of the weights, which is kept."""

    learning_rate: float
    warmup_steps: int
    ema_decay: float

    def rate(self, step: int, share: float) -> float:
        """Learning rate of step `step` when `share` (0 to 1) of the budget is spent."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * share))


def steps_within(seconds: float, steps: Iterable[object]) -> int:
    """How many steps fit into `seconds` on this device, from the pace of the first of `steps`.

    Counted once, before training: what else runs on the machine meanwhile then costs time and no step, and two methods that are
    compared have the same budget.
    """
    return steps_at(seconds, pace(steps)) if seconds > 0 else 0


def steps_at(seconds: float, seconds_per_step: float) -> int:
    """Steps in `seconds` at this pace, N_TIMED_STEPS at least."""
    return max(N_TIMED_STEPS, round(seconds / seconds_per_step))


def pace(steps: Iterable[object]) -> float:
    """Seconds that one of `steps` takes, from the first 2 * N_TIMED_STEPS.

    What runs just now makes some of the timed steps slow and none fast, hence a low percentile.
    """
    times = np.array([time.monotonic() for _ in itertools.islice(steps, 2 * N_TIMED_STEPS)])
    return float(np.percentile(np.diff(times)[-N_TIMED_STEPS:], 25))


def train_within(
    network: Network, loss: Callable[[int], Tensor], recipe: Recipe, seconds: float, steps: int | None
) -> tuple[Network, int]:
    """Train `network` in place for as many steps as `seconds` hold on this device, or for `steps` where that is given.

    loss(step) -> scalar. The learning rate follows the share of the steps that is done, so it always ends near zero. Returns the
    averaged network and the number of steps. Raises FloatingPointError when the loss is not finite.
    """
    if steps is None:
        untrained = copy.deepcopy(network.state_dict())
        steps = steps_within(seconds, (None for _ in _steps(network, loss, recipe, 2 * N_TIMED_STEPS, None)))
        network.load_state_dict(untrained)
    average = copy.deepcopy(network).requires_grad_(False)
    for _ in _steps(network, loss, recipe, steps, average):
        pass
    if not all(bool(torch.isfinite(p).all()) for p in average.parameters()):
        raise FloatingPointError(f"weights are not finite after {steps} steps")
    return average, steps


def _steps(network: nn.Module, loss: Callable[[int], Tensor], recipe: Recipe, steps: int, average: nn.Module | None):
    """Train `network` in place, keeping the average of its weights in `average`; yields after each step."""
    optimiser = Muon(network.parameters(), betas=(0.9, 0.99), fused=True)
    for step in range(steps):
        value = loss(step)
        network.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimiser.step(recipe.rate(step, step / steps))
        if average is not None:
            with torch.no_grad():
                decay = min(recipe.ema_decay, (1 + step) / (10 + step))
                for kept, current in zip(average.parameters(), network.parameters(), strict=True):
                    kept.lerp_(current, 1 - decay)
        yield step
