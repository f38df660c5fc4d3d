"""Curves: a snapshot is the network that a training of that length under the same schedule has."""

from pathlib import Path

import numpy as np
import pytest
import torch

from upm_lib.data.batches import TrainingSet
from upm_lib.experiments import curves, measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import training


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
