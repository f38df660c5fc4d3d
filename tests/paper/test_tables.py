"""The tables: published beside measured, "not run" with a command that would fill it."""

import dataclasses
import shlex
from pathlib import Path

import pandas as pd
import pytest

from upm_lib.data.tracklets import Dataset, Tracklet
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.paper import published, tables


@pytest.fixture
def bench(run_store: Path, tiny_root: Path) -> Bench:
    return open_bench("synthetic_clean", progress=False, root=str(tiny_root), steps=2, batch=8, k=2)


@pytest.mark.parametrize("table", [1, 2, 3, 4])
def test_what_nobody_has_run_is_never_filled(bench: Bench, table: int) -> None:
    found = tables.accuracy(table, bench, trials=2)
    assert list(found.index) == [row.name for row in tables.rows(table)]
    measured = [c for c in found.columns if c.startswith("synthetic_clean")]
    assert (found[measured] == tables.NOT_RUN).all(axis=None)
    assert (found["trials"] == 0).all()
    assert found["to fill it"].str.startswith(f"python -m upm_lib table {table} ").all()


def test_a_command_carries_the_parameters_of_the_bench(bench: Bench, tiny_root: Path) -> None:
    words = shlex.split(tables.command(bench, 3, "1,3"))
    assert words[:5] == ["python", "-m", "upm_lib", "table", "3"]
    given = dict(zip(words[5::2], words[6::2], strict=True))
    assert given == {
        "--dataset": "synthetic_clean",
        "--scale": "demo",
        "--root": str(tiny_root),
        "--k": "2",
        "--steps": "2",
        "--trials": "1,3",
    }


def test_a_measured_row_shows_its_mean_and_the_published_value_beside_it(bench: Bench) -> None:
    records = [measuring.measure(bench, bench.measurement("baseline", trial)) for trial in (1, 2)]
    found = tables.accuracy(2, bench, trials=2)
    mean = sum(r["rank1"] for r in records) / 2
    line = found.loc["baseline"]
    assert line["synthetic_clean, Rank-1"].startswith(f"{mean:.1f} ± ")
    assert line["trials"] == 2 and line["to fill it"] == ""
    assert line["published PRID2011, Rank-1"] == "82.3"
    assert found.loc["both", "published PRID2011, Rank-1"] == "90.2"
    four = tables.accuracy(4, bench, trials=2)
    assert four.loc["local, k=1", "synthetic_clean, Rank-1"] == line["synthetic_clean, Rank-1"]
    assert four["published PRID2011, Rank-1"].drop_duplicates().to_dict() == {
        "local, k=1": "82.3",
        "global, k=1": "not in the paper",
        "fusion, k=2": "85.1",
        "fusion, k=4": "88.8",
        "fusion, k=8": "90.2",
    }


def test_table_3_is_published_at_two_parts_only(bench: Bench) -> None:
    column = "published PRID2011, Rank-1"
    three = tables.accuracy(3, bench)[column]
    assert (three["fusion, gap"], three["fusion, gmp"]) == ("85.1", "85.8")
    assert set(three.drop(["fusion, gap", "fusion, gmp"])) == {"not in the paper"}
    eight = dataclasses.replace(bench, config=bench.config.replace(k=8))
    assert set(tables.accuracy(3, eight)[column]) == {"not in the paper"}
    assert tables.published_only(3, "prid2011").loc["fusion, gmp", column] == "85.8"


def records(*rank1: float) -> pd.DataFrame:
    return pd.DataFrame({"rank1": rank1})


