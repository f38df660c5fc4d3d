"""The bench: an open data set, the config of the experiments on it, and where they run."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from upm_lib import distributed, files, runs
from upm_lib.config import (
    DATA_FIELDS,
    TABLES,
    Config,
    UserError,
    known,
    preset,
)
from upm_lib.data import catalogue, splits
from upm_lib.data.packing import Frames
from upm_lib.data.tracklets import Dataset
from upm_lib.experiments import measurement
from upm_lib.experiments.measurement import BRANCHES, METHODS, Measurement
from upm_lib.learning import model as models
from upm_lib.pictures import canvas
from upm_lib.retrieval import model_file
from upm_lib.retrieval.model_file import Model
from upm_lib.synthetic import world

# The parameters of a notebook, but for the model file: not every notebook can use one.
PARAMETERS = (
    *("dataset", "root", "min_frames", "backbone", "weights", "k", "pool", "objective", "trials"),
    *("table", "scale", "steps", "seed", "device", "figures_dir"),
)


@dataclass(frozen=True)
class Bench:
    """An open data set with the config of the experiments on it.

    With a ``model`` from a file nothing is trained: its networks are measured on these data.
    """

    config: Config
    dataset: Dataset
    frames: Frames
    device: torch.device
    progress: bool = False
    figures_dir: Path | None = None
    scale: str = "demo"
    model: Model | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """What can be measured here: all methods, or those whose networks are in the model."""
        if self.model is None:
            return METHODS
        held = {(config.branch, config.k) for config in self.model.configs}
        wanted = {m: {(c.branch, c.k) for c in self.measurement(m).networks} for m in BRANCHES}
        return ("histogram", *(method for method in BRANCHES if wanted[method] <= held))

    @property
    def is_synthetic(self) -> bool:
        """Whether its people are synthetic."""
        return self.config.dataset in world.WORLDS

    @property
    def folder(self) -> str:
        """The name of the root, which tells two sets of one layout apart; "" without a root."""
        return files.place(self.config.root).resolve().name if self.config.root else ""

    @property
    def label(self) -> str:
        """What the results must be called."""
        what = "synthetic data" if self.is_synthetic else f"measured on {self.dataset.name}"
        what += f" in {self.folder}" if self.folder else ""
        return f"{what}, trained on {self.model.origin.dataset}" if self.model else what

    @cached_property
    def split(self) -> Callable[[int], splits.Trial]:
        """The split of a trial of this data set, by its number; made once for each."""
        return lru_cache(maxsize=None)(partial(splits.split, self.dataset))

    def measurement(self, method: str, trial: int = 1, **changes: Any) -> Measurement:
        """Return a method on a trial of this data set, for :mod:`upm_lib.experiments.measuring`.

        The length of its trainings stands in steps.
        """
        made = measurement.of(self.config, method, trial, **changes)
        if made.config.epochs is None:
            return made
        frames = int(np.isin(self.frames.tracklet, self.split(trial).train).sum())
        return replace(made, config=made.config.in_steps(frames))

    def network(self, method: str, trial: int = 1, **changes: Any) -> Config:
        """Return the config of the one network of "baseline", "local" or "global"."""
        known(("baseline", "local", "global"), method, "network")
        return self.measurement(method, trial, **changes).networks[0]

    def people(self, tracklets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Identities of some tracklets: for evaluation only, training never sees them."""
        return np.array([self.dataset.tracklets[t].person for t in tracklets])

    def searched_people(self, trial: int) -> int:
        """How many people are searched in a trial."""
        return len(set(self.people(self.split(trial).probe)))

    def cameras(self, tracklets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cameras of some tracklets, from 0."""
        return np.array([self.dataset.tracklets[t].camera for t in tracklets])

    def images(self, tracklets: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Return the middle frame, uint8 RGB [h, w, 3], of some tracklets."""
        index = [np.flatnonzero(self.frames.tracklet == t) for t in tracklets]
        return [self.frames.pixels[i[len(i) // 2]] for i in index]

    def clip(self, tracklet: int) -> NDArray[np.uint8]:
        """Return all frames of a tracklet, uint8 RGB [T, h, w, 3]."""
        return self.frames.pixels[self.frames.tracklet == tracklet]

    def keep(self, fig: Figure, name: str) -> Figure:
        """Save a figure at print size if a folder for figures was given; return it to be shown."""
        canvas.save(fig, name, self.figures_dir)
        return fig


def open_bench(
    dataset: str = "synthetic_clean",
    scale: str = "demo",
    device: str | None = None,
    progress: bool = True,
    figures_dir: str | Path | None = None,
    model: str | Path | None = None,
    trials: int | str = 1,
    table: int | str = 2,
    **changes: Any,
) -> Bench:
    """Open a data set, one of ``config.PAPER``; the parameters are those of the notebooks.

    The scale is "demo" (a minute a network on two cores), "frozen" (trained weights, of which the
    last blocks go on learning) or "paper" (section 4.1). Device None picks a GPU if there is one.
    Figures are saved at print size where there is a folder for them. Changes are fields of
    :class:`upm_lib.config.Config`; None keeps the preset's value. ``model`` is a model file, whose
    networks are used in the place of trained ones. ``trials`` and ``table`` are what will be
    measured later.

    Raises UserError with one sentence for anything that does not fit, before any work begins.
    """
    config = preset(dataset, scale, **changes)
    known(TABLES, str(table), "table")
    measurement.trial_numbers(trials)
    where = distributed.pick_device(device)
    folder = _figures_folder(figures_dir)
    loaded = None if model is None else model_file.load(model, where)
    if loaded:
        config = _as_loaded(config, loaded, changes)
    else:
        models.check(config)
    runs.sweep_store()
    with distributed.first_goes_first():
        opened = splits.chosen(catalogue.load(config, progress), config)
        frames = Frames(opened, progress)
    return Bench(config, opened, frames, where, progress, folder, scale, loaded)


def parameters(names: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`open_bench` takes of a notebook's names, its ``globals()``."""
    return {name: names[name] for name in PARAMETERS}


def _as_loaded(config: Config, model: Model, changes: dict[str, Any]) -> Config:
    """Return the config of a model's networks on the data of another config."""
    theirs = model.configs[-1]
    own = (*DATA_FIELDS, "probes", "trial")
    pooling = (
        "tracklet_pool",
        "normalise_branches",
    )  # the model's own, unless others are asked for
    for name, asked in changes.items():
        if name not in (*own, *pooling) and asked not in (None, (has := getattr(theirs, name))):
            what = f"the model has {name} = {has}, not {asked}"
            raise UserError(f"{what}: leave out {name} or give this value, or leave out the model")
    given = {name: changes[name] for name in pooling if changes.get(name) is not None}
    return theirs.replace(**{name: getattr(config, name) for name in own} | given)


def _figures_folder(name: str | Path | None) -> Path | None:
    if not isinstance(name, str | Path | None):
        raise UserError(f"figures_dir must be the name of a folder or None, not {name!r}")
    if name is None:
        return None
    folder = files.place(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{folder} can be no folder for figures ({error.strerror})"
        raise UserError(f"{what}: give another figures_dir") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"nobody may write to {folder}: give another figures_dir")
    return folder
