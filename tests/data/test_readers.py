"""The readers of iLIDS-VID, DukeMTMC-VideoReID, MARS and anyone's own tracklets, and the check.

Each is tried on a small tree in the genuine layout, written here.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from upm_lib.config import Caution, Config, UserError, preset
from upm_lib.data import catalogue
from upm_lib.data.catalogue import NAMES, load
from upm_lib.data.readers import dukemtmc, folder, mars, matlab
from upm_lib.data.readers.dukemtmc import RIGHTS
from upm_lib.data.readers.sequences import ilids_vid
from upm_lib.data.splits import split
from upm_lib.data.tracklets import Dataset
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.retrieval import evaluation
from upm_lib.synthetic import world

PICTURES = {
    suffix: cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (32, 16, 3), np.uint8))[
        1
    ].tobytes()
    for suffix in (".png", ".jpg")
}


def write(root: Path, *names: str) -> None:
    """Write pictures."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PICTURES[file.suffix.lower()])


def sentence(act: Callable) -> str:
    with pytest.raises(UserError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text
    return text


def said(dataset: Dataset) -> list[tuple]:
    """What a data set says of each tracklet: subset, camera's name, person, frames' names."""
    subset = dataset.subset or ("",) * len(dataset.tracklets)
    return [
        (s, dataset.cameras[t.camera], t.person, [os.path.basename(f) for f in t.frames])
        for s, t in zip(subset, dataset.tracklets, strict=True)
    ]


# ---------------------------------------------------------------- iLIDS-VID


def write_ilids(above: Path, frames: dict[tuple[int, int], int]) -> Path:
    for (camera, person), count in frames.items():
        start = (
            f"i-LIDS-VID/sequences/cam{camera}/person{person:03d}/cam{camera}_person{person:03d}"
        )
        write(above, *(f"{start}_{n:05d}.png" for n in range(317, 317 + count)))
    return above / "i-LIDS-VID"


def test_ilids_vid_is_read_by_camera_then_person(tmp_path: Path) -> None:
    root = write_ilids(tmp_path, {(c, p): 2 for c in (1, 2) for p in (319, 1, 2)})
    dataset = ilids_vid(root)
    assert [(t.camera, t.person) for t in dataset.tracklets] == [
        (camera, person) for camera in (0, 1) for person in (1, 2, 319)
    ]
    assert dataset.cameras == ("cam1", "cam2")
    assert dataset.tracklets[5].frames == (
        "sequences/cam2/person319/cam2_person319_00317.png",
        "sequences/cam2/person319/cam2_person319_00318.png",
    )
    assert dataset.protocol == "two cameras"
    assert all((dataset.root / f).is_file() for t in dataset.tracklets for f in t.frames)


def test_ilids_vid_may_be_given_by_the_folder_around_it(tmp_path: Path) -> None:
    root = write_ilids(tmp_path, {(c, p): 1 for c in (1, 2) for p in (1, 2)})
    inside, around = ilids_vid(root), ilids_vid(tmp_path)
    assert around.tracklets == inside.tracklets
    assert around.digest() == inside.digest(), "else a second way to write the root trains anew"


def test_ilids_vid_keeps_who_is_seen_by_both_cameras_for_long_enough(tmp_path: Path) -> None:
    frames = {(c, p): 2 for c in (1, 2) for p in (1, 2, 3)} | {(1, 4): 2, (2, 3): 1}
    root = write_ilids(tmp_path, frames)
    assert ilids_vid(root).people == (1, 2, 3)
    assert ilids_vid(root, 2).people == (1, 2)
    config = preset("ilids_vid", root=str(root))
    assert load(config).people == (1, 2, 3), "the preset leaves nobody out"
    assert load(config.replace(min_frames=2)).people == (1, 2)


# ---------------------------------------------------------------- DukeMTMC-VideoReID

NEW, OLD = "{0:04d}_C{1}_F{2:04d}_X{3}.jpg", "{0:04d}C{1}F{2:04d}X{3}.jpg"
DUKE = {  # subset, tracklet, person, camera
    ("train", "0001"): (1, 6),
    ("train", "0002"): (1, 2),
    ("train", "0003"): (5, 6),
    ("query", "0001"): (2, 6),
    ("gallery", "0001"): (2, 6),
    ("gallery", "0002"): (2, 8),
    ("gallery", "0003"): (9, 8),
}


def write_duke(root: Path, naming: str = NEW) -> Path:
    for (subset, tracklet), (person, camera) in DUKE.items():
        place = f"{subset}/{person:04d}/{tracklet}"
        names = (naming.format(person, camera, f, 30819 + 4 * f) for f in (9, 1, 10))
        write(root, *(f"{place}/{name}" for name in names))
    return root


@pytest.mark.parametrize("naming", [NEW, OLD])
def test_dukemtmc_takes_the_camera_from_the_frames_names(tmp_path: Path, naming: str) -> None:
    dataset = dukemtmc.read(write_duke(tmp_path, naming))
    expected = [
        (s, f"C{c}", p, [naming.format(p, c, f, 30819 + 4 * f) for f in (1, 9, 10)])
        for (s, _), (p, c) in DUKE.items()
    ]
    assert said(dataset) == sorted(expected, key=lambda e: ("tqg".index(e[0][0]), e[2]))
    assert dataset.cameras == ("C2", "C6", "C8")
    first = naming.format(1, 6, 1, 30823)
    assert dataset.tracklets[0].frames[0] == f"train/0001/0001/{first}"


def test_dukemtmc_has_its_official_division_in_every_trial(tmp_path: Path) -> None:
    dataset = dukemtmc.read(write_duke(tmp_path))
    assert dataset.protocol == "query and gallery"
    for trial in (1, 2):
        sides = [[dataset.subset[t] for t in side] for side in split(dataset, trial)]
        assert sides == [["train"] * 3, ["query"], ["gallery"] * 3]


def test_dukemtmc_is_off_until_a_right_to_it_is_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = preset("dukemtmc", root=str(write_duke(tmp_path)))
    for value in (None, "no", "1"):
        monkeypatch.delenv(RIGHTS, raising=False)
        if value:
            monkeypatch.setenv(RIGHTS, value)
        text = sentence(lambda: load(config))
        assert "withdrawn by its owners" in text
        assert text.endswith("UPM_DUKEMTMC_RIGHTS=yes")
        assert "http" not in text
    monkeypatch.setenv(RIGHTS, "yes")
    assert len(load(config).tracklets) == 7


def test_the_drawn_set_in_its_layout_needs_no_right(
    run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RIGHTS, raising=False)
    tiny = world.World(identities=4, cameras=3, frames=2, seen_by=2)
    monkeypatch.setitem(world.WORLDS, "synthetic_eight", tiny)
    dataset = load(Config(dataset="synthetic_eight"))
    assert set(dataset.subset) == {"train", "query", "gallery"}
    assert dataset.protocol == "query and gallery"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: write(r, "train/0001/0001/0001_F0002_X1.jpg"), ("0001_F0002_X1.jpg", "camera")),
        (lambda r: write(r, "train/0001/0001/0001_C5_F0099_X1.jpg"), ("0001/0001 mixes", "C5 and")),
        (
            lambda r: write(r, "gallery/someone/0001/1_C1_F1_X1.jpg"),
            ("gallery/someone is no",),
        ),
    ],
)
def test_a_misfiled_frame_or_folder_of_dukemtmc_is_named(
    tmp_path: Path, spoil: Callable, words: tuple[str, ...]
) -> None:
    spoil(write_duke(tmp_path))
    text = sentence(lambda: dukemtmc.read(tmp_path))
    assert all(word in text for word in words), text


