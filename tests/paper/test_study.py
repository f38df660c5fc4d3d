"""The committed study: its lines are complete and labelled, and its differences are paired."""

import importlib
import json
from pathlib import Path

import pandas as pd
import pytest

from upm_lib.config import OFFICIAL, UserError, preset
from upm_lib.paper import study

KEY = ["dataset", "scale", "method", "k", "variant", "knob", "value", "trial"]


def series(**values: float) -> pd.Series:
    return pd.Series({int(trial[1:]): value for trial, value in values.items()})


def test_a_paired_difference_by_hand() -> None:
    found = study.difference(series(t1=3, t2=5), series(t1=1, t2=1))
    assert found["mean"] == 3
    assert found["sd"] == pytest.approx(2**0.5)
    assert found["trials"] == 2
    half = 12.7062  # Student's t at 97.5 % with one degree of freedom; sd / sqrt(2) is 1
    assert (found["low"], found["high"]) == pytest.approx((3 - half, 3 + half), abs=1e-3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (series(t1=1, t2=2), series(t1=1, t3=2)),
        (series(t1=1), series(t1=1)),
        (series(t1=1, t2=2), series(t1=1)),
    ],
)
def test_unpaired_trials_are_refused(first: pd.Series, second: pd.Series) -> None:
    with pytest.raises(UserError, match="the same trials on both sides"):
        study.difference(first, second)


def test_each_line_is_there_once() -> None:
    found = study.rows()
    assert not found.duplicated(KEY).any()
    assert found[["rank1", "rank5", "rank20", "mAP"]].stack().between(0, 100).all()


@pytest.mark.parametrize("dataset", study.rows()["dataset"].unique())
def test_the_methods_of_a_data_set_are_there_in_the_same_trials(dataset: str) -> None:
    numbers = study.trials(dataset=dataset, method="baseline").index
    assert len(numbers) >= 5
    assert list(numbers) == list(range(1, len(numbers) + 1))
    for name, where in study.METHODS.items():
        assert list(study.found(dataset=dataset, **where).index) == list(numbers), name


def test_lines_are_found_by_a_number_of_another_type() -> None:
    assert len(study.rows(knob="vertical_sd", value=0)) == len(
        study.rows(knob="vertical_sd", value=0.0)
    )
    with pytest.raises(UserError, match="unknown value beside what else is asked"):
        study.rows(knob="vertical_sd", value=0.5)


def test_the_part_of_one_backbone_and_recipe_is_whole() -> None:
    for part, found in study.rows().groupby("part"):
        settings = found.groupby(["method", "k", "variant", "value"])["trial"].agg(set)
        assert all(numbers == set(found["trial"]) for numbers in settings), part


def test_ranks_rise() -> None:
    found = study.rows()
    assert (found["rank1"] <= found["rank5"]).all()
    assert (found["rank5"] <= found["rank20"]).all()


def test_the_share_of_correct_pairs_is_there_for_every_trained_network() -> None:
    found = study.rows()
    trained = found["method"].isin(["baseline", "local", "global"])
    assert (found["correct_pairs"].notna() == trained).all()


