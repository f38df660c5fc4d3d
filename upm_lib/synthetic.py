"""Walking people drawn by code: a controlled world for video person re-identification.

Every person is a look (stature, build, skin, hair, garments with a pattern, shoes, a bag) worn by
an articulated skeleton that walks, drawn into the 128 x 64 crops that a person detector would
deliver and seen by several cameras, each with its own scene, light, colour cast, blur and usual
viewing direction. Nothing has to be downloaded, the truth is known for every frame, and each
difficulty of the real task (change of colours between cameras, change of view, loose boxes,
passers-by, things in front) is one knob of :class:`World`. Every random number comes from a stream
named by the seed, its purpose, the person and the camera: more people change nobody else, and
turning one knob leaves all the rest as it was, so that two worlds differ in nothing but the knob
under study.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm.auto import tqdm

RENDERER_VERSION = 1
HEIGHT, WIDTH = 128, 64
MAX_CAMERAS = 8


@dataclass(frozen=True)
class World:
    """Knobs of a drawn world; a share of the crop is meant wherever a size or a shift is given.

    Attributes:
        identities: number of people.
        cameras: number of cameras, at most 8.
        frames: frames of a tracklet.
        seed: another seed gives other people, walks and scenes.
        camera_gap: 0 gives every camera the same colours, 1 the strongest gammas and casts.
        yaw_mix: 0 lets all cameras see people from one side, 1 each from a side of its own.
        yaw_sd: standard deviation of a tracklet's viewing direction, in radians.
        illumination: standard deviation of a tracklet's log gain, log gamma and log cast.
        colour_jitter: standard deviation of a garment's colour around its palette entry, of 255.
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
    yaw_sd: float = 0.5
    illumination: float = 0.04
    colour_jitter: float = 14.0
    jitter: float = 0.03
    scale_sd: float = 0.05
    vertical_sd: float = 0.0
    clutter: float = 0.0
    occlusion: float = 0.0
    shared_garments: float = 0.5
    seen_by: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that cannot be drawn."""
        if self.identities < 1 or self.frames < 1 or not 1 <= self.cameras <= MAX_CAMERAS:
            raise ValueError(
                f"a world needs people, frames and 1 to {MAX_CAMERAS} cameras, got {self}"
            )
        if not 0 <= self.seen_by <= self.cameras:
            raise ValueError(f"a person is seen by 0 (all) to {self.cameras} cameras, got {self}")


WORLDS: dict[str, World] = {
    "synthetic_clean": World(),
    "synthetic_cluttered": World(clutter=0.4, occlusion=0.4, vertical_sd=0.11, scale_sd=0.13),
    "synthetic_eight": World(cameras=8, seen_by=3),
}

_STREAMS = ("look", "walk", "box", "light", "noise", "clutter", "occlusion", "scene", "route")
_ZOOM = 2  # people are drawn at twice the size, then averaged
_H, _W = HEIGHT * _ZOOM, WIDTH * _ZOOM
_MARGIN = 64  # spare rows of a panorama above and below the crop
_PAN_H, _PAN_W = _H + 2 * _MARGIN, 1600
_FOOT = 242  # row of the feet in an aligned crop
_STATURE = 222  # rows of a person of average height
_PITCH = 0.13  # cameras look slightly down: nearer points appear lower
_ROWS, _COLUMNS = 64, 96  # texture of a draped surface: height, angle around the body
_STEPS = 64  # quantisation of the visible half turn

# Wall or hedge, ground, and light (gamma, gain, red, green, blue, side the light comes from).
_SCENES = (
    ("street", (150, 84, 66), (134, 130, 124), (0.85, 1.10, 1.22, 1.00, 0.80, -1)),
    ("park", (58, 90, 46), (168, 152, 130), (1.30, 0.92, 0.82, 1.00, 1.25, 1)),
    ("street", (198, 188, 166), (98, 100, 106), (1.10, 1.15, 0.95, 1.12, 0.90, 1)),
    ("park", (104, 106, 50), (126, 132, 120), (0.90, 0.88, 1.12, 0.94, 1.02, -1)),
    ("street", (98, 112, 130), (158, 148, 132), (1.25, 1.08, 1.05, 0.90, 1.15, 1)),
    ("park", (44, 74, 60), (112, 108, 104), (0.95, 1.20, 1.00, 1.10, 0.86, 1)),
    ("street", (120, 104, 92), (142, 146, 152), (1.05, 0.85, 0.85, 0.98, 1.20, -1)),
    ("park", (120, 90, 44), (150, 138, 120), (1.15, 1.00, 1.25, 1.02, 0.92, -1)),
)
_CAMERA_YAW = (-0.3, 1.3, -1.4, 2.5, 0.6, -2.3, 3.1, 0.1)

_COMMON = (
    (30, 30, 34), (36, 44, 78), (112, 114, 118), (206, 204, 198), (178, 156, 120),
    (66, 90, 130), (80, 58, 44), (128, 34, 40),
)  # fmt: skip
_SKINS = ((238, 200, 172), (222, 178, 146), (196, 150, 116), (150, 106, 78), (98, 68, 52))
_HAIRS = ((26, 22, 22), (58, 40, 30), (96, 66, 42), (170, 130, 78), (120, 118, 116), (132, 62, 34))
_PATTERNS = ("plain", "plain", "rows", "columns", "check", "logo", "halves", "open", "open")
_BOTTOMS = ("trousers", "trousers", "trousers", "shorts", "skirt", "long skirt")
_BAGS = ("none", "none", "backpack", "backpack", "side bag", "hand bag")
_HATS = ("none", "none", "none", "none", "cap", "beanie")


def _rng(world: World, purpose: str, person: int = 0, camera: int = 0) -> np.random.Generator:
    """The random stream of one purpose, person and camera."""
    return np.random.default_rng([world.seed, _STREAMS.index(purpose), person, camera])


# ---------------------------------------------------------------------------------- looks


@dataclass
class _Look:
    """What a person looks like wherever they are seen."""

    height: float
    width: float
    leg: float
    stride: float
    shape: float
    colours: dict[str, np.ndarray]  # skin, hair, top, second, bottom, shoe, bag, hat
    pattern: str
    lower: str
    bag: str
    hat: str
    long_hair: bool
    sleeves: bool
    coat: bool
    side: int
    textures: dict[str, np.ndarray] = field(default_factory=dict)


def _pick(rng: np.random.Generator, items: tuple) -> Any:
    """One item of a tuple."""
    return items[int(rng.integers(len(items)))]


def _free_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour of any hue, from pale to saturated, from dark to bright."""
    hue, saturation, value = rng.integers(180), rng.integers(40, 190), rng.integers(55, 215)
    pixel = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def _garment_colour(rng: np.random.Generator, shared: float, spread: float) -> np.ndarray:
    """A garment's colour: of the small common palette with probability ``shared``, else any."""
    common, free = np.array(_pick(rng, _COMMON)), _free_colour(rng)
    chosen = common if rng.random() < shared else free
    return np.clip(chosen + spread * rng.standard_normal(3), 12, 240)


