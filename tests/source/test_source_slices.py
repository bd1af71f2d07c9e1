from __future__ import annotations

import json
import os

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from reads_as import reads_as

from isofield.errors import InputError
from isofield.source import open_source
from isofield.source.probe import probe

SIZE = {"voxel_size_nm": (40, 4, 4)}


def write(folder, planes, name="slice_{}.tif", numbers=None):
    folder.mkdir(exist_ok=True)
    for number, plane in zip(numbers or range(len(planes)), planes, strict=True):
        Image.fromarray(plane).save(folder / name.format(number))


@pytest.fixture
def deep() -> np.ndarray:
    """ZYX uint16 (12, 7, 11): enough slices for slice_10 to sort before slice_2 as text."""
    return np.arange(12 * 7 * 11, dtype=np.uint16).reshape(12, 7, 11)


@pytest.mark.parametrize(
    "name",
    ["slice_{}.tif", "{}.TIFF", "run7_z{:05d}_c0.tif", "Slice_{0:05d}_z={0}.4um.tif", "20260101_{}.tif"],
)
@pytest.mark.parametrize("start", [0, 8])
def test_slices_are_ordered_by_number(tmp_path, deep, spec, name, start):
    write(tmp_path / "s", deep, name, range(start, start + 12))
    (tmp_path / "s" / "readme.txt").write_text("kept by people beside their slices")
    (tmp_path / "s" / "._slice_3.tif").write_text("left behind by a file browser")
    volume = open_source(spec(tmp_path / "s", **SIZE))
    assert volume.info == probe(spec(tmp_path / "s", **SIZE))
    assert (volume.info.format, volume.info.shape) == ("tiff-slices", (1, 12, 7, 11))
    np.testing.assert_array_equal(volume.data.compute()[0], deep)


def test_order_of_names_as_text_would_differ(tmp_path, deep):
    """Negative control of the test above."""
    write(tmp_path / "s", deep)
    in_text_order = [tifffile.imread(file) for file in sorted((tmp_path / "s").iterdir())]
    assert not np.array_equal(in_text_order, deep)


def test_acquisition_times_in_names_do_not_count_as_slice_numbers(tmp_path, deep, spec):
    (tmp_path / "s").mkdir()
    for z, plane in enumerate(deep):
        Image.fromarray(plane).save(tmp_path / "s" / f"{202601010000 + 7 * z * z}_z{z}.tif")
    np.testing.assert_array_equal(open_source(spec(tmp_path / "s", **SIZE)).data.compute()[0], deep)


def test_gaps_are_refused_by_number(tmp_path, deep, spec):
    write(tmp_path / "s", deep, numbers=[1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 14, 15])
    with pytest.raises(InputError, match=r"lacks 3 of its slices: 4, 9, 10\."):
        probe(spec(tmp_path / "s", **SIZE))


def test_a_long_gap_is_named_in_brief(tmp_path, deep, spec):
    write(tmp_path / "s", deep[:2], numbers=[0, 10**9])
    with pytest.raises(InputError, match=r"lacks 999999999 of its slices: 1, 2, .*, 16, \.\.\."):
        probe(spec(tmp_path / "s", **SIZE))


def test_other_images_among_the_slices_are_refused(tmp_path, deep, spec):
    write(tmp_path / "s", deep)
    Image.fromarray(deep[0]).save(tmp_path / "s" / "overview.tif")
    with pytest.raises(InputError, match=r"overview\.tif"):
        probe(spec(tmp_path / "s", **SIZE))


def test_two_numberings_that_repeat_are_refused(tmp_path, deep, spec):
    write(tmp_path / "s", deep[:6], "z{}_c0.tif")
    write(tmp_path / "s", deep[6:], "z{}_c1.tif")
    with pytest.raises(InputError, match="no number in the names"):
        probe(spec(tmp_path / "s", **SIZE))


@pytest.mark.parametrize("odd", [np.zeros((7, 12), np.uint16), np.zeros((7, 11), np.uint8)])
def test_unequal_slices_are_refused(tmp_path, deep, spec, odd):
    write(tmp_path / "s", deep)
    Image.fromarray(odd).save(tmp_path / "s" / "slice_6.tif")
    with pytest.raises(InputError, match=r"slice_6\.tif is uint"):
        probe(spec(tmp_path / "s", **SIZE))


def test_an_unequal_slice_that_probing_did_not_sample_is_refused_when_read(tmp_path, deep, spec, monkeypatch):
    monkeypatch.setattr("isofield.source.slices._sample", lambda files: files[:1])
    write(tmp_path / "s", deep)
    Image.fromarray(np.zeros((7, 12), np.uint16)).save(tmp_path / "s" / "slice_6.tif")
    volume = open_source(spec(tmp_path / "s", **SIZE))
    np.testing.assert_array_equal(volume.data[0, 5].compute(), deep[5])
    with pytest.raises(InputError, match=r"slice_6\.tif is uint16"):
        volume.data[0, 6].compute()


def test_unusual_slices_are_sampled_wherever_they_are(tmp_path, spec):
    write(tmp_path / "s", np.zeros((200, 4, 4), np.uint8))
    Image.fromarray(np.zeros((4, 9), np.uint8)).save(tmp_path / "s" / "slice_101.tif")
    with pytest.raises(InputError, match=r"slice_101\.tif"):
        probe(spec(tmp_path / "s", **SIZE))


