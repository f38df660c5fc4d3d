"""Measure what each difference between the paper and its published code changes on synthetic data.

    python data_scripts/ablation.py --trials 3 --write

Trains the demo networks with one switch after the other set to the published code's behaviour, with
all of them, and with the equations as printed where the default is another reading. All run on the
same trials as the default; prints a table of paired differences in Rank-1. With --write the table
replaces the one between the markers in FIDELITY.md. Finished runs are found in the run store, so an
interrupted ablation goes on where it stopped.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from upm_lib import runs
from upm_lib.config import OFFICIAL, UserError, command
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench, open_bench

# The switches that can act on the demo networks, and the network that shows each. Not here: resize
# (the demo's frames have the network's size) and restore_bn_statistics (it starts random).
ASSOCIATION = ("distance", "anchor_difference", "repeats", "partner_anchor", "rank_unvisited")
PRINTED = {"cross_case": "cross", "anchor_length": "stored"}  # Eqs. (4)-(6) to the letter
HEAD = ("head_activation", "train_global_head")
MARKERS = re.compile(r"(<!-- ablation -->\n).*?(<!-- end -->)", re.DOTALL)


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


def rank1(bench: Bench, method: str, trials: int, changes: dict[str, Any]) -> np.ndarray:
    """Return Rank-1 in percent of each trial."""
    return measuring.compare(bench, [method], trials, **changes)["rank1"].to_numpy()


def table(bench: Bench, trials: int) -> str:
    """Return the table as Markdown."""
    text = [
        f"Rank-1 in %, {bench.label} `{bench.config.dataset}`, demo networks, "
        f"k = {bench.config.k}, {trials} trials of {len(bench.dataset.people) // 2} test people; "
        "mean ± standard deviation over the trials, differences paired by trial.",
        "",
        "| switch | network | default | switched | difference |",
        "|---|---|---|---|---|",
    ]
    for name, method, changes in cases():
        base = rank1(bench, method, trials, {})
        other = rank1(bench, method, trials, changes)
        cells = (base, other, other - base)
        values = [f"{v.mean():.1f} ± {v.std(ddof=1):.1f}" for v in cells]
        text.append(f"| `{name}` | {method} | {values[0]} | {values[1]} | {values[2]} |")
        print(text[-1], file=sys.stderr)
    return "\n".join(text) + "\n"


@command
def main() -> None:
    """Run the ablation and print or write its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=3, help="at least 2 (default: %(default)s)")
    parser.add_argument("--dataset", default="synthetic_clean", help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="put the table into FIDELITY.md")
    arguments = parser.parse_args()
    if arguments.trials < 2:
        raise UserError("a standard deviation needs at least 2 trials")
    found = table(open_bench(arguments.dataset), arguments.trials)
    print(found)
    if arguments.write:
        page = Path(__file__).resolve().parents[1] / "FIDELITY.md"
        with runs.replacing(page) as temporary:
            temporary.write_text(MARKERS.sub(lambda m: m[1] + found + m[2], page.read_text()))


if __name__ == "__main__":
    sys.exit(main())
