"""Profiles from files: what they mean in nm, and that nothing doubtful passes as one."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from isofield.errors import InputError
from isofield.source import paths
from isofield.source.kernel_file import MAX_POINTS, read_kernel
from isofield.source.paths import kernel_identity, kernel_path
from isofield.source.spec import KernelFile

VOXEL_NM = 8.0


def read(path, voxel_nm=None):
    return read_kernel(KernelFile("measurement", str(path), voxel_nm), VOXEL_NM)


def gaussian(at: np.ndarray, fwhm: float) -> np.ndarray:
    return 0.5 ** ((2 * at / fwhm) ** 2)


def spot(n_z: int = 31, step: float = 20.0, fwhm: float = 150.0, at_nm: float = 0.0) -> np.ndarray:
    """Stack (n_z, 9, 9) of a Gaussian spot, uint16; its centre lies `at_nm` from the middle plane's."""
    z = (np.arange(n_z) - (n_z - 1) / 2) * step - at_nm
    across = gaussian(np.arange(9) - 4.0, 3)
    return np.rint(60000 * gaussian(z, fwhm)[:, None, None] * across[:, None] * across).astype(np.uint16)


# What a file means


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "1\n2\n0.5\n"), ("a.TXT", "weight\n\n# b\n1.0\n 2e0 \n5E-1"), ("a.tsv", "1\n2\n.5")]
)
def test_one_column_is_a_weight_per_voxel_around_the_centre(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    kernel = read(tmp_path / name)
    np.testing.assert_allclose(np.diff(kernel.share_below(np.array([-12.0, -4, 4, 12]))), np.array([1, 2, 0.5]) / 3.5)
    assert (kernel.positions[0], kernel.positions[-1]) == (-12, 12)
    np.save(tmp_path / "a.npy", np.array([1, 2, 0.5]))
    assert read(tmp_path / "a.npy") == kernel


def test_integers_and_an_even_number_of_weights(tmp_path):
    np.save(tmp_path / "a.npy", np.array([3, 1], np.uint8))
    kernel = read(tmp_path / "a.npy")
    assert kernel.share_below(0) == pytest.approx(0.75)
    assert kernel.mean == pytest.approx(-2.0)


@pytest.mark.parametrize("separator", [",", ";", "\t", "  ", " , "])
def test_two_columns_are_linear_between_positions_in_nm(tmp_path, separator):
    rows = [("z_nm", "weight"), ("-30", "0"), ("0", "4"), ("10", "4"), ("20.5", "0")]
    (tmp_path / "a.csv").write_text("\ufeff" + "\n".join(separator.join(row) for row in rows), encoding="utf-8")
    kernel = read(tmp_path / "a.csv")
    assert kernel.positions == (-30, 0, 10, 20.5)
    assert kernel.weights == (0, 1, 1, 0)
    assert kernel.share_below(0) == pytest.approx(15 / (15 + 10 + 5.25))
    # In nm, whatever the output voxel measures; one column is not.
    choice = KernelFile("measurement", str(tmp_path / "a.csv"))
    assert read_kernel(choice, 100.0) == kernel
    (tmp_path / "one.csv").write_text("1\n2\n")
    assert read_kernel(KernelFile("measurement", str(tmp_path / "one.csv")), 100.0).positions[-1] == 100


def test_scale_means_nothing(tmp_path):
    for name, factor in (("a.csv", 1), ("b.csv", 1e-300), ("c.csv", 1e300)):
        (tmp_path / name).write_text("\n".join(f"{z},{w * factor}" for z, w in ((-10, 1), (0, 2), (10, 0))))
    kernels = [read(tmp_path / name) for name in ("a.csv", "b.csv", "c.csv")]
    for kernel in kernels[1:]:
        np.testing.assert_allclose(kernel.weights, kernels[0].weights)


@pytest.mark.parametrize("at_nm", [0.0, 33.0, -70.0])
def test_a_stack_is_summed_and_centred(tmp_path, at_nm):
    tifffile.imwrite(tmp_path / "a.tif", spot(at_nm=at_nm))
    kernel = read(tmp_path / "a.tif", (20, 5, 5))
    assert kernel.mean == pytest.approx(0, abs=0.01)
    at = np.array(kernel.positions)
    np.testing.assert_allclose(np.diff(at), 20)
    np.testing.assert_allclose(kernel.weights, gaussian(at, 150) / gaussian(at, 150).max(), atol=0.01)
    # Negative control: were it not centred, the profile would be found shifted.
    if at_nm:
        assert abs(at[np.argmax(kernel.weights)]) < 11 < abs(at_nm)


@pytest.mark.parametrize(
    "how",
    [
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 0.02, "PhysicalSizeY": 0.005, "PhysicalSizeX": 0.005}},
        {"imagej": True, "resolution": (200, 200), "metadata": {"axes": "ZYX", "spacing": 0.02, "unit": "um"}},
    ],
    ids=["ome", "imagej"],
)
def test_a_stack_s_own_voxel_size_is_taken_unless_another_is_given(tmp_path, how):
    path = tmp_path / "a.ome.tiff"
    tifffile.imwrite(path, spot(), **how)
    np.testing.assert_allclose(np.diff(read(path).positions), 20)
    np.testing.assert_allclose(np.diff(read(path, (30, 5, 5)).positions), 30)


