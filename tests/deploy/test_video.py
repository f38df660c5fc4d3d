"""From a video to tracklets: boxes of a tracker, what moves, what is left out, what is refused."""

import gzip
import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
import torchvision

from upm_lib.config import Caution, UserError
from upm_lib.data.readers import folder
from upm_lib.learning import _torchvision  # noqa: F401

SCRIPT = Path(__file__).resolve().parents[2] / "data_scripts" / "video_to_tracklets.py"
FRAMES, SIZE, RATE = 60, (240, 320), 10.0
STARTS = {1: 20, 2: 150}  # left edges of two people who walk to the right, three pixels a frame


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("video_to_tracklets", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def people(tiny_root: Path) -> dict[int, np.ndarray]:
    files = {n: f"multi_shot/cam_a/person_{n:04d}/0001.png" for n in STARTS}
    return {n: cv2.imread(str(tiny_root / file)) for n, file in files.items()}  # 128 x 64


def left(person: int, frame: int) -> int:
    return STARTS[person] + 2 * frame - 40


@pytest.fixture(scope="module")
def video(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic people who walk before a noisy grey wall, from the 21st frame on."""
    path = tmp_path_factory.mktemp("video") / "lobby.avi"
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, SIZE[::-1])
    draw = np.random.default_rng(0)
    for frame in range(FRAMES):
        image = draw.integers(95, 106, (*SIZE, 3)).astype(np.uint8)
        for person, pixels in people(tiny_root).items():
            x = left(person, frame)
            if frame >= 20:
                image[60:188, x : x + 64] = pixels
        out.write(image)
    out.release()
    return path


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """The two people as a tracker would give them; the second is seen for four frames only."""
    lines = [
        f"{frame + 1},{person},{left(person, frame)},60,64,128,0.9,-1,-1,-1"
        for person in STARTS
        for frame in range(20, 40 if person == 1 else 24)
    ]
    path = tmp_path / "boxes.txt"
    path.write_text("\n".join(lines))
    return path


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - cv2.resize(other, one.shape[1::-1])).mean())


# ---------------------------------------------------------------- the road


def test_the_boxes_of_a_tracker_are_cut_out(
    script: ModuleType, video: Path, boxes: Path, tiny_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "shop"
    words = [f"cam1={video}", "--out", out, "--boxes", f"cam1={boxes}", "--min-frames", 10]
    assert script.main([str(word) for word in words]) == 0
    dataset = folder.read(out)
    (tracklet,) = dataset.tracklets
    assert len(tracklet.frames) == 20, "the other one is too short"
    assert tracklet.frames[0] == "cam1/0001/000021-2.000.jpg", "number and seconds"
    first = cv2.imread(str(out / tracklet.frames[0]))
    assert first.shape == (128, 64, 3) and alike(first, people(tiny_root)[1]) < 8
    assert cv2.imread(str(out / "cam1.png")).shape[1] > 1000
    assert sorted(path.name for path in out.iterdir()) == ["cam1", "cam1.png"]
    assert script.main([str(w) for w in [*words[:-1], 3]]) == 0
    assert len(folder.read(out).tracklets) == 1, "what is there stays as it is"


def test_what_moves_is_followed_without_any_weights(
    script: ModuleType, video: Path, tiny_root: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "shop"
    assert script.main([f"cam1={video}", f"cam2={video}", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "no weights: whatever moves and stands upright counts as a person, which is weak" in said
    dataset = folder.read(out)
    assert dataset.cameras == ("cam1", "cam2") and len(dataset.tracklets) == 4
    for tracklet in dataset.tracklets:
        assert len(tracklet.frames) >= 25, "of 40"
        middle = cv2.imread(str(out / tracklet.frames[len(tracklet.frames) // 2]))
        assert min(alike(middle, pixels) for pixels in people(tiny_root).values()) < 25
        seconds = [float(re.search(r"-(.+)\.jpg", frame)[1]) for frame in tracklet.frames]
        assert seconds == sorted(seconds) and seconds[0] >= 2.0


def test_a_detector_of_torchvision_runs_with_local_weights(
    script: ModuleType, video: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Its weights are random here: what counts is that people's boxes and no others are taken."""
    name = script.DETECTORS[0]
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    file = tmp_path / "weights.pth"
    torch.save(network.state_dict(), file)

    def found(self: object, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        assert images[0].shape == (3, *SIZE) and 0 <= images[0].min() <= images[0].max() <= 1
        box = torch.tensor([[10.0, 20, 74, 148], [0, 0, 9, 9]])
        labels, scores = torch.tensor([script.PERSON, 3]), torch.tensor([0.9, 0.8])
        return [{"boxes": box, "labels": labels, "scores": scores}]

    monkeypatch.setattr(type(network), "forward", found)
    words = [f"cam1={video}", "--out", str(tmp_path / "shop"), "--weights", str(file)]
    assert script.main(words) == 0
    (tracklet,) = folder.read(tmp_path / "shop").tracklets
    assert len(tracklet.frames) >= FRAMES - 5

    def unable(self: object, images: list[torch.Tensor]) -> None:
        raise NotImplementedError("Could not run 'torchvision::nms'")

    monkeypatch.setattr(type(network), "forward", unable)
    words[2] = str(tmp_path / "other")
    assert "torchvision and torch are of different builds" in wrong(script, capsys, *words)


def test_a_detector_with_random_weights_gives_boxes_or_a_sentence(
    script: ModuleType, tmp_path: Path
) -> None:
    """Not mocked: where torchvision's operators do not load, the sentence says so."""
    name, file = script.DETECTORS[0], tmp_path / "weights.pth"
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    torch.save(network.state_dict(), file)
    detect, image = script.detector(name, str(file), "cpu"), np.zeros((*SIZE, 3), np.uint8)
    if torchvision.extension._has_ops():
        assert detect(image).shape[1] == 5
    else:
        with pytest.raises(UserError, match="torchvision and torch are of different builds"):
            detect(image)


# ---------------------------------------------------------------- what does not fit


def wrong(script: ModuleType, capsys, *words: object) -> str:
    """The one sentence that a wrong call ends in."""
    assert script.main([str(word) for word in words]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("error: ")
    return err


def test_words_that_do_not_fit_get_a_sentence(
    script: ModuleType, video: Path, boxes: Path, tmp_path: Path, capsys
) -> None:
    out = ("--out", tmp_path / "shop")
    for word in (video, f"={video}", f".cam={video}", f"a/b={video}"):
        assert "is no video: write CAMERA=FILE" in wrong(script, capsys, word, *out)
    twice = [f"cam1={video}"] * 2
    assert "the camera cam1 has two videos" in wrong(script, capsys, *twice, *out)
    assert "there is no video nowhere.mp4" in wrong(script, capsys, "cam1=nowhere.mp4", *out)
    other = ["--boxes", f"cam2={boxes}"]
    assert "unknown camera 'cam2'" in wrong(script, capsys, twice[0], *out, *other)
    alone = ("--detector", "yolo")
    assert "no detector runs: leave out --det" in wrong(script, capsys, twice[0], *out, *alone)
    zero = wrong(script, capsys, twice[0], "--out", "a\0b")
    assert "holds a zero byte" in zero
    assert "there is no such user" in wrong(script, capsys, "cam1=~nosuchuser/v", *out)
    assert "must be at least 1, not 0" in wrong(script, capsys, twice[0], *out, "--min-frames", 0)
    device = ("--weights", boxes, "--device", "cudax")
    assert "cudax" in wrong(script, capsys, twice[0], *out, *device)
    both = ("--boxes", f"cam1={boxes}", "--weights", "coco")
    assert "where people are: leave out --weig" in wrong(script, capsys, twice[0], *out, *both)
    assert "unknown detector" in wrong(
        script, capsys, twice[0], *out, "--weights", boxes, "--detector", "yolo"
    )
    none = wrong(script, capsys, twice[0], *out, "--weights", boxes)
    assert "cannot be had" in none and "leave out --weights" in none
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize(
    "line",
    ["", "1,1,2", "1,1,0,0,64,nan,1", "1,1,0,0,-64,128,1", "1,1,0,0,64,inf,1", "a b c d e f", "\0"],
)
def test_boxes_that_are_none_get_a_sentence(
    script: ModuleType, video: Path, tmp_path: Path, capsys, line: str
) -> None:
    (tmp_path / "boxes.txt").write_text(line)
    said = wrong(
        script, capsys, f"cam1={video}", "--out", tmp_path / "shop",
        "--boxes", f"cam1={tmp_path / 'boxes.txt'}",
    )  # fmt: skip
    assert "boxes.txt" in said and ("holds no boxes" in said or "line 1: a box has" in said)
    assert not (tmp_path / "shop" / "cam1").exists()


@pytest.mark.parametrize("suffix", ["gz", "xz", "zip", "zst", "tar", "bz2"])
def test_boxes_are_text_whatever_their_name(
    script: ModuleType, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"boxes.{suffix}"
    path.write_bytes(gzip.compress(b"1,1,0,0,64,128,1"))
    with pytest.raises(UserError, match="holds no boxes"):
        script.read_boxes(path)
    path.write_text("\ufeff1,1,0,0,64,128,1\n")
    assert script.read_boxes(path) == {1: [(1, 0, 0, 64, 128)]}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1,-1,0,0,64,128,1", "people from 0"),
        ("1,1.5,0,0,64,128,1", "whole numbers"),
        ("0,1,0,0,64,128,1", "whole numbers from 1"),
        ("1.5,1,0,0,64,128,1", "whole numbers"),
        ("1,1e300,0,0,64,128,1", "whole numbers"),
        ("2,7,9,0,64,128,1", "two boxes in this frame"),
    ],
)
def test_boxes_of_nobody_of_no_frame_or_twice_are_named_by_their_line(
    script: ModuleType, tmp_path: Path, line: str, why: str
) -> None:
    path = tmp_path / "boxes.txt"
    path.write_text(f"2,7,0,0,64,128,1\n3,-1,0,0,64,128,0\n{line}\n")
    with pytest.raises(UserError, match=f"boxes.txt, line 3: .*{why}"):
        script.read_boxes(path)


def test_boxes_behind_the_last_frame_are_told_of(
    script: ModuleType, video: Path, tmp_path: Path
) -> None:
    path = tmp_path / "boxes.txt"
    path.write_text(f"2,7,0,0,64,128,1\n{FRAMES + 1},7,0,0,64,128,1\n")
    with pytest.warns(Caution, match="left out 1 box.* behind the last frame"):
        assert sum(len(seen.boxes) for seen in script.given(video, path)) == 1


def test_a_file_that_is_no_video_and_a_video_of_nobody_leave_nothing(
    script: ModuleType, boxes: Path, tmp_path: Path, video: Path, capsys
) -> None:
    out = tmp_path / "shop"
    broken = shutil.copy(boxes, tmp_path / "broken.avi")
    both = (f"cam1={video}", f"cam2={broken}", "--boxes", f"cam1={boxes}", f"cam2={boxes}")
    assert "is no video that OpenCV reads" in wrong(script, capsys, *both, "--out", out)
    assert not out.exists(), "told before the first is cut"
    words = (f"cam1={video}", "--out", out, "--min-height", 200)
    assert "cam1: no tracklet of 10 frames of people of 200 pixels" in wrong(script, capsys, *words)
    assert [path.name for path in out.iterdir()] == []
