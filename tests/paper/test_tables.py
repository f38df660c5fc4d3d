"""The tables: published beside measured, "not run" with a command that would fill it."""

import dataclasses
import shlex
from pathlib import Path

import pandas as pd
import pytest

from upm_lib.command import typed
from upm_lib.config import UserError, preset
from upm_lib.data.tracklets import Dataset, Tracklet
from upm_lib.experiments import analysis, measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.paper import published, tables
from upm_lib.retrieval import model_file


@pytest.fixture
def bench(run_store: Path, tiny_root: Path) -> Bench:
    return open_bench("synthetic_clean", progress=False, root=str(tiny_root), steps=2, batch=8, k=2)


RANK1 = ("measured, synthetic_clean, small", "Rank-1")


@pytest.mark.parametrize("table", tables.ACCURACY)
def test_what_nobody_has_run_is_never_filled(bench: Bench, table: str) -> None:
    found = tables.accuracy(table, bench, trials=2)
    ours = [row.is_of(bench) for row in tables.rows(table)]
    assert found[RANK1].tolist() == [tables.NOT_RUN if own else "" for own in ours]
    assert not found["measured, synthetic_clean, small"].drop(columns="Rank-1").any(axis=None)
    assert found["trials", ""].tolist() == ["0" if own else "" for own in ours]
    said = [line for line in tables.notes(table, bench, 2) if "python -m upm_lib" in line]
    assert len(said) == 1, "once, under the table"
    assert said[0].startswith(f"{sum(ours)} of {sum(ours)} rows are not run")
    assert f"python -m upm_lib table {table} " in said[0]


def test_a_command_carries_the_parameters_of_the_bench(bench: Bench, tiny_root: Path) -> None:
    words = shlex.split(tables.command("3", bench, "1,3"))
    assert words[:5] == ["python", "-m", "upm_lib", "table", "3"]
    given = dict(zip(words[5::2], words[6::2], strict=False))
    assert words[-3:] == ["-p", "batch", "8"]
    assert given == {
        "--dataset": "synthetic_clean",
        "--scale": "demo",
        "--root": str(tiny_root),
        "--k": "2",
        "--steps": "2",
        "--trials": "1,3",
        "-p": "batch",
    }


def test_a_command_carries_every_other_field_and_the_heading_names_it(tiny_root: Path) -> None:
    fields = {"objective": "cluster", "tracklet_pool": "mean", "flip": True, "lr_factors": [1, 0.5]}
    bench = open_bench("synthetic_clean", progress=False, root=str(tiny_root), **fields)
    words = shlex.split(tables.command("2", bench))
    at = [place for place, word in enumerate(words) if word == "-p"]
    given = typed([words[place + 1 : place + 3] for place in at])
    assert given == fields | {"centres": "camera"}, "what the objective brings is said as well"
    heading = tables.heading("2", bench, 1)[1]
    own = "objective = cluster, centres = camera, lr_factors = (1, 0.5)"
    assert f"k = 8, flip = True, {own}" in heading
    assert "root" not in heading
    official = dataclasses.replace(bench, config=bench.config.replace(splits="official"))
    assert "splits = official" in tables.heading("2", official, 1)[1]


def test_a_model_tells_its_length_as_it_was_given(bench: Bench) -> None:
    origin = model_file.Origin("WARD", 1, 3, 105, 2400, "", "", (256, 128))
    config = preset("ward", "frozen")
    opened = dataclasses.replace(bench, config=config, model=model_file.Model((), (), origin, {}))
    assert "mobilenet_v1, 8 epochs, k = 8" in tables.transfer_heading(opened, 1)[1]


def test_both_rules_of_mean_average_precision_stand_in_a_table(bench: Bench) -> None:
    cameras = {"cameras": (*bench.dataset.cameras, "third")}
    three = dataclasses.replace(bench.dataset, **cameras)
    row = next(row for row in tables.rows("2") if row.is_of(bench))
    records = pd.DataFrame([dict.fromkeys(measuring.METRICS, 50.0) | {"mAP_mean_precision": 60.0}])
    cells = tables._measured(dataclasses.replace(bench, dataset=three), row, records)
    assert [*cells.values()][-2:] == ["50.0", "60.0"]
    assert [name for _, name in cells][-2:] == ["mAP", "mAP, mean precision"]


def test_a_measured_row_shows_its_mean_and_the_published_value_beside_it(bench: Bench) -> None:
    records = [measuring.measure(bench, bench.measurement("baseline", trial)) for trial in (1, 2)]
    found = tables.accuracy("2", bench, trials=2)
    mean = sum(r["rank1"] for r in records) / 2
    line = found.loc["baseline, MobileNet"]
    assert line[RANK1].startswith(f"{mean:.1f} ± ")
    assert line["trials", ""] == "2"
    assert line["published, PRID2011"].tolist() == ["82.3", "96.9", "99.6"]
    assert found.loc["both, ResNet50", "published, PRID2011"].tolist() == ["92.0", "97.7", "100.0"]
    assert found.loc["both, ResNet50", RANK1] == "", "another backbone than the bench's"
    assert tables.accuracy("4", bench, trials=2).loc["baseline", RANK1] == line[RANK1]
    assert any("3 of 4 rows are not run" in line for line in tables.notes("2", bench, 2))


