"""Measuring: vectors of a trial's tracklets, their ranks, and the record that is kept of them.

A record lies in the run store under a key of config, data and the code that trains, describes and
ranks (``runs.TRAINING_CODE``, ``MEASURING_CODE``), so nothing is done twice and no change of these
serves an old result.
"""

import time
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from upm_lib import distributed, runs
from upm_lib.config import EVALUATION_FIELDS, UserError, to_json
from upm_lib.data import splits
from upm_lib.experiments import networks
from upm_lib.experiments.bench import Bench
from upm_lib.experiments.measurement import Measurement, trial_numbers
from upm_lib.retrieval import evaluation, features

# In percent; "mAP" is by the trapezoid rule of the paper, the last by that of the toolboxes.
METRICS = ("rank1", "rank5", "rank20", "mAP", "mAP_mean_precision")
BLOCK = 640  # frames that are described at a time, about
NO_MATCH = "no query of this trial has a match in another camera, so nothing can be measured"
TOP = 7  # gallery images that a ranked list shows, as in Fig. 7


def vectors(bench: Bench, measurement: Measurement, tracklets: NDArray[np.int64]) -> Tensor:
    """Return the unit vectors [T, D] of any tracklets, by the networks of a measurement.

    Of a long description that ends early, what is done is kept, and the next call goes on.
    """
    if measurement.method == "histogram":
        return features.colour_histogram(bench.frames, tracklets)
    config = measurement.config
    found = [features.folded(network) for network in networks.of(bench, measurement)]
    source = networks.source_of(bench, config)
    if distributed.size() > 1:  # they share the tracklets, and keep nothing
        return features.tracklet_features(found, source, tracklets, config, bench.progress)

    counts = np.bincount(source.rows(tracklets), minlength=len(tracklets))
    groups = [tracklets[group] for group in features.groups(counts.tolist(), BLOCK)]

    def described(number: int) -> NDArray[np.float32]:
        return features.tracklet_features(found, source, groups[number], config).numpy()

    path = _path(bench, measurement).with_suffix(f".{runs.digest(tracklets.tolist())}.npy")
    dim = sum(network.k * network.dim for network in found)
    title = "features" if bench.progress else None
    with runs.lock(path.with_name(f"{path.name}.lock")):
        runs.write_array(path, len(groups), described, (dim,), np.float32, title=title)
        made = torch.from_numpy(np.array(runs.read_array(path)))
        runs.remove(path)
    return made


def trial_vectors(bench: Bench, measurement: Measurement) -> tuple[Tensor, Tensor]:
    """Return unit vectors of the probe [P, D] and gallery [G, D] tracklets of a trial."""
    halves = searched(bench, measurement.config.trial)
    shown = np.union1d(halves.probe, halves.gallery)  # a query may lie in the gallery as well
    made = vectors(bench, measurement, shown)
    probe, gallery = (made[np.searchsorted(shown, side)] for side in halves[1:])
    return probe, gallery


def searched(bench: Bench, trial: int) -> splits.Trial:
    """Return a trial in which somebody is searched; raise UserError if nothing can be evaluated."""
    halves = bench.split(trial)
    if not bench.dataset.identified:
        raise UserError(
            f"{bench.dataset.root} has no identities, so nobody can tell which match is correct: "
            "write an identities.csv with the columns camera,tracklet,person to evaluate "
            "(training, features and search work without)"
        )
    if not len(halves.probe):
        what = f"{bench.dataset.root}: no test person of trial {trial} is seen by two cameras"
        advice = "identify more tracklets in identities.csv"
        raise UserError(f"{what}, so nothing can be evaluated: {advice}")
    return halves


def true_pairs(bench: Bench, trial: int, count: int) -> NDArray[np.int64]:
    """Return two tracklets of each of the first people who are searched in a trial: [P, 2].

    The first is a query, the second from another camera; there are at most ``count`` people.
    Raises UserError as :func:`searched` does, and if nobody was seen by two cameras.
    """
    halves = searched(bench, trial)
    seen: dict[int, dict[int, int]] = {person: {} for person in bench.people(halves.probe)}
    for number in (*halves.probe, *halves.gallery):
        tracklet = bench.dataset.tracklets[number]
        if tracklet.person in seen:  # nobody asks for the others of a gallery
            seen[tracklet.person].setdefault(tracklet.camera, number)
    pairs = [[*cameras.values()][:2] for cameras in seen.values() if len(cameras) > 1]
    if not pairs:
        raise UserError(f"{bench.dataset.root}: {NO_MATCH}")
    return np.array(pairs[:count])


