"""Pack the frames of a data set ahead of time, or check every byte of what is packed.

    python data_scripts/pack.py prid2011 --root /data/prid_2011
    python data_scripts/pack.py prid2011 --root /data/prid_2011 --verify

A data set is packed on first use anyway; this shows the progress, and says what was left out. The
check on every opening looks at a sample of a large pack; --verify looks at all of it, and makes a
damaged pack anew.
"""

import argparse
import sys

from upm_lib.config import command, preset
from upm_lib.data import catalogue, packing
from upm_lib.data.packing import Frames


def pack(name: str, root: str | None, verify: bool) -> list[str]:
    """Open the frames of a data set, packed if need be; return lines that describe the pack."""
    dataset = catalogue.load(preset(name, root=root), progress=True)
    frames = Frames(dataset, progress=True)
    text = []
    if verify:
        what = packing.damage(frames.folder, frames.index, every_byte=True)
        text = [f"{frames.folder / 'frames.npy'} {what or 'is as it was written, byte by byte'}"]
        if what:
            (frames.folder / "index.json").unlink()  # without it the pack counts as not made
            frames = Frames(dataset, progress=True)
            text[0] += ": made anew"
    count, height, width, _ = frames.pixels.shape
    size = f"{frames.pixels.nbytes / 1e6:.1f} MB"
    text.append(f"{count} frames of {height}x{width} pixels ({size}) in {frames.folder}")
    return text + [f"left out: {dataset.root / frame}" for frame in frames.skipped]


@command
def main(argv: list[str] | None = None) -> None:
    """Pack or check; exit code 2: the sentence printed says what to mend."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", help="such as prid2011 or synthetic_clean")
    parser.add_argument("--root", help="folder of the data set (not for the synthetic ones)")
    parser.add_argument("--verify", action="store_true", help="check every byte of the pack")
    arguments = parser.parse_args(argv)
    print(*pack(arguments.dataset, arguments.root, arguments.verify), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
