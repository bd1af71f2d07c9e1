"""Places: where results go, what lies there already, and what may not be touched."""

from __future__ import annotations

from pathlib import Path

from .case import TIF, ZARR, Case, at, nothing
from .volumes import SHAPE, array, both, cut, file, folder_of, h5, mode, slices, tiff, tissue


def closed_configuration(folder: Path) -> None:
    h5()(folder)
    (folder / "closed.yaml").touch(0)


GROUP = '{"zarr_format": 3, "node_type": "group", "attributes": {}}'


PLACES = (
    Case(
        "image over the source",
        "output.path",
        "is the source itself",
        "another",
        {**ZARR, "output": {"path": "volume.zarr"}},
        array(),
    ),
    Case(
        "image inside the source",
        "output.path",
        "lies inside the source",
        "another",
        {**ZARR, "output": {"path": "volume.zarr/isotropic.zarr"}},
        array(),
    ),
    Case(
        "source inside the image",
        "output.path",
        "the source, all/volume.zarr, lies in",
        "isotropic.ome.zarr",
        {**at("all/volume.zarr"), "output": {"path": "all"}},
        array(name="all/volume.zarr"),
    ),
    Case(
        "results inside the source",
        "run.results",
        "lies inside the source",
        "another",
        {**ZARR, "run": {"results": "volume.zarr"}},
        array(),
    ),
    Case(
        "results inside the slices",
        "run.results",
        "lies inside the source",
        "another",
        {**at("slices"), "run": {"results": "slices/out"}},
        slices(["1.tif", "2.tif", "3.tif"]),
    ),
    Case(
        "image where another one lies",
        "output.path",
        "not an image made by isofield",
        "Move it away",
        {"output": {"path": "other.zarr"}},
        both(h5(), file("other.zarr/zarr.json", GROUP)),
        late=True,
    ),
    Case(
        "image where a file lies",
        "output.path",
        "notes.txt is a file",
        "another folder",
        {"output": {"path": "notes.txt"}},
        both(h5(), file("notes.txt", "mine")),
    ),
    Case("image on a web server", "output.path", "none of a local path, s3", "Copy", {"output": {"path": "https://host/a.zarr"}}),
    Case(
        "results that are a file",
        "run.results",
        "notes.txt is a file",
        "another",
        {"run": {"results": "notes.txt"}},
        both(h5(), file("notes.txt", "mine")),
    ),
    Case("results whose name is a wildcard", "run.results", "Snakemake does not take", "Mend", {"run": {"results": "out/{job}"}}),
    Case("results whose name is an option", "run.results", "begins with a dash", "whole path", {"run": {"results": "-rf"}}),
    Case("results whose name has a line break", "run.results", "Snakemake does not take", "Mend", {"run": {"results": "a\nb"}}),
    Case(
        "results where nobody may write",
        "run.results",
        "no permission",
        "another folder",
        {"run": {"results": "closed"}},
        mode(both(h5(), folder_of("closed")), "closed", 0o555),
        unprivileged=True,
    ),
    Case(
        "image where nobody may write",
        "output.path",
        "no permission",
        "another folder",
        {"output": {"path": "closed/a.zarr"}},
        mode(both(h5(), folder_of("closed")), "closed", 0o555),
        unprivileged=True,
    ),
)

STALE = (
    Case(
        "another volume than was planned for",
        "source.path",
        "not as it was when it was planned for",
        "Run isofield plan",
        commands=("plan", "train"),
        between=h5(tissue(SHAPE, high=200)),
    ),
    Case(
        "results of another volume",
        "source.path",
        "not as it was when it was planned for",
        "Run isofield plan",
        commands=("plan", "train"),
        between=h5(tissue((16, 64, 64))),
    ),
    Case(
        "results whose plan is cut off",
        "file",
        "not valid JSON",
        "run again",
        commands=("plan", "train"),
        between=cut(nothing, "results/corpus/plan.json", 0.5),
    ),
    Case(
        "results whose plan is another program's",
        "plan",
        "not a plan of this version",
        "Run the plan stage",
        commands=("plan", "train"),
        between=file("results/corpus/plan.json", "{}"),
    ),
)

FORBIDDEN = (
    Case(
        "HDF5 that may not be read",
        "source.path",
        "may not be read",
        "permission",
        make=mode(h5(), "volume.h5", 0),
        unprivileged=True,
    ),
    Case(
        "TIFF that may not be read",
        "source.path",
        "may not be read",
        "permission",
        TIF,
        mode(tiff(), "volume.tif", 0),
        unprivileged=True,
    ),
    Case(
        "Zarr that may not be read",
        "source.path",
        "may not be read",
        "permission",
        ZARR,
        mode(array(), "volume.zarr", 0),
        unprivileged=True,
    ),
    Case(
        "slices that may not be read",
        "source.path",
        "may not be read",
        "permission",
        at("slices"),
        mode(slices(["1.tif", "2.tif"]), "slices", 0),
        unprivileged=True,
    ),
    Case(
        "chunk that may not be read",
        "source.path",
        "may not be read",
        "permission",
        ZARR,
        mode(array(), "volume.zarr/c/1/1/1", 0),
        unprivileged=True,
        late=True,
    ),
    Case(
        "configuration that may not be read",
        "configuration",
        "may not be read",
        "permission",
        make=closed_configuration,
        unprivileged=True,
        argument="closed.yaml",
    ),
)
