"""What was said of a run's files and bytes in advance, beside what it left."""

from __future__ import annotations

from isofield.cost.storage import FILES_PER_RUN, field_bytes, image_bytes, n_files
from isofield.omezarr.metadata import level_shapes


def test_a_finished_run_has_no_more_files_than_were_promised(finished):
    found = sum(path.is_file() for path in finished.paths.root.rglob("*"))
    promised = n_files(finished.config, finished.layout)
    print(f"files: {found} of {promised}")
    assert finished.plan.projected["n_files"] == promised
    assert found <= promised
    # Nor absurdly few: what is promised beyond the constant is of the size of what is there.
    assert promised - FILES_PER_RUN < 4 * found


def test_fields_are_as_large_as_was_said(finished):
    spec = finished.config.field.decided(0.0, finished.plan.axial.ratio)
    expected = sum(field_bytes(spec, block.field_roi.shape) for block in finished.plan.block_grid)
    found = sum(path.stat().st_size for path in finished.store.folder.iterdir())
    assert 0.5 * expected < found <= expected <= finished.plan.projected["fields_bytes"]


def test_the_image_is_no_larger_than_its_voxels(finished):
    voxels = image_bytes(level_shapes(finished.plan.shape, finished.config.output.pyramid_min_vox), 1)
    assert finished.plan.projected["output_bytes"] == voxels == 48 * 64 * 64 + 24 * 32 * 32
    stored = sum(path.stat().st_size for path in finished.paths.isotropic.rglob("c/*/*/*"))
    assert 0.1 * voxels < stored < 1.1 * voxels