def test_colour_slices(tmp_path, deep, spec):
    colour = np.stack([deep % 251, deep % 241, deep % 239], axis=-1).astype(np.uint8)
    write(tmp_path / "s", colour)
    volume = open_source(spec(tmp_path / "s", channel=1, **SIZE))
    np.testing.assert_array_equal(volume.data.compute()[0], colour[..., 1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_slices_of_another_writer(tmp_path, deep, spec, dtype):
    values = (deep % 251).astype(dtype) * (1 if dtype == "uint8" else 257)
    (tmp_path / "s").mkdir()
    for z, plane in enumerate(values):
        (tmp_path / "s" / f"z{z}.png").write_bytes(imagecodecs.png_encode(plane))
    volume = open_source(spec(tmp_path / "s", voxel_size_nm=(50, 4.6, 4.7)))
    reads_as(volume, values)
    assert volume.info.format == "png-slices"
    (tmp_path / "s" / "z5.png").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of its slices: 5\."):
        probe(spec(tmp_path / "s", **SIZE))


def test_jpeg_slices(tmp_path, deep, spec):
    """Lossy: what another decoder makes of them is what is read."""
    (tmp_path / "s").mkdir()
    for z, plane in enumerate((deep % 251).astype(np.uint8)):
        (tmp_path / "s" / f"z{z}.jpg").write_bytes(imagecodecs.jpeg_encode(plane, level=95))
    decoded = [imagecodecs.jpeg_decode((tmp_path / "s" / f"z{z}.jpg").read_bytes()) for z in range(12)]
    reads_as(open_source(spec(tmp_path / "s", voxel_size_nm=(50, 4.6, 4.7))), np.stack(decoded))


def test_images_that_are_no_grey_values_are_refused(tmp_path, deep, spec):
    (tmp_path / "s").mkdir()
    for z in range(3):
        Image.fromarray((deep[z] % 2).astype(np.uint8)).convert("P").save(tmp_path / "s" / f"{z}.png")
    with pytest.raises(InputError, match=r"no grey values \(mode 'P'\)"):
        probe(spec(tmp_path / "s", **SIZE))
    Image.fromarray((deep[0] % 251).astype(np.uint8)).save(tmp_path / "s" / "3.jpg")
    with pytest.raises(InputError, match="slices of png and jpeg"):
        probe(spec(tmp_path / "s", **SIZE))
    write(tmp_path / "s", deep)
    # Beside TIFF slices, other images are previews.
    reads_as(open_source(spec(tmp_path / "s", voxel_size_nm=(50, 4.6, 4.7))), deep)


@pytest.mark.parametrize(("written", "refused"), [("PNG", False), ("JPEG", False), ("BMP", True), ("EPS", True)])
def test_a_file_of_another_format_is_no_slice_whatever_its_name(tmp_path, spec, written, refused):
    """Of what Pillow knows; PostScript, say, it has another program run."""
    for i in range(3):
        Image.fromarray(np.full((8, 9), 40 * i, np.uint8)).save(tmp_path / f"{i}.png", format=written)
    if refused:
        with pytest.raises(InputError, match=r"source\.path: .*\.png': is a damaged image"):
            open_source(spec(tmp_path, voxel_size_nm=(50, 5, 5)))
    else:
        assert open_source(spec(tmp_path, voxel_size_nm=(50, 5, 5))).data.compute()[0, :, 0, 0].tolist() == [0, 40, 80]


def test_slices_larger_than_pillow_expects(tmp_path, spec, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    (tmp_path / "s").mkdir()
    for z in range(2):
        (tmp_path / "s" / f"{z}.png").write_bytes(imagecodecs.png_encode(np.zeros((7, 11), np.uint8)))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "s" / "0.png")
    assert probe(spec(tmp_path / "s", **SIZE)).shape == (1, 2, 7, 11)


def test_multipage_files_are_no_slices(tmp_path, ramp, spec):
    (tmp_path / "s").mkdir()
    tifffile.imwrite(tmp_path / "s" / "stack.tif", ramp, metadata=None)
    with pytest.raises(InputError, match="5 pages"):
        probe(spec(tmp_path / "s", **SIZE))


def test_a_slice_folder_states_no_size(tmp_path, deep, spec):
    write(tmp_path / "s", deep)
    with pytest.raises(InputError, match=r"source\.voxel_size_nm.*folder of slices"):
        probe(spec(tmp_path / "s"))
    with pytest.raises(InputError, match=r"source\.dataset"):
        probe(spec(tmp_path / "s", dataset="0", **SIZE))


def test_identity_is_small_and_follows_every_slice(tmp_path, spec):
    write(tmp_path / "s", np.zeros((300, 4, 4), np.uint8))
    before = probe(spec(tmp_path / "s", **SIZE)).identity
    assert len(json.dumps(before)) < 1000
    assert probe(spec(tmp_path / "s", **SIZE)).identity == before
    file = tmp_path / "s" / "slice_17.tif"
    os.utime(file, ns=(1, 1))  # older than the newest, so the latest time of the folder stays
    assert probe(spec(tmp_path / "s", **SIZE)).identity != before
