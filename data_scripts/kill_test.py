"""Kill the whole road again and again, and compare what it ends with to an undisturbed run.

    python data_scripts/kill_test.py --kills 50

Real processes in a temporary run store draw a small synthetic world, pack its frames, compute the
maps of frozen blocks, train, extract vectors and measure. In each round one is killed with SIGKILL
in the midst of each of these, and the next one goes on. Exit code 0: every file of the store is the
same, bit by bit (times apart), and nothing is left over.
"""

import argparse
import functools
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from upm_lib import runs
from upm_lib.command import command
from upm_lib.config import UserError, preset
from upm_lib.data import packing
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import open_bench
from upm_lib.learning import frozen, model, training
from upm_lib.retrieval import features
from upm_lib.synthetic import world

# Where each stage begins, and about how many seconds it lasts on one core.
STAGES: dict[str, tuple[Any, str, float]] = {
    "drawing": (world, "render_tracklet", 0.5),
    "packing": (packing, "decode", 0.05),
    "maps": (frozen, "_compute", 0.2),
    "training": (training.Trainer, "train_step", 1.0),
    "vectors": (features, "tracklet_features", 0.1),
    "results": (measuring, "rank", 0.02),
}
TIMES = ("seconds", "seen", runs.SEAL)  # differ from run to run, or cover what does
SMALL = preset("synthetic_clean", "demo", k=2, batch=8, steps=20, freeze=3, weights="later")


def announcing(stage: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that says to which stage it belongs whenever it begins."""

    @functools.wraps(original)
    def announced(*arguments: Any, **options: Any) -> Any:
        print(stage, flush=True)
        return original(*arguments, **options)

    return announced


def child(weights: str) -> None:
    """Go the whole road, or what is left of it."""
    tqdm.set_lock(threading.RLock())  # of its own: forked processes share one, killed or not
    world.WORLDS["synthetic_clean"] = world.World(identities=8, cameras=2, frames=4)
    steps = itertools.count(1)
    training.due = lambda *_: next(steps) % 5 == 0
    runs.SECONDS = 0.0  # packing and maps go on behind each frame, each block
    for stage, (owner, name, _) in STAGES.items():
        setattr(owner, name, announcing(stage, getattr(owner, name)))
    fields = ("k", "batch", "steps", "freeze")
    changes = {name: getattr(SMALL, name) for name in fields}
    bench = open_bench(weights=weights, device="cpu", progress=False, **changes)
    for method in ("local", "global", "fusion"):
        measuring.measure(bench, bench.measurement(method))
        record = measuring.find(bench, bench.measurement(method))
        vectors = measuring.vectors(bench, bench.measurement(method), np.arange(4)).numpy()
        path = runs.store() / "vectors" / f"{method}.npy"
        if not path.exists() and record:
            runs.write_array(path, 1, [vectors].__getitem__, vectors.shape[1:], vectors.dtype)


def start(store: Path, weights: Path) -> tuple[int, TextIO]:
    """Start a process on a store; return its number and what it says."""
    said, says = os.pipe()
    if number := os.fork():
        os.close(says)
        return number, open(said)
    code = 1
    try:
        os.dup2(says, 1)
        os.environ["UPM_RUNS"] = str(store)
        child(str(weights))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def killed(store: Path, weights: Path, stage: str, delay: float) -> bool:
    """Kill a process so many seconds after a stage begins; False if it has ended before."""
    number, said = start(store, weights)
    with said:
        if any(line.strip() == stage for line in said):
            time.sleep(delay)
            os.kill(number, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) < 0


def finish(store: Path, weights: Path) -> dict[str, Any]:
    """Let a process go to the end; return what the store then holds."""
    number, said = start(store, weights)
    with said:
        said.read()
    if os.waitpid(number, 0)[1]:
        raise UserError("a process that nobody killed has failed: see above")
    return contents(store)


def contents(store: Path) -> dict[str, Any]:
    """Return every file of a store: its values without times, or its bytes."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in store.rglob("*") if p.is_file()):
        name = path.relative_to(store).as_posix()
        if path.name == "lock" or path.suffix == ".lock" or path.name == "speed.json":
            continue
        content = path.read_bytes()
        if path.suffix == ".json":
            values = json.loads(content)
            found[name] = {k: v for k, v in values.items() if k not in TIMES}
        else:
            found[name] = content
    return found


def small_weights(folder: Path) -> Path:
    """Write weights of the small backbone, as drawn at random: a frozen block needs a file."""
    state = model.build(SMALL.replace(weights=None, freeze=0)).backbone.state_dict()
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, folder / "w.safetensors"
    )
    return folder / "w.safetensors"


@command
def main(argv: list[str] | None = None) -> int:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # a process that has threads cannot be forked
    chance, done, wrong = random.Random(arguments.seed), dict.fromkeys(STAGES, 0), False
    with tempfile.TemporaryDirectory() as name:
        folder, number = Path(name), 0
        weights = small_weights(folder)
        whole = finish(folder / "whole", weights)
        while sum(done.values()) < arguments.kills:
            number += 1
            store = folder / f"killed {number}"
            for stage, (_, _, lasts) in STAGES.items():
                done[stage] += killed(store, weights, stage, chance.uniform(0, lasts))
            found = finish(store, weights)
            differ = sorted(n for n in whole | found if whole.get(n) != found.get(n))
            wrong |= bool(differ)
            print(f"round {number}: {', '.join(differ) or 'the same, bit by bit'}", flush=True)
            if number > arguments.kills:
                raise UserError(f"the processes end before they can be killed: {done}")
    print(f"kills: {done}, {sum(done.values())} in all")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
