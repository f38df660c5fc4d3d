"""Kill a training process again and again, and compare what it ends with to an undisturbed run.

    python data_scripts/kill_test.py --kills 50

Real processes on a small synthetic world in a temporary run store; each is killed with SIGKILL at a
random moment and the next one goes on. Exit code 0: every tensor is the same, bit by bit.
"""

import argparse
import functools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.numpy import load_file

from upm_lib.experiments import networks
from upm_lib.experiments.bench import open_bench
from upm_lib.learning import training
from upm_lib.synthetic import world

STEPS_A_KILL, LONGEST_LIFE = 40, 1.0  # in a second a core does some 30 steps


def child(root: str, steps: int) -> int:
    """Train what is left to train, with a checkpoint every three steps."""
    training.train = functools.partial(training.train, checkpoint_every=3)
    bench = open_bench(
        root=root, steps=steps, k=2, batch=8, ema=0.999, device="cpu", progress=False
    )
    print("begins", flush=True)
    networks.find_or_train(bench, bench.config)
    return 0


def start(store: Path, root: Path, steps: int) -> subprocess.Popen[str]:
    """Start a process and wait until it begins to train."""
    environment = {**os.environ, "UPM_RUNS": str(store), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--child", str(root), str(steps)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # it is a pipe
    process.stdout.readline()
    return process


def checkpoints(store: Path) -> list[Path]:
    """Return the checkpoints in a store, the last one last."""
    return sorted(store.glob("training/*/*/step-*"))


def main() -> int:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child[0], int(arguments.child[1]))
    chance, steps = random.Random(arguments.seed), STEPS_A_KILL * (arguments.kills + 1)
    with tempfile.TemporaryDirectory() as folder:
        killed, whole = Path(folder, "killed"), Path(folder, "whole")
        root = world.write(world.World(identities=8, cameras=2, frames=4), Path(folder, "data"))
        for number in range(1, arguments.kills + 1):
            process = start(killed, root, steps)
            time.sleep(delay := chance.uniform(0, LONGEST_LIFE))
            process.kill()
            state, found = "killed" if process.wait() else "had ended", checkpoints(killed)
            name = found[-1].name if found else "none yet"
            print(f"{number:3} {state} after {delay:.3f} s, checkpoint: {name}", flush=True)
        if any([start(store, root, steps).wait() for store in (killed, whole)]):
            sys.exit("a process that nobody killed has failed")
        states = [load_file(checkpoints(store)[-1]) for store in (killed, whole)]
    one, other = ({n: (a.dtype, a.shape, a.tobytes()) for n, a in s.items()} for s in states)
    wrong = sorted(name for name in one | other if one.get(name) != other.get(name))
    print(f"different: {', '.join(wrong)}" if wrong else "equal to the undisturbed run, bit by bit")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
