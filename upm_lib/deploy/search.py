"""Finding the tracklets in an index that look like a given one; no identity is needed."""

import difflib
import os
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from upm_lib import files, runs
from upm_lib.config import Caution, UserError
from upm_lib.data.packing import decode
from upm_lib.data.tracklets import images
from upm_lib.deploy.index import VERSION, Index, clip, open_index
from upm_lib.pictures import canvas, photos
from upm_lib.retrieval.model_file import Model

COLUMNS = ["camera", "tracklet", "person", "distance", "thumbnail"]
SHOWN = 50  # matches in a picture, at most: a page of ten rows
SIZE = (256, 512)  # pixels of one in it, at most
GREY = np.full((128, 64, 3), 200, np.uint8)  # in the place of a picture that is gone


class Found(NamedTuple):
    """The best matches of a query, nearest first."""

    query: str
    image: NDArray[np.uint8]  # of the query, RGB [h, w, 3]
    searched: int  # tracklets
    matches: pd.DataFrame  # rank, camera, tracklet, person, distance (0 to 2), thumbnail


def of_gallery(
    root: str | Path, model: Model | None, scale: str, progress: bool, **options: Any
) -> Index:
    """Return an index, in the run store, of the tracklets in a gallery as they are now.

    Without a model both networks are found in the run store, or trained now on all of the gallery;
    identities that are known make no difference.
    """
    if model is None:
        from upm_lib.experiments import networks  # all of training, which an index does not need
        from upm_lib.experiments.bench import open_bench

        bench = open_bench("folder", scale, root=str(root), progress=progress, **options)
        bench = replace(bench, dataset=bench.dataset.anonymous)
        fusion = bench.measurement("fusion", bench.config.trial)
        model = networks.as_model(bench, fusion)
    place = files.place(root).resolve()
    name = f"{place.name}-{runs.digest([str(place), model.digest, VERSION])}.lance"
    found = open_index(runs.store() / "index" / name, model)
    if gone := found.add(root, progress).absent:
        found.remove(gone)
    return found


