"""Who makes which part of an image that several runs fill: parts are disjoint, and of one layout, prior and fit.

A claim is a small file beside the levels of the image, `regions/<begin>-<end>_<begin>-<end>_<begin>-<end>.json` in z, y, x, of an
image of several channels `regions/channel-<index>/...`: each channel is claimed by itself. A run lays its claim before it writes;
what others have claimed it never touches.
"""

from __future__ import annotations

import json
import os

from pydantic import ValidationError

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.records import to_plain
from isofield.spec import Spec
from isofield.storage.place import Place, place_of

FOLDER = "regions"


class Claim(Spec):
    """owner: results folder of a run; region: offset and shape in output voxels; geometry, fit: fingerprints, fit once known.

    channel: its place in an image of several. finished: whether the run has made all levels of its part, as far as there was
    what they are made from.
    """

    owner: str
    region: tuple[tuple[int, int, int], tuple[int, int, int]]
    geometry: str
    fit: str | None = None
    channel: int | None = None
    finished: bool = False

    @property
    def roi(self) -> Roi:
        return Roi(*self.region)  # type: ignore[arg-type]

    @property
    def key(self) -> str:
        sides = zip(self.roi.offset, self.roi.end, strict=True)
        name = "_".join(f"{begin}-{end}" for begin, end in sides) + ".json"
        return name if self.channel is None else f"channel-{self.channel}/{name}"


def lay_claim(image: str | os.PathLike[str], claim: Claim) -> None:
    """Claim a part of an image; other claims of the same owner are given up.

    Raises InputError if another run has claimed a part of it, or makes its part with another layout, normalisation, prior or fit.
    """
    place = place_of(image, "output.path") / FOLDER
    _refuse(claim, others(image, claim.owner))
    place.write(claim.key, json.dumps(to_plain(claim), sort_keys=True).encode())
    # Another run may have claimed in the same moment: whoever finds that out gives way, both if need be.
    try:
        _refuse(claim, others(image, claim.owner))
    except InputError:
        place.delete([claim.key])
        raise
    place.delete(one.key for one in claims(image) if one.owner == claim.owner and one.key != claim.key)


def claims(image: str | os.PathLike[str]) -> list[Claim]:
    """All claims on an image. Raises InputError for one that cannot be read."""
    place: Place = place_of(image, "output.path") / FOLDER
    found, keys = [], place.keys()
    for key in keys:
        try:
            found.append(Claim.model_validate_json(place.read(key) or b""))
        except ValidationError:
            remedy = "Delete it, and run the workflow of its region again"
            raise InputError("claim", place.locate(key), "is damaged", remedy) from None
    return found


def others(image: str | os.PathLike[str], owner: str) -> list[Claim]:
    """Claims of other runs than `owner`."""
    return [claim for claim in claims(image) if claim.owner != owner]


def _refuse(claim: Claim, theirs: list[Claim]) -> None:
    for other in theirs:
        if claim.channel != other.channel:
            continue
        if not claim.roi.intersect(other.roi).empty:
            limit = f"overlaps {_text(other.roi)}, which the run in {other.owner} makes"
            raise InputError("output.region_vox", _text(claim.roi), limit, "Choose regions that do not overlap")
        if claim.geometry != other.geometry:
            limit = f"the run in {other.owner} makes its part of the same image with other blocks, sections or grey values"
            raise InputError("output.path", claim.owner, limit, "Give all runs the same configuration but for the region")
        if claim.fit and other.fit and claim.fit != other.fit:
            limit = f"the run in {other.owner} made its part of the same image with another prior or fit"
            remedy = "Give all runs the same prior, by prior.init and prior.steps: 0, and the same fit settings"
            raise InputError("output.path", claim.owner, limit, remedy)


def _text(roi: Roi) -> list[list[int]]:
    return [[begin, end] for begin, end in zip(roi.offset, roi.end, strict=True)]