def test_a_subset_of_dukemtmc_without_tracklets_is_named(tmp_path: Path) -> None:
    for name in ("train", "query", "gallery"):
        (tmp_path / name).mkdir()
    assert f"{tmp_path / 'train'} holds no tracklet" in sentence(lambda: dukemtmc.read(tmp_path))


def test_all_empty_tracklets_are_gathered_and_the_first_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("train/0001/0007", "gallery/0002/0008"):
        (write_duke(tmp_path) / place).mkdir()
    dataset = dukemtmc.read(tmp_path)
    assert len(dataset.tracklets) == 7
    assert dataset.empty == (tmp_path / "train/0001/0007", tmp_path / "gallery/0002/0008")
    monkeypatch.setenv(RIGHTS, "yes")
    text = sentence(lambda: load(preset("dukemtmc", root=str(tmp_path))))
    assert text.startswith(f"{tmp_path / 'train/0001/0007'} holds no picture (.bmp")


# ---------------------------------------------------------------- MARS

# Frames of train: 1-2 person 1 camera 1, 3 person 1 camera 2, 4-5 person 3 camera 2. Of test:
# junk, distractors, then person 2 in cameras 1, 1 again, 5, and person 4 in camera 6.
TRAIN = [(1, 2, 1, 1), (3, 3, 1, 2), (4, 5, 3, 2)]
TEST = [(1, 1, -1, 3), (2, 3, 0, 4), (4, 5, 2, 1), (6, 6, 2, 1), (7, 8, 2, 5), (9, 9, 4, 6)]


def listed(rows: list[tuple[int, ...]]) -> list[str]:
    names = []
    for track, (first, last, person, camera) in enumerate(rows, 1):
        who = "00-1" if person == -1 else f"{person:04d}"
        names += [f"{who}C{camera}T{track:04d}F{n:03d}.jpg" for n in range(1, last - first + 2)]
    return names


def write_mars(root: Path) -> Path:
    info = root / "info"
    info.mkdir(parents=True)
    for part, rows in (("train", TRAIN), ("test", TEST)):
        write(root, *(f"bbox_{part}/{name[:4]}/{name}" for name in listed(rows)))
        (info / f"{part}_name.txt").write_text("\n".join(listed(rows)) + "\n")
        matrix = {f"track_{part}_info": np.array(rows, float)}
        savemat(info / f"tracks_{part}_info.mat", matrix)
    savemat(info / "query_IDX.mat", {"query_IDX": np.array([[3.0, 5.0]])})
    return root