def test_variables_and_relative_paths(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("1\n2\n1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PSF_FOLDER", str(tmp_path))
    assert read("a.csv") == read("$PSF_FOLDER/a.csv") == read("${NO_SUCH:-a.csv}")
    with pytest.raises(InputError, match=r"^source\.simulate\.kernel_file: '\$NO_SUCH': the variable NO_SUCH is not set"):
        kernel_path(KernelFile("source.simulate", "$NO_SUCH"))


def test_its_identity_is_its_content(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    choice = KernelFile("measurement", str(path))
    assert kernel_identity(None) == kernel_identity(choice) == {}
    path.write_text("1\n2\n1\n")
    first = kernel_identity(choice)
    path.write_text("1\n3\n1\n")
    assert kernel_identity(choice) != first
    path.write_text("1\n2\n1\n")
    assert kernel_identity(choice) == first
    monkeypatch.setattr(paths, "MAX_KERNEL_BYTES", 5)
    assert kernel_identity(choice) == {}


# What is none


def complaint(path, voxel_nm=None) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path, voxel_nm)
    assert len(caught.value.remedy) > 5
    return caught.value


WRONG_TABLES = {
    "": "holds 0 weights, two or more are needed",
    "weight\n": "holds 0 weights",
    "5\n": "holds 1 weights",
    "1,2\n": "holds one line of two numbers, which may be two weights or a position and a weight",
    "1,2,3\n": "its line 1, '1,2,3', is not one number or two",
    "1\n2,3\n": "its line 2, '2,3', is not one number",
    "0,1\n1\n": "its line 2, '1', is not two numbers",
    "1\nx\n2\n": "its line 2, 'x', is not one number",
    "z,w\nnm,1\n": "its line 2, 'nm,1', is not one number or two",
    "z,w\nnm,1/nm\n0,1\n": "its line 2, 'nm,1/nm', is not one number or two",
    "nm,3\n0,1\n1,1\n": "its line 1, 'nm,3', is not one number or two",
    "1,\n2,\n": "its line 1, '1,', is not one number or two",
    "1\n-0.5\n": "its weight number 2, -0.5, is negative",
    "1\nnan\n2\n": "its weight number 2, nan, is no finite number",
    "0,1\n1,inf\n": "its weight number 2, inf, is no finite number",
    "0,1\ninf,1\n": "its position number 2, inf, is no position in nm",
    "0\n0\n": "all its weights are 0",
    "0,1\n2,1\n1,1\n": "its positions do not ascend: 2 nm is followed by 1 nm",
    "0,1\n0,2\n": "its positions do not ascend: 0 nm is followed by 0 nm",
    "0,5\n0,7\n": "its positions do not ascend",
    "-1e308,1\n1e308,1\n": "its position number 1, -1e+308, is no position in nm",
    "0,1\n5e-324,0\n10,0\n": "is no profile",
}


@pytest.mark.parametrize("text", WRONG_TABLES, ids=[repr(t) for t in WRONG_TABLES])
def test_a_table_that_is_no_profile(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text)
    error = complaint(path)
    assert (error.thing, error.value) == ("measurement.kernel_file", str(path))
    assert error.limit.startswith(WRONG_TABLES[text])


def test_files_that_are_something_else(tmp_path):
    (tmp_path / "a.xlsx").write_text("1\n2\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "long.txt").write_text("1\n" * (MAX_POINTS + 1))
    (tmp_path / "huge.txt").write_text("1\n" * 2**20)
    for name, limit in (
        ("a.xlsx", "is of no known type; known are .csv, .tsv, .txt, .npy, .tif, .tiff"),
        ("binary.csv", "is not text"),
        ("folder.csv", "is not there"),
        ("nowhere.csv", f"is not there (looked for {tmp_path / 'nowhere.csv'})"),
        ("long.txt", f"holds {MAX_POINTS + 1} weights, {MAX_POINTS} at most are accepted"),
        ("huge.txt", f"has {2**21} bytes, more than {2**20}"),
    ):
        assert complaint(tmp_path / name).limit.startswith(limit)


def test_arrays_that_are_no_profile(tmp_path):
    path = tmp_path / "a.npy"
    for array, limit in (
        (np.ones((3, 2)), "holds float64 of shape (3, 2), not numbers along one axis"),
        (np.float64(3), "holds float64 of shape ()"),
        (np.ones(3, complex), "holds complex128"),
        (np.array(["1", "2"]), "holds <U1"),
        (np.array([1, -1]), "its weight number 2, -1, is negative"),
        (np.array([]), "holds 0 weights"),
    ):
        np.save(path, array)
        assert complaint(path).limit.startswith(limit)
    whole = path.read_bytes()
    for content in (b"", b"no array at all", whole[:-1] if len(whole) % 64 else whole[:100]):
        path.write_bytes(content)
        assert complaint(path).limit.startswith("is not an array of numbers")


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Hostile(tmp_path / "touched")], object), allow_pickle=True)
    assert complaint(tmp_path / "a.npy").limit.startswith("is not an array of numbers")
    assert not (tmp_path / "touched").exists()
    # Negative control: it would have.
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert (tmp_path / "touched").exists()


