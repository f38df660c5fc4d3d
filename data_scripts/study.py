"""Measure the paper's comparisons on WARD and the synthetic worlds, and keep them as data.

    python data_scripts/study.py --weights mobilenet_v1.safetensors --trials 5
    python data_scripts/study.py --weights mobilenet_v1.safetensors --ward DIR --trials 4-10 \
        --part ward --part ward-parts --part ward-pooling

WARD (real people) and each synthetic world have the same parts: the methods and both fusions at
k = 8 ("ward"), every other k ("ward-parts"), maximum pooling at k = 2 (Table 3; "ward-pooling"),
the global-aware head left as it was drawn ("ward-head"), four trained blocks in place of two
("ward-deeper"), and cluster contrast in the place of association learning, with one centre a
cluster ("ward-cluster") or one for each of its cameras ("ward-cluster-camera"). All have the
ImageNet MobileNetV1 of which, but for "-deeper", the last two blocks are trained.
Beside them the worlds have the small backbone that starts at random, also at twice and four times
its steps ("-demo"); the clean world is also learnt for 16 epochs ("synthetic_clean-longer"), and
its knobs are turned one by one ("knob-"). WARD's baseline with four blocks is also learnt for 4
epochs ("ward-deeper-shorter"), and its boxes are cut tighter ("ward-tighter"). A finished
measurement is found in the run store, so an interrupted study goes on; several processes may share
the work by --part. With --write the parts that have been measured go to study.csv and study.json in
upm_lib/paper.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from PIL import Image

from upm_lib import files, runs
from upm_lib.command import command, refuse
from upm_lib.config import UserError, to_json
from upm_lib.data import catalogue
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.experiments.measurement import trial_numbers
from upm_lib.paper import committed, study
from upm_lib.retrieval import model_file
from upm_lib.synthetic import world

BRANCHES = ("local", "global")
FUSIONS: tuple[dict[str, Any], ...] = ({}, {"normalise_branches": True})
POOLS: tuple[dict[str, Any], ...] = ({}, {"tracklet_pool": "max"})
KNOBS = {
    "clutter": (0.4, 0.8),
    "occlusion": (0.4, 0.8),
    "vertical_sd": (0.0, 0.06, 0.12),
}


class Case(NamedTuple):
    """One measurement: where, with which backbone, what, and the knob that is turned."""

    part: str
    dataset: str
    scale: str
    method: str
    changes: dict[str, Any]
    knob: str = ""
    value: float = 0.0


def cases() -> Iterator[Case]:
    """Yield every case of the study; those of a part share their networks."""
    for dataset in ("ward", *world.WORLDS):
        for part, method, changes in _methods():
            yield Case(dataset + part, dataset, "frozen", method, changes)
    for dataset in world.WORLDS:  # the small backbone, from a random start
        for method in ("histogram", "untrained", "baseline", *BRANCHES):
            yield Case(f"{dataset}-demo", dataset, "demo", method, {})
        for fusion in FUSIONS:
            yield Case(f"{dataset}-demo", dataset, "demo", "fusion", fusion)
        for steps in (800, 1600):  # twice and four times as long
            for method in ("baseline", *BRANCHES):
                yield Case(f"{dataset}-demo", dataset, "demo", method, {"steps": steps})
            for fusion in FUSIONS:
                yield Case(f"{dataset}-demo", dataset, "demo", "fusion", {"steps": steps} | fusion)
    for pool in POOLS:  # with four blocks 8 epochs may be too long for the baseline
        shorter: dict[str, Any] = {"epochs": 4, "freeze": 9} | pool
        yield Case("ward-deeper-shorter", "ward", "frozen", "baseline", shorter)
    for method in ("baseline", *BRANCHES):  # the clean world's networks still gain after 8 epochs
        yield Case("synthetic_clean-longer", "synthetic_clean", "frozen", method, {"epochs": 16})
    for fusion in FUSIONS:
        fused = {"epochs": 16} | fusion
        yield Case("synthetic_clean-longer", "synthetic_clean", "frozen", "fusion", fused)
    for knob, values in KNOBS.items():  # synthetic_clean itself stands at its own value
        for value in values:
            for method in ("baseline", *BRANCHES, "fusion"):
                yield Case(f"knob-{knob}", "synthetic_clean", "frozen", method, {}, knob, value)
    for value in (0.0, 0.1):  # the share of the picture that is cut off at each side
        for method in ("baseline", *BRANCHES, "fusion"):
            yield Case("ward-tighter", "ward", "frozen", method, {}, "tighter", value)


def _methods() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (part, method, changes); frames are pooled both ways, which trains nothing anew."""
    yield "", "histogram", {}
    yield from (("", "untrained", {"k": k}) for k in (1, 8))
    for part, parts in (("", (8,)), ("-parts", (2, 4, 1))):
        for k, pool in product(parts, POOLS):
            if k == 8:
                yield part, "baseline", pool
            for branch in BRANCHES if k > 1 else ("global",):
                yield part, branch, {"k": k} | pool
            yield from ((part, "fusion", {"k": k} | fusion | pool) for fusion in FUSIONS)
    for method in ("baseline", *BRANCHES, "fusion"):
        yield "-pooling", method, {"k": 2, "pool": "gmp"}
    for method in ("global", "fusion"):
        yield "-head", method, {"train_global_head": False}
    for pool in POOLS:
        yield from (("-deeper", m, {"freeze": 9} | pool) for m in ("baseline", *BRANCHES))
        yield from (("-deeper", "fusion", fused | {"freeze": 9} | pool) for fused in FUSIONS)
    unit: dict[str, Any] = {"part_length": "normalised"}
    for (part, blocks), pool in product(
        {"-unit": {}, "-unit-deeper": {"freeze": 9}}.items(), POOLS
    ):
        yield from ((part, branch, blocks | unit | pool) for branch in BRANCHES)
        yield from ((part, "fusion", blocks | fused | unit | pool) for fused in FUSIONS)
    for part, centres in (("-cluster", {}), ("-cluster-camera", {"centres": "camera"})):
        for method in ("baseline", *BRANCHES, "fusion"):
            yield part, method, {"objective": "cluster"} | centres
    # at the temperature that is best for the baseline, in a trial that is not reported
    cooler = {"objective": "cluster", "centres": "camera", "temperature": 0.1}
    yield "-cluster-camera", "baseline", cooler


