"""Measure what each difference between the paper and its published code changes.

    python data_scripts/ablation.py --trials 3
    python data_scripts/ablation.py --dataset ward --root DIR --scale frozen --trials 10 --write

Trains networks with one switch after the other set to the published code's behaviour, with all of
them, and with the equations as printed where the default is another reading. All run on the same
trials as the default; prints a table of paired differences in Rank-1 with the 95 % interval of
their mean. With --write the measurements go to upm_lib/paper/switches.csv, where those of other
switches and trials stay, and the table of all that the file holds of the data set to FIDELITY.md.
Finished runs are found in the run store, so an interrupted ablation goes on where it stopped.
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from upm_lib import runs
from upm_lib.command import command, typed
from upm_lib.config import OFFICIAL, Config, UserError, known, to_json
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.experiments.measurement import trial_numbers, trials_text
from upm_lib.paper import committed, study
from upm_lib.retrieval import model_file

# The switches and the network that shows each. Not here: restore_bn_statistics (the demo's network
# starts random, and frozen blocks are nothing without their statistics).
ASSOCIATION = ("distance", "anchor_difference", "repeats", "partner_anchor", "rank_unvisited")
PRINTED = {"cross_case": "cross", "anchor_length": "stored"}  # Eqs. (4)-(6) to the letter
PAGE = Path(__file__).resolve().parents[1] / "FIDELITY.md"
DATA = Path(study.__file__).with_name("switches.csv")
DEFAULT = "default"
HEAD = ("head_activation", "train_global_head")


def cases(config: Config, resized: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (name, method, changes) of every line; how to resize matters to resized frames."""
    lines: list[tuple[str, str, dict[str, Any]]] = []
    both = (*ASSOCIATION, "resize") if resized else ASSOCIATION
    for method, names in (("local", both), ("global", HEAD)):
        lines += [(f"{name} = {OFFICIAL[name]}", method, {name: OFFICIAL[name]}) for name in names]
    lines += [(f"{name} = {value}", "local", {name: value}) for name, value in PRINTED.items()]
    lines.append(("part_length = normalised", "global", {"part_length": "normalised"}))
    pool = "mean" if config.tracklet_pool == "max" else "max"
    lines += [
        ("both of these, as printed", "local", PRINTED),
        ("all of these, as published", "local", {name: OFFICIAL[name] for name in both}),
        ("all of these, as published", "global", {n: OFFICIAL[n] for n in (*both, *HEAD)}),
        (f"tracklet_pool = {pool}", "local", {"tracklet_pool": pool}),
        ("normalise_branches = True", "fusion", {"normalise_branches": True}),
    ]
    return lines


