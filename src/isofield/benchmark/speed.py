"""`isofield benchmark speed`: how fast each part of the work is on this device, and how far from what it could be."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from isofield.benchmark.timing import DevicePeak, Work, counted, timed, wait_for
from isofield.blend import Windows, gather, whole_blocks
from isofield.blocks import BlockGrid, BlocksSpec
from isofield.config import Config
from isofield.field.batch import BlockBatch
from isofield.field.block import BlockData
from isofield.field.checkpoint import pack_field, unpack_field
from isofield.field.fit import FitResult, fit_fields, render_fields
from isofield.field.inputs import block_data, sections_needed
from isofield.field.targets import distillation_targets
from isofield.geometry import ZYX, AxialMap
from isofield.intensity import to_dtype
from isofield.measurement import MeasurementModel
from isofield.prior.denoiser import Denoiser
from isofield.prior.patches import LateralDegradation, PatchSampler
from isofield.prior.training import initial_state, train
from isofield.quality.baselines.regressor import Regressor

FLOAT = 4
N_TRAINING_STEPS = 10


@dataclass(frozen=True)
class SpeedSetting:
    """`batch` blocks of block_vox^3 output voxels, with context on all sides, measured `ratio` times coarser along z."""

    block_vox: int = 128
    ratio: int = 8
    batch: int = 1
    repeats: int = 3


class SpeedBenchmark:
    """Times the parts one by one, on noise and with random weights: neither changes the time.

    Mvoxel/s counts the voxels that the blocks own; of training, those of its patches. The floor of a part is its matrix
    operations over the device's measured rate or the bytes it cannot do without over the measured bandwidth, whichever takes
    longer.
    """

    def __init__(self, setting: SpeedSetting, config: Config, device: torch.device) -> None:
        self.setting, self.device = setting, device
        self.prior, self.fit = config.prior, config.fit
        self.field = config.field.decided(config.fit.detail, setting.ratio)
        side = 3 * setting.block_vox
        self.axial = AxialMap(Fraction(setting.ratio), side // setting.ratio)
        self.model = MeasurementModel(Fraction(setting.ratio))
        spec = BlocksSpec(write_vox=setting.block_vox)
        self.grid = BlockGrid.even(ZYX(self.axial.n_planes, side, side), spec)
        self.windows = Windows(self.grid, spec.overlap_vox)
        self.block = self.grid[self.grid.n_blocks // 2]
        rng = np.random.default_rng(0)
        self.sections = _noise(rng, self.axial.n_sections, side)
        self.degradation = LateralDegradation(self.model, self.prior.patch_vox)
        # Sections of small blocks may hold no patch.
        self.learned = self.sections if side >= self.degradation.length else _noise(rng, 3, self.degradation.length)
        self.blocks = [self._block(seed) for seed in range(setting.batch)]
        self.batch = BlockBatch.stack(self.blocks, device)
        torch.manual_seed(0)
        self.denoiser = Denoiser(self.prior, 0.5, 0.15, self.axial.ratio).to(device).eval().requires_grad_(False)
        self.rows: list[dict[str, object]] = []

    @cached_property
    def peak(self) -> DevicePeak:
        return DevicePeak.measured(self.device)

    def _block(self, seed: int) -> BlockData:
        read = self.block.read_roi
        needed = sections_needed(self.axial, read)
        _, y, x = read.slices
        units = self.sections[needed.start : needed.stop, y, x]
        noise = 0 if self.fit.detail else None
        field = self.block.field_roi
        return block_data(self.axial, self.model, read, field, needed, units, seed, noise_seed=noise, **self.prior.beside)

    def run(self) -> pd.DataFrame:
        """One row per part: seconds, mvoxel_per_s, tflop, gbyte, floor_s and times_floor."""
        n_owned = self.setting.batch * self.setting.block_vox**3
        n_read, n_field = self.batch.base.numel(), self.batch.field_base.numel()
        steps = self.fit.n_steps * self.fit.slice_share
        self._training()
        # Base in, two volumes of targets out.
        self._add("denoise", self._targets, n_owned, FLOAT * (n_read + 2 * n_field))
        self._add("fit", self._fit, n_owned, FLOAT * (n_read + 3 * n_field * steps))
        packed = self._packed()
        n_bytes = sum(map(len, packed))
        self._add("pack", self._packed, n_owned, n_bytes)
        self._add("render", lambda: self._rendered(packed), n_owned, n_bytes + FLOAT * 2 * n_field)
        values = self._rendered(packed)[0]
        # One block's own region, into which all 27 blocks around it reach; on the processor whatever the device.
        n_block = self.setting.block_vox**3
        self._add("blend", lambda: self._blended(values), n_block, FLOAT * n_field + n_block)
        regressor = self._regressor()
        self._add("regressor", lambda: self._regressed(regressor), n_block, FLOAT * 2 * n_block)
        return pd.DataFrame(self.rows)

    def seconds(self) -> dict[str, float]:
        """Seconds of what a run is made of: a training step; per block, to fit it, to render it and to blend its own region."""
        batch, repeats = self.setting.batch, self.setting.repeats
        training = timed(self._training_work()[1], self.device, repeats) / N_TRAINING_STEPS
        packed = self._packed()
        values = self._rendered(packed)[0]
        return {
            "training step": training,
            "fit": timed(lambda: (self._fit(), self._packed()), self.device, repeats) / batch,
            "render": timed(lambda: self._rendered(packed), self.device, repeats) / batch
            + timed(lambda: self._block(0), self.device, repeats),
            "blend": timed(lambda: self._blended(values), self.device, repeats),
        }

    def _add(self, part: str, work: Work, n_vox: int, n_bytes: float) -> None:
        flops = counted(work)
        self._row(part, timed(work, self.device, self.setting.repeats), n_vox, flops, n_bytes)

    def _row(self, part: str, seconds: float, n_vox: int, flops: float, n_bytes: float) -> None:
        floor = self.peak.floor_s(flops, n_bytes)
        row = {"part": part, "seconds": seconds, "mvoxel_per_s": n_vox / 1e6 / seconds, "tflop": flops / 1e12}
        self.rows.append(row | {"gbyte": n_bytes / 1e9, "floor_s": floor, "times_floor": seconds / floor})

    def _targets(self) -> object:
        return distillation_targets(self.batch, self.denoiser, self.fit.detail, self.fit.mirrored)

    def _fit(self) -> FitResult:
        return fit_fields(self.blocks, self.denoiser, self.field, self.fit, self.device)

    def _packed(self) -> list[bytes]:
        return [pack_field(self.fitted.fields, n, self.field) for n in range(self.setting.batch)]

    @cached_property
    def fitted(self) -> FitResult:
        return self._fit()

    def _rendered(self, packed: list[bytes]) -> np.ndarray:
        base = self.batch.field_base
        fields = [unpack_field(data, self.device) for data in packed]
        return torch.cat([render_fields(field, base[n : n + 1]) for n, field in enumerate(fields)]).cpu().numpy()

    def _blended(self, values: np.ndarray) -> np.ndarray:
        def render(index: int) -> np.ndarray:
            return values[tuple(slice(side) for side in self.grid[index].field_roi.shape)]

        return to_dtype(gather(self.block.write_roi, self.windows, whole_blocks(self.grid, render)).values * 100 + 128, "uint8")

    def _regressor(self) -> Regressor:
        regressor = Regressor(self.device, steps=1)
        regressor.train(self.learned, self.model, 0.0, 0)
        return regressor

    def _regressed(self, regressor: Regressor) -> np.ndarray:
        begin, end = self.block.write_roi.offset.z, self.block.write_roi.end.z
        _, y, x = self.block.write_roi.slices
        return regressor.reconstruct(self.sections[:, y, x], self.axial, begin, end)

    def _training(self) -> None:
        spec = self.prior
        one, some = self._training_work()
        flops = counted(one)
        seconds = timed(some, self.device, self.setting.repeats) / N_TRAINING_STEPS
        n_vox = spec.batch * spec.patch_vox**2
        self._row("training step", seconds, n_vox, flops, FLOAT * n_vox * (spec.n_condition + 2))

    def _training_work(self) -> tuple[Work, Work]:
        """One training step, and N_TRAINING_STEPS of them."""
        spec = self.prior.model_copy(update={"steps": 1000, "rounds": 1})
        sampler = PatchSampler([self.learned], self.degradation, 0, spec.neighbours)
        state = initial_state(spec, sampler, 0, self.device)
        steps = train(state, spec, sampler, 0)

        def some() -> None:
            for _ in range(N_TRAINING_STEPS):
                next(steps)
            wait_for(self.device)

        return lambda: next(steps), some


def _noise(rng: np.random.Generator, n: int, side: int) -> np.ndarray:
    """n sections of side x side, white noise in working units."""
    return rng.normal(0, 0.5, (n, side, side)).astype(np.float32)


def lines(table: pd.DataFrame, benchmark: SpeedBenchmark) -> list[str]:
    """The table for a person, with what it means in one sentence."""
    shown = table.copy()
    for name, form in (("seconds", "{:.3f}"), ("mvoxel_per_s", "{:.3f}"), ("tflop", "{:.4f}"), ("gbyte", "{:.3f}")):
        shown[name] = shown[name].map(form.format)
    shown["floor_s"] = shown["floor_s"].map("{:.4f}".format)
    shown["times_floor"] = shown["times_floor"].map("{:.1f}".format)
    cost = table.set_index("part")["seconds"]
    batch, side = benchmark.setting.batch, benchmark.setting.block_vox
    block_s = (cost["fit"] + cost["pack"] + cost["render"]) / batch + cost["blend"]
    ratio = block_s / cost["regressor"]
    return [
        f"{benchmark.device}: {benchmark.peak}",
        shown.to_string(index=False),
        f"a block of {side}^3 takes {block_s:.2f} s from sections to voxels ({side**3 / 1e6 / block_s:.3f} Mvoxel/s), "
        f"{ratio:.2f} times the regressor's {cost['regressor']:.2f} s",
    ]
