"""Reading iLIDS-VID (Wang et al., ECCV 2014)."""

from pathlib import Path

from upm_lib.data.readers import sequences
from upm_lib.data.tracklets import Dataset

LAYOUT = sequences.Sequences("sequences", ("cam1", "cam2"), "person", "001")


def read(
    root: str | Path,
    min_frames: int = 1,
    name: str = "ilids_vid",
    *,
    empty: list[str] | None = None,
) -> Dataset:
    """Read iLIDS-VID: ``i-LIDS-VID/sequences/cam1/person001/*.png``.

    Root is i-LIDS-VID or the folder that contains it. Kept are the people seen by both cameras
    with at least ``min_frames`` frames: all 300 of the real set. ``empty`` gathers the folders
    without a picture.

    Raises UserError if the folders are not there or nobody is left.
    """
    root = Path(root).expanduser()
    root = root / "i-LIDS-VID" if (root / "i-LIDS-VID" / "sequences").is_dir() else root
    return sequences.read(root, name, LAYOUT, min_frames, empty)
