"""Kill a process that indexes a gallery again and again: nothing may be lost, nothing double.

    python data_scripts/kill_index.py --kills 50

Real processes on synthetic tracklets, each written in a commit of its own; each process is killed
with SIGKILL at a random moment. The next one first checks that every tracklet of which a process
has said that it is written is there, once, with the vector that an undisturbed index has; then
it goes on. Exit code 0: so it was after each kill and at the end.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import lance_namespace  # noqa: F401  (most of LanceDB's import, once for all children)
import numpy as np
import torch
from tqdm.auto import tqdm

from upm_lib.config import Config
from upm_lib.data.packing import decode
from upm_lib.learning import model
from upm_lib.retrieval.model_file import Model, Origin
from upm_lib.synthetic import world

LONGEST_LIFE = 0.5  # seconds, of most from the first tracklet that is written


def small_model() -> Model:
    """An untrained network: what it says of a tracklet is always the same."""
    config = Config(backbone="small", height=128, width=64, k=2)
    network = model.channels_last(model.build(config)).eval()
    return Model((network,), (config,), Origin("none", 1, 2, 0, 0, "", "", (128, 64)), {})


def gallery_of(folder: Path, tracklets: int) -> Path:
    """Write so many tracklets of one frame, in two cameras."""
    drawn = world.write(world.World(identities=8, cameras=2, frames=4), folder / "drawn")
    frames = sorted(drawn.rglob("*.png"))
    for number in range(tracklets):
        place = folder / "gallery" / f"cam{number % 2}" / f"{number:04d}"
        place.mkdir(parents=True)
        shutil.copy(frames[number % len(frames)], place / "0001.png")
    return folder / "gallery"


def described(gallery: Path, made: Model) -> dict[str, np.ndarray]:
    """Return the vector of each tracklet, by its name in an index."""
    found = {}
    for frame in gallery.rglob("*.png"):
        image = decode(frame)
        assert image is not None
        found[frame.parent.relative_to(gallery).as_posix()] = made.describe(image[None])
    return found


def child(
    gallery: Path, place: Path, log: Path, made: Model, expected: dict[str, np.ndarray], group: int
) -> None:
    """Check what is there, then go on indexing; say in the log what is written."""
    from upm_lib.deploy import index as module  # LanceDB has threads: only after the fork

    tqdm.set_lock(threading.RLock())  # of its own: forked processes share one, killed or not
    module.FRAMES = group
    index = module.open_index(place, made)
    names = list(index.about["name"])
    said = set(log.read_text().split())
    assert len(names) == len({*names}), "a tracklet is there twice"
    assert said <= {*names}, "a tracklet that was written is lost"
    vectors = np.concatenate([*index.vectors, np.empty((0, index.dim), np.float32)])
    wanted = np.array([expected[name] for name in names]).reshape(vectors.shape)
    assert np.abs(vectors - wanted).max(initial=0) < 1e-6, "a vector is another one"
    plain = module.Index._put

    def spoken(self: module.Index, group: list, known: Any) -> list[str]:
        changed = plain(self, group, known)
        with log.open("a") as file:
            file.write("".join(f"{one.name}\n" for one in group))
        return changed

    module.Index._put = spoken  # type: ignore[method-assign]
    index.add(gallery)
    print(f"{len(index)} tracklets are written", flush=True)


def start(*arguments: object) -> int:
    """Fork a child; return its process number."""
    if number := os.fork():
        return number
    try:
        child(*arguments)  # type: ignore[arg-type]
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)
    os._exit(0)


def main() -> int:
    """Kill, go on, check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # children would wait for ever for a pool of threads, lost in the fork
    chance, made = random.Random(arguments.seed), small_model()
    with tempfile.TemporaryDirectory() as folder:
        gallery = gallery_of(Path(folder), 80 * arguments.kills)
        expected = described(gallery, made)
        log, place = Path(folder) / "log", Path(folder) / "shop.lance"
        log.touch()
        everything = (gallery, place, log, made, expected)
        for number in range(1, arguments.kills + 1):
            before, process = log.stat().st_size, start(*everything, 1)
            # Every fifth one may be killed before it has written anything, the first one too.
            wait = number % 5 != 1
            while (
                wait and log.stat().st_size == before and os.waitpid(process, os.WNOHANG) == (0, 0)
            ):
                time.sleep(0.01)
            time.sleep(delay := chance.uniform(0, LONGEST_LIFE))
            try:
                os.kill(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
            except (ProcessLookupError, ChildProcessError):
                sys.exit("a process that nobody killed has ended")
            if os.waitstatus_to_exitcode(status) == 1:
                return 1
            written = len(log.read_text().split())
            print(f"{number:3} killed after {delay:.3f} s, {written} written", flush=True)
        for _ in range(2):  # the second one checks what the first one has written
            _, status = os.waitpid(start(*everything, 640), 0)
            if os.waitstatus_to_exitcode(status):
                return 1
    print("nothing is lost, nothing is double")
    return 0


if __name__ == "__main__":
    sys.exit(main())
