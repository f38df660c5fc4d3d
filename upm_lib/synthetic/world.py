"""Walking people drawn by code: a controlled world for video person re-identification.

Each difficulty of the real task (change of colours between cameras, change of view, loose boxes,
passers-by, things in front) is one knob of :class:`World`. Every random number comes from a stream
named by the seed, its purpose, the person and the camera: more people change nobody else, and
turning one knob leaves all the rest as it was.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from upm_lib import files, runs
from upm_lib.config import UserError
from upm_lib.synthetic import pedestrian
from upm_lib.synthetic.pedestrian import HEIGHT, WIDTH, Figure, H, Paint, Pose, W
from upm_lib.synthetic.scenery import BARRIERS, MARGIN, PAN_W, SCENES, barrier, panorama

RENDERER_VERSION = 2
MAX_CAMERAS = 8
MAX_FRAMES = 96  # a walk of more may be longer than the panorama
CONTENT = "content.json"  # beside a world's pictures: the digest of their names and bytes


@dataclass(frozen=True)
class World:
    """Knobs of a synthetic world; a share of the crop is meant wherever a size or a shift is given.

    Attributes:
        identities: number of people.
        cameras: number of cameras, at most 8.
        frames: frames of a tracklet.
        seed: another seed gives other people, walks and scenes.
        camera_gap: 0 gives every camera the same colours, 1 the strongest gammas and casts.
        yaw_mix: 0 lets all cameras see people from one side, 1 each from a side of its own.
        jitter: standard deviation of the box's shift from frame to frame.
        scale_sd: standard deviation of a tracklet's log scale.
        vertical_sd: standard deviation of a tracklet's vertical shift.
        clutter: share of tracklets with one to three other walkers behind.
        occlusion: share of tracklets with something in front for 30 to 50 % of the time.
        shared_garments: probability that a top or bottom has one of a few common colours.
        seen_by: number of cameras that see a person, drawn for each; 0: all of them. With it the
            world is written with an official division, in DukeMTMC-VideoReID's layout.
    """

    identities: int = 200
    cameras: int = 2
    frames: int = 8
    seed: int = 0
    camera_gap: float = 0.3
    yaw_mix: float = 0.5
    jitter: float = 0.03
    scale_sd: float = 0.05
    vertical_sd: float = 0.02
    clutter: float = 0.0
    occlusion: float = 0.0
    shared_garments: float = 0.5
    seen_by: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that cannot be drawn."""
        counted = self.identities >= 1 and 1 <= self.frames <= MAX_FRAMES
        if not counted or not 1 <= self.cameras <= MAX_CAMERAS:
            limits = f"1 to {MAX_FRAMES} frames and 1 to {MAX_CAMERAS} cameras"
            raise ValueError(f"a world needs people, {limits}, got {self}")
        if not 0 <= self.seen_by <= self.cameras:
            raise ValueError(f"a person is seen by 0 (all) to {self.cameras} cameras, got {self}")


# Set for the trained baseline to stand near its published Rank-1 on the sets they stand for: 82 %
# (PRID2011), 54 % (iLIDS-VID), 79 % (DukeMTMC-VideoReID); EXPERIMENTS.md has what was tried. Real
# boxes, drawn by hand or by a detector, sit a few percent too high or too low.
WORLDS: dict[str, World] = {
    "synthetic_clean": World(),
    "synthetic_cluttered": World(clutter=0.4, occlusion=0.4, vertical_sd=0.03),
    "synthetic_eight": World(cameras=8, seen_by=3, clutter=0.1, occlusion=0.1),
}

_STREAMS = ("look", "walk", "box", "light", "noise", "clutter", "occlusion", "scene", "route")
_FOOT = 242  # row of the feet in an aligned crop
_STATURE = 222  # rows of a person of average height
_CAMERA_YAW = (-0.3, 1.3, -1.4, 2.5, 0.6, -2.3, 3.1, 0.1)
_YAW_SD = 0.5  # of a tracklet's viewing direction, in radians
_LIGHT_SD = 0.04  # of a tracklet's log gain, log gamma and log cast


def _stream(world: World, purpose: str, person: int = 0, camera: int = 0) -> tuple[int, ...]:
    """The name of the random stream of one purpose, person and camera."""
    return world.seed, _STREAMS.index(purpose), person, camera


def _rng(world: World, purpose: str, person: int = 0, camera: int = 0) -> np.random.Generator:
    return np.random.default_rng(_stream(world, purpose, person, camera))


