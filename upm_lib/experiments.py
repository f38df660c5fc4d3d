"""The paper's experiments as calls: open the data, find or train a network, compare the methods.

Everything is kept in the run store under a key of what it is made from, so nothing is done twice
and no change of config, data or code serves an old result.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from matplotlib.figure import Figure

from upm_lib import (
    canvas,
    data,
    distributed,
    evaluation,
    features,
    model,
    readers,
    runs,
    splits,
    synthetic,
    training,
)
from upm_lib.config import DATA_FIELDS, EVALUATION_FIELDS, Config, UserError, known, preset, to_json
from upm_lib.frozen import FrozenMaps
from upm_lib.packing import Frames, Source
from upm_lib.tracklets import UNKNOWN, Dataset

METHODS = ("histogram", "untrained", "baseline", "local", "global", "fusion")
# In percent; "mAP" is by the trapezoid rule of the paper, the last by that of the toolboxes.
METRICS = ("rank1", "rank5", "rank20", "mAP", "mAP_mean_precision")


@dataclass(frozen=True)
class Bench:
    """An open data set with the config of the experiments on it."""

    config: Config
    dataset: Dataset
    frames: Frames
    device: torch.device
    progress: bool = False
    figures_dir: Path | None = None
    scale: str = "demo"

    @property
    def is_synthetic(self) -> bool:
        """Whether its people are drawn."""
        return self.config.dataset in synthetic.WORLDS

    @property
    def label(self) -> str:
        """What the results must be called."""
        return "synthetic data" if self.is_synthetic else f"measured on {self.dataset.name}"

    def people(self, tracklets: np.ndarray) -> np.ndarray:
        """Identities of some tracklets: for evaluation only, training never sees them."""
        return np.array([self.dataset.tracklets[t].person for t in tracklets])

    def cameras(self, tracklets: np.ndarray) -> np.ndarray:
        """Cameras of some tracklets, from 0."""
        return np.array([self.dataset.tracklets[t].camera for t in tracklets])

    def images(self, tracklets: np.ndarray) -> list[np.ndarray]:
        """Return the middle frame, uint8 RGB [h, w, 3], of some tracklets."""
        index = [np.flatnonzero(self.frames.tracklet == t) for t in tracklets]
        return [self.frames.pixels[i[len(i) // 2]] for i in index]

    def clip(self, tracklet: int) -> np.ndarray:
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
    **changes: object,
) -> Bench:
    """Open a data set for experiments; the parameters are those of the notebooks.

    Args:
        dataset: one of ``config.PAPER``, such as "synthetic_clean" or "prid2011".
        scale: "demo" (a minute a network on two cores), "frozen" (trained weights, of which the
            last blocks go on learning) or "paper" (section 4.1).
        device: "cpu", "cuda"; None picks a GPU if there is one.
        progress: show progress bars.
        figures_dir: where figures are saved at print size; None: nowhere.
        changes: fields of :class:`upm_lib.config.Config`; None keeps the preset's value.

    Raises UserError with one sentence for anything that does not fit.
    """
    config = preset(dataset, scale, **changes)
    where = training.pick_device(device)
    folder = _figures_folder(figures_dir)
    with distributed.first_goes_first():
        opened = splits.chosen(readers.load(config, progress), config)
        frames = Frames(opened, progress)
    return Bench(config, opened, frames, where, progress, folder, scale)


def _figures_folder(name: str | Path | None) -> Path | None:
    if name is None:
        return None
    if not isinstance(name, str | Path):
        raise UserError(f"figures_dir must be the name of a folder or None, not {name!r}")
    folder = Path(name).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder as figures_dir")
    return folder


# ---------------------------------------------------------------- networks


def config_of(bench: Bench, method: str, trial: int = 1, **changes: object) -> Config:
    """Return the training config of "baseline" (local-aware, k = 1), "local" or "global"."""
    known(("baseline", "local", "global"), method, "network")
    if method == "baseline":
        changes = {**changes, "k": 1}
    branch = "global" if method == "global" else "local"
    return bench.config.replace(branch=branch, trial=trial, **changes)


def folder_of(bench: Bench, config: Config) -> Path:
    """Return the run folder of a config on the bench's data.

    Lists beside the frames (MARS's, or a folder's identities) may change what the same frames mean.

    Raises UserError if the config asks for other data than the bench has opened.
    """
    for name in DATA_FIELDS:
        if (value := getattr(config, name)) != getattr(bench.config, name):
            raise UserError(
                f"{name} = {value!r} is not what is open here: give {name} to open_bench instead"
            )
    made_of = (bench.frames.digest, bench.dataset.meaning())
    return runs.training_folder(config, "-".join(made_of) + splits.key(bench.dataset, config.trial))


def source_of(bench: Bench, config: Config) -> Source:
    """Return what a network of a config reads: the frames, or the maps of its frozen blocks."""
    if not config.freeze:
        return bench.frames
    return FrozenMaps(bench.frames, config, bench.device, bench.progress)


def find_or_train(bench: Bench, config: Config) -> training.Trainer:
    """Return the finished training run of a config: from the store, or trained (and resumed) now.

    A second process that wants the same run waits for the first. How fast it went is kept beside
    the run as ``speed.json``, for estimates.
    """
    folder = folder_of(bench, config)
    folder.mkdir(parents=True, exist_ok=True)
    with distributed.first_holds(FileLock(folder / "lock")):
        with distributed.first_goes_first():
            runs.remove_leftovers(folder)
        half = data.TrainingSet(bench.dataset, source_of(bench, config), config)
        trainer = training.Trainer(config, half, bench.device)
        title = f"{config.branch} k={config.k} trial {config.trial}"
        before, began = steps_done(bench, config), time.perf_counter()
        training.train(trainer, folder, progress=title if bench.progress else False)
        if distributed.size() == 1 and trainer.step > before:
            speed = {"steps": trainer.step - before, "seconds": time.perf_counter() - began}
            runs.write_json(folder / "speed.json", speed | {"device": device_name(bench.device)})
        if distributed.rank() == 0 and not (folder / "config.json").is_file():
            runs.write_json(folder / "config.json", to_json(config))
    return trainer


def steps_done(bench: Bench, config: Config) -> int:
    """Return how many steps of a run are safe in its newest checkpoint; 0 if there is none."""
    files = folder_of(bench, config).glob("step-*")
    found = (training.CHECKPOINT.fullmatch(path.name) for path in files)
    return max((int(match[1]) for match in found if match), default=0)


def device_name(device: torch.device) -> str:
    """Return what tells machines of different speed apart: "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def untrained(bench: Bench, config: Config) -> model.UPMNet:
    """Return the network before training: the control that every result must beat.

    A random trunk has no meaningful moving statistics; they are averaged over 20 training batches.
    """
    network = model.build(config).to(bench.device)
    if config.weights is None:
        half = data.TrainingSet(bench.dataset, bench.frames, config)
        norms = [m for m in network.modules() if hasattr(m, "running_mean")]
        momenta = [m.momentum for m in norms]
        for norm in norms:
            norm.momentum = None  # a plain average
        with torch.inference_mode():
            for step in range(20):
                network.train()(half.batch(step, bench.device).frames)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return network.eval()


