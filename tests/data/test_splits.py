"""The split of a trial: drawn, or from published lists, and the script that imports those."""

import dataclasses
import hashlib
import importlib.util
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from trees import both, made_of, write_prid

from upm_lib import runs
from upm_lib.config import UserError
from upm_lib.data import splits
from upm_lib.data.readers.sequences import prid2011
from upm_lib.data.splits import split
from upm_lib.data.tracklets import Dataset, Tracklet
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench, open_bench

SCRIPT = Path(__file__).resolve().parents[2] / "data_scripts" / "official_splits.py"
SMALL = dict(min_frames=1, steps=2, batch=4, k=2, device="cpu", progress=False)


# ---------------------------------------------------------------- drawn


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


def test_held_out_people_come_from_the_training_half_and_the_test_half_is_left_out() -> None:
    dataset = made_of(list(range(1, 21)))
    divided = splits.held_out(dataset, 4)
    for trial in (1, 11):
        whole, half = split(dataset, trial), split(divided, trial)
        shown = people_of(divided, half.probe)
        assert len(shown) == 4
        assert shown == people_of(divided, half.gallery)
        train = people_of(divided, half.train)
        assert sorted(train + shown) == people_of(dataset, whole.train)
    assert splits.key(divided, 1) != splits.key(dataset, 1)


@pytest.mark.parametrize("count", [0, 9, 10])
def test_some_must_be_held_out_and_some_must_train(count: int) -> None:
    with pytest.raises(UserError, match=f"{count} of the 10 people of a training half"):
        splits.held_out(made_of(list(range(1, 21))), count)


def test_of_an_official_division_those_who_train_are_divided_again() -> None:
    dataset = made_of(list(range(1, 11)))
    kinds = {t.person: "train" if t.person < 7 else "query" for t in dataset.tracklets}
    official = dataclasses.replace(
        dataset, subset=tuple(kinds[t.person] for t in dataset.tracklets)
    )
    divided = splits.held_out(official, 2)
    halves = [split(divided, trial) for trial in (1, 2)]
    for half in halves:
        shown, train = people_of(divided, half.gallery), people_of(divided, half.train)
        assert len(shown) == 2 and sorted(train + shown) == [1, 2, 3, 4, 5, 6]
        assert shown == people_of(divided, half.probe)
    assert len({*people_of(divided, halves[0].probe), *people_of(divided, halves[1].probe)}) > 2


def test_the_drawn_halves_of_a_trial_stay_what_they_are() -> None:
    people = (1, 2, 3, 5, 8, 13, 21, 34)
    assert splits.drawn(people, 1) == ([1, 3, 8, 13], [2, 5, 21, 34])
    assert splits.drawn(people, 2) == ([2, 3, 5, 21], [1, 8, 13, 34])


def test_a_number_as_large_as_a_date_is_a_person_like_any_other() -> None:
    def queries(people: tuple[int, int]) -> list[int]:
        seen = [(people[0], 0), (people[0], 2), (people[1], 1), (people[1], 1)]
        found = tuple(Tracklet(p, c, ("x",)) for p, c in seen * 2)
        every = Dataset("x", Path("x"), found, ("a", "b", "c"), published=(((), people),))
        return split(every, 1).probe.tolist()

    assert queries((1, 2)) == queries((20_230_419_101_500, 20_230_419_101_501)) == [0, 1]


# ---------------------------------------------------------------- published lists


LISTS = [([1, 2], [3, 4]), ([4, 2], [1, 3])]


@pytest.fixture
def root(tmp_path: Path, run_store: Path) -> str:
    """Five people in PRID2011's layout."""
    return str(write_prid(tmp_path / "five", both(dict.fromkeys((1, 2, 3, 4, 5), 2))))


def opened(root: str, **changes: object) -> Bench:
    return open_bench("prid2011", root=root, **SMALL | changes)


