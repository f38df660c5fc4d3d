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
from upm_lib.config import OFFICIAL, Config, UserError, known
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.paper import study

# The switches and the network that shows each. Not here: restore_bn_statistics (the demo's network
# starts random, and frozen blocks are nothing without their statistics).
ASSOCIATION = ("distance", "anchor_difference", "repeats", "partner_anchor", "rank_unvisited")
PRINTED = {"cross_case": "cross", "anchor_length": "stored"}  # Eqs. (4)-(6) to the letter
PAGE = Path(__file__).resolve().parents[1] / "FIDELITY.md"
HEAD = ("head_activation", "train_global_head")


def cases(config: Config, resized: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (name, method, changes) of every line; how to resize matters to resized frames."""
    lines: list[tuple[str, str, dict[str, Any]]] = []
    both = (*ASSOCIATION, "resize") if resized else ASSOCIATION
    for method, names in (("local", both), ("global", HEAD)):
        lines += [(f"{name} = {OFFICIAL[name]}", method, {name: OFFICIAL[name]}) for name in names]
    lines += [(f"{name} = {value}", "local", {name: value}) for name, value in PRINTED.items()]
    pool = "mean" if config.tracklet_pool == "max" else "max"
    lines += [
        ("both of these, as printed", "local", PRINTED),
        ("all of these, as published", "local", {name: OFFICIAL[name] for name in both}),
        ("all of these, as published", "global", {n: OFFICIAL[n] for n in (*both, *HEAD)}),
        (f"tracklet_pool = {pool}", "local", {"tracklet_pool": pool}),
        ("normalise_branches = True", "fusion", {"normalise_branches": True}),
    ]
    return lines


def scores(bench: Bench, method: str, trials: int, changes: dict[str, Any]) -> pd.DataFrame:
    """Return rank1 and mAP in percent by trial."""
    return measuring.compare(bench, [method], trials, **changes).set_index("trial")


def table(bench: Bench, trials: int, switches: list[str]) -> str:
    """Return the table as Markdown; of some switches only, if any are named."""
    config = bench.config
    text = [
        f"Rank-1 in %, {bench.label} `{config.dataset}`, scale {bench.scale}, {config.backbone} at "
        f"{config.height}x{config.width}, {config.length}, k = {config.k}, frames pooled by their "
        f"{config.tracklet_pool}, {trials} trials of {len(bench.dataset.people) // 2} test people; "
        "mean ± standard deviation over the trials, differences in points, paired by trial, with "
        "the 95 % interval of their mean.",
        "",
        "| switch | network | default | switched | difference | difference in mAP |",
        "|---|---|---|---|---|---|",
    ]
    resized = bench.frames.pixels.shape[1:3] != (config.height, config.width)
    for name, method, changes in cases(config, resized):
        if switches and name.split()[0] not in switches:
            continue
        base, other = (scores(bench, method, trials, which) for which in ({}, changes))
        rank1 = (measuring.spread(side["rank1"]) for side in (base, other))
        apart = (study.told(study.difference(other[m], base[m])) for m in ("rank1", "mAP"))
        cells = (f"`{name}`" if "=" in name else name, method, *rank1, *apart)
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
    parser.add_argument(
        "--switch", action="append", default=[], help="only this, or all; may be repeated"
    )
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("FIELD", "VALUE"))
    parser.add_argument("--write", action="store_true", help="put the table into FIDELITY.md")
    arguments = parser.parse_args()
    if arguments.trials < 2:
        raise UserError("a standard deviation needs at least 2 trials")
    switches = dict.fromkeys(name.split()[0] for name, _, _ in cases(Config(), resized=True))
    for switch in arguments.switch:
        known(switches, switch, "switch")
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