def test_stacks_that_are_no_profile(tmp_path):
    path, size = tmp_path / "a.tif", (20.0, 5.0, 5.0)
    nan, negative = (spot().astype(np.float32) for _ in range(2))
    nan[3, 4, 4], negative[5] = np.nan, -3.0
    for array, limit in (
        (spot()[0], "holds uint16 of axes YX and shape (9, 9), not a stack z, y, x of one channel"),
        (np.stack([spot(), spot()]), "holds uint16 of axes QQYX"),
        (nan, "its weight number 4, nan, is no finite number"),
        (negative, "its weight number 6, -243, is negative"),
        (np.zeros((5, 9, 9), np.uint8), "all its weights are 0"),
        (spot() + np.uint16(2000), "its first or last plane holds"),
        (spot()[:16], "its first or last plane holds 100% of what its brightest holds, more than 10%"),
    ):
        tifffile.imwrite(path, array)
        assert complaint(path, size).limit.startswith(limit)
    path.write_bytes(b"II*\0 and then nothing")
    assert complaint(path, size).limit.startswith("is a damaged TIFF")
    tifffile.imwrite(path, spot())
    path.write_bytes(path.read_bytes()[:3000])
    assert complaint(path, size).limit.startswith("is a damaged TIFF")


def test_two_series_are_not_chosen_from(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(spot())
        tiff.write(spot()[:, :5])
    assert complaint(tmp_path / "a.tif", (20, 5, 5)).limit == "holds 2 series, one is needed"


def test_voxel_sizes_that_are_missing_or_mean_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", spot())
    error = complaint(tmp_path / "a.tif")
    assert (error.thing, error.value) == ("measurement.kernel_voxel_nm", None)
    assert "is not known: a plain TIFF does not state it" in error.limit
    (tmp_path / "a.csv").write_text("1\n2\n")
    error = complaint(tmp_path / "a.csv", (20, 5, 5))
    assert (error.thing, error.value) == ("measurement.kernel_voxel_nm", [20, 5, 5])
    assert error.limit.endswith("is no stack")
