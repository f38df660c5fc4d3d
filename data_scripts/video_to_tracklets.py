"""Cut the people out of videos: one folder of frames for each person's way past a camera.

python data_scripts/video_to_tracklets.py cam1=lobby.mp4 cam2=door.avi --out DIR

writes DIR/CAMERA/TRACKLET/FRAME-SECONDS.jpg, which ``index`` and ``search`` read as they do any
gallery, and a contact sheet DIR/CAMERA.png. Where the people are, says

* a tracker of yours: ``--boxes cam1=boxes.txt``, in MOTChallenge's text format (frame from 1, id,
  left, top, width, height, confidence, ...);
* else one of torchvision's COCO detectors and ByteTrack: ``--weights FILE``, or ``--weights coco``
  to download them;
* else, as a weak stand-in, OpenCV's model of an unmoving background: whatever moves, stands upright
  and is large enough counts as a person, and people who walk together as one. OpenCV 5 has no
  detector of people any more that works without weights.
"""

import argparse
import io
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from upm_lib.command import command, loading, refuse
from upm_lib.config import Caution, UserError, known
from upm_lib.data.tracklets import folders
from upm_lib.files import place, read, readable

DETECTORS = (
    "ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn_v2",
)  # fmt: skip
OF_A_DETECTOR = ("detector", "device")  # options
PERSON = 1  # of COCO's classes
COLUMNS = ["frame", "id", "left", "top", "width", "height", "confidence"]
SHOWN = 24  # tracklets of a contact sheet, the longest
# From a frame [H, W, 3], RGB, to boxes [N, 5]: left, top, right, bottom, score.
Detect = Callable[[np.ndarray], np.ndarray]


class Seen(NamedTuple):
    """A frame of a video, and the boxes (id, left, top, right, bottom) in it."""

    number: int  # from 1
    seconds: float
    image: np.ndarray
    boxes: list[tuple[int, float, float, float, float]]


def pairs(words: list[str], what: str) -> dict[str, Path]:
    """Read CAMERA=FILE words; raise UserError for others, and for files that are not there."""
    found: dict[str, Path] = {}
    for word in words:
        camera, equals, file = word.partition("=")
        if not equals or not camera or camera[0] == "." or {*"/\\\0"} & {*camera}:
            raise UserError(f"{word!r} is no {what}: write CAMERA=FILE, such as cam1=lobby.mp4")
        if camera in found:
            raise UserError(f"the camera {camera} has two {what}s: give each a name of its own")
        found[camera] = place(file)
        if not found[camera].is_file():
            raise UserError(f"there is no {what} {file}: check its name")
    return found


def read_boxes(path: Path) -> dict[int, list[tuple[int, float, float, float, float]]]:
    """Read boxes in MOTChallenge's format, by frame; those of confidence 0 are to be left out."""
    with readable():
        content = read(path)
    try:
        text = content.decode("utf-8-sig")
        table = pd.read_csv(io.StringIO(text), header=None, usecols=range(6), dtype=float)
        score = pd.read_csv(io.StringIO(text), header=None).iloc[:, 6:7].astype(float)
    except (ValueError, pd.errors.ParserError) as error:
        advice = "frame, id, left, top, width, height, confidence are expected on each line"
        raise UserError(f"{path} holds no boxes ({type(error).__name__}): {advice}") from error
    table.columns = pd.Index(COLUMNS[:6])
    wrong = ~np.isfinite(table).all(axis=1) | (table[["width", "height"]] <= 0).any(axis=1)
    _refuse(path, wrong, "a box has finite numbers, and a size above 0")
    if score.shape[1]:
        table = table[score.iloc[:, 0] != 0]
    numbers = table[["frame", "id"]]
    wrong = ((numbers % 1 != 0) | (numbers < [1, 0]) | (numbers > 1e9)).any(axis=1)
    _refuse(path, wrong, "frames are whole numbers from 1, and people from 0 (-1 is nobody)")
    _refuse(path, table.duplicated(["frame", "id"]), "this person has two boxes in this frame")
    found: dict[int, list[tuple[int, float, float, float, float]]] = {}
    for frame, person, left, top, width, height in table.to_numpy().tolist():
        box = (int(person), left, top, left + width, top + height)
        found.setdefault(int(frame), []).append(box)
    return found


