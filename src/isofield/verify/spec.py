"""What the user says about the verification at the end of a run."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt

from isofield.spec import Spec


class VerifySpec(Spec):
    """The verification at the end of a run; `isofield verify` by hand can read more."""

    max_vox: NonNegativeInt | None = Field(
        10**11,
        description="voxels of the image that are read back and checked, all levels together; of a larger image shards drawn at "
        "random, of which all are looked for; 0: none; null: all",
    )
    recompute_blocks: NonNegativeInt = Field(
        1, description="blocks, drawn at random, that are fitted once more and compared with what is stored"
    )
