"""The run's page through snakemake --report."""

from __future__ import annotations

import zipfile


def test_the_zip_of_snakemake_holds_the_page_as_it_is(finished, tmp_path):
    archive = tmp_path / "report.zip"
    finished.snakemake("--report", str(archive))
    page = (finished.run / "report" / "index.html").read_bytes()
    with zipfile.ZipFile(archive) as opened:
        contents = {name: opened.read(name) for name in opened.namelist()}
    ours = [name for name, data in contents.items() if data == page]
    assert len(ours) == 1, sorted(contents)
    assert ours[0].endswith(".html")
    index = next(data.decode() for name, data in contents.items() if name.endswith("report.html"))
    assert "Isotropic volume" in index
    assert "small" in index
    # Blocks, records and images stay where they are.
    assert not [name for name in contents if name.endswith((".pack", ".parquet")) or ".zarr" in name]
