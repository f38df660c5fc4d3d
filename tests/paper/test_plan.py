"""The plan of a table: what it needs, what is shared and done, time and disk; and running it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from upm_lib import runs
from upm_lib.config import PAPER, Caution, Config, UserError, preset, to_json
from upm_lib.data.tracklets import Dataset, Tracklet
from upm_lib.experiments import networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import frozen, model, training
from upm_lib.paper import plan, tables


@pytest.fixture
def bench(run_store: Path, tiny_root: Path) -> Bench:
    return open_bench(
        "synthetic_clean", device="cpu", progress=False, root=str(tiny_root), steps=4, batch=8, k=2
    )


@pytest.fixture
def steps_done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The training steps of this test, one entry each."""
    done: list[int] = []
    learn: Callable = training.Trainer.learn

    def counted(trainer: training.Trainer, *batch: torch.Tensor) -> None:
        done.append(trainer.step)
        learn(trainer, *batch)

    monkeypatch.setattr(training.Trainer, "learn", counted)
    return done


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is made only to be timed."""
    monkeypatch.setattr(plan, "timed_step", lambda bench, config: 0.5)


# ---------------------------------------------------------------- what is needed


@pytest.mark.parametrize(
    ("table", "measurements", "networks"),
    [("1", 1, 2), ("2", 4, 3), ("3", 2, 4), ("4", 4, 7), ("beyond", 12, 8), ("all", 17, 10)],
)
def test_a_table_needs_each_network_once(
    bench: Bench, table: str, measurements: int, networks: int
) -> None:
    job = plan.of(bench, table)
    assert (len(job.wanted), len(job.missing), len(job.networks)) == (
        measurements,
        measurements,
        networks,
    )
    three = plan.of(bench, table, "1,3,5")
    assert (len(three.wanted), len(three.networks)) == (3 * measurements, 3 * networks)
    assert {config.trial for config in three.networks} == {1, 3, 5}


def test_planning_trains_and_writes_nothing(bench: Bench, steps_done: list[int]) -> None:
    before = sorted(runs.store().rglob("*"))
    for table in tables.ACCURACY:
        plan.of(bench, table, 2)
    assert sorted(runs.store().rglob("*")) == before
    assert steps_done == []


@pytest.mark.parametrize("table", ["0", "5", "7"])
def test_a_table_that_cannot_be_run_gets_a_sentence(bench: Bench, table: str) -> None:
    with pytest.raises(UserError, match=f"unknown table to run '{table}'.*known are 1, 2, 3, 4"):
        plan.of(bench, table)


# ---------------------------------------------------------------- running


def test_a_table_runs_to_the_end_and_tables_share_what_they_have_in_common(
    bench: Bench, steps_done: list[int], untimed: None, capsys: pytest.CaptureFixture
) -> None:
    plan.run(plan.of(bench, "2"))
    assert len(steps_done) == 3 * 4, "baseline, local, global"
    assert tables.accuracy("2", bench)["trials", ""].tolist() == ["1"] * 4 + [""] * 4
    said = capsys.readouterr().out.splitlines()
    assert [re.match(r"network (\d) of 3: ", line)[1] for line in said] == ["1", "2", "3"]
    assert all(re.search(r"; about \d+ s left$", line) for line in said)

    assert plan.of(bench, "1").missing == (), "its only row is Table 2's last"
    four = plan.of(bench, "4")
    assert len(four.missing) == 4 - 2, "the baseline, and k = 2"
    left = {(config.branch, config.k) for config in four.left}
    assert left == {("local", 4), ("global", 4), ("local", 8), ("global", 8)}

    steps_done.clear()
    plan.run(plan.of(bench, "2"))
    assert (steps_done, capsys.readouterr().out) == ([], "")


def test_what_was_interrupted_goes_on(
    bench: Bench, steps_done: list[int], untimed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = bench.network("local")
    save = training.save_checkpoint

    def train_two_steps(trainer: training.Trainer, folder: Path, **_: object) -> None:
        trainer.train_step()
        trainer.train_step()
        save(trainer, folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "train", train_two_steps)
        with pytest.raises(KeyboardInterrupt):
            plan.run(plan.of(bench, "1"))
    job = plan.of(bench, "1")
    assert [(config.branch, done) for config, done in job.networks.items()] == [
        ("local", 2),
        ("global", 0),
    ]
    assert plan.listing(job)["begun"].to_dict() == {"local, k=2": 1, "global, k=2": 0}
    steps_done.clear()
    plan.run(job)
    assert steps_done == [2, 3, 0, 1, 2, 3]
    assert networks.steps_done(bench, config) == 4


# ---------------------------------------------------------------- estimates


def test_time_is_taken_from_finished_runs_of_the_same_cost_on_the_same_device(
    bench: Bench, steps_done: list[int]
) -> None:
    local, other = (bench.network("local", k=k) for k in (2, 4))
    networks.find_or_train(bench, local)
    file = networks.folder_of(bench, local) / "speed.json"
    kept = {"steps": 4, "seconds": 10.0, "device": "cpu", "threads": torch.get_num_threads()}
    runs.write_json(file, kept)
    steps_done.clear()
    assert speed(bench, other) == (2.5, "finished runs"), "another k costs the same"
    assert steps_done == []

    seconds, source = speed(bench, bench.network("global"))
    assert source == "a timed step" and 0 < seconds < 60, "another branch does not"
    runs.write_json(file, kept | {"device": "a GPU"})
    assert speed(bench, other)[1] == "a timed step", "another device does not"


def test_a_step_of_a_training_of_one_step_is_timed(bench: Bench) -> None:
    assert plan.timed_step(bench, bench.network("local", steps=1)) > 0


@pytest.mark.parametrize(("changes", "channels"), [({}, 512), ({"flip": True}, 3)])
def test_a_timed_step_begins_where_a_step_of_the_training_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict, channels: int
) -> None:
    seen: list[int] = []
    learn: Callable = training.Trainer.learn

    def look(trainer: training.Trainer, frames: torch.Tensor, tracklet: torch.Tensor) -> None:
        seen.append(frames.shape[1])
        learn(trainer, frames, tracklet)

    monkeypatch.setattr(training.Trainer, "learn", look)
    plan.timed_step(bench, bench.network("local", **partly(tmp_path), **changes))
    assert set(seen) == {channels}


def partly(folder: Path) -> dict[str, Any]:
    """The fields of a network of which eleven blocks keep their weights."""
    backbone = model.build(Config(k=1)).backbone.state_dict()
    names = model._mobilenet_names([*backbone])
    file = folder / "weights.pth"
    torch.save({names[name]: tensor for name, tensor in backbone.items() if name in names}, file)
    return {"backbone": "mobilenet_v1", "weights": str(file), "freeze": 11}


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ({}, {}),
        ({"steps": 0, "seconds": 1.0}, {}),
        ({"steps": "4", "seconds": [1]}, {}),
        ({"steps": 4, "seconds": 1.0}, {"a field of tomorrow": 1}),
    ],
)
def test_a_speed_of_another_version_is_left_to_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, values: dict, more: dict
) -> None:
    monkeypatch.setattr(plan, "timed_step", lambda *_: 0.5)
    config = bench.network("local")
    folder = networks.folder_of(bench, config)
    runs.write_json(folder / "config.json", to_json(config) | more)
    where = {"device": "cpu"} if values else {}
    runs.write_json(folder / "speed.json", values | where)
    assert speed(bench, config) == (0.5, "a timed step")
    assert (folder / "speed.json").exists()


def test_a_damaged_speed_is_removed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "timed_step", lambda *_: 0.5)
    config = bench.network("local")
    folder = networks.folder_of(bench, config)
    runs.write_json(folder / "config.json", to_json(config))
    (folder / "speed.json").write_text("{}")
    with pytest.warns(Caution, match=r"speed.json holds no speed \(.*\): it is removed"):
        assert speed(bench, config) == (0.5, "a timed step")
    assert not (folder / "speed.json").exists()


def speed(bench: Bench, *configs: Config) -> tuple[float, str]:
    """What is known of the first of some networks that have to be trained."""
    found = plan.speeds(plan.Plan(bench, (), (), dict.fromkeys(configs, 0)))
    return found[plan.cost(configs[0])]


def test_a_step_is_timed_once_for_each_cost(bench: Bench, steps_done: list[int]) -> None:
    speed(bench, *(bench.network("local", k=k) for k in (1, 2, 4)))
    assert len(steps_done) == 3, "one that warms up, two that are timed"
    assert networks.steps_done(bench, bench.network("local")) == 0


def test_the_time_left_is_steps_times_seconds_and_the_passes_of_extraction(bench: Bench) -> None:
    job = plan.of(bench, "1")
    known = {plan.cost(config): (2.0, "made up") for config in job.networks}
    # Two networks of 4 steps; each sees the 32 test frames once, a third of a step's 8 frames.
    expected = 2 * 4 * 2.0 + 2 * 32 * 2.0 / 8 / 3
    assert plan.seconds_left(bench, job.left, job.missing, known) == pytest.approx(expected)


def test_a_plan_without_networks_has_no_time(bench: Bench, untimed: None) -> None:
    job = plan.of(bench, "beyond")
    control = plan.Plan(bench, job.wanted, job.missing[:1], {})
    assert control.missing[0].method == "untrained"
    assert plan.summary(control) == ["12 measurements, 11 of them done"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimiser": "rmsprop", "ema": 0.999}, {"optimiser": "sgd", "lr": 1e-3}],
    ids=lambda c: c.get("optimiser", "adam"),
)
@pytest.mark.parametrize("method", ["local", "global"])
def test_the_disk_that_is_announced_is_what_the_checkpoints_take(
    bench: Bench, method: str, changes: dict
) -> None:
    config = bench.network(method, **changes)
    trainer = networks.find_or_train(bench, config)
    (file,) = networks.folder_of(bench, config).glob("step-*")
    assert trainer.step == 4
    announced = plan.checkpoint_bytes(bench, config)
    assert announced == pytest.approx(file.stat().st_size, rel=0.03)


def test_anchors_in_half_precision_are_announced_as_such(bench: Bench) -> None:
    def announced(**changes: str) -> int:
        return plan.checkpoint_bytes(bench, bench.network("local", k=2, **changes))

    numbers = 2 * len(bench.split(1).train) * 256  # of the intra anchors: parts, tracklets, each
    assert announced() - announced(anchors="float16") == 2 * numbers * 2
    cluster = announced(objective="cluster")
    assert announced(objective="cluster", anchors="float16") == cluster, "it has no such anchors"


def test_frozen_blocks_are_on_disk_but_have_no_slots(bench: Bench) -> None:
    whole = bench.config.replace(backbone="mobilenet_v1", k=1)
    part = whole.replace(weights="somewhere", freeze=11)
    trained = 1_593_856  # of blocks 12 and 13: depthwise, pointwise, scale and shift
    every = 3_206_976  # parameters of the backbone
    difference = plan.checkpoint_bytes(bench, whole) - plan.checkpoint_bytes(bench, part)
    assert difference == 2 * 4 * (every - trained)


def test_maps_of_frozen_blocks_are_announced_until_they_are_made(
    bench: Bench, tmp_path: Path
) -> None:
    config = bench.network("local", **partly(tmp_path))
    job, known = plan.Plan(bench, (), (), {config: 0}), {plan.cost(config): (1.0, "made up")}
    _, announced = plan._takes(job, known)
    maps = frozen.FrozenMaps(bench.frames, config, bench.device).maps
    kept = plan.checkpoint_bytes(bench, config)
    assert announced == plan.size(kept + maps.nbytes) != plan.size(kept)
    assert plan._takes(job, known)[1] == plan.size(kept)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (3599, "1 h 00 min"),
        (12_000, "3 h 20 min"),
        (4e5, "5 days"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert plan.duration(seconds) == text


def test_the_listing_has_one_line_a_network_and_the_summary_says_where_times_come_from(
    bench: Bench, untimed: None
) -> None:
    job = plan.of(bench, "3", "1-2")
    assert len(job.networks) == 8
    found = plan.listing(job)
    assert list(found.index) == ["local, k=2", "global, k=2", "local, k=2, gmp", "global, k=2, gmp"]
    assert (found["trials"] == "1-2").all() and (found["steps left"] == 8).all()
    assert (found["finished"] == 0).all()
    lines = plan.summary(job)
    assert lines[0] == "4 measurements, 0 of them done"
    assert re.match(
        r"8 networks to train: about \d+ s on this machine's cpu \(from a timed step\) and",
        lines[1],
    )


def test_the_overview_has_all_tables_that_are_measured(bench: Bench, untimed: None) -> None:
    found = plan.overview(bench, "1-2")
    assert list(found.index) == [*(tables.TITLES[t] for t in tables.ACCURACY), "all of these"]
    assert found["measurements"].tolist() == [2, 8, 4, 8, 24, 34]
    assert found["networks to train"].tolist() == [4, 6, 8, 14, 16, 20]
    assert (found["done"] == 0).all() and found["time"].str.match(r"\d+ s").all()
    plan.run(plan.of(bench, "1", "1-2"))
    after = plan.overview(bench, "1-2")
    assert after.iloc[0].tolist() == [2, 2, 0, "", ""]
    assert after["done"].tolist() == [2, 2, 2, 2, 0, 2], "Tables 1 to 4 hold the fused k = 2"
    assert after["networks to train"].tolist() == [0, 2, 4, 10, 12, 16]


# ---------------------------------------------------------------- what to expect of a preset


SIZES = {"prid2011": 178, "ilids_vid": 300, "dukemtmc": 2196}  # tracklets that train


def real(config: Config, tracklets: int) -> Bench:
    """A bench of the paper's scale on so many tracklets that train."""
    each = tuple(Tracklet(person, 0, ("x",)) for person in range(tracklets))
    data = Dataset(config.dataset, Path("x"), each, ("a",), ("train",) * tracklets)
    return Bench(config, data, None, torch.device("cpu"), scale="paper")


