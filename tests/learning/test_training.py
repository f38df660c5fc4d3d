"""Schedules and optimisers against the published numbers; resuming equals never stopping."""

import gc
import json
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from imagenet_weights import WEIGHTS, needs_weights
from safetensors import safe_open
from torch import Tensor, nn

from upm_lib import distributed
from upm_lib.config import Caution, Config, UserError, official, preset
from upm_lib.data import batches, packing, tracklets
from upm_lib.data.readers.sequences import prid2011
from upm_lib.distributed import pick_device
from upm_lib.learning import training
from upm_lib.learning.training import Trainer, ema_decay, learning_rate, optimiser_of


def train(
    trainer: Trainer, folder: Path | None = None, checkpoint_every: int = 10**9, **options: object
) -> None:
    """Train with a checkpoint every so many steps, however long they take."""
    with mock.patch.object(training, "due", lambda *_: trainer.step % checkpoint_every == 0):
        training.train(trainer, folder, **options)


GOLDEN = Path(__file__).parents[1] / "golden"
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


World = tuple[tracklets.Dataset, packing.Frames]


@pytest.fixture(scope="module")
def world(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Eight synthetic people in two cameras, of whom half are trained on: 32 frames."""
    dataset = prid2011(tiny_root, min_frames=1, name="synthetic_clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPM_RUNS", str(tmp_path_factory.mktemp("store")))
        return dataset, packing.Frames(dataset)


def a_config(**changes: object) -> Config:
    options = dict(steps=12, batch=8, k=2, seed=3, warmup_epochs=1.0)
    return preset("synthetic_clean", "demo", **options | changes)


def a_trainer(world: World, **changes: object) -> Trainer:
    config = a_config(**changes)
    return Trainer(config, batches.TrainingSet(*world, config), CPU)


# ---------------------------------------------------------------- schedules


def test_staircase_of_the_published_code() -> None:
    golden = np.load(GOLDEN / "rmsprop.npz")
    config = Config(steps=20000, batch=64, lr=0.045, schedule="staircase")
    frames = int(golden["prid_num_samples"][0])
    ours = [learning_rate(config, int(step), frames) for step in golden["prid_steps"]]
    np.testing.assert_allclose(ours, golden["prid_lr"], rtol=1e-6)


def test_the_staircase_falls_every_two_epochs_of_every_split() -> None:
    golden = np.load(GOLDEN / "rmsprop.npz")
    config = Config(batch=64, lr=1.0)
    for frames, every in zip(
        golden["prid_num_samples"].tolist(), golden["prid_decay_steps"].tolist(), strict=True
    ):
        assert learning_rate(config, every - 1, frames) == 1
        assert learning_rate(config, every, frames) == pytest.approx(0.94)


def test_halves_of_the_published_code() -> None:
    golden = np.load(GOLDEN / "rmsprop.npz")
    config = Config(steps=25000, schedule="halves", lr=0.01, lr_factors=(0.045, 0.0045))
    ours = [learning_rate(config, int(step), 10**6) for step in golden["duke_steps"]]
    np.testing.assert_allclose(ours, golden["duke_lr"], rtol=1e-6)


def test_the_cosine_rises_then_falls_to_nothing() -> None:
    config = Config(steps=200, schedule="cosine", lr=1.0)
    rates = np.array([learning_rate(config, step, 100) for step in range(200)])
    assert rates[0] == pytest.approx(1 / 20, rel=1e-3)
    assert bool((np.diff(rates[:20]) > 0).all())
    assert bool((np.diff(rates[20:]) < 0).all())
    assert rates[100] == pytest.approx(0.5)
    assert 0 < rates[-1] < 1e-3
    assert rates.max() <= 1


def test_fewer_frames_than_a_batch_still_have_a_schedule() -> None:
    assert learning_rate(Config(batch=64, lr=1.0), 3, frames=10) == pytest.approx(0.94**3)


# ---------------------------------------------------------------- optimisers and moving average


def a_vector(config: Config) -> tuple[SimpleNamespace, nn.Parameter, torch.optim.Optimizer]:
    """A network whose backbone is the golden vector, with the optimiser that a run would have."""
    backbone, head = nn.Module(), nn.Module()
    backbone.x = nn.Parameter(torch.from_numpy(np.load(GOLDEN / "rmsprop.npz")["x0"].copy()))
    network = SimpleNamespace(backbone=backbone, head=head)
    return network, backbone.x, optimiser_of(network, config)


def step_on(
    optimiser: torch.optim.Optimizer, x: nn.Parameter, gradient: np.ndarray, rate: float
) -> None:
    x.grad = torch.from_numpy(gradient.copy())
    for group in optimiser.param_groups:
        group["lr"] = float(rate)
    optimiser.step()


@pytest.mark.parametrize(("name", "clip"), [("rms", None), ("rmsclip", 2.0)])
def test_rmsprop_of_the_published_code(name: str, clip: float | None) -> None:
    golden = np.load(GOLDEN / "rmsprop.npz")
    _, x, optimiser = a_vector(Config(optimiser="rmsprop"))
    for step, (gradient, rate) in enumerate(zip(golden["grads"], golden["lr"], strict=True)):
        if clip is not None:
            gradient = gradient.clip(-clip, clip)
        step_on(optimiser, x, gradient, rate)
        slots = optimiser.state[x]
        for ours, key in (
            (x, "params"),
            (slots["square_avg"], "ms"),
            (slots["momentum_buffer"], "mom"),
        ):
            expected = golden[f"{name}_{key}"][step]
            np.testing.assert_allclose(ours.detach(), expected, rtol=2e-5, atol=1e-6)
    assert np.abs(golden["grads"]).max() > 2  # the clipping had something to do


def test_nesterov_of_the_published_code() -> None:
    golden = np.load(GOLDEN / "rmsprop.npz")
    _, x, optimiser = a_vector(Config(optimiser="sgd"))
    for step, (gradient, rate) in enumerate(zip(golden["grads"], golden["lr"], strict=True)):
        step_on(optimiser, x, gradient, rate)
        np.testing.assert_allclose(
            x.detach(), golden["nesterov_params"][step], rtol=2e-5, atol=1e-6
        )
        ours = optimiser.state[x]["momentum_buffer"]
        np.testing.assert_allclose(ours, golden["nesterov_mom"][step], rtol=2e-5, atol=1e-6)


def test_moving_average_of_the_published_code() -> None:
    golden = np.load(GOLDEN / "rmsprop.npz")
    config = Config(ema=0.9999)
    network, x, _ = a_vector(config)
    ema = training.average_of(network.backbone)
    for step, weights in enumerate(golden["rmsclip_params"]):
        with torch.no_grad():
            x.copy_(torch.from_numpy(weights))
        ema.decay = ema_decay(config, step + 1)
        ema.update(network.backbone)
        expected = golden["ema_after"][step]
        np.testing.assert_allclose(ema.module.x.detach(), expected, rtol=1e-5, atol=1e-6)


def test_the_decay_of_the_moving_average_rises_to_its_limit() -> None:
    config = Config(ema=0.9)
    assert ema_decay(config, 0) == pytest.approx(0.1)
    assert ema_decay(config, 10) == pytest.approx(11 / 20)
    assert ema_decay(config, 10**6) == 0.9


@pytest.mark.parametrize("optimiser", ["rmsprop", "sgd", "adam"])
def test_the_head_learns_at_its_own_rate(world: World, optimiser: str) -> None:
    options = dict(branch="global", c_reduced=16, optimiser=optimiser, head_lr_factor=3.0)
    trainer = a_trainer(world, **options)
    trainer.train_step()
    backbone, head = trainer.optimiser.param_groups
    assert head["lr"] == pytest.approx(3 * backbone["lr"])
    assert backbone["lr"] == pytest.approx(learning_rate(trainer.config, 0, 32))
    assert {id(p) for p in head["params"]} == {id(p) for p in trainer.network.head.parameters()}


def test_a_fixed_head_is_not_optimised(world: World) -> None:
    trainer = a_trainer(world, branch="global", c_reduced=16, train_global_head=False)
    (group,) = trainer.optimiser.param_groups
    wanted = {id(p) for p in trainer.network.backbone.parameters()}
    assert {id(p) for p in group["params"]} == wanted


# ---------------------------------------------------------------- one step


def test_weight_decay_is_added_to_the_gradient_of_convolutions_before_clipping(
    world: World,
) -> None:
    plain = a_trainer(world, clip=1e6)
    start = {n: p.detach().clone() for n, p in plain.network.named_parameters()}
    with_decay = a_trainer(world, clip=1e6, weight_decay=0.5)
    clipped = a_trainer(world, clip=0.01, weight_decay=0.5)
    for trainer in (plain, with_decay, clipped):
        trainer.train_step()
    ordinary = {id(p) for p in plain.network.decayed()}
    gradients = [dict(t.network.named_parameters()) for t in (plain, with_decay, clipped)]
    assert 0 < len(ordinary) < len(start)
    for name, weight in start.items():
        without, decayed, small = (parameters[name].grad for parameters in gradients)
        added = 0.5 * weight if id(gradients[0][name]) in ordinary else torch.zeros_like(weight)
        torch.testing.assert_close(decayed, without + added)
        torch.testing.assert_close(small, decayed.clamp(-0.01, 0.01))


def test_a_weight_without_a_gradient_does_not_shift_the_decay_of_the_others(world: World) -> None:
    trainer = a_trainer(world, clip=1e6, weight_decay=0.5)
    for weight in trainer.decayed:
        weight.grad = torch.zeros_like(weight)
    trainer.decayed[1].grad = None
    trainer._decay_and_clip()
    assert trainer.decayed[1].grad is None
    for weight in (trainer.decayed[0], *trainer.decayed[2:]):
        torch.testing.assert_close(weight.grad, 0.5 * weight)


@pytest.mark.parametrize("changes", [{}, {"branch": "global"}, {"ema": 0.999}])
def test_a_run_is_freed_when_nobody_needs_it(world: World, changes: dict[str, object]) -> None:
    alive = []
    for seed in range(3):
        trainer = a_trainer(world, seed=seed, weight_decay=1e-3, optimiser="rmsprop", **changes)
        for _ in range(2):
            trainer.train_step()
        alive += map(weakref.ref, (trainer.network, *trainer.tensors().values()))
        alive += map(weakref.ref, trainer.network.parameters())
        del trainer
    gc.collect()
    assert [reference for reference in alive if reference() is not None] == []


def test_the_moving_average_is_that_of_a_loop(world: World) -> None:
    trainer = a_trainer(world, ema=0.5)
    assert trainer.result is not trainer.network
    shadow = {n: p.detach().clone() for n, p in trainer.network.named_parameters()}
    for step in range(1, 5):
        trainer.train_step()
        decay = min(0.5, (1 + step) / (10 + step))
        for name, parameter in trainer.network.named_parameters():
            shadow[name] = decay * shadow[name] + (1 - decay) * parameter.detach()
    for name, parameter in trainer.result.named_parameters():
        torch.testing.assert_close(parameter.detach(), shadow[name])
    statistics = dict(trainer.network.named_buffers())
    for name, tensor in trainer.result.named_buffers():
        assert torch.equal(tensor, statistics[name]), name


def test_without_moving_average_the_result_is_the_network(
    world: World,
) -> None:
    trainer = a_trainer(world, ema=0.0)
    assert trainer.result is trainer.network


def test_the_anchors_follow_the_loss_and_the_weights_do_not_see_them_early(
    world: World,
) -> None:
    trainer = a_trainer(world)
    trainer.train_step()
    # With all anchors zero the loss is the margin, for both terms; then the batch has moved them.
    assert float(trainer.history[0, 0]) == pytest.approx(2 * trainer.config.margin)
    _, tracklet = trainer.data.batch(0)
    visited = trainer.objective.intra_scale[0] > 0
    assert visited.nonzero().flatten().tolist() == sorted(set(tracklet.tolist()))


def test_the_warm_up_lasts_as_many_epochs_as_the_config_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = a_trainer(world, steps=10, warmup_epochs=1.5)  # 32 frames: 4 batches an epoch
    step, warm_steps = trainer.objective.step, []

    def watched(features: Tensor, tracklet: Tensor, warm: bool) -> tuple:
        warm_steps.append(warm)
        return step(features, tracklet, warm)

    monkeypatch.setattr(trainer.objective, "step", watched)
    train(trainer)
    assert warm_steps == [True] * 6 + [False] * 4
    history = trainer.log()
    assert not history.cyclic_share[:6].any()
    assert history.cyclic_share[6:].any()
    assert a_trainer(world, batch=64, warmup_epochs=2).warmup_steps == 2, "not half an epoch: none"


def test_the_objective_is_exchangeable(world: World) -> None:
    class Compact(nn.Module):
        """Another unsupervised objective: features shall be short."""

        def step(self, features: Tensor, tracklet: Tensor, warm: bool) -> tuple:
            return features.square().mean(), torch.zeros(()), lambda: torch.zeros(())

        def renew(self) -> None:
            """Nothing."""

    trainer = a_trainer(world, steps=6)
    trainer.objective = Compact()
    train(trainer)
    history = trainer.log()
    assert history.loss.iloc[-1] < history.loss.iloc[0]


@pytest.mark.parametrize("centres", ["cluster", "camera"])
def test_clusters_are_made_once_an_epoch_from_the_end_of_the_warm_up(
    world: World, centres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"objective": "cluster", "centres": centres, "temperature": 0.05}
    trainer = a_trainer(world, **changes, steps=40)
    made, renew = [], trainer.objective.renew
    monkeypatch.setattr(trainer.objective, "renew", lambda: made.append(trainer.step) or renew())
    train(trainer)
    assert made == list(range(4, 40, 4))  # an epoch is four steps
    history = trainer.log()
    assert history.loss[-8:].mean() < history.loss[4:12].mean()
    assert history.top_share[-8:].mean() > 0.9 > history.top_share[:8].mean()


# ---------------------------------------------------------------- stopping and going on


def state(trainer: Trainer) -> dict[str, bytes]:
    return {n: t.detach().contiguous().numpy().tobytes() for n, t in trainer.tensors().items()}


@pytest.mark.parametrize(
    "options",
    [
        dict(optimiser="adam"),
        dict(optimiser="rmsprop", lr=0.01, ema=0.99, weight_decay=4e-5),
        dict(optimiser="sgd", lr=0.01, schedule="halves", branch="global", c_reduced=16),
        dict(branch="global", c_reduced=16, train_global_head=False, ema=0.9, anchors="float16"),
        dict(objective="cluster", centres="camera", flip=True, crop=4),
    ],
    ids=["adam", "rmsprop-ema", "sgd-global", "fixed-head-half", "clusters-crop"],
)
def test_an_interrupted_run_equals_an_uninterrupted_one(
    world: World, tmp_path: Path, options: dict
) -> None:
    whole = a_trainer(world, **options)
    train(whole)
    for stop_at in (2, 8, 12):  # before any checkpoint, after one at 6, at the end
        trainer = a_trainer(world, **options)
        train(trainer, tmp_path, checkpoint_every=3, stop=lambda done, at=stop_at: done == at)
        assert trainer.step == stop_at
    resumed = a_trainer(world, **options)
    train(resumed, tmp_path, checkpoint_every=3)
    assert resumed.step == 12
    assert state(resumed) == state(whole)
    pd.testing.assert_frame_equal(resumed.log(), whole.log())
    finished = a_trainer(world, **options)
    assert training.load_checkpoint(finished, tmp_path)
    assert state(finished) == state(whole)


def test_a_checkpoint_holds_the_whole_state(world: World, tmp_path: Path) -> None:
    trainer = a_trainer(world, ema=0.9, steps=2)
    train(trainer, tmp_path)
    names = {n.split(".")[0] for n in trainer.tensors()}
    assert names == {"network", "objective", "ema", "optimiser", "history"}
    (path,) = tmp_path.iterdir()
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(trainer.tensors())
        assert json.loads(file.metadata()["run"])["step"] == 2


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    world: World,
) -> None:
    runs = []
    for seed in (3, 3, 4):
        trainer = a_trainer(world, seed=seed, steps=3)
        train(trainer)
        runs.append(state(trainer))
        torch.rand(5)  # the global random numbers have no part in it
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def stopped_at_eleven(world: World, folder: Path) -> None:
    train(a_trainer(world), folder, checkpoint_every=4, stop=lambda done: done == 11)


def test_a_damaged_checkpoint_is_passed_over(world: World, tmp_path: Path) -> None:
    stopped_at_eleven(world, tmp_path)
    older, newest = sorted(tmp_path.iterdir())
    damage(newest)
    trainer = a_trainer(world)
    with pytest.warns(Caution, match=f"{newest.name} is damaged"):
        assert training.load_checkpoint(trainer, tmp_path)
    assert trainer.step == 4
    damage(older)
    trainer = a_trainer(world)
    with pytest.warns(Caution, match=f"{older.name} is damaged") as caught:
        assert not training.load_checkpoint(trainer, tmp_path)
    assert len(caught) == 1, "who was told of a damaged file once is not told again"
    assert trainer.step == 0
    assert list(tmp_path.iterdir()) == []


def test_a_cut_off_checkpoint_is_passed_over_and_training_goes_on(
    world: World, tmp_path: Path
) -> None:
    whole = a_trainer(world)
    train(whole)
    stopped_at_eleven(world, tmp_path)
    _, newest = sorted(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer = a_trainer(world)
    with pytest.warns(Caution, match="is damaged"):
        train(trainer, tmp_path, checkpoint_every=4)
    assert state(trainer) == state(whole)


def test_a_checkpoint_of_another_config_is_refused(world: World, tmp_path: Path) -> None:
    train(a_trainer(world, steps=2), tmp_path)
    with pytest.raises(UserError, match="another config") as caught:
        train(a_trainer(world, steps=2, eta=0.25), tmp_path)
    assert str(tmp_path) in str(caught.value)
    # What does not change the training does not matter.
    assert training.load_checkpoint(a_trainer(world, steps=2, tracklet_pool="mean"), tmp_path)


def test_two_checkpoints_are_kept_and_one_of_a_finished_run(world: World, tmp_path: Path) -> None:
    def steps() -> list[int]:
        names = sorted(p.name for p in tmp_path.iterdir())
        return [int(training.CHECKPOINT.fullmatch(name)[1]) for name in names]

    train(a_trainer(world), tmp_path, checkpoint_every=2, stop=lambda done: done == 11)
    assert steps() == [8, 10]
    train(a_trainer(world), tmp_path, checkpoint_every=2)
    assert steps() == [12]


def test_the_same_training_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    for name in "ab":
        train(a_trainer(world, steps=2), tmp_path / name)
    (a,), (b,) = (training.checkpoints(tmp_path / name) for name in "ab")
    assert a.name == b.name
    assert a.read_bytes() == b.read_bytes()


def test_a_renamed_checkpoint_is_not_believed(world: World, tmp_path: Path) -> None:
    train(a_trainer(world, steps=3), tmp_path, checkpoint_every=2, stop=lambda done: done == 3)
    (path,) = training.checkpoints(tmp_path)
    path.rename(tmp_path / path.name.replace("00000002", "00000003"))
    trainer = a_trainer(world, steps=3)
    with pytest.warns(Caution, match="is damaged: removed"):
        assert not training.load_checkpoint(trainer, tmp_path)


def test_a_checkpoint_is_due_after_a_minute_or_twenty_times_what_it_costs() -> None:
    assert training.SECONDS <= 120
    assert not training.due(training.SECONDS - 0.1)
    assert training.due(training.SECONDS)
    assert training.due(200.0, cost=10.0) and not training.due(199.0, cost=10.0)


def test_a_folder_in_the_place_of_an_old_checkpoint_goes_with_it(
    world: World, tmp_path: Path
) -> None:
    odd = tmp_path / "step-00000000-0123456789abcdef.safetensors"
    (odd / "inside").mkdir(parents=True)
    trainer = a_trainer(world)
    for _ in range(training.KEEP):
        trainer.train_step()
        training.save_checkpoint(trainer, tmp_path)
    kept = [path.name[:13] for path in sorted(tmp_path.iterdir())]
    assert kept == ["step-00000001", "step-00000002"]


def test_of_several_processes_the_first_downloads_weights_and_removes_what_is_damaged(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, seen = [], []

    @contextmanager
    def first_goes_first() -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    def watch(owner: object, name: str) -> None:
        plain = getattr(owner, name)

        def watching(*arguments: object) -> object:
            assert inside, name
            seen.append(name)
            return plain(*arguments)

        monkeypatch.setattr(owner, name, watching)

    monkeypatch.setattr(distributed, "first_goes_first", first_goes_first)
    watch(training.model, "build")
    watch(training, "load_checkpoint")
    training.train(a_trainer(world, steps=1), tmp_path)
    assert seen == ["build", "load_checkpoint"] and not inside


def test_statistics_that_are_the_same_everywhere_are_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    for name, value in (("size", 2), ("rank", 0), ("wait", None)):
        monkeypatch.setattr(distributed, name, lambda value=value: value)
    monkeypatch.setattr(training, "DistributedDataParallel", lambda _, **how: asked.update(how))
    a_trainer(world)
    assert asked == {"broadcast_buffers": False}


def test_who_interrupts_is_told_what_is_kept(world: World, tmp_path: Path) -> None:
    def interrupt(at: int) -> str:
        def stop(done: int) -> bool:
            if done == at:
                raise KeyboardInterrupt
            return False

        with pytest.raises(KeyboardInterrupt) as caught:
            train(a_trainer(world), tmp_path, checkpoint_every=4, title="local k=2", stop=stop)
        return str(caught.value)

    begins = "local k=2: 0 of 12 steps are kept, the same command begins it anew"
    assert interrupt(3) == begins
    assert interrupt(7) == "local k=2: 4 of 12 steps are kept, the same command goes on from there"


def test_checkpoints_are_plain_numbers(world: World, tmp_path: Path) -> None:
    train(a_trainer(world, steps=3), tmp_path, checkpoint_every=1)
    for path in tmp_path.iterdir():
        assert path.suffix == ".safetensors"
        assert path.read_bytes()[8:9] == b"{"  # a header in JSON, not a zip or pickle
        with safe_open(path, framework="pt") as file:
            assert len(list(file.keys())) > 0


def test_other_files_in_the_folder_are_left_alone(world: World, tmp_path: Path) -> None:
    others = [".step-00000009-0123456789abcdef.safetensors.tmp", "step-notes.txt", "metrics.json"]
    for name in others:
        (tmp_path / name).write_text("half a file")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not training.load_checkpoint(a_trainer(world), tmp_path)
        train(a_trainer(world, steps=3), tmp_path, checkpoint_every=1)
    assert {p.name for p in tmp_path.iterdir()} >= set(others)


def test_a_run_without_a_folder_writes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UPM_RUNS", str(tmp_path / "runs"))
    train(a_trainer(world, steps=2))
    assert not list(tmp_path.iterdir())


def test_the_history_has_a_row_for_each_step(world: World) -> None:
    trainer = a_trainer(world, steps=6)
    assert list(trainer.log().columns) == ["step", *training.HISTORY]
    assert trainer.log().empty
    train(trainer, stop=lambda done: done == 5)
    history = trainer.log()
    assert list(history.columns) == ["step", *training.HISTORY]
    assert history.step.tolist() == [0, 1, 2, 3, 4]
    assert not history.isna().any(axis=None)
    shares = history[["top_share", "cyclic_share"]]
    assert bool(((shares >= 0) & (shares <= 1)).all(axis=None))


def test_a_loss_that_is_not_finite_stops_the_run(world: World) -> None:
    trainer = a_trainer(world)

    def spoil(done: int) -> bool:
        if done == 4:
            with torch.no_grad():
                next(trainer.network.parameters()).fill_(torch.nan)
        return False

    frames = ", ".join(map(str, trainer.data.frame[trainer.data.sampler(4)]))
    words = f"the loss of step 4 is not finite, its batch holds the frames {frames}: lower the"
    with pytest.raises(FloatingPointError, match=words):
        train(trainer, stop=spoil)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_not_finite_stops_the_run_though_clipping_hides_it(
    world: World, tmp_path: Path, value: float
) -> None:
    trainer = a_trainer(world)
    bad_step, place = 5, (0, 0, 1, 1)

    def spoil(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[place] = value if trainer.step == bad_step else gradient[place]
        return gradient

    next(trainer.network.parameters()).register_hook(spoil)
    with pytest.raises(training.NotFinite) as caught:
        train(trainer, tmp_path, checkpoint_every=2)
    frames = trainer.data.frame[trainer.data.sampler(bad_step)]
    assert str(caught.value).startswith(
        f"the gradient of step {bad_step} is not finite, its batch holds the frames "
        f"{', '.join(map(str, frames))}: lower"
    )
    assert trainer.step - bad_step <= 10
    if not np.isnan(value):
        assert all(p.isfinite().all() for p in trainer.network.parameters()), "nothing else shows"
    resumed = a_trainer(world)
    assert training.load_checkpoint(resumed, tmp_path)
    assert resumed.step == 4, "the last state before the fault"


def test_the_history_holds_the_largest_gradient_before_clipping(world: World) -> None:
    trainer = a_trainer(world, clip=1e-4)
    found = np.zeros(trainer.config.steps)

    def see(gradient: Tensor) -> None:
        found[trainer.step] = max(found[trainer.step], float(gradient.abs().max()))

    for parameter in trainer.network.parameters():
        parameter.register_hook(see)
    train(trainer)
    assert trainer.log().gradient.tolist() == found.tolist()
    assert found.max() > 1e-4


def test_a_moving_statistic_that_is_not_finite_is_named(world: World) -> None:
    trainer = a_trainer(world)
    trainer.train_step()
    trainer.network.backbone.stem[1].running_var.fill_(torch.inf)
    with pytest.raises(
        training.NotFinite, match=r"backbone.stem.1.running_var is not finite after 1"
    ):
        trainer.check_finite()


def test_the_last_checkpoint_before_a_loss_that_is_not_finite_is_kept(
    world: World, tmp_path: Path
) -> None:
    trainer = a_trainer(world)

    def spoil(done: int) -> bool:
        if done == 3:
            with torch.no_grad():
                next(trainer.network.parameters()).fill_(torch.nan)
        return False

    with pytest.raises(FloatingPointError, match="the last checkpoint before it is kept"):
        train(trainer, tmp_path, checkpoint_every=2, stop=spoil)
    resumed = a_trainer(world)
    assert training.load_checkpoint(resumed, tmp_path)
    for name, tensor in resumed.network.state_dict().items():
        assert torch.isfinite(tensor).all(), name


# ---------------------------------------------------------------- the published training graph


class GoldenBatches:
    """The batches of the published run, in the place of a training set."""

    def __init__(self, golden: np.lib.npyio.NpzFile, dtype: torch.dtype) -> None:
        self.golden, self.dtype = golden, dtype
        counts = torch.from_numpy(golden["counts"])
        self.camera_of = torch.arange(len(counts)).repeat_interleave(counts)
        self.frame = np.arange(1000)  # so many that the learning rate stays
        self.sampler = batches.Sampler(len(self.frame), golden["labels"].shape[1], 0)

    def batch(self, step: int, device: torch.device) -> batches.TrainBatch:
        pixels = torch.from_numpy(self.golden["images_u8"][step])
        offset = np.cumsum([0, *self.golden["counts"]])
        tracklet = self.golden["labels"][step] - 1 + offset[self.golden["cams"][step] - 1]
        images = packing.to_input(pixels, 256, 128).to(self.dtype)
        return batches.TrainBatch(images, torch.from_numpy(tracklet).long())


def golden_trainer(golden: np.lib.npyio.NpzFile, dtype: torch.dtype) -> Trainer:
    config = official(Config(k=4, weights=str(WEIGHTS), batch=8))
    config = config.replace(restore_bn_statistics=True)
    trainer = Trainer(config, GoldenBatches(golden, dtype), CPU)
    trainer.warmup_steps = int((~golden["start_sign"]).sum())
    for module in (trainer.network, trainer.objective, trainer.ema.module):
        module.to(dtype)
    trainer.history = trainer.history.to(dtype)
    return trainer


def published_names(backbone: nn.Module) -> dict[str, nn.Parameter]:
    """The backbone's parameters under the names of the published graph."""
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    names = {}
    for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        kind = "depthwise" if number % 2 else "pointwise"
        layer = f"MobilenetV1/Conv2d_{(number + 1) // 2}" + (f"_{kind}" if number else "")
        prefix = "depthwise_" if number % 2 else ""
        names[f"{layer}/{prefix}weights"] = convolution.weight
        names[f"{layer}/BatchNorm/gamma"] = norm.weight
        names[f"{layer}/BatchNorm/beta"] = norm.bias
    return names


def as_published(name: str, tensor: Tensor) -> np.ndarray:
    """Our layout of a weight in TensorFlow's order of axes."""
    tensor = tensor.detach()
    if "depthwise_weights" in name:
        tensor = tensor.permute(2, 3, 0, 1)
    elif tensor.ndim == 4:
        tensor = tensor.permute(2, 3, 1, 0)
    return tensor.numpy()


def relative(ours: np.ndarray | Tensor, golden: np.ndarray) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(np.asarray(ours) - golden).max() / np.abs(golden).max())


