"""One walking person as a drawing: the look, the skeleton, and how both are painted.

A look is a stature, a build, skin, hair, garments with a pattern, shoes and a bag; the skeleton
walks; limbs are shaded capsules, garments are textures draped around the body, painted from far to
near on a canvas of twice the crop's size.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import cv2
import numpy as np

HEIGHT, WIDTH = 128, 64
_ZOOM = 2  # people are drawn at twice the size, then averaged
H, W = HEIGHT * _ZOOM, WIDTH * _ZOOM
_PITCH = 0.13  # cameras look slightly down: nearer points appear lower
_ROWS, _COLUMNS = 64, 96  # texture of a draped surface: height, angle around the body
_STEPS = 64  # quantisation of the visible half turn
BACKGROUND, HEAD, TORSO, LEGS = range(4)  # regions of the body, see Figure.regions
# Of each texel: 0 (top) to 1, and -pi to pi (0 = front, positive = the person's left).
_TALL, _ANGLE = np.mgrid[:_ROWS, :_COLUMNS]
_TALL, _ANGLE = (_TALL + 0.5) / _ROWS, ((_ANGLE * 2 / _COLUMNS + 1) % 2 - 1) * math.pi
_FRONT = np.abs(_ANGLE)

COMMON = (
    (30, 30, 34), (36, 44, 78), (112, 114, 118), (206, 204, 198), (178, 156, 120),
    (66, 90, 130), (80, 58, 44), (128, 34, 40),
)  # fmt: skip
_SKINS = ((238, 200, 172), (222, 178, 146), (196, 150, 116), (150, 106, 78), (98, 68, 52))
_HAIRS = ((26, 22, 22), (58, 40, 30), (96, 66, 42), (170, 130, 78), (120, 118, 116), (132, 62, 34))
_PATTERNS = ("plain", "plain", "rows", "columns", "check", "logo", "halves", "open", "open")
_BOTTOMS = ("trousers", "trousers", "trousers", "shorts", "skirt", "long skirt")
_BAGS = ("none", "none", "backpack", "backpack", "side bag", "hand bag")
_HATS = ("none", "none", "none", "none", "cap", "beanie")


@dataclass
class Look:
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


def pick(rng: np.random.Generator, items: tuple) -> Any:
    """One item of a tuple."""
    return items[int(rng.integers(len(items)))]


def free_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour of any hue, from pale to saturated, from dark to bright."""
    hue, saturation, value = rng.integers(180), rng.integers(40, 190), rng.integers(55, 215)
    pixel = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def draw_look(rng: np.random.Generator, shared: float, spread: float) -> Look:
    """Draw one person's look; the two arguments, of garments' colours, do not shift the stream.

    A garment's colour is of the small common palette with probability ``shared``, else any.
    """
    size, colours = rng.random(5), {}
    for name in ("top", "second", "bottom", "shoe", "bag", "hat"):
        common, free = np.array(pick(rng, COMMON)), free_colour(rng)
        chosen = common if rng.random() < shared else free
        colours[name] = np.clip(chosen + spread * rng.standard_normal(3), 12, 240)
    for name, choice in (("skin", _SKINS), ("hair", _HAIRS)):
        colours[name] = np.array(pick(rng, choice), dtype=np.float64)
    colours["shoe"] *= 0.6
    top = colours["top"]
    if np.abs(colours["second"] - top).sum() < 120:  # a pattern has to be visible
        colours["second"] = 0.35 * top if top.mean() > 120 else 255 - 0.4 * top
    pattern, lower, bag, hat = (pick(rng, kind) for kind in (_PATTERNS, _BOTTOMS, _BAGS, _HATS))
    long_hair, sleeves, coat, left = (rng.random(4) < (0.4, 0.7, 0.15, 0.5)).tolist()
    look = Look(
        height=0.93 + 0.11 * size[0], width=0.86 + 0.34 * size[1], leg=0.95 + 0.1 * size[2],
        stride=(0.36 + 0.14 * size[3]) * (0.6 if lower == "long skirt" else 1.0),
        shape=0.08 * (2 * size[4] - 1), colours=colours, pattern=pattern, lower=lower, bag=bag,
        hat=hat, long_hair=long_hair, sleeves=sleeves or coat or pattern == "open", coat=coat,
        side=1 if left else -1,
    )  # fmt: skip
    weave = rng.standard_normal((8, 12)).astype(np.float32)
    look.textures = _textures(look, cv2.resize(weave, (_COLUMNS, _ROWS)))
    return look