def test_mars_joins_the_frames_of_its_lists_to_tracklets(tmp_path: Path) -> None:
    dataset = mars.read(write_mars(tmp_path))
    assert said(dataset) == [
        ("train", "C1", 1, ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg"]),
        ("train", "C2", 1, ["0001C2T0002F001.jpg"]),
        ("train", "C2", 3, ["0003C2T0003F001.jpg", "0003C2T0003F002.jpg"]),
        ("gallery", "C4", 0, ["0000C4T0002F001.jpg", "0000C4T0002F002.jpg"]),
        ("query", "C1", 2, ["0002C1T0003F001.jpg", "0002C1T0003F002.jpg"]),
        ("gallery", "C1", 2, ["0002C1T0004F001.jpg"]),
        ("query", "C5", 2, ["0002C5T0005F001.jpg", "0002C5T0005F002.jpg"]),
        ("gallery", "C6", 4, ["0004C6T0006F001.jpg"]),
    ]
    assert dataset.cameras == ("C1", "C2", "C4", "C5", "C6")
    assert dataset.tracklets[3].frames[0] == "bbox_test/0000/0000C4T0002F001.jpg"
    assert all((tmp_path / f).is_file() for t in dataset.tracklets for f in t.frames)
    assert load(preset("mars", root=str(tmp_path))).tracklets == dataset.tracklets


def test_the_queries_of_mars_find_each_other_as_in_the_owners_script(tmp_path: Path) -> None:
    """The owner ranks all test tracklets, junk (-1) and queries included."""
    import torch

    dataset = mars.read(write_mars(tmp_path))
    trial = split(dataset, 1)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(TEST), 4, generator=generator)
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    person, camera = (np.array(column) for column in list(zip(*TEST, strict=True))[2:])
    every = evaluation.Labels(person, camera)
    asked = evaluation.Labels(person[[2, 4]], camera[[2, 4]])
    owner = evaluation.rank(vectors[[2, 4]], vectors, asked, every)
    row_of = dict(zip([3, 4, 5, 6, 7], [1, 2, 3, 4, 5], strict=True))  # without the junk
    sides = [[row_of[t] for t in side] for side in (trial.probe, trial.gallery)]
    labels = [evaluation.Labels(person[side], camera[side]) for side in sides]
    ours = evaluation.rank(*(vectors[side] for side in sides), *labels)
    assert [r.tolist() for r in ours.ranks] == [r.tolist() for r in owner.ranks]
    assert all(len(r) for r in ours.ranks), "each finds the other query"


@pytest.mark.parametrize("lacking", [["test_name.txt"], ["query_IDX.mat", "tracks_train_info.mat"]])
def test_missing_lists_of_mars_are_named(tmp_path: Path, lacking: list[str]) -> None:
    write_mars(tmp_path)
    for name in lacking:
        (tmp_path / "info" / name).unlink()
    text = sentence(lambda: mars.read(tmp_path))
    assert f"{tmp_path / 'info'} lacks {', '.join(sorted(lacking, key=mars.INFO.index))}:" in text


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.jpg",
        "/etc/passwd",
        "0001/../../0001C1T0001F001.jpg",
        "0001C1T0001F001.jpg/../../x.jpg",
        "0001C1T0001F001.png",
        "",
        "\x000001C1T0001F001.jpg",
        "0001C1T0001F001.jpg 0001C1T0001F002.jpg",
        "é001C1T0001F001.jpg",
    ],
)
def test_a_name_in_a_list_of_mars_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    path = write_mars(tmp_path) / "info" / "train_name.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], name, *lines[3:]]))
    assert sentence(lambda: mars.read(tmp_path)).startswith(f"{path}, line 3: ")


def test_lists_of_mars_written_on_windows_do_as_well(tmp_path: Path) -> None:
    before = mars.read(write_mars(tmp_path)).tracklets
    for path in (tmp_path / "info").glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert mars.read(tmp_path).tracklets == before


def test_whole_numbers_of_any_kind_do_in_the_matrices(tmp_path: Path) -> None:
    before = mars.read(write_mars(tmp_path)).tracklets
    info = tmp_path / "info"
    savemat(info / "tracks_train_info.mat", {"x": np.array(TRAIN, np.uint16)}, do_compression=True)
    savemat(info / "query_IDX.mat", {"q": np.array([3, 5], np.int32)}, oned_as="column")
    assert mars.read(tmp_path).tracklets == before


