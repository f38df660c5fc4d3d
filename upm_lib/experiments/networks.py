"""Networks by their config: found in the run store, or trained (and resumed) now."""

import time
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from upm_lib import distributed, runs
from upm_lib.config import DATA_FIELDS, EVALUATION_FIELDS, Config, UserError, to_json
from upm_lib.data import splits
from upm_lib.data.batches import TrainingSet
from upm_lib.data.packing import Source
from upm_lib.data.tracklets import UNKNOWN
from upm_lib.experiments.bench import Bench
from upm_lib.experiments.measurement import Measurement
from upm_lib.learning import model, training
from upm_lib.learning.association import check_cameras
from upm_lib.learning.frozen import FrozenMaps
from upm_lib.retrieval import model_file


def of(bench: Bench, measurement: Measurement) -> list[model.UPMNet]:
    """Return the network(s) of a measurement: two for "fusion", one otherwise.

    Raises UserError for the colour histogram, which has none, and for what the bench's model lacks.
    """
    if bench.model:
        return [_loaded(bench, bench.model, config) for config in _wanted(bench, measurement)]
    if measurement.method == "untrained":
        return [untrained(bench, measurement.config)]
    if not measurement.networks:
        raise UserError(f"{measurement.method!r} has no network")
    return [find_or_train(bench, config).result for config in measurement.networks]


def _wanted(bench: Bench, measurement: Measurement) -> tuple[Config, ...]:
    if measurement.method not in bench.methods or not measurement.networks:
        held = ", ".join(bench.methods[1:])
        raise UserError(f"the model has no network of {measurement.method!r}: it has {held}")
    return measurement.networks


def _loaded(bench: Bench, loaded: model_file.Model, config: Config) -> model.UPMNet:
    """Return the network of a config from the bench's model.

    Raises UserError where the people to be searched may be among those it was trained on.
    """
    origin, halved = loaded.origin, not bench.dataset.subset and bench.dataset.identified
    if halved and bench.frames.digest == origin.digest:
        halves = (origin.trial, loaded.configs[0].splits), (config.trial, config.splits)
        trained, asked = (f"trial {number} ({kind} splits)" for number, kind in halves)
        what = f"the model was trained on {trained} of these pictures"
        if halves[0] != halves[1]:
            raise UserError(f"{what}: {asked} would test it on people it has seen")
        if origin.meaning != bench.dataset.meaning:
            now = "it is said otherwise now who they show"
            raise UserError(f"{what}, and {now}: the test could be on people it has seen")
    for network, own in zip(loaded.networks, loaded.configs, strict=True):
        if (own.branch, own.k, own.pool) == (config.branch, config.k, config.pool):
            return network
    raise UserError(f"the model has no {config.branch} network of k = {config.k}, {config.pool}")


def as_model(bench: Bench, measurement: Measurement) -> model_file.Model:
    """Return the trained networks of a measurement as a model, which can be saved and handed on."""
    if bench.model:
        return bench.model
    found = tuple(find_or_train(bench, config).result.eval() for config in measurement.networks)
    train = bench.split(measurement.config.trial).train
    origin = model_file.Origin(
        dataset=bench.dataset.name,
        trial=measurement.config.trial,
        cameras=len(bench.dataset.cameras),
        tracklets=len(train),
        frames=len(bench.frames.of(train)),
        digest=bench.frames.digest,
        meaning=bench.dataset.meaning,
        size=tuple(bench.frames.pixels.shape[1:3]),
    )
    own = {name: getattr(measurement.config, name) for name in EVALUATION_FIELDS}
    settings = tuple(model_file.nameless(c.replace(**own)) for c in measurement.networks)
    return model_file.Model(found, settings, origin, runs.versions())


