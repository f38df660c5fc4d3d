"""A gallery that grows: the vectors of its tracklets in LanceDB, with the model that made them.

An index is a folder, or any other address that LanceDB takes, such as ``s3://bucket/shop.lance``.
Each write is one commit: whoever is killed leaves the index as it was before or after it. Each row
has a seal, a digest with which it is checked whenever it is read.
"""

import difflib
import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import lancedb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from lancedb.index import IvfRq
from lancedb.query import LanceVectorQueryBuilder
from lancedb.table import Table
from numpy.typing import NDArray
from tqdm.auto import tqdm

from upm_lib import files, runs
from upm_lib.config import Caution, UserError
from upm_lib.data import catalogue
from upm_lib.data.packing import decode, resized
from upm_lib.data.readers import folder
from upm_lib.data.tracklets import KINDS, Dataset, Tracklet, unread
from upm_lib.deploy import ledger
from upm_lib.retrieval import features, model_file
from upm_lib.retrieval.model_file import Model

EXACT = 100_000  # tracklets up to which every vector is compared
FRAMES = 640  # that are described between two commits, about: some seconds of work
PIECES = 64  # commits after which the table's files are merged
PROBES, REFINE = 64, 20  # lists that an approximate search reads, exact distances for each match
ROUNDING = 1e-5  # of the product of two unit vectors, at most
VERSION = 2  # of the columns; 1 had no seals
LABELS = ("name", "camera", "person", "added", "thumbnail", "mark", "content")
HALF = 32  # digits of a seal that are over the labels; so many are over the vector
OWN = {".lock", ledger.NAME, "model.lance", "tracklets.lance"}  # what an index's folder holds
Vector = NDArray[np.float32]
Device = torch.device | str | None


class Added(NamedTuple):
    """What a look at a gallery has changed in an index: names of tracklets."""

    new: list[str]
    changed: list[str]
    unchanged: list[str]
    absent: list[str]  # in the index, but not in this gallery


@dataclass(frozen=True)
class _Seen:
    """A tracklet of a gallery: where its frames lie, and marks of what was seen of them."""

    name: str
    person: str
    frames: tuple[Path, ...]
    mark: str  # over place, size and time of the frames, and the person

    @property
    def content(self) -> str:
        """Over the frames themselves."""
        text = hashlib.sha256()
        with files.readable():
            for frame in self.frames:
                text.update(hashlib.sha256(files.read(frame)).digest())
        return text.hexdigest()