def sentence(act: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_trial_is_the_published_one_and_leaves_out_whom_it_does_not_name(root: str) -> None:
    splits.store("prid2011", LISTS, {})
    dataset = opened(root, splits="official").dataset
    for trial, (train, test) in enumerate(LISTS, start=1):
        halves = split(dataset, trial)
        assert people_of(dataset, halves.train) == sorted(train)
        assert people_of(dataset, halves.probe) == people_of(dataset, halves.gallery) == test
        assert [dataset.tracklets[t].camera for t in halves.train] == [0, 0, 1, 1]
        assert [dataset.tracklets[t].camera for t in halves.probe] == [0, 0]
        assert [dataset.tracklets[t].camera for t in halves.gallery] == [1, 1]
    assert people_of(dataset, np.concatenate(split(dataset, 1))) == [1, 2, 3, 4], "not 5"


def test_lists_that_are_there_change_nothing_unless_asked_for(root: str) -> None:
    before = opened(root)
    splits.store("prid2011", LISTS, {})
    after = opened(root)
    assert after.dataset == before.dataset
    assert networks.folder_of(after, after.config) == networks.folder_of(before, before.config)


def test_runs_of_drawn_and_of_published_splits_have_folders_of_their_own(root: str) -> None:
    random = opened(root)
    folders = [networks.folder_of(random, random.config)]
    for lists in (LISTS, [([1, 3], [2, 4]), LISTS[1]]):
        splits.store("prid2011", lists, {})
        bench = opened(root, splits="official")
        folders += [networks.folder_of(bench, bench.config.replace(trial=t)) for t in (1, 2)]
    drawn, first, second, other_first, same_second = folders
    assert len({drawn, first, second, other_first}) == 4
    assert same_second == second, "the run of a trial depends on that trial's list alone"


def test_a_network_is_trained_on_the_published_half(root: str) -> None:
    splits.store("prid2011", LISTS, {})
    bench = open_bench("synthetic_clean", root=root, **SMALL)  # with the small backbone
    text = sentence(lambda: measuring.measure(bench, bench.measurement("local", splits="official")))
    assert text == "splits = 'official' is not what is open here: give splits to open_bench instead"
    splits.store("synthetic_clean", LISTS, {})
    bench = open_bench("synthetic_clean", root=root, splits="official", **SMALL)
    trainer = networks.find_or_train(bench, bench.config.replace(trial=2))
    assert people_of(bench.dataset, trainer.data.tracklets) == [2, 4]
    assert (
        measuring.measure(bench, bench.measurement("local", trial=2))["config"]["splits"]
        == "official"
    )


def test_missing_lists_get_the_command_that_imports_them(root: str) -> None:
    text = sentence(lambda: opened(root, splits="official"))
    assert text.startswith("prid2011 has no published splits at ")
    assert "`python data_scripts/official_splits.py prid2011 --from FOLDER`" in text


def test_people_that_the_data_set_lacks_are_named(root: str) -> None:
    splits.store("prid2011", [([1, 77], [3, 88]), ([1, 99], [3, 88])], {})
    text = sentence(lambda: opened(root, splits="official"))
    assert f"names 3 people that {root} lacks (77, 88, 99)" in text


@pytest.mark.parametrize("trial", [3, 11])
def test_a_trial_without_a_list_is_refused(root: str, trial: int) -> None:
    splits.store("prid2011", LISTS, {})
    bench = opened(root, splits="official")
    text = sentence(lambda: measuring.measure(bench, bench.measurement("histogram", trial)))
    assert f"prid2011 has 2 published splits, so there is no trial {trial}" in text


def test_a_set_with_an_official_division_keeps_it(root: str, run_store: Path) -> None:
    plain = prid2011(root, 1)
    divided = dataclasses.replace(plain, subset=("train",) * 5 + ("query",) * 2 + ("gallery",) * 3)
    config = opened(root).config
    assert splits.chosen(divided, config.replace(splits="official")) == divided
    assert split(divided, 3).probe.tolist() == [5, 6]


STORED = {
    "no text": "",
    "a list": "[]",
    "too deep": "[" * 100_000,
    "another version": {"version": 0},
    "another data set": {"dataset": "other"},
    "no trials": {"trials": []},
    "trials that are none": {"trials": 7},
    "people that are words": {"trials": [{"train": ["../../1"], "test": ["2"]}]},
    "people that are true": {"trials": [{"train": [True], "test": [2]}]},
    "an empty half": {"trials": [{"train": [], "test": [2]}]},
    "halves that overlap": {"trials": [{"train": [1, 2], "test": [2, 3]}]},
    "a person twice": {"trials": [{"train": [1, 1], "test": [2]}]},
}


@pytest.mark.parametrize("what", STORED)
def test_stored_lists_that_are_none_are_refused(root: str, what: str) -> None:
    path = splits.store("prid2011", LISTS, {})
    change = STORED[what]
    whole = json.loads(path.read_text())
    path.write_text(change if isinstance(change, str) else json.dumps(whole | change))
    text = sentence(lambda: opened(root, splits="official"))
    assert text.startswith(str(path))
    assert "import" in text


# ---------------------------------------------------------------- the script


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("official_splits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(people: list[int]) -> str:
    """A list in the published form, one frame a tracklet; the last number is no person."""
    rows = itertools.product(enumerate(people, start=1), (1, 2))
    return "".join(
        f"cam{camera}/person_{person:04d}/0001.png {number} {camera} {2 * number + camera - 2}\n"
        for (number, person), camera in rows
    )


def write_lists(folder: Path, script: ModuleType, name: str = "PRID2011") -> list[tuple]:
    """Ten splits of 178 people in the layout of the repository; return (train, test) of each."""
    rng, found = np.random.default_rng(0), []
    for trial in range(1, 11):
        order = (3 + rng.permutation(178)).tolist()
        halves = order[:89], order[89:]
        for half, people in zip(("train", "test"), halves, strict=True):
            path = folder / script.LISTS / name / f"split{trial}" / f"{half}data.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lines(people))
        found.append(tuple(sorted(h) for h in halves))
    return found


def trust(folder: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of a folder be the published ones."""
    base = folder / script.LISTS
    known = {
        path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in base.rglob("*.txt")
    }
    monkeypatch.setattr(script, "digests", lambda: known)


@pytest.fixture
def copy(
    tmp_path: Path, run_store: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with ten splits whose files count as published."""
    write_lists(tmp_path / "copy", script)
    trust(tmp_path / "copy", script, monkeypatch)
    return tmp_path / "copy"


def imported() -> list[tuple]:
    values = runs.read_json(splits.path_of("prid2011"))
    return [(trial["train"], trial["test"]) for trial in values["trials"]]


def said(script: ModuleType, capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str]:
    """Exit code of a call of the script, and the line that it printed."""
    code = script.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert (out + err).count("\n") == 1
    return code, out + err


@pytest.mark.parametrize("below", ["", "evaluation", "evaluation/datasplits/PRID2011"])
def test_the_published_files_are_imported_from_a_copy(
    copy: Path, script: ModuleType, capsys: pytest.CaptureFixture, below: str
) -> None:
    code, text = said(script, capsys, "prid2011", "--from", copy / below)
    assert (code, text[:48]) == (0, "10 splits of 89 + 89 people (all files as publis")
    assert imported() == write_lists(copy / "again", script)


def test_the_digests_of_all_forty_files_are_known(script: ModuleType) -> None:
    known = script.digests()
    names = [
        f"{name}/{script.file_name(trial, half)}"
        for name, trial, half in itertools.product(
            ("PRID2011", "iLIDS-VID"), range(1, 11), ("train", "test")
        )
    ]
    assert sorted(known) == sorted(names)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in known.values())
    assert len(set(known.values())) == 40


def test_a_file_that_is_not_the_published_one_is_refused_and_named(
    copy: Path, script: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    file = copy / script.LISTS / "PRID2011" / "split7" / "testdata.txt"
    turned = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*turned[2:], *turned[:2]]))  # the same people in another order
    code, text = said(script, capsys, "prid2011", "--from", copy)
    assert code == 2
    assert text.startswith("error: split7/testdata.txt is not the published file")
    assert not splits.path_of("prid2011").exists()
    code, text = said(script, capsys, "prid2011", "--from", copy, "--unverified")
    assert (code, "1 files unverified" in text) == (0, True)
    source = runs.read_json(splits.path_of("prid2011"))["source"]
    assert source == {"from": "a local list", "unverified": ["split7/testdata.txt"]}


