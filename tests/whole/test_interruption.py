"""Killed anywhere, a run goes on to the very same bits; two processes share one run.

The processes are real: this file, run as a script, imports the library once and forks a child for
each job, so that a process costs a fraction of a second instead of four.
"""

import errno
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from tqdm.auto import tqdm

from upm_lib import runs
from upm_lib.data import batches
from upm_lib.experiments import networks
from upm_lib.experiments.bench import open_bench
from upm_lib.learning import training
from upm_lib.synthetic import world

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")

STEPS, EVERY = 12, 2
PACE = 0.03  # seconds a step takes at least, so that who kills comes in time on any machine
SMALL = dict(batch=4, warmup_epochs=0.5)  # 4 of the 12 steps are warm-up
VARIANTS = {
    "adam": dict(k=2),
    "rmsprop-ema": dict(
        k=4, branch="global", c_reduced=16, optimiser="rmsprop", lr=0.01, ema=0.999
    ),
}
KILLED, INTERRUPTED, FAILED = -signal.SIGKILL, 130, 74


# ---------------------------------------------------------------- in the child


def at_call(number: int, act: Callable, original: Callable, counts: Callable | None) -> Callable:
    """A stand-in for a function that acts at one of its calls, counted from 1."""
    calls = 0

    def stand_in(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += counts is None or counts(*args)
        if calls == number:
            calls += 1  # once only
            act(original, *args)
        return original(*args, **options)

    return stand_in


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(original: Callable, *args: Any) -> None:
    original(*args)
    die()


def half_and(then: Callable) -> Callable:
    def act(original: Callable, path: Path, content: bytes) -> None:
        original(path, content[: len(content) // 2])
        then()

    return act


def disk_full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*_: Any) -> None:
    signal.raise_signal(signal.SIGINT)


def is_checkpoint(path: Path, *_: Any, **__: Any) -> bool:
    return Path(path).name.startswith("step-")


FAULTS: dict[str, tuple] = {  # owner, function, what happens, which calls count
    "killed with half of the bytes written": (Path, "write_bytes", half_and(die), None),
    "killed before the flush": (os, "fsync", die, None),
    "killed before the move": (os, "replace", die, None),
    "killed after the move": (os, "replace", die_after, None),
    "killed while old checkpoints go": (Path, "unlink", die_after, is_checkpoint),
    "disk full in the write": (Path, "write_bytes", half_and(disk_full), None),
    "disk full at the flush": (os, "fsync", disk_full, None),
    "interrupted in the write": (Path, "write_bytes", half_and(interrupt), None),
    "killed while drawing": (cv2, "imwrite", die, None),
}


def work(job: dict) -> None:
    """One process of a user: open the data, train what is left to train."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(60)  # a child that hangs dies of it
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # of its own: forked processes share one, killed or not
    warnings.simplefilter("error")  # a damaged checkpoint would be warned of
    os.environ["UPM_RUNS"] = job["store"]
    world.WORLDS["synthetic_clean"] = world.World(**job["world"])
    steps = done = 0
    step = training.Trainer.train_step

    def counted(trainer: training.Trainer) -> None:
        nonlocal steps, done
        time.sleep(job["pace"])
        step(trainer)
        steps, done = steps + 1, trainer.step

    training.Trainer.train_step = counted
    training.due = lambda *_: done % job["every"] == 0
    if job["fault"]:
        owner, name, act, counts = FAULTS[job["fault"]]
        setattr(owner, name, at_call(job["at"], act, getattr(owner, name), counts))
    if job["file_size"]:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    bench = open_bench(
        root=job["root"], steps=STEPS, device="cpu", progress=False, **SMALL | job["options"]
    )
    config = bench.config
    log = Path(job["log"])
    log.with_suffix(".ready").touch()
    if job["locked"]:
        trainer = networks.find_or_train(bench, config)
    else:
        half = batches.TrainingSet(bench.dataset, bench.frames, config)
        trainer = training.Trainer(config, half, bench.device)
        training.train(trainer, networks.folder_of(bench, config))
    weights = [float(p.detach().double().sum()) for p in trainer.result.parameters()]
    whole = log.with_suffix(".part")  # whoever looks for the report finds all of it
    whole.write_text(json.dumps({"trained": steps, "weights": weights}))
    whole.replace(log.with_suffix(".json"))


def child(job: dict) -> None:
    """Work and exit; never returns."""
    code = 1
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        work(job)
        code = 0
    except BaseException as error:
        traceback.print_exc()
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else code
        code = FAILED if isinstance(error, OSError) else code
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answer each line: a job with the pid of its process, a pid with the process's exit code."""
    runs.code_digest(*runs.TRAINING_CODE)  # read once for all
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                child(asked)
        print(answer, flush=True)


# ---------------------------------------------------------------- in the test


@dataclass
class Process:
    """A child at work."""

    server: subprocess.Popen
    pid: int
    log: Path

    def kill(self, how: int) -> None:
        os.kill(self.pid, how)  # it is reaped by wait() only, so the number is still its own

    def wait(self) -> int:
        return int(ask(self.server, self.pid))

    @property
    def report(self) -> dict | None:
        path = self.log.with_suffix(".json")
        return json.loads(path.read_text()) if path.is_file() else None


def ask(server: subprocess.Popen, what: object) -> str:
    server.stdin.write(json.dumps(what) + "\n")
    server.stdin.flush()
    return server.stdout.readline()


Start = Callable[..., Process]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen]:
    """The process that forks the others; it has no threads of its own."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, **one_thread, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


@pytest.fixture(scope="module")
def start(
    server: subprocess.Popen,
    tiny_root: Path,
    tiny_world: world.World,
    tmp_path_factory: pytest.TempPathFactory,
) -> Start:
    """Start a process that trains in a store."""
    logs = tmp_path_factory.mktemp("logs")
    number = 0
    world = dict(
        identities=tiny_world.identities, cameras=tiny_world.cameras, frames=tiny_world.frames
    )

    def begin(store: Path, variant: str = "adam", **changes: object) -> Process:
        nonlocal number
        number += 1
        job = dict(store=str(store), root=str(tiny_root), options=VARIANTS[variant], world=world)
        job |= dict(every=EVERY, locked=False, fault=None, at=0, file_size=0, pace=0)
        job |= {"log": str(logs / f"{number}.log"), **changes}
        return Process(server, int(ask(server, job)), Path(job["log"]))

    return begin


@dataclass
class Undisturbed:
    """The runs that nobody killed."""

    tensors: dict[str, dict[str, tuple]]
    packed: Path  # the frames, ready to be copied into another store

    def begin_store(self, store: Path) -> None:
        """Spare a process the packing of the frames."""
        shutil.copytree(self.packed, store / "packed")


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    stores = {variant: tmp_path_factory.mktemp("whole") for variant in VARIANTS}
    found = Undisturbed({}, stores["adam"] / "packed")
    for variant, store in stores.items():
        finish(start(store, variant, every=STEPS))
        found.tensors[variant] = result(store)
    return found


def finish(process: Process) -> dict:
    """Wait for a process that must come to its end."""
    assert process.wait() == 0, process.log.read_text()
    return process.report


def checkpoints(store: Path) -> list[Path]:
    """Files under a checkpoint's name; each must be whole at any moment, nobody writing."""
    return sorted(store.glob("training/*/*/step-*"))


def assert_whole(store: Path) -> None:
    for path in checkpoints(store):
        assert training._digest(path.read_bytes()) == training.CHECKPOINT.fullmatch(path.name)[2]


def leftovers(store: Path) -> list[Path]:
    return [p for p in store.rglob(".*") if p.is_file()]


def result(store: Path) -> dict[str, tuple]:
    """Every tensor of the last checkpoint, bit by bit."""
    newest = checkpoints(store)[-1]
    assert newest.name.startswith(f"step-{STEPS:08d}-")
    with safe_open(newest, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return {n: (t.dtype, t.shape, t.numpy().tobytes()) for n, t in tensors.items()}


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def finished_by_itself(process: Process) -> bool:
    return process.report is not None


def test_the_undisturbed_runs_hold_the_whole_state(undisturbed: Undisturbed) -> None:
    parts = {v: {n.split(".")[0] for n in t} for v, t in undisturbed.tensors.items()}
    assert parts["adam"] == {"network", "objective", "optimiser", "history"}
    assert parts["rmsprop-ema"] == {*parts["adam"], "ema"}


# ---------------------------------------------------------------- killed at random moments


@pytest.mark.parametrize(
    ("how", "ends", "variant", "seed"),
    [
        (signal.SIGKILL, KILLED, "adam", 0),
        (signal.SIGKILL, KILLED, "rmsprop-ema", 1),
        (signal.SIGTERM, -signal.SIGTERM, "rmsprop-ema", 2),
        (signal.SIGINT, INTERRUPTED, "adam", 3),
    ],
    ids=["SIGKILL", "SIGKILL-ema", "SIGTERM-ema", "SIGINT"],
)
def test_a_run_killed_at_random_moments_ends_in_the_same_bits(
    start: Start,
    undisturbed: Undisturbed,
    tmp_path: Path,
    how: int,
    ends: int,
    variant: str,
    seed: int,
) -> None:
    chance = random.Random(seed)
    killed = 0
    for _ in range(4):
        before = set(checkpoints(tmp_path))
        process = start(tmp_path, variant, pace=PACE)
        until(lambda p=process, b=before: finished_by_itself(p) or set(checkpoints(tmp_path)) - b)
        time.sleep(chance.uniform(0, 4 * PACE))  # the first of all has ten steps to go
        process.kill(how)
        code = process.wait()
        if code == 0 or process.report:
            break
        assert code == ends, process.log.read_text()
        killed += 1
        assert_whole(tmp_path)
    assert killed >= 1
    trained = finish(start(tmp_path, variant))["trained"]
    assert trained < STEPS, "the last process has gone on, not begun again"
    assert result(tmp_path) == undisturbed.tensors[variant]


def test_a_run_killed_before_its_first_checkpoint_begins_again(
    start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    process = start(tmp_path, every=STEPS)
    until(process.log.with_suffix(".ready").exists)
    process.kill(signal.SIGKILL)
    assert process.wait() == KILLED
    assert checkpoints(tmp_path) == []
    assert finish(start(tmp_path))["trained"] == STEPS
    assert result(tmp_path) == undisturbed.tensors["adam"]


def test_a_finished_run_is_not_trained_again(
    start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert finish(start(tmp_path))["trained"] == STEPS
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert finish(start(tmp_path))["trained"] == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == files
    assert result(tmp_path) == undisturbed.tensors["adam"]


# ---------------------------------------------------------------- killed inside the write


@pytest.mark.parametrize(
    ("fault", "number", "ends", "saved"),
    [
        ("killed with half of the bytes written", 1, KILLED, 0),
        ("killed with half of the bytes written", 4, KILLED, 3),
        ("killed before the flush", 3, KILLED, 2),
        ("killed before the move", 1, KILLED, 0),
        ("killed before the move", 5, KILLED, 4),
        ("killed after the move", 4, KILLED, 4),
        ("killed while old checkpoints go", 2, KILLED, 4),
        ("disk full in the write", 3, FAILED, 2),
        ("disk full at the flush", 2, FAILED, 1),
        ("interrupted in the write", 3, INTERRUPTED, 2),
    ],
)
def test_a_checkpoint_is_whole_or_absent_and_the_run_goes_on_from_the_newest(
    start: Start,
    undisturbed: Undisturbed,
    tmp_path: Path,
    fault: str,
    number: int,
    ends: int,
    saved: int,
) -> None:
    variant = list(VARIANTS)[number % 2]
    undisturbed.begin_store(tmp_path)
    process = start(tmp_path, variant, fault=fault, at=number)
    assert process.wait() == ends, process.log.read_text()
    assert_whole(tmp_path)
    steps = [int(training.CHECKPOINT.fullmatch(p.name)[1]) for p in checkpoints(tmp_path)]
    assert max(steps, default=0) == saved * EVERY
    assert len(steps) >= min(saved, 2), "there is always one to fall back to"
    if ends != KILLED:
        assert leftovers(tmp_path) == [], "who is not killed tidies up"
    assert finish(start(tmp_path, variant))["trained"] == STEPS - saved * EVERY
    assert len(checkpoints(tmp_path)) == 1, "a finished run keeps its end"
    assert result(tmp_path) == undisturbed.tensors[variant]


def test_the_systems_own_refusal_to_write_more_leaves_no_half_file(
    start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    undisturbed.begin_store(tmp_path)
    process = start(tmp_path, file_size=1_000_000)
    assert process.wait() == FAILED, process.log.read_text()
    assert "File too large" in process.log.read_text()
    assert checkpoints(tmp_path) == leftovers(tmp_path) == []
    finish(start(tmp_path))
    assert result(tmp_path) == undisturbed.tensors["adam"]
    assert checkpoints(tmp_path)[0].stat().st_size > 1_000_000


def test_what_killed_writes_left_behind_is_never_taken_for_a_checkpoint(
    start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    undisturbed.begin_store(tmp_path)
    for number in (2, 1):
        process = start(tmp_path, fault="killed before the move", at=number)
        assert process.wait() == KILLED
    assert len(leftovers(tmp_path)) in (1, 2)  # whole files, but under names of their own
    finish(start(tmp_path))
    assert not [p for p in leftovers(tmp_path) if training.CHECKPOINT.fullmatch(p.name)]
    assert result(tmp_path) == undisturbed.tensors["adam"]


def test_who_takes_a_run_up_again_removes_what_killed_writes_left_behind(
    start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    undisturbed.begin_store(tmp_path)
    for fault, number in (
        ("killed with half of the bytes written", 2),
        ("killed before the move", 1),
        ("killed before the flush", 1),
    ):
        process = start(tmp_path, locked=True, fault=fault, at=number)
        assert process.wait() == KILLED, process.log.read_text()
        (left,) = leftovers(tmp_path)  # the one of the process before is gone already
        assert left.name.startswith(".step-")
    assert finish(start(tmp_path, locked=True))["trained"] == STEPS - EVERY
    assert leftovers(tmp_path) == []
    assert result(tmp_path) == undisturbed.tensors["adam"]


@pytest.mark.parametrize(
    ("changes", "fault", "number"),
    [
        ({"root": None}, "killed while drawing", 5),
        ({"root": None}, "killed before the move", 1),  # of the drawn pictures
        ({}, "killed before the move", 1),  # of the packed frames
    ],
)
def test_data_that_were_not_ready_when_the_process_died_are_made_anew(
    start: Start, undisturbed: Undisturbed, tmp_path: Path, changes: dict, fault: str, number: int
) -> None:
    process = start(tmp_path, fault=fault, at=number, **changes)
    assert process.wait() == KILLED
    assert not list(tmp_path.glob("packed/*/frames.npy"))
    finish(start(tmp_path, **changes))
    assert result(tmp_path) == undisturbed.tensors["adam"]
    assert leftovers(tmp_path) == []


# ---------------------------------------------------------------- two processes, one run


@pytest.fixture
def first_stopped(start: Start, tmp_path: Path) -> Iterator[Process]:
    """A process that holds the run, stopped in the midst of its training."""
    process = start(tmp_path, locked=True, pace=PACE)
    until(lambda: bool(checkpoints(tmp_path)))
    process.kill(signal.SIGSTOP)
    assert not finished_by_itself(process)
    yield process
    process.kill(signal.SIGKILL)
    process.wait()


def waiting(start: Start, store: Path) -> Process:
    """A second process that wants the same run, seen to wait for it."""
    process = start(store, locked=True)
    until(process.log.with_suffix(".ready").exists)
    files = sorted(store.glob("training/**/*"))
    time.sleep(0.6)  # enough to train many steps, were it not for the lock
    assert sorted(store.glob("training/**/*")) == files
    assert process.report is None
    return process


def test_the_second_process_waits_and_trains_nothing(
    start: Start, undisturbed: Undisturbed, first_stopped: Process, tmp_path: Path
) -> None:
    second = waiting(start, tmp_path)
    first_stopped.kill(signal.SIGCONT)
    found = finish(second)
    until(lambda: finished_by_itself(first_stopped))
    assert found["trained"] == 0
    assert first_stopped.report["trained"] == STEPS
    assert found["weights"] == first_stopped.report["weights"]
    assert result(tmp_path) == undisturbed.tensors["adam"]


def test_the_second_process_goes_on_where_a_killed_first_one_was(
    start: Start, undisturbed: Undisturbed, first_stopped: Process, tmp_path: Path
) -> None:
    second = waiting(start, tmp_path)
    steps = int(training.CHECKPOINT.fullmatch(checkpoints(tmp_path)[-1].name)[1])
    first_stopped.kill(signal.SIGKILL)
    assert finish(second)["trained"] == STEPS - steps
    assert result(tmp_path) == undisturbed.tensors["adam"]


def test_processes_that_start_together_on_an_empty_store_train_once(
    start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    processes = [start(tmp_path, root=None, locked=True) for _ in range(3)]
    reports = [finish(process) for process in processes]
    assert sorted(report["trained"] for report in reports) == [0, 0, STEPS]
    assert len({tuple(report["weights"]) for report in reports}) == 1
    assert result(tmp_path) == undisturbed.tensors["adam"]
    assert leftovers(tmp_path) == []
    assert not list(tmp_path.glob("data/.*")), "no half-synthetic world stays"


def test_the_lock_of_a_dead_process_does_not_block(
    start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    process = start(tmp_path, locked=True, pace=PACE)
    until(lambda: bool(checkpoints(tmp_path)))
    process.kill(signal.SIGKILL)
    process.wait()
    (lock,) = tmp_path.glob("training/*/*/lock")
    with FileLock(lock, timeout=0):
        pass
    lock.write_text(f"{process.pid}\n")  # whatever it holds, and even if nobody may write to it
    began = time.monotonic()
    finish(start(tmp_path, locked=True))
    assert time.monotonic() - began < 30
    assert result(tmp_path) == undisturbed.tensors["adam"]


if __name__ == "__main__":
    serve()
