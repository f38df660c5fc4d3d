"""Finding the tracklets of one's own cameras that look like a given one; no identity is needed."""

import difflib
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from upm_lib import files, runs
from upm_lib.config import Caution, UserError
from upm_lib.data.packing import Frames
from upm_lib.data.tracklets import UNKNOWN, Dataset, Tracklet, images
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench
from upm_lib.pictures import canvas, photos
from upm_lib.retrieval import evaluation, features


class Found(NamedTuple):
    """The best matches of a query, nearest first."""

    query: str
    image: np.ndarray  # of the query, uint8 RGB [h, w, 3]
    searched: int  # tracklets
    names: list[str]
    distances: list[float]  # between vectors of unit length: 0 (the same) to 2
    images: list[np.ndarray]


def search(bench: Bench, query: str, top: int = 5, same_camera: bool = False) -> Found:
    """Rank the tracklets of the other cameras by their distance to a query (section 3.5).

    The local-aware and the global-aware network of the gallery, which the bench holds, are found in
    the run store, or trained now on its tracklets. The query is a tracklet of the gallery as
    CAMERA/TRACKLET, or a folder of frames anywhere; of that the camera is not known, and all are
    searched.

    Raises UserError for a query that is neither, and if nothing is left to be searched.
    """
    if top < 1:
        raise UserError(f"top must be at least 1, not {top}")
    place = place_of(bench.dataset, query)
    candidates = np.arange(len(bench.dataset.tracklets))
    if place is not None:
        of = candidates if same_camera else bench.cameras(candidates)
        candidates = candidates[of != of[place]]
    if not len(candidates):
        if len(bench.dataset.cameras) == 1:
            what = f"{bench.dataset.root} has one camera, and the networks learn from two or more"
            raise UserError(f"{what}: add the tracklets of another one")
        what = f"{bench.dataset.root} has no tracklet of another camera than that of {query}"
        raise UserError(f"{what}: give --same-camera to search that one")
    if place is None:
        frames = Frames(one_tracklet(files.place(query)))
        vectors, image = gallery_vectors(bench), frames.pixels[len(frames.pixels) // 2]
        fusion = bench.measurement("fusion", bench.config.trial)
        both = networks.of(bench, fusion)
        vector = features.tracklet_features(both, frames, np.array([0]), bench.config)
    else:
        vectors, (image,) = gallery_vectors(bench), bench.images(np.array([place]))
        vector = vectors[[place]]
    distance = evaluation.distances(vector, vectors[candidates])[0]
    nearest = torch.argsort(distance, stable=True)[:top]
    chosen = candidates[nearest.numpy()]
    names = np.array(tracklet_names(bench.dataset))[chosen].tolist()
    distances, shown = distance[nearest].tolist(), bench.images(chosen)
    return Found(query, image, len(candidates), names, distances, shown)


def tracklet_names(dataset: Dataset) -> list[str]:
    """Return the folder of each tracklet below the root, such as cam1/0007."""
    return [Path(t.frames[0]).parent.as_posix() for t in dataset.tracklets]


def place_of(dataset: Dataset, query: str) -> int | None:
    """Return the index of a query that is a tracklet of the gallery; None for another folder.

    Raises UserError if it is neither.
    """
    names, name = tracklet_names(dataset), Path(query).as_posix()
    folder, root = files.place(query).resolve(), dataset.root.resolve()
    if name not in names and folder.is_relative_to(root):
        name = folder.relative_to(root).as_posix()
    if name in names:
        return names.index(name)
    if folder.is_dir():
        return None
    near = difflib.get_close_matches(name, names, 1) or names[:1]
    what = f"{query} is neither a tracklet of {dataset.root} nor a folder"
    raise UserError(f"{what}: give one such as {near[0]}, or a folder of frames")


def one_tracklet(folder: Path) -> Dataset:
    """Return a folder of frames as a data set of one tracklet, of nobody and no camera."""
    with files.readable():
        found = images(folder, folder)
    if not found:
        raise UserError(f"{folder} holds no pictures: give a folder with the frames of a tracklet")
    return Dataset("query", folder, (Tracklet(UNKNOWN, 0, found),), ("",))


def gallery_vectors(bench: Bench) -> Tensor:
    """Return the fused vectors [T, D] of all tracklets; computed once and kept in the run store."""
    fusion = bench.measurement("fusion", bench.config.trial)
    name = f"{bench.config.dataset}-k{bench.config.k}-{measuring.key(bench, fusion)}.npy"
    path = runs.store() / "vectors" / name
    try:
        kept = runs.read_array(path)
    except (UserError, OSError) as error:
        if path.exists():
            warnings.warn(f"{error}: it is made anew", Caution, stacklevel=2)
        made = measuring.vectors(bench, fusion, np.arange(len(bench.dataset.tracklets))).numpy()
        runs.write_array(path, len(made), made.shape[1:], made.dtype, [made])
        kept = runs.read_array(path)
    return torch.from_numpy(np.array(kept))


def lines(found: Found) -> list[str]:
    """Return the ranked list in words."""
    width = max(len("tracklet"), *(len(name) for name in found.names))
    rows = enumerate(zip(found.names, found.distances, strict=True), 1)
    return [
        f"query {found.query}: the best of {found.searched} tracklets searched",
        f"rank  {'tracklet':<{width}}  distance (0 to 2)",
        *(f"{rank:>4}  {name:<{width}}  {distance:.3f}" for rank, (name, distance) in rows),
    ]


def picture_path(out: str | None, query: str, gallery: str) -> Path:
    """Return where the picture goes: the file asked for, or one named for the query in the store.

    Raises UserError for a name that no PNG file can have, and for a place among the frames.
    """
    if out is None:
        short = "-".join(Path(query).parts[-2:]).strip("/")[:60].encode(errors="replace").decode()
        return runs.store() / "search" / f"{short}-{runs.digest([gallery, query])}.png"
    path, root = files.place(out), files.place(gallery)
    if path.suffix != ".png" or path.is_dir():
        raise UserError(f"{out} cannot be the picture: give the name of a file that ends in .png")
    if path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{out} lies in the gallery and would become a frame: give another place")
    return path


def draw(found: Found, path: Path) -> Path:
    """Write the ranked list as a PNG file and return its path."""
    labels = []
    for name, distance in zip(found.names, found.distances, strict=True):
        short = [part if len(part) < 19 else part[:15] + "..." for part in name.split("/")]
        labels.append("\n".join([*short, f"{distance:.3f}"]))
    fig = photos.best_matches(found.image, found.images, labels, title=f"query {found.query}")
    canvas.save(fig, path.stem, path.parent)
    return path