def right_share(bench: Bench, trainer: training.Trainer) -> float:
    """Share of the cyclically consistent pairs that really are one person.

    Over all parts and tracklets, at each tracklet's last visit. Only where identities are known can
    this be told; training itself has no use for it. NaN if there is no pair of known people.
    """
    match = trainer.objective.match.cpu().numpy()  # [k, N]
    people = bench.people(trainer.data.tracklets)
    found = match >= 0
    found &= (people != UNKNOWN) & (people[match.clip(0)] != UNKNOWN)
    right = (people[match.clip(0)] == people) & found
    return float(right.sum() / found.sum()) if found.any() else float("nan")


# ---------------------------------------------------------------- results


def networks_of(bench: Bench, method: str, trial: int, **changes: object) -> list[model.UPMNet]:
    """Return the network(s) of a method for one trial: two for "fusion", one otherwise."""
    known(METHODS[1:], method, "method")
    if method == "untrained":
        return [untrained(bench, config_of(bench, "local", trial, **changes))]
    parts = ("local", "global") if method == "fusion" else (method,)
    return [find_or_train(bench, config_of(bench, m, trial, **changes)).result for m in parts]


def trial_features(
    bench: Bench, method: str, trial: int = 1, **changes: object
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit vectors of the probe [P, D] and gallery [G, D] tracklets of a trial."""
    halves = searched(bench, trial)
    both = np.r_[halves.probe, halves.gallery]
    vectors = vectors_of(bench, method, both, trial, **changes)
    return vectors[: len(halves.probe)], vectors[len(halves.probe) :]


def vectors_of(
    bench: Bench, method: str, tracklets: np.ndarray, trial: int = 1, **changes: object
) -> torch.Tensor:
    """Return the unit vectors [T, D] of any tracklets, by the networks trained in a trial."""
    known(METHODS, method, "method")
    if method == "histogram":
        return features.colour_histogram(bench.frames, tracklets)
    networks = networks_of(bench, method, trial, **changes)
    config = bench.config.replace(**changes)
    return features.tracklet_features(networks, source_of(bench, config), tracklets, config)


def searched(bench: Bench, trial: int) -> splits.Trial:
    """Return a trial in which somebody is searched; raise UserError if nothing can be evaluated."""
    halves = splits.split(bench.dataset, trial)
    if not bench.dataset.identified:
        raise UserError(
            f"{bench.dataset.root} has no identities, so nobody can tell which match is right: "
            "write an identities.csv with the columns camera,tracklet,person to evaluate "
            "(training, features and search work without)"
        )
    if not len(halves.probe):
        raise UserError(
            f"{bench.dataset.root}: no test person of trial {trial} is seen by two cameras, so "
            "nothing can be evaluated: identify more tracklets in identities.csv"
        )
    return halves


def ranked(
    bench: Bench, method: str, probes: Sequence[int], trial: int = 1, top: int = 5
) -> tuple[list[list[np.ndarray]], list[list[bool]]]:
    """Return, for some probes of a trial, the images that rank first and whether they are right.

    Junk (section 4.1: the same person in the same camera, where queries are searched in a gallery)
    ranks last.

    Args:
        bench: the data.
        method: one of ``METHODS``.
        probes: places in the trial's list of probes.
        trial: its number.
        top: how many images a probe gets.
    """
    halves = searched(bench, trial)
    probe, gallery = trial_features(bench, method, trial)
    distances = evaluation.distances(probe[list(probes)], gallery)
    if bench.dataset.protocol == "query and gallery":
        chosen = halves.probe[list(probes)]
        same = [bench.people(side) for side in (chosen, halves.gallery)]
        seen = [bench.cameras(side) for side in (chosen, halves.gallery)]
        junk = (same[0][:, None] == same[1]) & (seen[0][:, None] == seen[1])
        distances[torch.from_numpy(junk)] = torch.inf
    order = torch.argsort(distances, dim=1, stable=True)[:, :top]
    found = [halves.gallery[row] for row in order.numpy()]
    people = bench.people(halves.probe[list(probes)])
    right = [(bench.people(f) == p).tolist() for f, p in zip(found, people, strict=True)]
    return [bench.images(f) for f in found], right


def measure(bench: Bench, method: str, trial: int = 1, **changes: object) -> dict:
    """Return the metrics of a method on one trial, from the store if it is there.

    The record holds rank1, rank5, rank20, mAP (trapezoid rule), mAP_mean_precision (all in
    percent), the CMC up to rank 20, the config, the seconds of this call and the versions.
    """
    path = _result_path(bench, method, trial, changes)
    if path.is_file():
        return runs.read_json(path)
    config = _result_config(bench, method, trial, changes)
    began = time.perf_counter()
    halves = searched(bench, trial)
    found = rank(bench, halves, trial_features(bench, method, trial, **changes), config.probes)
    cmc = found.cmc(20)
    record = {
        "dataset": bench.config.dataset,
        "synthetic": bench.is_synthetic,
        "method": method,
        "trial": trial,
        "k": config.k,
        "cmc": cmc.tolist(),
        **{f"rank{r}": 100 * float(cmc[r - 1]) for r in (1, 5, 20)},
        "mAP": 100 * float(np.nanmean(found.average_precision("trapezoid"))),
        "mAP_mean_precision": 100 * float(np.nanmean(found.average_precision("mean_precision"))),
        "seconds": time.perf_counter() - began,
        "config": to_json(config),
        "versions": runs.versions(),
        "source": "measured",
    }
    runs.write_json(path, record)
    return record


def rank(
    bench: Bench, halves: splits.Trial, vectors: tuple[torch.Tensor, torch.Tensor], probes: str
) -> evaluation.Ranking:
    """Rank by the protocol of the data set: two cameras, or query and gallery with junk."""
    sides = (halves.probe, halves.gallery)
    people = [bench.people(side) for side in sides]
    if bench.dataset.protocol == "two cameras":
        return evaluation.rank_two_cameras(*vectors, *people, probes)
    cameras = [bench.cameras(side) for side in sides]
    return evaluation.rank(*vectors, *people, *cameras)


def _result_config(bench: Bench, method: str, trial: int, changes: dict) -> Config:
    """Return the config of a result; of the local-aware network where it is no single network."""
    known(METHODS, method, "method")
    network = method if method in ("baseline", "global") else "local"
    return config_of(bench, network, trial, **changes)


def _result_path(bench: Bench, method: str, trial: int, changes: dict) -> Path:
    """Name a result by the runs it rests on, so that it can be found without making it."""
    config = _result_config(bench, method, trial, changes)
    name = f"{method}-k{config.k}-trial{trial}-{result_key(bench, config)}.json"
    return runs.store() / "results" / bench.config.dataset / name


def result_key(bench: Bench, config: Config) -> str:
    """Return a digest of what features rest on: both networks' runs, pooling, and the code."""
    made_of = {
        "runs": [folder_of(bench, config.replace(branch=b)).name for b in ("local", "global")],
        "fields": [getattr(config, name) for name in EVALUATION_FIELDS],
        "code": runs.code_digest("features", "evaluation"),
    }
    return runs.digest(made_of)


def find(bench: Bench, method: str, trial: int = 1, **changes: object) -> dict | None:
    """Return what :func:`measure` stored, or None if it has not been run."""
    path = _result_path(bench, method, trial, changes)
    return runs.read_json(path) if path.is_file() else None


def trial_numbers(trials: int | str) -> list[int]:
    """Return the numbers of the trials asked for: 3 and "3" mean 1 to 3, else "1-10" or "1,3,5"."""
    text = str(trials) if isinstance(trials, int | str) else ""
    pieces = [re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip()) for part in text.split(",")]
    spans = [(int(p[1]), int(p[2] or p[1])) if p else (0, 0) for p in pieces]
    if not all(1 <= first <= last for first, last in spans) or isinstance(trials, bool):
        raise UserError(
            f"trials must be a whole number from 1, a range such as 1-10 or a list such as 1,3,5, "
            f"not {trials!r}"
        )
    if len(pieces) == 1 and not pieces[0][2]:
        return list(range(1, spans[0][1] + 1))
    return sorted({trial for first, last in spans for trial in range(first, last + 1)})


def compare(
    bench: Bench, methods: Sequence[str] = METHODS, trials: int | str = 1, **changes: object
) -> pd.DataFrame:
    """Measure several methods on trials (:func:`trial_numbers`): one row a method and trial."""
    if isinstance(methods, str):
        raise UserError(f"methods is a list of names, such as [{methods!r}]")
    rows = [
        measure(bench, method, trial, **changes)
        for trial in trial_numbers(trials)
        for method in methods
    ]
    return pd.DataFrame(rows)[["method", "trial", "k", *METRICS, "cmc"]]


def summary(rows: pd.DataFrame, by: str = "method") -> pd.DataFrame:
    """Return metrics in percent, mean ± standard deviation if there are several trials.

    Args:
        rows: from :func:`compare`.
        by: the column that names the lines; they keep the order in which they first appear.
    """
    groups = rows.groupby(by, sort=False)[list(METRICS)]
    mean, spread, several = groups.mean(), groups.std(), groups.size() > 1
    table = mean.map("{:.1f}".format)
    return table.where(~several, table + " ± " + spread.map("{:.1f}".format), axis=0)
