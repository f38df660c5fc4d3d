"""Verdicts follow from the published cells and from the study's trials, nothing else."""

import pandas as pd
import pytest

from upm_lib.paper import study, verdict

CLAIMS = {claim.text: claim for claim in verdict.CLAIMS}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 5.0, "confirmed"), (-5.0, -0.1, "contradicted"), (-1.0, 4.0, "not confirmed")],
)
def test_the_interval_alone_decides(low: float, high: float, said: str) -> None:
    assert verdict.judged({"mean": 2.0, "low": low, "high": high}) == said


def test_published_differences_are_those_the_paper_quotes() -> None:
    assert verdict.printed(CLAIMS["local-aware parts beat the baseline"]).startswith("+9.2 / ")
    pooled = CLAIMS["average pooling beats maximum pooling (fusion, k = 2)"]
    assert verdict.printed(pooled).split(" / ")[1:] == ["+6.8", "+5.0"]


@pytest.mark.parametrize("dataset", study.rows()["dataset"].unique())
def test_a_measured_difference_is_paired_by_trial(dataset: str) -> None:
    all_rows = study.rows(dataset=dataset, scale="frozen", knob="", variant="")
    by_method = all_rows[all_rows["k"] == 8].set_index("trial").groupby("method")["rank1"]
    gaps = by_method.get_group("fusion") - by_method.get_group("local")
    cell = verdict.table().loc["fusion beats local-aware parts alone", dataset]
    assert cell.startswith(f"{gaps.mean():+.1f} [")
    assert cell.endswith(("confirmed", "contradicted"))


def test_the_maximum_over_the_frames_has_verdicts_of_its_own() -> None:
    rows = study.rows(dataset="ward", k=8, variant="tracklet_pool=max")
    by_method = rows.set_index("trial").groupby("method")["rank1"]
    gaps = by_method.get_group("fusion") - by_method.get_group("local")
    cells = verdict.table()["ward, maximum"]
    assert cells["fusion beats local-aware parts alone"].startswith(f"{gaps.mean():+.1f} [")
    assert cells["average pooling beats maximum pooling (fusion, k = 2)"] == "not measured"


def test_what_the_study_lacks_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "found", lambda **_: pd.Series([1.0], [1]))
    cells = verdict.table()[[*verdict.COLUMNS]]
    assert (cells == "not measured").all(axis=None)