def _refuse(path: Path, wrong: "pd.Series[bool]", why: str) -> None:
    """Raise UserError for the first wrong line of a file of boxes, if there is one."""
    if wrong.any():
        line = wrong.index.to_numpy()[wrong.to_numpy().argmax()]  # lines before it may be left out
        raise UserError(f"{path}, line {line + 1}: {why}")


def moving(smallest: int) -> Detect:
    """Return a detector of what moves before an unmoving background, upright and large enough."""
    background = cv2.createBackgroundSubtractorMOG2(history=300, detectShadows=True)
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 11))  # head, body and legs are one

    def detect(image: np.ndarray) -> np.ndarray:
        sharp = (background.apply(image) == 255).astype(np.uint8)  # 127 is shadow
        mask = cv2.morphologyEx(cv2.medianBlur(sharp, 5), cv2.MORPH_CLOSE, close)
        _, _, about, _ = cv2.connectedComponentsWithStats(mask)
        left, top, width, height, area = about[1:].T
        upright = (height >= smallest) & (height > 1.2 * width) & (area > 0.3 * width * height)
        box = np.stack([left, top, left + width, top + height, np.ones_like(left)], 1)
        return box[upright].astype(np.float32)

    return detect


def detector(name: str, weights: str, device: str) -> Detect:
    """Return one of torchvision's detectors with COCO weights, from a file or downloaded."""
    known(DETECTORS, name, "detector")
    loading()
    import torch

    from upm_lib.distributed import pick_device
    from upm_lib.learning import _torchvision  # noqa: F401  (before torchvision)

    import torchvision  # isort: skip

    where = pick_device(device)
    try:
        if weights == "coco":
            every = torchvision.models.get_model_weights(name)
            state = every.DEFAULT.get_state_dict(progress=True, check_hash=True, weights_only=True)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        network = torchvision.models.get_model(name, weights=None, weights_backbone=None)
        network.load_state_dict(state)
    except Exception as error:  # of the network, of the reader, of torch: the advice is the same
        what = f"the weights {weights} of {name} cannot be had ({type(error).__name__})"
        advice = "give the file that torchvision offers for it, or leave out --weights"
        raise UserError(f"{what}: {advice}") from error
    network.eval().to(where)

    @torch.inference_mode()
    def detect(image: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(where).permute(2, 0, 1) / 255
        try:
            (found,) = network([pixels])
        except RuntimeError as error:
            if "C++ ops" not in str(error) and not isinstance(error, NotImplementedError):
                raise
            # Its compiled operators do not load.
            what = "torchvision and torch are of different builds, with which no detector runs"
            raise UserError(f"{what}: install matching ones, or give --boxes") from error
        people = found["labels"] == PERSON
        return torch.cat([found["boxes"], found["scores"][:, None]], 1)[people].cpu().numpy()

    return detect


def opened(path: Path) -> cv2.VideoCapture:
    """Return a video at its beginning; raise UserError for one without a frame to read."""
    if not cv2.VideoCapture(str(path)).read()[0]:
        raise UserError(f"{path} is no video that OpenCV reads: convert it, for example to .mp4")
    return cv2.VideoCapture(str(path))


def frames(path: Path) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield number (from 1), time in seconds and pixels [H, W, 3], RGB, of a video's frames."""
    video = opened(path)
    total, rate = (video.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
    number = 0
    with tqdm(total=max(int(total), 0) or None, desc=path.name, unit=" frames") as bar:
        while (read := video.read())[0]:
            number += 1
            seconds = (number - 1) / rate if rate > 0 else video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield number, seconds, read[1][..., ::-1]
            bar.update()
    video.release()
    if number < 0.9 * total:
        print(f"{path}: {number} of {int(total)} frames could be read", file=sys.stderr)


def tracked(path: Path, detect: Detect) -> Iterator[Seen]:
    """Yield a video's frames with the boxes of people that ByteTrack follows."""
    try:
        import supervision
        from trackers import ByteTrackTracker
    except ImportError as error:
        what = "following people needs more packages: pip install 'upm_lib[video]'"
        raise UserError(f"{what}, or give --boxes") from error
    video = opened(path)
    rate = video.get(cv2.CAP_PROP_FPS)
    video.release()
    tracker = ByteTrackTracker(frame_rate=rate if rate > 0 else 25.0)
    for number, seconds, image in frames(path):
        found = detect(image)
        boxes = supervision.Detections(xyxy=found[:, :4], confidence=found[:, 4])
        now = tracker.update(boxes)
        ids = () if now.tracker_id is None else now.tracker_id
        followed = [(int(i), *box) for i, box in zip(ids, now.xyxy, strict=True) if i >= 0]
        yield Seen(number, seconds, image, followed)


def given(path: Path, boxes: Path) -> Iterator[Seen]:
    """Yield a video's frames with the boxes of a file."""
    known_boxes, number = read_boxes(boxes), 0
    for number, seconds, image in frames(path):
        yield Seen(number, seconds, image, known_boxes.get(number, []))
    if beyond := sum(len(found) for frame, found in known_boxes.items() if frame > number):
        what = f"left out {beyond} box(es) of {boxes} behind the last frame of {path}, {number}"
        warnings.warn(f"{what}: are they of this video?", Caution, stacklevel=2)


def cut(seen: Iterator[Seen], folder: Path, smallest: int, shortest: int) -> dict[str, int]:
    """Write the boxes of a video as pictures; return how many each tracklet has.

    Boxes that are lower than ``smallest`` pixels or half outside the picture are left out, and
    then tracklets of fewer than ``shortest`` frames.
    """
    counts: dict[str, int] = {}
    for number, seconds, image, boxes in seen:
        height, width = image.shape[:2]
        for person, *box in boxes:
            inside = np.clip(np.round(box), 0, [width, height, width, height]).astype(int)
            left, top, right, bottom = inside
            area = (box[2] - box[0]) * (box[3] - box[1])
            if bottom - top < smallest or 2 * (right - left) * (bottom - top) < area:
                continue
            name = f"{person:04d}"
            counts[name] = counts.get(name, 0) + 1
            file = folder / name / f"{number:06d}-{seconds:.3f}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            crop = np.ascontiguousarray(image[top:bottom, left:right, ::-1])
            if not cv2.imwrite(str(file), crop, [cv2.IMWRITE_JPEG_QUALITY, 95]):
                raise UserError(f"{file} cannot be written: make room, or check the permissions")
    for name in [name for name, count in counts.items() if count < shortest]:
        shutil.rmtree(folder / name)
        del counts[name]
    return counts


def sheet(folder: Path, counts: dict[str, int]) -> Path | None:
    """Draw the longest tracklets of a camera beside its folder."""
    loading()
    from upm_lib.data.packing import decode, resized
    from upm_lib.pictures import canvas, photos

    longest = sorted(sorted(counts, key=lambda name: -counts[name])[:SHOWN])
    clips = []
    for name in longest:
        files = sorted((folder / name).iterdir())
        chosen = [files[i] for i in np.linspace(0, len(files) - 1, 8).round().astype(int)]
        images = [
            resized(image, (128, 64)) for file in chosen if (image := decode(file)) is not None
        ]
        clips.append(np.stack(images))
    labels = [f"{name}: {counts[name]} frames" for name in longest]
    title = f"{folder.name}: {len(longest)} of {len(counts)} tracklets"
    return canvas.save(photos.contact_sheet(clips, labels, title=title), folder.name, folder.parent)


def one_camera(camera: str, seen: Iterator[Seen], out: Path, smallest: int, shortest: int) -> None:
    """Make the folder of a camera, whole or not at all."""
    unfinished = out / f".{camera}.part"
    shutil.rmtree(unfinished, ignore_errors=True)  # of a killed process
    try:
        unfinished.mkdir(parents=True)
        counts = cut(seen, unfinished, smallest, shortest)
        if not counts:
            what = f"{camera}: no tracklet of {shortest} frames of people of {smallest} pixels"
            raise UserError(f"{what}: lower --min-frames or --min-height, or give --boxes")
        (out / camera).parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(out / camera)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error}): make room, or choose another --out"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{camera}: {len(counts)} tracklets, {sum(counts.values())} frames")
    print(f"{camera}: contact sheet {sheet(out / camera, counts)}")


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace, all_given: bool) -> None:
    """Raise UserError for options that mean nothing together, and for numbers below 1."""
    if all_given:
        refuse(parser, arguments, ["weights", *OF_A_DETECTOR], "--boxes says where people are")
    if arguments.weights is None:
        refuse(parser, arguments, OF_A_DETECTOR, "without --weights no detector runs")
    for option in ("min_height", "min_frames"):
        if (value := getattr(arguments, option)) < 1:
            raise UserError(f"--{option.replace('_', '-')} must be at least 1, not {value}")


