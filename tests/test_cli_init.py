"""`isofield init`: a configuration that says what a volume's metadata say, and asks for what they do not."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tifffile
import zarr

from isofield.cli import main
from isofield.config import load_config, make_config
from isofield.errors import InputError
from isofield.source.probe import probe
from isofield.stages.drafting import name_for
from isofield.units import units_of

UM = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
SIZES = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.3, **UM}


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def init(at_home, capsys):
    """Runs the command; returns its status, what it printed and the text of the file."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["init", *arguments])
        captured = capsys.readouterr()
        files = sorted(at_home.glob("*.yaml"))
        return status, captured.out + captured.err, files[-1].read_text() if files else ""

    return run


def ome_tiff(path, shape=(6, 40, 48), axes="ZYX", **metadata) -> str:
    tifffile.imwrite(path, np.zeros(shape, np.uint16), ome=True, photometric="minisblack", metadata={"axes": axes, **metadata})
    return path.name


def uncommented(text: str) -> str:
    """The file with its commented-out keys in force, as a user would take them over."""
    return re.sub(r"^  # ([a-z_]+: )", r"  \1", text, flags=re.MULTILINE)


def test_what_the_metadata_say_is_said_and_the_file_runs_as_it_is(init, at_home):
    volume = ome_tiff(at_home / "brain 1.ome.tif", **SIZES)
    status, said, text = init(volume)
    assert status == 0
    assert re.search(r"voxels +6 x 40 x 48 \(z, y, x\), uint16", said)
    assert re.search(r"voxel size +300 x 100 x 100 nm .*metadata", said)
    assert re.search(r"result +18 x 40 x 48 voxels of 100 nm", said)
    assert "isofield plan brain_1.yaml" in said
    made = load_config(at_home / "brain_1.yaml")
    assert made == make_config({"run": {"name": "brain_1"}, "source": {"path": volume}})
    assert probe(made.source).shape == (1, 6, 40, 48)
    # What it suggests are keys that exist, with values they take.
    (at_home / "taken.txt").write_text(uncommented(text))
    taken = load_config(at_home / "taken.txt")
    assert (taken.measurement.operator, taken.measurement.fwhm_nm, taken.prior.steps) == ("gaussian", 300, 2000)
    assert taken.source.voxel_size_nm == (300, 100, 100)


def test_an_unknown_voxel_size_is_asked_for_and_nothing_runs_without(init, at_home):
    tifffile.imwrite(at_home / "plain.tif", np.zeros((6, 40, 48), np.uint8))
    status, said, text = init("plain.tif")
    assert status == 1
    assert "source.voxel_size_nm (a plain TIFF does not state it)" in said
    assert re.search(r"NOT GUESSED: z, y, x in nm.*\n(  #.*\n)?  voxel_size_nm: null\n", text)
    with pytest.raises(InputError, match=r"source\.voxel_size_nm"):
        probe(load_config(at_home / "plain.yaml").source)
    assert main(["plan", "plain.yaml"]) == 2
    # Given, it is written down and nothing is asked any more.
    status, said, text = init("plain.tif", "--voxel-size-nm", "40,4.6,4.6", "--force")
    assert status == 0
    assert "voxel_size_nm: [40, 4.6, 4.6]" in text
    assert "asked" not in said
    assert "fill in" not in said


def test_one_of_several_channels_is_asked_for_by_name(init, at_home):
    volume = ome_tiff(at_home / "two.ome.tif", (6, 2, 40, 48), "ZCYX", Channel={"Name": ["DAPI", "tubulin"]}, **SIZES)
    status, said, text = init(volume)
    assert status == 1
    assert "source.channel" in said
    assert "0 DAPI, 1 tubulin" in text
    with pytest.raises(InputError, match=r"source\.channel"):
        probe(load_config(at_home / "two.yaml").source)
    status, _, text = init(volume, "--channel", "1", "--force")
    assert (status, load_config(at_home / "two.yaml").source.channel) == (0, 1)


@pytest.mark.parametrize(("typed", "channel"), [("all", "all"), ("2,0", (2, 0)), ("1", 1)])
def test_channels_are_named_as_the_configuration_names_them(init, at_home, typed, channel):
    volume = ome_tiff(at_home / "three.ome.tif", (6, 3, 40, 48), "ZCYX", **SIZES)
    status, said, _ = init(volume, "--channel", typed)
    made = load_config(at_home / "three.yaml")
    assert (status, made.source.channel) == (0, channel)
    assert len(units_of(made)) == (3 if channel == "all" else len(channel) if isinstance(channel, tuple) else 1)
    assert re.search(r"result +18 x 40 x 48 voxels", said)


def test_a_name_that_cannot_be_is_refused_before_a_file_is_written(init, at_home):
    status, said, text = init(ome_tiff(at_home / "a.ome.tif", **SIZES), "--name", "a/b")
    assert (status, text) == (2, "")
    assert "run.name" in said


@pytest.mark.parametrize(
    ("typed", "limit"), [("first", "is no number"), ("0,3", "has 3 channels"), ("1,1", "names a channel twice")]
)
def test_channels_that_cannot_be_are_refused_before_a_file_is_written(init, at_home, capsys, typed, limit):
    volume = ome_tiff(at_home / "three.ome.tif", (6, 3, 40, 48), "ZCYX", **SIZES)
    status, said, text = init(volume, "--channel", typed)
    assert (status, text) == (2, "")
    assert limit in said


