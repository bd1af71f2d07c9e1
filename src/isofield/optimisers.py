"""Adam, by torch's own arithmetic, and Muon for the kernels inside a convolutional network.

Functions of torch instead of its classes: the first object of such a class loads torch's compiler, which on a CPU takes as long
as all else that a job does before its first step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam

MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum")
"""Names of the tensors that an optimiser may keep for a parameter."""
EPSILON = 1e-8
MOMENTUM = 0.95
UPDATE_RMS = 0.2
"""Root mean square of an update of Muon at a learning rate of 1: about that of Adam, so that one learning rate serves both."""
QUINTIC = (3.4445, -4.7750, 2.0315)
N_ITERATIONS = 5


class Adam:
    """Adam (Kingma & Ba 2015). state: parameter -> its moments by name, as in torch's class."""

    def __init__(self, parameters: Iterable[Tensor], betas: tuple[float, float], fused: bool) -> None:
        self.parameters, self.betas, self.fused = list(parameters), betas, fused
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move all parameters that have a gradient."""
        moved = [parameter for parameter in self.parameters if parameter.grad is not None]
        states = [self.state.setdefault(parameter, {}) for parameter in moved]
        for parameter, state in zip(moved, states, strict=True):
            if not state:
                state["step"] = torch.zeros((), device=parameter.device if self.fused else "cpu")
                state |= {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        averages, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        adam(
            moved,
            [parameter.grad for parameter in moved],
            averages,
            squares,
            [],
            steps,
            foreach=False,
            fused=self.fused,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )


class Muon:
    """Momentum whose every singular value is made one, for the kernels inside a network; Adam for all else.

    Kernels inside are the weights of more than two axes, but for the first and the last of these. Source: Jordan et al., Muon: an
    optimizer for hidden layers in neural networks (2024); scaled as in Liu et al. 2025 (arXiv 2502.16982), section 2.2.
    """

    def __init__(self, parameters: Iterable[Tensor], betas: tuple[float, float], fused: bool) -> None:
        """betas, fused: of Adam."""
        parameters = list(parameters)
        self.kernels = [parameter for parameter in parameters if parameter.ndim > 2][1:-1]
        inside = set(self.kernels)
        self.rest = Adam((parameter for parameter in parameters if parameter not in inside), betas, fused)
        self.state = self.rest.state

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move all parameters that have a gradient."""
        alike: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for kernel in self.kernels:
            if kernel.grad is not None:
                alike[kernel.shape[0], kernel[0].numel()].append(kernel)
        for shape, kernels in alike.items():
            updates = orthogonalised(torch.stack([self._ahead(kernel).reshape(shape) for kernel in kernels]))
            for kernel, update in zip(kernels, updates, strict=True):
                kernel.sub_(update.reshape(kernel.shape), alpha=learning_rate * UPDATE_RMS * max(shape) ** 0.5)
        self.rest.step(learning_rate)

    def _ahead(self, kernel: Tensor) -> Tensor:
        """The gradient with Nesterov's momentum."""
        state = self.state.setdefault(kernel, {})
        momentum = state.setdefault("momentum", torch.zeros_like(kernel)).lerp_(kernel.grad, 1 - MOMENTUM)
        return kernel.grad.lerp(momentum, MOMENTUM)


def orthogonalised(matrices: Tensor) -> Tensor:
    """The matrices (N, rows, columns) with singular values near one, 0.7 to 1.2, and their singular vectors as they are.

    Newton-Schulz iteration by a quintic, for which that range is enough (Jordan et al. 2024). Iterated are the Gram matrices and
    the product of polynomials in them, which are smaller than the matrices: kernels are several times longer than wide.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    # The norm of Frobenius is at least the largest singular value.
    x = x / x.square().sum(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    gram = x @ x.mT
    one = torch.eye(gram.shape[1], device=gram.device)
    product = one.expand_as(gram)
    a, b, c = QUINTIC
    for _ in range(N_ITERATIONS):
        factor = a * one + b * gram + c * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.mT if tall else x
