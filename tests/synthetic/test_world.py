"""The synthetic world: reproducible, laid out like PRID2011, changed by its knobs where meant."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from upm_lib.synthetic import pedestrian
from upm_lib.synthetic.pedestrian import HEAD, LEGS, TORSO
from upm_lib.synthetic.world import (
    WORLDS,
    World,
    _stage,
    _walk,
    digest,
    regions,
    render_tracklet,
    write,
)

CLEAN, CLUTTERED = WORLDS["synthetic_clean"], WORLDS["synthetic_cluttered"]
FEW = replace(CLEAN, identities=40, frames=4)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Leave the other cores alone."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.mark.parametrize("world", [CLEAN, CLUTTERED], ids=["clean", "cluttered"])
def test_rendering_is_deterministic(world: World) -> None:
    for person in (1, 7):
        first, second = (render_tracklet(world, person, 1) for _ in range(2))
        assert first.dtype == np.uint8
        assert first.shape == (8, 128, 64, 3)
        assert np.array_equal(first, second)


def test_more_people_and_cameras_change_nobody() -> None:
    small = replace(CLUTTERED, identities=5)
    large = replace(CLUTTERED, identities=300, cameras=8)
    for person in range(1, 6):
        for camera in (0, 1):
            small_frames = render_tracklet(small, person, camera)
            assert np.array_equal(small_frames, render_tracklet(large, person, camera))


def test_seeds_give_other_people() -> None:
    here, there = (render_tracklet(replace(CLEAN, seed=seed), 1, 0) for seed in (0, 1))
    assert not np.array_equal(here, there)


def test_people_differ() -> None:
    frames = [render_tracklet(FEW, person, 0).tobytes() for person in range(1, 41)]
    assert len(set(frames)) == 40


def test_clutter_and_occlusion_touch_their_share_of_tracklets_only() -> None:
    people = range(1, 41)
    plain = [render_tracklet(FEW, person, 0) for person in people]
    for knob in ("clutter", "occlusion"):
        touched = {}
        for share in (0.4, 1.0):
            world = replace(FEW, **{knob: share})
            changed = [
                (render_tracklet(world, p, 0) != q) for p, q in zip(people, plain, strict=True)
            ]
            touched[share] = {p for p, c in zip(people, changed, strict=True) if c.any()}
            if knob == "occlusion":  # never all the time: two windows of at most half the frames
                assert all(0 < c.mean() < 0.9 for c in changed if c.any())
        assert 6 <= len(touched[0.4]) <= 26
        assert touched[0.4] < touched[1.0]
        assert len(touched[1.0]) > 34


def test_without_its_knobs_the_cluttered_world_is_the_clean_one() -> None:
    calm = replace(CLUTTERED, clutter=0.0, occlusion=0.0, vertical_sd=CLEAN.vertical_sd)
    for person in (1, 2, 3):
        assert np.array_equal(render_tracklet(calm, person, 0), render_tracklet(CLEAN, person, 0))


def test_misalignment_moves_the_box_and_nothing_else() -> None:
    still, moved = (replace(CLEAN, vertical_sd=share) for share in (0.0, 0.11))
    for person in range(1, 5):
        straight = render_tracklet(still, person, 0).astype(int)
        shifted = render_tracklet(moved, person, 0).astype(int)
        gaps = {}
        for shift in range(-30, 31):
            rows = slice(max(0, shift), 128 + min(0, shift))
            source = slice(max(0, -shift), 128 - max(0, shift))
            gaps[shift] = np.abs(shifted[:, rows] - straight[:, source]).mean()
        best = min(gaps, key=gaps.__getitem__)
        assert gaps[best] < 8, "the same walk in the same scene, up to noise and half pixels"
        assert best != 0


@pytest.mark.parametrize("name", WORLDS)
def test_boxes_sit_a_few_percent_too_high_or_too_low(name: str) -> None:
    feet = [_walk(WORLDS[name], person, 0)[0].foot[:, 1].mean() / 256 for person in range(1, 151)]
    assert 0.01 < np.std(feet) < 0.04


def test_cameras_have_their_own_background() -> None:
    world = replace(CLEAN, cameras=8, identities=6, frames=2)
    upper = np.array(
        [
            np.mean(
                [render_tracklet(world, p, c)[:, :60, :10].mean((0, 1, 2)) for p in range(1, 7)], 0
            )
            for c in range(8)
        ]
    )
    gaps = np.linalg.norm(upper[:, None] - upper[None], axis=-1)[np.triu_indices(8, 1)]
    assert gaps.min() > 4
    assert gaps[0] > 40


def test_frames_walk_but_keep_their_colour() -> None:
    for person in range(1, 9):
        frames = render_tracklet(CLEAN, person, 1).astype(float)
        legs = np.abs(np.diff(frames[:, 80:], axis=0)).mean((1, 2, 3))
        assert legs.min() > 4
        torso = frames[:, 34:58, 26:38].mean((1, 2))
        assert torso.std(axis=0).max() < 25


def test_torso_colour_is_a_clue_but_not_an_answer() -> None:
    torso = [
        np.array(
            [render_tracklet(FEW, p, c)[:, 30:60, 24:40].mean((0, 1, 2)) for p in range(1, 41)]
        )
        for c in (0, 1)
    ]
    gaps = np.linalg.norm(torso[0][:, None] - torso[1][None], axis=-1)
    truth = np.arange(40)
    hits = [(gaps.argmin(axis) == truth).mean() for axis in (0, 1)]
    assert 5 / 40 < np.mean(hits) < 0.9


def test_background_does_not_tell_who_it_is() -> None:
    corner = [
        np.array([render_tracklet(FEW, p, c)[:, :50, :8].mean((0, 1, 2)) for p in range(1, 41)])
        for c in (0, 1)
    ]
    corner = [(x - x.mean(0)) / x.std(0) for x in corner]
    gaps = np.linalg.norm(corner[0][:, None] - corner[1][None], axis=-1)
    assert (gaps.argmin(1) == np.arange(40)).mean() <= 4 / 40


def test_write_lays_out_prid2011(tmp_path: Path) -> None:
    world = World(identities=3, cameras=3, frames=2)
    root = tmp_path / "data" / "drawn"
    assert write(world, root) == root
    files = sorted(str(p.relative_to(root)) for p in root.rglob("*.png"))
    assert files == [
        f"multi_shot/cam_{camera}/person_{person:04d}/{frame:04d}.png"
        for camera in "abc"
        for person in (1, 2, 3)
        for frame in (1, 2)
    ]
    assert [p.name for p in root.parent.iterdir()] == ["drawn"], "nothing temporary is left"
    picture = cv2.imread(str(root / "multi_shot/cam_b/person_0002/0002.png"))
    assert np.array_equal(picture[..., ::-1], render_tracklet(world, 2, 1)[1])


def test_write_leaves_an_existing_folder_alone(tmp_path: Path) -> None:
    world = World(identities=1, frames=1)
    root = write(world, tmp_path / "drawn")
    picture = root / "multi_shot/cam_a/person_0001/0001.png"
    stamp = picture.stat().st_mtime_ns
    assert write(replace(world, identities=2), root) == root
    assert picture.stat().st_mtime_ns == stamp
    assert not (root / "multi_shot/cam_a/person_0002").exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imwrite", lambda *_: False)
    with pytest.raises(OSError, match="cannot write"):
        write(World(identities=1, frames=1), tmp_path / "drawn")
    assert list(tmp_path.iterdir()) == []


def test_digest_names_the_knobs() -> None:
    assert digest(World()) == digest(CLEAN)
    worlds = [CLEAN, CLUTTERED, replace(CLEAN, seed=1), replace(CLEAN, camera_gap=0.31)]
    assert len({digest(world) for world in worlds}) == 4


@pytest.mark.parametrize(
    "knobs", [{"identities": 0}, {"frames": 0}, {"frames": 97}, {"cameras": 9}]
)
def test_impossible_worlds_are_refused(knobs: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs people, 1 to 96 frames and 1 to 8 cameras"):
        World(**knobs)


def test_strangers_to_the_world_are_refused() -> None:
    for person, camera in ((0, 0), (201, 0), (1, 2)):
        with pytest.raises(ValueError, match="no person"):
            render_tracklet(CLEAN, person, camera)


# ---------------------------------------------------------------- regions of the body


def rows_of(labels: np.ndarray, region: int) -> float:
    """The mean row of a region in one frame."""
    return float(np.nonzero(labels == region)[0].mean())


def test_the_head_is_above_the_torso_and_the_torso_above_the_legs() -> None:
    for person in range(1, 11):
        found = regions(FEW, person, person % 2)
        assert found.dtype == np.uint8
        assert found.shape == (4, 128, 64)
        for labels in found:
            assert rows_of(labels, HEAD) < rows_of(labels, TORSO) < rows_of(labels, LEGS)
            share = np.bincount(labels.ravel(), minlength=4) / labels.size
            assert share[HEAD] > 0.008 and share[TORSO] > 0.04 and share[LEGS] > 0.03
            assert share[0] > 0.6


def test_regions_cover_the_silhouette_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the person only what the regions name changes (and, below, the shadow)."""
    drawn = [render_tracklet(FEW, person, 0).astype(int) for person in range(1, 9)]
    bodies = [regions(FEW, person, 0) > 0 for person in range(1, 9)]
    monkeypatch.setattr(pedestrian.Figure, "paint", lambda *_: None)
    for person, (frames, body) in enumerate(zip(drawn, bodies, strict=True), start=1):
        changed = np.abs(frames - render_tracklet(FEW, person, 0)).max(-1) > 25
        assert changed[body].mean() > 0.85, "clothes may have the colour of the wall"
        for frame, mask in zip(changed, body, strict=True):
            near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5)))
            assert not frame[:96][near[:96] == 0].any(), "above the ground nothing else changes"


