"""Check a copy of a data set: folders, counts, pictures; and draw a sample of it.

    python data_scripts/check_dataset.py prid2011 /data/prid_2011

Prints which folders were expected and found, what the set holds beside what it should hold, the
tracklets that are empty or have pictures that cannot be read, where the set comes from and on what
terms, and writes a sample strip as a PNG. Every picture is decoded, so a large set takes a while.
The exit code is 0 if all is fine, 1 if something differs or is broken, 2 for a wrong call. Nothing
is downloaded and nothing in the folder is changed. DukeMTMC-VideoReID was withdrawn by its owners:
it is checked only for those who confirm a right to their copy by UPM_DUKEMTMC_RIGHTS=yes.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from upm_lib import files, runs
from upm_lib.command import command, loading
from upm_lib.config import UserError, known, preset
from upm_lib.data import catalogue
from upm_lib.data.readers import dukemtmc, market1501, mars
from upm_lib.data.tracklets import (
    IMAGE_SUFFIXES,
    SUBSETS,
    UNKNOWN,
    Dataset,
    Tracklet,
    by_kind,
    folders,
    unread,
)

MARKET = (
    "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    "the page names no licence, and asks to cite Zheng et al., ICCV 2015",
)
# Where the set comes from, and on what terms.
ORIGIN = {
    "prid2011": (
        "https://www.tugraz.at/index.php?id=17766 (TU Graz and AIT)",
        "for research; cite Hirzer et al., SCIA 2011",
    ),
    "ilids_vid": (
        "http://www.eecs.qmul.ac.uk/~xiatian/downloads_qmul_iLIDS-VID_ReID_dataset.html (QMUL)",
        "for academic research; the pictures are the UK Home Office's (i-LIDS), whose terms hold; "
        "cite Wang et al., ECCV 2014",
    ),
    "dukemtmc": (
        "none: DukeMTMC was withdrawn by its owners, and is not to be looked for",
        "only for those who have a right to use their copy",
    ),
    "mars": (
        "http://zheng-lab.cecs.anu.edu.au/Project/project_mars.html, the lists at "
        "https://github.com/liangzheng06/MARS-evaluation",
        "for academic research; cite Zheng et al., ECCV 2016",
    ),
    "ward": (
        "https://github.com/iN1k1/CVPR2012 (toolbox/Datasets)",
        "BSD-3-Clause; cite Martinel and Micheloni, CVPR Workshops 2012",
    ),
    "market1501": MARKET,
    "market1501_sequences": MARKET,
    "folder": (
        "your own",
        "mind the consent of the people in it, and the law where you are",
    ),
}

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


def counts(dataset: Dataset) -> dict[str, int]:
    """Return how much a data set holds, by subset if it has an official division."""
    kinds = dataset.subset or ("",) * len(dataset.tracklets)
    found: dict[str, int] = {}
    for kind in dict.fromkeys(kinds):
        of = [t for t, k in zip(dataset.tracklets, kinds, strict=True) if k == kind]
        identities = len({t.person for t in of} - {UNKNOWN})
        values = (identities, len(of), sum(len(t.frames) for t in of))
        names = (f"{kind} {what}".strip() for what in ("identities", "tracklets", "frames"))
        found |= dict(zip(names, values, strict=True))
    if dataset.name == "mars":
        for part in ("train", "test"):
            found[f"{part} identities"] = len(folders(dataset.root / f"bbox_{part}"))
    return found | left_out(dataset)


def left_out(dataset: Dataset) -> dict[str, int]:
    """Return how many pictures, such as junk, and other files of the layout are no frames."""
    frames = {frame for tracklet in dataset.tracklets for frame in tracklet.frames}
    found = {"pictures left out": 0, "other files": 0}
    for place in LAYOUT[dataset.name] or (".",):
        for folder, _, names in os.walk(dataset.root / place):
            inside = os.path.relpath(folder, dataset.root)
            paths = {os.path.normpath(os.path.join(inside, name)) for name in names} - frames
            shown = [path for path in paths if not os.path.basename(path).startswith(".")]
            pictures = sum(os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES for path in shown)
            found["pictures left out"] += pictures
            found["other files"] += len(paths) - pictures
    return found


def broken_pictures(dataset: Dataset) -> list[tuple[Tracklet, list[str]]]:
    """Return the tracklets with pictures that cannot be decoded, and which these are."""

    def broken(tracklet: Tracklet) -> list[str]:
        return [frame for frame in tracklet.frames if not is_whole(dataset.root / frame)]

    tracklets = dataset.tracklets
    with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock alone
        checked = pool.map(broken, tracklets)
        bar = tqdm(checked, "pictures", len(tracklets), unit=" tracklets", disable=None)
        return [(t, found) for t, found in zip(tracklets, bar, strict=True) if found]


def is_whole(file: Path) -> bool:
    """Whether a picture can be read."""
    from upm_lib.data.packing import decode  # brings torch, which --help does without

    try:
        return decode(file) is not None
    except UserError:
        return False


def sample(dataset: Dataset, people: int = 5) -> list[int]:
    """Return tracklets worth a look: of people all over the set, each in two cameras if known."""
    chosen: list[int] = []
    tracklets = dataset.tracklets
    if not dataset.identified:
        return np.unique(np.linspace(0, len(tracklets) - 1, 2 * people).astype(int)).tolist()
    places = np.linspace(0, len(dataset.people) - 1, min(people, len(dataset.people)))
    for person in (dataset.people[int(p)] for p in places):
        seen: dict[int, int] = {}
        for number, tracklet in enumerate(tracklets):
            if tracklet.person == person:
                seen.setdefault(tracklet.camera, number)
        chosen += [seen[camera] for camera in sorted(seen)[:2]]
    return chosen


def strip(dataset: Dataset, broken: set[str], folder: Path) -> Path | None:
    """Draw a sample of the tracklets into a folder; None if no picture can be read.

    The file has a digest of the root in its name, so that two copies of a set have two.
    """
    from upm_lib.data.packing import decode
    from upm_lib.pictures import canvas, photos

    rows, labels = [], []
    for number in sample(dataset):
        tracklet = dataset.tracklets[number]
        frames = [f for f in tracklet.frames if f not in broken]
        if not frames:
            continue
        shown = np.unique(np.linspace(0, len(frames) - 1, 8).astype(int))
        images = (decode(dataset.root / frames[i]) for i in shown)
        rows.append(np.stack([cv2.resize(i, (64, 128)) for i in images if i is not None]))
        who = "person unknown" if tracklet.person == UNKNOWN else f"person {tracklet.person}"
        subset = f", {dataset.subset[number]}" if dataset.subset else ""
        labels.append(f"{who}, {dataset.cameras[tracklet.camera]}{subset}, {len(frames)} frames")
    if not rows:
        return None
    title = f"{dataset.name}: up to eight frames of each tracklet"
    name = f"{dataset.name}-{runs.digest(str(dataset.root.resolve()))}"
    return canvas.save(photos.contact_sheet(rows, labels, title=title), name, folder)


# ---------------------------------------------------------------- the report


def report_layout(name: str, root: Path) -> bool:
    """Print which folders and lists are there; return whether all are."""
    whole = True
    print("folders")
    for place in LAYOUT[name]:
        there = (root / place).exists()
        whole &= there
        print(f"  {place:<28}{'found' if there else 'MISSING'}")
    if not LAYOUT[name]:
        cameras = ", ".join(p.name for p in folders(root)) or "none"
        print(f"  any camera names            found: {cameras}")
    return whole


def report_counts(dataset: Dataset) -> bool:
    """Print what the set holds beside what it should; return whether they agree."""
    known, agree = KNOWN[dataset.name], True
    print(f"{'counts':<28}{'found':>10}{'known':>10}" if known else "counts")
    for what, found in counts(dataset).items():
        differs = what in known and known[what] != found
        agree &= not differs
        expected = f"{known[what]:>10,}" if what in known else ""
        print(f"  {what:<26}{found:>10,}{expected}{'  DIFFERS' if differs else ''}")
    if not dataset.identified:
        print("  no identities.csv: training, features and search work, evaluation does not")
    return agree


def report_unread(names: list[str]) -> bool:
    """Print how many files of kinds that are not read lie beside frames; return whether none."""
    first = f" ({by_kind(names)}), the first is {names[0]}" if names else ""
    print(f"files of kinds that are not read: {len(names) or 'none'}{first}")
    return not names


def report_broken(empty: list[str], broken: list[tuple[Tracklet, list[str]]]) -> bool:
    """Print the names of empty and broken tracklets; return whether there is none."""
    print(f"tracklets without a picture: {len(empty) or 'none'}")
    for place in empty:
        print(f"  {place}")
    print(f"tracklets with pictures that cannot be read: {len(broken) or 'none'}")
    for tracklet, bad in broken:
        first, last = tracklet.frames[0], os.path.basename(tracklet.frames[-1])
        print(f"  {first} to {last}: {len(bad)} of {len(tracklet.frames)}, first {bad[0]}")
    return not empty and not broken


def check(name: str, root: Path, out: Path, min_frames: int | None) -> bool:
    """Print the report on a data set and draw its sample; return whether all is fine.

    Without ``min_frames`` the shortest tracklets are as short as the paper's.
    """
    known(catalogue.NAMES, name, "data set")
    limit = preset(name, "paper", min_frames=min_frames).min_frames
    if name == "dukemtmc":
        dukemtmc.confirm_rights()
    if not root.is_dir():
        raise UserError(f"{root} is no folder: give the folder of the data set")
    if name == "ilids_vid" and (root / "i-LIDS-VID").is_dir():
        root = root / "i-LIDS-VID"
    print(f"{name} in {root}")
    fine, as_published = report_layout(name, root), True
    try:
        dataset = catalogue.read(name, root, limit)
    except UserError as error:
        print(f"cannot be read: {error}")
        fine = False
    else:
        as_published = report_counts(dataset)
        broken = broken_pictures(dataset)
        fine &= report_unread(unread(dataset))
        fine &= report_broken([e.relative_to(root).as_posix() for e in dataset.empty], broken)
        drawn = strip(dataset, {frame for _, bad in broken for frame in bad}, out)
        print(f"sample strip: {drawn or 'no picture can be read'}")
    page, terms = ORIGIN[name]
    print(f"owner: {page}\nterms: {terms}")
    whole = (
        "all fine" if as_published else "it can be read, but is NOT the published set: see above"
    )
    print(whole if fine else "NOT as it should be: see above")
    return fine and as_published


@command
def main(argv: list[str] | None = None) -> int:
    """Check a data set; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", help=", ".join(catalogue.NAMES))
    parser.add_argument("root", metavar="ROOT", help="the folder of the data set")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where the sample strip NAME-DIGEST.png goes (default: checks/ in the run store)",
    )
    parser.add_argument(
        "--min-frames",
        type=int,
        metavar="N",
        help="leave out shorter tracklets (default: as the paper)",
    )
    arguments = parser.parse_args(argv)
    loading()
    root, out = files.place(arguments.root), runs.store() / "checks"
    if arguments.out is not None:
        files.outside(arguments.out, root)
        out = files.place(arguments.out)
    with files.readable():
        return 1 - check(arguments.name, root, out, arguments.min_frames)


if __name__ == "__main__":
    sys.exit(main())
