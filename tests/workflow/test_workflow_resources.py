"""What the workflow asks a scheduler for is what is projected, and what it leaves fits the count of files."""

from __future__ import annotations

import re

from isofield.config import make_config
from isofield.cost.rules import asked_for
from isofield.cost.storage import n_files
from isofield.plan import lay_out
from isofield.source.probe import probe


def test_every_rule_asks_for_what_its_jobs_are_expected_to_take(fresh):
    config = make_config(fresh.config)
    jobs = asked_for(config, lay_out(config, probe(config.source)), "uint8")
    said = re.findall(r"^rule (\w+):.*?resources: ([^\n]*)", fresh.snakemake("--dry-run"), flags=re.MULTILINE | re.DOTALL)
    asked = {rule: dict(re.findall(r"\b(mem_mb|runtime)=(\d+)", resources)) for rule, resources in said if rule != "all"}
    assert asked == {rule: {"mem_mb": str(one.mem_mb), "runtime": str(one.runtime_min)} for rule, one in jobs.items()}


def test_a_finished_run_and_what_snakemake_notes_of_it_fit_the_count_of_files(finished):
    config = make_config(finished.config)
    promised = n_files(config, lay_out(config, probe(config.source)))
    found = sum(path.is_file() for top in (finished.run, finished.folder / ".snakemake") for path in top.rglob("*"))
    print(f"files: {found} of {promised}")
    assert promised / 4 < found <= promised