def test_a_tube_marks_the_pixels_that_its_paint_hides() -> None:
    """The oracle paints it on black and on white; a soft edge may be rounded the other way."""
    for person in range(1, 6):
        figure = _stage(FEW, person, 0)[1]
        for frame, tube in product(range(FEW.frames), figure.tubes):
            marked = np.zeros((pedestrian.H, pedestrian.W), dtype=np.uint8)
            tube.mark(marked, frame)
            painted = pedestrian.hidden(tube.paint, frame)
            assert set(np.unique(marked)) <= {0, tube.region}
            assert ((marked > 0) != painted).sum() <= 1 + 0.01 * painted.sum()


def test_things_in_front_are_background_and_people_behind_leave_no_trace() -> None:
    people = range(1, 21)
    plain = {p: regions(FEW, p, 0) for p in people}
    busy, blocked = replace(FEW, clutter=1.0), replace(FEW, occlusion=1.0)
    hidden = 0
    for person in people:
        assert np.array_equal(regions(busy, person, 0), plain[person])
        found = regions(blocked, person, 0)
        changed = found != plain[person]
        assert not found[changed].any()
        hidden += changed.any()
    assert hidden > 15


def test_a_shadow_hides_nothing() -> None:
    def shadow(canvas: np.ndarray, frame: int) -> None:
        pedestrian._paint_shadow(canvas, np.array([64.0, 200.0]), 220.0, 1)

    canvas = np.full((pedestrian.H, pedestrian.W, 3), 255, np.uint8)
    shadow(canvas, 0)
    assert canvas.min() < 128, "there is a shadow"
    assert not pedestrian.hidden(shadow, 0).any()