def _walk(world: World, person: int, camera: int) -> tuple[Pose, np.ndarray]:
    """The pose, and column and row of the panorama at the crop's corner, frame by frame.

    Gait, direction and place come from one stream, the looseness of the box from another.
    """
    rng, box = _rng(world, "walk", person, camera), _rng(world, "box", person, camera)
    frames = np.arange(world.frames)
    side = 0.45 + world.yaw_mix * _CAMERA_YAW[camera] + _YAW_SD * rng.standard_normal()
    yaw = side + 0.03 * (frames - world.frames / 2) * rng.standard_normal()
    cadence = 0.95 + 0.35 * rng.random()
    phase = 2 * math.pi * rng.random() + cadence * frames
    start, pace = rng.random(), 9 + 6 * rng.random()
    scale = math.exp(world.scale_sd * float(np.clip(box.standard_normal(), -2.2, 2.2)))
    sink = float(np.clip(world.vertical_sd * box.standard_normal(), -0.23, 0.23)) * H
    shake = world.jitter * np.clip(box.standard_normal((world.frames, 2)), -2.5, 2.5)
    shift = shake * (W, 0.25 * H) + (0, sink)
    foot = np.array([W / 2, _FOOT + (scale - 1) * (_FOOT - H / 2)]) + shift
    travel = pace * frames * np.sin(yaw)
    room = PAN_W - W - 40 - np.ptp(travel)
    column = 20 + start * room + travel - travel.min()
    offset = np.stack([column, np.full(world.frames, MARGIN)], axis=-1) - shift
    light = SCENES[camera][3][5]
    return Pose(yaw, phase, foot, _STATURE * scale, light), np.rint(offset).astype(int)


def _stranger(
    world: World, rng: np.random.Generator, own: Pose, times: range, near: bool
) -> Figure:
    """A walker, nearer than the person or farther away, in the crop at about the given frames."""
    frames, way = np.arange(world.frames), (1, -1)[rng.integers(2)]
    share = rng.uniform(1.1, 1.25) if near else rng.uniform(0.72, 0.85)
    pace = rng.uniform(0.5, 0.8) * W / len(times) if near else rng.uniform(2, 8)
    middle = W * (rng.uniform(0.35, 0.65) if near else rng.uniform(-0.1, 1.1))
    foot = np.empty((world.frames, 2))
    foot[:, 0] = middle + way * pace * (frames - times.start - (len(times) - 1) / 2)
    foot[:, 1] = own.foot[0, 1] + (22 if near else -150 * (1 - share))
    yaw = np.full(world.frames, way * (math.pi / 2 - 0.4 * rng.random()))
    phase = 2 * math.pi * rng.random() + 1.1 * frames
    look = pedestrian.draw_look(rng, world.shared_garments)
    return Figure(look, Pose(yaw, phase, foot, own.size * share, own.light))


def _layers(
    world: World, person: int, camera: int, figure: Figure, slide: np.ndarray
) -> list[list[Paint]]:
    """Frame by frame what there is, from far to near: other walkers, the person, things in front.

    The scene slides through the crop; a share of the tracklets has one to three walkers behind the
    person, and a share one or two things in front for 30 to 50 % of the frames.
    """
    own, rng = figure.pose, _rng(world, "clutter", person, camera)
    count = rng.integers(1, 4) if rng.random() < world.clutter else 0
    always = range(world.frames)
    behind = [_stranger(world, rng, own, always, near=False) for _ in range(count)]
    behind.sort(key=lambda walker: walker.size)
    layers: list[list[Paint]] = [[w.paint for w in (*behind, figure)] for _ in always]
    rng = _rng(world, "occlusion", person, camera)
    for _ in range(rng.integers(1, 3) if rng.random() < world.occlusion else 0):
        length = max(1, round(rng.uniform(0.3, 0.5) * world.frames))
        first = int(rng.integers(world.frames - length + 1))
        times, kind = always[first : first + length], pedestrian.pick(rng, ("walker", *BARRIERS))
        if kind == "walker":
            paint: Paint = _stranger(world, rng, own, times, near=True).paint
        else:
            paint = barrier(kind, rng, slide - slide[first])
        for frame in times:
            layers[frame].append(paint)
    return layers


def _curves(world: World, person: int, camera: int) -> np.ndarray:
    """Tone curves of a tracklet, frame by frame: uint8 [frames, 256, 3]."""
    rng = _rng(world, "light", person, camera)
    drift = np.exp(_LIGHT_SD * rng.standard_normal(5))
    flicker = np.exp(0.25 * _LIGHT_SD * rng.standard_normal(world.frames))
    gamma, gain, *cast, _ = SCENES[camera][3]
    power = gamma**world.camera_gap * drift[0]
    colour = (gain * np.array(cast)) ** world.camera_gap * drift[1] * drift[2:]
    level = (np.arange(256) / 255.0) ** power
    curves = 255 * level[None, :, None] * colour * flicker[:, None, None]
    return np.rint(np.clip(curves, 0, 255)).astype(np.uint8)


def _stage(world: World, person: int, camera: int) -> tuple[np.ndarray, Figure, list[list[Paint]]]:
    """Column and row of the panorama, the person, and the layers of each frame."""
    if not (1 <= person <= world.identities and 0 <= camera < world.cameras):
        raise ValueError(f"no person {person} or no camera {camera} in {world}")
    pose, offset = _walk(world, person, camera)
    figure = Figure(pedestrian.draw_look(_rng(world, "look", person), world.shared_garments), pose)
    return offset, figure, _layers(world, person, camera, figure, offset[:, 0])


