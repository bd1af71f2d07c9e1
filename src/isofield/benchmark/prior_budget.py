"""How many training steps of the prior a time holds on this device: those of both rounds, and the restoring between them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from isofield.config import Sections
from isofield.cost.effort import n_restored
from isofield.plan import Plan
from isofield.prior.patches import PatchSampler
from isofield.prior.training import TrainingState, initial_state, train
from isofield.progress import say
from isofield.quality.baselines.budget import N_TIMED_STEPS, pace, steps_at
from isofield.stages.device import choose_device
from isofield.stages.training import make_sampler, second_sampler, small_part


@dataclass(frozen=True)
class Pace:
    """Seconds: of a step of training, the mean of its rounds; and of restoring, between the rounds."""

    step_s: float
    between_s: float = 0.0


def prior_steps(config: Sections, plan: Plan, seconds: float) -> int:
    """Training steps of the prior that fit into `seconds` on this device, with what is restored between the rounds."""
    measured = training_pace(config, plan)
    steps = steps_at(seconds - measured.between_s, measured.step_s)
    say(f"benchmark: {steps} training steps in {seconds:.0f} s, {measured.between_s:.0f} s of which are between the rounds")
    return steps


def training_pace(config: Sections, plan: Plan) -> Pace:
    """How fast the prior of a run is trained, from some steps of each round and a part that is restored."""
    spec, seed = config.prior, config.run.seed
    device = choose_device(config.run.device, config.run.threads_per_job)
    sampler, _ = make_sampler(config, plan)

    def some_steps(sampler: PatchSampler, rounds: int) -> tuple[TrainingState, float]:
        short = spec.model_copy(update={"steps": 2 * N_TIMED_STEPS, "rounds": rounds})
        state = initial_state(short, sampler, seed, device)
        return state, pace(train(state, short, sampler, seed))

    state, first_s = some_steps(sampler, 1)
    if spec.rounds == 1:
        return Pace(first_s)
    part, sees = small_part(sampler), spec.model_copy(update={"rounds": 1})
    started = time.monotonic()
    second = second_sampler(sampler, [part], state.average, sees, spec, plan, device)
    part_s = time.monotonic() - started
    measured_vox = sum(stack.size for stack in sampler.pool)
    parts = n_restored(spec, measured_vox, plan.axial.ratio) / (part.size * plan.axial.ratio)
    _, second_s = some_steps(second, 2)
    # An init is the first network: all steps are the second one's.
    return Pace(second_s if spec.init else (first_s + second_s) / 2, part_s * float(parts))
