"""Curves: what networks know epoch by epoch, measured on people held out of the training half.

A final figure hides when it was reached and what was lost afterwards. The test half is not touched:
the people who are searched are cut out of those who would train.
"""

from copy import copy, deepcopy
from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.autograd import grad

from upm_lib.config import Config
from upm_lib.data import splits
from upm_lib.experiments import analysis, measuring, networks
from upm_lib.experiments.bench import Bench
from upm_lib.experiments.measurement import BRANCHES
from upm_lib.learning import training
from upm_lib.learning.association import Association, unit
from upm_lib.learning.model import UPMNet
from upm_lib.retrieval import features

# Both ways to fuse, which share their networks, under the name that a curve gives them.
FUSIONS = {"fusion": False, "fusion, scaled first": True}
BATCHES = 8  # in which the pull of each term of the loss is measured


class Snapshot(NamedTuple):
    """A network in the course of its training."""

    epoch: float
    network: UPMNet
    shares: dict[str, float]  # means over the epoch's steps, share of correct pairs, and pulls


def held_out(bench: Bench, people: int) -> Bench:
    """Return the bench with so many people of each training half searched; none of the test half.

    Raises UserError as :func:`upm_lib.data.splits.held_out` does.
    """
    return replace(bench, dataset=splits.held_out(bench.dataset, people))


def pulls(network: UPMNet, trainer: training.Trainer) -> dict[str, float]:
    """Return how hard each term of Eq. (7) pulls at what a network makes of the next batches.

    The norm of the gradient of each by the unit part features, ``pull_intra`` and ``pull_cross``,
    mean over some batches; nothing for another objective.
    """
    if not isinstance(trainer.objective, Association):
        return {}
    both, alone, found = trainer.objective, copy(trainer.objective), []
    alone.config = both.config.replace(lam=0.0)
    for step in range(trainer.step, trainer.step + BATCHES):
        images, tracklet = trainer.data.batch(step, trainer.device)
        with torch.no_grad():
            x = unit(network(images).transpose(0, 1))
        x.requires_grad_()
        intra, whole = (grad(loss.loss(x, tracklet)[0], x)[0] for loss in (alone, both))
        found.append(torch.stack([intra.norm(), (whole - intra).norm()]))
    return dict(zip(("pull_intra", "pull_cross"), torch.stack(found).mean(0).tolist(), strict=True))


def follow(
    bench: Bench, config: Config, epochs: list[float], cross_until: float | None = None
) -> list[Snapshot]:
    """Train a network and return what it was after each of the epochs given.

    From the epoch ``cross_until`` on, the cross-camera term is left out (lambda is 0).
    """
    trainer, found = networks.trainer_of(bench, config), []
    steps = len(trainer.data.frame) / config.batch  # an epoch
    due = {max(1, round(epoch * steps)): epoch for epoch in epochs}

    def look(done: int) -> bool:
        if done in due:
            shares = trainer.log()[["loss", "top_share", "cyclic_share"]].tail(ceil(steps)).mean()
            correct = {"correct_share": networks.correct_share(bench, trainer)}
            network = deepcopy(trainer.result).eval()
            told = shares.to_dict() | correct | pulls(network, trainer)
            found.append(Snapshot(due[done], network, told))
        if cross_until is not None and done == round(cross_until * steps):
            trainer.objective.config = trainer.objective.config.replace(lam=0.0)
        return False

    title = f"{config.branch} k={config.k} trial {config.trial}"
    training.train(trainer, title=title if bench.progress else None, stop=look)
    return found


def curve(
    bench: Bench, method: str, trial: int, epochs: list[float], cross_until: float | None = None
) -> pd.DataFrame:
    """Return how well a method finds people after each epoch; "fusion" brings its two branches too.

    The config's length is that of the whole training; epochs beyond it have no row. For
    ``cross_until`` see :func:`follow`.

    Returns:
        Columns method, trial, epoch, rank1 and mAP (in percent), mutual (in 0..1: of the tracklets
        searched, those whose nearest in another camera chooses them back; it needs no labels), and
        of single networks loss, top_share, cyclic_share (means over the epoch), correct_share, and
        pull_intra and pull_cross as :func:`pulls` has them.
    """
    made = bench.measurement(method, trial)
    followed = [follow(bench, config, epochs, cross_until) for config in made.networks]
    rows = []
    for snapshots in zip(*followed, strict=True):
        lines: dict[str, tuple[tuple[Snapshot, ...], bool]] = {method: (snapshots, False)}
        if method == "fusion":
            lines = {name: (snapshots, scaled) for name, scaled in FUSIONS.items()}
            branches = zip(BRANCHES[method], snapshots, strict=True)
            lines |= {name: ((one,), False) for name, one in branches}
        for name, (behind, scaled) in lines.items():
            config = made.config.replace(normalise_branches=scaled)
            row = {"method": name, "trial": trial, "epoch": snapshots[0].epoch}
            shares = behind[0].shares if len(behind) == 1 else {}
            rows.append(row | _searched(bench, [s.network for s in behind], config) | shares)
    return pd.DataFrame(rows)


def _searched(bench: Bench, found: list[UPMNet], config: Config) -> dict[str, Any]:
    halves = measuring.searched(bench, config.trial)
    shown = np.union1d(halves.probe, halves.gallery)
    source = networks.source_of(bench, config)
    vectors = features.tracklet_features(found, source, shown, config)
    pair = tuple(vectors[np.searchsorted(shown, side)] for side in (halves.probe, halves.gallery))
    ranking = measuring.rank(bench, halves, (pair[0], pair[1]), config.probes)
    chosen = analysis.cyclic_pairs(vectors[None], bench.cameras(shown), config) >= 0
    metrics = measuring.metrics(ranking)
    return {"rank1": metrics["rank1"], "mAP": metrics["mAP"], "mutual": float(chosen.mean())}