@pytest.mark.parametrize(
    ("published_value", "measured", "expected"),
    [
        (82.3, (80.0, 84.0), ("-0.3", "yes")),  # s = 2.83, two standard errors are 4.0
        (78.0, (80.0, 84.0), ("+4.0", "yes")),  # on the limit
        (77.9, (80.0, 84.0), ("+4.1", "no")),
        (82.0, (82.0,), ("+0.0", "one trial")),
        (82.0, (), ("", "")),
        (published.Absent.NOT_IN_PAPER, (80.0, 84.0), ("", "")),
        (published.Absent.NOT_REPORTED, (80.0, 84.0), ("", "")),
    ],
)
def test_a_difference_is_held_against_two_standard_errors(
    published_value: float | published.Absent, measured: tuple, expected: tuple[str, str]
) -> None:
    assert tables.difference(published_value, records(*measured)) == expected


def test_only_the_papers_own_data_are_compared(
    bench: Bench, run_store: Path, tiny_root: Path
) -> None:
    for one in (
        bench,
        open_bench(
            "prid2011", progress=False, root=str(tiny_root), steps=2, batch=8, k=2, min_frames=1
        ),
    ):
        assert tables.incomparable(one)
        assert not {"difference", "within 2 SE"} & set(tables.accuracy(2, one))
    assert "8 tracklets train here, 178 on the real PRID2011" in tables.notes(one)[1]


def test_the_real_size_of_a_data_set_is_compared(bench: Bench) -> None:
    whole = Dataset(
        "prid2011",
        Path(),
        tuple(Tracklet(p, c, ("x",)) for c in (0, 1) for p in range(178)),
        ("a", "b"),
    )
    config = bench.config.replace(dataset="prid2011")
    real = dataclasses.replace(bench, config=config, dataset=whole)
    assert tables.incomparable(real) == ""
    assert {"difference", "within 2 SE"} <= set(tables.accuracy(2, real))


def test_what_may_not_be_read_is_shown_as_published_only() -> None:
    found = tables.published_only(1, "dukemtmc")
    assert found.to_dict() == {"published DukeMTMC-VideoReID, Rank-1": {"uPMnet": "83.6"}}


def test_a_bench_without_a_counterpart_has_nothing_published(bench: Bench) -> None:
    own = dataclasses.replace(bench, config=bench.config.replace(dataset="folder"))
    found = tables.accuracy(1, own)
    assert found.loc["uPMnet"].iloc[0] == "not in the paper"
    assert tables.notes(own) == ["not compared: the paper has no such data set"]


def test_gains_are_over_the_baseline_and_absent_where_nothing_ran(bench: Bench) -> None:
    found = tables.gains(bench).set_index(["kind", "method"])["gain"]
    assert found["published"].round(1).to_dict() == {
        "local": 9.2,
        "global": 1.0,
        "fusion": 7.9,
    }
    assert found["measured (synthetic)"].isna().all()
    ranks = {
        m: measuring.measure(bench, bench.measurement(m))["rank1"] for m in ("baseline", "local")
    }
    found = tables.gains(bench).set_index(["kind", "method"])["gain"]["measured (synthetic)"]
    assert found["local"] == ranks["local"] - ranks["baseline"]
    assert found.isna().to_dict() == {"local": False, "global": True, "fusion": True}


@pytest.mark.parametrize(
    ("numbers", "text"), [([1, 2, 3], "1-3"), ([3], "3"), ([1, 3, 5], "1,3,5"), ([4, 5], "4-5")]
)
def test_trials_are_written_as_they_can_be_asked_for(numbers: list[int], text: str) -> None:
    assert tables.trials_text(numbers) == text


def test_a_table_for_the_terminal_is_narrow_and_without_commands(bench: Bench) -> None:
    measuring.measure(bench, bench.measurement("baseline"))
    shown = tables.text(tables.accuracy(2, bench))
    assert "python" not in shown and "synthetic_clean" not in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [
        row.name for row in tables.rows(2)
    ]


@pytest.mark.parametrize(("table", "lines"), [(5, 12), (6, 2)])
def test_every_printed_complexity_is_reproduced(table: int, lines: int) -> None:
    found = tables.counts(table)
    assert len(found) == lines
    for column in ("FLOPs (G)", "params (M)"):
        assert (found[f"{column}, printed"] == found[f"{column}, convention"]).all()