def render_tracklet(world: World, person: int, camera: int) -> np.ndarray:
    """Draw a person (from 1) before a camera (from 0): RGB frames, uint8 [frames, 128, 64, 3]."""
    offset, _, layers = _stage(world, person, camera)
    curves, noise = _curves(world, person, camera), _rng(world, "noise", person, camera)
    scene = panorama(_stream(world, "scene", camera=camera), camera)
    frames = np.empty((world.frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame, (column, row) in enumerate(offset):
        canvas = scene[row : row + H, column : column + W].copy()
        for paint in layers[frame]:
            paint(canvas, frame)
        small = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (3, 3), 0.5 + 0.1 * (camera % 3))
        toned = cv2.LUT(soft, curves[frame][None])
        grain = np.rint(2.5 * noise.standard_normal(toned.shape, dtype=np.float32))
        frames[frame] = np.clip(toned + grain, 0, 255)
    return frames


def regions(world: World, person: int, camera: int) -> np.ndarray:
    """Tell what the pixels of :func:`render_tracklet` show: uint8 [frames, 128, 64].

    0 background, 1 head, 2 torso with arms, 3 legs of the person (``Figure.regions``). What stands
    in front of the person, and everybody else, is background.
    """
    _, figure, layers = _stage(world, person, camera)
    maps = np.empty((world.frames, HEIGHT, WIDTH), dtype=np.uint8)
    for frame, paints in enumerate(layers):
        large = figure.regions(frame)
        for paint in paints[paints.index(figure.paint) + 1 :]:
            large[pedestrian.hidden(paint, frame)] = pedestrian.BACKGROUND
        maps[frame] = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    return maps


def digest(world: World) -> str:
    """A short name of a world's pictures: changes with every knob and with the renderer."""
    knobs = json.dumps({"renderer": RENDERER_VERSION, **asdict(world)}, sort_keys=True)
    return hashlib.sha256(knobs.encode()).hexdigest()[:12]


def route(world: World, person: int) -> tuple[int, ...]:
    """The cameras that see a person, in the order of the visits."""
    if not world.seen_by:
        return tuple(range(world.cameras))
    order = _rng(world, "route", person).permutation(world.cameras)
    return tuple(order[: world.seen_by].tolist())


def _names(world: World) -> Iterator[tuple[int, int, str]]:
    """Person, camera and name of the frames of each tracklet, to be given a number.

    With an official division the first half of the people trains, of the others all tracklets are
    the gallery, and the first one is the query too.
    """
    for person in range(1, world.identities + 1):
        for visit, camera in enumerate(route(world, person), start=1):
            name = f"{person:04d}/{visit:04d}/{person:04d}_C{camera + 1}" + "_F{0:04d}_X{0:05d}.png"
            if not world.seen_by:
                folder = f"multi_shot/cam_{'abcdefgh'[camera]}/person_{person:04d}"
                yield person, camera, folder + "/{0:04d}.png"
            elif person <= world.identities // 2:
                yield person, camera, f"train/{name}"
            else:
                for subset in ("query", "gallery")[visit > 1 :]:
                    yield person, camera, f"{subset}/{name}"


def write(world: World, root: Path, progress: bool = False) -> Path:
    """Draw a whole world into the folder root and return it, or leave it alone where it exists.

    The folder appears under its name only when it is complete. Where every camera sees everybody,
    the layout is PRID2011's, ``root/multi_shot/cam_a/person_0001/0001.png``; else that of
    DukeMTMC-VideoReID, ``root/train/0001/0001/0001_C6_F0001_X00001.png``, beside ``query`` and
    ``gallery``. A record beside the pictures has their digest, for :func:`as_drawn`.
    """
    root = Path(root)
    if root.exists():
        return root
    with runs.replacing(root, folder=True) as partial:
        for person, camera, name in tqdm(list(_names(world)), "drawing", disable=not progress):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            for number, frame in enumerate(render_tracklet(world, person, camera), start=1):
                file = str(partial / name.format(number))
                if not cv2.imwrite(file, frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                    raise OSError(f"cannot write {file}: no room, or no right")
        runs.write_json(partial / CONTENT, {"content": _content(partial)})
    return root


def as_drawn(root: Path) -> bool:
    """Whether a folder holds what :func:`write` drew, byte by byte, and nothing else."""
    try:
        return runs.read_json(root / CONTENT) == {"content": _content(root)}
    except (UserError, OSError):
        return False


def _content(root: Path) -> str:
    """Return a digest over the names and bytes of all files in a folder but the record's own."""
    text = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if not p.is_dir() and p.name != CONTENT):
        content = files.read(path)
        text.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        text.update(content)
    return text.hexdigest()