def _textures(look: Look, weave: np.ndarray) -> dict[str, np.ndarray]:
    """Cloth, hair and face as pictures of height (rows) and angle around the body (columns)."""
    plain = np.ones((_ROWS, _COLUMNS, 3))
    flap, hem = (np.where(edge, 0.75, 1.0)[..., None] for edge in (_TALL < 0.3, _TALL > 0.95))
    slit = np.where(_FRONT < 0.06 + 0.14 * _TALL, 0.45, 1.0)[..., None]
    pleats = (1 + 0.1 * np.sin(_ANGLE * 10))[..., None]
    made = {
        "torso": _garment(look),
        "coat": look.colours["top"] * slit * hem,
        "skirt": look.colours["bottom"] * pleats * hem,
        "bottom": plain * look.colours["bottom"],
        "hair": plain * look.colours["hair"],
        "bag": flap * look.colours["bag"],
    }
    made = {name: cloth * (1 + 0.07 * weave[..., None]) for name, cloth in made.items()}
    made["head"] = _head(look)
    return {name: np.clip(np.rint(t), 0, 255).astype(np.uint16) for name, t in made.items()}


def _garment(look: Look) -> np.ndarray:
    """The top with its pattern, neckline, hem and the straps of a bag."""
    turn = np.floor(_ANGLE / math.pi * 9 + 9)
    masks = {
        "plain": np.zeros_like(_FRONT, dtype=bool),
        "rows": np.floor(_TALL * 9) % 2 == 1,
        "columns": turn % 2 == 1,
        "check": (np.floor(_TALL * 8) + turn) % 2 == 1,
        "logo": (_FRONT < 0.62) & (_TALL > 0.24) & (_TALL < 0.52),
        "halves": _TALL > 0.52,
        "open": (_FRONT < 0.3 + 0.25 * _TALL),
    }
    cloth = np.where(masks[look.pattern][..., None], look.colours["second"], look.colours["top"])
    if look.pattern == "open":
        cloth[np.abs(_FRONT - 0.3 - 0.25 * _TALL) < 0.09] = look.colours["top"] * 0.55
    cloth[(_TALL > 0.95) | (_TALL < 0.05)] *= 0.75
    cloth[_FRONT < 0.75 - 6.5 * _TALL] = look.colours["skin"]
    straps = {
        "backpack": (np.abs(_FRONT - 0.72) < 0.15) & (_TALL < 0.62),
        "side bag": np.abs(_TALL - 0.5 - 0.46 * look.side * np.sin(_ANGLE)) < 0.045,
    }
    if look.bag in straps:
        cloth[straps[look.bag]] = look.colours["bag"] * 0.6
    return cloth


def _head(look: Look) -> np.ndarray:
    """Face in front, hair above and behind, perhaps a hat."""
    skin = np.broadcast_to(look.colours["skin"], (_ROWS, _COLUMNS, 3)).copy()
    skin[(np.abs(_TALL - 0.5) < 0.04) & (np.abs(_FRONT - 0.38) < 0.16)] *= 0.4
    skin[(np.abs(_TALL - 0.78) < 0.03) & (_FRONT < 0.26)] *= np.array([0.8, 0.55, 0.55])
    skin[(_TALL > 0.55) & (_TALL < 0.66) & (_FRONT < 0.12)] *= 0.86
    hairline = np.where(_FRONT < 1.0, 0.27 + 0.1 * _FRONT, 0.37 + 0.8 * (_FRONT - 1.0))
    skin[np.minimum(hairline, 0.86) > _TALL] = look.colours["hair"]
    if look.hat != "none":
        skin[_TALL < 0.4] = look.colours["hat"]
        skin[(_TALL > 0.33) & (_TALL < 0.4)] *= 0.7
    return skin