# Batch normalisation over eight frames magnifies rounding: beside the same steps in float64, the
# published float32 run and ours in float32 are off by 1e-4 in the anchors before a gradient has
# moved the weights, and by 4e-3 after. Ours in float64 comes nearer to the published numbers.
@needs_weights
@pytest.mark.parametrize(
    ("dtype", "anchor_tolerances", "weight_tolerances"),
    [
        (torch.float32, (2e-4, 4e-4, 1.5e-2), (1e-6, 5e-4, 3e-3)),
        (torch.float64, (5e-5, 5e-5, 1.5e-2), (1e-6, 2e-4, 3e-3)),
    ],
    ids=["float32", "float64"],
)
def test_three_steps_of_the_published_training(
    dtype: torch.dtype, anchor_tolerances: tuple, weight_tolerances: tuple
) -> None:
    golden = np.load(GOLDEN / "trainstep_local_k4.npz")
    trainer = golden_trainer(golden, dtype)
    weights = published_names(trainer.network.backbone)
    assert set(weights) == set(golden["var_names"].tolist())
    in_full = [n.removeprefix("after_step/") for n in golden.files if n.startswith("after_step/")]
    for step in range(3):
        trainer.train_step()
        assert trainer.optimiser.param_groups[0]["lr"] == pytest.approx(golden["lr"][step])
        loss = float(trainer.history[step, 0])
        assert loss == pytest.approx(golden["association_loss"][step], rel=1e-4)
        norms = [float(weights[n].detach().norm()) for n in golden["var_names"]]
        np.testing.assert_allclose(norms, golden["param_norm"][step], rtol=1e-4)
        for name in in_full:
            ours = as_published(name, weights[name])
            published = golden[f"after_step/{name}"][step]
            assert relative(ours, published) <= weight_tolerances[step], (step, name)
        for kind in ("intra", "cross"):
            ours = getattr(trainer.objective, kind)[0].unflatten(0, (2, 6))
            published = np.stack([golden[f"part0/{kind}{camera}"][step] for camera in (0, 1)])
            assert relative(ours, published) <= anchor_tolerances[step], (step, kind)
    shadows = published_names(trainer.result.backbone)
    for name in in_full:
        ours = as_published(name, shadows[name])
        assert relative(ours, golden[f"ema_final/{name}"]) <= weight_tolerances[-1], name
    last = [m for m in trainer.network.backbone.modules() if isinstance(m, nn.BatchNorm2d)][-1]
    prefix = "final/MobilenetV1/Conv2d_13_pointwise/BatchNorm"
    assert relative(last.running_mean, golden[f"{prefix}/moving_mean"]) <= 1e-4
    assert relative(last.running_var, golden[f"{prefix}/moving_variance"]) <= 1e-4


