from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from isofield.errors import InputError
from isofield.geometry import AxialMap, Roi
from isofield.intensity import to_dtype
from isofield.measurement import Kernel, measurement_matrix
from isofield.source import open_source, thick_sections
from isofield.source.probe import probe
from isofield.source.simulate import simulated_info
from isofield.source.spec import SimulateSpec
from isofield.source.thick_sections import simulate
from isofield.source.volume import VolumeInfo

WHOLE = (slice(None),) * 4
INFO = VolumeInfo("x", "tiff", None, (1, 43, 12, 9), "uint8", (Fraction(8), Fraction(8), Fraction(8)), {"path": "x"})


@pytest.fixture
def tissue_like() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, 43, 12, 9), dtype=np.uint8)


@pytest.mark.parametrize("factor", [4, 8, 2.5, 4.88599, 1.05])
@pytest.mark.parametrize("operator", ["section", "skip", "gaussian"])
@pytest.mark.parametrize("chunks", [(1, 1, 12, 9), (1, 16, 5, 9), (1, 43, 12, 9)])
def test_simulation_is_the_whole_measurement_matrix(tissue_like, factor, operator, chunks):
    spec = SimulateSpec(factor=factor, operator=operator)
    measured, truth = simulate(da.from_array(tissue_like, chunks=chunks), spec)
    axial = AxialMap(Fraction(str(factor)), int(43 / Fraction(str(factor))))
    matrix = measurement_matrix(axial, range(axial.n_sections), 0, axial.n_planes, operator)
    expected = np.einsum("sz,czyx->csyx", matrix, tissue_like[:, : axial.n_planes])
    assert truth.shape[1] == axial.n_planes <= 43
    assert measured.dtype == truth.dtype == np.uint8
    assert measured.shape == simulated_info(INFO, spec).shape
    np.testing.assert_array_equal(truth[WHOLE], tissue_like[:, : axial.n_planes])
    np.testing.assert_allclose(measured[WHOLE], to_dtype(expected, "uint8"), atol=0)


def test_whole_factor_averages_whole_groups_and_crops_the_rest(tissue_like):
    measured, truth = simulate(da.from_array(tissue_like, chunks=(1, 5, 6, 9)), SimulateSpec(factor=4))
    groups = tissue_like[:, :40].reshape(1, 10, 4, 12, 9).mean(axis=2)
    np.testing.assert_array_equal(measured[WHOLE], np.rint(groups).astype(np.uint8))
    assert truth.shape[1] == 40


def test_integers_are_rounded_not_cut():
    """Negative control: a cast alone would give 0 where rounding gives 1."""
    planes = np.zeros((1, 4, 1, 1), np.uint8)
    planes[0, 1:] = 1
    measured, _ = simulate(da.from_array(planes), SimulateSpec(factor=2))
    assert measured[WHOLE].ravel().tolist() == [0, 1]  # 0.5 to the even 0, then 1
    measured, _ = simulate(da.from_array(np.tile(planes, (1, 2, 1, 1))), SimulateSpec(factor=4))
    assert measured[WHOLE].ravel().tolist() == [1, 1]
    assert np.uint8(0.75) == 0


def test_floats_stay_floats():
    planes = np.linspace(-1, 1, 40, dtype=np.float32).reshape(1, 40, 1, 1)
    measured, _ = simulate(da.from_array(planes), SimulateSpec(factor=4))
    assert measured.dtype == np.float32
    np.testing.assert_allclose(measured[WHOLE].ravel(), planes.reshape(10, 4).mean(axis=1), rtol=1e-5, atol=1e-7)


def test_info_is_exact_and_tells_simulations_apart():
    info = simulated_info(INFO, SimulateSpec(factor=4.88599))
    assert info.shape == (1, 8, 12, 9)
    assert info.voxel_size_nm == (Fraction(488599, 100000) * 8, 8, 8)
    others = [SimulateSpec(factor=4.886), SimulateSpec(factor=4.88599, operator="skip")]
    assert len({str(simulated_info(INFO, s).identity) for s in others} | {str(info.identity), str(INFO.identity)}) == 4


@pytest.mark.parametrize(
    ("voxel", "accepted"),
    [((8, 8, 8), True), ((8, 8, 8.07), True), ((8, 8, 8.09), False), ((16, 8, 8), False)],
)
def test_only_isotropic_volumes_are_simulated(voxel, accepted):
    info = replace(INFO, voxel_size_nm=tuple(Fraction(str(v)) for v in voxel))
    if accepted:
        simulated_info(info, SimulateSpec(factor=4))
    else:
        with pytest.raises(InputError, match=r"source\.simulate.*isotropic within 1 %"):
            simulated_info(info, SimulateSpec(factor=4))


def test_too_thin_a_volume_is_refused():
    with pytest.raises(InputError, match=r"source\.simulate\.factor"):
        simulated_info(replace(INFO, shape=(1, 7, 12, 9)), SimulateSpec(factor=4))


