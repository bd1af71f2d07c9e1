"""TIFF files written by Pillow, with hand-made descriptions as other programs write them, and by tifffile."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from reads_as import reads_as

from isofield.errors import InputError
from isofield.source import open_source
from isofield.source.probe import probe

SIZE = (50, Fraction(23, 5), Fraction(47, 10))
OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0"
DimensionOrder="XYZCT" Type="uint16" SizeX="11" SizeY="7" SizeZ="{z}" SizeC="{c}" SizeT="{t}" {sizes}>
<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{second}<TiffData/></Pixels></Image></OME>"""
NM = (
    'PhysicalSizeZ="50" PhysicalSizeZUnit="nm" PhysicalSizeY="4.6" PhysicalSizeYUnit="nm" '
    'PhysicalSizeX="4.7" PhysicalSizeXUnit="nm"'
)


def with_pillow(path, planes, description=None, resolution=None):
    """Multi-page TIFF by Pillow; `resolution` (x, y) as stored rationals."""
    tags = {270: description} if description else {}
    if resolution:
        tags |= {282: IFDRational(*resolution[0]), 283: IFDRational(*resolution[1])}
    first, *others = (Image.fromarray(plane) for plane in planes)
    first.save(path, save_all=True, append_images=others, tiffinfo=tags)


def ome(z=5, c=1, t=1, sizes=NM):
    return OME.format(z=z, c=c, t=t, sizes=sizes, second='<Channel ID="Channel:0:1"/>' if c > 1 else "")


def test_ome_tiff_of_another_writer(tmp_path, ramp, spec):
    with_pillow(tmp_path / "a.ome.tif", ramp, ome())
    volume = open_source(spec(tmp_path / "a.ome.tif"))
    assert volume.info == probe(spec(tmp_path / "a.ome.tif"))
    assert (volume.info.format, volume.info.shape, volume.info.dtype) == ("ome-tiff", (1, 5, 7, 11), "uint16")
    assert volume.info.voxel_size_nm == SIZE
    np.testing.assert_array_equal(volume.data.compute(), ramp[None])
    assert volume.truth is None


@pytest.mark.parametrize(
    "sizes",
    [
        NM,
        'PhysicalSizeZ="0.05" PhysicalSizeY="0.0046" PhysicalSizeX="0.0047"',  # the schema's unit: micrometre
        'PhysicalSizeZ="500" PhysicalSizeZUnit="&#197;" PhysicalSizeY="0.0000046" PhysicalSizeYUnit="mm" '
        'PhysicalSizeX="0.0047" PhysicalSizeXUnit="&#181;m"',
        'PhysicalSizeZ="0.05000000074505806" PhysicalSizeY="0.0046" PhysicalSizeX="0.0046999999999999993"',
    ],
)
def test_ome_units_are_exact(tmp_path, ramp, spec, sizes):
    with_pillow(tmp_path / "a.tif", ramp, ome(sizes=sizes))
    assert probe(spec(tmp_path / "a.tif")).voxel_size_nm == SIZE


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ("", "state none"),
        ('PhysicalSizeY="4" PhysicalSizeX="4"', "no size along z"),
        (NM.replace('"nm"', '"league"'), "league"),
        (NM.replace('"nm"', '"pixel"'), "no unit of length"),
    ],
)
def test_a_voxel_size_is_never_guessed(tmp_path, ramp, spec, sizes, reason):
    with_pillow(tmp_path / "a.tif", ramp, ome(sizes=sizes))
    with pytest.raises(InputError, match=rf"source\.voxel_size_nm.*{reason}"):
        probe(spec(tmp_path / "a.tif"))
    assert probe(spec(tmp_path / "a.tif", voxel_size_nm=(50, 4.6, 4.7))).voxel_size_nm == SIZE


