"""Misaligned boxes: known shifts of known frames are found, and moving nothing costs nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from upm_lib.experiments import alignment, measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.retrieval.offsets import vertical_offsets


@pytest.fixture(scope="module")
def bench(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    patch = pytest.MonkeyPatch()
    patch.setenv("UPM_RUNS", str(tmp_path_factory.mktemp("alignment") / "runs"))
    yield open_bench(root=str(tiny_root), progress=False, device="cpu", k=2, steps=2, batch=8)
    patch.undo()


@pytest.mark.parametrize(
    ("pixels", "first"), [(2, [0, 0, 0, 1]), (-1, [1, 2, 3, 3]), (0, range(4))]
)
def test_a_shift_moves_rows_and_repeats_the_edge(pixels: int, first: list[int]) -> None:
    images = torch.arange(4.0).view(1, 1, 4, 1).expand(2, 3, 4, 5)
    assert alignment.shifted(images, pixels)[1, 2, :, 4].tolist() == list(first)


def test_moving_the_queries_by_nothing_costs_nothing(bench: Bench) -> None:
    found = alignment.cost_of_shift(bench, [0.0, 0.5]).set_index(["method", "share"])
    for method in alignment.METHODS:
        record = measuring.measure(bench, bench.measurement(method, 1))
        assert found.loc[(method, 0.0), "rank1"] == pytest.approx(record["rank1"])
        assert found.loc[(method, 0.0), "mAP"] == pytest.approx(record["mAP"])
    assert not np.allclose(found.xs(0.5, level=1)["mAP"], found.xs(0.0, level=1)["mAP"])


def test_each_query_has_its_misalignment_and_its_precisions(bench: Bench) -> None:
    pairs, found = alignment.offset_pairs(bench), alignment.by_query(bench)
    halves = measuring.searched(bench, 1)
    assert found["query"].tolist() == halves.probe.tolist()
    people = dict(zip(halves.probe, bench.people(halves.probe), strict=True))
    for query, gallery in pairs[["query", "gallery"]].itertuples(index=False):
        assert bench.people(np.array([gallery]))[0] == people[query]
        assert bench.cameras(np.array([gallery]))[0] != bench.cameras(np.array([query]))[0]
    by_hand = pairs["offset"].abs().groupby(pairs["query"]).mean()
    assert found.set_index("query")["misaligned"].equals(by_hand.rename("misaligned"))
    record = measuring.measure(bench, bench.measurement("local", 1))
    assert 100 * found["local"].mean() == pytest.approx(record["mAP_mean_precision"])


def test_a_moved_box_is_seen_in_the_rows_of_its_picture(bench: Bench) -> None:
    """The frames' own pixels as rows: an eighth of the height is found again."""
    index = bench.frames.of(measuring.searched(bench, 1).probe)
    images = bench.frames.batch(index, bench.config, "cpu")
    moved = alignment.Shifted(bench.frames, 0.125, torch.nn.Identity()).batch(
        index, bench.config, "cpu"
    )
    rows = [x.mean(3).transpose(1, 2)[:, ::4] for x in (images, moved)]  # 32 rows of colours
    found = vertical_offsets(rows[0], rows[1])
    assert found.median() == pytest.approx(0.125, abs=0.02)
    assert len(found) == len(index)