def test_what_was_published_is_not_promised_for_other_data() -> None:
    config = preset("prid2011", "paper")
    of = {count: plan.expectation(real(config, count)) for count in (178, 40)}
    assert [len(lines) for lines in of.values()] == [2, 1]
    assert len(plan.expectation(real(config.replace(k=4), 178))) == 1, "the paper has k = 8"


@pytest.mark.parametrize("dataset", PAPER)
def test_every_paper_preset_says_what_to_expect_and_how_that_was_arrived_at(
    dataset: str,
) -> None:
    config = preset(dataset, "paper")
    line, *rest = plan.expectation(real(config, SIZES.get(dataset, 5)))
    assert "an estimate, not measured" in line
    steps, frames, passes, gigas, teras = re.search(
        r"from (\d+) steps x (\d+) frames x (\d) passes x ([\d.]+) GFLOP at an assumed (\d+) TFLOP",
        line,
    ).groups()
    assert (int(steps), int(frames)) == (config.steps, 64)
    minutes = int(steps) * int(frames) * int(passes) * float(gigas) / 1e3 / int(teras) / 60
    assert re.search(r": (\d+) min a network", line)[1] == f"{minutes:.0f}"
    published = {"prid2011": "90.2", "ilids_vid": "62.6", "dukemtmc": "83.6"}
    assert [r[-4:] for r in rest] == ([published[dataset]] if dataset in published else [])


def test_other_scales_promise_nothing(bench: Bench) -> None:
    assert plan.expectation(bench) == []