def measured(bench: Bench, trials: list[int], switches: list[str]) -> pd.DataFrame:
    """Measure the default and every line, or the lines of some switches, trial by trial.

    Columns dataset, method, switch ("default" or a line's name), trial, rank1 and mAP (both in
    percent), cpu, settings (a digest of what all lines share, config and data).
    """
    size = bench.config.height, bench.config.width
    resized = bench.frames.pixels.shape[1:3] != size
    if "resize" in switches and not resized:
        what = "the frames of {} are {}x{} pixels already".format(bench.config.dataset, *size)
        raise UserError(f"{what}, so that nothing is resized: leave out --switch resize")
    lines = [
        line
        for line in cases(bench.config, resized)
        if not switches or line[0].split()[0] in switches
    ]
    lines = [(DEFAULT, method, {}) for method in dict.fromkeys(line[1] for line in lines)] + lines
    config = to_json(model_file.nameless(bench.config))
    settings = runs.digest([config, bench.frames.digest])
    shared = {"cpu": torch.backends.cpu.get_cpu_capability(), "settings": settings}
    rows = []
    for trial, (name, method, changes) in product(trials, lines):
        found = measuring.measure(bench, bench.measurement(method, trial, **changes))
        row = {"dataset": bench.config.dataset, "method": method, "switch": name, "trial": trial}
        rows.append(row | {m: round(found[m], 3) for m in ("rank1", "mAP")} | shared)
        print(f"trial {trial}, {method}, {name}: {rows[-1]['rank1']}", file=sys.stderr)
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame) -> str:
    """Return measurements of one data set as a Markdown table: switches first, then groups."""
    text = [
        "| switch | network | trials | default | switched | difference | difference in mAP |",
        "|---|---|---|---|---|---|---|",
    ]
    by = rows.set_index(["method", "switch", "trial"]).sort_index()
    names = dict.fromkeys((method, name) for method, name, _ in by.index if name != DEFAULT)
    for method, name in sorted(names, key=lambda line: ("=" not in line[1], line[0] != "local")):
        other, default = by.loc[method, name], by.loc[method, DEFAULT]
        base = default.loc[other.index]
        rank1 = (measuring.spread(side["rank1"]) for side in (base, other))
        apart = (study.told(study.difference(other[m], base[m])) for m in ("rank1", "mAP"))
        cells = (f"`{name}`" if "=" in name else name, method, str(len(other)), *rank1, *apart)
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def about(bench: Bench, rows: pd.DataFrame) -> str:
    """Return the sentence above a table."""
    config, trials = bench.config, sorted(rows["trial"].unique().tolist())
    people, cpus = bench.searched_people(trials[0]), " and ".join(sorted(rows["cpu"].unique()))
    kind = "synthetic" if bench.is_synthetic else "real people"
    return (
        f"Rank-1 in %, {config.dataset} ({kind}), scale {bench.scale}, {config.backbone} at "
        f"{config.height}x{config.width}, {config.length}, k = {config.k}, frames pooled by their "
        f"{config.tracklet_pool}, trials {trials_text(trials)} of {people} test people, {cpus}; "
        "mean ± standard deviation over the trials, differences in points, paired by trial, with "
        "the 95 % interval of their mean.\n\n"
    )


def kept(dataset: str) -> pd.DataFrame:
    """Return what switches.csv holds of a data set."""
    every = pd.read_csv(DATA)
    return every[every["dataset"] == dataset]


def write(bench: Bench, rows: pd.DataFrame) -> None:
    """Keep measurements in switches.csv, and put the table of their data set into FIDELITY.md.

    Raises UserError if the file holds measurements of that data set under other settings.
    """
    dataset = bench.config.dataset
    before, after = _page(dataset)
    if {*kept(dataset)["settings"]} - {*rows["settings"]}:
        what = f"{DATA.name} holds {dataset} of other settings or data"
        raise UserError(f"{what}: leave out --write, or remove its lines there")
    committed.keep(rows, DATA, ["dataset", "method", "switch", "trial"])
    every = kept(dataset)
    with runs.replacing(PAGE) as temporary:
        text = before + about(bench, every) + table(every) + after
        temporary.write_text(text, encoding="utf-8")


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
    parser.add_argument("--trials", default="3", help="at least 2, as 3 or 5-10 (default: 3)")
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
    trials = trial_numbers(arguments.trials)
    if len(trials) < 2:
        raise UserError("a standard deviation needs at least 2 trials")
    switches = dict.fromkeys(name.split()[0] for name, _, _ in cases(Config(), resized=True))
    for switch in arguments.switch:
        known(switches, switch, "switch")
    if arguments.write:
        _page(arguments.dataset)  # before anything is trained
    where = {"root": arguments.root, "weights": arguments.weights}
    fields = typed(arguments.p)
    for name in ("dataset", "root", "weights"):
        if name in fields:
            raise UserError(f"-p {name} is not for this script: it is the option --{name}")
    bench = open_bench(arguments.dataset, arguments.scale, progress=False, **where, **fields)
    rows = measured(bench, trials, arguments.switch)
    print(about(bench, rows) + table(rows))
    if arguments.write:
        write(bench, rows)


if __name__ == "__main__":
    sys.exit(main())
