"""Reading PRID2011 (Hirzer et al., SCIA 2011)."""

from pathlib import Path

from upm_lib.data.readers import sequences
from upm_lib.data.tracklets import Dataset

LAYOUT = sequences.Sequences("multi_shot", ("cam_a", "cam_b"), "person_", "0001")


def read(
    root: str | Path,
    min_frames: int = 28,
    name: str = "prid2011",
    *,
    empty: list[str] | None = None,
) -> Dataset:
    """Read PRID2011: ``multi_shot/cam_a/person_0001/0001.png``.

    Kept are the people seen by every camera whose tracklets all have at least ``min_frames``
    frames; with the paper's "more than 27" these are 178 people of the real set. Frames are in
    sorted order. ``empty`` gathers the folders without a picture.

    Raises UserError if the folders are not there or nobody is left.
    """
    return sequences.read(Path(root).expanduser(), name, LAYOUT, min_frames, empty)