def test_fluorescence_is_told_from_metadata_and_only_said(init, at_home):
    volume = ome_tiff(at_home / "f.ome.tif", Channel={"Name": ["GFP"], "EmissionWavelength": [509]}, **SIZES)
    _, said, _ = init(volume)
    assert "fluorescence: the metadata state EmissionWavelength 509" in said
    assert re.search(r"optics +emission nm 509", said)
    assert load_config(at_home / "f.yaml").measurement.operator is None
    _, said, _ = init(ome_tiff(at_home / "g.ome.tif", **SIZES))
    assert "fluorescence" not in said


OBJECTIVE = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument ID="Instrument:0">
<Objective ID="Objective:0" LensNA="0.8"/><Objective ID="Objective:1" LensNA="1.4"/></Instrument>
<Image ID="Image:0"><InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:1" RefractiveIndex="1.515"/>
<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="48" SizeY="40" SizeC="1" SizeZ="6" SizeT="1"
PhysicalSizeX="0.1" PhysicalSizeY="0.1" PhysicalSizeZ="0.3">
<Channel ID="Channel:0:0" SamplesPerPixel="1" EmissionWavelength="520"/>
<TiffData IFD="0" PlaneCount="6"/></Pixels></Image></OME>"""


def test_a_stated_objective_is_suggested_as_it_is_stated(init, at_home):
    data = np.zeros((6, 40, 48), np.uint8)
    tifffile.imwrite(at_home / "o.ome.tif", data, description=OBJECTIVE, metadata=None, photometric="minisblack")
    _, said, text = init("o.ome.tif")
    assert re.search(r"optics +emission nm 520, NA 1.4, refractive index 1.515", said)
    (at_home / "taken.txt").write_text(uncommented(text))
    taken = load_config(at_home / "taken.txt").measurement
    assert (taken.objective.numerical_aperture, taken.objective.wavelength_nm, taken.objective.refractive_index) == (
        1.4,
        520,
        1.515,
    )
    assert load_config(at_home / "o.yaml").measurement.objective is None


def test_an_image_s_channel_labels_are_read_from_zarr(init, at_home):
    root = zarr.create_group(at_home / "two.ome.zarr", zarr_format=3)
    root.create_array("0", shape=(2, 6, 40, 48), dtype="uint8", chunks=(1, 6, 40, 48))
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "nanometer"} for n in "zyx")]
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 40, 8, 8]}]}]
    channels = [{"label": "raw", "color": "FFFFFF"}, {"label": "mask", "color": "FF0000"}]
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}], "omero": {"channels": channels}}
    status, said, text = init("two.ome.zarr")
    assert status == 1
    assert "0 raw, 1 mask" in said
    assert "0 raw, 1 mask" in text


@pytest.mark.parametrize(
    ("z_um", "status", "told"), [(0.1, 0, "simulate"), (0.097, 0, "simulate"), (0.05, 1, "anisotropy of 0.5")]
)
def test_what_is_sampled_isotropically_is_named_so(init, at_home, z_um, status, told):
    got, _, text = init(ome_tiff(at_home / "iso.ome.tif", **{**SIZES, "PhysicalSizeZ": z_um}))
    assert (got, told in re.sub(r"\s+#?\s*", " ", text)) == (status, True)


def test_a_size_no_microscope_has_and_one_that_contradicts_are_pointed_out(init, at_home):
    volume = ome_tiff(at_home / "mm.ome.tif", **{**SIZES, **{f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}})
    assert "is the unit right" in init(volume)[1]
    assert "the metadata say 300000 x 100000 x 100000 nm" in init(volume, "--voxel-size-nm", "300,100,100", "--force")[1]


def test_a_file_that_is_there_is_kept(init, at_home):
    volume = ome_tiff(at_home / "a.ome.tif", **SIZES)
    (at_home / "a.yaml").write_text("mine")
    status, said, text = init(volume)
    assert (status, text) == (2, "mine")
    assert "--force" in said
    assert init(volume, "--out", "-")[1].startswith("# Configuration for a.ome.tif")
    assert (at_home / "a.yaml").read_text() == "mine"
    assert init(volume, "--out", "below/b.yaml")[0] == 0
    assert load_config(at_home / "below" / "b.yaml").run.name == "a"


def test_json_says_the_same(at_home, capsys):
    assert main(["init", ome_tiff(at_home / "a.ome.tif", **SIZES), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["shape_zyx"], found["voxel_size_nm"], found["ratio"]) == ([6, 40, 48], [300, 100, 100], pytest.approx(3))
    assert (found["config"], found["asked"], found["refused"]) == ("a.yaml", {}, None)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("../data/brain.ome.tif", "brain"),
        ("s3://bucket/my brain.zarr/", "my_brain"),
        ("x/_.hidden.h5", "hidden"),
        ("phantom:tissue?shape=64,96,96", "phantom_tissue_shape_64_96_96"),
        ("/", "volume"),
    ],
)
def test_names_are_names(path, name):
    assert name_for(path) == name
    make_config({"run": {"name": name}, "source": {"path": "x"}})


def test_what_is_no_volume_is_refused(init, at_home):
    assert init("nowhere.tif")[0] == 2
    assert not list(at_home.glob("*.yaml"))