class Index:
    """Vectors of tracklets that can be added, searched and forgotten; see :func:`open_index`."""

    def __init__(
        self, address: str, tracklets: Table, models: Table, device: Device = None
    ) -> None:
        self.address, self.table, self._models = address, tracklets, models
        self.device = device
        self.dim: int = tracklets.schema.field("vector").type.list_size

    @cached_property
    def model(self) -> Model:
        """The model that has made the vectors; read when it is asked for."""
        with self._sound():
            content = self._models.to_arrow()["file"][0].as_py() or b""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "model.safetensors"
            with runs.replacing(path) as temporary:
                temporary.write_bytes(content)
            with self._sound():
                try:
                    return model_file.load(path, self.device)
                except UserError as error:
                    raise ValueError("its model is not as it was written") from error

    def __len__(self) -> int:
        """Return how many tracklets there are."""
        return self.table.count_rows()

    @cached_property
    def about(self) -> pd.DataFrame:
        """All that is known of the tracklets but their vectors, a row each, by name.

        Columns name (CAMERA/TRACKLET), camera, person ("" if nobody has said), added (time, UTC),
        thumbnail (path of the middle frame), mark, content and seal.
        """
        schema = pa.schema([self.table.schema.field(name) for name in (*LABELS, "seal")])
        found = pa.Table.from_batches(self._read(schema.names), schema).to_pandas()
        with self._sound():
            if len({*found["name"]}) < len(found):
                raise ValueError("a tracklet is there twice: two processes wrote at once")
        return found.set_index("name", drop=False).rename_axis(None)

    @cached_property
    def vectors(self) -> list[Vector]:
        """All vectors in memory, in the order of ``about``: arrays [n, D], as they lie on disk."""
        pieces: list[Vector] = []
        seals: list[str] = []
        for batch in self._read(["seal", "vector"]):
            pieces.append(_vectors(batch))
            seals += batch["seal"].to_pylist()
        with self._sound():
            if seals != self.about["seal"].tolist():
                raise ValueError("vectors and names do not go together")
        return pieces

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read some columns of all rows, and check them."""
        with self._sound(), _bar(len(self), "reading the index") as bar:
            for batch in self.table.search().select([*columns]).to_batches():
                yield _checked(batch)
                bar.update(len(batch))

    def vector(self, name: str) -> Vector:
        """Return the vector [D] of a tracklet; raise UserError if it is not here."""
        if name not in self.about.index:
            near = difflib.get_close_matches(name, self.about.index, 1) or [*self.about.index[:1]]
            hint = f": did you mean {near[0]}?" if near else ", which is empty"
            raise UserError(f"{name} is no tracklet of the index {self.address}{hint}")
        return self._stored(name)

    def _stored(self, name: str) -> Vector:
        with self._sound():
            found = self.table.search().where(f"name = {_quoted(name)}")
            (batch,) = found.select(["seal", "vector"]).to_arrow().to_batches()
            return _vectors(_checked(batch))[0]

    def search(
        self,
        vector: Vector,
        top: int = 10,
        cameras: Iterable[str] | None = None,
        exact: bool | None = None,
    ) -> pd.DataFrame:
        """Return the tracklets whose vectors are nearest to a vector [D] of unit length.

        Up to ``EXACT`` tracklets every vector is compared, beyond it an index of LanceDB is asked
        (``exact`` decides otherwise). ``cameras`` are those that are searched; None is all.

        Returns:
            The columns of :attr:`about` and distance (0 to 2), nearest first.
        """
        vector = np.asarray(vector, np.float32)
        if top < 1:
            raise UserError(f"top must be at least 1, not {top}")
        if vector.shape != (self.dim,):
            what = f"the vectors of {self.address} have {self.dim} numbers"
            raise UserError(f"{what}, not {list(vector.shape)}: use a vector of its own model")
        if exact is None:
            exact = len(self) <= EXACT
        found = (self._nearest if exact else self._probably_nearest)(vector, top, cameras)
        return found.reset_index(drop=True)

    def _nearest(self, vector: Vector, top: int, cameras: Iterable[str] | None) -> pd.DataFrame:
        wanted = np.ones(len(self.about), bool)
        if cameras is not None:
            wanted = self.about["camera"].isin(list(cameras)).to_numpy()
        alike = np.concatenate([piece @ vector for piece in self.vectors] or [vector[:0]])
        alike[~wanted] = -np.inf
        top = min(top, int(wanted.sum()))
        # The product tells near copies apart to its rounding only; the difference does better. Two
        # products are compared, and each may be off.
        least = np.partition(alike, -top)[-top] - 2 * ROUNDING if top else np.inf
        first = np.flatnonzero(alike >= least)
        ends = np.cumsum([0, *(len(piece) for piece in self.vectors)])
        pieces = np.searchsorted(ends, first, "right") - 1
        pairs = zip(pieces, first, strict=True)
        apart = [np.linalg.norm(self.vectors[p][row - ends[p]] - vector) for p, row in pairs]
        found = self.about.iloc[first].assign(distance=np.array(apart, np.float64))
        return found.sort_values(["distance", "name"])[:top]

    def _probably_nearest(
        self, vector: Vector, top: int, cameras: Iterable[str] | None
    ) -> pd.DataFrame:
        with self._sound():
            query = self.table.search(vector, "vector")
            assert isinstance(query, LanceVectorQueryBuilder)  # since there is a vector
            query = query.distance_type("l2").nprobes(PROBES).refine_factor(REFINE)
            query = query.limit(top).select([*LABELS, "seal", "vector", "_distance"])
            if cameras is not None:
                query = query.where(f"camera IN ({', '.join(map(_quoted, cameras)) or 'NULL'})")
            rows = query.to_arrow()
            for batch in rows.to_batches():
                _checked(batch)
            found = rows.drop_columns("vector").to_pandas()
        squared = found.pop("_distance").to_numpy()
        return found.assign(distance=np.sqrt(squared.clip(0)))

    def add(self, root: str | Path, progress: bool = False) -> Added:
        """Describe the tracklets of a gallery, CAMERA/TRACKLET/frames, that are new or changed.

        What has the same place, size and time is not read; what has the same content is not
        described again. A killed process has lost the work of a few seconds.

        Raises UserError for a folder that is none, and for a tracklet without a readable frame.
        """
        files.outside(self.address, root)
        dataset = catalogue.read("folder", root)
        if left_out := [*map(str, dataset.empty), *unread(dataset)]:
            what = f"left out {len(left_out)} file(s) or folder(s) of {root} that are no frames"
            advice = f"{left_out[0]} ...: frames are {KINDS}"
            warnings.warn(f"{what}: {advice}", Caution, stacklevel=2)
        seen = {one.name: one for one in _seen(dataset)}
        with self._writing():
            known = self.about
            marks = dict(zip(known["name"], known["mark"], strict=True))
            stale = [one for name, one in seen.items() if marks.get(name) != one.mark]
            changed = []
            with tqdm(total=len(stale), desc="describing", disable=not progress, delay=2) as bar:
                for group in _grouped(stale):
                    changed += self._put(group, known)
                    bar.update(len(group))
            self._tidy()
        new = [one.name for one in stale if one.name not in marks]
        touched = {*new, *changed}
        unchanged = [name for name in seen if name not in touched]
        return Added(new, changed, unchanged, [name for name in marks if name not in seen])

    def _put(self, group: list[_Seen], known: pd.DataFrame) -> list[str]:
        """Write some tracklets in one commit; return the names of those that had other content.

        What is ``known`` of them, rows of :attr:`about`, the groups before have not changed.
        """
        contents = {one.name: one.content for one in group}
        again = [one for one in group if one.name in known.index]
        same = {o.name for o in again if known.loc[o.name, "content"] == contents[o.name]}
        fresh = [one for one in group if one.name not in same]
        size = self.model.origin.size
        described = self.model.describe_many([clip(o.frames, o.name, size) for o in fresh])
        vectors = dict(zip((one.name for one in fresh), described, strict=True))
        vectors |= {name: self._stored(name) for name in same}
        now = datetime.now(timezone.utc)
        rows = [
            {
                "name": one.name,
                "camera": one.name.split("/")[0],
                "person": one.person,
                "added": known.loc[one.name, "added"] if one.name in same else now,
                "thumbnail": str(one.frames[len(one.frames) // 2]),
                "mark": one.mark,
                "content": contents[one.name],
                "vector": vectors[one.name],
            }
            for one in group
        ]
        with self._sound():
            merged = self.table.merge_insert("name").when_matched_update_all()
            merged.when_not_matched_insert_all().execute(
                sealed(pa.RecordBatch.from_pylist(rows, _unsealed(self.dim)))
            )
        self._forget_what_was_read()
        return [one.name for one in again if one.name not in same]

    def remove(self, names: Sequence[str]) -> None:
        """Forget tracklets: their rows and vectors are gone from the disk, not only hidden.

        The table is written anew without them, in one commit, and its older files are deleted.
        A removal that was killed is finished by the same call again.

        Raises UserError for a name that is not here; nothing is removed then.
        """
        with self._writing():
            unknown = [name for name in names if name not in self.about.index]
            if not unknown:
                kept = f"name NOT IN ({', '.join(map(_quoted, names))})"
                with self._sound():
                    rows = self.table.search().where(kept).to_batches()
                    self.table.add(rows, mode="overwrite")
            self._tidy(wipe=True)
            if unknown:
                self.vector(unknown[0])  # raises the sentence

    def _tidy(self, wipe: bool = False) -> None:
        """Merge the table's files where they are many, and build the index where it is needed.

        With ``wipe`` everything goes that belongs to no row of today.
        """
        with self._sound(), warnings.catch_warnings():
            # LanceDB warns of readers of older versions: here, a search that is running now.
            warnings.simplefilter("ignore", UserWarning)
            if len(self) > EXACT and not self.table.list_indices():
                self.table.create_index("vector", config=IvfRq(distance_type="l2"))
            pieces = cast(Any, self.table.stats())["fragment_stats"]["num_small_fragments"]
            if wipe or pieces > PIECES:
                older = timedelta(0) if wipe else timedelta(hours=1)
                self.table.optimize(cleanup_older_than=older, delete_unverified=wipe)
        self._forget_what_was_read()

    def _forget_what_was_read(self) -> None:
        for name in ("about", "vectors"):
            self.__dict__.pop(name, None)

    def to_parquet(self, path: str | Path) -> Path:
        """Write camera, tracklet, person and vector of all rows for another program."""
        place = files.target(path, "the file of vectors")
        names = ["camera", "tracklet", "person", "vector"]
        kinds = [_unsealed(self.dim).field("name" if n == "tracklet" else n).type for n in names]
        schema = pa.schema(zip(names, kinds, strict=True))
        with runs.replacing(place) as temporary, pq.ParquetWriter(temporary, schema) as file:
            for batch in self._read([*LABELS, "seal", "vector"]):
                own = pc.replace_substring_regex(batch["name"], "^[^/]*/", "")
                columns = [own if n == "tracklet" else batch[n] for n in names]
                file.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        return place

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the index of this machine for one writer, as it is now."""
        with _lock(self.address):
            self.table.checkout_latest()
            self._forget_what_was_read()
            if _is_remote(self.address):
                yield
                return
            place = Path(self.address)
            with self._sound():
                ledger.begin(place)
            yield
            ledger.note(place, whole=len(self) <= EXACT)

    @contextmanager
    def _sound(self) -> Iterator[None]:
        with _sound(self.address):
            yield


