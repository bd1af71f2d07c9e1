"""Stage tidy: fields that have been blended are removed, what is known of them stays."""

from __future__ import annotations

import shutil

from isofield.config import Sections
from isofield.paths import RunPaths
from isofield.progress import say
from isofield.records import write_json
from isofield.status import fitted_store


def tidy_run(config: Sections, paths: RunPaths) -> None:
    """Remove the fields of a run whose image is complete, and those of earlier fits, unless run.keep_fields is set."""
    freed = 0
    if not config.run.keep_fields:
        store = fitted_store(paths)
        for folder in [f for f in paths.fields.iterdir() if f.is_dir() and f != store.folder]:
            freed += sum(file.stat().st_size for file in folder.iterdir())
            shutil.rmtree(folder)
        freed += store.tidy()
        say(f"tidy: {freed / 1e6:.1f} MB of fields removed; run.keep_fields keeps them")
    write_json(paths.tidy, {"made_from": config.mark, "kept": config.run.keep_fields})
