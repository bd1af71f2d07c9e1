"""Adam is torch's; Muon's steps are what its paper says, and neither loads the compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isofield.optimisers import UPDATE_RMS, Adam, Muon, orthogonalised

BETAS = (0.9, 0.99)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.SiLU(), nn.Conv2d(8, 12, 3), nn.SiLU(), nn.Conv2d(12, 6, 3), nn.Conv2d(6, 1, 3))


def loss(model: nn.Module, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return (model(torch.randn(3, 2, 12, 12, generator=generator)) - 1).square().mean()


@pytest.mark.parametrize("fused", [False, True])
def test_adam_is_that_of_torch_to_the_last_bit(fused):
    ours, theirs = network(), network()
    adam, reference = Adam(ours.parameters(), BETAS, fused), torch.optim.Adam(theirs.parameters(), betas=BETAS, fused=fused)
    for step in range(20):
        rate = 0.01 / (1 + step)
        reference.param_groups[0]["lr"] = rate
        for model in (ours, theirs):
            model.zero_grad()
            loss(model, step).backward()
        adam.step(rate)
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000), st.floats(-3, 3))
def test_orthogonalised_is_near_the_nearest_orthogonal_matrix(rows, columns, seed, magnitude):
    torch.manual_seed(seed)
    # Singular values from 1 down to 0.05, of any overall size.
    values = torch.logspace(0, -1.3, min(rows, columns)) * 10**magnitude
    left, right = (torch.linalg.qr(torch.randn(n, len(values)))[0] for n in (rows, columns))
    made = orthogonalised((left * values @ right.mT)[None])[0]
    along = left.mT @ made @ right
    assert torch.diagonal(along).min() > 0.6
    assert torch.diagonal(along).max() < 1.25
    assert (along - torch.diag(torch.diagonal(along))).abs().max() < 1e-2


def test_nothing_orthogonalised_is_nothing():
    assert torch.equal(orthogonalised(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5))


def test_muon_moves_kernels_inside_by_orthogonal_matrices_and_all_else_by_adam():
    model, twin = network(), network()
    muon, adam = Muon(model.parameters(), BETAS, fused=False), Adam(twin.parameters(), BETAS, fused=False)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    loss(model, 0).backward()
    loss(twin, 0).backward()
    muon.step(0.01)
    adam.step(0.01)
    twins = dict(twin.named_parameters())
    for name, value in model.named_parameters():
        if name not in ("2.weight", "4.weight"):
            assert torch.equal(value, twins[name]), name
            continue
        assert not torch.allclose(value, twins[name], atol=1e-4), name
        moved = (before[name] - value.detach()).flatten(1)
        size = 0.01 * UPDATE_RMS * max(moved.shape) ** 0.5
        assert torch.linalg.svdvals(moved / size)[0] < 1.25
        assert float((moved / size).square().sum()) == pytest.approx(min(moved.shape), rel=0.25)


def test_muon_keeps_momentum():
    model = network()
    muon = Muon(model.parameters(), BETAS, fused=False)
    kernel = model[2].weight
    for _ in range(2):
        model.zero_grad()
        loss(model, 0).backward()
        muon.step(0.0)
    # Twice the same gradient, a twentieth of what is new each time.
    torch.testing.assert_close(muon.state[kernel]["momentum"], kernel.grad * (1 - 0.95**2))


def test_what_has_no_gradient_stays():
    model = network()
    model[2].weight.requires_grad_(False)
    before = model[2].weight.clone()
    muon = Muon(model.parameters(), BETAS, fused=True)
    loss(model, 0).backward()
    muon.step(0.1)
    assert torch.equal(model[2].weight, before)


STEP = """
import sys, torch
{imports}
weight = torch.nn.Parameter(torch.ones(3))
weight.sum().backward()
{step}
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize(
    ("imports", "step", "loads"),
    [
        ("from isofield.optimisers import Muon", "Muon([weight], (0.9, 0.99), True).step(0.1)", False),
        ("", "torch.optim.Adam([weight]).step()", True),
    ],
    ids=["ours", "torch's class"],
)
def test_no_compiler_is_loaded(imports, step, loads):
    program = STEP.format(imports=imports, step=step)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loads)