ROWS = np.array(TRAIN, float)
STRANGE = {
    "text": b"no matrix",
    "empty": b"",
    "HDF5": b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM" + b"\x89HDF\r\n",
    "three columns": ROWS[:, :3],
    "transposed": ROWS.T,
    "no rows": ROWS[:0],
    "fractions": ROWS + 0.5,
    "not finite": np.where(ROWS == 5, np.nan, ROWS),
    "infinite": np.where(ROWS == 5, np.inf, ROWS),
    "huge": np.where(ROWS == 5, 1e300, ROWS),
    "words": np.array([["a", "b", "c", "d"]]),
    "cells": np.array([[1, "b", 3, [4]]], object),
    "a structure": {"rows": ROWS},
    "complex": ROWS + 1j,
    "frame 0": np.where(ROWS == 1, 0, ROWS),
    "beyond the list": np.where(ROWS == 5, 6, ROWS),
    "backwards": ROWS[:, [1, 0, 2, 3]],
    "another person": ROWS + np.array([0, 0, 1, 0]),
    "another camera": ROWS + np.array([0, 0, 0, 1]),
    "across tracklets": np.array([(1, 5, 1, 1)], float),
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_matrix_that_is_not_of_mars_gets_a_sentence(tmp_path: Path, what: str) -> None:
    path = write_mars(tmp_path) / "info" / "tracks_train_info.mat"
    content = STRANGE[what]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, {"track_train_info": content})
    assert str(path) in sentence(lambda: mars.read(tmp_path))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_matrix_gets_a_sentence_wherever_it_is_cut_or_changed(
    tmp_path: Path, compressed: bool
) -> None:
    path = write_mars(tmp_path) / "info" / "tracks_train_info.mat"
    savemat(path, {"track_train_info": np.array(TRAIN, float)}, do_compression=compressed)
    whole, correct = path.read_bytes(), mars.read(tmp_path).tracklets
    damaged = [whole[:n] for n in range(0, len(whole), 9)]
    for place in range(124, len(whole), 2):
        for bits in (0x01, 0xFF):
            damaged.append(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert mars.read(tmp_path).tracklets == correct  # a change of the name, of padding
        except UserError as error:
            refused += str(path) in str(error)
    assert refused > len(damaged) / 2


def test_matrices_are_what_scipy_wrote(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">f8"):
        for shape in ((1, 1), (1, 3), (5, 1), (7, 4), (0, 3)):
            written = rng.integers(0, 100, shape).astype(kind)
            for compressed in (False, True):
                savemat(tmp_path / "x.mat", {"a_name": written}, do_compression=compressed)
                ((name, found),) = matlab.matrices((tmp_path / "x.mat").read_bytes()).items()
                assert name == "a_name"
                assert found.dtype == written.dtype.newbyteorder("=")
                assert np.array_equal(found, written)


def test_a_matrix_in_the_order_of_other_machines_is_read() -> None:
    """Written by hand from the format's description: big-endian, doubles kept as bytes."""
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    flags = struct.pack(">IIII", 6, 8, 6, 0)
    shape = struct.pack(">IIii", 5, 8, 2, 3)
    name = struct.pack(">HH", 1, 1) + b"q\0\0\0"
    numbers = struct.pack(">II", 2, 6) + bytes([1, 2, 3, 4, 5, 250]) + b"\0\0"
    body = flags + shape + name + numbers
    content = head + struct.pack(">II", 14, len(body)) + body
    assert matlab.matrices(content)["q"].tolist() == [[1, 3, 5], [2, 4, 250]]


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matlab, "LARGEST", 2**16)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    bomb = zlib.compress(bytes(matlab.LARGEST + 1), 9)
    with pytest.raises(ValueError, match="too large"):
        matlab.matrices(head + struct.pack("<II", 15, len(bomb)) + bomb)


@pytest.mark.parametrize("rows", [[0], [7], [-1], [1], [3, 3]])
def test_a_query_of_mars_that_is_none_gets_a_sentence(tmp_path: Path, rows: list[int]) -> None:
    path = write_mars(tmp_path) / "info" / "query_IDX.mat"
    savemat(path, {"query_IDX": np.array([rows])})
    assert str(path) in sentence(lambda: mars.read(tmp_path))


# ---------------------------------------------------------------- anyone's own tracklets


def write_own(root: Path, *tracklets: str, frames: int = 2) -> Path:
    for tracklet in tracklets:
        write(root, *(f"{tracklet}/{n}.jpg" for n in range(frames)))
    return root


def identify(root: Path, *lines: str) -> Path:
    (root / "identities.csv").write_text("\n".join(["camera,tracklet,person", *lines]))
    return root


OWN = ("door/t1", "door/t2", "door/t3", "yard/a", "yard/b", "yard/c")


def test_own_tracklets_need_no_identities(tmp_path: Path) -> None:
    dataset = folder.read(write_own(tmp_path, *OWN))
    assert said(dataset) == [
        ("", camera, -1, ["0.jpg", "1.jpg"]) for camera in ("door", "yard") for _ in range(3)
    ]
    assert dataset.tracklets[3].frames == ("yard/a/0.jpg", "yard/a/1.jpg")
    assert not dataset.identified
    assert dataset.people == ()
    for trial in (1, 2):
        assert [side.tolist() for side in split(dataset, trial)] == [[*range(6)], [], []]


def test_own_tracklets_of_more_cameras_without_identities_all_train(tmp_path: Path) -> None:
    dataset = folder.read(write_own(tmp_path, *OWN, "hall/1"))
    assert [len(side) for side in split(dataset, 1)] == [7, 0, 0]


