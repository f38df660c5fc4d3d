"""Damage to an index's files is noticed before LanceDB reads them; writers keep the list true."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import lancedb
import numpy as np
import pytest
from tiny_model import bench_of, model_of

from upm_lib.config import UserError
from upm_lib.deploy import index as module
from upm_lib.deploy import ledger
from upm_lib.deploy.index import Index, open_index
from upm_lib.retrieval.model_file import Model


@pytest.fixture
def place(index: Index) -> Path:
    return Path(index.address)


def newest(place: Path) -> Path:
    """The newest manifest of the tracklets: LanceDB counts their names down."""
    return min((place / "tracklets.lance" / "_versions").glob("*.manifest"))


def of(place: Path, *, table: str) -> Path:
    (file,) = (place / f"{table}.lance" / "data").iterdir()
    return file


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the newest manifest is lost": lambda p: newest(p).unlink(),
    "an older manifest in its place": lambda p: shutil.copy(
        max(newest(p).parent.glob("*.manifest")), newest(p)
    ),
    "a manifest is empty": lambda p: newest(p).write_bytes(b""),
    "vectors are lost": lambda p: of(p, table="tracklets").unlink(),
    "vectors are cut": lambda p: os.truncate(of(p, table="tracklets"), 100),
    "vectors are flipped": lambda p: flip(of(p, table="tracklets")),
    "the model is flipped": lambda p: flip(of(p, table="model")),
    "one table's file in the other": lambda p: shutil.copy(
        of(p, table="model"), of(p, table="tracklets")
    ),
    "the list is flipped": lambda p: flip(p / ledger.NAME),
    "a pipe": lambda p: a_pipe(of(p, table="tracklets")),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_noticed_before_lancedb_reads(
    place: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    DAMAGES[what](place)
    monkeypatch.setattr(lancedb, "connect", None)
    with pytest.raises(UserError, match=r"cannot be used \(.*\): .*remove the index and make it"):
        open_index(place)


@pytest.mark.parametrize("table", ["tracklets", "model"])
def test_a_table_of_another_index_is_noticed(
    place: Path, tiny_root: Path, run_store: Path, tmp_path: Path, table: str
) -> None:
    other = open_index(tmp_path / "o.lance", model_of(bench_of(tiny_root / "multi_shot", seed=1)))
    other.add(tiny_root / "multi_shot")
    shutil.rmtree(place / f"{table}.lance")
    shutil.copytree(Path(other.address) / f"{table}.lance", place / f"{table}.lance")
    with pytest.raises(UserError, match="is not as it was written"):
        open_index(place)


def test_what_lancedb_changes_or_does_without_is_free(place: Path) -> None:
    (hint,) = place.glob(f"tracklets.lance/*/{ledger.HINT}")
    hint.write_text("nothing")
    assert len(open_index(place)) == 16


def test_the_list_follows_growth_and_removal(place: Path, gallery: Path) -> None:
    shutil.copytree(gallery / "cam_a/person_0001", gallery / "cam_c/1")
    open_index(place).add(gallery)
    open_index(place).remove(["cam_a/person_0003"])
    again = open_index(place)
    assert len(again) == 16
    listed = ledger._kept(place)["files"]
    there = {p.relative_to(place).as_posix() for p in place.glob("*/**/*") if p.is_file()}
    assert {*listed} == {name for name in there if not name.endswith(ledger.HINT)}
    assert not ledger._kept(place)["changing"]


def test_an_index_of_before_there_were_lists_gets_one(place: Path, gallery: Path) -> None:
    (place / ledger.NAME).unlink()
    open_index(place).add(gallery)
    assert ledger._kept(place)["files"]
    open_index(place)


def test_who_is_killed_while_changing_leaves_an_index_that_opens(
    place: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "note", lambda *_, **__: None)  # never reached
        open_index(place).remove(["cam_a/person_0003"])
    assert ledger._kept(place)["changing"]
    assert len(open_index(place)) == 15, "files of the older version are gone"
    assert len(open_index(place).add(gallery).new) == 1
    flip(of(place, table="model"))
    with pytest.raises(UserError, match="is not as it was written"):
        open_index(place)


def test_a_list_that_a_writer_changes_meanwhile_is_looked_at_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, calls = ledger._wrong, []

    def meanwhile(where: Path, kept: dict) -> object:
        found = list(wrong(where, kept))
        if not calls:
            calls.append(1)
            found = ["gone"]
            open_index(place).remove(["cam_a/person_0003"])
        return iter(found)

    monkeypatch.setattr(ledger, "_wrong", meanwhile)
    ledger.check(place)
    assert calls


def test_an_index_made_where_another_was_has_a_list_of_its_own(
    place: Path, tiny_model: Model
) -> None:
    for table in ("tracklets", "model"):
        shutil.rmtree(place / f"{table}.lance")
    assert len(open_index(place, tiny_model)) == 0
    assert len(open_index(place)) == 0


def test_of_what_is_too_large_to_be_read_each_time_the_size_is_kept(
    place: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT", 3)
    monkeypatch.setattr(ledger, "LARGE", 10_000)
    monkeypatch.setattr(Index, "_tidy", lambda _: None)  # too few for an approximate search
    (place / ledger.NAME).unlink()
    open_index(place).add(tiny_root / "multi_shot")
    vectors = of(place, table="tracklets")
    size, digest = ledger._kept(place)["files"][vectors.relative_to(place).as_posix()]
    assert (size, digest) == (vectors.stat().st_size, None)
    content = vectors.read_bytes()
    flip(vectors)
    index = open_index(place)
    with pytest.raises(UserError, match="not as it was written"):  # a row's own seal
        index.search(np.zeros(index.dim, np.float32), 16, exact=True)
    vectors.write_bytes(content[:-1])
    with pytest.raises(UserError, match="is not as it was written"):
        open_index(place)
