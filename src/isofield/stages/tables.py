"""Tables of a run: Parquet files whose pages bear checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from isofield.errors import InputError


def read_table(path: Path, stage: str, **how: Any) -> pd.DataFrame:
    """The table that `stage` wrote; `how` as in pandas.read_parquet. Raises InputError if it is absent or damaged."""
    try:
        return pd.read_parquet(path, page_checksum_verification=True, **how)
    except (OSError, ValueError) as error:
        limit = f"cannot be read ({error})"
        raise InputError("file", str(path), limit, f"Delete it and run the {stage} stage again") from error
