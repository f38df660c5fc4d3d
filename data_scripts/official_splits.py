"""Import the ten published splits of PRID2011 or iLIDS-VID, so that a trial is the paper's trial.

    git clone https://github.com/yanbeic/Deep-Association-Learning
    python data_scripts/official_splits.py prid2011 --from Deep-Association-Learning
    python data_scripts/official_splits.py ilids_vid --download

The lists are files ``split1/traindata.txt`` and so on, one line a frame:

    cam1/person_0147/0001.png 1 1 1

path, number of the person within the list, camera, number of the sequence. Every file must have
the SHA-256 of the public one (``official_splits.sha256`` beside this script); the people are stored
in the run store, where ``splits = "official"`` finds them. With ``--export`` the drawn splits of a
data set are written in the same form, for other software or to be imported again.
"""

import argparse
import hashlib
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

from upm_lib import files, runs
from upm_lib.command import command, refuse
from upm_lib.config import PAPER, UserError, known, preset
from upm_lib.data import catalogue, splits
from upm_lib.data.tracklets import Dataset

COMMIT = "70157b79f6ffb73aa7115e2a5a641c0cc09dd550"
SOURCE = f"github.com/yanbeic/Deep-Association-Learning, commit {COMMIT}"
BASE = f"https://raw.githubusercontent.com/yanbeic/Deep-Association-Learning/{COMMIT}/"
LISTS = "evaluation/datasplits"
# Their name there, and the number of people in each half.
PUBLISHED = {"prid2011": ("PRID2011", 89), "ilids_vid": ("iLIDS-VID", 150)}
TRIALS = 10
HALVES = ("train", "test")
LARGEST = 2**23  # bytes of a list; the published ones have about one million
LINE = re.compile(r"cam([12])/person_?(\d{1,9})/\w[\w.-]* (\d{1,9}) ([12]) \d{1,9}", re.ASCII)

Halves = tuple[list[int], list[int]]


def file_name(trial: int, half: str) -> str:
    """Return the name of a list below the data set's folder."""
    return f"split{trial}/{half}data.txt"


def digests() -> dict[str, str]:
    """Return the SHA-256 of each published file by its name ``DATASET/splitN/traindata.txt``."""
    text = Path(__file__).with_suffix(".sha256").read_text()
    return {name: digest for digest, name in (line.split() for line in text.splitlines())}


# ---------------------------------------------------------------- getting the files


def local_files(folder: Path, name: str) -> dict[str, bytes]:
    """Return the contents of the lists in a copy of the repository, or of a folder in it."""
    their_name = PUBLISHED.get(name, (name,))[0]
    places = [folder / LISTS / their_name, folder / "datasplits" / their_name, folder / their_name]
    first = file_name(1, "train")
    found = [place for place in (*places, folder) if (place / first).is_file()]
    if not found:
        raise UserError(f"{folder} has no {LISTS}/{their_name}/{first}: give the repository's copy")
    last = TRIALS if name in PUBLISHED else len(list(found[0].glob("split*/traindata.txt")))
    names = [file_name(trial, half) for trial in range(1, last + 1) for half in HALVES]
    with files.readable():
        return {file: files.read(found[0] / file, LARGEST) for file in names}


def downloaded_files(name: str) -> dict[str, bytes]:
    """Return the contents of the published lists from the public repository."""
    if name not in PUBLISHED:
        raise UserError(f"{name} has no published splits: --download is for {', '.join(PUBLISHED)}")
    contents = {}
    for trial in range(1, TRIALS + 1):
        for half in HALVES:
            file = file_name(trial, half)
            address = f"{BASE}{LISTS}/{PUBLISHED[name][0]}/{file}"
            try:
                with urllib.request.urlopen(address, timeout=30) as response:
                    contents[file] = response.read(LARGEST)
            except (urllib.error.URLError, OSError) as error:
                raise UserError(
                    f"{address} cannot be had ({error}): download it otherwise and use --from"
                ) from error
    return contents


def unknown(files: dict[str, bytes], name: str) -> list[str]:
    """Return the names of files that are not, byte by byte, the published ones."""
    known, their_name = digests(), PUBLISHED.get(name, (name,))[0]
    found = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    return [file for file, digest in found.items() if known.get(f"{their_name}/{file}") != digest]


# ---------------------------------------------------------------- reading them


def identities(content: bytes, file: str) -> list[int]:
    """Return the people of a list, sorted; they are in the paths, the last number is no person.

    Raises UserError for a line of another form (a path that leads elsewhere too), and unless each
    person is seen by both cameras under one number of the list.
    """
    cameras: dict[tuple[int, int], set[str]] = {}
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), start=1):
        match = LINE.fullmatch(line)
        if not match or match[1] != match[4]:
            raise UserError(
                f"{file}, line {number} is not of the form `cam1/person_0001/0001.png 1 1 1`: "
                "get the file anew"
            )
        cameras.setdefault((int(match[2]), int(match[3])), set()).add(match[1])
    people = [person for person, _ in cameras]
    numbers = {number for _, number in cameras}
    if not len(cameras) == len(set(people)) == len(numbers):
        raise UserError(f"{file}: people and their numbers do not belong together one to one")
    for (person, _), seen in cameras.items():
        if len(seen) != 2:
            raise UserError(f"{file}: person {person} is in one camera only")
    return sorted(people)


