"""What a user can get wrong, from the door they enter by: one sentence, and nothing half-written.

A sentence says what is wrong, where, and what to do. A picture or a data set that is only unusual
is read.
"""

import ast
import errno
import io
import itertools
import math
import os
import re
import shutil
import socket
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import nbformat
import numpy as np
import papermill.cli
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from safetensors.torch import save_file

from upm_lib import runs
from upm_lib.config import Caution, UserError, preset
from upm_lib.data import packing
from upm_lib.data.batches import TrainingSet
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import model, training
from upm_lib.retrieval import evaluation

SHAPE = (32, 16)  # of the ordinary frames
FRAMES = 2
SMALL = dict(min_frames=1, steps=2, batch=4, k=2, device="cpu", progress=False)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def encoded(picture: np.ndarray, suffix: str) -> bytes:
    done, content = cv2.imencode(suffix, picture)
    assert done
    return content.tobytes()


def write_tree(
    root: Path, people: int = 4, cameras: str = "ab", content: bytes | None = None
) -> Path:
    """Write PRID2011's layout with two noisy frames a tracklet."""
    content = content or encoded(noise(*SHAPE, 3), ".png")
    for camera in cameras:
        for person in range(1, people + 1):
            folder = root / "multi_shot" / f"cam_{camera}" / f"person_{person:04d}"
            folder.mkdir(parents=True)
            for frame in range(1, FRAMES + 1):
                (folder / f"{frame:04d}.png").write_bytes(content)
    return root


@pytest.fixture
def root(tmp_path: Path, run_store: Path) -> Path:
    """Four people, two cameras, two frames; the run store is empty."""
    return write_tree(tmp_path / "prid_2011")


@pytest.fixture
def frame(root: Path) -> Path:
    """A frame in the midst of the data."""
    return root / "multi_shot" / "cam_a" / "person_0003" / "0002.png"


def opened(root: Path, **changes: object) -> Bench:
    return open_bench("prid2011", root=str(root), **SMALL | changes)


def files(store: Path) -> list[str]:
    """What lies in the run store, locks apart."""
    found = (p for p in store.rglob("*") if p.is_file() and not p.name.endswith("lock"))
    return sorted(p.relative_to(store).as_posix() for p in found)


def sentence(act: Callable, kind: type[Exception] = UserError) -> str:
    """The one sentence that an act ends in; in a notebook it stands without a stack trace."""
    with pytest.raises(kind) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text
    if issubclass(kind, UserError):
        assert caught.value._render_traceback_() == [f"{type(caught.value).__name__}: {text}"]
    return text


# ---------------------------------------------------------------- the place of the data


def test_a_root_that_is_not_there(root: Path, run_store: Path) -> None:
    text = sentence(lambda: opened(root.parent / "a" / "b"))
    wrong = root.parent / "a" / "b"
    assert text == f"{wrong} does not exist: give the folder that contains multi_shot/"
    assert not run_store.exists()


def test_a_root_one_level_too_high(root: Path, run_store: Path) -> None:
    text = sentence(lambda: opened(root.parent))
    assert text == f"{root.parent} has no folder multi_shot: did you mean {root}?"
    assert not run_store.exists()


def test_a_root_one_level_too_low(root: Path, run_store: Path) -> None:
    text = sentence(lambda: opened(root / "multi_shot"))
    assert text == f"{root / 'multi_shot'} has no folder multi_shot: did you mean {root}?"
    assert not run_store.exists()


def test_a_camera_without_people(root: Path, run_store: Path) -> None:
    for folder in (root / "multi_shot" / "cam_b").iterdir():
        shutil.rmtree(folder)
    text = sentence(lambda: opened(root))
    assert text == f"{root}: people in each of cam_a, cam_b: 0, and a trial needs two"
    assert not run_store.exists()


def test_one_camera_only(root: Path, run_store: Path) -> None:
    shutil.rmtree(root / "multi_shot" / "cam_b")
    text = sentence(lambda: opened(root))
    where = root / "multi_shot"
    assert text == f"{where} needs the folders cam_a and cam_b, found cam_a"
    assert not run_store.exists()


def test_one_identity_only(tmp_path: Path, run_store: Path) -> None:
    root = write_tree(tmp_path / "one", people=1)
    text = sentence(lambda: opened(root))
    assert text == f"{root}: people in each of cam_a, cam_b: 1, and a trial needs two"
    assert not run_store.exists()