def _draw_look(rng: np.random.Generator, world: World) -> _Look:
    """Draw one person's look; the knobs do not shift the stream."""
    size = rng.random(5)
    colours = {
        name: _garment_colour(rng, world.shared_garments, world.colour_jitter)
        for name in ("top", "second", "bottom", "shoe", "bag", "hat")
    }
    for name, choice in (("skin", _SKINS), ("hair", _HAIRS)):
        colours[name] = np.array(_pick(rng, choice), dtype=np.float64)
    colours["shoe"] *= 0.6
    top = colours["top"]
    if np.abs(colours["second"] - top).sum() < 120:  # a pattern has to be visible
        colours["second"] = 0.35 * top if top.mean() > 120 else 255 - 0.4 * top
    kinds = [_pick(rng, kind) for kind in (_PATTERNS, _BOTTOMS, _BAGS, _HATS)]
    long_hair, sleeves, coat, left = rng.random(4) < (0.4, 0.7, 0.15, 0.5)
    sleeves |= coat or kinds[0] == "open"
    look = _Look(
        0.93 + 0.11 * size[0],
        0.86 + 0.34 * size[1],
        0.95 + 0.1 * size[2],
        (0.36 + 0.14 * size[3]) * (0.6 if kinds[1] == "long skirt" else 1.0),
        0.08 * (2 * size[4] - 1),
        colours,
        *kinds,
        *(bool(flag) for flag in (long_hair, sleeves, coat)),
        1 if left else -1,
    )
    weave = rng.standard_normal((8, 12)).astype(np.float32)
    look.textures = _textures(look, cv2.resize(weave, (_COLUMNS, _ROWS)))
    return look


