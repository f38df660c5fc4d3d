"""What surrounds the walking people: one scene a camera, and things that stand in front."""

from functools import lru_cache

import cv2
import numpy as np

from upm_lib.synthetic.pedestrian import COMMON, H, Paint, W, free_colour, pick

MARGIN = 64  # spare rows of a panorama above and below the crop
PAN_H, PAN_W = H + 2 * MARGIN, 1600
_BASE = MARGIN + 150  # row of a panorama where the wall or hedge meets the ground

# Wall or hedge, ground, and light (gamma, gain, red, green, blue, side the light comes from).
SCENES = (
    ("street", (150, 84, 66), (134, 130, 124), (0.85, 1.10, 1.22, 1.00, 0.80, -1)),
    ("park", (58, 90, 46), (168, 152, 130), (1.30, 0.92, 0.82, 1.00, 1.25, 1)),
    ("street", (198, 188, 166), (98, 100, 106), (1.10, 1.15, 0.95, 1.12, 0.90, 1)),
    ("park", (104, 106, 50), (126, 132, 120), (0.90, 0.88, 1.12, 0.94, 1.02, -1)),
    ("street", (98, 112, 130), (158, 148, 132), (1.25, 1.08, 1.05, 0.90, 1.15, 1)),
    ("park", (44, 74, 60), (112, 108, 104), (0.95, 1.20, 1.00, 1.10, 0.86, 1)),
    ("street", (120, 104, 92), (142, 146, 152), (1.05, 0.85, 0.85, 0.98, 1.20, -1)),
    ("park", (120, 90, 44), (150, 138, 120), (1.15, 1.00, 1.25, 1.02, 0.92, -1)),
)


