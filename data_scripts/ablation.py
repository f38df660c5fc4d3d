"""Measure what each difference between the paper and its published code changes.

    python data_scripts/ablation.py --trials 3 --write
    python data_scripts/ablation.py --dataset ward --root DIR --scale frozen --switch partner_anchor

Trains networks with one switch after the other set to the published code's behaviour, with all of
them, and with the equations as printed where the default is another reading. All run on the same
trials as the default; prints a table of paired differences in Rank-1 with the 95 % interval of
their mean. With --write the table replaces the one of that data set in FIDELITY.md. Finished runs
are found in the run store, so an interrupted ablation goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from upm_lib import runs
from upm_lib.command import command, typed
from upm_lib.config import OFFICIAL, UserError, known
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.paper import study

# The switches that can act on the demo networks, and the network that shows each. Not here: resize
# (the demo's frames have the network's size) and restore_bn_statistics (it starts random).
ASSOCIATION = ("distance", "anchor_difference", "repeats", "partner_anchor", "rank_unvisited")
PRINTED = {"cross_case": "cross", "anchor_length": "stored"}  # Eqs. (4)-(6) to the letter
PAGE = Path(__file__).resolve().parents[1] / "FIDELITY.md"
HEAD = ("head_activation", "train_global_head")


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    """Return (name, method, changes) of every line of the table."""
    lines: list[tuple[str, str, dict[str, Any]]] = []
    for method, names in (("local", ASSOCIATION), ("global", HEAD)):
        lines += [(f"{name} = {OFFICIAL[name]}", method, {name: OFFICIAL[name]}) for name in names]
    lines += [(f"{name} = {value}", "local", {name: value}) for name, value in PRINTED.items()]
    lines += [
        ("all of the association", "local", {name: OFFICIAL[name] for name in ASSOCIATION}),
        ("all", "global", {name: OFFICIAL[name] for name in ASSOCIATION + HEAD}),
        ("tracklet_pool = mean", "local", {"tracklet_pool": "mean"}),
        ("normalise_branches = True", "fusion", {"normalise_branches": True}),
    ]
    return lines


def rank1(bench: Bench, method: str, trials: int, changes: dict[str, Any]) -> "pd.Series[float]":
    """Return Rank-1 in percent by trial."""
    rows = measuring.compare(bench, [method], trials, **changes)
    return rows.set_index("trial")["rank1"]


def table(bench: Bench, trials: int, switches: list[str]) -> str:
    """Return the table as Markdown; of some switches only, if any are named."""
    config = bench.config
    text = [
        f"Rank-1 in %, {bench.label} `{config.dataset}`, scale {bench.scale}, {config.backbone} at "
        f"{config.height}x{config.width}, {config.length}, k = {config.k}, {trials} trials of "
        f"{len(bench.dataset.people) // 2} test people; mean ± standard deviation over the trials, "
        "differences paired by trial with the 95 % interval of their mean.",
        "",
        "| switch | network | default | switched | difference |",
        "|---|---|---|---|---|",
    ]
    for name, method, changes in cases():
        if switches and not any(name.startswith(f"{switch} =") for switch in switches):
            continue
        base = rank1(bench, method, trials, {})
        other = rank1(bench, method, trials, changes)
        gap = study.difference(other, base)
        apart = f"{gap['mean']:+.1f} [{gap['low']:+.1f}, {gap['high']:+.1f}]"
        cells = (f"`{name}`", method, measuring.spread(base), measuring.spread(other), apart)
        text.append(f"| {' | '.join(cells)} |")
        print(text[-1], file=sys.stderr)
    return "\n".join(text) + "\n"


def write(dataset: str, found: str) -> None:
    """Put the table of a data set between its markers in FIDELITY.md."""
    before, after = _page(dataset)
    with runs.replacing(PAGE) as temporary:
        temporary.write_text(before + found + after, encoding="utf-8")


def _page(dataset: str) -> tuple[str, str]:
    """Return what stands before and after a data set's table; raise UserError if it has none."""
    before, marker, rest = PAGE.read_text("utf-8").partition(f"<!-- ablation {dataset} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not end:
        raise UserError(f"FIDELITY.md has no place for a table of {dataset}: leave out --write")
    return before + marker, end + after


@command
def main() -> None:
    """Run the ablation and print or write its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=3, help="at least 2 (default: %(default)s)")
    parser.add_argument("--dataset", default="synthetic_clean", help="default: %(default)s")
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--scale", default="demo", help="default: %(default)s")
    parser.add_argument("--weights", help="trained weights of the backbone")
    parser.add_argument("--switch", action="append", default=[], help="only this; may be repeated")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("FIELD", "VALUE"))
    parser.add_argument("--write", action="store_true", help="put the table into FIDELITY.md")
    arguments = parser.parse_args()
    if arguments.trials < 2:
        raise UserError("a standard deviation needs at least 2 trials")
    for switch in arguments.switch:
        names = [name.partition(" = ")[0] for name, _, _ in cases() if " = " in name]
        known(dict.fromkeys(names), switch, "switch")
    if arguments.write:
        _page(arguments.dataset)  # before anything is trained
    where = {"root": arguments.root, "weights": arguments.weights}
    fields = typed(arguments.p)
    bench = open_bench(arguments.dataset, arguments.scale, progress=False, **where, **fields)
    found = table(bench, arguments.trials, arguments.switch)
    print(found)
    if arguments.write:
        write(arguments.dataset, found)


if __name__ == "__main__":
    sys.exit(main())
