"""The index of a gallery: what is described, kept, found, forgotten, and survives."""

import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tiny_model import bench_of, model_of

from upm_lib.config import Caution, UserError
from upm_lib.deploy import index as module
from upm_lib.deploy import ledger
from upm_lib.deploy.index import Index, open_index
from upm_lib.retrieval.model_file import Model


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tracklets each call of the model has described."""
    counts: list[int] = []
    plain: Callable = Model.describe_many

    def counted(model: Model, clips: list) -> np.ndarray:
        counts.append(len(clips))
        return plain(model, clips)

    monkeypatch.setattr(Model, "describe_many", counted)
    return counts


def holds(place: Path, content: bytes) -> list[str]:
    """The files below a folder in which some bytes lie."""
    files = [path for path in place.rglob("*") if path.is_file()]
    return [path.name for path in files if content in path.read_bytes()]


# ---------------------------------------------------------------- growing


def test_an_index_holds_what_the_model_says_of_each_tracklet(
    index: Index, tiny_model: Model, tiny_root: Path
) -> None:
    assert len(index) == 16
    folder = tiny_root / "multi_shot" / "cam_b" / "person_0002"
    frames = np.stack([cv2.imread(str(f))[..., ::-1] for f in sorted(folder.iterdir())])
    assert np.abs(index.vector("cam_b/person_0002") - tiny_model.describe(frames)).max() < 1e-6
    row = index.about.loc["cam_b/person_0002"]
    assert (row["camera"], row["person"]) == ("cam_b", "")
    assert row["thumbnail"] == str(sorted(folder.iterdir())[2])
    assert abs(pd.Timestamp.now("UTC") - row["added"]) < pd.Timedelta(hours=1)
    assert sum(len(piece) for piece in index.vectors) == 16
    assert index.model.digest == tiny_model.digest


def test_only_what_is_new_or_changed_is_described(
    index: Index, gallery: Path, described: list[int]
) -> None:
    moved = index.add(gallery)
    assert described == [0] and len(moved.unchanged) == 16, "the same content elsewhere"
    assert str(gallery) in index.about.loc["cam_a/person_0001", "thumbnail"]

    shutil.copytree(gallery / "cam_a/person_0001", gallery / "cam_c/new one")
    shutil.copy(gallery / "cam_a/person_0003/0001.png", gallery / "cam_a/person_0004/0001.png")
    os.utime(gallery / "cam_a/person_0005/0001.png", (1, 1))
    shutil.rmtree(gallery / "cam_a/person_0006")
    before, described[:] = index.vector("cam_a/person_0005"), []
    found = index.add(gallery)
    assert (found.new, found.changed) == (["cam_c/new one"], ["cam_a/person_0004"])
    assert (len(found.unchanged), found.absent) == (14, ["cam_a/person_0006"])
    assert described == [2] and len(index) == 17
    assert np.array_equal(index.vector("cam_a/person_0005"), before)
    same = index.vector("cam_c/new one") - index.vector("cam_a/person_0001")
    assert np.abs(same).max() < 1e-6

    described.clear()
    assert index.add(gallery)[:2] == ([], []) and described == []


def test_tracklets_without_frames_that_are_read_are_named(index: Index, gallery: Path) -> None:
    place = gallery / "cam_a/person_0007"
    for frame in sorted(place.iterdir()):
        frame.rename(frame.with_suffix(".webm"))
    with pytest.warns(Caution, match=r"left out 5 file\(s\) or folder\(s\) .*person_0007 \.\.\."):
        found = index.add(gallery)
    assert found.absent == ["cam_a/person_0007"]


def test_people_are_kept_by_name_and_may_be_named_later(index: Index, tiny_root: Path) -> None:
    gallery, lines = tiny_root / "multi_shot", "camera,tracklet,person\ncam_a,person_0001,Zoë\n"
    copy = shutil.copytree(gallery, Path(index.address).parent / "named")
    index.add(copy)
    (copy / "identities.csv").write_text(lines + "cam_b,person_0001,Zoë\ncam_b,person_0002,Al\n")
    assert index.add(copy)[:2] == ([], [])
    people = index.about["person"]
    assert people["cam_a/person_0001"] == people["cam_b/person_0001"] == "Zoë"
    assert people["cam_b/person_0002"] == "Al" and (people == "").sum() == 13


def test_many_commits_are_merged(
    gallery: Path, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAMES", 1)
    monkeypatch.setattr(module, "PIECES", 5)
    index = open_index(tmp_path / "i.lance", tiny_model)
    index.add(gallery)
    assert index.table.stats()["fragment_stats"]["num_fragments"] == 1
    assert len(index) == 16 == len({*index.about["name"]})


@pytest.mark.parametrize("group", range(4))
@pytest.mark.parametrize("when", ["describe_many", "to_arrow"])
def test_whoever_is_interrupted_goes_on_and_nothing_is_double(
    gallery: Path, tiny_model: Model, tmp_path: Path, monkeypatch, group: int, when: str
) -> None:
    monkeypatch.setattr(module, "FRAMES", 16)  # four groups
    place = tmp_path / "i.lance"
    index = open_index(place, tiny_model)
    plain, calls = Index._put, []

    def interrupted(self: Index, *group_and_known: object) -> list[str]:
        calls.append(plain(self, *group_and_known) if when == "to_arrow" else None)
        if len(calls) > group:
            raise KeyboardInterrupt
        return plain(self, *group_and_known) if when != "to_arrow" else calls[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Index, "_put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.add(gallery)
    kept = 4 * (group + (when == "to_arrow"))
    again = open_index(place)
    assert len(again) == kept
    assert len(again.add(gallery).new) == 16 - kept
    assert sorted(again.about["name"]) == sorted({*again.about["name"]}) and len(again) == 16


def test_a_broken_frame_is_left_out_and_a_broken_tracklet_named(
    index: Index, gallery: Path
) -> None:
    (gallery / "cam_a/person_0002/0003.png").write_bytes(b"no picture")
    with pytest.warns(match=r"1 broken frame\(s\) of cam_a/person_0002: 0003.png"):
        index.add(gallery)
    for frame in (gallery / "cam_a/person_0002").iterdir():
        frame.write_bytes(b"no picture either")
    with pytest.raises(UserError, match="nor is any other frame of cam_a"):
        index.add(gallery)
    assert len(index) == 16


def test_pictures_are_made_small_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    large: list[weakref.ref] = []

    def decoded(frame: Path) -> np.ndarray | None:
        assert sum(one() is not None for one in large) <= 1, "others are held at full size"
        image = np.full((80, 40, 3), int(frame.name), np.uint8) if frame.name != "2" else None
        large.extend([] if image is None else [weakref.ref(image)])
        return image

    monkeypatch.setattr(module, "decode", decoded)
    with pytest.warns(Caution, match=r"left out 1 broken frame\(s\) of it: 2"):
        found = module.clip([Path(str(n)) for n in range(5)], "it", (8, 4))
    assert found.shape == (4, 8, 4, 3) and found[:, 0, 0, 0].tolist() == [0, 1, 3, 4]


# ---------------------------------------------------------------- forgetting


def test_what_is_removed_is_gone_from_the_disk(index: Index) -> None:
    place, names = Path(index.address), ["cam_a/person_0003", "cam_b/person_0008"]
    vectors = [index.vector(name).tobytes()[:64] for name in names]
    assert all(holds(place, vector) for vector in vectors)
    index.remove(names)
    assert [holds(place, content) for content in vectors] == [[], []]
    assert [holds(place, name.encode()) for name in names] == [[], []]
    assert len(index) == 14 and len(open_index(place)) == 14
    index.vector("cam_a/person_0004")
    with pytest.raises(UserError, match="cam_a/person_0003 is no tracklet of the index"):
        index.vector("cam_a/person_0003")


def test_a_removal_that_was_killed_is_finished_by_the_same_call(index: Index, monkeypatch) -> None:
    name, place = "cam_a/person_0003", Path(index.address)
    vector = index.vector(name).tobytes()[:64]
    with monkeypatch.context() as patch:
        patch.setattr(Index, "_tidy", lambda *_, **__: None)
        index.remove([name])
    assert holds(place, vector), "of an older version"
    with pytest.raises(UserError, match="is no tracklet of the index"):
        index.remove([name])
    assert holds(place, vector) == []


def test_an_unknown_name_removes_nothing(index: Index) -> None:
    with pytest.raises(UserError, match="did you mean cam_a/person_0003"):
        index.remove(["cam_a/person_0001", "cam_a/person_003"])
    assert len(index) == 16


def test_everything_can_be_removed_and_added_again(index: Index, gallery: Path) -> None:
    index.remove(list(index.about["name"]))
    assert len(index) == 0
    assert index.search(np.zeros(index.dim, np.float32)).empty
    assert len(index.add(gallery).new) == 16


# ---------------------------------------------------------------- searching


def test_exact_search_is_the_plain_ranking(index: Index) -> None:
    vectors, about = np.concatenate(index.vectors), index.about
    query = vectors[3]
    apart = np.linalg.norm(vectors.astype(np.float64) - query, axis=1)
    naive = about["name"].iloc[np.argsort(apart, kind="stable")]
    found = index.search(query, top=16)
    assert found["name"].tolist() == naive.tolist()
    assert found["distance"].to_numpy() == pytest.approx(np.sort(apart), abs=1e-6)
    assert index.search(query, top=3)["name"].tolist() == naive[:3].tolist()
    other = index.search(query, top=16, cameras=["cam_b"])["name"]
    assert other.tolist() == [name for name in naive if name.startswith("cam_b")]
    assert index.search(query, cameras=["nowhere"]).empty


def test_each_of_two_products_may_be_off_by_the_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDING", 0.01)
    index = Index.__new__(Index)
    # Not of unit length, as if it were rounding: the farther one has the larger product.
    index.vectors = [np.array([[1.01, 0.2], [0.991, 0.0]], np.float32)]
    index.about = pd.DataFrame({"name": ["far", "near"], "camera": "a"}, ["far", "near"])
    found = index._nearest(np.array([1, 0], np.float32), 1, None)
    assert found["name"].tolist() == ["near"]


def test_wrong_vectors_and_numbers_get_a_sentence(index: Index) -> None:
    with pytest.raises(UserError, match=r"vectors of .* have 1024 numbers, not \[3\]"):
        index.search(np.zeros(3))
    with pytest.raises(UserError, match="top must be at least 1, not 0"):
        index.search(index.vector("cam_a/person_0001"), top=0)


def crowd(index: Index, people: int, seed: int = 0) -> np.ndarray:
    """Put vectors of people, each seen by two cameras, into an index; return those of one."""
    draw = np.random.default_rng(seed)
    centre = draw.normal(size=(people, index.dim))
    seen = np.concatenate([centre, centre]) + draw.normal(0, 1.5, (2 * people, index.dim))
    seen = (seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32)
    rows = {name: [""] * len(seen) for name in ("person", "thumbnail", "mark", "content")}
    camera = [f"c{n // people}" for n in range(len(seen))]
    names = [f"{c}/{n % people}" for n, c in enumerate(camera)]
    rows |= {"name": names, "camera": camera, "added": [pd.Timestamp.now("UTC")] * len(seen)}
    flat = pa.FixedSizeListArray.from_arrays(pa.array(seen.ravel()), index.dim)
    whole = pa.record_batch(rows | {"vector": flat}).select([*module.LABELS, "vector"])
    index.table.add(module.sealed(whole))
    index._forget_what_was_read()
    return seen[:people]


def test_approximate_search_finds_what_exact_search_finds(
    index: Index, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.remove(list(index.about["name"]))
    asked = crowd(index, 1000)[::25]
    monkeypatch.setattr(module, "EXACT", 1500)
    assert not index.table.list_indices()
    index.add(gallery)  # builds the index of vectors
    assert index.table.list_indices()
    hits = []
    for vector in asked:
        cameras = ["c1", "cam_a"]
        exact = index.search(vector, cameras=cameras, exact=True)
        found = index.search(vector, cameras=cameras)
        hits.append(len({*exact["name"]} & {*found["name"]}) / 10)
        assert set(found["camera"]) <= {*cameras}
        assert list(found.columns) == list(exact.columns)
        both = exact.merge(found, on="name")
        assert both["distance_x"].to_numpy() == pytest.approx(both["distance_y"], abs=1e-3)
    assert np.mean(hits) >= 0.95
    vector = index.vector("c0/7").tobytes()[:64]
    index.remove(["c0/7"])
    assert holds(Path(index.address), vector) == [] and index.table.list_indices()


# ---------------------------------------------------------------- elsewhere


def test_parquet_holds_camera_tracklet_person_and_vector(index: Index, tmp_path: Path) -> None:
    path = index.to_parquet(tmp_path / "new" / "vectors.parquet")
    table = pd.read_parquet(path)
    assert list(table.columns) == ["camera", "tracklet", "person", "vector"]
    assert len(table) == 16
    row = table[(table["camera"] == "cam_b") & (table["tracklet"] == "person_0002")].iloc[0]
    assert np.array_equal(row["vector"], index.vector("cam_b/person_0002"))


# ---------------------------------------------------------------- what is no index


def test_two_models_do_not_share_an_index(index: Index, tiny_root: Path, run_store: Path) -> None:
    other = model_of(bench_of(tiny_root / "multi_shot", seed=1))
    with pytest.raises(UserError, match="was made with another model, and their vectors do not"):
        open_index(index.address, other)


def test_folders_that_are_no_index_are_left_alone(tmp_path: Path, tiny_model: Model) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match=r"mine is no index: make it with `python -m upm_lib index"):
        open_index(tmp_path / "mine")
    with pytest.raises(UserError, match="mine is no index: give a free name"):
        open_index(tmp_path / "mine", tiny_model)
    with pytest.raises(UserError, match="nowhere does not exist: make it"):
        open_index(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is no index"):
        open_index(tmp_path / "mine" / "letter.txt", tiny_model)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "letter.txt"]


@pytest.mark.parametrize("table", ["tracklets", "model"])
@pytest.mark.parametrize("part", ["data", "_versions"])
def test_a_damaged_index_gets_a_sentence(index: Index, table: str, part: str) -> None:
    for file in (Path(index.address) / f"{table}.lance" / part).iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"cannot be used .*remove the index and make it anew"):
        open_index(index.address)


@pytest.mark.parametrize("what", ["vector", "name", "thumbnail"])
def test_a_flipped_bit_is_noticed_wherever_it_is_read(
    index: Index, gallery: Path, tmp_path: Path, what: str
) -> None:
    place, name = Path(index.address), "cam_b/person_0002"
    row = index.about.loc[name]
    held = index.vector(name).tobytes() if what == "vector" else row[what].encode()
    (file,) = [path for path in (place / "tracklets.lance/data").iterdir()]
    content = bytearray(file.read_bytes())
    content[content.index(held[:64]) + len(held[:64]) - 1] ^= 1
    file.write_bytes(content)
    (place / ledger.NAME).unlink()  # as elsewhere, where there is none
    damaged = open_index(place)
    asked = np.zeros(damaged.dim, np.float32)
    readings = {
        "hits": lambda: damaged.search(asked, 16, exact=False),
        "exact search": lambda: damaged.search(asked),
        "export": lambda: damaged.to_parquet(tmp_path / "v.parquet"),
        "one": lambda: damaged.vector(name),
        "growth": lambda: damaged.add(gallery),
    }
    for reading in readings.values():
        with pytest.raises(UserError, match=r"a row is not as it was written.*make it anew"):
            reading()
    assert not (tmp_path / "v.parquet").exists()


def test_an_address_elsewhere_is_named_in_sentences(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"memory://shop does not exist: make it with"):
        open_index("memory://shop")
    assert caplog.messages == ["asking memory://shop"]
    with pytest.raises(UserError, match="check the address, the network and the keys"):
        open_index("nothing://shop")


def test_an_index_without_seals_is_named(index: Index) -> None:
    index.table.drop_columns(["seal"])
    with pytest.raises(UserError, match=r"damaged or of an older version.*make it anew"):
        open_index(index.address)


def test_an_index_whose_making_was_killed_is_made(tiny_model: Model, tmp_path: Path) -> None:
    for table in ("tracklets", "model"):
        (tmp_path / "i.lance" / f"{table}.lance" / "data").mkdir(parents=True)
    assert len(open_index(tmp_path / "i.lance", tiny_model)) == 0
    assert open_index(tmp_path / "i.lance").model.digest == tiny_model.digest


def test_an_index_does_not_lie_in_its_gallery(gallery: Path, tiny_model: Model) -> None:
    with pytest.raises(UserError, match="lies in the gallery and would become a part"):
        open_index(gallery / "i.lance", tiny_model).add(gallery)


def test_a_gallery_whose_path_is_not_utf_8_gets_a_sentence(
    gallery: Path, index: Index, tmp_path: Path
) -> None:
    named = gallery.rename(tmp_path / os.fsdecode(b"Gel\xe4nde"))
    with pytest.raises(UserError, match="is not UTF-8: rename it, or choose another locale"):
        index.add(named)


def test_a_full_folder_of_temporary_files_is_no_damage(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"model\.safetensors cannot be written .*make room"):
        index.model  # noqa: B018
