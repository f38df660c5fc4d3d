"""What a table of the paper needs on a data set, with time and disk; and doing it to the end.

A plan holds what is missing: measurements without a record, and the networks they rest on. What
tables have in common (Table 4's row k = 1 is Table 2's baseline) is one network and one record.
Times are estimates, and say where they come from.
"""

import logging
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter
from statistics import median

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from upm_lib import runs
from upm_lib.config import Caution, Config, UserError, from_json
from upm_lib.data import batches
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench
from upm_lib.experiments.measurement import Measurement, trials_text
from upm_lib.learning import frozen, model, training
from upm_lib.paper import complexity, published, tables
from upm_lib.retrieval import model_file

logger = logging.getLogger(__name__)

# What a step's time depends on, beside the device; the parts and the data cost next to nothing.
cost = attrgetter(
    *("backbone", "branch", "freeze", "height", "width", "batch"), *("flip", "crop", "objective")
)
Speeds = dict[tuple[object, ...], tuple[float, str]]  # cost -> seconds a step, where they come from
# Forward and backward of a frame cost about three times the forward alone.
PASSES = 3
TIMED = 3  # steps that are timed, the first one to warm up
# Assumed, not measured: what a large GPU sustains in float32 training, in FLOPs a second. The
# depthwise convolutions of MobileNetV1 wait for memory most of the time.
SUSTAINED = {"mobilenet_v1": 2e12, "resnet50": 8e12, "resnet50_slim": 8e12}


@dataclass(frozen=True)
class Plan:
    """Some measurements on a bench: those that lack a record, and the networks they rest on."""

    bench: Bench
    wanted: tuple[Measurement, ...]
    missing: tuple[Measurement, ...]
    networks: dict[Config, int]  # of the missing ones: steps that are safe in a checkpoint

    @cached_property
    def left(self) -> dict[Config, int]:
        """The networks that are not finished, with the steps they still have to do."""
        return {c: c.steps - done for c, done in self.networks.items() if done < c.steps}


def of(bench: Bench, table: str, trials: int | str = 1) -> Plan:
    """Return what a table (or "all") still needs on the bench's data; nothing is trained.

    Raises UserError for another table, for trials that are none or that the data lack, and for data
    without identities.
    """
    wanted = tuple(tables.measurements(table, bench, trials))
    for trial in dict.fromkeys(m.config.trial for m in wanted):
        measuring.searched(bench, trial)
    quiet, delay = not bench.progress, runs.PATIENCE
    looked = tqdm(wanted, "records", disable=quiet, delay=delay, leave=False)
    missing = tuple(m for m in looked if not measuring.find(bench, m))
    configs = dict.fromkeys(config for m in missing for config in m.networks)
    made = {config: networks.steps_done(bench, config) for config in configs}
    return Plan(bench, wanted, missing, made)


def run(plan: Plan) -> None:
    """Train and measure what is missing, trial by trial, and say how much time is left.

    It may be stopped at any time; a new plan of the same table then goes on where it ended.
    """
    left, known = dict(plan.left), speeds(plan)
    begun = len(plan.networks) - len(left)
    for number, measurement in enumerate(plan.missing):
        for config in measurement.networks:
            if config not in left:
                continue
            begun += 1
            rest = seconds_left(plan.bench, left, plan.missing[number:], known)
            place = f"network {begun} of {len(plan.networks)}"
            print(f"{place}: {name_of(config)}, trial {config.trial}; about {duration(rest)} left")
            networks.find_or_train(plan.bench, config)
            del left[config]
            known |= finished_speeds(plan.bench)
        measuring.measure(plan.bench, measurement)


def finished_speeds(bench: Bench) -> Speeds:
    """Return the seconds that a step took in the finished runs of the store, on such a device."""
    kept: dict[tuple[object, ...], list[float]] = defaultdict(list)
    here = networks.device_name(bench.device)
    for file in (runs.store() / "training").glob("*/*/speed.json"):
        try:
            values, speed = map(runs.read_json, (file.with_name("config.json"), file))
        except (UserError, OSError) as error:  # it only makes an estimate better
            warnings.warn(f"{file} holds no speed ({error}): it is removed", Caution, stacklevel=2)
            runs.remove(file)
            continue
        with suppress(UserError, LookupError, TypeError, ArithmeticError):  # of another version
            kind, took = cost(from_json(values)), speed["seconds"] / speed["steps"]
            if speed["device"] == here:
                kept[kind].append(took)
    return {kind: (median(seconds), "finished runs") for kind, seconds in kept.items()}