def _textures(look: _Look, weave: np.ndarray) -> dict[str, np.ndarray]:
    """Cloth, hair and face as pictures of height (rows) and angle around the body (columns)."""
    plain = np.ones((_ROWS, _COLUMNS, 3))
    flap = np.where(_grid()[0] < 0.3, 0.75, 1.0)[..., None]
    made = {
        "torso": _garment(look),
        "coat": _panel(look.colours["top"]),
        "skirt": _panel(look.colours["bottom"], pleats=True),
        "bottom": plain * look.colours["bottom"],
        "hair": plain * look.colours["hair"],
        "bag": flap * look.colours["bag"],
    }
    made = {name: cloth * (1 + 0.07 * weave[..., None]) for name, cloth in made.items()}
    made["head"] = _head(look)
    return {name: np.clip(np.rint(t), 0, 255).astype(np.uint16) for name, t in made.items()}


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Height 0 (top) to 1 and angle -pi to pi (0 = front, positive = the person's left)."""
    height = (np.arange(_ROWS)[:, None] + 0.5) / _ROWS
    angle = (np.arange(_COLUMNS)[None, :] * 2 / _COLUMNS + 1) % 2 - 1
    return np.broadcast_arrays(height, angle * math.pi)


def _garment(look: _Look) -> np.ndarray:
    """The top with its pattern, neckline, hem and the straps of a bag."""
    height, angle = _grid()
    front = np.abs(angle)
    turn = np.floor(angle / math.pi * 9 + 9)
    masks = {
        "plain": np.zeros_like(front, dtype=bool),
        "rows": np.floor(height * 9) % 2 == 1,
        "columns": turn % 2 == 1,
        "check": (np.floor(height * 8) + turn) % 2 == 1,
        "logo": (front < 0.62) & (height > 0.24) & (height < 0.52),
        "halves": height > 0.52,
        "open": (front < 0.3 + 0.25 * height),
    }
    cloth = np.where(masks[look.pattern][..., None], look.colours["second"], look.colours["top"])
    if look.pattern == "open":
        edge = np.abs(front - 0.3 - 0.25 * height) < 0.09
        cloth[edge] = look.colours["top"] * 0.55
    cloth[(height > 0.95) | (height < 0.05)] *= 0.75
    cloth[front < 0.75 - 6.5 * height] = look.colours["skin"]
    straps = {
        "backpack": (np.abs(front - 0.72) < 0.15) & (height < 0.62),
        "side bag": np.abs(height - 0.5 - 0.46 * look.side * np.sin(angle)) < 0.045,
    }
    if look.bag in straps:
        cloth[straps[look.bag]] = look.colours["bag"] * 0.6
    return cloth


def _panel(colour: np.ndarray, pleats: bool = False) -> np.ndarray:
    """The part of a coat or skirt below the waist: a hem, and a slit in front or pleats."""
    height, angle = _grid()
    cloth = np.broadcast_to(colour, (_ROWS, _COLUMNS, 3)).copy()
    if pleats:
        cloth *= (1 + 0.1 * np.sin(angle * 10))[..., None]
    else:
        cloth[np.abs(angle) < 0.06 + 0.14 * height] *= 0.45
    cloth[height > 0.95] *= 0.75
    return cloth


def _head(look: _Look) -> np.ndarray:
    """Face in front, hair above and behind, perhaps a hat."""
    height, angle = _grid()
    front = np.abs(angle)
    skin = np.broadcast_to(look.colours["skin"], (_ROWS, _COLUMNS, 3)).copy()
    skin[(np.abs(height - 0.5) < 0.04) & (np.abs(front - 0.38) < 0.16)] *= 0.4
    skin[(np.abs(height - 0.78) < 0.03) & (front < 0.26)] *= np.array([0.8, 0.55, 0.55])
    skin[(height > 0.55) & (height < 0.66) & (front < 0.12)] *= 0.86
    hairline = np.where(front < 1.0, 0.27 + 0.1 * front, 0.37 + 0.8 * (front - 1.0))
    skin[height < np.minimum(hairline, 0.86)] = look.colours["hair"]
    if look.hat != "none":
        skin[height < 0.4] = look.colours["hat"]
        skin[(height > 0.33) & (height < 0.4)] *= 0.7
    return skin


# ------------------------------------------------------------------------------- skeleton


@dataclass
class _Pose:
    """Where and how a person walks: one entry a frame, pixels of the doubled crop."""

    yaw: np.ndarray
    phase: np.ndarray
    foot: np.ndarray  # [frames, 2]
    size: float
    light: int


def _project(pose: _Pose, size: float, point: tuple) -> np.ndarray:
    """Body coordinates (left, up, forward) to screen x, screen y and nearness: [frames, 3]."""
    left, up, forward = point
    sine, cosine = np.sin(pose.yaw), np.cos(pose.yaw)
    near = forward * cosine - left * sine
    x = pose.foot[:, 0] + size * (left * cosine + forward * sine)
    y = pose.foot[:, 1] - size * (up - _PITCH * near)
    return np.stack(np.broadcast_arrays(x, y, near), axis=-1)


def _leg(look: _Look, phase: np.ndarray, side: int) -> dict[str, tuple]:
    """Hip, knee, ankle, heel and toe of one leg, hip at height 0."""
    swing = look.stride * np.sin(phase) + 0.04
    bend = 0.1 + 2.2 * look.stride * np.maximum(0, np.cos(phase + 0.45)) ** 2
    thigh, shank, across = 0.245 * look.leg, 0.235 * look.leg, side * 0.047 * look.width
    knee = (across, -thigh * np.cos(swing), thigh * np.sin(swing))
    low = swing - bend
    ankle = (across, knee[1] - shank * np.cos(low), knee[2] + shank * np.sin(low))
    tilt = 0.6 * low + 0.08
    toe = (
        across + side * 0.015,
        ankle[1] - 0.022 + 0.11 * np.sin(tilt),
        ankle[2] + 0.11 * np.cos(tilt),
    )
    heel = (across, ankle[1] - 0.022 - 0.03 * np.sin(tilt), ankle[2] - 0.03 * np.cos(tilt))
    return {"hip": (across, 0 * swing, 0 * swing), "knee": knee, "ankle": ankle,
            "heel": heel, "toe": toe}  # fmt: skip


def _arm(look: _Look, phase: np.ndarray, side: int) -> dict[str, tuple]:
    """Shoulder, elbow and wrist of one arm, hip at height 0; swings against the leg."""
    swing = -0.9 * look.stride * np.sin(phase)
    fore = swing + 0.3 + 0.25 * np.maximum(0, -np.sin(phase))
    across, up, turn = side * (0.094 * look.width + 0.1 * look.shape), 0.312, -0.02 * np.sin(phase)
    elbow = (across + side * 0.02, up - 0.16 * np.cos(swing), turn + 0.16 * np.sin(swing))
    wrist = (across + side * 0.018, elbow[1] - 0.14 * np.cos(fore), elbow[2] + 0.14 * np.sin(fore))
    return {"shoulder": (across, up + 0 * swing, turn), "elbow": elbow, "wrist": wrist}


def _skeleton(look: _Look, pose: _Pose) -> tuple[dict[str, np.ndarray], float, np.ndarray]:
    """Screen positions of all joints, pixels of one stature and the height of the hip."""
    size = pose.size * look.height
    joints: dict[str, tuple] = {}
    for name, side in (("l", 1), ("r", -1)):
        phase = pose.phase + (0 if side > 0 else math.pi)
        joints |= {f"{name}_{k}": v for k, v in _leg(look, phase, side).items()}
        joints |= {f"{name}_{k}": v for k, v in _arm(look, phase, side).items()}
    feet = [joints[f"{s}_{part}"][1] for s in "lr" for part in ("heel", "toe")]
    hip = 0.018 - np.min(feet, axis=0)  # the lower foot stands on the ground
    placed = {
        name: _project(pose, size, (left, up + hip, forward))
        for name, (left, up, forward) in joints.items()
    }
    return placed, size, hip


# ------------------------------------------------------------------------------- painting

_STEP = np.arange(_STEPS + 1) / _STEPS * 2 - 1
_ARC = np.rint(np.arcsin(_STEP) / (2 * math.pi) * _COLUMNS).astype(np.int64)
_ROUND = np.sqrt(1 - _STEP**2)
_SHADES = {
    side: np.rint(128 * (0.56 + 0.5 * np.cos(np.arcsin(_STEP) - 0.6 * side))).astype(np.uint16)
    for side in (-1, 1)
}
_CAP = np.linspace(-math.pi / 2, math.pi / 2, 7)
_LAYERS = ((1.0, 0.0, 0.64), (0.8, 0.17, 0.92), (0.4, 0.36, 1.1))  # radius, shift, brightness


def _capsules(start: np.ndarray, end: np.ndarray, radii: tuple, light: int) -> np.ndarray:
    """Outlines of a limb's three layers: [frames, 3, 14, 2] in sixteenths of a pixel."""
    axis = end - start
    along = axis / (np.linalg.norm(axis, axis=-1, keepdims=True) + 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], axis=-1)
    arc = np.cos(_CAP)[:, None] * along[:, None] + np.sin(_CAP)[:, None] * across[:, None]
    layers = []
    for share, shift, _ in _LAYERS:
        offset = np.array([shift * light, -0.3 * shift])
        far = (end + offset * radii[1])[:, None] + share * radii[1] * arc
        near = (start + offset * radii[0])[:, None] - share * radii[0] * arc
        layers.append(np.concatenate([far, near], axis=1))
    return np.rint(np.stack(layers, axis=1) * 16).astype(np.int32)