@dataclass
class Pose:
    """Where and how a person walks: one entry a frame, pixels of the doubled crop."""

    yaw: np.ndarray
    phase: np.ndarray
    foot: np.ndarray  # [frames, 2]
    size: float
    light: int


def _leg(look: Look, phase: np.ndarray, side: int) -> dict[str, tuple]:
    """Hip, knee, ankle, heel and toe of one leg, hip at height 0."""
    swing = look.stride * np.sin(phase) + 0.04
    bend = 0.1 + 2.2 * look.stride * np.maximum(0, np.cos(phase + 0.45)) ** 2
    thigh, shank, across = 0.245 * look.leg, 0.235 * look.leg, side * 0.047 * look.width
    knee = (across, -thigh * np.cos(swing), thigh * np.sin(swing))
    low = swing - bend
    ankle = (across, knee[1] - shank * np.cos(low), knee[2] + shank * np.sin(low))
    tilt = 0.6 * low + 0.08
    up, sine, cosine = ankle[1] - 0.022, np.sin(tilt), np.cos(tilt)
    toe = (across + side * 0.015, up + 0.11 * sine, ankle[2] + 0.11 * cosine)
    heel = (across, up - 0.03 * sine, ankle[2] - 0.03 * cosine)
    hip = (across, 0 * swing, 0 * swing)
    return {"hip": hip, "knee": knee, "ankle": ankle, "heel": heel, "toe": toe}


def _arm(look: Look, phase: np.ndarray, side: int) -> dict[str, tuple]:
    """Shoulder, elbow and wrist of one arm, hip at height 0; swings against the leg."""
    swing = -0.9 * look.stride * np.sin(phase)
    fore = swing + 0.3 + 0.25 * np.maximum(0, -np.sin(phase))
    across, up, turn = side * (0.094 * look.width + 0.1 * look.shape), 0.312, -0.02 * np.sin(phase)
    elbow = (across + side * 0.02, up - 0.16 * np.cos(swing), turn + 0.16 * np.sin(swing))
    wrist = (across + side * 0.018, elbow[1] - 0.14 * np.cos(fore), elbow[2] + 0.14 * np.sin(fore))
    return {"shoulder": (across, up + 0 * swing, turn), "elbow": elbow, "wrist": wrist}


def _skeleton(look: Look, phase: np.ndarray) -> dict[str, tuple]:
    """All joints (left, up, forward) in statures, hip at height 0; left and right in turn."""
    joints: dict[str, tuple] = {}
    for name, side in (("l", 1), ("r", -1)):
        step = phase + (0 if side > 0 else math.pi)
        both = _leg(look, step, side) | _arm(look, step, side)
        joints |= {f"{name}_{part}": place for part, place in both.items()}
    return joints


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
        """Draw one frame, dark layer first and over all links, so that no joint shows."""
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
        rows = np.arange(max(0, int(y0)), min(H, int(y1 + self.bow) + 1))
        height = (rows + 0.5 - y0) / max(y1 - y0, 1e-6)
        half = np.interp(height, np.linspace(0, 1, self.half.shape[1]), self.half[frame])
        middle = x0 + (x1 - x0) * height
        left = max(0, int((middle - half).min(initial=W)))
        right = min(W, int((middle + half).max(initial=0)) + 2)
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