def test_people_in_both_of_two_cameras_are_halved(tmp_path: Path) -> None:
    pairs = [f"{t.replace('/', ',')},{who}" for t, who in zip(OWN, [*"cab", *"bca"], strict=True)]
    dataset = folder.read(identify(write_own(tmp_path, *OWN), *pairs))
    assert [t.person for t in dataset.tracklets] == [3, 1, 2, 2, 3, 1], "in the names' order"
    assert dataset.protocol == "two cameras"
    train, probe, gallery = split(dataset, 1)
    assert [len(train), len(probe), len(gallery)] == [2, 2, 2]
    people = [{dataset.tracklets[t].person for t in side} for side in (train, probe, gallery)]
    assert people[1] == people[2]
    assert people[0] | people[1] == {1, 2, 3}
    assert {dataset.tracklets[t].camera for t in probe} == {0}


def naive_division(dataset: Dataset, train: set[int]) -> tuple[list[int], list[int], list[int]]:
    """The division for more cameras or partial coverage, word by word."""
    trains, queries, gallery = [], [], []
    seen = set()
    for number, tracklet in enumerate(dataset.tracklets):
        if tracklet.person == -1 or tracklet.person in train:
            trains.append(number)
            continue
        gallery.append(number)
        elsewhere = any(
            t.person == tracklet.person and t.camera != tracklet.camera for t in dataset.tracklets
        )
        if elsewhere and (tracklet.person, tracklet.camera) not in seen:
            queries.append(number)
        seen.add((tracklet.person, tracklet.camera))
    return trains, queries, gallery


@pytest.mark.parametrize("trial", range(1, 6))
def test_more_cameras_have_queries_and_a_gallery(tmp_path: Path, trial: int) -> None:
    rng = np.random.default_rng(trial)
    places = [f"{camera}/{n:02d}" for camera in "abc" for n in range(8)]
    who = [f"p{rng.integers(6)}" if rng.random() < 0.8 else "" for _ in places]
    lines = [f"{p[0]},{p[2:]},{w}" for p, w in zip(places, who, strict=True)]
    dataset = folder.read(identify(write_own(tmp_path, *places, frames=1), *lines))
    assert dataset.protocol == "query and gallery"
    found = split(dataset, trial)
    train = {dataset.tracklets[t].person for t in found.train} - {-1}
    assert len(train) == len(dataset.people) // 2
    assert [side.tolist() for side in found] == [*naive_division(dataset, train)]


def test_who_is_left_out_of_the_list_trains_and_is_never_searched(tmp_path: Path) -> None:
    lines = ("door,t1,x", "yard,a,x", "door,t2,y", "yard,b,y", "yard,c,")
    dataset = folder.read(identify(write_own(tmp_path, *OWN), *lines))
    assert [t.person for t in dataset.tracklets] == [1, 2, -1, 1, 2, -1]
    found = split(dataset, 1)
    assert {2, 5} <= {*found.train.tolist()}
    assert sorted(np.concatenate(found).tolist()) == [*range(6)]