@dataclass
class _Limb:
    """A chain of tapered, shaded capsules of one colour."""

    order: np.ndarray
    links: list[np.ndarray]
    colours: list[tuple[int, ...]]

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Draw the limb of one frame, dark layer first and over all links, so no joint shows."""
        for layer, colour in enumerate(self.colours):
            for link in self.links:
                cv2.fillConvexPoly(canvas, link[frame, layer], colour, cv2.LINE_AA, 4)


@dataclass
class _Surface:
    """A body of revolution with a texture around it: torso, head, skirt, bag."""

    order: np.ndarray
    texture: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    half: np.ndarray  # [frames, points of the profile]
    turn: np.ndarray
    bow: float
    light: int

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Look every pixel up in the texture by its height and its angle around the axis."""
        (x0, y0), (x1, y1) = self.top[frame], self.bottom[frame]
        rows = np.arange(max(0, int(y0)), min(_H, int(y1 + self.bow) + 1))
        height = (rows + 0.5 - y0) / max(y1 - y0, 1e-6)
        half = np.interp(height, np.linspace(0, 1, self.half.shape[1]), self.half[frame])
        middle = x0 + (x1 - x0) * height
        left = max(0, int((middle - half).min(initial=_W)))
        right = min(_W, int((middle + half).max(initial=0)) + 2)
        if left >= right or not len(rows):
            return
        columns = np.arange(left, right) + 0.5
        across = (columns - middle[:, None]) / np.maximum(half, 0.25)[:, None]
        step = np.clip(np.rint((across + 1) * (_STEPS / 2)), 0, _STEPS).astype(np.int64)
        down = height[:, None] - (self.bow / max(y1 - y0, 1e-6)) * _ROUND[step]
        inside = (np.abs(across) < 1) & (down < 1)
        row = np.clip(down * _ROWS, 0, _ROWS - 1).astype(np.int64)
        texel = self.texture[row, (_ARC[step] + self.turn[frame]) % _COLUMNS]
        colour = np.minimum(texel * _SHADES[self.light][step][..., None] >> 7, 255)
        region = canvas[rows[0] : rows[-1] + 1, left:right]
        np.copyto(region, colour.astype(np.uint8), where=inside[..., None])