def test_through_the_front_door(tmp_path, spec, tissue_like):
    tifffile.imwrite(tmp_path / "a.tif", tissue_like[0], metadata={"axes": "ZYX"})
    source = spec(tmp_path / "a.tif", voxel_size_nm=(8, 8, 8), simulate={"factor": 8})
    volume = open_source(source)
    assert volume.info == probe(source)
    assert volume.info.voxel_size_nm == (64, 8, 8)
    assert volume.data.shape == volume.info.shape == (1, 5, 12, 9)
    np.testing.assert_array_equal(volume.truth.compute(), tissue_like[:, :40])


def test_a_kernel_from_a_file_degrades_by_its_profile(tmp_path, spec, tissue_like):
    tifffile.imwrite(tmp_path / "a.tif", tissue_like[0], metadata={"axes": "ZYX"})
    (tmp_path / "psf.csv").write_text("1\n2\n4\n1\n0\n")
    simulate_spec = {"factor": 5, "operator": "kernel", "kernel_file": str(tmp_path / "psf.csv")}
    source = spec(tmp_path / "a.tif", voxel_size_nm=(8, 8, 8), simulate=simulate_spec)
    volume = open_source(source)
    planes = tissue_like[:, :40].reshape(1, 8, 5, 12, 9).astype(float)
    expected = np.einsum("csp...,p->cs...", planes, np.array([1, 2, 4, 1, 0]) / 8)
    np.testing.assert_array_equal(volume.data.compute(), to_dtype(expected, "uint8"))
    # Another profile in the same file is another volume, and metadata alone tell.
    assert volume.info.identity == probe(source).identity
    (tmp_path / "psf.csv").write_text("1\n2\n4\n1\n1\n")
    assert probe(source).identity != volume.info.identity
    assert (open_source(source).data.compute() != volume.data.compute()).mean() > 0.3
    (tmp_path / "psf.csv").unlink()
    assert "kernel" not in probe(source).identity
    with pytest.raises(InputError, match=r"^source\.simulate\.kernel_file: .*is not there"):
        open_source(source)


def test_a_wide_profile_is_read_whole(tissue_like):
    """Wider than the sections by far, where two sections' depth on each side would not do."""
    kernel = Kernel((-17.0, 0.0, 17.0), (0.0, 1.0, 0.0))
    spec = SimulateSpec(factor=4, operator="kernel", kernel_file="x.csv")
    measured, _ = simulate(da.from_array(tissue_like), spec, kernel)
    matrix = measurement_matrix(AxialMap(Fraction(4), 10), range(10), 0, 40, "kernel", kernel_vox=kernel)
    expected = to_dtype(np.einsum("sz,czyx->csyx", matrix, tissue_like[:, :40]), "uint8")
    np.testing.assert_allclose(measured[WHOLE], expected, atol=0)
    cut = np.where(np.abs(np.arange(40) + 0.5 - (np.arange(10)[:, None] * 4 + 2)) < 10, matrix, 0)
    cut /= cut.sum(axis=1, keepdims=True)
    assert (measured[WHOLE] != to_dtype(np.einsum("sz,czyx->csyx", cut, tissue_like[:, :40]), "uint8")).mean() > 0.3


def test_only_the_planes_of_a_section_are_read(tissue_like):
    read = set()

    def reading(block, block_info=None):
        if block_info:
            read.add(block_info[0]["chunk-location"][1])
        return block

    planes = da.from_array(tissue_like, chunks=(1, 1, 12, 9)).map_blocks(reading, dtype=np.uint8)
    measured, _ = simulate(planes, SimulateSpec(factor=4))
    measured[:, 3:4, :, :]
    assert read == {12, 13, 14, 15}
    measured[0, 8, 2, 1::2]
    assert read == {12, 13, 14, 15, 32, 33, 34, 35}


@given(st.data(), st.sampled_from([2.5, 4, 4.88599]), st.sampled_from(["section", "gaussian"]), st.sampled_from([1, 500, 2**26]))
def test_any_part_is_that_part_of_all_however_few_planes_are_held(data, factor, operator, at_once):
    planes = np.random.default_rng(0).integers(0, 256, (1, 43, 5, 4), dtype=np.uint8)
    measured, truth = simulate(da.from_array(planes), SimulateSpec(factor=factor, operator=operator))
    for volume in (measured, truth):
        index = tuple(data.draw(st.slices(n) | st.integers(-n, n - 1)) for n in volume.shape)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thick_sections, "_BYTES_AT_ONCE", at_once)
            np.testing.assert_array_equal(volume[index], volume[WHOLE][index])


def test_truth_ends_where_the_sections_do(tmp_path, spec, tissue_like):
    tifffile.imwrite(tmp_path / "a.tif", tissue_like[0], metadata={"axes": "ZYX"})
    simulated = open_source(spec(tmp_path / "a.tif", voxel_size_nm=(8, 8, 8), simulate={"factor": 8}))
    beyond = Roi.between((36, 2, 0), (48, 7, 9))
    np.testing.assert_array_equal(simulated.read_truth(beyond), tissue_like[:, 36:40, 2:7])
    measured = open_source(spec(tmp_path / "a.tif", voxel_size_nm=(8, 8, 8)))
    with pytest.raises(ValueError, match="did not come from an isotropic volume"):
        measured.read_truth(beyond)