@pytest.mark.parametrize("text", ["\ufeffcamera,tracklet,person\r\ndoor,t1,7\r\nyard,a,8\r\n"])
def test_a_list_as_spreadsheets_write_it_is_read(tmp_path: Path, text: str) -> None:
    (write_own(tmp_path, *OWN) / "identities.csv").write_bytes(text.encode())
    assert folder.read(tmp_path).people == (1, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks the column camera: its first line must be camera,tracklet,person"),
        ("camera;tracklet;person\n", "lacks the column camera"),
        ("camera,tracklet\n", "lacks the column person"),
        ("camera,tracklet,person\ndoor,t9,x\n", "line 2: door/t9 is no tracklet of this folder"),
        ("camera,tracklet,person\n../door,t1,x\n", "line 2: ../door/t1 is no tracklet"),
        ("camera,tracklet,person\ndoor\n", "line 2 has 1 cells, not 3"),
        ("camera,tracklet,person\ndoor,t1,x\ndoor,t1,y\n", "line 3: door/t1 is listed twice"),
        ("camera,tracklet,person\ndoor,t1,x\nyard,a,x\n", "names one person"),
        ("camera,tracklet,person\n" + "x" * 200_000, "no line of comma-separated values"),
        ("camera,tracklet,person\ndoor,t1,Jörg\n".encode("latin-1"), "not in UTF-8"),
        ("camera,tracklet,person\ndoor,t1,x\n".encode("utf-16"), "not in UTF-8"),
        ("camera,tracklet,person\ndoor,t1,Lee, A\n", "line 2 has 4 cells, not 3"),
        ('camera,tracklet,person\ndoor,t1,"x\nyard,a,y\nyard,b,z\n', "unexpected end of data"),
        ('camera,tracklet,person\ndoor,t1,"x\nyard,a,y"\n', "or one over several lines"),
        ('camera,tracklet,person\ndoor,t1,"x" y\n', "no line of comma-separated values"),
        ("camera,tracklet,person,person\ndoor,t1,x,y\n", "has twice the column person"),
        ("camera,tracklet,person\ndoor,t1,-1\n", "person '-1': leave the cell of nobody empty"),
        ("camera,tracklet,person\ndoor,t1,NaN\n", "leave the cell of nobody empty"),
        ("camera,tracklet,person\ndoor,t1,x\0\n", "holds zero bytes"),
    ],
)
def test_a_list_of_identities_that_does_not_fit_gets_a_sentence(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (write_own(tmp_path, *OWN) / "identities.csv").write_bytes(content)
    assert words in sentence(lambda: folder.read(tmp_path))


def test_an_empty_own_tracklet_is_named_or_gathered(tmp_path: Path) -> None:
    (write_own(tmp_path, *OWN) / "yard" / "d").mkdir()
    text = sentence(lambda: load(preset("folder", root=str(tmp_path))))
    assert text.startswith(f"{tmp_path / 'yard' / 'd'} holds no picture")
    dataset = folder.read(tmp_path)
    assert (len(dataset.tracklets), dataset.empty) == (6, (tmp_path / "yard" / "d",))


def test_short_own_tracklets_are_left_out_if_asked_for(tmp_path: Path) -> None:
    write_own(write_own(tmp_path, *OWN), "yard/long", frames=5)
    assert len(folder.read(tmp_path, 3).tracklets) == 1
    assert "no tracklet of at least 9 frames" in sentence(lambda: folder.read(tmp_path, 9))


def test_hidden_folders_and_files_are_no_tracklets(tmp_path: Path) -> None:
    write_own(tmp_path, *OWN, ".trash/t1", "door/.thumbnails")
    (tmp_path / "door" / "t1" / "._0.jpg").write_bytes(b"what a copying program leaves")
    (tmp_path / "plan.txt").write_text("x")
    dataset = folder.read(tmp_path)
    assert [len(t.frames) for t in dataset.tracklets] == [2] * 6


def small(root: Path, **changes: object) -> Bench:
    shape = dict(height=128, width=64, backbone="small", steps=2, batch=4, k=2, lr=1e-3)
    options = dict(device="cpu", progress=False, head_lr_factor=1.0)
    return open_bench("folder", root=str(root), **shape | options | changes)


def test_without_identities_training_and_features_work_and_evaluation_says_why_not(
    tmp_path: Path, run_store: Path
) -> None:
    bench = small(write_own(tmp_path / "own", *OWN))
    trainer = networks.find_or_train(bench, bench.network("local"))
    assert trainer.step == 2
    assert len(trainer.data.tracklets) == 6
    assert np.isnan(networks.correct_share(bench, trainer)), "nobody knows which pairs are correct"
    vectors = measuring.vectors(bench, bench.measurement("local"), np.arange(6))
    assert vectors.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    acts = (
        lambda: measuring.measure(bench, bench.measurement("local")),
        lambda: measuring.ranked(bench, bench.measurement("local"), [0]),
        lambda: measuring.trial_vectors(bench, bench.measurement("histogram")),
    )
    for act in acts:
        text = sentence(act)
        assert text.startswith(f"{tmp_path / 'own'} has no identities, so")
        assert "identities.csv with the columns camera,tracklet,person" in text


def test_identities_are_evaluated_and_correcting_them_makes_the_result_anew(
    tmp_path: Path, run_store: Path
) -> None:
    root = write_own(tmp_path / "own", *OWN, "hall/1")
    identify(root, "door,t1,a", "yard,a,a", "door,t2,b", "yard,b,b", "hall,1,b")
    first = small(root)
    assert first.dataset.protocol == "query and gallery"
    assert 0 <= measuring.measure(first, first.measurement("histogram"))["rank1"] <= 100
    assert measuring.find(first, first.measurement("histogram")) is not None
    identify(root, "door,t1,a", "yard,b,a", "door,t2,b", "yard,a,b", "hall,1,b")
    assert measuring.find(small(root), small(root).measurement("histogram")) is None


def test_people_whom_one_camera_saw_cannot_be_searched(tmp_path: Path, run_store: Path) -> None:
    root = identify(write_own(tmp_path / "own", *OWN), "door,t1,a", "yard,a,b")
    text = sentence(lambda: measuring.measure(small(root), small(root).measurement("histogram")))
    assert "no test person of trial 1 is seen by two cameras" in text


def test_ranked_lists_put_the_same_person_in_the_same_camera_last(
    tmp_path: Path, run_store: Path
) -> None:
    places = [f"{camera}/{person}{n}" for camera in "xyz" for person in "ab" for n in "12"]
    root = write_own(tmp_path / "own", *places, frames=1)
    identify(root, *(f"{p[0]},{p[2:]},{p[2]}" for p in places))
    bench = small(root)
    # All pictures are equal: a stable order shows the gallery's, junk apart.
    probe = split(bench.dataset, 1).probe
    assert len(probe) == 3
    found = measuring.ranked(bench, bench.measurement("histogram"), range(3))
    assert [len(row) for row in found.images] == [6] * 3, "all that there are"
    assert found.correct == [[True] * 4 + [False] * 2] * 3, "junk is not correct"
    assert [row[:4] for row in found.distances] == [[0.0] * 4] * 3
    assert [row[4:6] for row in found.distances] == [[np.inf] * 2] * 3
    ranking = measuring.rank(
        bench,
        split(bench.dataset, 1),
        measuring.trial_vectors(bench, bench.measurement("histogram")),
        "first",
    )
    assert [r.tolist() for r in ranking.ranks] == [[1, 2, 3, 4]] * 3, "two junk, four correct"


# ---------------------------------------------------------------- wrong roots

WRITERS = {
    "ilids_vid": lambda root: write_ilids(root, {(c, p): 1 for c in (1, 2) for p in (1, 2)}),
    "dukemtmc": write_duke,
    "mars": write_mars,
    "folder": lambda root: write_own(root, *OWN),
}
INSIDE = {"ilids_vid": "sequences", "dukemtmc": "train", "mars": "info", "folder": "door"}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("where", ["above", "below"])
def test_a_root_one_level_too_high_or_too_low_gets_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    monkeypatch.setenv(RIGHTS, "yes")
    root = WRITERS[name](tmp_path / "shelf" / "set")
    wrong = root / INSIDE[name] if where == "below" else root.parent
    if name == "ilids_vid" and where == "above":
        wrong = root.parent.parent  # the folder around i-LIDS-VID is a right root
        root = root.parent
    text = sentence(lambda: catalogue.read(name, wrong))
    assert f"did you mean {root}?" in text or (name == "ilids_vid" and "sequences/" in text)


@pytest.mark.parametrize("name", NAMES)
def test_a_root_that_is_not_there_or_is_a_file_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(RIGHTS, "yes")
    (tmp_path / "set.zip").write_bytes(b"PK")
    for wrong, state in (("set.zip", "is a file, not a folder"), ("a/b", "does not exist")):
        text = sentence(lambda wrong=wrong: catalogue.read(name, tmp_path / wrong))
        assert text.startswith(f"{tmp_path / wrong} {state}: ")


@pytest.mark.parametrize("name", WRITERS)
def test_links_and_roots_that_nobody_may_write_to_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(RIGHTS, "yes")
    root = WRITERS[name](tmp_path / "données 人")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    places = sorted([root, *root.rglob("*")])
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        there, here = catalogue.read(name, root), catalogue.read(name, str(tmp_path / "link"))
        assert here.tracklets == there.tracklets
        assert here.digest() == there.digest()
        assert sorted([root, *root.rglob("*")]) == places
    finally:
        for place in places:
            place.chmod(0o755)


# ---------------------------------------------------------------- check_dataset.py


def lines_of(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.splitlines()}


@pytest.fixture
def known(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, int]]:
    """As if the real sets were as small as the trees written here."""
    small = {
        "ilids_vid": {"identities": 2, "tracklets": 4, "frames": 4},
        "dukemtmc": {"train identities": 2, "train tracklets": 3, "gallery tracklets": 3},
        "mars": {"train identities": 2, "test identities": 4, "gallery tracklets": 3},
        "folder": {},
    }
    monkeypatch.setattr(check, "KNOWN", small)
    monkeypatch.setenv(RIGHTS, "yes")
    return small


