"""The PRID2011 reader, batches without names."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import both, made_of, write_image, write_prid

from upm_lib.config import Caution, Config, UserError
from upm_lib.data.batches import Sampler, TrainBatch, TrainingSet, augmented
from upm_lib.data.catalogue import load
from upm_lib.data.packing import Frames
from upm_lib.data.readers.sequences import prid2011
from upm_lib.data.splits import split
from upm_lib.data.tracklets import Dataset, Tracklet
from upm_lib.synthetic import world

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "pets09_prid" / "prid_2011"
TINY = Config(min_frames=1, height=128, width=64, backbone="small", batch=5)


# ---------------------------------------------------------------- reading


def test_tracklets_come_by_camera_then_person_with_posix_paths_below_the_root(few: Dataset) -> None:
    order = [(t.camera, t.person) for t in few.tracklets]
    assert order == [(camera, person) for camera in (0, 1) for person in (1, 2, 3, 4)]
    assert few.tracklets[5].frames == tuple(
        f"multi_shot/cam_b/person_0002/{n:04d}.png" for n in (1, 2, 3)
    )
    assert few.cameras == ("cam_a", "cam_b")
    assert few.people == (1, 2, 3, 4)


def test_frames_are_sorted_by_name_whatever_their_padding_and_order_of_writing(
    tmp_path: Path,
) -> None:
    root = write_prid(tmp_path, both({1: 1, 2: 1}))
    for name in ("10", "0003", "9", "002"):
        write_image(root / "multi_shot" / "cam_a" / "person_0001" / f"{name}.png")
    frames = prid2011(root, 1).tracklets[0].frames
    assert [Path(f).stem for f in frames] == ["0001", "0003", "002", "10", "9"]


def test_other_files_beside_the_frames_are_no_frames(tmp_path: Path) -> None:
    root = write_prid(tmp_path, both({1: 2, 2: 2}))
    folder = root / "multi_shot" / "cam_a" / "person_0001"
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    write_image(folder / "0003.PNG")
    assert len(prid2011(root, 1).tracklets[0].frames) == 3


def test_files_beside_the_folders_of_people_do_no_harm(tmp_path: Path) -> None:
    root = write_prid(tmp_path, both({1: 2, 2: 2}))
    (root / "multi_shot" / "cam_a" / "person_list.txt").write_text("x")
    (root / "multi_shot" / "cam_list.txt").write_text("x")
    assert prid2011(root, 1).people == (1, 2)


def test_a_folder_of_a_person_without_a_number_is_named(tmp_path: Path) -> None:
    root = write_prid(tmp_path, both({1: 2, 2: 2}))
    (root / "multi_shot" / "cam_a" / "person_0001 (copy)").mkdir()
    with pytest.raises(UserError, match=r"person_0001 \(copy\)"):
        prid2011(root, 1)


def test_people_seen_by_one_camera_only_are_left_out(tmp_path: Path) -> None:
    counts = both({1: 2, 3: 2}) | {("a", 2): 2, ("b", 7): 2}
    dataset = prid2011(write_prid(tmp_path, counts), 1)
    assert dataset.people == (1, 3)
    assert len(dataset.tracklets) == 4


@pytest.mark.filterwarnings("ignore:left out 3 of 5 people")
def test_more_than_27_frames_in_both_cameras_are_needed(tmp_path: Path) -> None:
    counts = both({1: 28, 2: 28, 3: 27}) | {("a", 4): 28, ("b", 4): 27, ("a", 5): 27, ("b", 5): 28}
    root = write_prid(tmp_path, counts)
    assert prid2011(root).people == (1, 2)
    assert load(Config(dataset="prid2011", root=str(root))).people == (1, 2)
    assert prid2011(root, 27).people == (1, 2, 3, 4, 5)


def test_a_person_without_frames_is_left_out_whatever_the_limit(tmp_path: Path) -> None:
    root = write_prid(tmp_path, both({1: 1, 2: 1, 3: 0}))
    assert prid2011(root, 1).people == (1, 2)


def test_spaces_and_other_alphabets_in_the_path_do_no_harm(tmp_path: Path, run_store: Path) -> None:
    root = write_prid(tmp_path / "données de 人" / "prid 2011", both({1: 2, 2: 2}))
    assert Frames(prid2011(root, 1)).pixels.shape == (8, 8, 4, 3)


def test_a_link_to_the_root_does_as_well(tmp_path: Path, run_store: Path) -> None:
    root = write_prid(tmp_path / "far away", both({1: 2, 2: 2}))
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    there, here = prid2011(root, 1), prid2011(tmp_path / "link", 1)
    assert here.tracklets == there.tracklets
    assert here.digest() == there.digest()
    assert len(Frames(here).pixels) == 8


def test_the_home_folder_may_be_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prid(tmp_path / "prid", both({1: 2, 2: 2}))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(Config(dataset="prid2011", root="~/prid", min_frames=1)).people == (1, 2)


def test_a_root_that_nobody_may_write_to_is_enough(tmp_path: Path, run_store: Path) -> None:
    root = write_prid(tmp_path / "read only", both({1: 2, 2: 2}))
    places = sorted([root, *root.rglob("*")])
    before = [(p, p.stat().st_mtime_ns) for p in places]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        dataset = prid2011(root, 1)
        TrainingSet(dataset, Frames(dataset), TINY).batch(0)
    finally:
        for place in places:
            place.chmod(0o755)
    assert [(p, p.stat().st_mtime_ns) for p in sorted([root, *root.rglob("*")])] == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("above", ("has no folder multi_shot", "did you mean", "/above/prid_2011?")),
        ("above/prid_2011/multi_shot", ("did you mean", "/above/prid_2011?")),
        ("above/prid_2011/multi_shot/cam_a", ("give the folder that contains multi_shot/",)),
        ("above/nowhere", ("nowhere does not exist", "give the folder that contains multi_shot/")),
        ("above/prid_2011/nowhere", ("does not exist", "did you mean", "/above/prid_2011?")),
    ],
)
def test_a_wrong_root_gets_a_sentence_with_a_hint(
    tmp_path: Path, given: str, words: tuple[str, ...]
) -> None:
    write_prid(tmp_path / "above" / "prid_2011", both({1: 2, 2: 2}))
    with pytest.raises(UserError) as caught:
        prid2011(tmp_path / given, 1)
    text = str(caught.value)
    assert text.startswith(str(tmp_path / given))
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_file_given_as_root_is_not_said_to_be_missing(tmp_path: Path) -> None:
    archive = tmp_path / "prid_2011.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(UserError) as caught:
        prid2011(archive)
    assert "does not exist" not in str(caught.value)


def test_one_camera_is_not_enough(tmp_path: Path) -> None:
    root = write_prid(tmp_path, {("a", 1): 2, ("a", 2): 2})
    with pytest.raises(UserError, match="needs the folders cam_a and cam_b, found cam_a"):
        prid2011(root, 1)


@pytest.mark.parametrize("frames", [{1: 27, 2: 27}, {1: 28, 2: 27}])
def test_too_few_people_with_long_tracklets_get_a_sentence(
    tmp_path: Path, frames: dict[int, int]
) -> None:
    root = write_prid(tmp_path, both(frames))
    with pytest.raises(UserError, match=r"at least 28 frames in each .*: [01], .*min_frames lower"):
        prid2011(root)


def test_of_the_real_numbers_only_the_people_of_both_views_are_pairs(tmp_path: Path) -> None:
    """Numbers beyond 200 are different people in view A (to 385) and view B (to 749)."""
    seen = {"a": (1, 2, 200, 201, 202, 385), "b": (1, 2, 200, 201, 202, 385, 749)}
    root = write_prid(
        tmp_path / "real", {(c, n): 1 for c, numbers in seen.items() for n in numbers}
    )
    assert prid2011(root, 1).people == (1, 2, 200)
    other = write_prid(tmp_path / "other", both({1: 1, 201: 1, 385: 1, 1467: 1}))
    assert prid2011(other, 1).people == (1, 201, 385, 1467)


def test_who_is_left_out_is_told(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = write_prid(tmp_path, both({1: 3, 2: 3, 3: 2}) | {("a", 4): 3, ("b", 5): 3})
    assert prid2011(root, 3).people == (1, 2)
    assert prid2011(root, 1).people == (1, 2, 3)
    far, short = (
        "2 not seen by every camera",
        "1 with fewer than min_frames = 3 frames in a tracklet",
    )
    start = "left out {} of 5 people of {}: "
    told = [start.format(3, root) + f"{far}, {short}", start.format(2, root) + far]
    assert [str(w.message) for w in recwarn if w.category is Caution] == told


def test_nothing_is_said_of_the_cut_that_the_paper_makes(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for camera, last in (("a", 385), ("b", 749)):
        for person in (*range(1, 201), last):
            folder = tmp_path / "multi_shot" / f"cam_{camera}" / f"person_{person:04d}"
            folder.mkdir(parents=True)
            for frame in range(1 + (person <= 178)):
                (folder / f"{frame}.png").touch()
    assert len(prid2011(tmp_path, 2).people) == 178
    assert not [w for w in recwarn if w.category is Caution]
    assert len(prid2011(tmp_path, 1).people) == 200
    assert not [w for w in recwarn if w.category is Caution]


def test_a_data_set_that_is_not_embedded_needs_a_root() -> None:
    with pytest.raises(UserError, match="prid2011 is not synthetic: give its folder as root"):
        load(Config(dataset="prid2011"))


def test_the_embedded_data_are_drawn_into_the_store_once(
    run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = world.World(identities=3, frames=2)
    monkeypatch.setitem(world.WORLDS, "synthetic_clean", tiny)
    first = load(TINY)
    assert first.root.is_relative_to(run_store)
    assert len(first.tracklets) == 6
    monkeypatch.setattr(world, "render_tracklet", None)
    assert load(TINY).tracklets == first.tracklets


@pytest.mark.skipif(not REAL.is_dir(), reason="the real sample is not beside this checkout")
def test_the_real_sample_has_ten_people_twenty_tracklets_of_thirty_frames() -> None:
    dataset = prid2011(REAL)
    assert dataset.people == tuple(range(1, 11))
    assert [len(t.frames) for t in dataset.tracklets] == [30] * 20
    assert [t.camera for t in dataset.tracklets] == [0] * 10 + [1] * 10


# ---------------------------------------------------------------- digest


def test_the_digest_names_frames_and_sizes(tmp_path: Path) -> None:
    root = write_prid(tmp_path / "one", both({1: 2, 2: 2}))
    write_prid(tmp_path / "two", both({1: 2, 2: 2}))
    first = prid2011(root, 1).digest()
    assert prid2011(tmp_path / "two", 1).digest() == first, "the place does not matter"
    assert prid2011(root, 1, "another name").digest() != first
    write_image(root / "multi_shot/cam_a/person_0001/0001.png", size=(16, 8))
    second = prid2011(root, 1).digest()
    assert second != first
    (root / "multi_shot/cam_a/person_0001/0002.png").unlink()
    assert prid2011(root, 1).digest() not in (first, second)


# ---------------------------------------------------------------- sampler


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (10, 5), (3, 8), (1, 1), (64, 64)])
def test_every_frame_comes_once_an_epoch_across_the_borders_of_batches(
    count: int, batch: int
) -> None:
    sampler = Sampler(count, batch, 0)
    stream = np.concatenate([sampler(step) for step in range(4 * count)])
    for epoch in range(4):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    forward = Sampler(10, 4, 7)
    batches = [forward(step).tolist() for step in range(12)]
    backward = Sampler(10, 4, 7)
    assert [backward(step).tolist() for step in reversed(range(12))] == batches[::-1]
    assert forward(3).tolist() == batches[3]
    assert Sampler(10, 4, 7)(11).tolist() == batches[11]


def test_seeds_and_epochs_give_other_orders() -> None:
    orders = {tuple(Sampler(50, 50, seed)(step)) for seed in (0, 1, 2) for step in (0, 1, 2)}
    assert len(orders) == 9


# ---------------------------------------------------------------- training without names


@pytest.fixture
def half(tiny: Dataset, run_store: Path) -> Iterator[TrainingSet]:
    """The training half of the tiny world: four people, eight tracklets, 32 frames."""
    return TrainingSet(tiny, Frames(tiny), TINY)


def test_a_batch_holds_frames_and_tracklet_numbers_and_nothing_else(half: TrainingSet) -> None:
    assert TrainBatch._fields == ("frames", "tracklet")
    batch = half.batch(0)
    assert type(batch) is TrainBatch
    assert batch.frames.shape == (5, 3, 128, 64)
    assert batch.tracklet.shape == (5,)
    assert batch.tracklet.dtype == torch.int64


def reachable(thing: object, seen: dict[int, object]) -> dict[int, object]:
    """Everything that can be reached from an object through attributes and containers."""
    if id(thing) in seen or isinstance(thing, (str, bytes, np.ndarray, torch.Tensor, type)):
        return seen
    seen[id(thing)] = thing
    inside = list(getattr(thing, "__dict__", {}).values())
    if isinstance(thing, dict):
        inside += [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inside += list(thing)
    for part in inside:
        reachable(part, seen)
    return seen


def test_training_cannot_reach_a_person(half: TrainingSet) -> None:
    things = list(reachable([half, half.batch(0)], {}).values())
    assert any(isinstance(thing, Frames) for thing in things), "the search looks inside"
    assert not [thing for thing in things if isinstance(thing, (Dataset, Tracklet))]
    names = {name for thing in things for name in dir(thing) if not name.startswith("__")}
    words = ("person", "people", "identit", "label")
    assert not {name for name in names if any(word in name.lower() for word in words)}


def test_frames_of_a_batch_belong_to_their_tracklets(half: TrainingSet, tiny: Dataset) -> None:
    frames = Frames(tiny)
    sampler = Sampler(len(half.frame), TINY.batch, TINY.seed)
    for step in range(3):
        batch = half.batch(step)
        numbers = half.frame[sampler(step)]
        assert torch.equal(batch.frames, frames.batch(numbers, TINY, "cpu"))
        assert np.array_equal(half.tracklets[batch.tracklet.numpy()], frames.tracklet[numbers])


def test_the_training_set_is_the_training_half_with_its_cameras(
    half: TrainingSet, tiny: Dataset
) -> None:
    assert sorted(half.tracklets) == sorted(split(tiny, TINY.trial).train)
    assert half.camera_of.tolist() == [tiny.tracklets[t].camera for t in half.tracklets]
    assert sorted(half.camera_of.tolist()) == [0] * 4 + [1] * 4
    assert len(half.frame) == 32
    assert np.bincount(half.tracklet).tolist() == [4] * 8
    epoch = np.concatenate([half.batch(step).tracklet.numpy() for step in range(7)])[:32]
    assert np.bincount(epoch).tolist() == [4] * 8


def test_the_numbers_of_tracklets_do_not_hint_at_equal_people(run_store: Path) -> None:
    dataset = made_of(list(range(60)))
    frames = Frames.__new__(Frames)
    frames.tracklet = np.repeat(np.arange(len(dataset.tracklets)), 2)
    half = TrainingSet(dataset, frames, TINY)
    place = {int(t): n for n, t in enumerate(half.tracklets)}
    pairs = [(place[t], place[t + 60]) for t in half.tracklets if t < 60]
    first, second = (np.argsort(np.argsort(numbers)) for numbers in zip(*pairs, strict=True))
    assert np.mean(first == second) < 0.2, "the n-th of camera A is not the n-th of camera B"
    assert len({b - a for a, b in pairs}) > 15, "nor at a fixed distance"


def test_the_order_of_tracklets_follows_the_seed_and_the_trial(
    tiny: Dataset, run_store: Path
) -> None:
    frames = Frames(tiny)
    same = [TrainingSet(tiny, frames, TINY).tracklets.tolist() for _ in range(2)]
    assert same[0] == same[1]
    assert TrainingSet(tiny, frames, TINY.replace(seed=1)).tracklets.tolist() != same[0]


def test_reading_needs_no_write_beside_the_store(tmp_path: Path, run_store: Path) -> None:
    root = write_prid(tmp_path / "prid", both({1: 2, 2: 2}))
    before = sorted(os.listdir(tmp_path))
    Frames(prid2011(root, 1))
    assert sorted(os.listdir(tmp_path)) == sorted({*before, run_store.name})


# ---------------------------------------------------------------- flip and crop


def test_augmented_frames_are_those_of_a_loop_over_frames() -> None:
    images = torch.randn(4, 3, 6, 5)
    mirrored = torch.tensor([False, True, True, False])
    moved = torch.tensor([[0, 0], [0, 0], [2, -1], [-6, 5]])
    found = augmented(images, mirrored, moved)
    for number, image in enumerate(images):
        seen = image.flip(2) if mirrored[number] else image
        down, right = moved[number].tolist()
        for row in range(6):
            for column in range(5):
                r, c = min(max(row - down, 0), 5), min(max(column - right, 0), 4)
                assert torch.equal(found[number, :, row, column], seen[:, r, c])


def test_flip_and_crop_follow_from_seed_and_step_and_are_off_by_default(
    tiny: Dataset, run_store: Path
) -> None:
    frames = Frames(tiny)

    def batch(step: int, **changes: object) -> torch.Tensor:
        return TrainingSet(tiny, frames, TINY.replace(**changes)).batch(step).frames

    plain = batch(3)
    assert torch.equal(plain, batch(3, flip=False, crop=0))
    both = [
        frame.equal(plain[n]) or frame.equal(plain[n].flip(2))
        for n, frame in enumerate(batch(3, flip=True))
    ]
    assert all(both)
    assert not batch(3, flip=True).equal(plain)
    assert batch(3, crop=9).equal(batch(3, crop=9))
    assert not batch(3, crop=9).equal(plain)