def test_the_rows_are_the_papers(bench: Bench) -> None:
    assert [", ".join(row.key) for row in tables.rows("1")][-3:] == [
        "uPMnet, ResNet50",
        "uPMnet, MobileNet",
        "AGRL, supervised",
    ]
    assert len(tables.rows("1")) == 14 and len(tables.rows("2")) == 8
    one, three, four = (tables.accuracy(t, bench)["published, PRID2011"] for t in "134")
    assert one.loc["BUC, ResNet50"].tolist() == ["-"] * 3, "not reported"
    assert three["Rank-1"].to_dict() == {"fusion, gap": "85.1", "fusion, gmp": "85.8"}
    assert four["Rank-1"].tolist() == ["82.3", "85.1", "88.8", "90.2"]
    assert {row.changes["k"] for row in tables.rows("3")} == {2}, "whatever the bench's k is"
    beyond = tables.accuracy("beyond", bench)
    assert not any(top.startswith("published") for top, _ in beyond.columns)
    assert {"local, k=4", "global, k=1", "fusion, scaled first, k=8"} <= set(beyond.index)


def test_all_tables_share_what_they_have_in_common(bench: Bench) -> None:
    every = tables.measurements("all", bench, 2)
    assert len(set(every)) == len(every)
    parts = [tables.measurements(table, bench, 2) for table in tables.ACCURACY]
    assert set(every) == {m for part in parts for m in part} and len(every) < sum(map(len, parts))
    with pytest.raises(UserError, match="unknown table to run '7'"):
        tables.measurements("7", bench)


def test_single_parts_are_of_finished_networks(bench: Bench) -> None:
    assert (tables.single_parts(bench, 2) == tables.NOT_RUN).all(axis=None)
    measuring.measure(bench, bench.measurement("local"))
    found = tables.single_parts(bench, 2)
    alone = analysis.part_rank1(bench, "local")
    assert found["local"].tolist() == [f"{rank1:.1f}" for rank1 in alone] and len(alone) == 2
    assert found["global"].tolist() == [tables.NOT_RUN] * 2


def test_a_printed_table_is_the_papers() -> None:
    with pytest.raises(UserError, match="unknown table of the paper 'beyond'"):
        tables.printed("beyond")
    five = tables.printed("5")
    assert five.shape == (4, 9)
    duke = five.loc["uPMnet", "ResNet50"]["DukeMTMC-VideoReID"]
    assert duke.tolist() == ["10.0 (+111.4 %)", "93.3 (+233.1 %)", "81.3 (+9.5 %)"]
    six = tables.printed("6")["DukeMTMC-VideoReID"]
    assert six.loc["TAUDL", "ResNet50"].tolist() == ["5.3", "34.2", "61.5"] and len(six) == 7


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
        assert "difference" not in tables.accuracy("2", one)
    assert "8 tracklets train here, 178 on the real PRID2011" in tables.notes("2", one)[1]


def test_the_real_size_of_a_data_set_is_compared(bench: Bench) -> None:
    whole = Dataset(
        "prid2011",
        Path(),
        tuple(Tracklet(p, c, ("x",)) for c in (0, 1) for p in range(178)),
        ("a", "b"),
    )
    config = bench.config.replace(dataset="prid2011")
    real = dataclasses.replace(bench, config=config, dataset=whole)
    assert tables.incomparable(real) == "k = 2 here, 8 in the paper"
    assert tables.incomparable(real, "4") == "", "its rows have their own k"
    assert tables.incomparable(real, "beyond") == "the paper has no such rows"
    eight = dataclasses.replace(real, config=config.replace(k=8))
    assert tables.incomparable(eight) == ""
    assert {("difference", ""), ("within 2 SE", "")} <= set(tables.accuracy("2", eight))


def test_a_bench_without_a_counterpart_shows_the_papers_three(bench: Bench) -> None:
    own = dataclasses.replace(bench, config=bench.config.replace(dataset="folder"))
    found = tables.accuracy("1", own).loc["uPMnet, MobileNet", "published, Rank-1"]
    assert list(found.index) == ["PRID2011", "iLIDS-VID", "DukeMTMC-VideoReID"]
    assert found.tolist() == ["90.2", "62.6", "83.6"]
    assert tables.notes("1", own)[1] == "not compared: the paper has no such data set"


def test_published_gains_are_over_the_baseline() -> None:
    found = tables.published_gains().set_index(["dataset", "method"])["gain"].round(1)
    assert found["PRID2011"].to_dict() == {"local": 9.2, "global": 1.0, "fusion": 7.9}
    assert found["iLIDS-VID", "local"] == -1.7
    assert len(found) == 9


def test_fig_1_is_in_percent_of_the_baseline() -> None:
    found = tables.published_part_models().set_index("dataset")["change"]
    assert found.round(1).to_dict() == {
        "PRID2011": 11.2,
        "iLIDS-VID": -3.1,
        "DukeMTMC-VideoReID": 2.6,
    }


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([1], "1"), ([1, 2, 3], "1-3"), ([3], "3-3"), ([1, 3, 5], "1,3,5"), ([4, 5], "4-5")],
)
def test_trials_are_written_as_they_can_be_asked_for(numbers: list[int], text: str) -> None:
    assert tables.trials_text(numbers) == text
    assert tables.trial_numbers(text) == numbers


@pytest.mark.parametrize(("table", "lines"), [("5", 12), ("6", 4)])
def test_every_printed_complexity_is_reproduced(table: str, lines: int) -> None:
    found = tables.counts(table)
    assert len(found) == lines
    for column in ("FLOPs (G)", "params (M)"):
        assert (found[f"{column}, printed"] == found[f"{column}, convention"]).all()