@pytest.mark.parametrize("name", WRITERS)
def test_a_whole_set_is_found_fine_and_a_sample_of_it_drawn(
    tmp_path: Path, check: ModuleType, known: dict, name: str, capsys: pytest.CaptureFixture
) -> None:
    root = WRITERS[name](tmp_path / "set")
    assert check.main([name, str(root), "--out", str(tmp_path / "out")]) == 0
    said = lines_of(capsys.readouterr().out)
    assert {f"{place} found" for place in check.LAYOUT[name]} <= said
    assert {f"{what} {count} {count}" for what, count in known[name].items()} <= said
    assert "all fine" in said
    (drawn,) = (tmp_path / "out").glob(f"{name}-*.png")
    assert cv2.imread(str(drawn)).std() > 10, "there is something on it"


def test_known_counts_are_those_of_the_real_sets(check: ModuleType) -> None:
    assert check.KNOWN["prid2011"]["frames"] == 38466
    assert check.KNOWN["ilids_vid"]["frames"] == 42459
    assert set(check.KNOWN) == set(check.LAYOUT) == set(NAMES)


def test_a_set_that_differs_from_the_real_one_is_told_by_the_exit_code(
    tmp_path: Path, check: ModuleType, run_store: Path, capsys: pytest.CaptureFixture
) -> None:
    root = WRITERS["ilids_vid"](tmp_path / "set")
    assert check.main(["ilids_vid", str(root)]) == 1
    said = lines_of(capsys.readouterr().out)
    assert "identities 2 300 DIFFERS" in said
    other = WRITERS["ilids_vid"](tmp_path / "other")
    for _ in range(2):
        assert check.main(["ilids_vid", str(other)]) == 1
    assert len([*(run_store / "checks").glob("ilids_vid-*.png")]) == 2, "a picture of each"


