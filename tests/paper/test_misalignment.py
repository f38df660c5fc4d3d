"""What misaligned boxes cost on WARD: gains by query, paired by trial, and moved boxes."""

import pandas as pd
import pytest

from upm_lib.paper import committed, misalignment, study


def test_every_query_of_ten_trials_is_there() -> None:
    found = misalignment.by_query()
    assert found.groupby("trial").size().to_dict() == dict.fromkeys(range(1, 11), 105)
    assert found["misaligned"].between(0, 15).all()


def test_bins_hold_all_queries_and_their_gains_average_to_the_whole() -> None:
    bins = misalignment.binned(4).query("method == 'local'")
    assert bins["queries"].sum() == len(misalignment.by_query())
    assert bins["queries"].max() - bins["queries"].min() < 60
    assert (bins["low"] < bins["mean"]).all() and (bins["mean"] < bins["high"]).all()


def test_a_slope_is_in_points_by_one_percent_of_the_height(monkeypatch: pytest.MonkeyPatch) -> None:
    made = pd.DataFrame({"trial": [1, 1, 1, 2, 2, 2], "misaligned": [0, 0.01, 0.02] * 2})
    made["baseline"], made["global"], made["query"] = 0.5, 0.5, range(6)
    made["local"] = [0.9, 0.8, 0.7, 0.9, 0.7, 0.5]  # ten and twenty points less by percent
    monkeypatch.setattr(committed, "table", lambda _: made)
    slopes = misalignment.slopes()
    assert slopes.loc["local", "mean"] == pytest.approx(-15)
    assert slopes.loc["local", "low"] < -20 < -10 < slopes.loc["local", "high"]
    assert slopes.loc["global"].abs().max() == pytest.approx(0)


def test_the_gain_of_a_person_is_the_mean_over_his_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    made = pd.DataFrame({"trial": [1, 1, 2, 2], "query": [0, 70, 140, 3], "misaligned": 0.01})
    made["baseline"], made["global"], made["local"] = 0.5, 0.5, [0.6, 0.7, 0.8, 0.4]
    monkeypatch.setattr(committed, "table", lambda _: made)
    assert misalignment.by_person()["local"].tolist() == pytest.approx([20, -10])


def test_what_is_lost_beyond_the_baseline_is_paired_by_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        (trial, share, method, 90 + trial - share * lost * trial)
        for trial in (1, 2)
        for share in (0.0, 0.1)
        for method, lost in (("baseline", 100), ("local", 300), ("global", 100))
    ]
    made = pd.DataFrame(rows, columns=["trial", "share", "method", "rank1"])
    monkeypatch.setattr(committed, "table", lambda _: made)
    costs = misalignment.costs()
    base, local = pd.Series([-10.0, -20.0]), pd.Series([-30.0, -60.0])  # lost in both trials
    beyond = study.told(study.difference(local, base))
    assert costs.loc["+10 %", "local, beyond the baseline"] == beyond
    assert costs.loc["+10 %", "global, beyond the baseline"].startswith("+0.0 [")
    assert costs.loc["+10 %", "baseline"] == "76.5"
    assert costs.loc["+0 %", "local, beyond the baseline"] == ""
    made = made.query("trial == 1")
    monkeypatch.setattr(committed, "table", lambda _: made)
    assert misalignment.costs().loc["+10 %", "local, beyond the baseline"] == study.NOT_MEASURED