@pytest.mark.parametrize(
    "options",
    [
        {"bigtiff": True},
        {"byteorder": ">"},
        {"tile": (16, 16), "compression": "zlib"},
        {"compression": "lzw", "predictor": True, "rowsperstrip": 2},
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "uint8", "int8", "int16", "float32", "float64"])
def test_layouts_and_dtypes(tmp_path, ramp, spec, options, dtype):
    values = (ramp % 251).astype(dtype) if dtype[0] == "u" else (ramp % 251 - 125.0).astype(dtype)
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 0.05, "PhysicalSizeY": 0.0046, "PhysicalSizeX": 0.0047}
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata=metadata, **options)
    volume = open_source(spec(tmp_path / "a.ome.tif"))
    assert volume.info.dtype == dtype
    assert volume.info.voxel_size_nm == SIZE
    assert volume.data.dtype == np.dtype(dtype)
    assert volume.data.dtype.isnative
    np.testing.assert_array_equal(volume.data.compute(), values[None])


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX"])
def test_one_channel_of_several(tmp_path, two_channels, spec, axes):
    stored = two_channels if axes == "CZYX" else two_channels.swapaxes(0, 1)
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, metadata={"axes": axes})
    size = {"voxel_size_nm": (50, 5, 5)}
    for channel in (0, 1):
        volume = open_source(spec(tmp_path / "a.ome.tif", channel=channel, **size))
        assert volume.info.shape == (1, 5, 7, 11)
        np.testing.assert_array_equal(volume.data.compute(), two_channels[channel : channel + 1])
    with pytest.raises(InputError, match=r"source\.channel.*2 channels"):
        probe(spec(tmp_path / "a.ome.tif", **size))
    with pytest.raises(InputError, match=r"source\.channel: 2"):
        probe(spec(tmp_path / "a.ome.tif", channel=2, **size))