def _labels(bench: Bench, tracklets: NDArray[np.int64]) -> evaluation.Labels:
    return evaluation.Labels(bench.people(tracklets), bench.cameras(tracklets))


def rank(
    bench: Bench, halves: splits.Trial, pair: tuple[Tensor, Tensor], probes: str
) -> evaluation.Ranking:
    """Rank by the protocol of the data set: two cameras, or query and gallery with junk."""
    labels = _labels(bench, halves.probe), _labels(bench, halves.gallery)
    if bench.dataset.protocol == "two cameras":
        return evaluation.rank_two_cameras(*pair, *labels, probes)
    return evaluation.rank(*pair, *labels)


class Ranked(NamedTuple):
    """The gallery that ranks first for some probes, a list each, nearest first."""

    images: list[list[NDArray[np.uint8]]]
    correct: list[list[bool]]
    distances: list[list[float]]


def ranked(bench: Bench, measurement: Measurement, probes: Sequence[int]) -> Ranked:
    """Return what ranks first for some probes of a trial, which are places in the trial's list.

    Junk (section 4.1: the same person in the same camera, where queries are searched in a gallery)
    ranks last, at infinity, and is not correct.
    """
    halves = searched(bench, measurement.config.trial)
    probe, gallery = trial_vectors(bench, measurement)
    chosen = halves.probe[list(probes)]
    same = bench.people(chosen)[:, None] == bench.people(halves.gallery)
    seen = bench.cameras(chosen)[:, None] == bench.cameras(halves.gallery)
    distances = evaluation.distances(probe[list(probes)], gallery).numpy()
    distances[same & seen] = np.inf
    order = distances.argsort(1, kind="stable")[:, :TOP]
    return Ranked(
        [bench.images(halves.gallery[row]) for row in order],
        np.take_along_axis(same & ~seen, order, 1).tolist(),
        np.take_along_axis(distances, order, 1).tolist(),
    )


def metrics(found: evaluation.Ranking) -> dict[str, float]:
    """Return METRICS of a ranking, in percent; a query without a match has no share in the mAPs."""
    cmc = found.cmc(20)
    rules = {"mAP": "trapezoid", "mAP_mean_precision": "mean_precision"}
    means = {name: np.nanmean(found.average_precision(rule)) for name, rule in rules.items()}
    return {f"rank{r}": 100 * float(cmc[r - 1]) for r in (1, 5, 20)} | {
        name: 100 * float(mean) for name, mean in means.items()
    }


def measure(bench: Bench, measurement: Measurement) -> dict[str, Any]:
    """Return the metrics of a method on one trial, from the store if they are there.

    The record holds rank1, rank5, rank20, mAP (trapezoid rule), mAP_mean_precision (all in
    percent), the CMC up to rank 20, the config, the seconds of this call and the versions. Of
    several processes, the first looks for a record and writes it.
    """
    if record := distributed.from_first(lambda: find(bench, measurement)):
        return record
    config = measurement.config
    began = time.perf_counter()
    halves = searched(bench, config.trial)
    found = rank(bench, halves, trial_vectors(bench, measurement), config.probes)
    if not any(map(len, found.ranks)):
        raise UserError(f"{bench.dataset.root}: {NO_MATCH}")
    record = {
        "dataset": config.dataset,
        "synthetic": bench.is_synthetic,
        "method": measurement.method,
        "trial": config.trial,
        "k": config.k,
        "cmc": found.cmc(20).tolist(),
        **metrics(found),
        "seconds": time.perf_counter() - began,
        "config": to_json(config),
        "versions": runs.versions(),
        "device": networks.device_name(bench.device),
        "threads": torch.get_num_threads(),
        "source": "measured",
    }
    if distributed.rank() == 0:
        runs.write_json(_path(bench, measurement), record)
    return record


