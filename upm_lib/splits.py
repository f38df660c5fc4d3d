"""Which tracklets train and which are searched: trials of two-camera sets, official divisions."""

from typing import NamedTuple

import numpy as np

from upm_lib.readers import Dataset


class Trial(NamedTuple):
    """What trains and what is searched: indices into ``Dataset.tracklets``."""

    train: np.ndarray
    probe: np.ndarray  # test people in camera A, or the queries of an official division
    gallery: np.ndarray  # the same people in camera B, or the official gallery


def split(dataset: Dataset, trial: int) -> Trial:
    """Return the half/half split of the identities that belongs to a trial number (section 4.1).

    The split depends on nothing but the identities and the number. Camera A is the probe. A set
    with an official division has that one in every trial; a trial then only draws its batches anew.
    """
    if dataset.subset:
        kinds = np.array(dataset.subset)
        return Trial(*(np.flatnonzero(kinds == name) for name in ("train", "query", "gallery")))
    people = np.array(dataset.people)
    order = np.random.default_rng([2011, trial]).permutation(len(people))
    train = set(people[order[: len(people) // 2]].tolist())
    kinds = [(t.person in train, t.camera) for t in dataset.tracklets]
    train_index = np.flatnonzero([is_train for is_train, _ in kinds])
    test = [np.flatnonzero([k == (False, camera) for k in kinds]) for camera in (0, 1)]
    return Trial(train_index, *test)