def test_the_shortest_tracklet_that_is_checked_may_be_chosen(
    tmp_path: Path, check: ModuleType, known: dict, capsys: pytest.CaptureFixture
) -> None:
    root = write_ilids(tmp_path, {(c, p): n for c in (1, 2) for p, n in {1: 2, 2: 2, 3: 1}.items()})
    call = ["ilids_vid", str(root), "--out", str(tmp_path)]
    for limit, people in ((None, 3), (1, 3), (2, 2)):
        check.main([*call, "--min-frames", str(limit)] if limit else call)
        assert f"identities {people} " in " ".join(capsys.readouterr().out.split())
    assert check.main([*call, "--min-frames", "0"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "min_frames must be from 1" in said.err


def test_the_check_tells_who_is_left_out(tmp_path: Path, check: ModuleType, known: dict) -> None:
    root = write_ilids(tmp_path, {(c, p): 1 for c in (1, 2) for p in (1, 2)} | {(1, 3): 1})
    told = "left out 1 of 3 people of .*: 1 not seen by every camera"
    with pytest.warns(Caution, match=told):
        assert check.main(["ilids_vid", str(root), "--out", str(tmp_path)]) == 0


def test_all_broken_and_empty_tracklets_are_listed_by_name(
    tmp_path: Path, check: ModuleType, known: dict, capsys: pytest.CaptureFixture
) -> None:
    root = write_duke(tmp_path / "set")
    (root / "query" / "0002" / "0009").mkdir()
    (root / "gallery" / "0002" / "0009").mkdir()
    places = [sorted((root / p).iterdir()) for p in ("train/0001/0001", "gallery/0009/0003")]
    places[0][1].write_bytes(PICTURES[".jpg"][:200])
    for file in places[1]:
        file.write_bytes(b"")
    assert check.main(["dukemtmc", str(root), "--out", str(tmp_path)]) == 1
    said = "\n".join(lines_of(capsys.readouterr().out))
    assert "tracklets without a picture: 2" in said
    assert "query/0002/0009" in said
    assert "gallery/0002/0009" in said
    assert "tracklets with pictures that cannot be read: 2" in said
    assert f"1 of 3, first train/0001/0001/{places[0][1].name}" in said
    assert "3 of 3, first gallery/0009/0003/" in said
    assert [*tmp_path.glob("dukemtmc-*.png")], "a sample of what can be read"


def test_an_empty_folder_of_a_person_is_listed_too(
    tmp_path: Path, check: ModuleType, known: dict, capsys: pytest.CaptureFixture
) -> None:
    root = WRITERS["ilids_vid"](tmp_path / "set")
    (root / "sequences" / "cam2" / "person007").mkdir()
    assert check.main(["ilids_vid", str(root), "--out", str(tmp_path)]) == 1
    assert "sequences/cam2/person007" in lines_of(capsys.readouterr().out)


def test_a_layout_that_is_not_there_is_told_with_the_readers_sentence(
    tmp_path: Path, check: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    root = write_mars(tmp_path / "set")
    (root / "info" / "query_IDX.mat").unlink()
    assert check.main(["mars", str(root), "--out", str(tmp_path)]) == 1
    said = lines_of(capsys.readouterr().out)
    assert "info/query_IDX.mat MISSING" in said
    assert any("lacks query_IDX.mat" in line for line in said)


def test_a_wrong_call_has_its_own_exit_code(
    tmp_path: Path,
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.delenv(RIGHTS, raising=False)
    calls = {"prid": "did you mean 'prid2011'?", "mars": "is no folder", "dukemtmc": "withdrawn"}
    for name, words in calls.items():
        assert check.main([name, str(tmp_path / "nowhere")]) == 2
        captured = capsys.readouterr()
        assert words in captured.err
        assert captured.out == ""


def test_the_check_gives_no_address_for_what_was_withdrawn(check: ModuleType) -> None:
    assert "http" not in " ".join(check.ORIGIN["dukemtmc"])
    assert set(check.ORIGIN) == set(NAMES)


def test_a_sample_that_would_become_a_part_of_the_folder_is_refused(
    tmp_path: Path, check: ModuleType, known: dict, capsys: pytest.CaptureFixture
) -> None:
    root = write_own(tmp_path / "set", *OWN)
    assert check.main(["folder", str(root), "--out", str(root / "sample")]) == 2
    assert "lies in the gallery and would become a part" in capsys.readouterr().err
    assert check.main(["folder", "", "--out", str(tmp_path)]) == 2
    assert "an empty name is no path" in capsys.readouterr().err


def test_the_check_changes_nothing_in_the_folder(
    tmp_path: Path, check: ModuleType, known: dict
) -> None:
    root = write_own(tmp_path / "set", *OWN)
    before = [(p, p.stat().st_mtime_ns) for p in sorted(root.rglob("*"))]
    assert check.main(["folder", str(root), "--out", str(tmp_path / "out")]) == 0
    assert [(p, p.stat().st_mtime_ns) for p in sorted(root.rglob("*"))] == before
