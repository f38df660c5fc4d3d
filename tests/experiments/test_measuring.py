"""Experiments as calls: trained once, measured once, compared honestly; wrong input explained."""

import dataclasses
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from upm_lib import distributed, runs
from upm_lib.config import Config, UserError, from_json
from upm_lib.data import splits
from upm_lib.data.tracklets import Dataset, Tracklet
from upm_lib.experiments import measurement, measuring, networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.experiments.measurement import METHODS
from upm_lib.experiments.measuring import METRICS
from upm_lib.learning import clusters, model, training
from upm_lib.retrieval import evaluation, features
from upm_lib.synthetic import world

SMALL = dict(steps=4, batch=8, device="cpu", progress=False)


@pytest.fixture
def bench(run_store: Path, tiny_root: Path) -> Bench:
    """The tiny world, to be trained for four steps."""
    return open_bench("synthetic_clean", root=str(tiny_root), **SMALL)


@pytest.fixture
def steps_done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The training steps of this test, one entry each."""
    done: list[int] = []
    step: Callable = training.Trainer.train_step

    def counted(trainer: training.Trainer) -> None:
        done.append(trainer.step)
        step(trainer)

    monkeypatch.setattr(training.Trainer, "train_step", counted)
    return done


# ---------------------------------------------------------------- opening


def test_a_bench_holds_the_config_the_people_and_the_frames(bench: Bench) -> None:
    assert (bench.config.steps, bench.config.batch, bench.config.min_frames) == (4, 8, 1)
    assert len(bench.dataset.people) == 8
    assert len(bench.frames.pixels) == 64
    assert bench.device == torch.device("cpu")
    assert bench.is_synthetic
    assert bench.label == "synthetic data in tiny world é"
    assert dataclasses.replace(bench, config=Config()).label == "synthetic data"
    assert bench.people(np.array([9, 0])).tolist() == [2, 1]


def test_results_on_real_data_carry_its_name_and_that_of_its_folder(
    run_store: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_root / "multi_shot")
    for root in (tiny_root, ".."):
        bench = open_bench("prid2011", root=str(root), min_frames=1, **SMALL)
        assert not bench.is_synthetic
        assert bench.label == "measured on prid2011 in tiny world é"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"dataset": "prid2011"},
            "the data set prid2011 is not synthetic: give its folder as root",
        ),
        ({"dataset": "prid2011", "root": "/no/such"}, "/no/such does not exist: give the folder"),
        ({"dataset": "synthetic_claen"}, "did you mean 'synthetic_clean'"),
        ({"scale": "papr"}, "did you mean 'paper'"),
        ({"k": 3}, "k = 3 does not divide"),
        ({"k": "abc"}, "k must be a whole number, not 'abc'"),
        ({"stepz": 3}, "unknown option 'stepz': did you mean 'steps'"),
        ({"device": "gpu"}, "device 'gpu'"),
        ({"device": 0}, "device"),
        ({"seed": -1}, "seed"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_what_does_not_fit_gets_one_sentence(
    run_store: Path, tiny_root: Path, arguments: dict, words: str
) -> None:
    given = {"root": str(tiny_root)} if arguments.get("dataset") != "prid2011" else {}
    with pytest.raises(UserError) as caught:
        open_bench(**{**given, **SMALL, **arguments})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_gets_one_sentence(run_store: Path, tiny_root: Path) -> None:
    with pytest.raises(UserError, match=r"device 'cuda' is not available here: use 'cpu'"):
        open_bench(root=str(tiny_root), **{**SMALL, "device": "cuda"})


def test_true_pairs_are_of_the_first_probes(bench: Bench) -> None:
    halves = bench.split(1)
    assert measuring.true_pairs(bench, 1, 3).T.tolist() == [s[:3].tolist() for s in halves[1:]]
    assert len(measuring.true_pairs(bench, 1, 99)) == 4


def test_true_pairs_are_neither_distractors_nor_of_one_camera(bench: Bench) -> None:
    lines = [
        *(("gallery", 0, 0), ("gallery", 0, 1), ("gallery", 0, 2)),  # distractors
        *(("gallery", 7, 1), ("query", 7, 1), ("query", 7, 2), ("gallery", 7, 2)),
        *(("query", 3, 0), ("gallery", 3, 0)),  # nobody else has seen 3
        *(("gallery", 5, 2), ("gallery", 5, 1), ("query", 5, 2)),
        *(("train", 9, 0), ("train", 9, 1)),
    ]
    subset, people, cameras = zip(*lines, strict=True)
    tracklets = tuple(Tracklet(*who, ("x",)) for who in zip(people, cameras, strict=True))
    dataset = Dataset("x", Path("x"), tracklets, ("a", "b", "c"), subset, queries_in_gallery=True)
    market = dataclasses.replace(bench, dataset=dataset)
    assert measuring.true_pairs(market, 1, 4).tolist() == [[4, 5], [11, 10]]
    alone = dataclasses.replace(dataset, tracklets=tracklets[7:9], subset=subset[7:9])
    with pytest.raises(UserError, match="no query of this trial has a match in another camera"):
        measuring.true_pairs(dataclasses.replace(bench, dataset=alone), 1, 4)


def test_one_frame_and_all_frames_of_a_tracklet(bench: Bench) -> None:
    frames = bench.frames.pixels[bench.frames.of([3])]
    assert np.array_equal(bench.clip(3), frames)
    (middle,) = bench.images(np.array([3]))
    assert np.array_equal(middle, frames[2])


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("method", "branch", "k"),
    [("baseline", "local", 1), ("local", "local", 8), ("global", "global", 8)],
)
def test_a_method_is_a_branch_and_a_number_of_parts(
    bench: Bench, method: str, branch: str, k: int
) -> None:
    config = bench.network(method, trial=2)
    assert (config.branch, config.k, config.trial) == (branch, k, 2)
    assert config == bench.config.replace(branch=branch, k=k, trial=2)


def test_a_network_is_trained_once_and_then_loaded(bench: Bench, steps_done: list[int]) -> None:
    config = bench.network("global")
    first = networks.find_or_train(bench, config)
    assert steps_done == [0, 1, 2, 3]
    second = networks.find_or_train(bench, config)
    assert len(steps_done) == 4, "the second call does not train"
    assert second.step == 4
    one, two = first.tensors(), second.tensors()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_tells_how_far_it_is_and_how_fast_it_went(bench: Bench) -> None:
    config = bench.network("local", k=2)
    folder = networks.folder_of(bench, config)
    assert networks.steps_done(bench, config) == 0
    networks.find_or_train(bench, config)
    assert networks.steps_done(bench, config) == 4
    speed = runs.read_json(folder / "speed.json")
    assert (speed["steps"], speed["device"]) == (4, "cpu") and speed["seconds"] > 0
    networks.find_or_train(bench, config)
    assert runs.read_json(folder / "speed.json") == speed, "finding is not training"


def test_the_folder_of_a_run_tells_its_config(bench: Bench) -> None:
    config = bench.network("local")
    networks.find_or_train(bench, config)
    folder = networks.folder_of(bench, config)
    assert from_json(runs.read_json(folder / "config.json")) == config


def test_another_seed_is_another_network(bench: Bench, steps_done: list[int]) -> None:
    config = bench.network("local", k=2)
    pair = [networks.find_or_train(bench, config.replace(seed=seed)).result for seed in (0, 1)]
    assert len(steps_done) == 8
    one, two = (next(network.parameters()) for network in pair)
    assert not torch.equal(one, two)


def test_weights_that_moved_find_their_run(
    bench: Bench, tmp_path: Path, steps_done: list[int]
) -> None:
    config = bench.network("local", k=2)
    save_file(model.build(config.replace(seed=9)).backbone.state_dict(), tmp_path / "a.safetensors")
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    for name in "ab":
        weights = str(tmp_path / f"{name}.safetensors")
        networks.find_or_train(bench, config.replace(weights=weights))
    assert len(steps_done) == 4


def test_data_at_another_place_find_their_run(
    bench: Bench, tiny_root: Path, tmp_path: Path, steps_done: list[int]
) -> None:
    networks.find_or_train(bench, bench.network("local", k=2))
    shutil.copytree(tiny_root, tmp_path / "copy")
    moved = open_bench(root=str(tmp_path / "copy"), **SMALL)
    networks.find_or_train(moved, moved.network("local", k=2))
    assert len(steps_done) == 4


def test_the_untrained_control_has_statistics_of_its_own_and_the_momentum_of_the_config(
    bench: Bench, steps_done: list[int]
) -> None:
    config = bench.network("local", bn_momentum=0.07)
    network = networks.untrained(bench, config)
    assert steps_done == []
    assert not network.training
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.07}
    assert all(norm.running_mean.abs().max() > 0 for norm in norms)
    weights = model.build(config).state_dict()
    for name, value in network.state_dict().items():
        if "running_" not in name and "num_batches" not in name:
            assert torch.equal(value, weights[name])
    assert torch.isfinite(network(torch.zeros(1, 3, 128, 64))).all()


def test_the_share_of_right_pairs_is_a_share(bench: Bench) -> None:
    trainer = networks.find_or_train(bench, bench.network("local"))
    share = networks.correct_share(bench, trainer)
    assert math.isnan(share) or 0 <= share <= 1
    people = bench.people(trainer.data.tracklets)
    partner = [np.flatnonzero((people == p) & (np.arange(8) != j))[0] for j, p in enumerate(people)]
    trainer.objective.match[:] = torch.tensor(partner)
    assert networks.correct_share(bench, trainer) == 1
    trainer.objective.match[:, ::2] = -1  # no partner is no wrong partner
    assert networks.correct_share(bench, trainer) == 1
    trainer.objective.match[:] = torch.tensor(partner).roll(1)
    assert networks.correct_share(bench, trainer) < 1
    trainer.objective.match[:] = -1
    assert math.isnan(networks.correct_share(bench, trainer))


# ---------------------------------------------------------------- results


def test_every_method_gives_a_rising_cmc_that_ends_at_one(bench: Bench) -> None:
    table = measuring.compare(bench)
    assert table.method.tolist() == list(METHODS)
    assert table.trial.tolist() == [1] * len(METHODS)
    assert list(table.columns) == ["method", "trial", "k", *METRICS, "cmc"]
    assert dict(zip(table.method, table.k, strict=True)) == dict.fromkeys(METHODS, 8) | {
        "baseline": 1
    }
    for row in table.itertuples():
        assert len(row.cmc) == 20
        assert (np.diff(row.cmc) >= 0).all()
        assert row.cmc[0] > 0 or row.rank1 == 0
        assert row.cmc[3] == 1, "four people in the gallery"
        assert row.rank1 == 100 * row.cmc[0]
        assert row.rank5 == row.rank20 == 100
        assert row.rank1 <= row.mAP_mean_precision <= 100
        assert 0 < row.mAP <= 100


def test_a_result_is_measured_once_and_then_read(
    bench: Bench, steps_done: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measuring.find(bench, bench.measurement("fusion", 2, k=2)) is None
    first = measuring.measure(bench, bench.measurement("fusion", 2, k=2))
    assert len(steps_done) == 8, "two networks"
    monkeypatch.setattr(measuring, "trial_vectors", None)
    assert measuring.measure(bench, bench.measurement("fusion", 2, k=2)) == first
    assert measuring.find(bench, bench.measurement("fusion", 2, k=2)) == first
    assert measuring.find(bench, bench.measurement("fusion", 1, k=2)) is None
    assert measuring.find(bench, bench.measurement("fusion", 2)) is None
    assert first["source"] == "measured"
    assert first["synthetic"] is True
    assert (first["method"], first["trial"], first["k"]) == ("fusion", 2, 2)
    assert first["seconds"] > 0
    assert "torch" in first["versions"]


def test_where_nobody_has_a_match_nothing_is_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = evaluation.Ranking([np.array([], int)] * 3, 5)
    monkeypatch.setattr(measuring, "rank", lambda *_: nobody)
    with pytest.raises(UserError, match="no query of this trial has a match in another camera"):
        measuring.measure(bench, bench.measurement("histogram", 2))


@pytest.mark.parametrize("method", ["baseline", "local", "global"])
def test_a_record_holds_the_config_that_was_trained(bench: Bench, method: str) -> None:
    record = measuring.measure(bench, bench.measurement(method, 2))
    expected = bench.network(method, 2)
    found = from_json(record["config"])
    differing = {
        field.name
        for field in dataclasses.fields(Config)
        if getattr(found, field.name) != getattr(expected, field.name)
    }
    assert differing == set()


def test_networks_are_shared_between_methods(bench: Bench, steps_done: list[int]) -> None:
    for method in ("local", "global", "fusion"):
        measuring.measure(bench, bench.measurement(method, k=2))
    assert len(steps_done) == 8


def test_the_baseline_is_the_same_whatever_k_the_others_have(
    bench: Bench, steps_done: list[int]
) -> None:
    records = [measuring.measure(bench, bench.measurement("baseline", k=k)) for k in (8, 2)]
    assert records[0] == records[1]
    assert len(steps_done) == 4


def test_a_change_of_the_pooling_over_time_measures_anew_without_training(
    bench: Bench, steps_done: list[int]
) -> None:
    measuring.measure(bench, bench.measurement("local", k=2))
    measuring.measure(bench, bench.measurement("local", k=2, tracklet_pool="mean"))
    assert len(steps_done) == 4
    stored = [
        measuring.find(bench, bench.measurement("local", k=2, tracklet_pool=pool))["config"][
            "tracklet_pool"
        ]
        for pool in ("max", "mean")
    ]
    assert stored == ["max", "mean"]


@pytest.mark.parametrize("method", ["histogram", "untrained", "fusion"])
def test_features_are_unit_vectors_of_probe_and_gallery(bench: Bench, method: str) -> None:
    probe, gallery = measuring.trial_vectors(bench, bench.measurement(method, k=2))
    assert probe.shape == gallery.shape
    assert len(probe) == 4
    both = torch.cat([probe, gallery]).norm(dim=1)
    torch.testing.assert_close(both, torch.ones(8), rtol=0, atol=1e-5)


def test_the_fused_vector_has_k_times_c_plus_c_reduced_numbers(bench: Bench) -> None:
    probe, _ = measuring.trial_vectors(bench, bench.measurement("fusion", k=2))
    assert probe.shape[1] == 2 * (256 + bench.config.c_reduced)


def test_a_ranked_list_shows_seven_pictures_like_the_papers(tmp_path, run_store) -> None:
    root = world.write(world.World(identities=16, frames=1), tmp_path / "sixteen")
    bench = open_bench(root=str(root), progress=False, device="cpu")
    found = measuring.ranked(bench, bench.measurement("histogram"), [0, 1])
    assert [len(row) for side in found for row in side] == [7] * 6  # of eight in the gallery


def test_the_first_ranked_pictures_agree_with_the_metrics(bench: Bench) -> None:
    images, correct, _ = measuring.ranked(bench, bench.measurement("histogram"), [0, 1, 2, 3])
    assert [len(row) for row in images] == [4] * 4, "the whole gallery"
    assert images[0][0].shape == (128, 64, 3)
    record = measuring.measure(bench, bench.measurement("histogram"))
    for top in (1, 2, 3):
        assert np.mean([any(row[:top]) for row in correct]) == record["cmc"][top - 1]


def test_what_is_left_out_of_a_ranking_is_not_called_correct(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "TOP", 8)  # the whole gallery, the query's own place in it too
    three = dataclasses.replace(bench.dataset, cameras=("a", "b", "nobody came"))
    bench = dataclasses.replace(bench, dataset=three)
    _, correct, distances = measuring.ranked(bench, bench.measurement("histogram"), range(8))
    for row, far in zip(correct, distances, strict=True):
        assert sum(row) == 1 and far[-1] == np.inf and not row[-1]


def test_of_several_processes_the_first_looks_for_a_record_and_writes_it(
    bench: Bench, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, records = bench.measurement("histogram"), "results/*/histogram-*.json"
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "from_first", lambda _: None)
    record = measuring.measure(bench, made)
    assert record["rank1"] >= 0 and not list(run_store.rglob(records))
    monkeypatch.setattr(distributed, "from_first", lambda _: record)
    monkeypatch.setattr(measuring, "find", lambda *_: pytest.fail("looks for itself"))
    assert measuring.measure(bench, made) is record


def test_the_key_of_a_record_covers_the_code_that_describes_and_ranks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    monkeypatch.setattr(runs, "code_digest", lambda *names: asked.update(names) or "")
    measuring.key(bench, bench.measurement("untrained"))
    rooms = {name.split("/")[0] for name in asked}
    assert rooms == {"data", "learning", "retrieval", "experiments"}
    own = {"data/tracklets", "learning/mobilenet", "experiments/networks", "experiments/measuring"}
    assert own < asked


def test_tracklets_of_one_frame_are_described_many_at_a_time(
    tmp_path: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.write(world.World(identities=16, frames=1), tmp_path / "sixteen")
    bench = open_bench(root=str(root), progress=False, device="cpu")
    together, real = [], features.tracklet_features

    def counted(nets: Any, source: Any, tracklets: np.ndarray, config: Config) -> torch.Tensor:
        together.append(len(tracklets))
        return real(nets, source, tracklets, config)

    monkeypatch.setattr(features, "tracklet_features", counted)
    measuring.vectors(bench, bench.measurement("untrained", k=2), np.arange(32))
    assert together == [32]


def test_several_trials_are_summed_up_by_mean_and_standard_deviation(bench: Bench) -> None:
    methods = ("baseline", "histogram")
    table = measuring.compare(bench, methods, trials=3, k=2)
    assert table[["trial", "method"]].values.tolist() == [
        [trial, method] for trial in (1, 2, 3) for method in methods
    ]
    total = measuring.summary(table)
    assert total.index.tolist() == list(methods), "in the order in which they were asked for"
    assert total.columns.tolist() == list(METRICS)
    for method in methods:
        for metric in METRICS:
            values = table[table.method == method][metric]
            expected = f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
            assert total.loc[method, metric] == expected


def test_one_trial_has_no_standard_deviation(bench: Bench) -> None:
    table = measuring.compare(bench, ["histogram"])
    total = measuring.summary(table)
    assert total.shape == (1, len(METRICS))
    assert total.loc["histogram", "rank1"] == f"{table.rank1[0]:.1f}"


def test_a_summary_can_have_lines_of_another_column(bench: Bench) -> None:
    table = pd.concat([measuring.compare(bench, ["local"], k=k) for k in (8, 2)])
    assert measuring.summary(table, "k").index.tolist() == [8, 2]


@pytest.mark.parametrize(
    ("trials", "numbers"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        ("3", [1, 2, 3]),
        ("1-3", [1, 2, 3]),
        ("4-5", [4, 5]),
        ("5,1,3", [1, 3, 5]),
        ("7, 1-3, 2", [1, 2, 3, 7]),
        ("3-3", [3]),
    ],
)
def test_trials_are_a_number_a_range_or_a_list(trials: int | str, numbers: list[int]) -> None:
    assert measurement.trial_numbers(trials) == numbers


@pytest.mark.parametrize(
    "trials",
    [0, -1, "x", "", "2,", "0-3", "3-1", "1-", "-3", "1;2", 1.5, None, True, [1], "99999999999"],
)
def test_trials_that_are_none_get_a_sentence(bench: Bench, trials: object) -> None:
    with pytest.raises(UserError, match=r"trials must be a whole number from 1, a range such as "):
        measuring.compare(bench, ["histogram"], trials)


def test_only_the_trials_asked_for_are_measured(bench: Bench) -> None:
    assert measuring.compare(bench, ["histogram"], "2,4").trial.tolist() == [2, 4]


@pytest.mark.parametrize("trial", [0, "1"])
def test_a_trial_that_is_none_gets_a_sentence(bench: Bench, trial: object) -> None:
    with pytest.raises(UserError, match="trial must be"):
        measuring.measure(bench, bench.measurement("histogram", trial))


@pytest.mark.parametrize(
    "call",
    [
        lambda bench: measuring.measure(bench, bench.measurement("globl")),
        lambda bench: measuring.find(bench, bench.measurement("globl")),
        lambda bench: measuring.compare(bench, ["globl"]),
        lambda bench: measuring.trial_vectors(bench, bench.measurement("globl")),
        lambda bench: networks.find_or_train(bench, bench.network("globl")),
    ],
    ids=["measure", "find", "compare", "trial_features", "config_of"],
)
def test_an_unknown_method_is_answered_with_the_nearest_one(
    bench: Bench, steps_done: list[int], call: Callable
) -> None:
    with pytest.raises(UserError, match="did you mean 'global'"):
        call(bench)
    assert steps_done == []


def test_other_frames_are_other_results(bench: Bench, tiny_root: Path, tmp_path: Path) -> None:
    measuring.measure(bench, bench.measurement("histogram"))
    copy = shutil.copytree(tiny_root, tmp_path / "copy")
    (copy / "multi_shot/cam_a/person_0001/0001.png").unlink()
    fewer = open_bench(root=str(copy), **SMALL)
    assert measuring.find(fewer, fewer.measurement("histogram")) is None


def test_the_halves_of_a_trial_are_those_of_the_data(bench: Bench) -> None:
    halves = splits.split(bench.dataset, 1)
    probe, gallery = measuring.trial_vectors(bench, bench.measurement("histogram"))
    assert len(probe) == len(gallery) == 4
    assert set(bench.people(halves.probe)) == set(bench.people(halves.gallery))


def test_both_cameras_may_be_the_probe(bench: Bench) -> None:
    one = measuring.measure(bench, bench.measurement("histogram"))
    two = measuring.measure(bench, bench.measurement("histogram", probes="both"))
    assert two["config"]["probes"] == "both" and one["config"]["probes"] == "first"
    assert measuring.find(bench, bench.measurement("histogram"))["cmc"] == one["cmc"]


def test_a_description_that_was_interrupted_goes_on_where_it_was(
    bench: Bench, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, every = bench.measurement("untrained", 1), np.arange(10)
    whole = measuring.vectors(bench, made, every)
    described, real = [], features.tracklet_features

    def interrupted(nets: Any, source: Any, tracklets: np.ndarray, config: Config) -> torch.Tensor:
        if 6 in tracklets and 6 not in described:
            described.append(6)
            raise KeyboardInterrupt
        described.extend(tracklets.tolist())
        return real(nets, source, tracklets, config)

    monkeypatch.setattr(measuring, "BLOCK", 12)  # frames of three tracklets
    monkeypatch.setattr(runs, "SECONDS", 0.0)
    monkeypatch.setattr(features, "tracklet_features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measuring.vectors(bench, made, every)
    torch.testing.assert_close(measuring.vectors(bench, made, every), whole, rtol=0, atol=1e-6)
    assert described == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9]
    assert not list(run_store.rglob("results/*/*.npy*[!k]"))


def test_cluster_contrast_is_trained_and_measured_as_association_is(
    bench: Bench, tiny_root: Path
) -> None:
    other = open_bench(
        "synthetic_clean", root=str(tiny_root), objective="cluster", centres="camera", **SMALL
    )
    methods = ["baseline", "local", "global", "fusion"]
    assert measuring.compare(other, methods)["method"].tolist() == methods
    ours, theirs = (networks.find_or_train(b, b.network("local")) for b in (bench, other))
    assert isinstance(theirs.objective, clusters.Clusters)
    assert theirs.step == ours.step == 4


def test_a_record_without_a_metric_is_of_an_older_version_and_made_anew(bench: Bench) -> None:
    measurement = bench.measurement("histogram")
    whole = measuring.measure(bench, measurement)
    older = {name: value for name, value in whole.items() if name != "mAP"}
    runs.write_json(measuring._path(bench, measurement), older)
    assert measuring.find(bench, measurement) is None
    assert measuring.measure(bench, measurement)["mAP"] == whole["mAP"]
