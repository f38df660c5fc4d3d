"""The data sets there are, and opening one by its name."""

import shutil
import warnings
from pathlib import Path

from upm_lib import runs
from upm_lib.config import PAPER, Caution, Config, UserError, known
from upm_lib.data.readers import dukemtmc, folder, market1501, mars, sequences, ward
from upm_lib.data.tracklets import KINDS, Dataset, by_kind, unread
from upm_lib.synthetic import world

NAMES = tuple(name for name in PAPER if name not in world.WORLDS)
DIVIDED = {
    "dukemtmc": dukemtmc.read,
    "mars": mars.read,
    "market1501": market1501.read,
    "market1501_sequences": market1501.read_sequences,
}
UNDIVIDED = {
    "prid2011": sequences.prid2011,
    "ilids_vid": sequences.ilids_vid,
    "ward": ward.read,
    "folder": folder.read,
}


def load(config: Config, progress: bool = False) -> Dataset:
    """Open the data set of a config; the synthetic ones are drawn on first use.

    Raises UserError with one sentence for a folder that is not as its layout should be.
    """
    name, root = config.dataset, config.root
    if name in world.WORLDS:
        dataset = _synthetic(name, root, config.min_frames, progress)
    elif root is None:
        raise UserError(f"the data set {name} is not synthetic: give its folder as root")
    else:
        dataset = read(name, root, config.min_frames)
    if dataset.empty and name in (*DIVIDED, "ward", "folder"):  # others leave out such people
        raise UserError(f"{dataset.empty[0]} holds no picture ({KINDS}): fill it or remove it")
    if others := unread(dataset):
        what = f"left out {len(others)} file(s) beside the frames of {name} in {dataset.root}"
        advice = f"{others[0]} ...: make them one of {KINDS}, or remove them"
        warnings.warn(f"{what} ({by_kind(others)}): {advice}", Caution, stacklevel=2)
    return dataset


def _synthetic(name: str, root: str | None, min_frames: int, progress: bool) -> Dataset:
    settings = world.WORLDS[name]
    if root is None:
        root = str(drawn(name, settings, progress))
    if settings.seen_by:
        return dukemtmc.read(root, name)
    return sequences.prid2011(root, min_frames, name)


def drawn(name: str, settings: world.World, progress: bool = False) -> Path:
    """Return the folder of a synthetic world in the run store: as it was drawn, or drawn now."""
    place = runs.store() / "data" / f"{name}-{world.digest(settings)}"
    with runs.lock(place.with_name(f"{place.name}.lock")):
        if place.exists() and not world.as_drawn(place):
            text = f"{place} is damaged or of an older version: it is drawn anew"
            warnings.warn(text, Caution, stacklevel=2)
            shutil.rmtree(place)
        return world.write(settings, place, progress)


def read(name: str, root: str | Path, min_frames: int = 1) -> Dataset:
    """Read a data set, one of ``NAMES``, from its folder.

    Shorter tracklets than ``min_frames`` are left out, where nothing else divides the set.

    Raises UserError if the folders are not as they should be, and for DukeMTMC-VideoReID unless
    the environment variable UPM_DUKEMTMC_RIGHTS is "yes".
    """
    known(NAMES, name, "data set")
    if name == "dukemtmc":
        dukemtmc.confirm_rights()
    return DIVIDED[name](root) if name in DIVIDED else UNDIVIDED[name](root, min_frames)
