"""One walking person as a drawing: the look, the skeleton, and how both are painted.

A look is a stature, a build, skin, hair, garments with a pattern, shoes and a bag; the skeleton
walks; limbs, trunk, head and garments are tubes with a texture around them, painted from far to
near on a canvas of twice the crop's size.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np

HEIGHT, WIDTH = 128, 64
_ZOOM = 2  # people are drawn at twice the size, then averaged
H, W = HEIGHT * _ZOOM, WIDTH * _ZOOM
_PITCH = 0.13  # cameras look slightly down: nearer points appear lower
_ROWS, _COLUMNS = 64, 96  # texture of a tube: height, angle around the body
_HIDES = 0.75  # what covers more than this share of a pixel hides what is behind it
Paint = Callable[[np.ndarray, int], None]  # draws a frame's part on a canvas, uint8 RGB [H, W, 3]
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
_BODY = ("shoe", "hand", "hips", "torso", "neck", "head")  # what everybody has
_BOTTOMS = ("trousers", "trousers", "trousers", "shorts", "skirt", "long skirt")
_BAGS = ("no bag", "no bag", "backpack", "backpack", "side bag", "hand bag")
_HATS = ("no hat", "no hat", "no hat", "no hat", "cap", "beanie")

# Limbs: region, texture, joints, and radii in statures.
_LEG, _ARM = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")
_LIMBS: dict[str, tuple[int, str, tuple[str, ...], tuple[float, ...]]] = {
    "shoe": (LEGS, "shoe", ("heel", "toe"), (0.021, 0.016)),
    "trousers": (LEGS, "bottom", _LEG, (0.055, 0.041, 0.028)),
    "bare leg": (LEGS, "skin", _LEG, (0.05, 0.034, 0.02)),
    "shorts": (LEGS, "bottom", ("hip", "thigh"), (0.057, 0.046)),
    "hand": (TORSO, "skin", ("wrist", "hand"), (0.016, 0.014)),
    "sleeve": (TORSO, "top", _ARM, (0.032, 0.028, 0.022)),
    "bare arm": (TORSO, "skin", _ARM, (0.027, 0.024, 0.018)),
    "short sleeve": (TORSO, "top", ("shoulder", "upper arm"), (0.032, 0.031)),
}
# Bodies of revolution: region, texture; upper and lower end of the axis (left, up, forward from the
# hips), half-width and half-depth, in statures; their profile downwards; and the order of painting
# on the far side of the person and on the near side.
_CASE = (0.7, 0.98, 1.0, 1.0, 1.0, 0.98, 0.85)
_BODIES: dict[str, tuple] = {
    "hips": (LEGS, "bottom", (0, 0.04, 0), (0, -0.075, 0), (0.1, 0.07),
             (0.95, 1.0, 0.98, 0.8, 0.4), (-1.4, -1.4)),
    "torso": (TORSO, "torso", (0, 0.368, 0), (0, -0.035, 0), (0.1, 0.07),
              (0.36, 0.66, 0.93, 1.07, 1.08, 1.04, 1.0, 0.97, 0.95, 0.96, 0.99, 1.02), (0, 0)),
    "backpack": (TORSO, "bag", (0, 0.33, -0.1), (0, 0.06, -0.1), (0.083, 0.054),
                 _CASE, (-0.4, 0.65)),
    "side bag": (TORSO, "bag", (0.125, 0.05, 0), (0.125, -0.09, 0), (0.034, 0.083),
                 _CASE, (-1.8, 1.2)),
    "hand bag": (TORSO, "bag", (0.1, 0, 0), (0.1, -0.15, 0), (0.03, 0.073),
                 (0.15, 0.2, *_CASE), (-1.9, 1.2)),
    "neck": (HEAD, "skin", (0, 0.42, 0.01), (0, 0.32, 0), (0.031, 0.031), (0.9, 1.0), (0.1, 0.1)),
    "head": (HEAD, "head", (0, 0.5, 0.012), (0, 0.366, 0.018), (0.05, 0.06),
             (0.3, 0.72, 0.9, 0.98, 1.0, 0.99, 0.94, 0.84, 0.66, 0.3), (0.5, 0.5)),
    "long hair": (HEAD, "hair", (0, 0.485, -0.022), (0, 0.29, -0.045), (0.055, 0.045),
                  (0.7, 1.0, 1.05, 1.05, 1.0, 0.9, 0.6), (0.05, 0.6)),
    "cap": (HEAD, "hat", (0, 0.452, 0.05), (0, 0.438, 0.11), (0.034, 0.01), (1, 1), (0.4, 0.7)),
}  # fmt: skip
# What hangs below the waist and follows the legs: texture, joint it covers, length, order.
_DRAPES = {
    "skirt": ("skirt", "knee", 0.25, -0.3),
    "long skirt": ("skirt", "ankle", 0.43, -0.3),
    "coat": ("coat", "knee", 0.29, -0.2),
}


@dataclass
class Look:
    """What a person looks like wherever they are seen: sizes as factors of the usual ones."""

    height: float
    width: float
    leg: float
    stride: float  # swing of the legs in radians
    shape: float  # broad shoulders (positive) or broad hips
    side: int  # where a bag is carried, 1: left, -1: right
    worn: set[str]  # names of limbs, bodies and drapes, and a hat
    pattern: str
    colours: dict[str, np.ndarray]  # skin, hair, top, second, bottom, shoe, bag, hat
    textures: dict[str, np.ndarray] = field(default_factory=dict)


def pick(rng: np.random.Generator, items: tuple) -> Any:
    """One item of a tuple."""
    return items[int(rng.integers(len(items)))]


def free_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour of any hue, from pale to saturated, from dark to bright."""
    hue, saturation, value = rng.integers(180), rng.integers(40, 190), rng.integers(55, 215)
    pixel = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def draw_look(rng: np.random.Generator, shared: float) -> Look:
    """Draw one person's look.

    A garment's colour is about one of the small common palette with probability ``shared``, else
    any; the stream of random numbers is the same.
    """
    size, colours = rng.random(5).tolist(), {}
    for name in ("top", "second", "bottom", "shoe", "bag", "hat"):
        common, free = np.array(pick(rng, COMMON)), free_colour(rng)
        chosen = common if rng.random() < shared else free
        colours[name] = np.clip(chosen + 14 * rng.standard_normal(3), 12, 240)
    for name, choice in (("skin", _SKINS), ("hair", _HAIRS)):
        colours[name] = np.array(pick(rng, choice), dtype=np.float64)
    colours["shoe"] *= 0.6
    top = colours["top"]
    if np.abs(colours["second"] - top).sum() < 120:  # a pattern has to be visible
        colours["second"] = 0.35 * top if top.mean() > 120 else 255 - 0.4 * top
    pattern, lower, bag, hat = (pick(rng, kind) for kind in (_PATTERNS, _BOTTOMS, _BAGS, _HATS))
    hair, sleeves, coat, left = (rng.random(4) < (0.4, 0.7, 0.15, 0.5)).tolist()
    worn = {*_BODY, lower, bag, hat, "trousers" if lower == "trousers" else "bare leg"}
    worn |= {"sleeve"} if sleeves or coat or pattern == "open" else {"bare arm", "short sleeve"}
    worn |= {name for name, is_worn in (("long hair", hair), ("coat", coat)) if is_worn}
    look = Look(
        height=0.93 + 0.11 * size[0], width=0.86 + 0.34 * size[1], leg=0.95 + 0.1 * size[2],
        stride=(0.36 + 0.14 * size[3]) * (0.6 if lower == "long skirt" else 1.0),
        shape=0.08 * (2 * size[4] - 1), side=1 if left else -1, worn=worn, pattern=pattern,
        colours=colours,
    )  # fmt: skip
    weave = rng.standard_normal((8, 12)).astype(np.float32)
    look.textures = _textures(look, cv2.resize(weave, (_COLUMNS, _ROWS)))
    return look


