"""Run all benchmarks, each in a fresh process, and write RESULTS.md."""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import timing

ALL = (  # all but exchange, which needs torchrun
    *("step", "anchors", "backbone", "extraction", "evaluation", "growth", "deploy", "index"),
    "startup",
)


def main() -> None:
    """Print the parts as they come; write the file at the end."""
    argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__).parse_args()
    parts = [
        "# Measured speed\n",
        f"Written by `make bench` on: {timing.machine()}.\n\n"
        "Medians. Ratios are between runs that alternate; CPU s are processor seconds over all "
        "threads, which other programs on the machine disturb least.\n",
    ]
    for name in ALL:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            sys.exit(f"benchmarks.{name} failed")
        print(done.stdout, flush=True)
        parts.append(done.stdout)
    (Path(__file__).parent / "RESULTS.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