def test_colour_samples_are_channels(tmp_path, ramp, spec):
    colour = np.stack([ramp % 251, ramp % 241, ramp % 239], axis=-1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb", metadata=None)
    volume = open_source(spec(tmp_path / "a.tif", channel=2, voxel_size_nm=(50, 5, 5)))
    np.testing.assert_array_equal(volume.data.compute()[0], colour[..., 2])


def test_time_of_length_one_is_dropped_and_more_refused(tmp_path, ramp, spec):
    with_pillow(tmp_path / "one.tif", ramp, ome(t=1))
    with_pillow(tmp_path / "two.tif", np.concatenate([ramp, ramp]), ome(t=2))
    assert probe(spec(tmp_path / "one.tif")).shape == (1, 5, 7, 11)
    with pytest.raises(InputError, match="2 time points"):
        probe(spec(tmp_path / "two.tif"))


def test_planes_that_the_metadata_promise_must_be_there(tmp_path, ramp, spec):
    xml = ome(z=6).replace("<TiffData/>", '<TiffData IFD="0" PlaneCount="6"/>')
    with_pillow(tmp_path / "a.tif", ramp, xml)
    with pytest.raises(InputError, match="1 planes that are not there"):
        probe(spec(tmp_path / "a.tif"))


def uuid_of(name):
    return f"urn:uuid:{uuid5(NAMESPACE_URL, name)}"


def ome_of_a_set(names):
    """OME-XML that spreads the planes over one file each, as many exporters do; every file of the set holds it."""
    data = '<TiffData IFD="0" FirstZ="{}" FirstC="0" FirstT="0" PlaneCount="1"><UUID FileName="{}">{}</UUID></TiffData>'
    planes = "".join(data.format(z, name, uuid_of(name)) for z, name in enumerate(names))
    return ome().replace("<TiffData/>", planes)


def test_ome_tiff_of_many_files(tmp_path, ramp, spec):
    names = [f"plane{z}.ome.tif" for z in (3, 0, 4, 1, 2)]
    for name, plane in zip(names, ramp, strict=True):
        own = ome_of_a_set(names).replace("<OME ", f'<OME UUID="{uuid_of(name)}" ', 1)
        with_pillow(tmp_path / name, [plane], own)
    volume = open_source(spec(tmp_path / names[0]))
    reads_as(volume, ramp)
    assert volume.info.identity["n_files"] == 5
    (tmp_path / names[2]).unlink()
    with pytest.raises(InputError, match="1 planes that are not there"):
        probe(spec(tmp_path / names[0]))


def test_a_file_of_a_set_whose_metadata_are_elsewhere_is_refused(tmp_path, ramp, spec):
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    xml = f'<OME xmlns="{schema}"><BinaryOnly MetadataFile="x.ome.tif"/></OME>'
    with_pillow(tmp_path / "a.tif", ramp, xml)
    with pytest.raises(InputError, match="another file"):
        probe(spec(tmp_path / "a.tif", voxel_size_nm=(50, 5, 5)))


IMAGEJ = "ImageJ=1.54f\nimages=5\nslices=5\n{}loop=false\n"


@pytest.mark.parametrize(
    ("lines", "resolution"),
    [
        ("unit=nm\nspacing=50.0\n", ((212765, 1000000), (217391, 1000000))),
        ("unit=nm\nspacing=5e1\n", ((10, 47), (1000, 4600))),
        ("unit=\\u00B5m\nspacing=0.05\n", ((212765957, 1000000), (217391304, 1000000))),
        ("unit=micron\nspacing=0.05\n", ((10000, 47), (5000, 23))),
    ],
)
def test_imagej_sizes_are_exact(tmp_path, ramp, spec, lines, resolution):
    with_pillow(tmp_path / "a.tif", ramp, IMAGEJ.format(lines), resolution)
    volume = open_source(spec(tmp_path / "a.tif"))
    assert volume.info.format == "imagej-tiff"
    assert volume.info.voxel_size_nm == SIZE
    np.testing.assert_array_equal(volume.data.compute(), ramp[None])


@pytest.mark.parametrize("lines", ["unit=nm\n", "spacing=50.0\n", "unit=pixel\nspacing=50.0\n"])
def test_imagej_without_spacing_or_unit_states_no_size(tmp_path, ramp, spec, lines):
    with_pillow(tmp_path / "a.tif", ramp, IMAGEJ.format(lines), ((1, 5), (1, 5)))
    with pytest.raises(InputError, match=r"source\.voxel_size_nm"):
        probe(spec(tmp_path / "a.tif"))


def test_imagej_hyperstack_in_one_contiguous_run(tmp_path, two_channels, spec):
    """ImageJ writes large stacks with a single page header; tifffile's imagej mode does the same."""
    metadata = {"axes": "ZCYX", "spacing": 50, "unit": "nm"}
    tifffile.imwrite(
        tmp_path / "a.tif",
        two_channels.swapaxes(0, 1),
        imagej=True,
        resolution=(1 / 4.7, 1 / 4.6),
        metadata=metadata,
    )
    volume = open_source(spec(tmp_path / "a.tif", channel=1))
    assert volume.info.voxel_size_nm == SIZE
    np.testing.assert_array_equal(volume.data.compute(), two_channels[1:])


def test_plain_multipage_needs_a_configured_size(tmp_path, ramp, spec):
    with_pillow(tmp_path / "a.tif", ramp)
    with pytest.raises(InputError, match=r"source\.voxel_size_nm"):
        probe(spec(tmp_path / "a.tif"))
    volume = open_source(spec(tmp_path / "a.tif", voxel_size_nm=(50, 4.6, 4.7)))
    assert (volume.info.format, volume.info.voxel_size_nm) == ("tiff", SIZE)
    np.testing.assert_array_equal(volume.data.compute(), ramp[None])


def test_a_single_plane_is_no_volume(tmp_path, ramp, spec):
    with_pillow(tmp_path / "a.tif", ramp[:1])
    with pytest.raises(InputError, match="each of z, y, x"):
        probe(spec(tmp_path / "a.tif", voxel_size_nm=(50, 5, 5)))


def test_axes_that_nothing_names_are_refused(tmp_path, two_channels, spec):
    tifffile.imwrite(tmp_path / "a.tif", two_channels)
    with pytest.raises(InputError, match="known are"):
        probe(spec(tmp_path / "a.tif", voxel_size_nm=(50, 5, 5)))


def test_several_series_need_a_choice(tmp_path, ramp, spec):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(ramp[:, :3], metadata={"axes": "ZYX"})
        writer.write(ramp, metadata={"axes": "ZYX"})
    size = {"voxel_size_nm": (50, 5, 5)}
    with pytest.raises(InputError, match=r"source\.dataset"):
        probe(spec(tmp_path / "a.tif", **size))
    for wrong in ("2", "second"):
        with pytest.raises(InputError, match=rf"source\.dataset: '{wrong}'"):
            probe(spec(tmp_path / "a.tif", dataset=wrong, **size))
    volume = open_source(spec(tmp_path / "a.tif", dataset="1", **size))
    np.testing.assert_array_equal(volume.data.compute()[0], ramp)


def test_unsupported_dtypes_are_refused(tmp_path, ramp, spec):
    for dtype in ("uint32", "float16", "complex64"):
        tifffile.imwrite(tmp_path / "a.tif", ramp.astype(dtype), metadata={"axes": "ZYX"})
        with pytest.raises(InputError, match=f"holds {dtype}"):
            probe(spec(tmp_path / "a.tif", voxel_size_nm=(50, 5, 5)))


def test_reads_from_many_threads_and_after_pickling(tmp_path, spec):
    big = np.arange(40 * 64 * 48, dtype=np.uint16).reshape(40, 64, 48)
    tifffile.imwrite(tmp_path / "a.tif", big, metadata={"axes": "ZYX"}, tile=(16, 16), compression="zlib")
    data = pickle.loads(pickle.dumps(open_source(spec(tmp_path / "a.tif", voxel_size_nm=(5, 5, 5))).data))
    with ThreadPoolExecutor(8) as pool:
        planes = list(pool.map(lambda z: data[0, z].compute(scheduler="synchronous"), range(40)))
    np.testing.assert_array_equal(np.stack(planes), big)
