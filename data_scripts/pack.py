"""Pack the frames of a data set ahead of time.

    python data_scripts/pack.py prid2011 --root /data/prid_2011

A data set is packed on first use anyway; this shows the progress, and says what was left out. What
is packed is checked byte by byte whenever it is opened; here, too.
"""

import argparse
import sys

from upm_lib.command import add_quiet, command, loading
from upm_lib.config import preset
from upm_lib.data import catalogue


@command
def main(argv: list[str] | None = None) -> None:
    """Pack; exit code 2: the sentence printed says what to mend."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", help="such as prid2011 or synthetic_clean")
    parser.add_argument("--root", help="folder of the data set (not for the synthetic ones)")
    parser.add_argument("--min-frames", type=int, metavar="N", help="leave out shorter tracklets")
    add_quiet(parser)
    arguments = parser.parse_args(argv)
    loading()
    from upm_lib.data.packing import Frames  # brings torch, which --help does without

    progress = not arguments.quiet
    where = {"root": arguments.root, "min_frames": arguments.min_frames}
    dataset = catalogue.load(preset(arguments.dataset, **where), progress)
    frames = Frames(dataset, progress)
    count, height, width, _ = frames.pixels.shape
    size = f"{frames.pixels.nbytes / 1e6:.1f} MB"
    print(f"{count} frames of {height}x{width} pixels ({size}) in {frames.folder}")
    for frame in frames.skipped:
        print(f"left out: {dataset.root / frame}")


if __name__ == "__main__":
    sys.exit(main())