class _Figure:
    """One walking person, laid out for all frames, ready to be painted frame by frame."""

    def __init__(self, look: _Look, pose: _Pose) -> None:
        """Lay out limbs and surfaces."""
        self.look, self.pose = look, pose
        self.joints, self.size, self.hip = _skeleton(look, pose)
        self.facing = np.cos(pose.yaw)
        self.parts: list[_Limb | _Surface] = []
        for name in "lr":
            self._add_leg(name)
            self._add_arm(name)
        self._add_clothes()
        self._add_head()
        self._add_bag()

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Draw shadow and body, far parts first."""
        foot = self.pose.foot[frame]
        _paint_shadow(canvas, foot, self.size, self.pose.light)
        for part in sorted(self.parts, key=lambda part: part.order[frame]):
            part.paint(canvas, frame)

    def _limb(self, points: tuple[np.ndarray, ...], radii: tuple[float, ...],
              colour: np.ndarray, order: np.ndarray) -> None:  # fmt: skip
        """Add capsules through projected joints; radii in statures."""
        tones = [tuple(int(c) for c in np.clip(np.rint(colour * b), 0, 255)) for *_, b in _LAYERS]
        pixels = [radius * self.size for radius in radii]
        ends = zip(pairwise(points), pairwise(pixels), strict=True)
        links = [_capsules(a[:, :2], b[:, :2], thick, self.pose.light) for (a, b), thick in ends]
        self.parts.append(_Limb(order, links, tones))

    def _surface(self, texture: str, top: np.ndarray, bottom: np.ndarray, axes: tuple,
                 profile: tuple, order: float | np.ndarray, bow: float = 0.0) -> None:  # fmt: skip
        """Add a draped surface; ``axes``: half-width and half-depth in statures."""
        yaw = self.pose.yaw
        half = self.size * np.sqrt((axes[0] * np.cos(yaw)) ** 2 + (axes[1] * np.sin(yaw)) ** 2)
        widths = np.stack([np.broadcast_to(half * p, yaw.shape) for p in profile], axis=-1)
        turn = np.rint(-yaw / (2 * math.pi) * _COLUMNS).astype(np.int64)
        order = np.broadcast_to(np.asarray(order, dtype=float), yaw.shape)
        picture = self.look.textures[texture]
        self.parts.append(
            _Surface(order, picture, top[:, :2], bottom[:, :2], widths, turn,
                     bow * self.size, self.pose.light)
        )  # fmt: skip

    def _at(self, left: float, up: float, forward: float) -> np.ndarray:
        """Project a point given relative to the middle of the hips."""
        return _project(self.pose, self.size, (left, up + self.hip, forward))

    def _add_leg(self, name: str) -> None:
        """Shoe, bare leg, and the trouser leg over it."""
        look, j, colours = self.look, self.joints, self.look.colours
        hip, knee, ankle = (j[f"{name}_{part}"] for part in ("hip", "knee", "ankle"))
        order = -1 + 0.5 * knee[:, 2]
        broad = look.width**0.5
        sole = j[f"{name}_heel"], j[f"{name}_toe"]
        self._limb(sole, (0.021, 0.016), colours["shoe"], order - 0.02)
        if look.lower != "trousers":
            slim = (0.05 * broad, 0.034 * broad, 0.02 * broad)
            self._limb((hip, knee, ankle), slim, colours["skin"], order)
        if look.lower == "trousers":
            cloth = (0.055 * broad, 0.041 * broad, 0.028 * broad)
            self._limb((hip, knee, ankle), cloth, colours["bottom"], order)
        elif look.lower == "shorts":
            end = hip + 0.9 * (knee - hip)
            self._limb((hip, end), (0.057 * broad, 0.046 * broad), colours["bottom"], order + 0.01)

    def _add_arm(self, name: str) -> None:
        """Hand, forearm and upper arm; behind all when on the far side."""
        look, j, colours = self.look, self.joints, self.look.colours
        shoulder, elbow, wrist = (j[f"{name}_{part}"] for part in ("shoulder", "elbow", "wrist"))
        order = np.where(shoulder[:, 2] < -0.045, -2.0, 1.0)
        hand = wrist + 0.24 * (wrist - elbow)
        self._limb((wrist, hand), (0.016, 0.014), colours["skin"], order)
        arm = shoulder, elbow, wrist
        if look.sleeves:
            self._limb(arm, (0.032, 0.028, 0.022), colours["top"], order + 0.01)
        else:
            self._limb(arm, (0.027, 0.024, 0.018), colours["skin"], order + 0.01)
            end = shoulder + 0.62 * (elbow - shoulder)
            self._limb((shoulder, end), (0.032, 0.031), colours["top"], order + 0.02)

    def _add_clothes(self) -> None:
        """Torso and what hangs below it, drawn over the legs."""
        look, broad = self.look, self.look.width
        axes = (0.1 * broad, 0.07 * broad)
        taper = look.shape * np.linspace(1, -1, 12)  # broad shoulders or broad hips
        form = (0.36, 0.66, 0.93, 1.07, 1.08, 1.04, 1.0, 0.97, 0.95, 0.96, 0.99, 1.02)
        trunk = tuple(float(x) for x in np.array(form) * (1 + taper))
        self._surface("torso", self._at(0, 0.368, 0), self._at(0, -0.035, 0), axes, trunk, 0, 0.02)
        if look.lower in ("trousers", "shorts"):
            hips = (0.95, 1.0, 0.98, 0.8, 0.4)
            self._surface("bottom", self._at(0, 0.04, 0), self._at(0, -0.075, 0), axes, hips, -1.4)
        length = {"skirt": 0.25, "long skirt": 0.43}.get(look.lower)
        if length:
            self._drape("skirt", length, -0.3)
        if look.coat:
            self._drape("coat", 0.29, -0.2)

    def _drape(self, texture: str, length: float, order: float) -> None:
        """A skirt or coat panel that follows the legs and is wide enough to hide them."""
        broad, joint = self.look.width, "ankle" if length > 0.35 else "knee"
        left, right = (self.joints[f"{name}_{joint}"][:, 0] for name in "lr")
        waist, hem = self._at(0, 0.03, 0), self._at(0, -length, 0)
        hem[:, 0] += 0.85 * ((left + right) / 2 - hem[:, 0])
        self._surface(texture, waist, hem, (0.1 * broad, 0.078 * broad), (1.0,), order, 0.025)
        start = self.parts[-1].half[:, 0]
        end = np.maximum(start * 1.12, np.abs(left - right) / 2 + 0.045 * broad * self.size)
        self.parts[-1].half = np.stack([start, start + 0.4 * (end - start), end], axis=-1)

    def _add_head(self) -> None:
        """Neck, head, hair and the brim of a cap."""
        look, behind = self.look, self.facing > 0.25
        neck = self._at(0, 0.345, 0), self._at(0, 0.4, 0.01)
        self._limb(neck, (0.032, 0.028), look.colours["skin"], 0.1 + 0 * self.facing)
        oval = (0.3, 0.72, 0.9, 0.98, 1.0, 0.99, 0.94, 0.84, 0.66, 0.3)
        axes = (0.05, 0.06)
        self._surface("head", self._at(0, 0.5, 0.012), self._at(0, 0.366, 0.018), axes, oval, 0.5)
        if look.long_hair:
            lock = (0.7, 1.0, 1.05, 1.05, 1.0, 0.9, 0.6)
            order = np.where(behind, 0.05, 0.6)
            self._surface("hair", self._at(0, 0.485, -0.022), self._at(0, 0.29, -0.045),
                          (0.055, 0.045), lock, order)  # fmt: skip
        if look.hat == "cap":
            brim = self._at(0, 0.45, 0.055), self._at(0, 0.444, 0.1)
            order = np.where(self.facing > -0.2, 0.7, 0.4)
            self._limb(brim, (0.022, 0.014), look.colours["hat"] * 0.8, order)

    def _add_bag(self) -> None:
        """Backpack, bag at the hip or bag in the hand."""
        look, side = self.look, self.look.side
        box = (0.7, 0.98, 1.0, 1.0, 1.0, 0.98, 0.85)
        if look.bag == "backpack":
            order = np.where(self.facing > 0.05, -0.4, 0.65)
            self._surface("bag", self._at(0, 0.33, -0.1), self._at(0, 0.06, -0.1),
                          (0.085, 0.055), box, order, 0.01)  # fmt: skip
        elif look.bag == "side bag":
            spot = self._at(side * 0.125 * look.width, 0, 0)
            order = np.where(spot[:, 2] < -0.03, -1.8, 1.2)
            across = side * 0.125 * look.width
            self._surface("bag", self._at(across, 0.05, 0.0), self._at(across, -0.09, 0.0),
                          (0.035, 0.085), box, order, 0.008)  # fmt: skip
        elif look.bag == "hand bag":
            hand = self.joints["l_wrist" if side > 0 else "r_wrist"]
            order = np.where(hand[:, 2] < -0.03, -1.9, 1.2)
            drop = np.array([0, 1, 0]) * self.size
            strap = hand, hand + 0.07 * drop
            self._limb(strap, (0.008, 0.012), look.colours["bag"] * 0.6, order)
            self._surface("bag", hand + 0.06 * drop, hand + 0.19 * drop, (0.03, 0.075), box,
                          order + 0.01, 0.008)  # fmt: skip


_DISC = 1 - np.linspace(-1, 1, 32)[:, None] ** 2 - np.linspace(-1, 1, 128) ** 2
_SHADOW = np.rint(256 - 150 * np.maximum(_DISC, 0) ** 1.5).astype(np.uint16)


def _paint_shadow(canvas: np.ndarray, foot: np.ndarray, size: float, light: int) -> None:
    """Darken the ground under the feet, a little more on the side away from the light."""
    wide, high = int(size * 0.5), int(size * 0.12)
    stamp = cv2.resize(_SHADOW, (wide, high), interpolation=cv2.INTER_NEAREST)
    left = int(foot[0] - wide * (0.5 + 0.1 * light))
    top = int(foot[1] - high * 0.6)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, _W), min(top + high, _H)
    if x0 < x1 and y0 < y1:
        region = canvas[y0:y1, x0:x1]
        dark = stamp[y0 - top : y1 - top, x0 - left : x1 - left, None]
        region[...] = (region * dark) >> 8


# --------------------------------------------------------------------------------- scenes

_BASE = _MARGIN + 150  # row of a panorama where the wall or hedge meets the ground


def _clouds(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Smooth noise of four octaves, about -1 to 1."""
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(4):
        step = max(1, cell >> octave)
        grid = rng.random((shape[0] // step + 2, shape[1] // step + 2), dtype=np.float32) - 0.5
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_LINEAR) / (1 << octave)
    return total


def _tone(colour: tuple, factor: float) -> tuple[int, ...]:
    """A colour made darker or brighter."""
    return tuple(int(min(255, c * factor)) for c in colour)


def _paint_ground(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """Paving: slabs whose rows grow towards the viewer, a kerb and grain."""
    image[_BASE:] = colour
    row, high = _BASE + 8, 9
    cv2.rectangle(image, (0, _BASE), (_PAN_W, _BASE + 8), _tone(colour, 1.15), -1)
    while row < _PAN_H:
        cv2.line(image, (0, row), (_PAN_W, row), _tone(colour, 0.78), 1)
        shift = int(rng.integers(60))
        for x in range(-shift, _PAN_W, 3 * high):
            shade = _tone(colour, float(rng.uniform(0.92, 1.06)))
            cv2.rectangle(image, (x + 1, row + 1), (x + 3 * high - 2, row + high - 1), shade, -1)
        row, high = row + high, high + 5


def _paint_street(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """A brick wall with windows, doors and shop fronts."""
    y, x = np.mgrid[:_BASE, :_PAN_W]
    course = y // 9
    column = (x + 11 * (course % 2)) // 22
    shade = rng.uniform(0.84, 1.12, (_BASE // 9 + 1, _PAN_W // 22 + 2))[course, column]
    mortar = (y % 9 == 0) | ((x + 11 * (course % 2)) % 22 == 0)
    bricks = np.array(colour) * np.where(mortar, 1.18, shade)[..., None]
    image[:_BASE] = np.clip(bricks, 0, 255).astype(np.uint8)
    left = int(rng.integers(10, 60))
    while left < _PAN_W:
        kind, wide = int(rng.integers(3)), int(rng.integers(70, 130))
        paint = tuple(int(c) for c in _free_colour(rng))
        glass = (44 + 20 * kind, 56 + 16 * kind, 70 + 12 * kind)
        top = (_BASE - 130, _BASE - 118, _BASE - 96)[kind]
        bottom = (_BASE - 44, _BASE, _BASE - 12)[kind]
        wide = wide // 2 + 10 if kind == 1 else wide
        cv2.rectangle(image, (left, top), (left + wide, bottom), (214, 208, 198), -1)
        cv2.rectangle(image, (left + 5, top + 5), (left + wide - 5, bottom - 5),
                      paint if kind == 1 else glass, -1)  # fmt: skip
        if kind == 0:
            cv2.line(image, (left + wide // 2, top), (left + wide // 2, bottom), (214, 208, 198), 4)
        if kind == 2:
            cv2.rectangle(image, (left - 6, top - 20), (left + wide + 6, top + 4), paint, -1)
            shine = (left + 12, bottom - 10), (left + wide - 30, top + 14)
            cv2.line(image, *shine, (120, 132, 140), 5)
        left += wide + int(rng.integers(40, 130))
    cv2.rectangle(image, (0, _BASE - 8), (_PAN_W, _BASE), _tone(colour, 0.62), -1)


def _paint_park(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """Sky, trees, a hedge and a fence in front of it."""
    leaves = np.array(colour)
    far = _clouds(rng, (_BASE, _PAN_W), 96)
    sky = np.array((196, 210, 222)) * np.ones((_BASE, _PAN_W, 1))
    trees = leaves * (0.85 + 0.7 * _clouds(rng, (_BASE, _PAN_W), 18))[..., None]
    image[:_BASE] = np.clip(np.where((far > 0.12)[..., None], sky, trees), 0, 255)
    for x in rng.integers(0, _PAN_W, 12):
        cv2.line(image, (int(x), _MARGIN - 40), (int(x) + 4, _BASE), (74, 58, 44), 13)
    top = _BASE - 74
    hedge = leaves * (1.05 + 0.8 * _clouds(rng, (_BASE - top, _PAN_W), 10))[..., None]
    image[top:_BASE] = np.clip(hedge * np.linspace(1.15, 0.7, _BASE - top)[:, None, None], 0, 255)
    rail = (226, 222, 212) if rng.random() < 0.5 else (92, 70, 52)
    for y in (_BASE - 46, _BASE - 18):
        cv2.line(image, (0, y), (_PAN_W, y), rail, 5)
    for x in range(int(rng.integers(40)), _PAN_W, 46):
        cv2.line(image, (x, _BASE - 58), (x, _BASE), rail, 6)


def _paint_props(image: np.ndarray, rng: np.random.Generator) -> None:
    """Lamp posts, bins, bicycles and cars along the wall."""
    x = int(rng.integers(80))
    while x < _PAN_W - 40:
        kind, paint = int(rng.integers(4)), tuple(int(c) for c in _free_colour(rng))
        if kind == 0:
            cv2.line(image, (x, 0), (x, _BASE + 14), (62, 64, 68), 9, cv2.LINE_AA)
            cv2.line(image, (x - 2, 0), (x - 2, _BASE + 14), (110, 112, 116), 2, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, (x, _BASE - 40), (x + 34, _BASE + 16), paint, -1)
            cv2.rectangle(image, (x - 3, _BASE - 47), (x + 37, _BASE - 38), _tone(paint, 0.6), -1)
        elif kind == 2:
            wheels = (x, _BASE - 6), (x + 58, _BASE - 6)
            for wheel in wheels:
                cv2.circle(image, wheel, 21, (32, 32, 34), 3, cv2.LINE_AA)
            frame = np.array([wheels[0], (x + 18, _BASE - 36), (x + 46, _BASE - 40), wheels[1],
                              (x + 46, _BASE - 40), (x + 28, _BASE - 6), wheels[0]])  # fmt: skip
            cv2.polylines(image, [frame.astype(np.int32)], False, paint, 4, cv2.LINE_AA)
        else:
            body = np.array([(0, -20), (6, -42), (44, -48), (72, -76), (140, -76), (172, -46),
                             (200, -40), (204, -14)])  # fmt: skip
            body += (x, _BASE + 14)
            cv2.fillPoly(image, [body.astype(np.int32)], paint, cv2.LINE_AA)
            glass = np.array([(54, -48), (76, -71), (136, -71), (160, -48)])
            glass += (x, _BASE + 14)
            cv2.fillPoly(image, [glass.astype(np.int32)], (58, 68, 78), cv2.LINE_AA)
            for wheel in (42, 162):
                cv2.circle(image, (x + wheel, _BASE), 17, (28, 28, 30), -1, cv2.LINE_AA)
                cv2.circle(image, (x + wheel, _BASE), 8, (150, 150, 152), -1, cv2.LINE_AA)
        x += int(rng.integers(120, 330)) + 130 * (kind == 3)


@lru_cache(maxsize=2 * MAX_CAMERAS)
def _panorama(seed: int, camera: int) -> np.ndarray:
    """The scene of one camera, at the doubled size: [384, 1600, 3]."""
    rng = np.random.default_rng([seed, _STREAMS.index("scene"), 0, camera])
    kind, wall, ground, _ = _SCENES[camera]
    image = np.zeros((_PAN_H, _PAN_W, 3), dtype=np.uint8)
    (_paint_street if kind == "street" else _paint_park)(image, rng, wall)
    _paint_ground(image, rng, ground)
    if kind == "street":  # a zebra crossing on the near side
        for x in range(int(rng.integers(100, 500)), _PAN_W, 90):
            corners = [(x, _PAN_H), (x + 20, _BASE + 46), (x + 62, _BASE + 46), (x + 50, _PAN_H)]
            cv2.fillPoly(image, [np.array(corners, dtype=np.int32)], (216, 214, 206), cv2.LINE_AA)
    _paint_props(image, rng)
    light = 1 + 0.16 * _clouds(rng, (_PAN_H, _PAN_W), 200) + 0.1 * _clouds(rng, (_PAN_H, _PAN_W), 8)
    image = np.clip(np.rint(image * light[..., None]), 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(image, (5, 5), 0)


# ------------------------------------------------------------------------------ tracklets


def _walk(world: World, person: int, camera: int) -> tuple[_Pose, np.ndarray]:
    """The pose, and column and row of the panorama at the crop's corner, frame by frame.

    Gait, direction and place come from one stream, the looseness of the box from another.
    """
    rng, box = _rng(world, "walk", person, camera), _rng(world, "box", person, camera)
    frames = np.arange(world.frames)
    yaw = 0.45 + world.yaw_mix * _CAMERA_YAW[camera] + world.yaw_sd * rng.standard_normal()
    yaw = yaw + 0.03 * (frames - world.frames / 2) * rng.standard_normal()
    cadence = 0.95 + 0.35 * rng.random()
    phase = 2 * math.pi * rng.random() + cadence * frames
    start, pace = rng.random(), 9 + 6 * rng.random()
    scale = math.exp(world.scale_sd * float(np.clip(box.standard_normal(), -2.2, 2.2)))
    sink = float(np.clip(world.vertical_sd * box.standard_normal(), -0.23, 0.23)) * _H
    shake = world.jitter * np.clip(box.standard_normal((world.frames, 2)), -2.5, 2.5)
    shift = shake * (_W, 0.25 * _H) + (0, sink)
    foot = np.array([_W / 2, _FOOT + (scale - 1) * (_FOOT - _H / 2)]) + shift
    travel = pace * frames * np.sin(yaw)
    room = _PAN_W - _W - 40 - np.ptp(travel)
    column = 20 + start * room + travel - travel.min()
    offset = np.stack([column, np.full(world.frames, _MARGIN)], axis=-1) - shift
    light = _SCENES[camera][3][5]
    return _Pose(yaw, phase, foot, _STATURE * scale, light), np.rint(offset).astype(int)


def _stranger(world: World, rng: np.random.Generator, own: _Pose, middle: float, near: bool,
              pace: float) -> _Figure:  # fmt: skip
    """A walker nearer or farther than the person, at the crop's middle at one frame."""
    share = rng.uniform(1.1, 1.25) if near else rng.uniform(0.72, 0.85)
    frames, way = np.arange(world.frames), 1 if rng.random() < 0.5 else -1
    x = _W * (rng.uniform(0.35, 0.65) if near else rng.uniform(-0.1, 1.1))
    row = own.foot[0, 1] + (22 if near else -150 * (1 - share))
    foot = np.stack([x + way * pace * (frames - middle), np.full(world.frames, row)], axis=-1)
    yaw = np.full(world.frames, way * (math.pi / 2 - 0.4 * rng.random()))
    phase = 2 * math.pi * rng.random() + 1.1 * frames
    return _Figure(_draw_look(rng, world), _Pose(yaw, phase, foot, own.size * share, own.light))


def _behind(world: World, person: int, camera: int, own: _Pose) -> list[_Figure]:
    """One to three walkers behind the person, in a share of the tracklets, farthest first."""
    rng = _rng(world, "clutter", person, camera)
    if rng.random() >= world.clutter:
        return []
    figures = [
        _stranger(world, rng, own, world.frames / 2, False, rng.uniform(2, 8))
        for _ in range(rng.integers(1, 4))
    ]
    return sorted(figures, key=lambda figure: figure.pose.size)


def _in_front(world: World, person: int, camera: int, own: _Pose, slide: np.ndarray) -> list:
    """What stands or passes in front: pairs of the frames concerned and a thing to paint."""
    rng = _rng(world, "occlusion", person, camera)
    if rng.random() >= world.occlusion:
        return []
    found = []
    for _ in range(rng.integers(1, 3)):
        length = max(1, round(rng.uniform(0.3, 0.5) * world.frames))
        first = int(rng.integers(world.frames - length + 1))
        kind = _pick(rng, ("walker", "railing", "pole", "wall"))
        if kind == "walker":
            pace = rng.uniform(0.5, 0.8) * _W / length
            thing = _stranger(world, rng, own, first + (length - 1) / 2, True, pace)
        else:
            thing = _Barrier(kind, rng, slide - slide[first])
        found.append((range(first, first + length), thing))
    return found


class _Barrier:
    """A railing, a pole or a low wall: boxes of four corners and a brightness."""

    def __init__(self, kind: str, rng: np.random.Generator, slide: np.ndarray) -> None:
        """Draw colour, place and size; ``slide``: shift of the scene, which a pole follows."""
        self.colour = np.array(_pick(rng, _COMMON)) * 0.6 + rng.uniform(30, 60, 3)
        place, thick = rng.uniform(0.2, 0.8), rng.uniform()
        self.slide = slide if kind == "pole" else 0 * slide
        if kind == "pole":
            left, wide = place * _W, 16 + 16 * thick
            edges = ((0.0, 1.0, 1.0), (0.2, 0.35, 1.25), (0.75, 1.0, 0.6))
            self.boxes = [(left + a * wide, 0, left + b * wide, _H, tone) for a, b, tone in edges]
        elif kind == "railing":
            rows = [_H * (0.42 + 0.25 * place) + gap for gap in (0, 30)]
            self.boxes = [(0, row, _W, row + 12 + 8 * thick, 1.0) for row in rows]
            self.boxes += [(0, row, _W, row + 4, 1.25) for row in rows]
        else:
            top = _H * (0.62 + 0.16 * thick)
            self.boxes = [(0, top, _W, _H, 1.0), (0, top, _W, top + 10, 1.25)]
            self.boxes += [(0, top + gap, _W, top + gap + 1, 0.6) for gap in range(26, 100, 22)]

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Draw the barrier into one frame."""
        move = int(self.slide[frame])
        for left, top, right, bottom, tone in self.boxes:
            corners = (int(left) - move, int(top)), (int(right) - move, int(bottom))
            cv2.rectangle(canvas, *corners, _tone(tuple(self.colour), tone), -1)


def _curves(world: World, person: int, camera: int) -> np.ndarray:
    """Tone curves of a tracklet, frame by frame: uint8 [frames, 256, 3]."""
    rng = _rng(world, "light", person, camera)
    drift = np.exp(world.illumination * rng.standard_normal(5))
    flicker = np.exp(0.25 * world.illumination * rng.standard_normal(world.frames))
    gamma, gain, *cast, _ = _SCENES[camera][3]
    power = gamma**world.camera_gap * drift[0]
    colour = (gain * np.array(cast)) ** world.camera_gap * drift[1] * drift[2:]
    level = (np.arange(256) / 255.0) ** power
    curves = 255 * level[None, :, None] * colour * flicker[:, None, None]
    return np.rint(np.clip(curves, 0, 255)).astype(np.uint8)


def render_tracklet(world: World, person: int, camera: int) -> np.ndarray:
    """Draw one walk past one camera.

    Args:
        world: the knobs.
        person: number of the person, from 1.
        camera: number of the camera, from 0.

    Returns:
        RGB frames, uint8 [frames, 128, 64, 3].
    """
    if not (1 <= person <= world.identities and 0 <= camera < world.cameras):
        raise ValueError(f"no person {person} or no camera {camera} in {world}")
    pose, offset = _walk(world, person, camera)
    figure = _Figure(_draw_look(_rng(world, "look", person), world), pose)
    behind = _behind(world, person, camera, pose)
    front = _in_front(world, person, camera, pose, offset[:, 0])
    curves, noise = _curves(world, person, camera), _rng(world, "noise", person, camera)
    scene = _panorama(world.seed, camera)
    frames = np.empty((world.frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame, (column, row) in enumerate(offset):
        canvas = scene[row : row + _H, column : column + _W].copy()
        for layer in (*behind, figure, *(it for window, it in front if frame in window)):
            layer.paint(canvas, frame)
        small = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (3, 3), 0.5 + 0.1 * (camera % 3))
        toned = cv2.LUT(soft, curves[frame][None])
        grain = np.rint(2.5 * noise.standard_normal(toned.shape, dtype=np.float32))
        frames[frame] = np.clip(toned + grain, 0, 255)
    return frames


# ----------------------------------------------------------------------------------- disk


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


def _two_camera_names(world: World) -> Iterator[tuple[int, int, str]]:
    """Person, camera and PRID2011's name of the frames of each tracklet, to be given a number."""
    for camera in range(world.cameras):
        for person in range(1, world.identities + 1):
            folder = f"multi_shot/cam_{'abcdefgh'[camera]}/person_{person:04d}"
            yield person, camera, folder + "/{0:04d}.png"


def _divided_names(world: World) -> Iterator[tuple[int, int, str]]:
    """As DukeMTMC-VideoReID names them: the first half of the people trains.

    Of the others all tracklets are the gallery, and the first one is the query too.
    """
    for person in range(1, world.identities + 1):
        for visit, camera in enumerate(route(world, person)):
            subsets = ("train",)
            if person > world.identities // 2:
                subsets = ("gallery",) if visit else ("query", "gallery")
            place = f"{person:04d}/{visit + 1:04d}/{person:04d}_C{camera + 1}"
            for subset in subsets:
                yield person, camera, f"{subset}/{place}" + "_F{0:04d}_X{0:05d}.png"


def write(world: World, root: Path, progress: bool = False) -> Path:
    """Draw a whole world to disk in a real data set's layout, or leave it alone where it exists.

    The folder appears under its name only when it is complete. Where every camera sees everybody,
    the layout is PRID2011's, ``root/multi_shot/cam_a/person_0001/0001.png``; else that of
    DukeMTMC-VideoReID, ``root/train/0001/0001/0001_C6_F0001_X00001.png``, beside ``query`` and
    ``gallery``.

    Args:
        world: the knobs.
        root: folder to create.
        progress: show a progress bar.

    Returns:
        ``root``.
    """
    root = Path(root)
    if root.exists():
        return root
    partial = root.with_name(f".{root.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        names = list((_divided_names if world.seen_by else _two_camera_names)(world))
        for person, camera, name in tqdm(names, "drawing", disable=not progress):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            for number, frame in enumerate(render_tracklet(world, person, camera), start=1):
                file = str(partial / name.format(number))
                if not cv2.imwrite(file, frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                    raise OSError(f"cannot write {file}")
        os.replace(partial, root)
    except OSError:
        if not root.exists():  # unless another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root