def test_tracklets_shorter_than_asked_for(root: Path, run_store: Path) -> None:
    text = sentence(lambda: opened(root, min_frames=28))
    assert text.startswith(f"{root}: people with at least 28 frames in each of cam_a, cam_b: 0, ")
    assert text.endswith("(set min_frames lower?)")
    assert not run_store.exists()


def test_a_tracklet_without_frames_takes_its_person_out(root: Path, frame: Path) -> None:
    for file in frame.parent.iterdir():
        file.unlink()
    bench = opened(root)
    assert bench.dataset.people == (1, 2, 4)
    assert len(bench.frames.pixels) == 2 * 3 * FRAMES


def test_a_run_store_that_is_a_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "notes.txt"
    store.write_text("mine")
    monkeypatch.setenv("UPM_RUNS", str(store))
    assert str(store) in sentence(lambda: opened(root))
    assert store.read_text() == "mine"


# ---------------------------------------------------------------- pictures that cannot be read


def cut(suffix: str, share: float) -> bytes:
    content = encoded(noise(128, 64, 3), suffix)
    return content[: round(len(content) * share)]


def cut_in_the_end(suffix: str) -> bytes:
    return encoded(noise(128, 64, 3), suffix)[:-1]


UNREADABLE = {
    "PNG cut in the header": ("x.png", cut(".png", 0.001)),
    "PNG cut in half": ("x.png", cut(".png", 0.5)),
    "PNG cut near its end": ("x.png", cut(".png", 0.99)),
    "PNG without its last byte": ("x.png", cut_in_the_end(".png")),
    "JPEG cut in half": ("x.jpg", cut(".jpg", 0.5)),
    "JPEG cut near its end": ("x.jpeg", cut(".jpg", 0.99)),
    "JPEG without its last byte": ("x.jpg", cut_in_the_end(".jpg")),
    "BMP cut in half": ("x.bmp", cut(".bmp", 0.5)),
    "zero bytes": ("x.png", b""),
    "zeros": ("x.jpg", bytes(5000)),
    "text": ("x.png", b"version https://git-lfs.github.com/spec/v1\n"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_picture_that_cannot_be_read_is_left_out_and_named(
    root: Path, frame: Path, what: str
) -> None:
    name, content = UNREADABLE[what]
    broken = frame.with_name(name)
    broken.write_bytes(content)
    named = broken.relative_to(root).as_posix()
    text = f"left out 1 broken frame(s) of prid2011 in {root}: {named}"
    for _ in range(2):
        with pytest.warns(Caution, match=f"^{re.escape(text)}$"):
            bench = opened(root)
        assert len(bench.frames.pixels) == 16
    measuring.measure(bench, bench.measurement("histogram"))
    broken.write_bytes(frame.read_bytes())
    assert len(opened(root).frames.pixels) == 17, "once it is mended, it is read"


def test_a_tracklet_of_pictures_that_cannot_be_read(
    root: Path, frame: Path, run_store: Path
) -> None:
    for file in frame.parent.iterdir():
        file.write_bytes(b"")
    text = sentence(lambda: opened(root))
    assert text.startswith(f"{frame.with_name('0001.png')} is not a readable image, nor is any")
    assert text.endswith("replace them or remove the tracklet")
    assert files(run_store) == []


def test_a_folder_named_as_a_picture(root: Path, frame: Path, run_store: Path) -> None:
    folder = frame.with_name("thumbs.png")
    folder.mkdir()
    try:
        assert len(opened(root).frames.pixels) == 16
    except UserError as error:
        assert str(folder) in str(error)
        assert files(run_store) == []


def test_a_link_that_leads_nowhere(root: Path, frame: Path, run_store: Path) -> None:
    frame.unlink()
    frame.symlink_to("moved away.png")
    assert str(frame) in sentence(lambda: opened(root))
    assert files(run_store) == []


@pytest.mark.parametrize("what", ["frame", "tracklet", "camera", "root"])
def test_what_may_not_be_read(root: Path, frame: Path, run_store: Path, what: str) -> None:
    up = {"frame": 0, "tracklet": 1, "camera": 2, "root": 4}[what]
    closed = [frame, *frame.parents][up]
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("this user may read everything")
        text = sentence(lambda: opened(root))
    finally:
        closed.chmod(mode)
    assert str(closed) in text
    assert "0 people" not in text, "they are there"
    assert files(run_store) == []


def refuse(code: int) -> Callable:
    """A stand-in for a function on a path that the system refuses."""

    def refused(path: Path, *_: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    return refused


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("what", ["frame", "tracklet"])
def test_what_the_system_refuses_to_read(
    root: Path, frame: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch, what: str, code: int
) -> None:
    closed, name = {"frame": (frame, "open"), "tracklet": (frame.parent, "scandir")}[what]
    original, refused = getattr(os, name), refuse(code)
    monkeypatch.setattr(
        os, name, lambda path, *more: (refused if path == closed else original)(path, *more)
    )
    text = sentence(lambda: opened(root))
    wanted = f"{closed} cannot be read ({os.strerror(code)}): check it and its permissions"
    assert text == wanted
    assert files(run_store) == []


def claiming(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to nothing to show for it."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = (head, data, b"IEND")
    body = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_a_small_file_that_claims_to_be_a_huge_picture(
    root: Path, frame: Path, run_store: Path
) -> None:
    frame.write_bytes(claiming(60_000, 60_000))
    text = sentence(lambda: opened(root))
    assert text == f"{frame} has more than 67,108,864 pixels: make it smaller or remove it"
    assert files(run_store) == []
    frame.write_bytes(claiming(2**31 - 1, 2**31 - 1))  # no decoder takes this for a picture
    assert sentence(lambda: opened(root)) == text


# ---------------------------------------------------------------- what is no regular file


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def a_socket(path: Path) -> None:
    place = os.getcwd()
    os.chdir(path.parent)  # a socket's name may be short only
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(place)


STRANGE = [a_pipe, a_link_to_a_device, a_link_to_nothing, a_link_to_itself, a_socket]


@pytest.mark.parametrize("strange", STRANGE)
def test_a_frame_that_is_no_regular_file_is_refused(
    root: Path, frame: Path, run_store: Path, strange: Callable[[Path], None]
) -> None:
    frame.unlink()
    strange(frame)
    text = sentence(lambda: opened(root))
    assert text.startswith((f"{frame} is no regular file", f"{frame} cannot be read (Too many"))
    assert files(run_store) == []


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("what", ["identities", "weights", "list of the published splits"])
def test_a_list_or_weights_that_are_no_regular_file_are_refused(
    root: Path, run_store: Path, what: str, strange: Callable[[Path], None]
) -> None:
    changes: dict[str, object] = {}
    if what == "weights":
        strange(root / "w.safetensors")
        changes = dict(weights=str(root / "w.safetensors"))
    elif what == "identities":
        root = root / "multi_shot"
        strange(root / "identities.csv")
        changes = dict(dataset="folder")
    else:
        (run_store / "splits").mkdir(parents=True)
        strange(run_store / "splits" / "prid2011.json")
        changes = dict(splits="official")
    arguments = dict(dataset="prid2011", root=str(root)) | SMALL | changes
    sentence(lambda: open_bench(**arguments))


@pytest.mark.parametrize("strange", STRANGE)
def test_a_file_of_the_store_that_is_no_regular_file_is_made_anew(
    bench: Bench, run_store: Path, strange: Callable[[Path], None]
) -> None:
    before = measuring.measure(bench, bench.measurement("local"))
    whole = files(run_store)
    for path in [run_store / name for name in whole if name.split("/")[0] != "packed"]:
        path.unlink()
        strange(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        again = measuring.measure(bench, bench.measurement("local"))
    assert again["cmc"] == before["cmc"]
    assert files(run_store) == whole


# ---------------------------------------------------------------- kinds that are not read


@pytest.mark.parametrize(
    "name", ["0009.tif", "0009.webp", "0009.HEIC", "0009.gif", "clip.mp4", "x"]
)
def test_a_file_of_a_kind_that_is_not_read_is_named_and_counted(
    root: Path, frame: Path, name: str
) -> None:
    frame.with_name(name).write_bytes(frame.read_bytes())
    kind = Path(name).suffix.lower() or name
    with pytest.warns(Caution, match=rf"left out 1 file\(s\) .*\({kind} 1\): .*{name}"):
        assert len(opened(root).frames.pixels) == 16


@pytest.mark.parametrize("dataset", ["prid2011", "folder"])
def test_a_set_of_a_kind_that_is_not_read_is_told_by_its_kinds(root: Path, dataset: str) -> None:
    pictures = sorted(root.rglob("*.png"))
    for number, file in enumerate(pictures):
        file.rename(file.with_suffix(".ppm" if number % 4 else ".webp"))
    place = root if dataset == "prid2011" else root / "multi_shot"
    text = sentence(lambda: open_bench(dataset, root=str(place), **SMALL))
    kinds = (
        "the files there are of kinds that are not read (.ppm 12, .webp 4): make them one of .bmp"
    )
    assert kinds in text and "min_frames" not in text


@pytest.mark.parametrize("name", ["Thumbs.db", "notes.txt", ".DS_Store", "LICENSE"])
def test_what_nobody_takes_for_a_frame_is_passed_over(
    root: Path, frame: Path, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    frame.with_name(name).write_bytes(b"x")
    opened(root)
    assert not [w for w in recwarn if issubclass(w.category, Caution)]


@pytest.mark.parametrize("name", ["persn_0003", "person_3x", "0003", "person_²", "person_-3"])
def test_a_folder_that_is_no_person_is_named(root: Path, frame: Path, name: str) -> None:
    frame.parent.rename(frame.parent.with_name(name))
    text = sentence(lambda: opened(root))
    assert f"cam_a/{name} is not a person of its own: the folders are named person_0001" in text


def test_a_folder_that_is_no_camera_is_named(root: Path) -> None:
    (root / "multi_shot" / "cma_c").mkdir()
    assert "cma_c is no camera: they are named cam_a and cam_b" in sentence(lambda: opened(root))


def test_most_frames_wider_than_high_are_told_of(tmp_path: Path, run_store: Path) -> None:
    root = write_tree(tmp_path / "scenes", content=encoded(noise(16, 32, 3), ".png"))
    with pytest.warns(Caution, match="wider than high: each frame is expected to be cut out"):
        opened(root)


def test_frames_of_many_sizes_that_are_wider_than_high_are_told_of_each_time(
    root: Path,
) -> None:
    for number, file in enumerate(sorted(root.rglob("0001.png"))):
        size = (32, 16) if number < 3 else (16, 20 + number)
        file.write_bytes(encoded(noise(*size, 3), ".png"))
    for _ in range(2):
        with pytest.warns(Caution, match="most frames of .* are wider than high"):
            frames = opened(root).frames
    assert frames.pixels.shape[1:3] == packing.DEFAULT_SIZE
    del frames.index["wide"]
    runs.write_json(frames.folder / "index.json", frames.index)
    assert len(opened(root).frames.pixels) == 16, "an index of before does as well"


# ---------------------------------------------------------------- pictures that are only unusual


GREY, COLOUR = noise(*SHAPE), noise(*SHAPE, 3)
UNUSUAL = {  # the picture as written, blue first, and as it must be read, red first
    "grey": (GREY, np.repeat(GREY[..., None], 3, 2)),
    "with transparency": (noise(*SHAPE, 4), noise(*SHAPE, 4)[..., 2::-1]),
    "16 bit": (COLOUR.astype(np.uint16) * 257, COLOUR[..., ::-1]),
    "16 bit grey": (GREY.astype(np.uint16) * 257, np.repeat(GREY[..., None], 3, 2)),
    "12 bit in 16": (COLOUR.astype(np.uint16) * 16 + 7, COLOUR[..., ::-1]),
    "8 bit in 16": (COLOUR.astype(np.uint16), COLOUR[..., ::-1]),
}


@pytest.mark.parametrize("first", [True, False], ids=["first frame", "a later frame"])
@pytest.mark.parametrize("what", UNUSUAL)
def test_unusual_pictures_are_read_as_rgb_of_8_bit(
    root: Path, frame: Path, what: str, first: bool
) -> None:
    written, expected = UNUSUAL[what]
    if first:
        frame = root / "multi_shot" / "cam_a" / "person_0001" / "0001.png"
    frame.write_bytes(encoded(written, ".png"))
    pixels = opened(root).frames.pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (16, *SHAPE, 3)
    assert np.array_equal(pixels[0 if first else 5], expected)
    ordinary = np.delete(pixels, 0 if first else 5, 0)
    assert (ordinary == COLOUR[..., ::-1]).all()


def jpeg(**options: object) -> bytes:
    """A JPEG with a thumbnail of its own size, and what else Pillow is told."""
    buffer = io.BytesIO()
    Image.fromarray(noise(*SHAPE, 3)).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def turned(how: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = how  # orientation
    return exif


ENDS = {
    "a video behind it": jpeg() + b"\0\0\0\x18ftypmp42" + noise(5000).tobytes(),
    "a second picture behind it": jpeg() + jpeg(),
    "half a picture behind it": jpeg() + jpeg()[:500],
    "progressive": jpeg(progressive=True),
    "with a comment that looks like an end": jpeg(comment=b"\xff\xd9\xff\xda\xff"),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_jpeg_ends_where_its_segments_end(root: Path, frame: Path, what: str) -> None:
    frame.with_suffix(".jpg").write_bytes(ENDS[what])
    assert len(opened(root).frames.pixels) == 17
    frame.with_suffix(".jpg").write_bytes(ENDS[what][: len(jpeg()) * 2 // 3])
    with pytest.warns(Caution, match="left out 1 broken"):
        assert len(opened(root).frames.pixels) == 16


@pytest.mark.parametrize("how", range(1, 9))
def test_a_picture_is_read_the_right_way_up(root: Path, frame: Path, how: int) -> None:
    content = jpeg(exif=turned(how))
    frame.write_bytes(content)  # the name does not matter
    with Image.open(io.BytesIO(content)) as file:
        upright = np.array(ImageOps.exif_transpose(file))
    assert np.abs(packing.decode(frame).astype(int) - upright).max() <= 2


ODD = {"1x1": (1, 1), "8000x6000": (8000, 6000), "lying": SHAPE[::-1]}


@pytest.mark.parametrize("size", ODD)
def test_a_frame_of_an_odd_size_is_resized(root: Path, frame: Path, size: str) -> None:
    one_colour = np.full((*ODD[size], 3), (10, 20, 30), np.uint8)
    frame.write_bytes(encoded(one_colour, ".png"))
    bench = opened(root)
    assert bench.frames.pixels.shape == (16, *SHAPE, 3)
    assert (bench.frames.pixels[5] == (30, 20, 10)).all()
    batch = bench.frames.batch(np.array([5, 6]), bench.config, "cpu")
    assert batch.shape == (2, 3, bench.config.height, bench.config.width)


@pytest.mark.parametrize("size", ["1x1", "lying"])
def test_one_odd_frame_does_not_set_the_size_of_all_even_if_it_is_the_first(
    root: Path, size: str
) -> None:
    first = root / "multi_shot" / "cam_a" / "person_0001" / "0001.png"
    first.write_bytes(encoded(noise(*ODD[size], 3), ".png"))
    pixels = opened(root).frames.pixels
    assert pixels.shape == (16, *SHAPE, 3)
    assert (pixels[1:] == COLOUR[..., ::-1]).all(), "the ordinary frames keep all their pixels"


def test_names_with_spaces_and_other_alphabets_are_read(tmp_path: Path, run_store: Path) -> None:
    root = write_tree(tmp_path / "Datensätze für 人 (neu)")
    folder = root / "multi_shot" / "cam_b" / "person_0004"
    for file in folder.iterdir():
        file.rename(file.with_name(f"Bild {file.stem} é 人 %d [1].PNG"))
    bench = opened(root)
    assert len(bench.frames.pixels) == 16
    assert all("人" in name for name in bench.dataset.tracklets[-1].frames)
    measuring.measure(bench, bench.measurement("histogram"))


def test_two_people_and_fewer_frames_than_a_batch_are_trained_on(
    tmp_path: Path, run_store: Path
) -> None:
    root = write_tree(tmp_path / "two", people=2)
    bench = open_bench("synthetic_clean", root=str(root), **SMALL | {"batch": 64, "steps": 3})
    half = TrainingSet(bench.dataset, bench.frames, bench.config)
    assert len(half.frame) == 2 * FRAMES < bench.config.batch
    trainer = networks.find_or_train(bench, bench.config)
    assert trainer.step == 3
    assert torch.isfinite(trainer.history).all()
    record = measuring.measure(bench, bench.measurement("local"))
    assert record["rank1"] == 100, "one test person, one picture to choose from"


# ---------------------------------------------------------------- parameters


PARAMETERS = {
    "parts that do not divide": (
        dict(k=7),
        "k = 7 does not divide the 8 rows of the backbone's map: choose k from 1, 2, 4, 8",
    ),
    "a word for a number": (dict(k="abc"), "k must be a whole number, not 'abc'"),
    "a number as text": (dict(steps="40"), "steps must be a whole number, not '40'"),
    "a real for a whole number": (dict(k=4.0), "k must be a whole number, not 4.0"),
    "a truth for a number": (dict(k=True), "k must be a whole number, not True"),
    "negative steps": (dict(steps=-5), "steps must be from 1 to 10,000,000, not -5"),
    "no steps": (dict(steps=0), "steps must be from 1 to 10,000,000, not 0"),
    "no number": (dict(lr=math.nan), "lr must be from 0 to 1,000,000, not nan"),
    "a list of one for a pair": (dict(lr_factors=[1.0]), "lr_factors must be two numbers from 0"),
    "a name for the root": (dict(root=7), "root must be text or nothing (None, null), not 7"),
    "the word None": (dict(root="None"), "None does not exist: give the folder that contains"),
    "an unknown option": (dict(step=3), "unknown option 'step': did you mean 'steps'?"),
    "trials of the notebooks": (dict(trials="x"), "trials must be a whole number from 1, a range"),
    "a table that is none": (dict(table=9), "unknown table '9': known are 1, 2, 3"),
    "an unknown data set": (dict(dataset="prid"), "unknown data set 'prid': did you mean 'prid201"),
    "no data set": (dict(dataset=7), "unknown data set 7: known are prid2011, ilids_vid, dukemtmc"),
    "unknown splits": (dict(splits="offical"), "unknown splits 'offical': did you mean 'official"),
    "an unknown scale": (dict(scale="ppaer"), "unknown scale 'ppaer': did you mean 'paper'?"),
    "an unknown backbone": (
        dict(backbone="resnet_50"),
        "unknown backbone 'resnet_50': did you mean 'resnet50'?",
    ),
    "an unknown distance": (
        dict(distance="euclidian"),
        "unknown distance 'euclidian': did you mean 'euclidean'?",
    ),
    "an unknown device": (dict(device="cdua"), "unknown device 'cdua': did you mean 'cuda'?"),
    "a device that is none": (dict(device="cpu:x"), "cpu:x"),
    "a seed too large": (dict(seed=2**70), "seed must"),
    "a folder that is a number": (dict(figures_dir=7), "figures_dir"),
}


@pytest.mark.parametrize("what", PARAMETERS)
def test_a_parameter_that_does_not_fit(root: Path, run_store: Path, what: str) -> None:
    changes, words = PARAMETERS[what]
    arguments = dict(dataset="prid2011", root=str(root)) | SMALL | changes
    text = sentence(lambda: open_bench(**arguments))
    assert words in text
    assert files(run_store) == []


@pytest.mark.parametrize("trials", ["x", 0, 2.0])
def test_trials_that_are_none(root: Path, run_store: Path, trials: object) -> None:
    bench = opened(root)
    before = files(run_store)
    text = sentence(lambda: measuring.compare(bench, ["histogram"], trials))
    assert text.startswith("trials must be a whole number from 1, a range such as 1-10 or a list ")
    assert text.endswith(f"not {trials!r}")
    assert files(run_store) == before


def test_a_folder_for_figures_that_is_a_file(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures"
    file.write_text("mine")
    with pytest.raises(UserError, match="figures"):
        opened(root, figures_dir=str(file)).keep(Figure(figsize=(1, 1)), "one")
    assert file.read_text() == "mine"


PAPERMILL = {  # what is typed behind -p, what the library makes of it
    "k abc": "k must be a whole number, not 'abc'",
    "k 07": "k = 7 does not divide the 8 rows of the backbone's map: choose k from 1, 2, 4, 8",
    "k 4.0": "k must be a whole number, not 4.0",
    "k None": None,
    "k True": "k must be a whole number, not True",
    "k [2]": "k must be a whole number, not '[2]'",
    "weights None": None,
    "weights none": "no weights at none: give a .safetensors or .pth file, or 'imagenet' to",
    "root /not/there": "/not/there does not exist: give the folder that contains multi_shot/",
    "seed 1e3": "seed must be a whole number, not 1000.0",
    "seed -1": "seed must be from 0 to 2**63 - 1, not -1",
    "backbone smal": "unknown backbone 'smal': did you mean 'small'?",
}


@pytest.mark.parametrize("typed", PAPERMILL)
def test_a_parameter_typed_behind_papermill(
    root: Path, run_store: Path, tmp_path: Path, typed: str
) -> None:
    source, made = Path(__file__).parents[2] / "notebooks" / "03_global.ipynb", tmp_path / "o.ipynb"
    name, value = typed.split()
    command = [str(source), str(made), "--prepare-only", "-p", name, value]
    done = CliRunner().invoke(papermill.cli.papermill, command)
    assert done.exit_code == 0, done.output
    cells = nbformat.read(made, 4).cells
    (cell,) = (c for c in cells if "injected-parameters" in c.metadata.get("tags", ()))
    statement = ast.parse(cell.source).body[0]
    given = {statement.targets[0].id: ast.literal_eval(statement.value)}
    arguments = dict(dataset="synthetic_clean", root=str(root)) | SMALL | given

    def act() -> None:
        networks.untrained(bench := open_bench(**arguments), bench.config)

    if PAPERMILL[typed] is None:
        act()
    else:
        assert sentence(act).startswith(PAPERMILL[typed])
        assert not list(run_store.glob("training/*/*"))


# ---------------------------------------------------------------- weights and checkpoints


@pytest.fixture
def bench(root: Path) -> Bench:
    """The small data, to be trained on with the small backbone."""
    return open_bench("synthetic_clean", root=str(root), **SMALL)


def backbone_state(backbone: str) -> dict[str, torch.Tensor]:
    size = dict(height=128, width=64)
    config = preset("synthetic_clean", backbone=backbone, **size)
    return {n: t.clone() for n, t in model.build(config).backbone.state_dict().items()}


def write_weights(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.safetensors"
    if kind == "another architecture":
        save_file(backbone_state("mobilenet_v1"), path)
    elif kind == "cut off":
        save_file(backbone_state("small"), path)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    else:
        path = folder / f"{kind}.pth"
        state = backbone_state("small")
        first, variance = next(iter(state)), next(n for n in state if "running_var" in n)
        things = {
            "int8": state | {first: state[first].char()},
            "all zero": {n: torch.zeros_like(t) for n, t in state.items()},
            "infinite": state | {first: state[first] / 0},
            "a variance below zero": state | {variance: -state[variance]},
            "one tensor": torch.zeros(3),
            "one number": 3,
            "no tensors": dict.fromkeys(state, "x"),
            "a wrapped state": {"state_dict": state, "epoch": 3},
        }
        torch.save(things.get(kind, state), path)
        if kind == "cut off pickle":
            path.write_bytes(path.read_bytes()[:-100])
    return path


WEIGHTS = {
    "another architecture": "do not fit the backbone small",
    "cut off": "is not a readable weights file",
    "empty": "is not a readable weights file",
    "text": "is not a readable weights file",
    "cut off pickle": "is not a readable weights file",
    "int8": "holds torch.int8 numbers, whose scale is not known",
    "all zero": "is zero everywhere",
    "infinite": "holds numbers that are not finite",
    "a variance below zero": "holds variances below zero",
    "one tensor": "",
    "one number": "",
    "no tensors": "",
    "a wrapped state": "do not fit the backbone small",
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_do_not_fit(bench: Bench, run_store: Path, tmp_path: Path, kind: str) -> None:
    path = write_weights(tmp_path, kind)
    before = files(run_store)
    text = sentence(lambda: measuring.measure(bench, bench.measurement("local", weights=str(path))))
    assert str(path) in text
    assert WEIGHTS[kind] in text
    assert files(run_store) == before


@pytest.mark.parametrize("given", ["None", "imagnet"])
def test_weights_that_are_not_there(bench: Bench, run_store: Path, given: str) -> None:
    before = files(run_store)
    text = sentence(lambda: measuring.measure(bench, bench.measurement("local", weights=given)))
    assert text.startswith(f"no weights at {given}: give a .safetensors or .pth file")
    assert files(run_store) == before


def test_weights_that_hold_no_numbers_give_no_result(
    bench: Bench, run_store: Path, tmp_path: Path
) -> None:
    state = backbone_state("small")
    next(iter(state.values())).fill_(torch.nan)
    save_file(state, tmp_path / "nan.safetensors")
    before = files(run_store)
    changes = dict(weights=str(tmp_path / "nan.safetensors"))
    for method in ("local", "untrained"):
        words = sentence(lambda m=method: measuring.measure(bench, bench.measurement(m, **changes)))
        assert "holds numbers that are not finite): give another file" in words
    assert files(run_store) == before


def test_a_learning_rate_that_breaks_the_training_leaves_no_result(
    tiny_root: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("synthetic_clean", root=str(tiny_root), **SMALL)
    before = files(run_store)
    monkeypatch.setattr(training, "learning_rate", lambda *_: 1e38)
    changes = dict(lr=1e6, optimiser="sgd", steps=20)
    text = sentence(
        lambda: measuring.measure(bench, bench.measurement("local", **changes)), FloatingPointError
    )
    assert "lower the learning rate (now 1000000.0)" in text
    assert files(run_store) == before


def test_features_that_are_no_numbers_are_not_ranked() -> None:
    good, bad = torch.eye(3), torch.eye(3)
    bad[1, 2] = torch.nan
    people = evaluation.Labels(np.arange(3))
    for pair, name in (((bad, good), "query"), ((good, bad), "gallery")):
        text = sentence(
            lambda p=pair: evaluation.rank_two_cameras(*p, people, people, "both"), ValueError
        )
        assert text == f"{name} features hold numbers that are not finite"


def test_a_checkpoint_of_another_config_is_not_gone_on_from(bench: Bench, run_store: Path) -> None:
    one, other = (bench.config.replace(eta=eta) for eta in (0.5, 0.25))
    networks.find_or_train(bench, one)
    source, target = (networks.folder_of(bench, c) for c in (one, other))
    target.mkdir(parents=True)
    for path in source.glob("step-*"):
        shutil.copy(path, target)
    before = files(run_store)
    text = sentence(lambda: networks.find_or_train(bench, other))
    assert text.startswith(f"{target}{os.sep}step-00000002-")
    assert text.endswith("belongs to another config: remove it or its folder")
    assert files(run_store) == before


def test_a_checkpoint_of_other_data_is_not_gone_on_from(
    bench: Bench, tmp_path: Path, run_store: Path
) -> None:
    networks.find_or_train(bench, bench.config)
    more = write_tree(tmp_path / "more", people=6)
    larger = open_bench("synthetic_clean", root=str(more), **SMALL)
    source, target = (networks.folder_of(b, b.config) for b in (bench, larger))
    assert source != target
    target.mkdir(parents=True)
    for path in source.glob("step-*"):
        shutil.copy(path, target)
    before = files(run_store)
    assert str(target) in sentence(lambda: networks.find_or_train(larger, larger.config))
    assert files(run_store) == before


# ---------------------------------------------------------------- a disk that takes no more


def test_a_full_disk_keeps_the_checkpoint_before_and_names_the_file(
    tiny_root: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("synthetic_clean", root=str(tiny_root), **SMALL | {"steps": 6})
    folder, write = networks.folder_of(bench, bench.config), Path.write_bytes

    def full(path: Path, content: bytes) -> None:
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as write(2) does: without a name

    def train() -> None:
        steps = itertools.count(1)
        monkeypatch.setattr(training, "due", lambda *_: next(steps) % 2 == 0)
        networks.find_or_train(bench, bench.config)

    save = training.save_checkpoint

    def filling(trainer: training.Trainer, where: Path) -> Path:
        if trainer.step == 4:
            monkeypatch.setattr(Path, "write_bytes", full)
        return save(trainer, where)

    monkeypatch.setattr(training, "save_checkpoint", filling)
    text = sentence(train)
    assert re.fullmatch(
        rf"{re.escape(str(folder))}.step-00000004-[0-9a-f]{{16}}\.safetensors cannot be written "
        r"\(\[Errno 28\] No space left on device\): make room or check the permissions of its "
        "folder; what it held before is kept",
        text,
    )
    monkeypatch.undo()
    monkeypatch.setenv("UPM_RUNS", str(run_store))
    assert [p.name[:13] for p in folder.iterdir() if p.name != "lock"] == ["step-00000002"]
    assert networks.find_or_train(bench, bench.config).step == 6, "with room again it goes on"


def test_a_run_store_that_nobody_may_write_to(
    root: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(run_store / "packed" / "x"))

    for owner, name in ((tempfile, "mkstemp"), (Path, "touch")):
        monkeypatch.setattr(owner, name, refused)
    text = sentence(lambda: opened(root))
    assert text.startswith(f"{run_store / 'packed'}{os.sep}prid2011-")
    assert " cannot be written ([Errno 30] Read-only file system: " in text
    assert files(run_store) == []


def test_after_every_mistake_the_right_call_works(root: Path, run_store: Path) -> None:
    for _, (changes, _) in list(PARAMETERS.items())[:4]:
        with pytest.raises(UserError):
            opened(root, **changes)
    bench = open_bench("synthetic_clean", root=str(root), **SMALL)
    assert measuring.measure(bench, bench.measurement("local"))["source"] == "measured"
    assert training.checkpoints(networks.folder_of(bench, bench.config))