def search(index: Index, query: str, top: int = 5, same_camera: bool = False) -> Found:
    """Rank the tracklets of an index by their distance to a query (section 3.5).

    The query is a tracklet of the index as CAMERA/TRACKLET, whose camera is left out unless
    ``same_camera``, or a folder of frames or a picture anywhere; of these the camera is not known,
    and all are searched.

    Raises UserError for a query that is neither, and if nothing is left to be searched.
    """
    if top < 1:
        raise UserError(f"top must be at least 1, not {top}")
    name, known = _name_in(index, query), index.about
    if name is None:
        frames = _frames(index, query)
        vector, image, cameras = index.model.describe(frames), frames[len(frames) // 2], None
    else:
        own = known.loc[[name]].to_dict("records")[0]
        vector, image = index.vector(name), _picture(own["thumbnail"])
        cameras = None if same_camera else {*known["camera"].unique()} - {own["camera"]}
    searched = len(known) if cameras is None else int(known["camera"].isin(cameras).sum())
    searched -= name is not None and cameras is None  # nobody asks for the query itself
    if not searched:
        alone = "holds no other tracklet" if same_camera or len(known) < 2 else (
            "has no tracklet of another camera than that of the query: give --same-camera"
        )  # fmt: skip
        raise UserError(f"{index.address} {alone}")
    found = index.search(vector, top + (name is not None), cameras)
    found = found[found["name"] != name][:top].reset_index(drop=True)
    found["tracklet"] = found["name"].str.split("/", n=1).str[1]
    found = found[COLUMNS]
    found.insert(0, "rank", range(1, len(found) + 1))
    return Found(query, image, searched, found)


def many(
    index: Index, queries: list[str], top: int, same_camera: bool, progress: bool
) -> list[Found]:
    """Return the ranked list of each of some queries."""
    bar = tqdm(queries, "searching", disable=not progress, delay=runs.PATIENCE)
    return [search(index, query, top, same_camera) for query in bar]


@cache
def _resolved(folder: str) -> str:
    """Return a folder without links; it is asked for all of a gallery at each query."""
    return os.path.realpath(folder)


def _name_in(index: Index, query: str) -> str | None:
    """Return the tracklet of the index that is meant, by name or by a path into its gallery.

    None for another folder or a picture; raises UserError if it is neither.
    """
    name, names, path = Path(query).as_posix(), index.about["name"], files.place(query)
    if name in index.about.index:
        return name
    if path.is_dir():
        folders = index.about["thumbnail"].map(os.path.dirname).map(_resolved)
        inside = names[folders == str(path.resolve())]
        return inside.iloc[0] if len(inside) else None
    if path.is_file():
        return None
    near = difflib.get_close_matches(name, names, 1) or [*names[:1]]
    example = f" one such as {near[0]}," if near else ""
    what = f"{query} is neither a tracklet of {index.address} nor a folder or a picture"
    raise UserError(f"{what}: give{example} a folder of frames, or a picture")


def _frames(index: Index, query: str) -> NDArray[np.uint8]:
    """Return the frames of a folder, or one picture, in the size that the model wants."""
    path = files.place(query)
    with files.readable():
        names = images(path, path) if path.is_dir() else ("",)  # a picture is itself
    if not names:
        raise UserError(f"{path} holds no pictures: give a folder with the frames of a tracklet")
    middle = decode(path / names[len(names) // 2])
    if middle is not None and middle.shape[1] > middle.shape[0]:
        advice = "a frame is expected to be cut out around one person"
        warnings.warn(f"the query {query} is wider than high: {advice}", Caution, stacklevel=2)
    return clip([path / name for name in names], f"the query {query}", index.model.origin.size)


def _picture(file: str) -> NDArray[np.uint8]:
    image = decode(Path(file)) if Path(file).is_file() else None
    small = Image.fromarray(GREY if image is None else np.ascontiguousarray(image))
    small.thumbnail(SIZE)  # never larger than it is
    return np.asarray(small)


def lines(found: Found) -> list[str]:
    """Return the ranked list in words."""
    names = found.matches["camera"] + "/" + found.matches["tracklet"]
    width = max(len("tracklet"), *names.map(len))
    said = [f"  {person}" if person else "" for person in found.matches["person"]]
    rows = zip(found.matches["rank"], names, found.matches["distance"], said, strict=True)
    return [
        f"query {found.query}: the best of {found.searched} tracklets searched",
        f"rank  {'tracklet':<{width}}  distance (0 to 2)" + "  person" * any(said),
        *(f"{rank:>4}  {name:<{width}}  {distance:.3f}{who}" for rank, name, distance, who in rows),
    ]


def as_json(found: Found) -> dict[str, Any]:
    """Return the ranked list as plain values."""
    rows = found.matches.to_dict("records")
    return {"query": found.query, "searched": found.searched, "matches": rows}


def as_csv(found: list[Found]) -> str:
    """Return ranked lists as one table of comma-separated values, the query in its first column."""
    rows = [one.matches.assign(query=one.query) for one in found]
    table = pd.concat(rows, ignore_index=True)
    return table[["query", "rank", *COLUMNS]].to_csv(index=False).rstrip("\n")


def queries(path: str) -> list[str]:
    """Return the queries in a file, one a line; raise UserError if there are none."""
    with files.readable():
        text = files.read(files.place(path)).decode("utf-8-sig", "surrogateescape")
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise UserError(f"{path} holds no query: write one a line, such as cam1/0007")
    return found


def picture_path(out: str | None, query: str, gallery: str | None = None) -> Path:
    """Return where the picture goes: the file asked for, or one named for the query in the store.

    Raises UserError for a name that no PNG file can have, and for a place among the frames.
    """
    if out is None:
        short = "-".join(Path(query).parts[-2:]).strip("/")[:60].encode(errors="replace").decode()
        return runs.store() / "search" / f"{short}-{runs.digest([gallery, query])}.png"
    path = files.target(out, "the picture", ".png")
    if gallery is not None:
        files.outside(path, gallery)
    return path


def draw(found: Found, path: Path, progress: bool = False) -> str:
    """Write the first ``SHOWN`` matches of a ranked list as a PNG file; return what it is."""
    labels, shown, matches = [], [], found.matches[:SHOWN]
    rows = tqdm(
        matches.to_dict("records"), "reading pictures", disable=not progress, delay=runs.PATIENCE
    )
    for row in rows:
        parts = (row["camera"], row["tracklet"])
        short = [part if len(part) < 19 else part[:15] + "..." for part in parts]
        labels.append("\n".join([*short, f"{row['distance']:.3f}"]))
        shown.append(_picture(row["thumbnail"]))
    fig = photos.best_matches(found.image, shown, labels, title=f"query {found.query}")
    canvas.save(fig, path.stem, path.parent)
    part = f" of the first {SHOWN}" if len(found.matches) > SHOWN else ""
    return f"picture{part}: {path}"
