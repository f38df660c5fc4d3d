"""Packed frames and the network's input made from them."""

import dataclasses
import itertools
import multiprocessing
import os
import pickle
import re
import runpy
import shutil
import struct
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from trees import both, colour, write_image, write_prid

from upm_lib import runs
from upm_lib.config import Caution, Config, UserError
from upm_lib.data import packing
from upm_lib.data.packing import Frames, to_input
from upm_lib.data.readers.sequences import prid2011
from upm_lib.data.tracklets import Dataset
from upm_lib.synthetic import world

TINY = Config(min_frames=1, height=128, width=64, backbone="small", batch=5)

# ---------------------------------------------------------------- frames


def test_packed_frames_are_the_decoded_images_in_rgb(few: Dataset) -> None:
    frames = Frames(few)
    assert frames.pixels.dtype == np.uint8
    assert frames.pixels.shape == (24, 8, 4, 3)
    expected = [
        colour(t.camera, t.person, n) for t in few.tracklets for n in range(1, len(t.frames) + 1)
    ]
    assert np.array_equal(frames.pixels[:, 0, 0], expected)
    assert (frames.pixels == frames.pixels[:, :1, :1]).all()
    assert frames.tracklet.tolist() == [t for t in range(8) for _ in range(3)]


def test_packing_drawn_frames_equals_rendering(
    tiny: Dataset, tiny_world: world.World, run_store: Path
) -> None:
    frames = Frames(tiny)
    drawn = world.render_tracklet(tiny_world, 3, 1)
    assert np.array_equal(frames.pixels[frames.of([8 + 2])], drawn)


def test_frames_of_tracklets_come_in_the_order_asked_for(few: Dataset) -> None:
    assert Frames(few).of([5, 0]).tolist() == [15, 16, 17, 0, 1, 2]


def test_tracklets_may_be_asked_for_twice(few: Dataset) -> None:
    assert Frames(few).of(np.array([2, 2])).tolist() == [6, 7, 8, 6, 7, 8]


def test_each_frame_knows_the_place_of_its_tracklet_among_those_asked_for(few: Dataset) -> None:
    frames = Frames(few)
    assert frames.rows([5, 0, 5]).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert frames.rows([]).tolist() == frames.rows([99]).tolist() == []