def speeds(plan: Plan) -> Speeds:
    """Return the seconds that a step of each network of a plan takes: measured, never looked up.

    Where no finished run has cost the same, a step is timed.
    """
    known = finished_speeds(plan.bench)
    for config in plan.networks:
        if cost(config) not in known:
            known[cost(config)] = timed_step(plan.bench, config), "a timed step"
    return known


@lru_cache
def timed_step(bench: Bench, config: Config) -> float:
    """Return the seconds that a training step takes on the bench's data; nothing is kept.

    Where the maps of frozen blocks will be read, one batch is put through them first, so that no
    maps of all frames are made for an estimate.
    """
    logger.warning("timing a training step (%s)", name_of(config))
    half = batches.TrainingSet(bench.dataset, bench.frames, config)
    trainer = training.Trainer(config.replace(steps=max(config.steps, TIMED)), half, bench.device)
    batch = half.batch(0, bench.device)
    if networks.reads_maps(bench, config):
        with torch.no_grad():
            batch = batch._replace(frames=trainer.network.frozen(batch.frames))
    seconds = []
    for _ in range(TIMED):
        began = time.perf_counter()
        trainer.learn(*batch)
        float(trainer.history[trainer.step - 1, 0])  # waits for the device
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def seconds_left(
    bench: Bench, left: dict[Config, int], missing: Iterable[Measurement], known: Speeds
) -> float:
    """Return the estimated seconds of the steps left of networks and of some measurements."""
    total = sum(steps * known[cost(config)][0] for config, steps in left.items())
    frames: dict[int, int] = {}  # to describe, by trial
    for measurement in missing:
        trial = measurement.config.trial
        if trial not in frames:
            _, probe, gallery = bench.split(trial)
            frames[trial] = len(bench.frames.of(np.union1d(probe, gallery)))
        for config in measurement.networks:
            total += frames[trial] * known[cost(config)][0] / config.batch / PASSES
    return total


def duration(seconds: float) -> str:
    """Return a time as people say it: "40 s", "12 min", "3 h 20 min", "5 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:.0f} days"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def checkpoint_bytes(bench: Bench, config: Config) -> int:
    """Return what a training run keeps on disk: its last checkpoint, from its shapes.

    Network, moving average, the optimiser's slots, anchors and history.
    """
    tracklets = len(bench.split(config.trial).train)
    k, dim, state = _network(config.replace(trial=1))
    history = config.steps * len(training.HISTORY) * torch.float32.itemsize
    # Cluster contrast has two arrays of that size as well, always in single precision.
    half = config.objective == "association" and config.anchors == "float16"
    stored = torch.float16 if half else torch.float32
    return state + complexity.anchor_bytes(k, tracklets, dim, stored) + history


@lru_cache  # the same in every trial
def _network(config: Config) -> tuple[int, int, int]:
    """Return k, the numbers of a part feature, and the bytes of all that is learnt but anchors."""
    network = model_file.skeleton(config)
    state = sum(tensor.nbytes for tensor in network.state_dict().values())
    trained = sum(weight.nbytes for weight in network.parameters() if weight.requires_grad)
    slots = 1 if config.optimiser == "sgd" else 2
    return network.k, network.dim, state * (1 + bool(config.ema)) + slots * trained


def size(count: float) -> str:
    """Return a number of bytes as people say it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


@lru_cache
def map_cost(bench: Bench, config: Config) -> tuple[float, int]:
    """Return the seconds and the bytes on disk of one frame's map of the frozen blocks."""
    index = np.arange(min(frozen.BLOCK, len(bench.frames.tracklet)))
    blocks = model.channels_last(model.build(config), bench.device).frozen
    began = time.perf_counter()
    with torch.inference_mode():
        maps = blocks(bench.frames.batch(index, config, bench.device)).half().cpu()
    return (time.perf_counter() - began) / len(index), maps[0].nbytes