# ---------------------------------------------------------------- on a GPU


@pytest.mark.parametrize("branch", ["local", "global"])
@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
def test_a_step_never_waits_for_the_device(
    world: World, branch: str, optimiser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without values: whatever would have to read one on the host fails."""
    config = a_config(branch=branch, optimiser=optimiser, ema=0.0, weight_decay=1e-4)
    trainer = Trainer(config, batches.TrainingSet(*world, config), torch.device("meta"))
    for _ in range(8):  # warm-up and after
        trainer.train_step()
    assert trainer.step == 8 > trainer.warmup_steps
    with pytest.raises((RuntimeError, NotImplementedError)):
        trainer.check_finite()  # this does read: every ten steps


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("branch", ["local", "global"])
def test_a_gpu_trains_as_the_cpu_does_but_for_rounding(world: World, branch: str) -> None:
    found = []
    for device in (CPU, pick_device("cuda"), pick_device("cuda")):
        config = a_config(branch=branch, steps=6, ema=0.0)
        trainer = Trainer(config, batches.TrainingSet(*world, config), device)
        x = nn.functional.normalize(trainer.network(trainer.data.batch(0, device).frames), dim=-1)
        draw = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(device)
        (x * draw).sum().backward()
        gradient = [p.grad.cpu() for p in trainer.network.parameters() if p.grad is not None]
        train(trainer)
        found.append((torch.cat([g.flatten() for g in gradient]), trainer.log().loss))
    (cpu, on_cpu), (gpu, on_gpu), (again, once_more) = found
    assert torch.cosine_similarity(gpu, cpu, dim=0) > 0.9999  # in bfloat16 it would be 0.7
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-3)
    assert torch.equal(gpu, again) and on_gpu.equals(once_more)
