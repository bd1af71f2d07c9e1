"""Precision: bfloat16 where the device computes in it, single precision where that is asked for or all there is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isofield.prior import precision
from isofield.prior.denoiser import Denoiser
from isofield.prior.precision import mixed_precision, native_bfloat16
from isofield.prior.spec import PriorSpec

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
NATIVE = native_bfloat16(CPU)
SIGMA_RESIDUAL = 0.2


def denoiser(choice):
    """Random weights everywhere: fresh ones have a zero head and say nothing."""
    torch.manual_seed(0)
    made = Denoiser(PriorSpec(channels=(16, 16), precision=choice), 0.5, SIGMA_RESIDUAL)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1)
    return made.requires_grad_(False)


def conditions(n):
    return torch.randn(n, PriorSpec().n_condition, 16, 24, generator=torch.Generator().manual_seed(1))


def posterior_mean(made, condition):
    return made(None, torch.full((len(condition),), torch.inf), condition)


def types_inside(made):
    """Types that the convolutions of the network answer in."""
    seen = set()
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, out: seen.add(out.dtype))
    posterior_mean(made, conditions(2))
    return seen


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_just_where_it_is_native_and_float32_is_never(monkeypatch, native):
    monkeypatch.setattr(precision, "native_bfloat16", lambda device: native)
    for choice, expected in (("auto", native), ("float32", False)):
        with mixed_precision(CPU, choice):
            assert torch.is_autocast_enabled("cpu") == expected
            product = torch.ones(4, 4) @ torch.ones(4, 4)
        assert product.dtype == (torch.bfloat16 if expected else torch.float32)
        assert types_inside(denoiser(choice)) == {torch.bfloat16 if expected else torch.float32}


@pytest.mark.parametrize(("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_graphics_cards_from_ampere_on_are_native(monkeypatch, capability, native):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert native_bfloat16(torch.device("cuda")) is native


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_processors_with_avx512_bf16_or_amx_are_native(monkeypatch, avx512, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert native_bfloat16(CPU) == (avx512 or amx)


def test_where_torch_cannot_tell_it_is_not_native(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not native_bfloat16(CPU)
    assert not native_bfloat16(torch.device("meta"))


def test_only_the_network_computes_in_bfloat16(monkeypatch):
    """What goes in and comes out is in single precision, so the answer is off by a share of the correction, not of the slice."""
    monkeypatch.setattr(precision, "native_bfloat16", lambda device: True)
    condition = conditions(2)
    condition[:, :1] += 1000.0
    rough, exact = posterior_mean(denoiser("auto"), condition), posterior_mean(denoiser("float32"), condition)
    assert rough.dtype == torch.float32
    silent = denoiser("auto")
    nn.init.zeros_(silent.network.head.weight)
    nn.init.zeros_(silent.network.head.bias)
    assert torch.equal(posterior_mean(silent, condition), condition[:, :1])
    # In bfloat16 throughout, values near 1000 would be off by up to 4.
    assert float((rough - exact).abs().max()) < 0.1 * float((exact - condition[:, :1]).abs().max())


@pytest.mark.skipif(not NATIVE, reason="this processor does not compute in bfloat16 natively, so auto is float32 here")
def test_here_auto_is_close_to_single_precision_but_not_equal():
    condition = conditions(4)
    rough, exact = (posterior_mean(denoiser(choice), condition) for choice in ("auto", "float32"))
    correction = exact - condition[:, :1]
    off = float((rough - exact).std() / correction.std())
    assert 0 < off < 0.02
    assert types_inside(denoiser("auto")) == {torch.bfloat16}


@pytest.mark.skipif(NATIVE, reason="this processor computes in bfloat16 natively, so auto is not float32 here")
def test_here_auto_is_single_precision():
    condition = conditions(4)
    rough, exact = (posterior_mean(denoiser(choice), condition) for choice in ("auto", "float32"))
    assert torch.equal(rough, exact)


@pytest.mark.parametrize("choice", ["auto", "float32"])
def test_the_same_slices_get_the_same_answer_bit_for_bit(choice):
    condition = conditions(4)
    made = denoiser(choice)
    first = posterior_mean(made, condition)
    posterior_mean(made, conditions(7))
    assert torch.equal(first, posterior_mean(made, condition))
