"""How soon a kernel is ready: imports in fresh processes."""

import statistics
import subprocess
import sys
import time

from benchmarks import timing

CODE = ("pass", "import upm_lib", "import torch", "import upm_lib.experiments")


def main() -> None:
    """Print the table."""
    seconds: dict[str, list[float]] = {code: [] for code in CODE}
    for run in range(4):
        for code in CODE:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if run > 0:
                seconds[code].append(time.perf_counter() - began)
    rows = [[f"`{code}`", f"{statistics.median(s):.2f}"] for code, s in seconds.items()]
    print("## Start-up\n")
    print("Wall seconds of a fresh interpreter. Aim: a notebook's first result within 10 s.\n")
    print(timing.table(("code", "s"), rows))


if __name__ == "__main__":
    main()