def test_the_configs_are_those_of_the_presets_but_for_where_the_weights_lay() -> None:
    about = json.loads(Path(study.__file__).with_name("study.json").read_text("utf-8"))
    assert set(about) == set(study.rows()["part"])
    for part, kept in about.items():
        one = study.rows(part=part).iloc[0]
        usual = preset(one["dataset"], one["scale"])
        changed = {n for n, v in kept["config"].items() if v != getattr(usual, n, None)}
        allowed = {"weights", "lr_factors"}
        variants = study.rows(part=part)["variant"].unique()
        allowed |= {"k"} | {text.split("=")[0] for v in variants for text in v.split(", ")}
        if "match_unvisited" in kept["config"]:  # measured before the recipe of today
            allowed |= {"match_unvisited", "steps", "head_lr_factor", "tracklet_pool"}
            allowed |= {"height", "width"}
        assert changed <= allowed, part
        assert kept["versions"]["torch"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"dataset": "synthetic_claen"}, "synthetic_clean"),
        ({"methods": "local"}, "did you mean 'method'"),
        ({"method": "local", "k": 3}, "unknown k beside .* '3': .*8"),
    ],
)
def test_what_the_study_does_not_have_is_a_sentence(wanted: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        study.rows(**wanted)


def test_gains_are_the_paired_differences_to_the_baseline() -> None:
    line = study.gains().set_index(["dataset", "method"]).loc[("synthetic_clean", "local")]
    where = {"dataset": "synthetic_clean", "scale": "frozen"}
    local, base = (study.trials(method=m, **where) for m in ("local", "baseline"))
    assert line["gain"] == pytest.approx(local.mean() - base.mean())
    assert line["low"] < line["gain"] < line["high"]
    assert line["kind"] == "measured (synthetic)"


def test_only_trials_that_both_sides_have_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = {"a": series(t1=3, t2=5, t3=100), "b": series(t1=1, t2=1)}
    monkeypatch.setattr(study, "found", lambda method: sides[method])
    gap = study.paired({"method": "a"}, {"method": "b"})
    assert gap == study.difference(sides["a"][:2], sides["b"])
    assert study.told(gap) == f"+3.0 [{gap['low']:+.1f}, {gap['high']:+.1f}]"
    sides["b"] = series(t1=1)
    assert study.paired({"method": "a"}, {"method": "b"}) is None


def test_what_was_not_measured_is_said_so_in_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ward = study.rows(part="ward").query("method != 'global' and variant == ''")
    monkeypatch.setattr(study, "_rows", lambda: with_ward)
    assert set(study.comparison().loc["global"]) == {study.NOT_MEASURED}
    assert study.comparison().loc["local", "ward"] != study.NOT_MEASURED
    assert study.measured("ward").loc["global", "over the baseline"] == study.NOT_MEASURED
    assert study.pooling().empty
    assert study.heads().empty
    assert study.objectives().empty
    assert set(study.gains()["method"]) == {"local", "fusion"}
    assert study.part_models()["change"].notna().sum() == 1
    assert list(study.by_parts().index) == [("ward", 1), ("ward", 8)]


def test_the_maximum_over_the_frames_says_nothing_of_what_was_pooled_by_the_mean() -> None:
    table = study.measured("ward", "tracklet_pool=max")
    assert set(table.loc["untrained"]) == {study.NOT_MEASURED}
    local = study.trials(dataset="ward", method="local", variant="tracklet_pool=max")
    assert table.loc["local", "Rank-1"] == f"{local.mean():.1f} ± {local.std():.1f}"


def test_the_pairs_of_the_baseline_stand_at_one_local_part() -> None:
    table = study.pairs()
    where = {"dataset": "synthetic_clean", "scale": "frozen", "method": "baseline"}
    shares = study.trials("correct_pairs", **where)
    cell = table.loc[("synthetic_clean", "local"), 1]
    assert cell == f"{shares.mean():.0f} ± {shares.std():.0f}"


def test_pairs_of_cameras_are_those_of_the_literature_of_ward() -> None:
    table = study.camera_pairs()
    assert list(table.columns.unique(0)) == ["C1 in C2", "C1 in C3", "C2 in C3"]
    assert list(table.index) == ["untrained", "baseline", "local", "global", "fusion"]
    means = [float(text.split()[0]) for text in table.loc["local", "C1 in C3"]]
    assert means == sorted(means) and len(means) == 3, "Rank-1, 5, 20"


def test_part_models_alone_are_told_in_percent_of_the_baseline() -> None:
    table = study.part_models().set_index(["dataset", "k"])
    same = study.trials(dataset="ward", method="local", k=2).index
    means = [study.trials(dataset="ward", method=m)[same].mean() for m in ("local", "baseline")]
    assert table.loc[("ward", 8), "change"] == pytest.approx(100 * (means[0] / means[1] - 1))
    assert table.loc[("ward", 8), "kind"] == "measured (real)"


def test_the_number_of_parts_is_compared_on_the_same_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = study.trials(dataset="ward", method="local")
    assert set(study.by_parts().loc["ward", "trials"]) == {len(every)}
    rows = study._rows()
    lost = (rows["part"] == "ward-parts") & (rows["k"] == 2) & (rows["trial"] > 4)
    monkeypatch.setattr(study, "_rows", lambda: rows[~lost])
    table, four = study.by_parts().loc["ward"], every.loc[1:4]
    assert set(table["trials"]) == {4}
    assert table.loc[8, "local"] == f"{four.mean():.1f} ± {four.std():.1f}"


def test_both_objectives_stand_beside_each_other_on_the_trials_that_both_have() -> None:
    variant = study.OBJECTIVES["cluster contrast"]
    line = study.objectives().loc["ward", "local"]
    rank1, base = (
        {v: study.trials(dataset="ward", method=m, variant=v) for v in ("", variant)}
        for m in ("local", "baseline")
    )
    common = rank1[variant].index
    assert 1 < len(common) < len(rank1[""]), "the association has more trials"
    assert line["association"] == f"{rank1[''][common].mean():.1f} ± {rank1[''][common].std():.1f}"
    gap = study.difference(rank1[variant], base[variant])
    assert line["cluster contrast: gain"] == study.told(gap)
    assert study.objectives()["association: gain"].loc["ward", "baseline"] == ""


@pytest.mark.parametrize("other", [{"dataset": "folder"}, {"length": 20.0}, {"people": 9}])
def test_curves_that_somebody_else_measured_change_nothing(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, object]
) -> None:
    mine, stopping = study.curves(), study.stopping()
    every = pd.read_csv(Path(study.__file__).with_name("curves.csv"))
    both = pd.concat([every, every.assign(**other)])
    monkeypatch.setattr(study.pd, "read_csv", lambda lines: both)
    pd.testing.assert_frame_equal(study.curves(), mine)
    pd.testing.assert_frame_equal(study.stopping(), stopping)


@pytest.mark.parametrize("scale", ["demo", "frozen"])
def test_the_ablation_turns_every_switch_that_can_act(
    monkeypatch: pytest.MonkeyPatch, scale: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "data_scripts"))
    ablation = importlib.import_module("ablation")
    lines = ablation.cases(preset("ward", scale), resized=True)
    switched = {name: value for *_, changes in lines for name, value in changes.items()}
    assert set(switched) == {*OFFICIAL} - {"restore_bn_statistics", "lr_factors"}
    usual = preset("ward", scale).replace(**switched)
    assert all(getattr(usual, name) != getattr(preset("ward", scale), name) for name in switched)
