"""Two processes under torchrun equal one on the same global batch, though one is killed."""

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
import two_processes
from safetensors.torch import load_file
from torch import Tensor, nn

from upm_lib import distributed
from upm_lib.__main__ import main as program
from upm_lib.command import command
from upm_lib.config import UserError
from upm_lib.data import packing
from upm_lib.data.readers.sequences import prid2011
from upm_lib.learning import training

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")


def torchrun(*command: str, store: Path, nodes: int = 1) -> str:
    """Run a command in two processes that know this checkout; what the first torchrun prints.

    Each node has a torchrun of its own, which starts its processes once more if one fails.
    """
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "UPM_RUNS": str(store), "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--max-restarts", "1", "--rdzv-backend", "c10d"]
    launcher += ["--nnodes", str(nodes), "--nproc-per-node", str(2 // nodes)]
    launcher += ["--rdzv-endpoint", f"localhost:{port}"]
    command = (sys.executable, *launcher, *command)
    with open(store.parent / "stderr", "w+") as stderr:
        whole = {"env": environment, "cwd": store.parent, "stderr": stderr, "text": True}
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, **whole) for _ in range(nodes)]
        try:
            said = [process.communicate(timeout=240)[0] for process in started]
        finally:
            for process in started:
                process.terminate()  # torchrun ends its processes first
        stderr.seek(0)
        assert [process.returncode for process in started] == [0] * nodes, stderr.read()
    return said[0]