def open_index(address: str | Path, model: Model | None = None, device: Device = None) -> Index:
    """Return the index at an address; with a model it is made if there is none yet.

    It describes with its own model, on a device; None is a GPU if there is one.

    Raises UserError if there is none and no model, or if it was made with another model.
    """
    where, remote = str(address), _is_remote(address)
    if remote:
        runs.logger.warning("asking %s", where)  # a wrong address may take half a minute
    else:
        path = files.place(address)
        where = str(path)
        _check_folder(path, model)
    with _sound(where):
        place = lancedb.connect(where)
        if remote and not model and "model" not in place.list_tables().tables:
            raise UserError(f"{where} does not exist: make it with `python -m upm_lib index`")
        if model:
            with _lock(where):
                if _make(place, model) and not remote:
                    runs.remove(path / ledger.NAME)  # of an index that was removed
                    ledger.note(path)
        found = Index(where, place.open_table("tracklets"), place.open_table("model"), device)
        if not {*LABELS, "vector", "seal"} <= {*found.table.schema.names}:
            raise ValueError("it is damaged or of an older version")
        own = found._models.to_arrow()["digest"][0].as_py()
    if model and model.digest != own:
        what = f"{where} was made with another model, and their vectors do not compare"
        raise UserError(f"{what}: leave out the model to use its own, or make another index")
    if model:
        found.model = model  # the same, and in memory already
    return found