class Layer(Protocol):
    """Something that is painted over what is there already."""

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Draw one frame of it on a canvas, uint8 RGB [H, W, 3]."""


def hidden(layer: Layer, frame: int) -> np.ndarray:
    """Tell which pixels a layer hides in one frame: bool [H, W] of the doubled crop.

    What looks alike on black and on white is hidden; a shadow, which only darkens, hides nothing.
    """
    black, white = (np.full((H, W, 3), tone, dtype=np.uint8) for tone in (0, 255))
    layer.paint(black, frame)
    layer.paint(white, frame)
    return white[..., 0] - black[..., 0] < 64  # of 255; the darkest shadow lets 105 through


class Figure:
    """One walking person, laid out for all frames, ready to be painted frame by frame."""

    def __init__(self, look: Look, pose: Pose) -> None:
        """Lay out limbs and surfaces."""
        self.look, self.pose = look, pose
        self.size, self.facing = pose.size * look.height, np.cos(pose.yaw)
        joints = _skeleton(look, pose.phase)
        feet = [joints[f"{side}_{part}"][1] for side in "lr" for part in ("heel", "toe")]
        self.hip = 0.018 - np.min(feet, axis=0)  # the lower foot stands on the ground
        self.joints = dict(zip(joints, self._at(*joints.values()), strict=True))
        self.parts: list[_Limb | _Surface] = []
        self.part_regions: list[int] = []
        for name in "lr":
            self._add(LEGS, self._add_leg, name)
            self._add(TORSO, self._add_arm, name)
        self._add(TORSO, self._add_torso)
        self._add(LEGS, self._add_skirts)
        self._add(HEAD, self._add_head)
        self._add(TORSO, self._add_bag)

    def _add(self, region: int, build: Callable[..., None], *which: str) -> None:
        """Lay out some parts and note the region of the body that they belong to."""
        build(*which)
        self.part_regions += [region] * (len(self.parts) - len(self.part_regions))

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Draw shadow and body, far parts first."""
        _paint_shadow(canvas, self.pose.foot[frame], self.size, self.pose.light)
        for part in sorted(self.parts, key=lambda part: part.order[frame]):
            part.paint(canvas, frame)

    def regions(self, frame: int) -> np.ndarray:
        """Tell what each pixel of the doubled crop shows of the body: uint8 [H, W].

        0 nothing; 1 the head with neck, hair and hat; 2 the torso with arms, hands and bag; 3 the
        legs with whatever hangs below the waist.
        """
        found = np.full((H, W), BACKGROUND, dtype=np.uint8)
        pairs = zip(self.parts, self.part_regions, strict=True)
        for part, region in sorted(pairs, key=lambda pair: pair[0].order[frame]):
            found[hidden(part, frame)] = region
        return found

    def _limb(self, points: Sequence[np.ndarray], radii: tuple[float, ...],
              colour: np.ndarray, order: np.ndarray) -> None:  # fmt: skip
        """Add capsules through projected joints; radii in statures."""
        tones = [tuple(int(c) for c in np.clip(np.rint(colour * b), 0, 255)) for *_, b in _LAYERS]
        pixels = [radius * self.size for radius in radii]
        ends = zip(pairwise(points), pairwise(pixels), strict=True)
        links = [_capsules(a[:, :2], b[:, :2], thick, self.pose.light) for (a, b), thick in ends]
        self.parts.append(_Limb(order, links, tones))

    def _surface(self, texture: str, ends: Sequence[np.ndarray], axes: tuple[float, float],
                 profile: Sequence[float], order: float | np.ndarray,
                 bow: float = 0.0) -> _Surface:  # fmt: skip
        """Add a surface draped between two points; axes: half-width, half-depth in statures."""
        yaw = self.pose.yaw
        half = self.size * np.sqrt((axes[0] * np.cos(yaw)) ** 2 + (axes[1] * np.sin(yaw)) ** 2)
        turn = np.rint(-yaw / (2 * math.pi) * _COLUMNS).astype(np.int64)
        top, bottom = (end[:, :2] for end in ends)
        made = _Surface(
            np.broadcast_to(np.asarray(order, float), yaw.shape), self.look.textures[texture],
            top, bottom, half[:, None] * profile, turn, bow * self.size, self.pose.light,
        )  # fmt: skip
        self.parts.append(made)
        return made

    def _at(self, *points: tuple) -> list[np.ndarray]:
        """Project points (left, up, forward from mid-hip) to x, y and nearness: [frames, 3]."""
        sine, placed = np.sin(self.pose.yaw), []
        for left, up, forward in points:
            near = forward * self.facing - left * sine
            x = self.pose.foot[:, 0] + self.size * (left * self.facing + forward * sine)
            y = self.pose.foot[:, 1] - self.size * (up + self.hip - _PITCH * near)
            placed.append(np.stack(np.broadcast_arrays(x, y, near), axis=-1))
        return placed

    def _add_leg(self, name: str) -> None:
        """Shoe, bare leg, and the trouser leg over it."""
        look, j, colours = self.look, self.joints, self.look.colours
        leg = [j[f"{name}_{part}"] for part in ("hip", "knee", "ankle")]
        hip, knee, _ = leg
        order, broad = -1 + 0.5 * knee[:, 2], look.width**0.5
        sole = j[f"{name}_heel"], j[f"{name}_toe"]
        self._limb(sole, (0.021, 0.016), colours["shoe"], order - 0.02)
        if look.lower == "trousers":
            self._limb(leg, (0.055 * broad, 0.041 * broad, 0.028 * broad), colours["bottom"], order)
        else:
            self._limb(leg, (0.05 * broad, 0.034 * broad, 0.02 * broad), colours["skin"], order)
        if look.lower == "shorts":
            half = hip, hip + 0.9 * (knee - hip)
            self._limb(half, (0.057 * broad, 0.046 * broad), colours["bottom"], order + 0.01)

    def _add_arm(self, name: str) -> None:
        """Hand, forearm and upper arm; behind all when on the far side."""
        look, colours = self.look, self.look.colours
        arm = [self.joints[f"{name}_{part}"] for part in ("shoulder", "elbow", "wrist")]
        shoulder, elbow, wrist = arm
        order = np.where(shoulder[:, 2] < -0.045, -2.0, 1.0)
        hand = wrist, wrist + 0.24 * (wrist - elbow)
        self._limb(hand, (0.016, 0.014), colours["skin"], order)
        if look.sleeves:
            self._limb(arm, (0.032, 0.028, 0.022), colours["top"], order + 0.01)
        else:
            self._limb(arm, (0.027, 0.024, 0.018), colours["skin"], order + 0.01)
            sleeve = shoulder, shoulder + 0.62 * (elbow - shoulder)
            self._limb(sleeve, (0.032, 0.031), colours["top"], order + 0.02)

    def _axes(self) -> tuple[float, float]:
        """Half-width and half-depth of the trunk, in statures."""
        return 0.1 * self.look.width, 0.07 * self.look.width

    def _add_torso(self) -> None:
        """The trunk in its top."""
        look = self.look
        taper = look.shape * np.linspace(1, -1, 12)  # broad shoulders or broad hips
        form = np.array((0.36, 0.66, 0.93, 1.07, 1.08, 1.04, 1.0, 0.97, 0.95, 0.96, 0.99, 1.02))
        trunk = self._at((0, 0.368, 0), (0, -0.035, 0))
        self._surface("torso", trunk, self._axes(), (form * (1 + taper)).tolist(), 0, 0.02)

    def _add_skirts(self) -> None:
        """What hangs below the trunk, drawn over the legs."""
        look = self.look
        if look.lower in ("trousers", "shorts"):
            hips = self._at((0, 0.04, 0), (0, -0.075, 0))
            self._surface("bottom", hips, self._axes(), (0.95, 1.0, 0.98, 0.8, 0.4), -1.4)
        else:
            self._drape("skirt", 0.25 if look.lower == "skirt" else 0.43, -0.3)
        if look.coat:
            self._drape("coat", 0.29, -0.2)

    def _drape(self, texture: str, length: float, order: float) -> None:
        """A skirt or coat panel that follows the legs and is wide enough to hide them."""
        broad, joint = self.look.width, "ankle" if length > 0.35 else "knee"
        left, right = (self.joints[f"{name}_{joint}"][:, 0] for name in "lr")
        waist, hem = self._at((0, 0.03, 0), (0, -length, 0))
        hem[:, 0] += 0.85 * ((left + right) / 2 - hem[:, 0])
        axes = (0.1 * broad, 0.078 * broad)
        panel = self._surface(texture, (waist, hem), axes, (1.0,), order, 0.025)
        start = panel.half[:, 0]
        end = np.maximum(start * 1.12, np.abs(left - right) / 2 + 0.045 * broad * self.size)
        panel.half = np.stack([start, start + 0.4 * (end - start), end], axis=-1)

    def _add_head(self) -> None:
        """Neck, head, hair and the brim of a cap."""
        look, colours = self.look, self.look.colours
        neck = self._at((0, 0.345, 0), (0, 0.4, 0.01))
        self._limb(neck, (0.032, 0.028), colours["skin"], 0.1 + 0 * self.facing)
        oval = (0.3, 0.72, 0.9, 0.98, 1.0, 0.99, 0.94, 0.84, 0.66, 0.3)
        self._surface("head", self._at((0, 0.5, 0.012), (0, 0.366, 0.018)), (0.05, 0.06), oval, 0.5)
        if look.long_hair:
            ends = self._at((0, 0.485, -0.022), (0, 0.29, -0.045))
            lock = (0.7, 1.0, 1.05, 1.05, 1.0, 0.9, 0.6)
            order = np.where(self.facing > 0.25, 0.05, 0.6)
            self._surface("hair", ends, (0.055, 0.045), lock, order)
        if look.hat == "cap":
            brim = self._at((0, 0.45, 0.055), (0, 0.444, 0.1))
            order = np.where(self.facing > -0.2, 0.7, 0.4)
            self._limb(brim, (0.022, 0.014), colours["hat"] * 0.8, order)

    def _add_bag(self) -> None:
        """Backpack, bag at the hip or bag in the hand."""
        look, side = self.look, self.look.side
        box = (0.7, 0.98, 1.0, 1.0, 1.0, 0.98, 0.85)
        if look.bag == "backpack":
            ends = self._at((0, 0.33, -0.1), (0, 0.06, -0.1))
            order = np.where(self.facing > 0.05, -0.4, 0.65)
            self._surface("bag", ends, (0.085, 0.055), box, order, 0.01)
        elif look.bag == "side bag":
            across = side * 0.125 * look.width
            spot, *ends = self._at((across, 0, 0), (across, 0.05, 0), (across, -0.09, 0))
            order = np.where(spot[:, 2] < -0.03, -1.8, 1.2)
            self._surface("bag", ends, (0.035, 0.085), box, order, 0.008)
        elif look.bag == "hand bag":
            hand = self.joints["l_wrist" if side > 0 else "r_wrist"]
            order = np.where(hand[:, 2] < -0.03, -1.9, 1.2)
            drop = np.array([0, 1, 0]) * self.size
            ends = [hand + 0.06 * drop, hand + 0.19 * drop]
            self._limb((hand, hand + 0.07 * drop), (0.008, 0.012), look.colours["bag"] * 0.6, order)
            self._surface("bag", ends, (0.03, 0.075), box, order + 0.01, 0.008)


_DISC = 1 - np.linspace(-1, 1, 32)[:, None] ** 2 - np.linspace(-1, 1, 128) ** 2
_SHADOW = np.rint(256 - 150 * np.maximum(_DISC, 0) ** 1.5).astype(np.uint16)


def _paint_shadow(canvas: np.ndarray, foot: np.ndarray, size: float, light: int) -> None:
    """Darken the ground under the feet, a little more on the side away from the light."""
    wide, high = int(size * 0.5), int(size * 0.12)
    stamp = cv2.resize(_SHADOW, (wide, high), interpolation=cv2.INTER_NEAREST)
    left = int(foot[0] - wide * (0.5 + 0.1 * light))
    top = int(foot[1] - high * 0.6)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, W), min(top + high, H)
    if x0 < x1 and y0 < y1:
        region = canvas[y0:y1, x0:x1]
        dark = stamp[y0 - top : y1 - top, x0 - left : x1 - left, None]
        region[...] = np.right_shift(region * dark, 8)