# ---------------------------------------------------------------- tubes


def tube(middle: np.ndarray, angle: float, colour: tuple[int, ...]) -> pedestrian._Tube:
    """A limb of 80 pixels, 20 broad, of one colour, turned by an angle from hanging down."""
    axis = 40 * np.array([np.sin(angle), np.cos(angle)])
    still = np.zeros(1)
    pose = pedestrian.Pose(still, still, still[None], 220.0, 1)
    cloth = np.full((8, 8, 3), colour, np.uint8)
    ends = (middle - axis)[None], (middle + axis)[None]
    half = np.full((1, 2), 10.0)
    return pedestrian._Tube(
        TORSO, pose, cloth, *ends, half, still, (np.float64(10), np.float64(10))
    )


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.5, -1.1, 3.0])
def test_a_limb_is_a_capsule_without_holes(angle: float) -> None:
    """It covers what lies within its radius of its axis, and is bright in the middle."""
    middle = np.array([64.0, 128.0])
    canvas = np.zeros((pedestrian.H, pedestrian.W, 3), np.uint8)
    tube(middle, angle, (200, 100, 50)).paint(canvas, 0)
    y, x = np.mgrid[: pedestrian.H, : pedestrian.W] + 0.5
    axis = np.array([np.sin(angle), np.cos(angle)])
    along = (x - middle[0]) * axis[0] + (y - middle[1]) * axis[1]
    near = np.clip(along, -40, 40)
    apart = np.hypot(x - middle[0] - near * axis[0], y - middle[1] - near * axis[1])
    assert (canvas[apart < 9.5] >= (60, 30, 15)).all()
    assert not canvas[apart > 10.8].any()
    share = canvas[apart < 9.5].astype(float) / (200, 100, 50)
    assert np.ptp(share, axis=1).max() < 0.05, "shade changes the brightness, not the colour"
    assert share[np.argsort(apart[apart < 9.5])[:20]].min() > 0.9


def test_a_texture_turns_with_the_person() -> None:
    """Seen from the front the front's colour is in the middle, from behind the back's."""
    front = np.abs(pedestrian._ANGLE[..., None]) < 1.5
    cloth = np.where(front, (250, 0, 0), (0, 0, 250)).astype(np.uint8)
    shown = []
    for yaw in (0.0, np.pi):
        made = tube(np.array([64.0, 128.0]), 0.0, (0, 0, 0))
        made.texture, made.pose.yaw = cloth, np.array([yaw])
        canvas = np.zeros((pedestrian.H, pedestrian.W, 3), np.uint8)
        made.paint(canvas, 0)
        shown.append(canvas[128, 64].argmax())
    assert shown == [0, 2]
