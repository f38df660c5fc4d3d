"""What only a controlled world can show, against naive counts on a tiny one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from upm_lib.config import Config, UserError, preset
from upm_lib.data import splits
from upm_lib.experiments import analysis, measuring, networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import model
from upm_lib.retrieval import activation
from upm_lib.synthetic import world

# Statistics of the last batch: a moving average of two steps would make all features the same.
TINY = dict(progress=False, device="cpu", k=4, steps=2, batch=8, bn_momentum=1.0)


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


def test_one_person_has_no_lookalike(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bench), "people", lambda bench, tracklets: np.zeros(len(tracklets)))
    table = analysis.lookalikes(bench, "global")
    assert table.empty and table["part"].tolist() == []


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


# ---------------------------------------------------------------- regions of the body


@pytest.fixture
def drawn_here(tiny_world: world.World, run_store: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The tiny world as the synthetic data set itself."""
    monkeypatch.setitem(world.WORLDS, "synthetic_clean", tiny_world)
    return open_bench(**TINY)


def test_regions_belong_to_the_pictures_of_the_bench(drawn_here: Bench, tiny_world) -> None:
    for tracklet in (0, 5, 15):
        who = drawn_here.dataset.tracklets[tracklet]
        drawn = world.render_tracklet(tiny_world, who.person, who.camera)
        assert np.array_equal(drawn, drawn_here.clip(tracklet)), "the same frames, in this order"
        expected = world.regions(tiny_world, who.person, who.camera)
        assert np.array_equal(analysis.body_regions(drawn_here, tracklet), expected)


def test_only_our_own_drawings_have_regions(bench: Bench) -> None:
    with pytest.raises(UserError, match=r"nobody knows where head and legs are .* without root"):
        analysis.body_regions(bench, 0)


def test_activation_by_region_averages_a_persons_frames(
    drawn_here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_head(network, frames, index, config) -> np.ndarray:
        """Responds to the head of a tracklet and, in its first frame, to the whole picture."""
        (tracklet,) = set(frames.tracklet[index])
        maps = (analysis.body_regions(drawn_here, tracklet) == 1).astype(np.float32)
        maps[0] = 1
        return maps

    monkeypatch.setattr(activation, "activation_maps", on_head)
    found = analysis.activation_by_region(drawn_here, ["untrained"])
    halves = splits.split(drawn_here.dataset, 1)
    assert found.index.tolist() == [("untrained", p) for p in drawn_here.people(halves.probe)]
    for (_, person), row in found.iterrows():
        heads = np.array([
            (world.regions(world.WORLDS["synthetic_clean"], person, c) == 1).mean((1, 2))
            for c in (0, 1)
        ])  # fmt: skip
        expected = np.where(np.arange(4) == 0, 1, 1 / heads)
        assert row["head"] == pytest.approx(expected.mean())
        assert row["torso"] == row["legs"] == row["background"] == pytest.approx(1 / 4)
        area = np.where(np.arange(4) == 0, 1, heads)
        assert row["above_half"] == pytest.approx(100 * area.mean())
        assert row["breadth"] == pytest.approx(100 * area.mean())


def test_paired_differences_have_students_interval() -> None:
    draw = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [["baseline", "local"], range(9)], names=["method", "person"]
    )
    table = pd.DataFrame(draw.random((18, 2)), index, ["head", "breadth"])
    table.loc[("local", 3), "head"] = np.nan  # a head that no frame shows
    found = analysis.paired_differences(table)
    assert found.index.names == ["method", "measure"]
    for measure, people in (("head", 8), ("breadth", 9)):
        gap = (table.loc["local", measure] - table.loc["baseline", measure]).dropna()
        assert len(gap) == people
        low, high = stats.ttest_1samp(gap, 0).confidence_interval(0.95)
        row = found.loc[("local", measure)]
        np.testing.assert_allclose(row[["mean", "low", "high"]], [gap.mean(), low, high])