@pytest.fixture(scope="module")
def two(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes, each on its own node, have left their states."""
    folder = tmp_path_factory.mktemp("two")
    script = str(ROOT / "tests" / "two_processes.py")
    torchrun(script, str(tiny_root), str(folder), store=folder / "store", nodes=2)
    return folder


def one(root: Path, store: Path, run: str) -> dict[str, Tensor]:
    """The state that this process alone comes to, without interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPM_RUNS", str(store))
        dataset = prid2011(root, min_frames=1, name="synthetic_clean")
        frames = packing.Frames(dataset)
        trainer = two_processes.a_trainer(dataset, frames, run)
        training.train(trainer)
        return two_processes.outcome(trainer, frames)


@pytest.mark.parametrize("run", two_processes.TRAINED)
def test_two_processes_equal_one(run: str, two: Path, tiny_root: Path, tmp_path: Path) -> None:
    theirs = load_file(two / f"{run}-0.safetensors")
    ours = one(tiny_root, tmp_path, run)
    assert theirs.keys() == ours.keys()
    assert bool((ours["history"][2:, 2] > 0).any())  # cyclic matches were at work
    for name, value in ours.items():
        tolerance = 1e-5 if value.dtype == torch.float32 else 1e-9
        torch.testing.assert_close(
            theirs[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_after_a_kill_torchrun_goes_on_from_the_checkpoint_before(two: Path) -> None:
    assert json.loads((two / "resumed.json").read_text()) == [2, 0, 0]


def test_what_the_first_process_makes_all_have(two: Path) -> None:
    assert [(two / f"said-{rank}").read_text() for rank in (0, 1)] == ["of 0", "of 0"]


@pytest.mark.parametrize("run", two_processes.TRAINED)
def test_both_processes_hold_the_same_state(run: str, two: Path) -> None:
    first, second = (load_file(two / f"{run}-{rank}.safetensors") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("run", two_processes.TRAINED)
def test_one_process_writes_the_checkpoints(run: str, two: Path) -> None:
    names = sorted(path.name[:13] for path in (two / f"run-{run}").iterdir())
    assert names == ["step-00000004"], "a finished run keeps its last one"


def test_the_command_line_trains_and_measures_under_torchrun(
    tiny_root: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    options = {"steps": "2", "batch": "4", "k": "2", "optimiser": "sgd"}
    changes = [word for pair in options.items() for word in ("-p", *pair)]
    command = ("-m", "upm_lib", "train", "local", "--root", str(tiny_root), *changes)
    lines = torchrun(*command, store=store).splitlines()
    assert [f"in {tiny_root.name}: Rank-1" in line for line in lines] == [True, False]
    assert (Path(lines[1]) / "config.json").is_file()
    assert len(list((store / "results").rglob("local-*.json"))) == 1


# ---------------------------------------------------------------- one process


def test_a_global_batch_norm_alone_is_batch_norm() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 4, 2, generator=rng, dtype=torch.float64) + 2
    plain = nn.BatchNorm2d(3, momentum=0.3).double()
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3).double())
    distributed.synchronise(network)
    assert isinstance(network[0], distributed.GlobalBatchNorm)
    for ours, theirs in ((network[0].eval(), plain.eval()), (network[0].train(), plain.train())):
        torch.testing.assert_close(ours(x), theirs(x))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(network[0].state_dict()[name], value)


def test_alone_a_process_has_everything() -> None:
    assert (distributed.size(), distributed.rank()) == (1, 0)
    x = torch.arange(5.0)
    assert list(range(5))[distributed.share(5)] == list(range(5))
    assert distributed.gather(x) is x
    assert distributed.from_first(lambda: 3) == 3
    assert distributed.merge(x, 5) is x
    distributed.agree(3, "nothing")


def test_every_start_agrees_on_a_name_of_its_own_in_a_store_that_stays() -> None:
    store, names = torch.distributed.HashStore(), []
    store.set("asks 2", "who was killed before the others came")
    for count in (3, 3, 2):  # torchrun may go on with fewer
        with ThreadPoolExecutor(count) as pool:
            join = partial(distributed._name_of_start, store, count=count)
            names.append(set(pool.map(join, range(count))))
    assert [len(found) for found in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


@pytest.mark.parametrize("count", [0, 1, 2, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_shares_follow_one_another_and_leave_nothing_out(
    count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "size", lambda: size)
    taken = []
    for rank in range(size):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        own = range(count)[distributed.share(count)]
        assert len(own) <= -(-count // size)
        taken += own
    assert taken == list(range(count))


def test_a_batch_that_does_not_divide_is_refused(
    tiny_root: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = prid2011(tiny_root, min_frames=1, name="synthetic_clean")
    frames = packing.Frames(dataset)
    monkeypatch.setattr(distributed, "size", lambda: 3)
    with pytest.raises(training.UserError, match="batch = 8 does not divide over 3 processes"):
        two_processes.a_trainer(dataset, frames, "local")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under torchrun, where a farewell waits for the others."""
    monkeypatch.setattr(distributed.dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(distributed, "_join", lambda: None)
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: time.sleep(60))


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize(("rank", "said"), [(0, 1), (1, 0)])
def test_who_is_interrupted_ends_at_once_and_the_first_speaks(
    rank: int, said: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: rank)

    @command
    def main() -> None:
        with distributed.processes():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    assert ended(main) == 143
    assert capfd.readouterr().err.count("stopped: what was finished before is kept") == said


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize(("error", "code"), [(UserError("the disk is full"), 2), (KeyError(), 1)])
def test_who_fails_does_not_wait_for_the_others(
    error: Exception, code: int, capfd: pytest.CaptureFixture[str]
) -> None:

    @command
    def main() -> None:
        with distributed.processes():
            print("what was said before")
            raise error

    began = time.monotonic()
    assert ended(main) == code
    assert time.monotonic() - began < 30
    said = capfd.readouterr()
    assert "what was said before" in said.out
    assert ("error: the disk is full" in said.err) == (code == 2)


def ended(main: Callable[[], int]) -> int:
    """The exit code of a process that runs a command and ends as Python does."""
    if not (child := os.fork()):
        with contextlib.suppress(KeyError):
            main()
        atexit._run_exitfuncs()
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_variables_that_torchrun_has_left_behind_get_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"torchrun's LOCAL_RANK, MASTER_ADDR, .*start it with"):
        distributed.processes().__enter__()


def test_what_does_not_train_is_not_for_torchrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert program(["table", "2", "--dry-run"]) == 2
    assert "torchrun is for `train`: run `table` without it" in capsys.readouterr().err


# ---------------------------------------------------------------- the device


def test_a_missing_device_is_named() -> None:
    assert distributed.pick_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert distributed.pick_device() == torch.device("cpu")
        with pytest.raises(UserError, match="'cuda' is not available"):
            distributed.pick_device("cuda")


def test_a_gpu_is_that_of_the_process_unless_it_is_numbered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed, "local_device", lambda: "cuda:1")
    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(str(device)))
    with monkeypatch.context() as alone:
        alone.setattr(distributed, "local_device", lambda: "cuda")
        assert distributed.pick_device("cuda") == torch.device("cuda")
        assert not chosen, "torch wants a number here"
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    assert distributed.pick_device() == distributed.pick_device("cuda") == torch.device("cuda:1")
    assert distributed.pick_device("cuda:0") == torch.device("cuda:0")
    assert chosen == ["cuda:1", "cuda:1", "cuda:0"]
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.allow_tf32
    with pytest.raises(UserError, match="'cuda:2' is not available here: GPUs are 0 to 1"):
        distributed.pick_device("cuda:2")
    monkeypatch.setattr(distributed, "size", lambda: 2)
    with pytest.raises(UserError, match="under torchrun each process has a GPU of its own"):
        distributed.pick_device("cuda:0")
