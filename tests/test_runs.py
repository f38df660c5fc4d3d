"""The run store: where it is, atomic writes, and the key of a training run."""

import contextlib
import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_lib import runs
from upm_lib.config import Caution, Config, UserError, training_fields
from upm_lib.runs import read_json, record, replacing, store, training_folder, write_json

ROOT = Path(__file__).resolve().parents[1]


# ---------------------------------------------------------------- place


def test_the_store_is_in_the_checkout_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("UPM_RUNS", raising=False)
        else:
            monkeypatch.setenv("UPM_RUNS", value)
        for folder in (ROOT, ROOT / "notebooks", tmp_path):
            monkeypatch.chdir(folder)
            assert store() == ROOT / "runs"


def test_an_environment_variable_moves_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPM_RUNS", str(tmp_path / "elsewhere"))
    assert store() == tmp_path / "elsewhere"
    assert not store().exists(), "asking creates nothing"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UPM_RUNS", "~/mine")
    assert store() == tmp_path / "mine"


def test_an_address_is_no_place_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPM_RUNS", "s3://bucket/runs")
    with pytest.raises(UserError, match="s3://bucket/runs is no path: give a file or a folder of"):
        store()


def test_a_relative_store_is_the_same_from_the_root_and_from_the_notebooks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UPM_RUNS", "my_runs")
    found = set()
    for folder in (ROOT, ROOT / "notebooks"):
        monkeypatch.chdir(folder)
        found.add(store())
    assert len(found) == 1


def test_an_installed_copy_keeps_its_runs_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UPM_RUNS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(runs, "repo_root", lambda: None)
    assert store() == tmp_path / ".cache" / "upm_lib" / "runs"


def test_the_checkout_knows_itself() -> None:
    assert runs.repo_root() == ROOT


# ---------------------------------------------------------------- writing


def test_a_finished_write_is_the_new_content_alone_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent, "moving within a file system is atomic"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("exists", [True, False])
def test_an_interrupted_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, exists: bool, error: type[BaseException]
) -> None:
    path = tmp_path / "file.txt"
    if exists:
        path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert os.listdir(tmp_path) == (["file.txt"] if exists else [])
    if exists:
        assert path.read_text() == "old"


def killed_while_writing(*paths: Path, folder: bool = False) -> None:
    """Leave behind what a process leaves that is killed within the block: nothing is tidied up."""
    pid = os.fork()
    if not pid:
        try:
            begun = [replacing(path, folder) for path in paths]  # what is let go of is tidied up
            for temporary in [context.__enter__() for context in begun]:
                (temporary / "file.txt" if folder else temporary).write_text("half of the n")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def test_what_a_killed_write_left_is_swept_by_the_next_write_and_nothing_else(
    tmp_path: Path,
) -> None:
    mine = ("file.txt", ".hidden", "half.part", ".file.txt.part", ".file.txt.upm-part.txt")
    for name in mine:
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    killed_while_writing(tmp_path / "file.txt", tmp_path / "inner" / "file.txt")
    assert len(list(tmp_path.iterdir())) == len(mine) + 2
    with replacing(tmp_path / "other.txt") as beside:
        with replacing(tmp_path / "other still.txt") as temporary:
            temporary.write_text("new")
        assert beside.exists(), "whoever still writes keeps the file"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [*mine, "inner", "other.txt", "other still.txt"]
    )
    assert len(list((tmp_path / "inner").iterdir())) == 1


def test_what_killed_writes_left_in_the_store_is_swept(run_store: Path) -> None:
    places = ("maps/a.npy", "results/set/b.json", "training/set/run/step-1", "data/world")
    for place in places[:-1]:
        (run_store / place).parent.mkdir(parents=True)
    killed_while_writing(*(run_store / place for place in places))
    left = [p for p in run_store.rglob("*") if p.is_file()]
    assert len(left) == len(places)
    runs.sweep_store()
    assert not [p for p in run_store.rglob("*") if p.is_file()]