def test_packing_interrupted_within_a_minute_leaves_nothing(
    few: Dataset, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(packing, "decode", stops_at(20))
        with pytest.raises(KeyboardInterrupt):
            Frames(few)
    assert files(run_store) == []
    assert len(Frames(few).pixels) == 24


def stops_at(number: int) -> Callable[[Path], np.ndarray]:
    calls = itertools.count(1)
    decode = packing.decode

    def stand_in(file: Path) -> np.ndarray:
        if next(calls) == number:
            raise KeyboardInterrupt
        return decode(file)

    return stand_in


def files(store: Path) -> list[str]:
    """What lies in the run store, locks apart."""
    found = (p for p in store.rglob("*") if p.is_file() and p.name != "lock")
    return sorted(p.name for p in found)


def test_two_processes_pack_once(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = packing._pack

    def slowly(*args: object) -> dict:
        time.sleep(0.2)
        with open(tmp_path / "packed", "a") as log:
            log.write("once ")
        return pack(*args)

    monkeypatch.setattr(packing, "_pack", slowly)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=Frames, args=(few,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "packed").read_text() == "once "


def test_packing_that_was_interrupted_goes_on_to_the_same_bytes(
    few: Dataset, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SECONDS", 0.0)
    broken = few.tracklets[0].frames[1]
    (few.root / broken).write_bytes(b"no picture")
    with pytest.warns(Caution, match="left out 1 broken"):
        frames = Frames(few)
    whole = {p.name: p.read_bytes() for p in frames.folder.iterdir()}
    shutil.rmtree(run_store)
    decode, asked = packing.decode, []

    def stopping(file: Path) -> np.ndarray | None:
        asked.append(file.relative_to(few.root).as_posix())
        if len(asked) == 20:
            raise KeyboardInterrupt
        return decode(file)

    monkeypatch.setattr(packing, "decode", stopping)
    with pytest.raises(KeyboardInterrupt):
        Frames(few)
    done, sizes = len(asked) - 1 - len(few.tracklets), len(few.tracklets)
    with pytest.warns(Caution, match=f"left out 1 broken .* {broken}"):
        Frames(few)
    every = [frame for tracklet in few.tracklets for frame in tracklet.frames]
    assert asked[20 + sizes :] == every[done:], "no frame is decoded twice"
    assert {p.name: p.read_bytes() for p in frames.folder.iterdir()} == whole


def test_packing_holds_one_frame_at_a_time_in_memory(tmp_path: Path, run_store: Path) -> None:
    root = tmp_path / "prid"
    for camera, person, frame in itertools.product("ab", (1, 2), range(1, 31)):
        name = f"multi_shot/cam_{camera}/person_{person:04d}/{frame:04d}.png"
        write_image(root / name, colour(0, person, frame), (256, 128))
    dataset = prid2011(root, 1)
    tracemalloc.start()
    try:
        frames = Frames(dataset)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    one = 256 * 128 * 3
    assert frames.pixels.nbytes == 120 * one
    assert peak < 20 * one


# ---------------------------------------------------------------- opening again


@pytest.fixture
def sealed(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, no file of the data set may be read."""
    read = packing.files.read

    def refuse(path: Path, *rest: object) -> bytes:
        assert not Path(path).is_relative_to(few.root), "a source file is read"
        return read(path, *rest)

    return lambda: monkeypatch.setattr(packing.files, "read", refuse)


def same(one: Frames, other: Frames) -> bool:
    return one.digest == other.digest and np.array_equal(one.pixels, other.pixels)


def first_image(dataset: Dataset) -> Path:
    return dataset.root / dataset.tracklets[0].frames[0]


def test_opening_an_unchanged_set_again_reads_no_source_file(
    few: Dataset, sealed: Callable[[], None]
) -> None:
    first = Frames(few)
    assert first.digest == few.digest()
    sealed()
    assert same(first, Frames(few))


def pad(image: Path, size: int = 500) -> None:
    """Bring a file to a size; what follows a picture's end is not looked at."""
    image.write_bytes(image.read_bytes().ljust(size, b"\0"))


@pytest.mark.parametrize("what", ["the time", "the size"])
def test_a_changed_image_is_read_again_whichever_tells_of_it(few: Dataset, what: str) -> None:
    image = first_image(few)
    pad(image)
    os.utime(image, ns=(10**18, 10**18))
    before = Frames(few)
    write_image(image, (7, 8, 9))
    pad(image, 500 if what == "the time" else 501)
    then = 10**18 + (what == "the time")
    os.utime(image, ns=(then, then))
    after = Frames(few)
    assert after.digest == few.digest() != before.digest
    assert (after.pixels[0] == (7, 8, 9)).all()
    assert np.array_equal(after.pixels[1:], before.pixels[1:])


def test_a_change_of_the_time_alone_makes_nothing_anew(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, sealed: Callable[[], None]
) -> None:
    before = Frames(few)
    os.utime(first_image(few), ns=(1, 1))
    monkeypatch.setattr(packing, "decode", None)
    assert same(before, Frames(few))
    sealed()
    assert same(before, Frames(few)), "the new time is remembered"


def test_a_copy_elsewhere_shares_the_pack(
    few: Dataset, tmp_path: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Frames(few)
    shutil.copytree(few.root, tmp_path / "elsewhere")  # with the times
    monkeypatch.setattr(packing, "decode", None)
    assert same(before, Frames(prid2011(tmp_path / "elsewhere", 1)))
    assert files(run_store) == ["frames.npy", "index.json"]


def test_a_copy_with_the_same_names_sizes_and_times_is_read_all_the_same(
    few: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(few.root, tmp_path / "other")
    other = prid2011(tmp_path / "other", 1)
    write_image(first_image(other), (50, 60, 70))
    for image in (first_image(few), first_image(other)):
        pad(image)
        os.utime(image, ns=(10**18, 10**18))
    assert Frames(few).pixels[0, 0, 0].tolist() == list(colour(0, 1, 1))
    assert Frames(other).pixels[0, 0, 0].tolist() == [50, 60, 70]


def test_other_tracklets_of_the_same_root_have_a_pack_of_their_own(few: Dataset) -> None:
    half = dataclasses.replace(few, tracklets=few.tracklets[2:])
    whole, part = Frames(few), Frames(half)
    assert np.array_equal(part.pixels, whole.pixels[6:])
    assert same(whole, Frames(few))


def test_a_set_that_changes_while_it_is_packed_is_refused(
    few: Dataset, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        size = packing._common_size
        patch.setattr(
            packing,
            "_common_size",
            lambda *args: (size(*args), write_image(first_image(few), (7, 8, 9)))[0],
        )
        with pytest.raises(UserError, match="changed while it was packed: open it again"):
            Frames(few)
    assert files(run_store) == [], "no pack of what is there no more"
    assert (Frames(few).pixels[0] == (7, 8, 9)).all()


def test_names_that_are_no_text_are_read(tmp_path: Path, run_store: Path) -> None:
    root = write_prid(tmp_path, both({1: 2, 2: 2}))
    folder = root / "multi_shot" / "cam_a" / "person_0001"
    try:
        os.rename(folder / "0002.png", os.fsencode(folder) + b"/B\xe4r.png")
    except OSError:
        pytest.skip("this file system takes no such names")
    assert len(Frames(prid2011(root, 1)).pixels) == 8


# ---------------------------------------------------------------- damage


class Bomb:
    """Unpickling one writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def flip(place: int) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    return act


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit of the first pixel": flip(128),
    "a flipped bit of the last pixel": flip(-1),
    "a flipped bit of the header": flip(20),
    "one byte too few": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one byte too many": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "no byte": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "another shape": lambda path: np.save(path, np.zeros((24, 4, 8, 3), np.uint8)),
    "another type": lambda path: np.save(path, np.zeros((24, 8, 4, 3), np.int8)),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Bomb(path.with_name("bomb")))),
    "objects": lambda path: np.save(path, np.array([Bomb(path.with_name("bomb"))])),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_pack_is_noticed_and_made_anew(few: Dataset, run_store: Path, what: str) -> None:
    before = np.array(Frames(few).pixels)
    DAMAGES[what](Frames(few).folder / "frames.npy")
    with pytest.warns(Caution, match="the pack is made anew") as caught:
        frames = Frames(few)
    assert len(caught) == 1
    assert np.array_equal(frames.pixels, before)
    assert np.array_equal(Frames(few).pixels, before)
    assert files(run_store) == ["frames.npy", "index.json"], "and nothing was executed"


def without(name: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        values = runs.read_json(path)
        runs.write_json(path, {k: v for k, v in values.items() if k != name})

    return act


INDICES: dict[str, Callable[[Path], object]] = {
    "no text": lambda path: path.write_text(""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "a flipped bit": flip(40),
    "a list": lambda path: path.write_text("[1, 2]"),
    "of the version before, without a digest": lambda path: path.write_text(
        '{"version": 1, "shape": [1, 1, 1, 3], "skipped": [], "seen": [], "sha256": ""}'
    ),
    "of another version": without("version"),
    "too deep": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("what", INDICES)
def test_a_damaged_index_is_noticed_and_made_anew(few: Dataset, what: str) -> None:
    first = Frames(few)
    before = np.array(first.pixels)
    INDICES[what](first.folder / "index.json")
    with pytest.warns(Caution, match=r"index.json is .*: the pack is made anew"):
        assert np.array_equal(Frames(few).pixels, before)
    assert np.array_equal(Frames(few).pixels, before)


def test_a_whole_pack_is_opened_without_waiting_for_anybody(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Frames(few)
    monkeypatch.setattr(runs, "lock", lambda _: pytest.fail("waits for whoever holds it"))
    assert same(first, Frames(few))


def test_a_pack_that_another_process_mends_meanwhile_is_taken(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Frames(few)
    index = first.folder / "index.json"
    whole = index.read_bytes()
    index.unlink()  # as whoever makes a pack anew begins

    @contextmanager
    def waited(_: Path) -> Iterator[None]:
        index.write_bytes(whole)
        yield

    monkeypatch.setattr(runs, "lock", waited)
    monkeypatch.setattr(packing, "decode", None)
    assert same(first, Frames(few))


def test_a_pack_without_its_index_was_never_finished(few: Dataset) -> None:
    first = Frames(few)
    before = np.array(first.pixels)
    (first.folder / "index.json").unlink()
    flip(-1)(first.folder / "frames.npy")
    assert np.array_equal(Frames(few).pixels, before)


def test_the_script_packs_and_mends(
    tmp_path: Path,
    run_store: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "data_scripts" / "pack.py"))
    root = write_prid(tmp_path / "prid", both({1: 28, 2: 28}))
    spoil(root / "multi_shot/cam_b/person_0002/0028.png", "text")
    arguments = ["prid2011", "--root", str(root)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        assert script["main"](arguments) == 0
        packed, left_out = capsys.readouterr().out.splitlines()
        assert packed.startswith("111 frames of 8x4 pixels (0.0 MB) in ")
        assert left_out == f"left out: {root / 'multi_shot/cam_b/person_0002/0028.png'}"
        frames = next(run_store.rglob("frames.npy"))
        before = frames.read_bytes()
        flip(1000)(frames)
        assert script["main"](arguments) == 0
        assert frames.read_bytes() == before
        capsys.readouterr()
        assert script["main"](["prid2011", "--root", str(tmp_path)]) == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path} has no folder multi_shot")


def test_the_script_packs_tracklets_as_short_as_is_asked_for(
    tmp_path: Path, run_store: Path, capsys: pytest.CaptureFixture
) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "data_scripts" / "pack.py"))
    call = ["prid2011", "--root", str(write_prid(tmp_path, both({1: 3, 2: 3})))]
    assert script["main"](call) == 2 and "at least 28 frames" in capsys.readouterr().err
    assert script["main"]([*call, "--min-frames", "3"]) == 0
    assert capsys.readouterr().out.startswith("12 frames of 8x4 pixels")


def test_an_index_of_a_stranger_names_no_place(few: Dataset, tmp_path: Path) -> None:
    first = Frames(few)
    index = runs.read_json(first.folder / "index.json")
    index |= {"path": "/etc/passwd", "skipped": ["../../outside"], "digest": "../.."}
    runs.write_json(first.folder / "index.json", index)
    before = sorted(tmp_path.rglob("*"))
    with pytest.warns(Caution, match=r"left out 1 broken"):
        assert np.array_equal(Frames(few).pixels, first.pixels)
    assert sorted(tmp_path.rglob("*")) == before


# ---------------------------------------------------------------- broken frames


def spoil(file: Path, how: str) -> None:
    content = file.read_bytes()
    damaged = {"empty": b"", "text": b"no image", "half": content[: len(content) // 2]}
    file.write_bytes(damaged[how])


def noisy(root: Path, frames: int, suffix: str = ".png") -> Path:
    """Two people, two cameras, images that cannot be compressed to nothing."""
    picture = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)
    for camera, person, frame in itertools.product("ab", (1, 2), range(1, frames + 1)):
        file = root / f"multi_shot/cam_{camera}/person_{person:04d}/{frame:04d}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), picture)
    return root


@pytest.mark.parametrize("how", ["empty", "text", "half"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_broken_frames_are_left_out_and_named_each_time(
    tmp_path: Path, run_store: Path, suffix: str, how: str
) -> None:
    dataset = prid2011(noisy(tmp_path, 3, suffix), 1)
    whole = Frames(dataset).pixels
    broken = (dataset.tracklets[0].frames[0], dataset.tracklets[2].frames[1])
    for name in broken:
        spoil(dataset.root / name, how)
    said = f"left out 2 broken frame(s) of prid2011 in {tmp_path}: {', '.join(broken)}"
    for _ in range(2):
        with pytest.warns(Caution, match=re.escape(said)) as caught:
            frames = Frames(dataset)
        assert "\n" not in str(caught[0].message)
        assert frames.skipped == broken
        assert frames.tracklet.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
        assert np.array_equal(frames.pixels, np.delete(whole, [0, 7], 0))
        assert frames.of([2]).tolist() == [5, 6]


def test_a_mended_frame_comes_back(tmp_path: Path, run_store: Path) -> None:
    dataset = prid2011(noisy(tmp_path, 2), 1)
    content = first_image(dataset).read_bytes()
    spoil(first_image(dataset), "half")
    with pytest.warns(Caution):
        assert len(Frames(dataset).pixels) == 7
    first_image(dataset).write_bytes(content)
    frames = Frames(dataset)
    assert len(frames.pixels) == 8
    assert frames.skipped == ()


@pytest.mark.parametrize("tracklet", [0, 3])
def test_a_tracklet_without_a_whole_frame_is_named_and_nothing_half_written_stays(
    tmp_path: Path, run_store: Path, tracklet: int
) -> None:
    dataset = prid2011(noisy(tmp_path, 2), 1)
    for name in dataset.tracklets[tracklet].frames:
        spoil(dataset.root / name, "half")
    with pytest.raises(UserError) as caught:
        Frames(dataset)
    assert str(caught.value) == (
        f"{dataset.root / dataset.tracklets[tracklet].frames[0]} is not a readable image, nor is "
        "any other frame of its tracklet: replace them or remove the tracklet"
    )
    assert files(run_store) == []


def claims(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with hardly any pixels behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + content + chunk(b"IEND", b"")


def claims_as_tiff(width: int, height: int, compression: int) -> bytes:
    """The same as a TIFF: a header, 64 bytes of one strip, and the directory."""
    numbers = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: 8, 277: 1}
    numbers |= {278: height, 279: 64}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in numbers.items())
    head = b"II*\0" + struct.pack("<I", 72) + bytes(64)
    return head + struct.pack("<H", len(numbers)) + entries + bytes(4)


TOO_LARGE = {
    "PNG": claims(40_000, 40_000),
    "TIFF": claims_as_tiff(60_000, 60_000, 1),
    "TIFF, LZW": claims_as_tiff(60_000, 60_000, 5),
    "TIFF, fax": claims_as_tiff(60_000, 60_000, 4),
    "TIFF, too large for any": claims_as_tiff(2**32 - 1, 2**32 - 1, 1),
}


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_picture_with_too_many_pixels_is_named(few: Dataset, run_store: Path, kind: str) -> None:
    first_image(few).write_bytes(TOO_LARGE[kind])
    with pytest.raises(UserError) as caught:
        Frames(few)
    assert str(caught.value) == (
        f"{first_image(few)} has more than 67,108,864 pixels: make it smaller or remove it"
    )
    assert files(run_store) == []


def test_a_sparse_tiff_of_gigabytes_is_not_read(few: Dataset) -> None:
    with open(first_image(few), "wb") as file:
        file.write(TOO_LARGE["TIFF"])
        file.truncate(3_600_000_000)
    with pytest.raises(UserError, match="has 3,600 MB, more than 268: make it smaller"):
        Frames(few)


# ---------------------------------------------------------------- the size of the frames


def test_images_of_different_sizes_are_brought_to_that_of_most(
    tmp_path: Path, run_store: Path
) -> None:
    root = write_prid(tmp_path, both({1: 2, 2: 2}))
    write_image(root / "multi_shot/cam_b/person_0002/0002.png", (200, 100, 50), (31, 17))
    write_image(root / "multi_shot/cam_b/person_0001/0001.png", (200, 100, 50), (31, 17))
    frames = Frames(prid2011(root, 1))
    assert frames.pixels.shape == (8, 8, 4, 3)
    assert (frames.pixels[-1] == (200, 100, 50)).all()


def test_without_a_common_size_frames_have_256_by_128_pixels(
    tmp_path: Path, run_store: Path
) -> None:
    root = write_prid(tmp_path, both({1: 2, 2: 2}))
    for number, camera in enumerate("ab", start=1):
        file = root / f"multi_shot/cam_{camera}/person_0002/0001.png"
        write_image(file, (200, 100, 50), (30 * number, 17))
    frames = Frames(prid2011(root, 1))
    assert frames.pixels.shape == (8, 256, 128, 3)
    assert (frames.pixels[2] == (200, 100, 50)).all()
    assert (frames.pixels[0] == colour(0, 1, 1)).all()


# ---------------------------------------------------------------- network input


def noise(*size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8))


@pytest.mark.parametrize("resize", ["half_pixel", "legacy"])
def test_the_input_lies_in_minus_one_to_one(resize: str) -> None:
    pixels = noise(2, 20, 10)
    pixels[0], pixels[1] = 0, 255
    x = to_input(pixels, 128, 64, resize)
    assert x.shape == (2, 3, 128, 64)
    assert x.dtype == torch.float32
    assert (x[0] == -1).all()
    assert (x[1] == 1).all()


@pytest.mark.parametrize("resize", ["half_pixel", "legacy"])
def test_frames_of_the_right_size_are_only_rescaled(resize: str) -> None:
    pixels = noise(2, 128, 64)
    expected = pixels.permute(0, 3, 1, 2).double() / 127.5 - 1
    found = to_input(pixels, 128, 64, resize).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


SIZES = [((128, 64), (256, 128)), ((100, 37), (128, 64)), ((300, 151), (128, 64))]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_half_pixel_is_the_libraries_bilinear(old: tuple, new: tuple) -> None:
    pixels = noise(2, *old)
    x = pixels.permute(0, 3, 1, 2).float()
    expected = F.interpolate(x, new, mode="bilinear", align_corners=False) / 127.5 - 1
    torch.testing.assert_close(to_input(pixels, *new), expected, rtol=0, atol=1e-5)


def tensorflow_1(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """tf.image.resize_bilinear(align_corners=False) of TensorFlow 1, pixel by pixel."""
    rows, columns = image.shape[:2]
    out = np.empty((height, width, 3))
    for i in range(height):
        y = i * rows / height
        y0 = int(np.floor(y))
        y1 = min(y0 + 1, rows - 1)
        for j in range(width):
            x = j * columns / width
            x0 = int(np.floor(x))
            x1 = min(x0 + 1, columns - 1)
            top = image[y0, x0] + (image[y0, x1] - image[y0, x0]) * (x - x0)
            bottom = image[y1, x0] + (image[y1, x1] - image[y1, x0]) * (x - x0)
            out[i, j] = top + (bottom - top) * (y - y0)
    return out


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_legacy_is_tensorflow_1s_bilinear(old: tuple, new: tuple) -> None:
    pixels = noise(1, *old)
    expected = tensorflow_1(pixels[0].numpy().astype(float), *new) / 127.5 - 1
    found = to_input(pixels, *new, "legacy")[0].permute(1, 2, 0).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_frames_reach_the_network_at_the_size_of_the_config(few: Dataset) -> None:
    frames = Frames(few)
    batch = frames.batch(np.array([3, 0, 3]), TINY, "cpu")
    assert batch.shape == (3, 3, 128, 64)
    assert torch.equal(batch[0], batch[2])
    expected = torch.tensor(colour(0, 1, 1)) / 127.5 - 1
    torch.testing.assert_close(batch[1, :, 5, 5], expected)