def _textures(look: Look, weave: np.ndarray) -> dict[str, np.ndarray]:
    """Cloth, hair and face as pictures of height (rows) and angle around the body (columns)."""
    made = {name: np.tile(colour, (_ROWS, _COLUMNS, 1)) for name, colour in look.colours.items()}
    hem = np.where(_TALL > 0.95, 0.75, 1.0)
    slit, pleats = np.where(_FRONT < 0.06 + 0.14 * _TALL, 0.45, 1.0), 1 + 0.1 * np.sin(_ANGLE * 10)
    made["bag"] *= np.where(_TALL < 0.3, 0.75, 1.0)[..., None]
    made["coat"] = made["top"] * (slit * hem)[..., None]
    made["skirt"] = made["bottom"] * (pleats * hem)[..., None]
    made["torso"] = _garment(look)
    made = {name: cloth * (1 + 0.07 * weave[..., None]) for name, cloth in made.items()}
    made["head"] = _head(look)
    return {name: np.clip(cloth, 0, 255).astype(np.uint8) for name, cloth in made.items()}


def _garment(look: Look) -> np.ndarray:
    """The top with its pattern, neckline, hem and the straps of a bag."""
    turn, opening = np.floor(_ANGLE / math.pi * 9 + 9), 0.3 + 0.25 * _TALL
    masks = {
        "plain": _TALL < 0,
        "rows": np.floor(_TALL * 9) % 2 == 1,
        "columns": turn % 2 == 1,
        "check": (np.floor(_TALL * 8) + turn) % 2 == 1,
        "logo": (_FRONT < 0.62) & (_TALL > 0.24) & (_TALL < 0.52),
        "halves": _TALL > 0.52,
        "open": opening - _FRONT > 0,
    }
    cloth = np.where(masks[look.pattern][..., None], look.colours["second"], look.colours["top"])
    if look.pattern == "open":
        cloth[np.abs(_FRONT - opening) < 0.09] = look.colours["top"] * 0.55
    cloth[(_TALL > 0.95) | (_TALL < 0.05)] *= 0.75
    cloth[_FRONT < 0.75 - 6.5 * _TALL] = look.colours["skin"]
    straps = {
        "backpack": (np.abs(_FRONT - 0.72) < 0.15) & (_TALL < 0.62),
        "side bag": np.abs(_TALL - 0.5 - 0.46 * look.side * np.sin(_ANGLE)) < 0.045,
    }
    for bag in look.worn & straps.keys():
        cloth[straps[bag]] = look.colours["bag"] * 0.6
    return cloth


