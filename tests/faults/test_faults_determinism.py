"""Jobs of any size in any order make the bytes of the undisturbed run."""

from __future__ import annotations

import pytest
from faulty_run import FaultyRun
from ledger import SAME

from isofield.plan import Plan


def arrays(digest: dict[str, str]) -> dict[str, str]:
    """What holds voxels."""
    return {name: sha for name, sha in digest.items() if name.startswith("isotropic.ome.zarr/") and "/c/" in name}


@pytest.mark.faults
def test_jobs_of_another_size_in_the_opposite_order_make_the_same_bytes(run, undisturbed, ledger):
    fit = {"blocks_per_job": 3, "batch_blocks": 2}
    run = FaultyRun(run.folder, run.forker, {"fit": fit, "output": {"shards_per_job": 2, "pyramid_span": 1}})
    for stage in ("plan", "train", "canvas"):
        assert run.stage(stage).status == 0
    plan = Plan.load(run.paths.plan)
    jobs = {"fit": plan.n_fit_jobs, "blend": plan.n_blend_jobs, "pyramid": len(plan.jobs.pyramid)}
    before = Plan.load(undisturbed.before["end"] / "plan.json")
    assert plan.n_fit_jobs != before.n_fit_jobs
    assert plan.n_blend_jobs != before.n_blend_jobs
    for stage, n in jobs.items():
        for job in reversed(range(n)):
            ended = run.stage(stage, job)
            assert ended.status == 0, ended.text
    assert run.stage("finish").status == 0
    expected = arrays(undisturbed.digests["end"])
    assert len(expected) > 8
    assert arrays(run.digest()) == expected
    ledger.note("jobs of another size, in the opposite order", "fit, blend, pyramid", SAME)
    # Negative control: another seed is another image.
    other = FaultyRun(run.folder, run.forker, {"run": {"seed": 1}})
    for stage in ("plan", "train", "canvas", "fit", "blend"):
        assert other.stage(stage).status == 0
    made = arrays(other.digest())
    grey = [name for name in made if name.startswith("isotropic.ome.zarr/0/")]
    assert len(grey) > 4
    assert all(made[name] != expected[name] for name in grey)
