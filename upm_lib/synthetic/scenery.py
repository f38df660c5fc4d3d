"""What surrounds the walking people: one scene a camera, and things that stand in front."""

from functools import lru_cache

import cv2
import numpy as np

from upm_lib.synthetic.pedestrian import COMMON, H, W, free_colour, pick

MARGIN = 64  # spare rows of a panorama above and below the crop
PAN_H, PAN_W = H + 2 * MARGIN, 1600

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


_BASE = MARGIN + 150  # row of a panorama where the wall or hedge meets the ground


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
    cv2.rectangle(image, (0, _BASE), (PAN_W, _BASE + 8), _tone(colour, 1.15), -1)
    while row < PAN_H:
        cv2.line(image, (0, row), (PAN_W, row), _tone(colour, 0.78), 1)
        shift = int(rng.integers(60))
        for x in range(-shift, PAN_W, 3 * high):
            shade = _tone(colour, float(rng.uniform(0.92, 1.06)))
            cv2.rectangle(image, (x + 1, row + 1), (x + 3 * high - 2, row + high - 1), shade, -1)
        row, high = row + high, high + 5


def _paint_street(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """A brick wall with windows, doors and shop fronts."""
    y, x = np.mgrid[:_BASE, :PAN_W]
    course = y // 9
    column = (x + 11 * (course % 2)) // 22
    shade = rng.uniform(0.84, 1.12, (_BASE // 9 + 1, PAN_W // 22 + 2))[course, column]
    mortar = (y % 9 == 0) | ((x + 11 * (course % 2)) % 22 == 0)
    bricks = np.array(colour) * np.where(mortar, 1.18, shade)[..., None]
    image[:_BASE] = np.clip(bricks, 0, 255).astype(np.uint8)
    left = int(rng.integers(10, 60))
    while left < PAN_W:
        kind, wide = int(rng.integers(3)), int(rng.integers(70, 130))
        paint = tuple(int(c) for c in free_colour(rng))
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
    cv2.rectangle(image, (0, _BASE - 8), (PAN_W, _BASE), _tone(colour, 0.62), -1)


def _paint_park(image: np.ndarray, rng: np.random.Generator, colour: tuple) -> None:
    """Sky, trees, a hedge and a fence in front of it."""
    leaves = np.array(colour)
    far = _clouds(rng, (_BASE, PAN_W), 96)
    sky = np.array((196, 210, 222)) * np.ones((_BASE, PAN_W, 1))
    trees = leaves * (0.85 + 0.7 * _clouds(rng, (_BASE, PAN_W), 18))[..., None]
    image[:_BASE] = np.clip(np.where((far > 0.12)[..., None], sky, trees), 0, 255)
    for x in rng.integers(0, PAN_W, 12):
        cv2.line(image, (int(x), MARGIN - 40), (int(x) + 4, _BASE), (74, 58, 44), 13)
    top = _BASE - 74
    hedge = leaves * (1.05 + 0.8 * _clouds(rng, (_BASE - top, PAN_W), 10))[..., None]
    image[top:_BASE] = np.clip(hedge * np.linspace(1.15, 0.7, _BASE - top)[:, None, None], 0, 255)
    rail = (226, 222, 212) if rng.random() < 0.5 else (92, 70, 52)
    for y in (_BASE - 46, _BASE - 18):
        cv2.line(image, (0, y), (PAN_W, y), rail, 5)
    for x in range(int(rng.integers(40)), PAN_W, 46):
        cv2.line(image, (x, _BASE - 58), (x, _BASE), rail, 6)


_BICYCLE = (0, -6), (18, -36), (46, -40), (58, -6), (46, -40), (28, -6), (0, -6)
_CAR = (0, -20), (6, -42), (44, -48), (72, -76), (140, -76), (172, -46), (200, -40), (204, -14)
_CAR_WINDOWS = (54, -48), (76, -71), (136, -71), (160, -48)


def _paint_props(image: np.ndarray, rng: np.random.Generator) -> None:
    """Lamp posts, bins, bicycles and cars along the wall."""
    x = int(rng.integers(80))
    while x < PAN_W - 40:
        kind, paint = int(rng.integers(4)), tuple(int(c) for c in free_colour(rng))
        if kind == 0:
            cv2.line(image, (x, 0), (x, _BASE + 14), (62, 64, 68), 9, cv2.LINE_AA)
            cv2.line(image, (x - 2, 0), (x - 2, _BASE + 14), (110, 112, 116), 2, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, (x, _BASE - 40), (x + 34, _BASE + 16), paint, -1)
            cv2.rectangle(image, (x - 3, _BASE - 47), (x + 37, _BASE - 38), _tone(paint, 0.6), -1)
        elif kind == 2:
            for wheel in ((x, _BASE - 6), (x + 58, _BASE - 6)):
                cv2.circle(image, wheel, 21, (32, 32, 34), 3, cv2.LINE_AA)
            frame = np.add(_BICYCLE, (x, _BASE), dtype=np.int32)
            cv2.polylines(image, [frame], False, paint, 4, cv2.LINE_AA)
        else:
            for shape, colour in ((_CAR, paint), (_CAR_WINDOWS, (58, 68, 78))):
                outline = np.add(shape, (x, _BASE + 14), dtype=np.int32)
                cv2.fillPoly(image, [outline], colour, cv2.LINE_AA)
            for wheel in ((x + 42, _BASE), (x + 162, _BASE)):
                cv2.circle(image, wheel, 17, (28, 28, 30), -1, cv2.LINE_AA)
                cv2.circle(image, wheel, 8, (150, 150, 152), -1, cv2.LINE_AA)
        x += int(rng.integers(120, 330)) + 130 * (kind == 3)


@lru_cache(maxsize=2 * len(SCENES))
def panorama(stream: tuple[int, ...], camera: int) -> np.ndarray:
    """The scene of one camera from a named random stream, at twice the size: [384, 1600, 3]."""
    rng = np.random.default_rng(stream)
    kind, wall, ground, _ = SCENES[camera]
    image = np.zeros((PAN_H, PAN_W, 3), dtype=np.uint8)
    (_paint_street if kind == "street" else _paint_park)(image, rng, wall)
    _paint_ground(image, rng, ground)
    if kind == "street":  # a zebra crossing on the near side
        for x in range(int(rng.integers(100, 500)), PAN_W, 90):
            corners = [(x, PAN_H), (x + 20, _BASE + 46), (x + 62, _BASE + 46), (x + 50, PAN_H)]
            cv2.fillPoly(image, [np.array(corners, dtype=np.int32)], (216, 214, 206), cv2.LINE_AA)
    _paint_props(image, rng)
    light = 1 + 0.16 * _clouds(rng, (PAN_H, PAN_W), 200) + 0.1 * _clouds(rng, (PAN_H, PAN_W), 8)
    image = np.clip(np.rint(image * light[..., None]), 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(image, (5, 5), 0)


class Barrier:
    """A railing, a pole or a low wall: boxes of four corners and a brightness."""

    def __init__(self, kind: str, rng: np.random.Generator, slide: np.ndarray) -> None:
        """Draw colour, place and size; ``slide``: shift of the scene, which a pole follows."""
        self.colour = np.array(pick(rng, COMMON)) * 0.6 + rng.uniform(30, 60, 3)
        place, thick = rng.uniform(0.2, 0.8), rng.uniform()
        self.slide = slide if kind == "pole" else 0 * slide
        self.boxes: list[tuple[float, float, float, float, float]]  # corners, brightness
        if kind == "pole":
            left, wide = place * W, 16 + 16 * thick
            edges = ((0.0, 1.0, 1.0), (0.2, 0.35, 1.25), (0.75, 1.0, 0.6))
            self.boxes = [(left + a * wide, 0, left + b * wide, H, tone) for a, b, tone in edges]
        elif kind == "railing":
            rows = [H * (0.42 + 0.25 * place) + gap for gap in (0, 30)]
            self.boxes = [(0, row, W, row + 12 + 8 * thick, 1.0) for row in rows]
            self.boxes += [(0, row, W, row + 4, 1.25) for row in rows]
        else:
            top = H * (0.62 + 0.16 * thick)
            self.boxes = [(0, top, W, H, 1.0), (0, top, W, top + 10, 1.25)]
            self.boxes += [(0, top + gap, W, top + gap + 1, 0.6) for gap in range(26, 100, 22)]

    def paint(self, canvas: np.ndarray, frame: int) -> None:
        """Draw the barrier into one frame."""
        move = int(self.slide[frame])
        for left, top, right, bottom, tone in self.boxes:
            corners = (int(left) - move, int(top)), (int(right) - move, int(bottom))
            cv2.rectangle(canvas, *corners, _tone(tuple(self.colour), tone), -1)
