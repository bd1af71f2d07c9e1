"""CPU and CUDA tell the same story: same prior, same block, same answer within a stated tolerance."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import ndimage

from isofield.field.batch import BlockBatch
from isofield.field.fit import fit_fields, render_fields
from isofield.field.inputs import block_data, sections_needed
from isofield.field.spec import FieldSpec, FitSpec
from isofield.field.targets import distillation_targets
from isofield.geometry import AxialMap, Roi
from isofield.measurement import MeasurementModel
from isofield.prior.denoiser import Denoiser
from isofield.prior.spec import PriorSpec
from isofield.stages.device import choose_device

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

FACTOR, SHAPE = 4, (32, 40, 48)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FLOAT32, MIXED, FIELDS, TOGETHER = 2e-6, 1e-3, 1e-4, 1e-5
"""Rms tolerance in working units (the contrast range is 2): of targets rounded in float32, and in bfloat16, of fields, and of
fields that are fitted with others."""


@pytest.fixture(autouse=True)
def _device_as_stages_choose_it():
    """Which also decides what single precision means there."""
    assert choose_device("auto", torch.get_num_threads()) == CUDA


def block(seed):
    truth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    sections = (0.5 * truth / truth.std()).astype(np.float32).reshape(-1, FACTOR, *SHAPE[1:]).mean(axis=1)
    axial, roi = AxialMap(Fraction(FACTOR), len(sections)), Roi((0, 0, 0), SHAPE)
    needed = sections_needed(axial, roi)
    return block_data(axial, MeasurementModel(Fraction(FACTOR)), roi, roi, needed, sections, seed, 1, noise_seed=0)


def denoiser(precision, device):
    torch.manual_seed(0)
    made = Denoiser(PriorSpec(rounds=1, channels=(16, 32), precision=precision), 0.5, 0.2)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made.to(device).eval().requires_grad_(False)


def rms(difference):
    return float(difference.square().mean().sqrt())


def require_close(what, difference, tolerance):
    print(f"\n{what}: {rms(difference):.2g}, allowed {tolerance:g}")
    assert rms(difference) < tolerance


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", FLOAT32), ("auto", MIXED)])
@pytest.mark.parametrize("detail", [0.0, 1.0])
def test_targets_agree(precision, tolerance, detail):
    answers = []
    for device in (CPU, CUDA):
        batch = BlockBatch.stack([block(1)], device)
        answers.append({a: t.cpu() for a, t in distillation_targets(batch, denoiser(precision, device), detail).items()})
    for axis in answers[0]:
        require_close(f"targets, {precision}, detail {detail:g}", answers[0][axis] - answers[1][axis], tolerance)
        # Negative control: the network does something that could differ.
        assert rms(answers[0][axis] - torch.from_numpy(block(1).base)) > 5 * tolerance


@pytest.mark.parametrize("spec", [FitSpec(), FitSpec(mode="sds", steps=20)], ids=["distill", "sds"])
def test_fields_agree(spec):
    answers = []
    for device in (CPU, CUDA):
        fitted = fit_fields([block(1)], denoiser("float32", device), FieldSpec(), spec, device)
        assert fitted.sound.all()
        base = BlockBatch.stack([block(1)], device).field_base
        answers.append(render_fields(fitted.fields, base).cpu())
    require_close(f"fields, {spec.mode}", answers[0] - answers[1], FIELDS)


def test_a_block_in_a_batch_is_the_block_alone():
    alone = fit_fields([block(2)], denoiser("float32", CUDA), FieldSpec(), FitSpec(), CUDA)
    batch = [block(1), block(2), block(3)]
    together = fit_fields(batch, denoiser("float32", CUDA), FieldSpec(), FitSpec(), CUDA)
    base = BlockBatch.stack(batch, CUDA).field_base
    own = render_fields(alone.fields, base[1:2])[0]
    require_close("alone and in a batch", own - render_fields(together.fields, base)[1], TOGETHER)


def test_the_same_fit_twice_is_the_same():
    answers = [fit_fields([block(2)], denoiser("auto", CUDA), FieldSpec(), FitSpec(), CUDA) for _ in range(2)]
    base = BlockBatch.stack([block(2)], CUDA).field_base
    first, second = (render_fields(answer.fields, base) for answer in answers)
    require_close("twice", first - second, TOGETHER)