def _takes(plan: Plan, known: Speeds) -> tuple[str, str]:
    """Say how much time a plan still takes, and how much disk: new networks, and maps to make."""
    bench, frames = plan.bench, len(plan.bench.frames.tracklet)
    new = [config for config, done in plan.networks.items() if not done]
    seconds = seconds_left(bench, plan.left, plan.missing, known)
    disk = sum(checkpoint_bytes(bench, config) for config in new)
    reading = [config for config in plan.left if networks.reads_maps(bench, config)]
    for file, config in {frozen.place(bench.frames, config): config for config in reading}.items():
        if not file.exists():
            took, held = map_cost(bench, config)
            seconds, disk = seconds + frames * took, disk + frames * held
    return duration(seconds), size(disk)


def name_of(config: Config) -> str:
    """Return the name of a network among those of a table."""
    name = f"{config.branch}, k={config.k}"
    return name if config.pool == "gap" else f"{name}, {config.pool}"


def listing(plan: Plan) -> pd.DataFrame:
    """Return the networks of a plan, those of different trials on one line.

    Columns: trials, how many of them are finished and begun, steps left, estimated time and disk.
    """
    known, lines = speeds(plan), {}
    for name in dict.fromkeys(map(name_of, plan.networks)):
        own = {c: done for c, done in plan.networks.items() if name_of(c) == name}
        left = [plan.left.get(config, 0) for config in own]
        lines[name] = {
            "trials": trials_text(sorted({config.trial for config in own})),
            "finished": left.count(0),
            "begun": sum(0 < done < config.steps for config, done in own.items()),
            "steps left": sum(left),
            "time": duration(sum(left) * known[cost(next(iter(own)))][0]) if any(left) else "",
            "disk": size(sum(checkpoint_bytes(plan.bench, config) for config in own)),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("network")


def summary(plan: Plan) -> list[str]:
    """Return the plan in words: what is left, how long it takes, what to expect of it."""
    done = len(plan.wanted) - len(plan.missing)
    lines = [f"{len(plan.wanted)} measurements, {done} of them done"]
    if plan.networks:
        known, device = speeds(plan), networks.device_name(plan.bench.device)
        seconds, disk = _takes(plan, known)
        _, source = known[cost(next(iter(plan.left or plan.networks)))]
        lines.append(
            f"{len(plan.left)} networks to train: about {seconds} on this machine's {device} "
            f"(from {source}) and {disk} of disk"
        )
    return [*lines, *expectation(plan.bench)]


def overview(bench: Bench, trials: int | str = 1) -> pd.DataFrame:
    """Return what the tables still need on the bench's data, one line each, and all together.

    Columns: measurements, how many of them are done, networks to train, estimated time and disk.
    """
    known, lines = speeds(of(bench, "all", trials)), {}
    for table in (*tables.ACCURACY, "all"):
        job = of(bench, table, trials)
        seconds, disk = _takes(job, known)
        lines[tables.TITLES.get(table, "all of these")] = {
            "measurements": len(job.wanted),
            "done": len(job.wanted) - len(job.missing),
            "networks to train": len(job.left),
            "time": seconds if job.missing else "",
            "disk": disk if job.left else "",
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def expectation(bench: Bench) -> list[str]:
    """Return what a preset promises: the time of a network on one large GPU, the published value.

    The time is an estimate from the network's multiply-adds and an assumed sustained speed. The
    values are given at the paper's scale only, and the published one for the paper's own data.
    """
    config = bench.measurement("fusion", bench.config.trial).config
    if bench.scale != "paper" or config.backbone not in SUSTAINED:
        return []
    network = model.build(config.replace(weights=None, freeze=0))
    flops = complexity.honest_count(network, config.height, config.width).flops
    rate = SUSTAINED[config.backbone]
    seconds = config.steps * config.batch * PASSES * flops / rate
    line = (
        f"expected on one large GPU (an estimate, not measured): {duration(seconds)} a network, "
        f"from {config.steps} steps x {config.batch} frames x {PASSES} passes x "
        f"{flops / 1e9:.2f} GFLOP at an assumed {rate / 1e12:.0f} TFLOP/s"
    )
    if tables.incomparable(bench, "1"):
        return [line]
    name = tables.COUNTERPART[config.dataset]
    whole = published.value(1, "uPMnet", config.backbone.removesuffix("_slim"), name, "rank1")
    assert isinstance(whole, float), "Table 1 has the whole method on all data"
    return [line, f"published for the whole method on {name}: Rank-1 {whole:.1f}"]
