"""Training a network within a budget of time, or of steps where results must repeat."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

MAX_GRADIENT_NORM = 1.0
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """Adam with a linear rise and half a cosine of the learning rate, and an average of the weights that is kept."""

    learning_rate: float
    warmup_steps: int
    ema_decay: float

    def rate(self, step: int, share: float) -> float:
        """Learning rate of step `step` when `share` (0 to 1) of the budget is spent."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * share))


def train_within(
    network: Network, loss: Callable[[int], Tensor], recipe: Recipe, seconds: float, steps: int | None
) -> tuple[Network, int]:
    """Train `network` in place until `seconds` have passed, or for exactly `steps` steps where that is given.

    loss(step) -> scalar. The learning rate follows the share of the budget that is spent, so it always ends near
    zero. Returns the averaged network and the number of steps done. Raises FloatingPointError when the loss is not finite.
    """
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0, betas=(0.9, 0.99))
    begin, step = time.monotonic(), 0

    def share() -> float:
        if steps is not None:
            return step / steps if steps else 1.0
        return (time.monotonic() - begin) / seconds if seconds > 0 else 1.0

    while (spent := share()) < 1:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate(step, spent)
        value = loss(step)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimiser.step()
        with torch.no_grad():
            decay = min(recipe.ema_decay, (1 + step) / (10 + step))
            for kept, current in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(current, 1 - decay)
        step += 1
    if not all(bool(torch.isfinite(p).all()) for p in average.parameters()):
        raise FloatingPointError(f"weights are not finite after {step} steps")
    return average, step