def _head(look: Look) -> np.ndarray:
    """Face in front, hair above and behind, perhaps a hat."""
    head = np.tile(look.colours["skin"], (_ROWS, _COLUMNS, 1))
    head[(np.abs(_TALL - 0.5) < 0.04) & (np.abs(_FRONT - 0.38) < 0.16)] *= 0.4
    head[(np.abs(_TALL - 0.78) < 0.03) & (_FRONT < 0.26)] *= np.array([0.8, 0.55, 0.55])
    head[(_TALL > 0.55) & (_TALL < 0.66) & (_FRONT < 0.12)] *= 0.86
    hairline = np.where(_FRONT < 1.0, 0.27 + 0.1 * _FRONT, 0.37 + 0.8 * (_FRONT - 1.0))
    head[np.minimum(hairline, 0.86) > _TALL] = look.colours["hair"]
    if look.worn & {"cap", "beanie"}:
        head[_TALL < 0.4] = look.colours["hat"]
        head[(_TALL > 0.33) & (_TALL < 0.4)] *= 0.7
    return head


@dataclass
class Pose:
    """Where and how a person walks: one entry a frame, pixels of the doubled crop."""

    yaw: np.ndarray
    phase: np.ndarray
    foot: np.ndarray  # [frames, 2]
    size: float
    light: int


def _bone(start: np.ndarray, length: float, angle: np.ndarray, out: float = 0.0) -> np.ndarray:
    """The far end [frames, 3] of a bone that swings forward by an angle from hanging down."""
    swung = out + 0 * angle, -length * np.cos(angle), length * np.sin(angle)
    return start + np.stack(swung, axis=-1)