def bench_of(case: Case, weights: str | None, ward: str | None) -> Bench:
    """Open the bench of a case; a turned knob has its world drawn, or its pictures cut, first."""
    root = ward if case.dataset == "ward" else None
    if case.knob == "tighter":
        root = tighter(root, case.value) if root and case.value else root
    elif case.knob:
        knobs: dict[str, Any] = {case.knob: case.value}
        turned = replace(world.WORLDS[case.dataset], **knobs)
        root = str(catalogue.drawn(case.dataset, turned))
    given: dict[str, Any] = {"weights": weights} if case.scale == "frozen" else {}
    return open_bench(case.dataset, case.scale, root=root, progress=False, **given)


def tighter(ward: str, share: float) -> str:
    """Return a copy of WARD with a share of every picture cut off at each of its four sides."""
    folder = runs.store() / "data" / f"ward-tighter-{share:g}"
    with runs.lock(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            with runs.replacing(folder, folder=True) as made:
                for path in files.place(ward).glob("*.png"):
                    with Image.open(path) as image:
                        x, y = (round(share * size) for size in image.size)
                        cut = image.crop((x, y, image.width - x, image.height - y))
                    cut.save(made / path.name)
    return str(folder)


def row(case: Case, bench: Bench, trial: int) -> dict[str, Any]:
    """Measure a case on one trial; one line of the study's table."""
    record = measuring.measure(bench, bench.measurement(case.method, trial, **case.changes))
    config = record["config"]
    line = case._asdict() | {"trial": trial, "backbone": config["backbone"]}
    line["k"] = config["k"]
    line |= {name: round(record[name], 3) for name in measuring.METRICS}
    line |= {"seconds": round(record["seconds"], 1), "correct_pairs": None}
    if case.method in ("baseline", *BRANCHES):
        run = bench.network(case.method, trial, **case.changes)
        trainer = networks.find_or_train(bench, run)
        line["correct_pairs"] = round(networks.correct_share(bench, trainer), 4)
    return line


def run(part: str, trials: list[int], weights: str | None, ward: str | None) -> None:
    """Measure all cases of a part, trial by trial; the networks stay in the run store."""
    folder = runs.store() / "study" / part
    todo = [(c, bench_of(c, weights, ward)) for c in cases() if c.part == part]
    for trial in trials:
        file = folder / f"trial{trial}.json"
        made = [b.measurement(c.method, trial, **c.changes) for c, b in todo]
        key = runs.digest([measuring.key(b, m) for (_, b), m in zip(todo, made, strict=True)])
        if (runs.find_json(file) or {}).get("key") == key:
            continue
        began = time.perf_counter()
        lines = [row(case, bench, trial) for case, bench in todo]
        config = to_json(model_file.nameless(todo[-1][1].config.replace(**_common(todo))))
        versions = runs.versions() | {"cpu": torch.backends.cpu.get_cpu_capability()}
        kept = {"rows": lines, "config": config, "versions": versions}
        runs.write_json(file, kept | {"key": key, "code": committed.code()})
        print(f"{part} trial {trial}: {time.perf_counter() - began:.0f} s", flush=True)


def _common(todo: list[tuple[Case, Bench]]) -> dict[str, Any]:
    """Return the changes that all cases of a part share."""
    first, *others = (case.changes for case, _ in todo)
    return {n: value for n, value in first.items() if all(o.get(n) == value for o in others)}


def _variant(changes: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in changes.items() if name != "k")


def write(folder: Path) -> None:
    """Put the trials that the store holds into ``folder/study.csv`` and ``folder/study.json``.

    They replace the same trials of their part; what was measured elsewhere stays. Raises UserError
    if the store holds nothing, or a trial with other settings than the rest of its part.
    """
    about = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    rows = []
    for file in sorted((runs.store() / "study").glob("*/trial*.json")):
        kept, part = committed.read(file), file.parent.name
        before = about.get(part, kept)["config"]
        if other := [n for n, value in kept["config"].items() if before.get(n, value) != value]:
            raise UserError(f"{file}: other trials of {part} had another {', '.join(other)}")
        cpu = kept["versions"].pop("cpu")
        about[part] = {"config": kept["config"], "versions": kept["versions"]}
        rows += [line | {"cpu": cpu} for line in kept["rows"]]
    if not rows:
        raise UserError("the run store holds nothing of the study: run it without --write first")
    lines = pd.DataFrame(rows)
    lines["variant"] = [_variant(changes) for changes in lines["changes"]]
    lines = lines.drop(columns="changes")
    table = committed.keep(lines, folder / "study.csv", ["part", "trial"])
    with runs.replacing(folder / "study.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(table.groupby("part")["trial"].nunique().to_dict(), indent=1))


def write_pairs(folder: Path, trials: list[int], weights: str | None, ward: str) -> None:
    """Put Rank-1, 5 and 20 of WARD's pairs of cameras into ``folder/camera_pairs.csv``."""
    bench = open_bench("ward", "frozen", root=ward, weights=weights, progress=False)
    tables = [
        measuring.by_camera_pair(bench, bench.measurement(method, trial))
        for trial in trials
        for method in ("untrained", "baseline", *BRANCHES, "fusion")
    ]
    committed.keep(pd.concat(tables).round(3), folder / "camera_pairs.csv", ["trial"])


@command
def main() -> None:
    """Run the study, a part of it, or write down what has been measured."""
    parts = list(dict.fromkeys(case.part for case in cases()))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", help="ImageNet weights of MobileNetV1; default: download them")
    parser.add_argument("--ward", metavar="DIR", help="folder of WARD, for its parts")
    parser.add_argument("--trials", default="5", help="5 (1 to 5, the default), 4-10 or 1,3")
    parser.add_argument(
        "--part", choices=parts, action="append", help="default: all that have data"
    )
    parser.add_argument("--threads", type=int, help="of each operation; default: torch's")
    parser.add_argument("--pairs", action="store_true", help="write WARD's pairs of cameras")
    parser.add_argument("--write", action="store_true", help="write the data, measure nothing")
    arguments = parser.parse_args()
    if arguments.write:
        given = ["weights", "ward", "trials", "part", "threads", "pairs"]
        refuse(parser, arguments, given, "--write measures nothing")
    if arguments.pairs:
        refuse(parser, arguments, ["part"], "--pairs is of WARD alone")
    if arguments.threads is not None and arguments.threads < 1:
        raise UserError(f"--threads must be at least 1, not {arguments.threads}")
    trials = trial_numbers(arguments.trials)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.write:
        write(Path(study.__file__).parent)
        return
    if arguments.pairs:
        write_pairs(Path(study.__file__).parent, trials, arguments.weights, arguments.ward)
        return
    usual = [part for part in parts if arguments.ward or not part.startswith("ward")]
    for part in arguments.part or usual:
        run(part, trials, arguments.weights, arguments.ward)


if __name__ == "__main__":
    sys.exit(main())
