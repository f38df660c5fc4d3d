"""Measure curves: Rank-1 of held-out people after each epoch of long trainings.

    python data_scripts/curves.py ward --root DIR --weights FILE --trials 11-11 --people 12

Trains baseline, local-aware and global-aware networks on two thirds or so of a trial's training
half and searches the rest of it; the test half is not touched. With --cross-until the cross-camera
term of the loss is left out from that epoch on, with -p any field of the config is another.
Finished trials are kept in the run store; with --write all that it holds goes to
upm_lib/paper/curves.csv, where what was measured elsewhere stays.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from upm_lib import paper, runs
from upm_lib.command import command, refuse, typed
from upm_lib.config import UserError
from upm_lib.experiments import curves, measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.experiments.measurement import BRANCHES, trial_numbers
from upm_lib.paper import committed

EPOCHS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0]

METHODS = ("fusion", "baseline")
DEFAULT = "default"  # the variant without -p


def write(folder: Path) -> None:
    """Put the curves that the run store holds into ``folder/curves.csv``."""
    kept = sorted((runs.store() / "curves").glob("*.json"))
    if not kept:
        raise UserError("the run store holds no curves: run it without --write first")
    records = [committed.read(file) for file in kept]
    found = pd.concat(pd.DataFrame(one["rows"]).assign(data=one.get("data")) for one in records)
    for dataset, data in found.groupby("dataset")["data"]:
        if data.nunique(dropna=False) > 1:
            what = f"{kept[0].parent} holds curves of two sets of data named {dataset}"
            raise UserError(f"{what}: remove the files of one of them")
    name = ["dataset", "trial", "length", "people", "cross_until", "variant", "method"]
    committed.keep(found.drop(columns="data").round(4), folder / "curves.csv", name)


def run(bench: Bench, method: str, trial: int, about: dict[str, Any]) -> None:
    """Measure one curve, unless the run store holds it; ``about`` goes into each of its rows."""
    data = bench.frames.digest
    name = "-".join([*map(str, about.values()), str(trial), method, data])
    file = runs.store() / "curves" / f"{name}.json"
    key = measuring.key(bench, bench.measurement(method, trial))
    if (runs.find_json(file) or {}).get("key") == key:
        return
    rows = curves.curve(bench, method, trial, EPOCHS, about["cross_until"])
    made = rows.assign(**about).to_dict("records")
    runs.write_json(file, {"rows": made, "key": key, "code": committed.code(), "data": data})
    print(rows.round(3).to_string(), flush=True)


@command
def main() -> None:
    """Measure the curves of a data set, or write down those that have been measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", nargs="?", help="not with --write")
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--weights", help="trained weights of the backbone")
    parser.add_argument("--trials", default="11-11", help="default: %(default)s")
    parser.add_argument("--people", type=int, default=12, help="held out (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=60.0, help="default: %(default)s")
    parser.add_argument(
        "--method",
        action="append",
        choices=BRANCHES,
        help="default: fusion, which has its two branches, and baseline",
    )
    parser.add_argument(
        "--cross-until", type=float, metavar="EPOCH", help="default: to the end of the training"
    )
    parser.add_argument(
        "-p", nargs=2, action="append", dest="fields", default=[], metavar=("FIELD", "VALUE")
    )
    parser.add_argument("--write", action="store_true", help="write the data, measure nothing")
    arguments = parser.parse_args()
    if arguments.write:
        others = ["root", "weights", "trials", "people", "epochs", "method", "cross_until"]
        refuse(parser, arguments, [*others, "fields"], "--write measures nothing")
        if arguments.dataset:
            raise UserError(f"--write takes whatever was measured: leave out {arguments.dataset!r}")
        write(Path(paper.__file__).parent)
        return
    if arguments.cross_until is not None and not 0 < arguments.cross_until <= arguments.epochs:
        what = f"--cross-until must be above 0 and at most {arguments.epochs:g}"
        raise UserError(f"{what}, not {arguments.cross_until:g}")
    if not arguments.dataset:
        raise UserError("name a data set, or --write what has been measured")
    changes = typed(arguments.fields)
    given = {name: getattr(arguments, name) for name in ("root", "weights", "epochs")}
    for name in ("dataset", "steps", *given):
        if name in changes:
            raise UserError(f"-p {name} is not for this script: it has options for data and length")
    bench = open_bench(arguments.dataset, "frozen", progress=False, **given, **changes)
    bench = curves.held_out(bench, arguments.people)
    about = {
        "dataset": arguments.dataset,
        "length": arguments.epochs,
        "people": arguments.people,
        "cross_until": arguments.cross_until or arguments.epochs,
        "variant": ", ".join(f"{name}={changes[name]}" for name in sorted(changes)) or DEFAULT,
    }
    for trial in trial_numbers(arguments.trials):
        for method in arguments.method or METHODS:
            run(bench, method, trial, about)


if __name__ == "__main__":
    sys.exit(main())