def _skeleton(look: Look, phase: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """Joints of one side (1: left, -1: right): left, up, forward in statures, hip at height 0.

    The arm swings against the leg. "thigh" and "upper arm" are where shorts and short sleeves end.
    """
    step = phase if side > 0 else phase + math.pi
    wave = look.stride * np.sin(step)
    thigh, swing = wave + 0.04, -0.9 * wave
    shank = thigh - 0.1 - 2.2 * look.stride * np.maximum(0, np.cos(step + 0.45)) ** 2
    foot = 0.6 * shank + 0.08 + math.pi / 2
    fore = swing + 0.3 + 0.25 * np.maximum(0, -np.sin(step))
    hip, shoulder = np.zeros((2, len(phase), 3))
    hip[:, 0] = side * 0.047 * look.width
    shoulder[:] = side * (0.094 * look.width + 0.1 * look.shape), 0.312, 0
    shoulder[:, 2] = -0.02 * np.sin(step)
    knee = _bone(hip, 0.245 * look.leg, thigh)
    ankle = _bone(knee, 0.235 * look.leg, shank)
    sole = ankle - (0, 0.022, 0)
    elbow = _bone(shoulder, 0.16, swing, side * 0.02)
    return {
        "hip": hip, "knee": knee, "ankle": ankle, "thigh": hip + 0.9 * (knee - hip),
        "heel": _bone(sole, -0.03, foot), "toe": _bone(sole, 0.11, foot, side * 0.015),
        "shoulder": shoulder, "elbow": elbow, "upper arm": shoulder + 0.62 * (elbow - shoulder),
        "wrist": _bone(elbow, 0.14, fore), "hand": _bone(elbow, 0.174, fore),
    }  # fmt: skip


class _Laid(NamedTuple):
    """Where a tube lies in a frame, with a number for each of its pixels."""

    place: tuple[slice, slice]  # rows and columns of the canvas
    axis: tuple[float, float]  # its direction: x, y
    down: np.ndarray  # place along the axis, from 0 to 1 where there is cloth
    across: np.ndarray  # from -1 to 1
    bulge: np.ndarray  # how far the surface stands out of the picture, in half-widths
    cover: np.ndarray  # share of the pixel that is covered


@dataclass
class _Tube:
    """A body of revolution with a texture around it: a link of a limb, trunk, head, skirt, bag."""

    region: int
    pose: Pose
    texture: np.ndarray
    start: np.ndarray  # upper end of the axis, [frames, 2]
    end: np.ndarray
    half: np.ndarray  # half-widths along the axis, [frames, points of the profile]
    order: np.ndarray  # larger numbers are painted later, [frames]
    caps: tuple[float, float]  # how far the ends bulge

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Look every pixel up in the texture by its place along and its angle around the axis."""
        if not (laid := self._laid(frame)):
            return
        place, (dx, dy), down, across, bulge, cover = laid
        turn = (cv2.phase(bulge, across) - float(self.pose.yaw[frame])) * (_COLUMNS / 2 / math.pi)
        cloth = _looked_up(self.texture, turn % _COLUMNS, down * _ROWS - 0.5)
        shade = 0.56 + 0.41 * bulge + across * (0.28 * self.pose.light * dy + 0.15 * dx)
        colour = cv2.multiply(cloth, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
        cv2.blendLinear(colour, canvas[place], cover, 1 - cover, dst=canvas[place])

    def mark(self, found: np.ndarray, frame: int) -> None:
        """Write the number of the region, uint8 [H, W], where the tube hides what is behind it."""
        if laid := self._laid(frame):
            found[laid.place][laid.cover > _HIDES] = self.region

    def _laid(self, frame: int) -> _Laid | None:
        """Lay the tube out in a frame; None where it is outside the picture."""
        start, end, half = self.start[frame], self.end[frame], self.half[frame].astype(np.float32)
        reach = max(half.max(), *self.caps)
        left, top = np.maximum(np.minimum(start, end) - reach, 0).astype(int)
        right, bottom = np.minimum(np.maximum(start, end) + reach + 1, (W, H)).astype(int)
        if left >= right or top >= bottom:
            return None
        length = max(1e-6, math.dist(start, end))
        dx, dy = ((end - start) / length).tolist()
        x = np.arange(left, right, dtype=np.float32) + np.float32(0.5 - start[0])
        y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - start[1])
        along = (x * dx + y * dy) / length
        width = _looked_up(half[None], along * (len(half) - 1), 0 * along)
        across = (x * dy - y * dx) / width
        bulge = np.sqrt(np.maximum(0, 1 - across * across))
        down = along - bulge * (self.caps[1] / length)
        inside = (bulge > 0) & (down < 1) & (along >= -bulge * (self.caps[0] / length))
        cover = inside * np.minimum(1, (1 - np.abs(across)) * width + 0.5)  # soft edges
        return _Laid(np.s_[top:bottom, left:right], (dx, dy), down, across, bulge, cover)


def _looked_up(picture: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    # Given doubles, OpenCV 5 makes specks instead of an error.
    x, y = np.asarray(column, np.float32), np.asarray(row, np.float32)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def hidden(paint: Paint, frame: int) -> np.ndarray:
    """Tell which pixels are hidden by what is painted in a frame: bool [H, W] of the doubled crop.

    What looks alike on black and on white is hidden; a shadow, which only darkens, hides nothing.
    """
    black, white = (np.full((H, W, 3), tone, dtype=np.uint8) for tone in (0, 255))
    paint(black, frame)
    paint(white, frame)
    return white[..., 0] - black[..., 0] < 255 * (1 - _HIDES)  # the darkest shadow lets 105 through


class Figure:
    """One walking person, laid out for all frames, ready to be painted frame by frame."""

    def __init__(self, look: Look, pose: Pose) -> None:
        """Lay out all that the person consists of and wears."""
        self.look, self.pose, self.tubes = look, pose, list[_Tube]()
        self.size = float(pose.size * look.height)
        sides = [_skeleton(look, pose.phase, side) for side in (1, -1)]
        feet = [joints[part][:, 1] for joints in sides for part in ("heel", "toe")]
        self.hip = 0.018 - np.min(feet, axis=0)  # the lower foot stands on the ground
        self.sides = [{n: self._at(*joint.T) for n, joint in joints.items()} for joints in sides]
        for joints in self.sides:
            for name in (name for name in _LIMBS if name in look.worn):
                self._add_limb(name, joints)
        for name in (name for name in _BODIES if name in look.worn):
            self._add_body(name)
        for name in (name for name in _DRAPES if name in look.worn):
            self._add_drape(name)

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Draw shadow and body, far parts first, on a canvas, uint8 RGB [H, W, 3]."""
        _paint_shadow(canvas, self.pose.foot[frame], self.size, self.pose.light)
        for tube in self._from_afar(frame):
            tube.paint(canvas, frame)

    def regions(self, frame: int) -> np.ndarray:
        """Tell what each pixel of the doubled crop shows of the body: uint8 [H, W].

        0 nothing; 1 the head with neck, hair and hat; 2 the torso with arms, hands and bag; 3 the
        legs with whatever hangs below the waist.
        """
        found = np.full((H, W), BACKGROUND, dtype=np.uint8)
        for tube in self._from_afar(frame):
            tube.mark(found, frame)
        return found

    def _from_afar(self, frame: int) -> list[_Tube]:
        return sorted(self.tubes, key=lambda tube: tube.order[frame])

    def _at(self, left: Any, up: Any, forward: Any) -> np.ndarray:
        """Project a point, from mid-hip in statures, to x, y and nearness: [frames, 3]."""
        sine, cosine = np.sin(self.pose.yaw), np.cos(self.pose.yaw)
        near = forward * cosine - left * sine
        x = self.pose.foot[:, 0] + self.size * (left * cosine + forward * sine)
        y = self.pose.foot[:, 1] - self.size * (up + self.hip - _PITCH * near)
        return np.stack([x, y, near], axis=-1)

    def _add(self, region: int, texture: str, ends: Sequence[np.ndarray], half: np.ndarray,
             order: np.ndarray, caps: tuple[float, float]) -> None:  # fmt: skip
        start, end = (place[:, :2] for place in ends)
        cloth = self.look.textures[texture]
        self.tubes.append(_Tube(region, self.pose, cloth, start, end, half, order, caps))

    def _add_limb(self, name: str, joints: dict[str, np.ndarray]) -> None:
        """A limb is a chain of tubes with round ends; a far arm is behind all."""
        region, texture, parts, radii = _LIMBS[name]
        broad = self.look.width**0.5 if region == LEGS else 1.0
        knee, shoulder = joints["knee"][:, 2], joints["shoulder"][:, 2]
        order = -1 + 0.5 * knee if region == LEGS else np.where(shoulder < -0.045, -2.0, 1.0)
        for ends, thick in zip(pairwise(parts), pairwise(radii), strict=True):
            caps = (thick[0] * broad * self.size, thick[1] * broad * self.size)
            half = np.tile(caps, (len(order), 1))
            self._add(region, texture, [joints[end] for end in ends], half, order, caps)

    def _oval(self, axes: tuple[float, float], profile: Sequence[float]) -> np.ndarray:
        """Half-widths [frames, points] of an oval body, seen from where the camera stands."""
        width, depth = axes[0] * np.cos(self.pose.yaw), axes[1] * np.sin(self.pose.yaw)
        return self.size * np.hypot(width, depth)[:, None] * profile

    def _add_body(self, name: str) -> None:
        """Trunk, head, hair, hat or bag; all but the head is as broad as the person."""
        region, texture, *points, axes, profile, orders = _BODIES[name]
        broad = 1.0 if region == HEAD else self.look.width
        if name == "torso":  # broad shoulders or broad hips
            profile = profile * (1 + self.look.shape * np.linspace(1, -1, len(profile)))
        ends = [self._at(self.look.side * broad * left, up, front) for left, up, front in points]
        if name == "hand bag":
            hand = self.sides[self.look.side < 0]["hand"]
            ends = [hand + end - ends[0] for end in ends]
        half = broad * self._oval(axes, profile)
        order = np.where(ends[0][:, 2] < -0.01, *orders)
        self._add(region, texture, ends, half, order, (0.0, 0.015 * self.size))

    def _add_drape(self, name: str) -> None:
        """A skirt or coat panel that follows the legs and is wide enough to hide them."""
        texture, joint, length, order = _DRAPES[name]
        left, right = (joints[joint][:, 0] for joints in self.sides)
        waist, hem = self._at(0, 0.03, 0), self._at(0, -length, 0)
        hem[:, 0] += 0.85 * ((left + right) / 2 - hem[:, 0])
        broad = self.look.width
        half = self._oval((0.1 * broad, 0.078 * broad), (1, 1, 1))
        least = np.abs(left - right) / 2 + 0.045 * broad * self.size
        half += np.maximum(0.12 * half[:, 0], least - half[:, 0])[:, None] * (0, 0.4, 1)
        orders = np.full(len(half), order)
        self._add(LEGS, texture, (waist, hem), half, orders, (0.0, 0.025 * self.size))


_DISC = 1 - np.linspace(-1, 1, 32)[:, None] ** 2 - np.linspace(-1, 1, 128) ** 2
_SHADOW = (1 - 0.58 * np.maximum(_DISC, 0) ** 1.5).astype(np.float32)


def _paint_shadow(canvas: np.ndarray, foot: np.ndarray, size: float, light: int) -> None:
    """Darken the ground under the feet, a little more on the side away from the light."""
    wide, high = size * 0.5, size * 0.12
    left, top = foot[0] - wide * (0.5 + 0.1 * light), foot[1] - high * 0.6
    place = np.array([[wide / 128, 0, left], [0, high / 32, top]])
    lit = cv2.warpAffine(_SHADOW, place, (W, H), borderValue=1.0)
    cv2.multiply(canvas, cv2.merge([lit] * 3), dst=canvas, dtype=cv2.CV_8U)
