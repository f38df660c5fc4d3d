"""Curves: a snapshot is the network that a training of that length under the same schedule has."""

from pathlib import Path

import numpy as np
import pytest
import torch

from upm_lib.data.batches import TrainingSet
from upm_lib.experiments import curves, measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import training
from upm_lib.learning.association import unit


@pytest.fixture(scope="module")
def bench(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    patch = pytest.MonkeyPatch()
    patch.setenv("UPM_RUNS", str(tmp_path_factory.mktemp("curves") / "runs"))
    options = dict(progress=False, device="cpu", k=2, batch=8, epochs=2.0)
    yield curves.held_out(open_bench(root=str(tiny_root), **options), 2)
    patch.undo()


def test_a_snapshot_is_the_network_after_that_many_steps(bench: Bench) -> None:
    config = bench.network("local", 1)
    half = TrainingSet(bench.dataset, bench.frames, config)
    steps = round(len(half.frame) / 8)
    trainer = training.Trainer(config, half, bench.device)
    for _ in range(steps):
        trainer.train_step()
    found = curves.follow(bench, config, [1.0, 2.0, 3.0])
    assert [snapshot.epoch for snapshot in found] == [1.0, 2.0]  # there is no third epoch
    assert not found[0].network.training
    theirs = found[0].network.state_dict()
    assert all(torch.equal(theirs[name], t) for name, t in trainer.network.state_dict().items())
    assert found[0].shares["loss"] == pytest.approx(trainer.log()["loss"].mean(), rel=1e-6)


def test_without_the_cross_camera_term_nothing_changes_before(bench: Bench) -> None:
    config = bench.network("local", 1).replace(warmup_epochs=0.5)
    whole, cut = (curves.follow(bench, config, [1.0, 2.0], until) for until in (None, 1.0))
    for one, other, same in zip(whole, cut, (True, False), strict=True):
        states = [snapshot.network.state_dict() for snapshot in (one, other)]
        equal = [torch.equal(states[1][name], value) for name, value in states[0].items()]
        assert all(equal) is same
    pulls = [snapshot.shares["pull_cross"] for snapshot in (*whole, *cut)]
    assert pulls[2] == pulls[0] > 0 and pulls[1] > 0 and pulls[3] == 0


def test_the_pull_of_a_term_is_the_norm_of_its_gradient(bench: Bench) -> None:
    config = bench.network("local", 1).replace(warmup_epochs=0.5)
    half = TrainingSet(bench.dataset, bench.frames, config)
    trainer = training.Trainer(config, half, bench.device)
    while trainer.step < 3:
        trainer.train_step()
    network, found = trainer.network.eval(), []
    for step in range(3, 3 + curves.BATCHES):
        images, tracklet = half.batch(step)
        x = unit(network(images).detach().transpose(0, 1)).requires_grad_()
        norms = []
        for lam in (0.0, 1.0, 2.0):
            trainer.objective.config = config.replace(lam=lam)
            trainer.objective.loss(x, tracklet)[0].backward()
            norms.append(x.grad)
            x.grad = None
        found.append([norms[0].norm().item(), (norms[2] - norms[1]).norm().item()])
    trainer.objective.config = config
    told = curves.pulls(network, trainer)
    assert list(told) == ["pull_intra", "pull_cross"]
    assert list(told.values()) == pytest.approx(np.mean(found, 0).tolist(), rel=1e-4)


def test_the_last_row_is_what_is_measured_at_the_end(bench: Bench) -> None:
    found = curves.curve(bench, "fusion", 1, [1.0, 2.0])
    assert found["method"].tolist() == 2 * [*curves.FUSIONS, "local", "global"]
    last = found[found["epoch"] == 2].set_index("method")
    for method in ("fusion", "local", "global"):
        record = measuring.measure(bench, bench.measurement(method, 1))
        assert last.loc[method, "rank1"] == record["rank1"]
        assert last.loc[method, "mAP"] == pytest.approx(record["mAP"])
    assert last["mutual"].between(0, 1).all()
    assert np.isnan(last.loc["fusion", "loss"])
    assert last.loc["local", "loss"] > 0