def _box(left: int, top: int, right: int, bottom: int) -> list[tuple[int, int]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _ring(x: int, y: int, radius: int) -> np.ndarray:
    return np.array(cv2.ellipse2Poly((x, y), (radius, radius), 0, 0, 360, 15))


# Things, as polygons over one another: a colour, or a factor of the thing's own; thickness of the
# line, or 0 to fill; corners in pixels, from the left end of where the wall meets the ground.
_WHITE, _GLASS, _BLACK, _GREY = (214, 208, 198), (50, 60, 74), (30, 30, 32), (150, 150, 152)
_FRONTS: tuple[list, ...] = (
    [(_WHITE, 0, _box(0, -130, 100, -44)), (_GLASS, 0, _box(5, -125, 95, -49)),
     (_WHITE, 4, [(50, -130), (50, -44)])],
    [(_WHITE, 0, _box(0, -118, 60, 0)), (1.0, 0, _box(5, -113, 55, -5))],
    [(_WHITE, 0, _box(0, -96, 100, -12)), (_GLASS, 0, _box(5, -91, 95, -17)),
     (1.0, 0, _box(-6, -116, 106, -92)), (_GREY, 5, [(12, -22), (70, -82)])],
)  # fmt: skip
_PROPS: tuple[list, ...] = (
    [((62, 64, 68), 9, [(0, -_BASE), (0, 14)]), (_GREY, 2, [(-2, -_BASE), (-2, 14)])],
    [(1.0, 0, _box(0, -40, 34, 16)), (0.6, 0, _box(-3, -47, 37, -38))],
    [(_BLACK, 3, _ring(0, -6, 21)), (_BLACK, 3, _ring(58, -6, 21)),
     (1.0, 4, [(0, -6), (18, -36), (46, -40), (58, -6), (46, -40), (28, -6), (0, -6)])],
    [(1.0, 0, [(0, -6), (6, -28), (44, -34), (72, -62), (140, -62), (172, -32), (200, -26),
               (204, 0)]), (_GLASS, 0, [(54, -34), (76, -57), (136, -57), (160, -34)]),
     *((tone, 0, _ring(x, 0, r)) for x in (42, 162) for tone, r in ((_BLACK, 17), (_GREY, 8)))],
)  # fmt: skip
_STRIPE = [((216, 214, 206), 0, [(0, 170), (20, 46), (62, 46), (50, 170)])]  # of a zebra crossing
BARRIERS: dict[str, list] = {
    "pole": [(tone, 0, _box(left, 0, right, H))
             for tone, left, right in ((1.0, 0, 24), (1.25, 5, 8), (0.6, 18, 24))],
    "railing": [(tone, 0, _box(0, row, W, row + high))
                for row in (0, 30) for tone, high in ((1.0, 16), (1.25, 4))],
    "wall": [(1.0, 0, _box(0, 0, W, H)), (1.25, 0, _box(0, 0, W, 10)),
             *((0.6, 1, [(0, row), (W, row)]) for row in (26, 48, 70, 92))],
}  # fmt: skip


def _tone(colour: tuple | np.ndarray, factor: float) -> tuple[int, ...]:
    """A colour made darker or brighter."""
    return tuple(int(min(255, c * factor)) for c in colour)


def _stand(image: np.ndarray, thing: list, own: np.ndarray, x: float, y: float) -> None:
    """Draw a thing of a colour of its own at a place of an image."""
    for tone, thickness, corners in thing:
        colour = tone if isinstance(tone, tuple) else _tone(own, tone)
        outline = np.rint(np.add(corners, (x, y))).astype(np.int32)
        if thickness:
            cv2.polylines(image, [outline], False, colour, thickness, cv2.LINE_AA)
        else:
            cv2.fillPoly(image, [outline], colour, cv2.LINE_AA)


def _line_up(image: np.ndarray, rng: np.random.Generator, things: tuple, gap: int) -> None:
    """Stand things along the wall, ``gap`` to three times as far apart."""
    x = int(rng.integers(gap))
    while x < PAN_W:
        thing = pick(rng, things)
        _stand(image, thing, free_colour(rng), x, _BASE)
        x += max(np.max(corners, axis=0)[0] for *_, corners in thing) + rng.integers(gap, 3 * gap)


def _clouds(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Smooth noise of four octaves, about -1 to 1."""
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(4):
        step = max(1, cell >> octave)
        grid = rng.random((shape[0] // step + 2, shape[1] // step + 2), dtype=np.float32) - 0.5
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_LINEAR) / (1 << octave)
    return total


def _paint_ground(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """Paving: slabs whose rows grow towards the viewer, a kerb and grain."""
    image[_BASE:] = _tone(colour, 0.78)
    image[_BASE : _BASE + 9] = _tone(colour, 1.15)
    row, high = _BASE + 8, 9
    while row < PAN_H:
        for x in range(-int(rng.integers(60)), PAN_W, 3 * high):
            slab = (x + 1, row + 1), (x + 3 * high - 2, row + high - 1)
            cv2.rectangle(image, *slab, _tone(colour, rng.uniform(0.92, 1.06)), -1)
        row, high = row + high, high + 5


def _paint_street(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """A brick wall with windows, doors and shop fronts, and a zebra crossing before it."""
    y, x = np.mgrid[:_BASE, :PAN_W]
    course = y // 9
    x += 11 * (course % 2)
    shade = rng.uniform(0.84, 1.12, (_BASE // 9 + 1, PAN_W // 22 + 2))[course, x // 22]
    bricks = np.array(colour) * np.where((y % 9 == 0) | (x % 22 == 0), 1.18, shade)[..., None]
    image[:_BASE] = np.clip(bricks, 0, 255)
    _line_up(image, rng, _FRONTS, 45)
    image[_BASE - 8 : _BASE + 1] = _tone(colour, 0.62)
    for left in range(int(rng.integers(100, 500)), PAN_W, 90):
        _stand(image, _STRIPE, free_colour(rng), left, _BASE)


def _paint_park(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """Sky, trees, a hedge and a fence in front of it."""
    leaves = np.array(colour)
    far = _clouds(rng, (_BASE, PAN_W), 96)[..., None]
    trees = leaves * (0.85 + 0.7 * _clouds(rng, (_BASE, PAN_W), 18))[..., None]
    image[:_BASE] = np.clip(np.where(far > 0.12, (196, 210, 222), trees), 0, 255)
    for x in rng.integers(0, PAN_W, 12).tolist():
        cv2.line(image, (x, MARGIN - 40), (x + 4, _BASE), (74, 58, 44), 13)
    top = _BASE - 74
    hedge = leaves * (1.05 + 0.8 * _clouds(rng, (_BASE - top, PAN_W), 10))[..., None]
    image[top:_BASE] = np.clip(hedge * np.linspace(1.15, 0.7, _BASE - top)[:, None, None], 0, 255)
    rail = (226, 222, 212) if rng.random() < 0.5 else (92, 70, 52)
    for y in (_BASE - 46, _BASE - 18):
        cv2.line(image, (0, y), (PAN_W, y), rail, 5)
    for x in range(int(rng.integers(40)), PAN_W, 46):
        cv2.line(image, (x, _BASE - 58), (x, _BASE), rail, 6)


@lru_cache(maxsize=2 * len(SCENES))
def panorama(stream: tuple[int, ...], camera: int) -> np.ndarray:
    """The scene of one camera from a named random stream, at twice the size: [384, 1600, 3]."""
    rng = np.random.default_rng(stream)
    kind, wall, ground, _ = SCENES[camera]
    image = np.zeros((PAN_H, PAN_W, 3), dtype=np.uint8)
    _paint_ground(image, rng, ground)
    (_paint_street if kind == "street" else _paint_park)(image, rng, wall)
    _line_up(image, rng, _PROPS, 110)
    light = 1 + 0.16 * _clouds(rng, (PAN_H, PAN_W), 200) + 0.1 * _clouds(rng, (PAN_H, PAN_W), 8)
    image = np.clip(np.rint(image * light[..., None]), 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(image, (5, 5), 0)


def barrier(kind: str, rng: np.random.Generator, slide: np.ndarray) -> Paint:
    """A railing, a pole or a low wall; ``slide``: shift of the scene, which a pole follows."""
    own = np.array(pick(rng, COMMON)) * 0.6 + rng.uniform(30, 60, 3)
    along, high = rng.uniform(0.2, 0.8) * W, rng.uniform()
    y = {"pole": 0, "railing": 0.45 + 0.2 * high, "wall": 0.62 + 0.16 * high}[kind] * H
    x = along - slide if kind == "pole" else 0.0 * slide
    return lambda canvas, frame: _stand(canvas, BARRIERS[kind], own, x[frame], y)
