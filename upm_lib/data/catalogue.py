"""The data sets there are, what their real copies hold, and opening one by its name."""

from pathlib import Path

from upm_lib import runs
from upm_lib.config import Config, UserError, known
from upm_lib.data.readers import dukemtmc, folder, ilids_vid, market1501, mars, prid2011, ward
from upm_lib.data.tracklets import SUBSETS, Dataset
from upm_lib.synthetic import world

NAMES = (
    "prid2011",
    "ilids_vid",
    "dukemtmc",
    "mars",
    "ward",
    "market1501",
    "market1501_sequences",
    "folder",
)
# Of Market-1501, with either kind of training tracklets. The gallery's identities are 750 people
# and one number for all distractors; junk is left out.
_MARKET = {
    "train identities": 751,
    "train frames": 12936,
    "query identities": 750,
    "query frames": 3368,
    "gallery identities": 751,
    "gallery frames": 15913,
    "pictures left out": 3819,
}

# What the real sets hold, with the paper's limit of 28 frames for PRID2011. MARS's identities are
# the folders of its two parts; those of the test part include 0000 (distractors) and 00-1 (junk).
KNOWN: dict[str, dict[str, int]] = {
    "prid2011": {"identities": 178, "tracklets": 356, "frames": 38466},
    "ilids_vid": {"identities": 300, "tracklets": 600, "frames": 42459},
    "dukemtmc": {
        "train identities": 702,
        "train tracklets": 2196,
        "query tracklets": 702,
        "gallery tracklets": 2636,
    },
    "mars": {
        "train identities": 625,
        "test identities": 636,
        "train tracklets": 8298,
        "query tracklets": 1980,
        "gallery tracklets": 9330,
    },
    "ward": {"identities": 70, "tracklets": 210, "frames": 4786},
    "market1501": _MARKET | {"train tracklets": 3262},
    "market1501_sequences": _MARKET,  # how many tracklets these are, no source says
    "folder": {},
}
# The folders (and lists) that each layout has, below its root.
LAYOUT: dict[str, tuple[str, ...]] = {
    "prid2011": ("multi_shot/cam_a", "multi_shot/cam_b"),
    "ilids_vid": ("sequences/cam1", "sequences/cam2"),
    "dukemtmc": SUBSETS,
    "mars": ("bbox_train", "bbox_test", *(f"info/{file}" for file in mars.INFO)),
    "ward": (".",),  # all pictures lie in the root
    "market1501": tuple(market1501.FOLDERS.values()),
    "market1501_sequences": tuple(market1501.FOLDERS.values()),
    "folder": (),
}


def load(config: Config, progress: bool = False) -> Dataset:
    """Open the data set of a config; the synthetic ones are drawn on first use.

    Raises UserError with one sentence for a folder that is not as its layout should be.
    """
    name, root = config.dataset, config.root
    if name in world.WORLDS:
        return _synthetic(name, root, config.min_frames, progress)
    if root is None:
        raise UserError(f"the data set {name} is not synthetic: give its folder as root")
    return read(name, root, config.min_frames)


def _synthetic(name: str, root: str | None, min_frames: int, progress: bool) -> Dataset:
    settings = world.WORLDS[name]
    if root is None:
        folder = runs.store() / "data" / f"{name}-{world.digest(settings)}"
        root = str(world.write(settings, folder, progress))
    if settings.seen_by:
        return dukemtmc.read(root, name)
    return prid2011.read(root, min_frames, name)


def read(
    name: str, root: str | Path, min_frames: int = 1, *, empty: list[str] | None = None
) -> Dataset:
    """Read a data set, one of ``NAMES``, from its folder.

    Shorter tracklets than ``min_frames`` are left out, where nothing else divides the set.
    ``empty`` gathers the tracklet folders without a picture; None: the first one is refused (by the
    two-camera sets as little as any short one: its person is left out).

    Raises UserError if the folders are not as they should be, and for DukeMTMC-VideoReID unless
    the environment variable UPM_DUKEMTMC_RIGHTS is "yes".
    """
    known(NAMES, name, "data set")
    divided = {
        "mars": mars.read,
        "market1501": market1501.read,
        "market1501_sequences": market1501.read_sequences,
    }
    if name in divided:
        return divided[name](root, name)
    if name == "ward":
        return ward.read(root, min_frames, name)
    if name == "dukemtmc":
        dukemtmc.confirm_rights()
        return dukemtmc.read(root, name, empty=empty)
    by_name = {"prid2011": prid2011.read, "ilids_vid": ilids_vid.read, "folder": folder.read}
    return by_name[name](root, min_frames, name, empty=empty)
