"""What only a controlled world can show, against naive counts on a tiny one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from upm_lib.config import Config, preset
from upm_lib.data import splits
from upm_lib.experiments import analysis, measuring, networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import model

TINY = dict(progress=False, device="cpu", k=4, steps=2, batch=8)


@pytest.fixture(scope="module")
def bench(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    patch = pytest.MonkeyPatch()
    patch.setenv("UPM_RUNS", str(tmp_path_factory.mktemp("analysis") / "runs"))
    yield open_bench(root=str(tiny_root), **TINY)
    patch.undo()


@pytest.fixture(scope="module")
def network(bench: Bench) -> model.UPMNet:
    return networks.of(bench, bench.measurement("local", 1))[0]


def test_rows_of_the_map_give_the_parts_of_the_network_whatever_k(bench, network) -> None:
    tracklets = splits.split(bench.dataset, 1).train[:3]
    rows = analysis.row_features(bench, network, tracklets)
    assert rows.shape == (3, 8, 256)
    with torch.no_grad():
        for n, tracklet in enumerate(tracklets):
            frames = bench.frames.batch(bench.frames.of([tracklet]), bench.config, "cpu")
            parts = network.eval()(frames).mean(0)  # [4, 256]
            torch.testing.assert_close(rows[n].unflatten(0, (4, 2)).mean(1), parts)


def test_stripes_are_averages_of_rows_of_unit_length() -> None:
    rows = torch.arange(16.0).view(1, 8, 2)
    found = analysis.stripe_features(rows, 2)
    assert found.shape == (2, 1, 2)
    expected = torch.tensor([3.0, 4.0])  # mean of rows 0 .. 3: (0 2 4 6, 1 3 5 7)
    torch.testing.assert_close(found[0, 0], expected / 5)


def test_cyclic_pairs_are_mutual_nearest_neighbours() -> None:
    draw = torch.Generator().manual_seed(3)
    anchors = torch.nn.functional.normalize(torch.randn(3, 10, 4, generator=draw), dim=2)
    cameras = np.array([0, 1] * 5)
    found = analysis.cyclic_pairs(anchors, cameras, Config())
    for part in range(3):
        apart = torch.cdist(anchors[part], anchors[part]).numpy()
        for j in range(10):
            others = np.flatnonzero(cameras != cameras[j])
            there = others[apart[j, others].argmin()]
            own = np.flatnonzero(cameras == cameras[j])
            back = own[apart[there, own].argmin()]
            assert found[part, j] == (there if back == j else -1)


def test_pair_shares_are_the_counted_ones(bench, network) -> None:
    table = analysis.pair_shares(bench, network, (1, 8))
    assert table["k"].tolist() == [1, 8]
    tracklets = splits.split(bench.dataset, 1).train
    rows = analysis.row_features(bench, network, tracklets)
    cameras = bench.cameras(tracklets)
    match = analysis.cyclic_pairs(analysis.stripe_features(rows, 8), cameras, bench.config)
    people = bench.people(tracklets)
    pairs = [(people[j], people[m]) for part in match for j, m in enumerate(part) if m >= 0]
    assert table["consistent"][1] == pytest.approx(100 * len(pairs) / match.size)
    assert table["correct"][1] == pytest.approx(100 * np.mean([a == b for a, b in pairs]))


def test_with_one_part_the_part_alone_is_the_whole_feature(bench) -> None:
    (alone,) = analysis.part_rank1(bench, "baseline")
    assert alone == measuring.measure(bench, bench.measurement("baseline"))["rank1"]


def test_part_vectors_follow_the_order_of_probes_and_gallery(bench) -> None:
    probe, gallery = analysis.part_vectors(bench, "baseline")
    whole = measuring.trial_vectors(bench, bench.measurement("baseline"))
    torch.testing.assert_close(probe[0], whole[0])
    torch.testing.assert_close(gallery[0], whole[1])


def test_lookalikes_are_different_people_each_shown_once_and_the_nearest_pair_is_among_them(
    bench,
) -> None:
    table = analysis.lookalikes(bench, "global")
    first, second = bench.people(table["probe"]), bench.people(table["gallery"])
    assert (first != second).all()
    assert len({*first, *second}) == 2 * len(table) == 4  # of four test people
    probe, gallery = analysis.part_vectors(bench, "global")
    halves = splits.split(bench.dataset, 1)
    rivals = bench.people(halves.probe)[:, None] != bench.people(halves.gallery)
    nearest = torch.cdist(probe, gallery)[:, torch.from_numpy(rivals)].min()
    assert table["distance"].min() == pytest.approx(float(nearest), abs=1e-3)


def test_the_plane_keeps_distances_of_points_that_lie_in_a_plane() -> None:
    draw = torch.Generator().manual_seed(0)
    flat = (
        torch.randn(9, 2, generator=draw)
        @ torch.linalg.qr(torch.randn(2, 5, generator=draw).T)[0].T
    )
    found = torch.from_numpy(analysis.plane(flat))
    torch.testing.assert_close(torch.cdist(found, found).float(), torch.cdist(flat, flat))


def test_toy_people_pair_rightly_as_wholes_and_often_wrongly_as_single_rows() -> None:
    people, cameras = np.array([*range(6)] * 2), np.repeat([0, 1], 6)
    correct = {}
    for k in (1, 8):
        anchors = analysis.toy_parts(k, seed=4)
        assert anchors.shape == (k, 12, 2)
        match = analysis.cyclic_pairs(anchors, cameras, preset("synthetic_clean"))
        correct[k] = (people[match] == people)[match >= 0].mean()
    assert correct[1] == 1.0
    assert correct[8] < 0.7
