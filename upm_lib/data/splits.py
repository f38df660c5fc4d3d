"""Which tracklets train and which are searched: trials of two-camera sets, official divisions."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from upm_lib import files, runs
from upm_lib.config import Config, UserError
from upm_lib.data.tracklets import SUBSETS, UNKNOWN, Dataset

VERSION = 1  # of the stored lists' format
PUBLISHED = ("prid2011", "ilids_vid")  # whose ten lists the paper's code has


class Trial(NamedTuple):
    """What trains and what is searched: indices into ``Dataset.tracklets``."""

    train: np.ndarray
    probe: np.ndarray  # test people in camera A, or the queries
    gallery: np.ndarray  # the same people in camera B, or what the queries are searched in


def split(dataset: Dataset, trial: int) -> Trial:
    """Return the half/half split of the identities that belongs to a trial number (section 4.1).

    A set opened with its published lists has the list of that number; people it does not name are
    left out. Otherwise the split is drawn, and depends on nothing but the identities and the
    number. Camera A is the probe. A set with an official division has that one in every trial; a
    trial then only draws its batches anew.

    Without a division but with more cameras (``Dataset.protocol``) each test person's first
    tracklet in each camera is a query, if another camera saw the person too, and the gallery is
    all test tracklets. A tracklet without an identity trains, and is never searched or found; if
    nobody has one, there are no probes.

    Raises UserError if there are published lists, but none of this number.
    """
    if dataset.subset:
        train, query, gallery = (np.array(dataset.subset) == name for name in SUBSETS)
        gallery |= query & dataset.queries_in_gallery
        return Trial(*(np.flatnonzero(side) for side in (train, query, gallery)))
    train, test = published(dataset, trial) if dataset.published else drawn(dataset.people, trial)
    people, camera = np.array([(t.person, t.camera) for t in dataset.tracklets]).T
    trains, tested = np.isin(people, [UNKNOWN, *train]), np.isin(people, test)
    if dataset.protocol == "two cameras":
        sides = [np.flatnonzero(tested & (camera == number)) for number in (0, 1)]
    else:
        gallery = np.flatnonzero(tested)
        sides = [_queries(gallery, people, camera), gallery]
    return Trial(np.flatnonzero(trains), *sides)


def _queries(tracklets: np.ndarray, people: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Return each person's first tracklet in each camera, of people whom two cameras saw."""
    pairs = np.stack([people[tracklets], camera[tracklets]], 1)
    seen, first = np.unique(pairs, axis=0, return_index=True)
    # Not bincount: a person's number may be as large as a date.
    _, who, cameras = np.unique(seen[:, 0], return_inverse=True, return_counts=True)
    return np.sort(tracklets[first[cameras[who] > 1]])


def drawn(identities: tuple[int, ...], trial: int) -> tuple[list[int], list[int]]:
    """Return the people that train and those that test, drawn at random for a trial number."""
    people = np.array(identities)
    order = np.random.default_rng([2011, trial]).permutation(len(people))
    half = len(people) // 2
    return sorted(people[order[:half]].tolist()), sorted(people[order[half:]].tolist())