def by_camera_pair(bench: Bench, measurement: Measurement) -> pd.DataFrame:
    """Return the CMC of one trial for each pair of cameras, as a set of these two cameras.

    For every two cameras the trial's queries of one are searched in the gallery of the other, by
    the vectors that :func:`measure` ranks. With WARD this is what its literature reports, 35 test
    people in each search: cameras 1-2, 1-3 and 2-3 are the rows with ``probe`` before ``gallery``.

    Columns method, trial, probe and gallery (the cameras' names), queries (how many), rank1, rank5
    and rank20 (in percent). A pair of cameras in which nobody can be searched has no row.
    """
    trial, names = measurement.config.trial, bench.dataset.cameras
    halves = searched(bench, trial)
    both = trial_vectors(bench, measurement)
    labels = _labels(bench, halves.probe), _labels(bench, halves.gallery)
    rows = []
    for probe, gallery in permutations(range(len(names)), 2):
        found = evaluation.rank_camera_pair(*both, *labels, (probe, gallery))
        if not found.ranks:
            continue
        cmc = 100 * found.cmc(20)
        row = {"method": measurement.method, "trial": trial}
        row |= {"probe": names[probe], "gallery": names[gallery], "queries": len(found.ranks)}
        rows.append(row | {f"rank{r}": float(cmc[r - 1]) for r in (1, 5, 20)})
    return pd.DataFrame(rows)


def find(bench: Bench, measurement: Measurement) -> dict[str, Any] | None:
    """Return the record that :func:`measure` stored, or None if it has not been run.

    One of an older version, which lacks a metric, is passed over.
    """
    record = runs.find_json(_path(bench, measurement))
    return record if record and record.keys() >= {*METRICS, "cmc"} else None


def _path(bench: Bench, measurement: Measurement) -> Path:
    config = measurement.config
    name = f"{measurement.method}-k{config.k}-trial{config.trial}-{key(bench, measurement)}.json"
    return runs.store() / "results" / config.dataset / name


def key(bench: Bench, measurement: Measurement) -> str:
    """Return a digest of what vectors rest on: the networks' runs, the pooling, and the code."""
    behind = measurement.networks or (measurement.config,)
    made_of = {
        "runs": [networks.folder_of(bench, config).name for config in behind],
        "fields": [getattr(measurement.config, name) for name in EVALUATION_FIELDS],
        "code": runs.code_digest(*runs.MEASURING_CODE),
    }
    return runs.digest(made_of)


def compare(
    bench: Bench, methods: Sequence[str] | None = None, trials: int | str = 1, **changes: Any
) -> pd.DataFrame:
    """Measure several methods on trials: one row a method and trial.

    Without methods, all that the bench can measure. ``trials`` is read by
    :func:`upm_lib.experiments.measurement.trial_numbers`.
    """
    if isinstance(methods, str):
        raise UserError(f"methods is a list of names, such as [{methods!r}]")
    rows = [
        measure(bench, bench.measurement(method, trial, **changes))
        for trial in trial_numbers(trials)
        for method in (bench.methods if methods is None else methods)
    ]
    return pd.DataFrame(rows)[["method", "trial", "k", *METRICS, "cmc"]]


def summary(rows: pd.DataFrame, by: str = "method") -> pd.DataFrame:
    """Return metrics of :func:`compare` in percent: mean ± standard deviation over several trials.

    The column ``by`` names the lines; they keep the order in which they first appear.
    """
    return rows.groupby(by, sort=False)[list(METRICS)].agg(spread)


def spread(values: "pd.Series[float]", digits: int = 1) -> str:
    """Return the mean and, of several values, the standard deviation as text."""
    several = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{several}"


def mean_interval(differences: Any) -> tuple[Any, Any, Any]:
    """Return the mean of paired differences and its 95 % interval (low, high) by Student's t.

    A series gives numbers, a table a series each, by column.
    """
    mean = differences.mean()
    half = special.stdtrit(differences.count() - 1, 0.975) * differences.sem()
    return mean, mean - half, mean + half