def _check_folder(path: Path, model: Model | None) -> None:
    """Refuse a folder that is no index, unless a model can make one there, and a damaged index."""
    if (path / "model.lance").is_dir():
        with _sound(str(path)):
            ledger.check(path)
        return
    free = not path.exists() or (path.is_dir() and {*os.listdir(path)} <= OWN)
    if not (model and free):
        what = "is no index" if path.exists() else "does not exist"
        advice = "give a free name" if model else "make it with `python -m upm_lib index`"
        raise UserError(f"{path} {what}: {advice}")


def _make(place: lancedb.DBConnection, model: Model) -> bool:
    """Make the tables of an index, the model's last, unless they are there; say whether so.

    Where that one is missing somebody was killed here, and no tracklet was ever written.
    """
    begun = place.list_tables().tables
    if _has_rows(place, "model"):
        return False
    if _has_rows(place, "tracklets"):
        raise ValueError("its model is lost")

    def create(name: str, schema: pa.Schema, rows: pa.Table | None = None) -> None:
        mode = "overwrite" if name in begun else "create"
        place.create_table(name, rows, schema=schema, mode=mode)

    create("tracklets", _unsealed(model.dim).append(pa.field("seal", pa.string())))
    with tempfile.TemporaryDirectory() as folder:
        content = model.save(Path(folder) / "model.safetensors").read_bytes()
    schema = pa.schema([("digest", pa.string()), ("file", pa.large_binary())])
    rows = pa.Table.from_pylist([{"digest": model.digest, "file": content}], schema)
    create("model", schema, rows)
    return True


def _has_rows(place: lancedb.DBConnection, table: str) -> bool:
    try:
        return place.open_table(table).count_rows() > 0
    except (ValueError, RuntimeError):  # begun, and killed before there was a first version
        return False


def _unsealed(dim: int) -> pa.Schema:
    kinds: dict[str, pa.DataType] = {name: pa.string() for name in LABELS}
    kinds |= {"added": pa.timestamp("us", "UTC"), "vector": pa.list_(pa.float32(), dim)}
    return pa.schema(list(kinds.items()))


def sealed(rows: pa.RecordBatch) -> pa.Table:
    """Return rows of labels and vectors with their seals, as a table is to hold them."""
    blank = rows.append_column("seal", pa.array([""] * len(rows)))
    return pa.Table.from_batches([rows.append_column("seal", pa.array(_seals(blank)))])