def published(dataset: Dataset, trial: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the people that train and those that test in a published trial, counted from 1."""
    if not 1 <= trial <= len(dataset.published):
        there_are = f"{dataset.name} has {len(dataset.published)} published splits"
        advice = "choose a smaller one or splits = 'random'"
        raise UserError(f"{there_are}, so there is no trial {trial}: {advice}")
    return dataset.published[trial - 1]


def held_out(dataset: Dataset, people: int, trials: int = 20) -> Dataset:
    """Return the data set with the training half of each trial divided again.

    So many of its people, drawn for the trial's number, are searched, the others train, and the
    test half is left out: on people held out like this a choice may be made. Those who train by an
    official division are divided anew in each trial.

    Raises UserError if fewer than two people would be left to train, or none to search.
    """
    kinds = zip(dataset.tracklets, dataset.subset, strict=False)  # () if the halves are drawn
    official = sorted({t.person for t, kind in kinds if kind == "train"} - {UNKNOWN})
    divided = []
    for trial in range(1, trials + 1):
        train = official or drawn(dataset.people, trial)[0]
        if not 1 <= people <= len(train) - 2:
            what = f"{people} of the {len(train)} people of a training half cannot be held out"
            raise UserError(f"{what}: at least 1 must be, and at least 2 must be left to train")
        order = np.random.default_rng([2011, trial, people]).permutation(train).tolist()
        divided.append((tuple(sorted(order[people:])), tuple(sorted(order[:people]))))
    return dataclasses.replace(dataset, published=tuple(divided), subset=())


def key(dataset: Dataset, trial: int) -> str:
    """Return what a trial's split adds to the key of a run: nothing if it is drawn."""
    return "-" + runs.digest(published(dataset, trial)) if dataset.published else ""


def path_of(name: str) -> Path:
    """Return where the published lists of a data set lie in the run store."""
    return runs.store() / "splits" / f"{name}.json"


def store(name: str, trials: list[tuple[list[int], list[int]]], source: dict[str, Any]) -> Path:
    """Keep lists of (people that train, people that test), one a trial, and where they are from."""
    values = {
        "version": VERSION,
        "dataset": name,
        "source": source,
        "trials": [{"train": sorted(train), "test": sorted(test)} for train, test in trials],
    }
    runs.write_json(path_of(name), values)
    return path_of(name)


def chosen(dataset: Dataset, config: Config) -> Dataset:
    """Return the data set with its published lists if the config asks for them.

    A set with an official division has no such lists and stays as it is.

    Raises UserError if the lists are missing, damaged, or name people that the data set lacks.
    """
    if config.splits == "random" or dataset.subset:
        return dataset
    path = path_of(dataset.name)
    if not path.exists():
        what = f"{dataset.name} has no published splits at {path}"
        script = f"python data_scripts/official_splits.py {dataset.name} --from FOLDER"
        way = f"import them with `{script}`"
        if dataset.name in PUBLISHED:
            raise UserError(f"{what}: {way} (or --download), or choose splits = 'random'")
        what = f"nobody has published splits of {dataset.name}"
        raise UserError(f"{what}: choose splits = 'random' (lists of your own: {way})")
    trials = _read(path, dataset.name)
    lacking = sorted({p for halves in trials for half in halves for p in half} - {*dataset.people})
    if lacking:
        few = ", ".join(map(str, lacking[:5])) + (" ..." if len(lacking) > 5 else "")
        what = f"{path} names {len(lacking)} people that {dataset.root} lacks ({few})"
        advice = "complete the data set, check min_frames, or choose splits = 'random'"
        raise UserError(f"{what}: {advice}")
    return dataclasses.replace(dataset, published=trials)


def _read(path: Path, name: str) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Read stored lists; nothing in them is a path, and nothing is executed."""
    try:
        with files.readable():
            values = runs.read_json(path)
        if (values["version"], values["dataset"]) != (VERSION, name):
            raise ValueError("another version or data set")
        trials = tuple((tuple(t["train"]), tuple(t["test"])) for t in values["trials"])
        for train, test in trials:
            if not all(type(person) is int for person in train + test):
                raise ValueError("a person who is not a number")
            if not train or not test or len({*train, *test}) < len(train + test):
                raise ValueError("halves that are empty or overlap")
    except UserError as error:
        again = "import its lists again with data_scripts/official_splits.py"
        raise UserError(f"{error}: {again}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        advice = "remove it and import them again with data_scripts/official_splits.py"
        raise UserError(f"{path} does not hold splits of {name}: {advice}") from error
    if not trials:
        raise UserError(f"{path} holds no trial: import the splits of {name} again")
    return trials
