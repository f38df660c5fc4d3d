"""Small trees in PRID2011's layout, each image in a colour of its own."""

from pathlib import Path

import cv2
import numpy as np

from upm_lib.data.tracklets import Dataset, Tracklet


def colour(camera: int, person: int, frame: int) -> tuple[int, int, int]:
    """RGB, another one for each image of a small tree."""
    return 10 + 60 * camera, 3 * person % 256, 5 * frame


def write_image(file: Path, rgb: tuple[int, int, int] = (1, 2, 3), size: tuple = (8, 4)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((*size, 3), np.uint8)
    pixels[:] = rgb[::-1]
    assert cv2.imwrite(str(file), pixels)


def write_prid(root: Path, counts: dict[tuple[str, int], int]) -> Path:
    """Write a tree in PRID2011's layout: counts gives the frames of each camera and person."""
    for (camera, person), count in counts.items():
        folder = root / "multi_shot" / f"cam_{camera}" / f"person_{person:04d}"
        folder.mkdir(parents=True)
        for frame in range(1, count + 1):
            write_image(folder / f"{frame:04d}.png", colour("ab".index(camera), person, frame))
    return root


def both(people: dict[int, int]) -> dict[tuple[str, int], int]:
    """The same number of frames in both cameras."""
    return {(camera, person): n for camera in "ab" for person, n in people.items()}


def made_of(people: list[int], frames: int = 2, name: str = "made up") -> Dataset:
    tracklets = [
        Tracklet(p, c, tuple(f"{name}/{c}/{p}/{f}" for f in range(frames)))
        for c in (0, 1)
        for p in people
    ]
    return Dataset(name, Path(name), tuple(tracklets), ("cam_a", "cam_b"))
