"""The index of a gallery: adding to it, and a query against 100,000 vectors, beside other stores.

faiss is compared where it is installed (pip install faiss-cpu); the library does not need it.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks import timing
from upm_lib.config import Config
from upm_lib.deploy import index as module
from upm_lib.deploy.index import Index, open_index
from upm_lib.learning import model
from upm_lib.retrieval.model_file import Model, Origin
from upm_lib.synthetic import world

ROWS = int(os.environ.get("UPM_BENCH_ROWS", "100000"))
QUERIES, TOP = 50, 10


def untrained() -> Model:
    """Both networks of the paper's size, as they start: 10,240 numbers a tracklet."""
    settings = tuple(Config(branch=branch) for branch in ("local", "global"))
    built = tuple(model.channels_last(model.build(config)).eval() for config in settings)
    return Model(built, settings, Origin("none", 1, 2, 0, 0, "", "", (128, 64)), {})


def people(count: int, dim: int, seed: int) -> Iterator[np.ndarray]:
    """Yield unit vectors, 2,000 at a time: people in 200 directions, seen with noise of all."""
    shared = np.random.default_rng(7)
    basis = shared.standard_normal((200, dim), dtype=np.float32) / dim**0.5
    mean = shared.standard_normal(dim, dtype=np.float32) / dim**0.5
    strength = (1 / np.sqrt(1 + np.arange(200))).astype(np.float32)
    centres = shared.standard_normal((ROWS // 4, 200), dtype=np.float32)
    draw = np.random.default_rng(seed)
    for start in range(0, count, 2000):
        n = min(2000, count - start)
        own = centres[draw.integers(0, len(centres), n)]
        own = (own + 0.5 * draw.standard_normal((n, 200), dtype=np.float32)) * strength
        noise = 0.5 / np.float32(dim**0.5) * draw.standard_normal((n, dim), dtype=np.float32)
        seen = own @ basis + noise + mean
        yield seen / np.linalg.norm(seen, axis=1, keepdims=True)


def fill(index: Index, count: int) -> None:
    """Put vectors into an index as if so many tracklets had been described."""
    place = 0
    for block in people(count, index.dim, 0):
        names = [f"cam{n % 8}/{n:06d}" for n in range(place, place + len(block))]
        rows: dict[str, list[Any]] = {
            name: [""] * len(block) for name in ("person", "thumbnail", "mark", "content")
        }
        rows |= {"name": names, "camera": [name.split("/")[0] for name in names]}
        rows |= {"added": [datetime.now(timezone.utc)] * len(block)}
        flat = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), index.dim)
        whole = pa.record_batch(rows | {"vector": flat}).select([*module.LABELS, "vector"])
        index.table.add(module.sealed(whole))
        place += len(block)
    index._forget_what_was_read()


def adding(folder: Path, root: Path, made: Model) -> list[list[str]]:
    """CPU seconds of adding 100 tracklets to indexes of nothing and of 10,000."""
    rows = []
    for held in (0, 10_000):
        index = open_index(folder / f"{held}.lance", made)
        fill(index, held)
        began, wall = time.process_time(), time.perf_counter()
        added = index.add(root)
        cpu, wall = time.process_time() - began, time.perf_counter() - wall
        rows.append([f"{held}", f"{len(added.new)}", f"{cpu:.1f}", f"{wall:.1f}"])
    return rows


def measured(name: str, ask: Callable[[np.ndarray], object], asked: np.ndarray) -> list[str]:
    """The row of one way to search: seconds a query, and the memory that this process holds."""
    ask(asked[0])
    wall, cpu = [], []
    for query in asked[1:]:
        began, clock = time.perf_counter(), time.process_time()
        ask(query)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - clock)
    print(f"{name} done", file=sys.stderr)
    seconds = [1000 * float(np.median(times)) for times in (wall, cpu)]
    return [name, *(f"{s:.0f}" for s in seconds), f"{timing.peak_megabytes() / 1000:.1f}"]


def searching(index: Index) -> list[list[str]]:
    """One row a way to search."""
    asked = np.concatenate(list(people(QUERIES, index.dim, 1)))
    timing.peak_megabytes()
    approximate = measured("LanceDB, approximate", lambda q: index.search(q, exact=False), asked)
    pairs = [(index.search(q, exact=True), index.search(q, exact=False)) for q in asked]
    hits = [len({*exact["name"]} & {*found["name"]}) / TOP for exact, found in pairs]
    rows = [[*approximate, f"{np.mean(hits):.3f}"]]
    query = lambda q: index.search(q, exact=True)  # noqa: E731
    rows.append([*measured("LanceDB's vectors in memory, exact", query, asked), "1"])

    def flat(q: np.ndarray) -> object:
        found: Any = index.table.search(q, "vector")
        found = found.distance_type("l2").bypass_vector_index()
        return found.limit(TOP).select(["name", "_distance"]).to_arrow()

    rows.append([*measured("LanceDB's own exact search", flat, asked[:4]), "1"])
    vectors = np.concatenate(index.vectors)
    index._forget_what_was_read()
    plain = lambda q: np.argpartition(-(vectors @ q), TOP)[:TOP]  # noqa: E731
    rows.append([*measured("plain array, exact", plain, asked), "1"])
    try:
        import faiss
    except ImportError:
        return rows
    store = faiss.IndexFlatIP(index.dim)
    store.add(vectors)
    rows.append([*measured("faiss, exact", lambda q: store.search(q[None], TOP), asked), "1"])
    return rows


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("UPM_BENCH_DIR")) as place:
        folder = Path(place)
        os.environ["UPM_RUNS"] = place
        made = untrained()
        drawn = world.World(identities=50, cameras=2, frames=10)
        root = world.write(drawn, folder / "drawn") / "multi_shot"
        print("## The index of a gallery\n")
        print(
            "Adding 100 tracklets of 10 frames by both MobileNetV1 at 256x128, one thread. Aim: "
            "the tracklets already there make no difference.\n"
        )
        torch.set_num_threads(1)
        head = ("tracklets already there", "added", "CPU s", "wall s")
        print(timing.table(head, adding(folder, root, made)), flush=True)
        index = open_index(folder / "large.lance", made)
        fill(index, ROWS)
        module.EXACT = ROWS - 1
        began = time.perf_counter()
        index._tidy()
        built = time.perf_counter() - began
        print(
            f"\nA query against {ROWS:,} vectors of {index.dim:,} numbers (people in 200 "
            f"directions, with noise), the best {TOP}; the index for approximate search was built "
            f"in {built:.0f} s. Peak memory is that of the whole process. Aims: 500 ms exact, "
            "50 ms approximate with recall 0.95.\n"
        )
        columns = ("store", "ms", "CPU ms", "peak GB", f"recall@{TOP}")
        print(timing.table(columns, searching(index)))


if __name__ == "__main__":
    main()
