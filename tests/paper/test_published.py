"""The published numbers: well-formed, sourced, and consistent with what the paper says of them."""

import pytest

from upm_lib.paper import complexity, published

CELLS = published.published()
LIMITS = {"rank1": 100, "rank5": 100, "rank20": 100, "mAP": 100, "flops_G": 20, "params_M": 200}


def test_columns_keys_and_sources() -> None:
    assert list(CELLS.columns) == [*published.KEY, "value", "source"]
    assert not CELLS.duplicated(published.KEY).any()
    assert CELLS.notna().all().all()
    assert (CELLS["source"].str.strip().str.len() > 10).all()


def test_values_are_in_range() -> None:
    assert set(CELLS["metric"]) <= set(published.METRICS) == set(LIMITS)
    assert set(CELLS["dataset"]) <= set(complexity.TRAINING_SETS)
    assert set(CELLS["backbone"]) <= {"mobilenet_v1", "resnet50", published.UNSTATED}
    assert (CELLS["value"] > 0).all()
    assert (CELLS["value"] < CELLS["metric"].map(LIMITS)).all()


def test_coverage_says_what_is_there() -> None:
    assert sorted(published.COMPLETE + published.PARTIAL + published.ABSENT) == list(
        published.TABLES
    )
    sizes = {table: len(published.published(table)) for table in published.TABLES}
    assert sizes == {1: 3, 2: 3, 3: 0, 4: 0, 5: 24, 6: 4}
    assert [published.coverage(table) for table in (1, 3, 5)] == ["partial", "absent", "complete"]


@pytest.mark.parametrize("table", published.COMPLETE)
def test_complexity_tables_equal_our_count(table: int) -> None:
    for _, cell in published.published(table).iterrows():
        printed = complexity.printed_row(cell["backbone"], cell["row"], cell["dataset"])
        assert cell["value"] == printed[cell["metric"] == "params_M"]


@pytest.mark.parametrize("delta", published.QUOTED_DELTAS, ids=lambda d: str(d.quoted))
def test_quoted_delta_recomputes(delta: published.QuotedDelta) -> None:
    assert delta.recomputed() == pytest.approx(delta.quoted, abs=0.05)


def test_value_of_a_cell() -> None:
    assert published.value(1, "uPMnet", published.UNSTATED, "PRID2011", "rank1") == 92.0
    assert published.value(6, "DAL", "mobilenet_v1", "DukeMTMC-VideoReID", "params_M") == 5.45


def test_missing_is_none_and_never_guessed() -> None:
    assert published.value(2, "uPMnet", "mobilenet_v1", "PRID2011", "rank1") is None
    assert published.value(4, "k=1", "mobilenet_v1", "PRID2011", "rank1") is None
    key = (4, "k=1", "mobilenet_v1", "PRID2011", "rank1")
    assert published.QuotedDelta(1.0, "4.5", key, key).recomputed() is None


def test_unknown_table_and_metric_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown table"):
        published.published(7)
    with pytest.raises(ValueError, match="did you mean 'rank1'"):
        published.value(1, "uPMnet", "resnet50", "PRID2011", "rank10")


def test_callers_cannot_change_the_data() -> None:
    cells = published.published()
    cells.loc[0, "value"] = -1.0
    assert published.published()["value"].min() > 0
