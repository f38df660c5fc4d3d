"""Measure what misaligned boxes do to each method on WARD, and keep it as data.

    python data_scripts/alignment.py --root DIR --weights FILE --trials 10

For each query of each trial: how far its box and those of its true matches are apart vertically,
and its average precision by baseline, local-aware and global-aware network. For the trials of
--shifted: Rank-1 and mAP when the boxes of all queries are moved. The networks are those of the
study (data_scripts/study.py, part "ward"), found in the run store or trained. Goes to
upm_lib/paper/misaligned.csv and moved.csv, where other trials stay.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from upm_lib import paper
from upm_lib.command import command
from upm_lib.experiments import alignment
from upm_lib.experiments.bench import open_bench
from upm_lib.experiments.measurement import trial_numbers
from upm_lib.paper.committed import keep

SHARES = [-0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15]


@command
def main() -> None:
    """Measure and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True, help="folder of WARD")
    parser.add_argument("--weights", help="trained weights of the backbone")
    parser.add_argument("--trials", default="10", help="by query (default: %(default)s)")
    parser.add_argument("--shifted", default="3", help="with moved boxes (default: %(default)s)")
    arguments = parser.parse_args()
    given = {"root": arguments.root, "weights": arguments.weights}
    bench = open_bench("ward", "frozen", progress=False, **given)
    trials, shifted = map(trial_numbers, (arguments.trials, arguments.shifted))
    found = {
        "misaligned": [alignment.by_query(bench, n) for n in trials],
        "moved": [alignment.cost_of_shift(bench, SHARES, n) for n in shifted],
    }
    for name, tables in found.items():
        keep(pd.concat(tables).round(4), Path(paper.__file__).with_name(f"{name}.csv"), ["trial"])


if __name__ == "__main__":
    sys.exit(main())
