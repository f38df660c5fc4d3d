"""The split of a trial: drawn, or from published lists, and the script that imports those."""

import numpy as np
import pytest
from trees import made_of

from upm_lib.readers import Dataset
from upm_lib.splits import split

# ---------------------------------------------------------------- split


@pytest.mark.parametrize("count", [2, 7, 8, 178])
def test_a_split_is_half_and_half_and_disjoint(count: int) -> None:
    dataset = made_of(list(range(1, count + 1)))
    trial = split(dataset, 1)
    person = np.array([t.person for t in dataset.tracklets])
    camera = np.array([t.camera for t in dataset.tracklets])
    train, test = set(person[trial.train]), set(person[trial.probe])
    assert len(train) == count // 2, "with an odd number the test half is the larger one"
    assert len(test) == count - count // 2
    assert not train & test
    assert len(trial.train) == 2 * len(train), "both tracklets of each training person"
    assert sorted(np.concatenate(trial).tolist()) == list(range(2 * count))
    assert np.array_equal(person[trial.probe], person[trial.gallery])
    assert set(camera[trial.probe]) == {0}
    assert set(camera[trial.gallery]) == {1}


def people_of(dataset: Dataset, tracklets: np.ndarray) -> list[int]:
    return sorted({dataset.tracklets[t].person for t in tracklets})


def test_a_split_depends_on_the_people_and_the_number_only() -> None:
    people = [3, 5, 8, 13, 21, 34]
    one, other = made_of(people), made_of(people[::-1], frames=9, name="other")
    for trial in (1, 2, 10):
        halves = [people_of(d, split(d, trial).train) for d in (one, other, one)]
        assert halves[0] == halves[1] == halves[2]


def test_trials_differ() -> None:
    dataset = made_of(list(range(20)))
    halves = {tuple(people_of(dataset, split(dataset, trial).train)) for trial in range(1, 11)}
    assert len(halves) == 10