def genuine() -> bytes:
    """Lines as the public files have them: a person's number is in the path only."""
    return (
        b"cam1/person_0053/0119.png 87 1 173\n"
        b"cam1/person_0053/0120.png 87 1 173\n"
        b"cam2/person_0053/0001.png 87 2 174\n"
        b"cam1/person_0101/0001.png 88 1 175\n"
        b"cam2/person_0101/0001.png 88 2 176\n"
        b"cam1/person049/cam1_person049_02156.png 134 1 267\n"
        b"cam2/person049/cam2_person049_02609.png 134 2 268\n"
    )


def test_lines_of_both_data_sets_are_read(script: ModuleType) -> None:
    assert script.identities(genuine(), "x") == [49, 53, 101]


BAD_LINES = {
    "leads out": "cam1/person_0001/../../../0001.png 1 1 1",
    "leads out of the person": "cam1/person_0001/.. 1 1 1",
    "leads out at once": "../cam1/person_0001/0001.png 1 1 1",
    "absolute": "/cam1/person_0001/0001.png 1 1 1",
    "a drive": "C:/cam1/person_0001/0001.png 1 1 1",
    "backslashes": "cam1\\person_0001\\0001.png 1 1 1",
    "another camera than the path": "cam1/person_0001/0001.png 1 2 1",
    "a third camera": "cam3/person_0001/0001.png 1 3 1",
    "too few numbers": "cam1/person_0001/0001.png 1 1",
    "no number": "cam1/person_0001/0001.png 1 1 x",
    "another digit": "cam1/person_000\u0661/0001.png 1 1 1",
    "nothing": "",
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_line_of_another_form_is_refused_with_its_place(script: ModuleType, what: str) -> None:
    content = genuine() + BAD_LINES[what].encode() + b"\n" + genuine()
    text = sentence(lambda: script.identities(content, "split3/testdata.txt"))
    assert text.startswith("split3/testdata.txt, line 8 is not of the form")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cam1/person_0007/0001.png 9 1 1", "person 7 is in one camera only"),
        ("cam1/person_0053/0001.png 9 1 1", "do not belong together one to one"),
        ("cam1/person_0007/0001.png 87 1 1", "do not belong together one to one"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(
    script: ModuleType, line: str, words: str
) -> None:
    content = genuine() + line.encode() + b"\n"
    assert words in sentence(lambda: script.identities(content, "split3/testdata.txt"))


def rewrite(copy: Path, script: ModuleType, trial: int, half: str, act: Callable) -> None:
    path = copy / script.LISTS / "PRID2011" / script.file_name(trial, half)
    people = script.identities(path.read_bytes(), path.name)
    path.write_text(lines(act(people)))


WRONG = {
    "too few to train on": (("train", lambda p: p[1:]), "split4 has 88 people to train on and 89"),
    "too many to test": (("test", lambda p: [*p, 999]), "split4 has 89 people to train on and 90"),
    "other people": (("test", lambda p: [*p[1:], 999]), "split4 is not about the same people"),
}


@pytest.mark.parametrize("what", WRONG)
def test_splits_that_do_not_halve_the_same_people_are_refused(
    copy: Path, script: ModuleType, capsys: pytest.CaptureFixture, what: str
) -> None:
    change, words = WRONG[what]
    rewrite(copy, script, 4, *change)
    code, text = said(script, capsys, "prid2011", "--from", copy, "--unverified")
    assert code == 2
    assert words in text
    assert not splits.path_of("prid2011").exists()


def test_a_person_in_both_halves_is_named(
    copy: Path, script: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    base = copy / script.LISTS / "PRID2011"
    train = script.identities((base / "split2/traindata.txt").read_bytes(), "x")
    rewrite(copy, script, 2, "test", lambda people: [*people[1:], train[5]])
    code, text = said(script, capsys, "prid2011", "--from", copy, "--unverified")
    assert (code, text) == (2, f"error: split2: person {train[5]} is in both halves\n")


def test_a_folder_without_lists_and_an_incomplete_one_are_named(
    copy: Path, script: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    code, text = said(script, capsys, "ilids_vid", "--from", copy)
    assert code == 2
    assert "has no evaluation/datasplits/iLIDS-VID/split1/traindata.txt" in text
    gone = copy / script.LISTS / "PRID2011" / "split9" / "testdata.txt"
    gone.unlink()
    code, text = said(script, capsys, "prid2011", "--from", copy)
    assert code == 2
    assert str(gone) in text


@pytest.mark.parametrize("name", ["../../prid2011", "prid", ""])
def test_a_name_of_no_data_set_is_refused(
    copy: Path, script: ModuleType, capsys: pytest.CaptureFixture, name: str
) -> None:
    code, text = said(script, capsys, name, "--from", copy)
    assert code == 2
    assert text.startswith(f"error: unknown data set {name!r}")


def test_the_download_is_checked_too(
    copy: Path,
    script: ModuleType,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert f"/{script.COMMIT}/" in script.BASE
    assert len(script.COMMIT) == 40
    monkeypatch.setattr(script, "BASE", copy.as_uri() + "/")
    assert said(script, capsys, "prid2011", "--download")[0] == 0
    assert imported() == write_lists(copy / "again", script)
    file = copy / script.LISTS / "PRID2011" / "split1" / "traindata.txt"
    file.write_bytes(file.read_bytes() + b"\n")
    assert "leave out --unv" in said(script, capsys, "prid2011", "--download", "--unverified")[1]
    code, text = said(script, capsys, "prid2011", "--download")
    assert code == 2
    assert text.startswith("error: split1/traindata.txt is not the published file")
    file.unlink()
    code, text = said(script, capsys, "prid2011", "--download")
    assert code == 2
    assert f"{file.as_uri()} cannot be had" in text
    code, text = said(script, capsys, "synthetic_clean", "--download")
    assert (code, "has no published splits" in text) == (2, True)


def test_splits_of_a_folder_are_not_exported(
    root: str, tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    options = ("folder", "--root", Path(root) / "multi_shot", "--export", tmp_path / "lists")
    code, text = said(script, capsys, *options)
    assert (code, "need not be named as the lists name people" in text) == (2, True)
    assert not (tmp_path / "lists").exists()


def test_exported_splits_are_imported_as_they_were(
    root: str, tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "lists"
    options = ("synthetic_clean", "--root", root)
    assert said(script, capsys, *options, "--export", out)[0] == 0
    first = (out / "split1" / "traindata.txt").read_text().splitlines()[0]
    assert script.LINE.fullmatch(first)
    code, text = said(script, capsys, "synthetic_clean", "--from", out)
    assert (code, "split1/traindata.txt and 19 more is not the" in text) == (2, True)
    assert said(script, capsys, "synthetic_clean", "--from", out, "--unverified")[0] == 0
    drawn = open_bench("synthetic_clean", root=root, **SMALL)
    listed = open_bench("synthetic_clean", root=root, splits="official", **SMALL)
    for trial in range(1, 11):
        one, other = (split(b.dataset, trial) for b in (drawn, listed))
        assert all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))
