"""A model in the place of training: the same vectors, no training, and no test on the trained."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_model import bench_of, model_of

from upm_lib.config import UserError
from upm_lib.experiments import measurement, measuring, networks
from upm_lib.experiments.bench import Bench
from upm_lib.learning import training
from upm_lib.synthetic import world


@pytest.fixture
def trained(run_store: Path, tiny_root: Path) -> Bench:
    return bench_of(tiny_root, "synthetic_clean")


@pytest.fixture
def file(trained: Bench, tmp_path: Path) -> Path:
    return model_of(trained).save(tmp_path / "model.safetensors")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Other people than those of the tiny world."""
    return world.write(world.World(identities=6, cameras=2, frames=2, seed=5), tmp_path / "other")


def given(root: Path, model: Path, **changes: object) -> Bench:
    return bench_of(root, "synthetic_clean", model=model, **changes)


def test_the_trained_data_give_the_trained_result_and_nothing_is_trained(
    trained: Bench, file: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = measuring.compare(trained, ["histogram", "local", "global", "fusion"])
    probe, _ = measuring.trial_vectors(trained, trained.measurement("fusion"))
    bench = given(tiny_root, file)
    monkeypatch.setattr(training, "train", None)
    theirs = measuring.compare(bench)
    assert theirs.drop(columns="cmc").equals(ours.drop(columns="cmc"))
    again, _ = measuring.trial_vectors(bench, bench.measurement("fusion"))
    assert np.allclose(probe, again, atol=1e-6)
    assert bench.label == f"synthetic data in {tiny_root.name}, trained on synthetic_clean"


def test_records_of_two_models_and_of_training_are_kept_apart(
    trained: Bench, file: Path, tiny_root: Path, tmp_path: Path
) -> None:
    other = model_of(bench_of(tiny_root, "synthetic_clean", seed=1)).save(
        tmp_path / "o.safetensors"
    )
    benches = [trained, given(tiny_root, file), given(tiny_root, other)]
    keys = [measuring.key(bench, bench.measurement("local")) for bench in benches]
    assert len(set(keys)) == 3


def test_other_data_are_measured_on_every_trial(file: Path, elsewhere: Path) -> None:
    bench = given(elsewhere, file)
    rows = measuring.compare(bench, trials=3)
    assert list(rows["method"][:4]) == ["histogram", "local", "global", "fusion"]
    assert len(rows) == 12


def test_people_it_has_seen_are_no_test(file: Path, tiny_root: Path) -> None:
    bench = given(tiny_root, file)
    text = (
        r"trained on trial 1 \(random splits\) of these pictures: trial 2 \(random splits\) would"
    )
    with pytest.raises(UserError, match=text):
        measuring.measure(bench, bench.measurement("local", 2))
    config = bench.config.replace(splits="official")  # the same number means other people there
    with pytest.raises(UserError, match=r"these pictures: trial 1 \(official splits\) would"):
        networks.of(replace(bench, config=config), measurement.of(config, "local"))


def test_a_model_of_all_tracklets_is_not_tested_on_half_of_them(
    run_store: Path, tiny_root: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(tiny_root / "multi_shot", tmp_path / "own")
    file = model_of(bench_of(root)).save(tmp_path / "model.safetensors")
    people = [f"{p.parent.name},{p.name},{p.name}" for p in sorted(root.glob("cam_*/person_*"))]
    (root / "identities.csv").write_text("\n".join(["camera,tracklet,person", *people]))
    bench = bench_of(root, model=file)
    assert bench.dataset.identified
    with pytest.raises(UserError, match="said otherwise now who they show: the test could be on"):
        measuring.measure(bench, bench.measurement("local"))


def test_the_pooling_is_the_models_unless_another_is_asked_for(
    run_store: Path, tiny_root: Path, elsewhere: Path, tmp_path: Path
) -> None:
    bench = bench_of(tiny_root, "synthetic_clean", tracklet_pool="mean")
    file = model_of(bench).save(tmp_path / "model.safetensors")
    assert given(elsewhere, file).config.tracklet_pool == "mean"
    assert given(elsewhere, file, tracklet_pool="max").config.tracklet_pool == "max"


def test_what_the_model_lacks_gets_a_sentence(file: Path, elsewhere: Path) -> None:
    bench = given(elsewhere, file)
    for method in ("baseline", "untrained"):
        with pytest.raises(UserError, match=f"no network of '{method}': it has local, global, fu"):
            networks.of(bench, bench.measurement(method))
    with pytest.raises(UserError, match="no local network of k = 4"):
        networks.of(bench, bench.measurement("local", k=4))
    with pytest.raises(UserError, match="the model has k = 2, not 4: leave out k or give this"):
        given(elsewhere, file, k=4)
    for name, value in (("weights", "imagenet"), ("steps", 9), ("seed", 1)):
        with pytest.raises(UserError, match=f"leave out {name} or give this value"):
            given(elsewhere, file, **{name: value})
