"""The tables: published beside measured, "not run" with a command that would fill it."""

from pathlib import Path

import pytest

from upm_lib import experiments, published, tables
from upm_lib.experiments import Bench


@pytest.fixture
def bench(run_store: Path, tiny_root: Path) -> Bench:
    return experiments.open_bench(
        "synthetic_clean", progress=False, root=str(tiny_root), steps=2, batch=8, k=2
    )


@pytest.mark.parametrize("table", [1, 2, 3, 4])
def test_what_nobody_has_run_is_never_filled(bench: Bench, table: int) -> None:
    found = tables.accuracy(table, bench, trials=2)
    assert list(found.index) == [row.name for row in tables.rows(table)]
    measured = [c for c in found.columns if c.startswith("synthetic_clean")]
    assert (found[measured] == tables.NOT_RUN).all(axis=None)
    assert (found["trials"] == 0).all()
    assert found["to fill it"].str.startswith("papermill notebooks/04_fusion.ipynb").all()


def test_a_command_carries_the_parameters_of_the_bench(bench: Bench, tiny_root: Path) -> None:
    text = tables.command(bench, tables.Row("x", "local", {"pool": "gmp"}), trials=3)
    for flag in (f"-p root {tiny_root}", "-p k 2", "-p steps 2", "-p pool gmp", "-p trials 3"):
        assert flag in text
    row = tables.Row("x", "local", {"k": 4})
    assert "-p k 4" in tables.command(bench, row) and "-p k 2" not in tables.command(bench, row)


def test_a_measured_row_shows_its_mean_and_the_published_value_beside_it(bench: Bench) -> None:
    records = [experiments.measure(bench, "baseline", trial) for trial in (1, 2)]
    found = tables.accuracy(2, bench, trials=2)
    mean = sum(r["rank1"] for r in records) / 2
    line = found.loc["baseline"]
    assert line["synthetic_clean, Rank-1"].startswith(f"{mean:.1f} ± ")
    assert line["trials"] == 2 and line["to fill it"] == ""
    assert line["published PRID2011, Rank-1"] == "82.3"
    assert found.loc["both", "published PRID2011, Rank-1"] == tables.UNKNOWN
    four = tables.accuracy(4, bench, trials=2).loc["local, k=1"]
    assert four["synthetic_clean, Rank-1"] == line["synthetic_clean, Rank-1"]


@pytest.mark.parametrize("table", [5, 6])
def test_every_printed_complexity_is_reproduced(table: int) -> None:
    found = tables.counts(table)
    assert 2 * len(found) == len(published.published(table))
    for column in ("FLOPs (G)", "params (M)"):
        assert (found[f"{column}, printed"] == found[f"{column}, convention"]).all()