def _checked(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows that go with their seals; raise ValueError for others."""
    if _seals(rows) != rows["seal"].to_pylist():
        raise ValueError("a row is not as it was written")
    return rows


def _seals(rows: pa.RecordBatch) -> list[str]:
    """Return the seals that rows must have: over what is read of them, else as they are."""
    said = [str(seal) for seal in rows["seal"].to_pylist()]
    starts, ends = [seal[:HALF] for seal in said], [seal[HALF:] for seal in said]
    if "vector" in rows.schema.names:
        ends = [_digest(vector) for vector in _vectors(rows)]
    if "name" in rows.schema.names:
        labels = [rows[n].cast(pa.int64()) if n == "added" else rows[n] for n in LABELS]
        told = zip(*(column.to_pylist() for column in labels), ends, strict=True)
        starts = [_digest("\0".join(map(str, row)).encode()) for row in told]
    return [start + end for start, end in zip(starts, ends, strict=True)]


def _digest(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()[:HALF]


def _vectors(rows: pa.RecordBatch) -> Vector:
    column = rows["vector"]
    return column.flatten().to_numpy().reshape(len(rows), column.type.list_size)


def _bar(total: int, title: str) -> tqdm:
    """Return a bar for those who wait longer than two seconds, unless notes are silenced."""
    quiet = not runs.logger.isEnabledFor(logging.WARNING)
    return tqdm(total=total, desc=title, disable=quiet, delay=runs.PATIENCE, leave=False)


def _lock(address: str) -> AbstractContextManager[Any]:
    """Return the lock of an index on this machine; there is none for one elsewhere."""
    return nullcontext() if _is_remote(address) else runs.lock(Path(address) / ".lock")


def _is_remote(address: str | Path) -> bool:
    return "://" in str(address)


@contextmanager
def _sound(address: str) -> Iterator[None]:
    """Turn what LanceDB raises into a sentence; it has no class of errors that can be named."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        known = (RuntimeError, ValueError, OSError, KeyError, pa.ArrowException)
        if not isinstance(error, known) and type(error).__name__ != "RustPanic":
            raise
        what = f"the index {address} cannot be used ({str(error).splitlines()[0][:200]})"
        check = "the disk and its permissions"
        if _is_remote(address):
            check = "the address, the network and the keys in the environment"
        advice = f"check {check}, or remove the index and make it anew"
        raise UserError(f"{what}: {advice}") from error


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _seen(dataset: Dataset) -> Iterator[_Seen]:
    """Look at each tracklet of a gallery: names, sizes and times, no content."""
    people = folder.people(dataset)
    for tracklet in dataset.tracklets:
        name = Path(tracklet.frames[0]).parent.as_posix()
        yield _look(dataset, tracklet, name, people.get(name, ""))


def _look(dataset: Dataset, tracklet: Tracklet, name: str, person: str) -> _Seen:
    frames = tuple(dataset.root.absolute() / frame for frame in tracklet.frames)
    try:
        str(frames[0]).encode()
    except UnicodeEncodeError:
        advice = "rename it, or choose another locale"
        raise UserError(f"the name {str(frames[0])!r} is not UTF-8: {advice}") from None
    said = [person]
    with files.readable():
        for frame in frames:
            about = os.stat(frame)
            said.append(f"{frame} {about.st_size} {about.st_mtime_ns}")
    mark = hashlib.sha256("\n".join(said).encode(errors="surrogateescape")).hexdigest()
    return _Seen(name, person, frames, mark)


def _grouped(tracklets: list[_Seen]) -> list[list[_Seen]]:
    """Divide tracklets into groups of about ``FRAMES`` frames."""
    counts = [len(one.frames) for one in tracklets]
    return [tracklets[group] for group in features.groups(counts, FRAMES)]


def clip(frames: Sequence[Path], what: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read frames [T, *size, 3] of a tracklet; broken ones are left out, with a warning.

    Raises UserError if none is readable; ``what`` says whose they are.
    """
    found: list[NDArray[np.uint8]] = []
    broken: list[str] = []
    for frame in frames:  # one by one: a picture as it was taken may be large
        if (image := decode(frame)) is None:
            broken.append(frame.name)
        else:
            found.append(resized(image, size))
    if not found:
        others = f", nor is any other frame of {what}" if len(frames) > 1 else ""
        raise UserError(f"{frames[0]} is no readable picture{others}: replace or remove it")
    if broken:
        names = ", ".join(broken[:5])
        warnings.warn(f"left out {len(broken)} broken frame(s) of {what}: {names}", Caution, 2)
    return np.stack(found)