def next_steps(out: Path) -> list[str]:
    """Return the commands that follow: training takes two cameras."""
    index = f"python -m upm_lib index {out} --to {out}.lance --model"
    if len(folders(out)) < 2:
        search = f"python -m upm_lib search --index {out}.lance --same-camera --query"
        return [f"next, with a model of other data: {index} FILE", f"then: {search} TRACKLET"]
    train = f"python -m upm_lib train both --dataset folder --root {out} --scale frozen --save"
    return [f"next: {train} {out}.safetensors", f"then: {index} {out}.safetensors"]


@command
def main(words: list[str] | None = None) -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("videos", nargs="+", metavar="CAMERA=VIDEO")
    add("--out", required=True, metavar="DIR", help="a gallery: CAMERA/TRACKLET/frames")
    mot = "of a tracker of yours, in MOTChallenge's format"
    add("--boxes", nargs="+", default=[], metavar="CAMERA=FILE", help=mot)
    files = "of torchvision's detector; 'coco' downloads them; without, whatever moves"
    add("--weights", metavar="FILE", help=files)
    add("--detector", default=DETECTORS[0], metavar="NAME", help=", ".join(DETECTORS))
    add("--device", default="cpu", help="of the detector; default: %(default)s")
    add("--min-height", type=int, default=48, metavar="PIXELS", help="default: %(default)s")
    add("--min-frames", type=int, default=10, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args(words)
    videos, boxes = pairs(arguments.videos, "video"), pairs(arguments.boxes, "file of boxes")
    _check(parser, arguments, boxes.keys() == videos.keys())
    out = place(arguments.out)
    for camera in boxes:
        known(videos, camera, "camera")
    for path in videos.values():  # what is wrong is told before hours are spent on the first
        opened(path).release()
    for path in boxes.values():
        read_boxes(path)
    found = None
    if arguments.weights is not None:
        found = detector(arguments.detector, arguments.weights, arguments.device)
    elif boxes.keys() != videos.keys():
        print("no weights: whatever moves and stands upright counts as a person, which is weak")
    for camera, path in videos.items():
        if (out / camera).exists():
            print(f"{camera}: is there already and stays as it is (remove it to make it anew)")
            continue
        if camera in boxes:
            seen = given(path, boxes[camera])
        else:
            seen = tracked(path, found or moving(arguments.min_height))
        one_camera(camera, seen, out, arguments.min_height, arguments.min_frames)
    print(*next_steps(out), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
