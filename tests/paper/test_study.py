"""The committed study: its lines are complete and labelled, and its differences are paired."""

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest

from upm_lib.config import PARTS, UserError, preset
from upm_lib.paper import study
from upm_lib.synthetic.world import WORLDS

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


@pytest.mark.parametrize("dataset", WORLDS)
def test_every_world_has_every_setting_in_five_trials(dataset: str) -> None:
    settings = [("baseline", 1, ""), ("untrained", 8, "")]
    settings += [(m, k, "") for m, k in itertools.product(("local", "global", "fusion"), PARTS)]
    settings.remove(("local", 1, ""))  # one part, local-aware: the baseline
    settings += [("fusion", k, "normalise_branches=True") for k in PARTS]
    settings += [(m, 8, "pool=gmp") for m in ("local", "global", "fusion")]
    settings += [("baseline", 1, "pool=gmp"), ("global", 8, "train_global_head=False")]
    for method, k, variant in settings:
        found = study.trials(dataset=dataset, scale="frozen", method=method, k=k, variant=variant)
        assert list(found.index) == [1, 2, 3, 4, 5], (method, k, variant)


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
    assert line["mean"] == pytest.approx(local.mean() - base.mean())
    assert line["low"] < line["mean"] < line["high"]


def test_the_pairs_of_the_baseline_stand_at_one_local_part() -> None:
    table = study.pairs()
    where = {"dataset": "synthetic_clean", "scale": "frozen", "method": "baseline"}
    shares = study.trials("correct_pairs", **where)
    cell = table.loc[("synthetic_clean", "local"), 1]
    assert cell == f"{shares.mean():.0f} ± {shares.std():.0f}"
    assert table.notna().all().all()


def test_the_small_backbone_has_five_trials_and_the_deep_random_one_is_there() -> None:
    table = study.backbones()
    assert list(table) == list(study.BACKBONES)
    assert table.notna().all().all()
    small = study.trials(dataset="synthetic_clean", scale="demo", method="local")
    assert len(small) == 5
    assert table["small, random start"]["local"] == f"{small.mean():.1f} ± {small.std():.1f}"


@pytest.mark.parametrize(("knob", "values"), [("clutter", 2), ("occlusion", 2), ("vertical_sd", 3)])
def test_the_clean_world_stands_where_a_turned_knob_is_at_rest(knob: str, values: int) -> None:
    found = study.turned(knob)
    assert set(found["method"]) == {"baseline", "local", "global", "fusion"}
    counts = found.groupby([knob, "method"])["trial"].nunique()
    assert (counts == 5).all()
    turned, at_rest = {*study.rows(knob=knob)["value"]}, study.AT_REST
    assert len(turned) == values
    assert {*found[knob]} == {at_rest} | turned
    of_clean = study.trials(dataset="synthetic_clean", scale="frozen", method="baseline")
    shown = found[(found["method"] == "baseline") & (found[knob] == at_rest)]
    assert {*of_clean} <= {*shown["rank1"]}


def test_gains_under_a_turned_knob_are_paired_like_the_others() -> None:
    table = study.turned_gains()
    line = study.gains().set_index(["dataset", "method"]).loc[("synthetic_clean", "global")]
    text = f"{line['mean']:+.1f} [{line['low']:+.1f}, {line['high']:+.1f}]"
    assert table.loc[("none", 0.0), "global"] == text
    where = {"dataset": "synthetic_clean", "knob": "clutter", "value": 0.8}
    gap = study.trials(method="local", **where) - study.trials(method="baseline", **where)
    assert table.loc[("clutter", 0.8), "local"].startswith(f"{gap.mean():+.1f} [")
    assert len(table) == 1 + 2 + 2 + 3
