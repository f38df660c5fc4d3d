"""Frozen blocks: where the backbone is parted, what is trained, and what the cached maps hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from upm_lib import distributed, runs
from upm_lib.config import Config, UserError
from upm_lib.data import splits
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import frozen, model
from upm_lib.retrieval import features

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a small backbone that has seen some pictures, so that its statistics fit."""
    backbone = model.build(Config(backbone="small", height=128, width=64, seed=7)).backbone.train()
    for module in backbone.modules():
        module.momentum = None  # of batch normalisation: a plain average
    with torch.no_grad():
        backbone(torch.randn(16, 3, 128, 64))
    state = backbone.state_dict()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file({n: t.contiguous() for n, t in state.items()}, path)
    return str(path)


def small(weights: str, **changes: object) -> Config:
    return Config(backbone="small", height=128, width=64, weights=weights).replace(**changes)


@pytest.fixture
def bench(tiny_root: Path, run_store: Path, weights: str, one_thread: None) -> Bench:
    return open_bench(
        root=str(tiny_root), weights=weights, freeze=4, k=2, batch=8, steps=4, device="cpu",
        progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("branch", ["local", "global"])
def test_parting_the_backbone_changes_no_output(weights: str, branch: str) -> None:
    images = torch.randn(3, 3, 128, 64)
    whole = model.build(small(weights, branch=branch)).eval()
    parted = model.build(small(weights, branch=branch, freeze=3)).eval()
    torch.testing.assert_close(parted(images), whole(images))
    torch.testing.assert_close(parted(parted.frozen(images)), whole(images))


@pytest.mark.parametrize(
    ("name", "blocks"), [("mobilenet_v1", 13), ("resnet50", 16), ("resnet50_slim", 16)]
)
def test_each_backbone_is_parted_behind_each_block(name: str, blocks: int) -> None:
    config = Config(backbone=name, height=128, width=64)
    images = torch.randn(1, 3, 128, 64)
    backbone = model.build(config).eval().backbone
    for freeze in (1, blocks // 2, blocks - 1):
        frozen_blocks, rest = model.divide(backbone, name, freeze)
        torch.testing.assert_close(rest(frozen_blocks(images)), backbone(images))
    with pytest.raises(UserError, match=f"has {blocks} blocks, and at least one must be trained"):
        model.divide(backbone, name, blocks)


def test_the_cached_maps_are_the_frozen_blocks_output_to_half_precision(bench: Bench) -> None:
    maps = frozen.FrozenMaps(bench.frames, bench.config, CPU)
    index = np.array([63, 0, 17])
    blocks = model.build(bench.config).frozen
    with torch.inference_mode():
        wanted = blocks(bench.frames.batch(index, bench.config, CPU))
    got = maps.batch(index, bench.config, CPU)
    assert got.dtype == torch.float32
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, wanted, rtol=2e-3, atol=1e-4)


def test_the_maps_are_computed_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = frozen.FrozenMaps(bench.frames, bench.config, CPU).maps[:]
    monkeypatch.setattr(frozen, "_compute", lambda *_: pytest.fail("computed again"))
    config = bench.config.replace(k=4, branch="global", trial=2, lr=0.1)
    assert (frozen.FrozenMaps(bench.frames, config, CPU).maps == first).all()


def test_whole_maps_are_opened_without_waiting_for_anybody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen.FrozenMaps(bench.frames, bench.config, CPU)
    monkeypatch.setattr(runs, "lock", lambda _: pytest.fail("waits for whoever holds it"))
    assert len(frozen.FrozenMaps(bench.frames, bench.config, CPU).maps) == 64


def test_maps_that_another_process_makes_meanwhile_are_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = frozen.place(bench.frames, bench.config)
    frozen.FrozenMaps(bench.frames, bench.config, CPU)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")  # damaged, and mended while we wait

    @contextmanager
    def waited(_: Path) -> Iterator[None]:
        path.write_bytes(whole)
        yield

    monkeypatch.setattr(runs, "lock", waited)
    monkeypatch.setattr(frozen, "_compute", lambda *_: pytest.fail("computed again"))
    assert len(frozen.FrozenMaps(bench.frames, bench.config, CPU).maps) == 64


def test_of_several_processes_the_first_computes_and_the_others_find(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, order = frozen.place(bench.frames, bench.config), []

    @contextmanager
    def first_goes_first() -> Iterator[None]:
        order.append(path.exists())
        yield
        order.append(path.exists())

    monkeypatch.setattr(distributed, "first_goes_first", first_goes_first)
    frozen.FrozenMaps(bench.frames, bench.config, CPU)
    assert order == [False, True]


def test_maps_that_were_interrupted_go_on_to_the_same_bytes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "BLOCK", 16)
    monkeypatch.setattr(runs, "SECONDS", 0.0)
    frozen.FrozenMaps(bench.frames, bench.config, CPU)
    path = frozen.place(bench.frames, bench.config)
    whole, batch, asked = path.read_bytes(), type(bench.frames).batch, []
    path.unlink()

    def stopping(frames: object, index: np.ndarray, *rest: object) -> torch.Tensor:
        asked.append(int(index[0]))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return batch(frames, index, *rest)

    monkeypatch.setattr(type(bench.frames), "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        frozen.FrozenMaps(bench.frames, bench.config, CPU)
    frozen.FrozenMaps(bench.frames, bench.config, CPU)
    assert asked == [0, 0, 16, 32, 0, 32, 48], "the first of each for the shape"
    assert path.read_bytes() == whole


@pytest.mark.parametrize("changes", [{"freeze": 3}, {"resize": "legacy"}, {"weights": "imagenet"}])
def test_what_changes_the_maps_changes_their_name(bench: Bench, changes: dict) -> None:
    other = bench.config.replace(**changes)
    assert frozen.place(bench.frames, other) != frozen.place(bench.frames, bench.config)


@pytest.mark.parametrize("method", ["local", "global"])
def test_training_leaves_the_frozen_blocks_alone_and_moves_the_rest(
    bench: Bench, method: str
) -> None:
    config = bench.network(method)
    start = model.build(config).state_dict()
    end = networks.find_or_train(bench, config).network.state_dict()
    moved = {name for name, value in start.items() if not torch.equal(end[name], value)}
    assert moved
    assert not any(name.startswith("frozen.") for name in moved)
    convolutions = {n for n in start if n.startswith("backbone.") and start[n].ndim == 4}
    assert convolutions <= moved, convolutions - moved


def test_features_from_maps_are_those_from_frames(bench: Bench) -> None:
    config = bench.network("local")
    network = networks.find_or_train(bench, config).result
    got, _ = measuring.trial_vectors(bench, bench.measurement("local"))
    halves = splits.split(bench.dataset, 1)
    wanted = features.tracklet_features([network], bench.frames, halves.probe, bench.config)
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-3)


def test_tracklets_of_one_camera_are_refused_before_any_map_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "_compute", lambda *_: pytest.fail("hours of work for nothing"))
    alone = tuple(replace(tracklet, camera=0) for tracklet in bench.dataset.tracklets)
    bench = replace(bench, dataset=replace(bench.dataset, tracklets=alone))
    with pytest.raises(UserError, match="at least two cameras; the training set has 1"):
        networks.find_or_train(bench, bench.network("local"))


def test_freezing_without_weights_is_refused() -> None:
    with pytest.raises(UserError, match="give weights, or freeze = 0"):
        Config(freeze=2)