def find_or_train(bench: Bench, config: Config) -> training.Trainer:
    """Return the finished training run of a config: from the store, or trained (and resumed) now.

    A second process that wants the same run waits for the first. How fast it went is kept beside
    the run as ``speed.json``, for estimates.
    """
    folder = folder_of(bench, config)
    with distributed.first_holds(runs.lock(folder / "lock")):
        trainer = trainer_of(bench, config)
        title = f"{config.branch} k={config.k} trial {config.trial}"
        began = time.perf_counter()
        training.train(trainer, folder, title=title if bench.progress else None)
        took = time.perf_counter() - began
        if distributed.rank() == 0 and runs.find_json(folder / "config.json") is None:
            runs.write_json(folder / "config.json", to_json(config))
        if distributed.size() == 1 and (done := trainer.step - trainer.resumed):
            speed = {"steps": done, "seconds": took}
            where = {"device": device_name(bench.device), "threads": torch.get_num_threads()}
            runs.write_json(folder / "speed.json", speed | where)
    return trainer


def trainer_of(bench: Bench, config: Config) -> training.Trainer:
    """Return a training run of a config on the bench's data, of which no step is done.

    Raises UserError for what cannot be trained, and for tracklets of a single camera before the
    maps of frozen blocks are made, which may take hours.
    """
    if config.objective == "association":
        tracklets = bench.split(config.trial).train
        check_cameras(torch.from_numpy(bench.cameras(tracklets)))
    half = TrainingSet(bench.dataset, source_of(bench, config), config)
    return training.Trainer(config, half, bench.device)


def folder_of(bench: Bench, config: Config) -> Path:
    """Return the run folder of a config on the bench's data.

    Lists beside the frames (MARS's, or a folder's identities) may change what the same frames mean.

    Raises UserError if the config asks for other data than the bench has opened.
    """
    for name in DATA_FIELDS:
        if (value := getattr(config, name)) != getattr(bench.config, name):
            what = f"{name} = {value!r} is not what is open here"
            raise UserError(f"{what}: give {name} to open_bench instead")
    made_of = [bench.frames.digest, bench.dataset.meaning]
    made_of += [bench.model.digest] if bench.model else []
    return runs.training_folder(config, "-".join(made_of) + splits.key(bench.dataset, config.trial))


def source_of(bench: Bench, config: Config) -> Source:
    """Return what a network of a config reads: the frames, or the maps of its frozen blocks."""
    if not reads_maps(bench, config):
        return bench.frames
    return FrozenMaps(bench.frames, config, bench.device, bench.progress)


def reads_maps(bench: Bench, config: Config) -> bool:
    """Return whether a network of a config reads kept maps of its frozen blocks.

    Maps of mirrored or moved frames are others, so such a training computes them at each step.
    """
    return bool(config.freeze) and not (bench.model or config.flip or config.crop)


def steps_done(bench: Bench, config: Config) -> int:
    """Return how many steps of a run are safe in its newest checkpoint; 0 if there is none."""
    return training.steps_kept(folder_of(bench, config))


def device_name(device: torch.device) -> str:
    """Return what tells machines of different speed apart: "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def untrained(bench: Bench, config: Config) -> model.UPMNet:
    """Return the network before training: the control that every result must beat.

    A random backbone has no meaningful moving statistics; they are averaged over 20 training
    batches.
    """
    network = model.build(config).to(bench.device)
    if config.weights is None:
        half = TrainingSet(bench.dataset, bench.frames, config)
        update_bn((half.batch(step, bench.device) for step in range(20)), network)
    return network.eval()


def correct_share(bench: Bench, trainer: training.Trainer) -> float:
    """Share of a training's cyclically consistent pairs that really are one person.

    Over all parts and tracklets, at each tracklet's last visit; see :func:`share_of_one_person`.
    """
    people = bench.people(trainer.data.tracklets)
    return share_of_one_person(trainer.objective.get_buffer("match").cpu().numpy(), people)


def share_of_one_person(match: np.ndarray, people: np.ndarray) -> float:
    """Share of pairs that are one person, of those whose people are both known; NaN if none is.

    ``match`` is each tracklet's partner by each part, -1 for none [k, N]; ``people`` are those of
    the tracklets [N]. Training itself has no use for it.
    """
    paired = match >= 0
    own, other = np.broadcast_to(people, match.shape)[paired], people[match[paired]]
    known = (own != UNKNOWN) & (other != UNKNOWN)
    return float((own == other)[known].mean()) if known.any() else float("nan")