def test_locks_are_asked_for_as_network_storage_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS locks only what is open for writing, which a folder cannot be (flock(2))."""
    flock = runs.fcntl.flock

    def of_nfs(handle: int, how: int) -> None:
        if runs.fcntl.fcntl(handle, runs.fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(handle, how)

    monkeypatch.setattr(runs.fcntl, "flock", of_nfs)
    write_json(tmp_path / "file.json", {})
    with replacing(tmp_path / "folder", folder=True) as temporary:
        (temporary / "file.txt").touch()
        runs.sweep(tmp_path)
    killed_while_writing(tmp_path / "a", tmp_path / "b")
    killed_while_writing(tmp_path / "c", tmp_path / "d", folder=True)
    runs.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.json", "folder"]
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["file.txt"]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing(tmp_path / "world", folder=True) as temporary:
        (temporary / "1.png").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with replacing(tmp_path / "world", folder=True) as temporary:
        (temporary / "1.png").touch()
        assert not (tmp_path / "world").exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["world", "1.png"]


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old content")
    with path.open() as reader:
        with replacing(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old content"
    assert path.read_text() == "new"


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    values = {"b": [1, 2.5, None, True, float("inf")], "a": {"é": "ü"}}
    write_json(tmp_path / "values.json", values)
    assert read_json(tmp_path / "values.json") == values
    assert list(json.loads((tmp_path / "values.json").read_text())) == ["a", "b", "sha256"]


def test_values_that_are_no_json_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["values.json"]


def test_an_array_comes_back_as_it_was_written_block_by_block(tmp_path: Path) -> None:
    rows = np.arange(60, dtype=np.float16).reshape(10, 2, 3)
    path = tmp_path / "rows.npy"
    blocks = [rows[:4], rows[4:4], rows[4:7]]
    assert runs.write_array(path, 3, blocks.__getitem__, (2, 3), np.float16) == [1]
    assert np.array_equal(runs.read_array(path), rows[:7])
    assert np.array_equal(np.load(path), rows[:7]), "any program reads it"
    assert os.listdir(tmp_path) == ["rows.npy"]


def block(number: int) -> np.ndarray:
    """Three rows, but none in block 2."""
    return np.full((3 * (number != 2), 2), number, np.uint8)


def write_until(path: Path, end: BaseException | None, at: int, mark: str = "") -> list[int]:
    """Write six blocks, or stop before one of them; return those that were made."""
    made = []

    def make(number: int) -> np.ndarray:
        if end and number == at:
            raise end
        made.append(number)
        return block(number)

    with contextlib.suppress(*[type(end)] if end else []):
        assert runs.write_array(path, 6, make, (2,), np.uint8, mark) == [2]
    return made


@pytest.fixture
def whole_rows(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "rows.npy"
    assert write_until(path, None, 0) == [0, 1, 2, 3, 4, 5]
    return path.read_bytes()


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "interrupted"])
def test_an_array_goes_on_where_it_was_stopped_and_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_rows: bytes, killed: bool
) -> None:
    monkeypatch.setattr(runs, "SECONDS", 0.0)
    path = tmp_path / "rows.npy"
    for at in (3, 5):
        if pid := killed and os.fork():
            os.waitpid(pid, 0)
        else:
            write_until(path, KeyboardInterrupt(), at)
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
        assert not path.exists()
        runs.sweep(tmp_path)
    assert write_until(path, None, 0) == [5]
    assert path.read_bytes() == whole_rows
    assert os.listdir(tmp_path) == ["rows.npy"]


def test_nothing_is_taken_up_that_is_of_other_rows_or_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_rows: bytes
) -> None:
    monkeypatch.setattr(runs, "SECONDS", 0.0)
    path = tmp_path / "rows.npy"
    begun, notes = (tmp_path / f".rows.npy{kind}.begun.upm-part" for kind in ("", ".json"))
    write_until(path, KeyboardInterrupt(), 3, "other data")
    assert write_until(path, KeyboardInterrupt(), 4) == [0, 1, 2, 3]
    begun.write_bytes(flipped(begun.read_bytes(), 130, 3))
    assert write_until(path, KeyboardInterrupt(), 4) == [0, 1, 2, 3]
    write_json(notes, {"version": "an older one"})
    assert write_until(path, KeyboardInterrupt(), 4) == [0, 1, 2, 3]
    notes.write_bytes(notes.read_bytes()[:-9])
    with pytest.warns(Caution, match="is damaged .* it is made anew"):
        assert write_until(path, None, 0) == [0, 1, 2, 3, 4, 5]
    assert path.read_bytes() == whole_rows


def test_what_the_next_process_may_go_on_with_is_swept_after_an_error_or_a_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SECONDS", 0.0)
    write_until(tmp_path / "rows.npy", ValueError(), 3)
    assert os.listdir(tmp_path) == []
    write_until(tmp_path / "rows.npy", KeyboardInterrupt(), 3)
    runs.sweep(tmp_path)
    left = list(tmp_path.iterdir())
    assert len(left) == 2
    for path in left:
        os.utime(path, (time.time() - 8 * 86400,) * 2)
    runs.sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["values.json", "rows.npy"])
def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path, name: str) -> None:
    path, read = tmp_path / name, read_json if name == "values.json" else runs.read_array
    write_json(tmp_path / "values.json", {"rank1": 44.4, "names": ["ü", "x"]})
    runs.write_array(tmp_path / "rows.npy", 1, block, (2,), np.uint8)
    whole, moment = path.read_bytes(), path.stat().st_mtime_ns
    changed = [flipped(whole, place, place % 8) for place in range(len(whole))]
    changed += [whole[:length] for length in range(len(whole))] + [whole + b"\0"]
    for number, content in enumerate(changed):
        path.write_bytes(content)
        os.utime(path, ns=(moment, moment + number + 1))  # a file is read again when it changes
        with pytest.raises(runs.Damaged, match="is damaged or of an older version"):
            read(path)
    path.write_bytes(whole)
    os.utime(path, ns=(moment, moment - 1))
    read(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (read_json, runs.read_array):
        with pytest.raises(UserError):
            read(tmp_path / "pipe")
        with pytest.raises(OSError):
            read(tmp_path / "nothing")


def test_a_record_that_is_damaged_is_told_of_and_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    assert runs.find_json(path) is None
    write_json(path, {"a": 1})
    assert runs.find_json(path) == {"a": 1}
    path.write_text('{"a": 2}')
    with pytest.warns(Caution, match=r"values.json is damaged or of an older version: it is made"):
        assert runs.find_json(path) is None


def test_whoever_waits_for_a_lock_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runs, "PATIENCE", 0.1)
    ready, done = os.pipe()
    pid = os.fork()
    if not pid:
        with runs.lock(tmp_path / "run" / "lock"):
            os.write(done, b"x")
            time.sleep(1)
        os._exit(0)
    os.read(ready, 1)
    with runs.lock(tmp_path / "run" / "lock"):
        pass
    os.waitpid(pid, 0)
    assert caplog.messages == [f"waiting for another process that works on {tmp_path / 'run'}"]


def test_a_store_that_belongs_to_somebody_else_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(runs.FileLock, "acquire", refused)
    with pytest.raises(runs.NotWritten, match="choose another place"):
        runs.lock(tmp_path / "lock").__enter__()


def test_a_record_is_marked_as_measured_with_the_versions(run_store: Path) -> None:
    path = record("03_global", {"rank1": 50.0})
    assert path == run_store / "results" / "03_global.json"
    found = read_json(path)
    assert found["rank1"] == 50.0
    assert found["source"] == "measured"
    assert {"python", "torch", "numpy"} <= set(found["versions"])


# ---------------------------------------------------------------- keys

START = Config(weights="imagenet")  # a random start has nothing to freeze
# For every field that training depends on, a change to another valid value.
CHANGES: dict[str, dict[str, Any]] = {
    "dataset": {"dataset": "prid2011"},
    "trial": {"trial": 2},
    "splits": {"splits": "official"},
    "min_frames": {"min_frames": 1},
    "height": {"height": 128, "width": 64},
    "width": {"height": 128, "width": 64},
    "resize": {"resize": "legacy"},
    "flip": {"flip": True},
    "crop": {"crop": 4},
    "backbone": {"backbone": "resnet50"},
    "weights": {"weights": None},
    "freeze": {"freeze": 1},
    "restore_bn_statistics": {"restore_bn_statistics": False},
    "branch": {"branch": "global"},
    "k": {"k": 4},
    "pool": {"pool": "gmp"},
    "c_reduced": {"c_reduced": 64},
    "part_length": {"part_length": "normalised"},
    "head_activation": {"head_activation": "relu6"},
    "train_global_head": {"train_global_head": False},
    "objective": {"objective": "cluster"},
    "centres": {"centres": "camera"},
    "centre_momentum": {"centre_momentum": 0.2},
    "temperature": {"temperature": 0.1},
    "eta": {"eta": 0.25},
    "margin": {"margin": 0.25},
    "lam": {"lam": 0.5},
    "warmup_epochs": {"warmup_epochs": 1},
    "distance": {"distance": "squared"},
    "anchor_difference": {"anchor_difference": "normalised"},
    "repeats": {"repeats": "accumulate"},
    "partner_anchor": {"partner_anchor": "after"},
    "cross_case": {"cross_case": "cross"},
    "anchor_length": {"anchor_length": "stored"},
    "rank_unvisited": {"rank_unvisited": True},
    "anchors": {"anchors": "float16"},
    "steps": {"steps": 10},
    "epochs": {"epochs": 3.0},
    "batch": {"batch": 32},
    "optimiser": {"optimiser": "sgd"},
    "lr": {"lr": 0.01},
    "schedule": {"schedule": "cosine"},
    "lr_factors": {"lr_factors": (1.0, 0.5)},
    "head_lr_factor": {"head_lr_factor": 3.0},
    "weight_decay": {"weight_decay": 0.0},
    "clip": {"clip": 1.0},
    "ema": {"ema": 0.0},
    "bn_momentum": {"bn_momentum": 0.1},
    "seed": {"seed": 1},
}


def test_a_change_is_known_for_every_field_of_training() -> None:
    assert set(CHANGES) == set(training_fields(Config()))


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_of_training_gives_another_run(name: str, run_store: Path) -> None:
    plain = training_folder(START, "data")
    assert training_folder(START.replace(**CHANGES[name]), "data") != plain


@pytest.mark.parametrize(
    "changes",
    [{"root": "/somewhere/else"}, {"tracklet_pool": "mean"}, {"normalise_branches": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_place_and_evaluation_leave_the_run_as_it_is(changes: dict, run_store: Path) -> None:
    assert training_folder(Config(**changes), "data") == training_folder(Config(), "data")


def test_other_data_give_another_run(run_store: Path) -> None:
    assert training_folder(Config(), "data") != training_folder(Config(), "other data")


def test_a_run_lies_in_the_store_under_a_name_that_can_be_read(run_store: Path) -> None:
    folder = training_folder(Config(branch="global", k=4, trial=3), "data")
    assert folder.parent == run_store / "training" / "synthetic_clean"
    assert folder.name.startswith("global-k4-trial3-")
    assert not run_store.exists()


def test_weights_count_by_their_content_not_by_their_name(run_store: Path, tmp_path: Path) -> None:
    names = ("a", "same", "other")
    for name, content in zip(names, (b"1", b"1", b"2"), strict=True):
        (tmp_path / name).write_bytes(content)
    a, same, other = (
        training_folder(Config(weights=str(tmp_path / name)), "data") for name in names
    )
    assert a == same
    assert a != other
    assert a != training_folder(Config(), "data")


def test_weights_written_anew_under_their_name_give_another_run(
    run_store: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"first")
    config = Config(weights=str(file))
    before = training_folder(config, "data")
    file.write_bytes(b"second")
    assert training_folder(config, "data") != before