def trials(files: dict[str, bytes], name: str) -> list[Halves]:
    """Return (train, test) people of each trial, checked.

    The halves are disjoint, of the published size, and divide the same people in every trial.
    """
    found: list[Halves] = []
    for trial in range(1, len(files) // 2 + 1):
        train, test = (identities(files[f], f) for f in (file_name(trial, h) for h in HALVES))
        if both := {*train} & {*test}:
            raise UserError(f"split{trial}: person {min(both)} is in both halves")
        half = PUBLISHED[name][1] if name in PUBLISHED else (len(train) + len(test)) // 2
        if len(train) != half or len(test) - half not in (0, name not in PUBLISHED):
            raise UserError(
                f"split{trial} has {len(train)} people to train on and {len(test)} to test, "
                f"not {half} and {half}"
            )
        if found and {*train, *test} != {*found[0][0], *found[0][1]}:
            raise UserError(f"split{trial} is not about the same people as split1")
        found.append((train, test))
    return found


# ---------------------------------------------------------------- writing such files


def list_of(dataset: Dataset, people: list[int]) -> str:
    """Return the lines of a list: person after person, camera after camera."""
    number = {person: place for place, person in enumerate(people, start=1)}
    wanted = [t for t in dataset.tracklets if t.person in number]
    wanted.sort(key=lambda t: (t.person, t.camera))
    lines = []
    for sequence, tracklet in enumerate(wanted, start=1):
        camera = tracklet.camera + 1
        for frame in tracklet.frames:
            path = "/".join((f"cam{camera}", *frame.split("/")[-2:]))
            lines.append(f"{path} {number[tracklet.person]} {camera} {sequence}\n")
    return "".join(lines)


def export(dataset: Dataset, folder: Path) -> None:
    """Write the drawn splits of a two-camera data set as ``splitN/{train,test}data.txt``."""
    if dataset.subset or len(dataset.cameras) != 2:
        raise UserError(f"{dataset.name} is not halved into trials of two cameras")
    if dataset.name == "folder":
        what = "folders of one's own need not be named as the lists name people"
        raise UserError(f"{what}: export a data set of a known layout")
    for trial in range(1, TRIALS + 1):
        for half, people in zip(HALVES, splits.drawn(dataset.people, trial), strict=True):
            path = folder / file_name(trial, half)
            with runs.replacing(path) as temporary:
                temporary.write_text(list_of(dataset, people))


# ---------------------------------------------------------------- the command


def run(arguments: argparse.Namespace) -> str:
    """Do what the command line asks for; return a line that says what was done."""
    name = known(sorted({*PAPER, *PUBLISHED}), arguments.dataset, "data set")
    if arguments.export is not None:
        folder, config = files.place(arguments.export), preset(name, root=arguments.root)
        export(catalogue.load(config), folder)
        return f"{TRIALS} drawn splits of {name} are in {arguments.export}"
    if arguments.download:
        lists = downloaded_files(name)
    else:
        lists = local_files(files.place(arguments.source), name)
    other = unknown(lists, name)
    if other and (arguments.download or not arguments.unverified):
        raise UserError(
            f"{other[0]}{f' and {len(other) - 1} more' if other[1:] else ''} is not the published "
            "file (another SHA-256): get it anew without changing line endings, or say "
            "--unverified for a local list that you trust"
        )
    found = trials(lists, name)
    source = {"from": SOURCE if not other else "a local list", "unverified": other}
    path = splits.store(name, found, source)
    train, test = found[0]
    state = f"{len(other)} files unverified" if other else "all files as published"
    return f"{len(found)} splits of {len(train)} + {len(test)} people ({state}) are in {path}"


@command
def main(argv: list[str] | None = None) -> None:
    """Import or export; exit code 2: the sentence printed says what to mend."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", help="prid2011, ilids_vid, or one whose splits you exported")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--from", dest="source", help="a copy of the public repository")
    way.add_argument("--download", action="store_true", help="from the public repository")
    way.add_argument("--export", help="folder for the drawn splits of the data set")
    parser.add_argument("--root", help="folder of the data set, for --export")
    parser.add_argument(
        "--unverified", action="store_true", help="with --from: take files that are not published"
    )
    arguments = parser.parse_args(argv)
    if arguments.export is None:
        refuse(parser, arguments, ["root"], "lists are imported without the data set")
    if arguments.source is None:
        refuse(parser, arguments, ["unverified"], "only lists of --from may be others")
    print(run(arguments))


if __name__ == "__main__":
    sys.exit(main())
