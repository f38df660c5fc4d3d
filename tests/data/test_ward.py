"""The reader of WARD, its trials, and the CMC by pairs of cameras."""

from itertools import permutations
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from trees import write_image

from upm_lib.config import UserError, preset
from upm_lib.data.catalogue import load
from upm_lib.data.readers import ward
from upm_lib.data.splits import split
from upm_lib.data.tracklets import Dataset
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import training
from upm_lib.paper import tables
from upm_lib.retrieval.evaluation import Labels, rank_camera_pair

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "ward"
PEOPLE, CAMERAS = (1, 2, 5, 9, 10, 70), (1, 2, 3)


def write_ward(root: Path, people: tuple[int, ...] = PEOPLE) -> Path:
    """Write a small WARD: a person p has 1 + p % 3 frames in each camera, all of noise."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for person in people:
        for camera in CAMERAS:
            for frame in range(1, 2 + person % 3):
                pixels = rng.integers(0, 256, (32, 16, 3), np.uint8)
                cv2.imwrite(str(root / f"{person:04d}{camera:04d}{frame:04d}.png"), pixels)
    (root / "LICENSE").write_text("BSD-3-Clause")
    return root


def refused(root: Path, **options: int) -> str:
    with pytest.raises(UserError) as caught:
        ward.read(root, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- reading


def test_tracklets_come_by_camera_then_person_and_frames_by_number(tmp_path: Path) -> None:
    dataset = ward.read(write_ward(tmp_path))
    order = [(t.camera, t.person) for t in dataset.tracklets]
    assert order == [(camera, person) for camera in (0, 1, 2) for person in PEOPLE]
    assert dataset.cameras == ("C1", "C2", "C3")
    assert dataset.tracklets[1].frames == tuple(f"00020001000{n}.png" for n in (1, 2, 3))
    assert all((dataset.root / f).is_file() for t in dataset.tracklets for f in t.frames)
    assert load(preset("ward", root=str(tmp_path))).tracklets == dataset.tracklets


def test_what_is_no_picture_or_hidden_is_no_frame(tmp_path: Path) -> None:
    before = ward.read(write_ward(tmp_path)).tracklets
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "._000100010001.png").write_bytes(b"what a copying program leaves")
    (tmp_path / "000100010009.png").mkdir()
    assert ward.read(tmp_path).tracklets == before


def test_short_tracklets_are_left_out_if_asked_for(tmp_path: Path) -> None:
    write_ward(tmp_path)
    assert ward.read(tmp_path, 2).people == (1, 2, 5, 10, 70), "all but 9, who has one frame"
    assert ward.read(tmp_path, 3).people == (2, 5)
    assert "at least 4 frames" in refused(tmp_path, min_frames=4)


@pytest.mark.parametrize(
    "name",
    [
        "0001000100001.png",
        "00010001001.png",
        "0001_0001_0001.png",
        "000100010001.jpg",
        "000100010001 (copy).png",
        "000000010001.png",
        "000100000001.png",
        "٠٠٠١00010001.png",
    ],
)
def test_a_picture_with_another_name_is_named_and_what_is_expected(
    tmp_path: Path, name: str
) -> None:
    write_image(write_ward(tmp_path) / name)
    text = refused(tmp_path)
    assert text.startswith(f"{tmp_path / name} is not named as a picture such as 000100010001.png ")


def test_a_root_one_level_too_high_or_too_low_gets_a_hint(tmp_path: Path) -> None:
    root = write_ward(tmp_path / "shelf" / "WARD")
    (root / "empty").mkdir()
    for wrong in (root.parent, root / "empty"):
        assert refused(wrong) == f"{wrong} holds no picture: did you mean {root}?"
    (tmp_path / "other" / "folder").mkdir(parents=True)
    assert "give the folder that contains 000100010001.png" in refused(
        tmp_path / "other" / "folder"
    )


def test_one_person_alone_is_refused(tmp_path: Path) -> None:
    assert "fewer than two people" in refused(write_ward(tmp_path, (3,)))


# ---------------------------------------------------------------- trials


@pytest.mark.parametrize("trial", [1, 2, 10])
def test_a_trial_halves_the_people_over_all_three_cameras(tmp_path: Path, trial: int) -> None:
    dataset = ward.read(write_ward(tmp_path))
    assert dataset.protocol == "query and gallery"
    sides = split(dataset, trial)
    assert [len(side) for side in sides] == [9, 9, 9]
    people = [{dataset.tracklets[t].person for t in side} for side in sides]
    assert people[1] == people[2]
    assert sorted(people[0] | people[1]) == [*PEOPLE]
    assert not people[0] & people[1]


# ---------------------------------------------------------------- pairs of cameras


def naive_cmc(
    distance: np.ndarray, people: np.ndarray, camera: np.ndarray, pair: tuple[int, int]
) -> tuple[int, list[float]]:
    """Searches of one camera in the other, one after the other: how many, and their CMC."""
    firsts = []
    gallery = [g for g in range(len(people)) if camera[g] == pair[1]]
    for query in range(len(people)):
        if camera[query] != pair[0] or people[query] not in people[gallery]:
            continue
        order = sorted(gallery, key=lambda g: distance[query, g])
        firsts.append(next(n for n, g in enumerate(order, 1) if people[g] == people[query]))
    return len(firsts), [np.mean([f <= n for f in firsts]) for n in range(1, len(gallery) + 1)]


def test_a_pair_of_cameras_by_hand() -> None:
    # Cameras 0 0 1 1 2; people 1 2 1 2 1. On a line, so that who is nearest is plain to see.
    place = torch.tensor([0.0, 0.3, 0.1, 0.2, 0.29])
    vectors = torch.stack([place.cos(), place.sin()], 1)
    people, camera = np.array([1, 2, 1, 2, 1]), np.array([0, 0, 1, 1, 2])
    said = (vectors, vectors, *[Labels(people, camera)] * 2)
    ranks = {
        pair: [r.tolist() for r in rank_camera_pair(*said, pair).ranks]
        for pair in permutations(range(3), 2)
    }
    assert ranks == {
        (0, 1): [[1], [1]],  # 0.0 -> 0.1, 0.3 -> 0.2
        (1, 0): [[1], [1]],  # 0.1 -> 0.0, 0.2 -> 0.3
        (0, 2): [[1]],  # person 2 is not in camera 2, and not asked
        (2, 0): [[2]],  # 0.29 is nearer to 0.3
        (1, 2): [[1]],
        (2, 1): [[2]],  # 0.29 is nearer to 0.2
    }


@pytest.mark.parametrize("seed", range(5))
def test_pairs_of_cameras_equal_searching_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people, camera = rng.integers(1, 9, 30), rng.integers(0, 4, 30)
    vectors = torch.from_numpy(rng.normal(size=(30, 5)))
    vectors /= vectors.norm(dim=1, keepdim=True)
    distance = torch.cdist(vectors, vectors).numpy()
    for pair in permutations(range(4), 2):
        found = rank_camera_pair(vectors, vectors, *[Labels(people, camera)] * 2, pair)
        count, cmc = naive_cmc(distance, people, camera, pair)
        assert len(found.ranks) == count > 0
        assert found.cmc() == pytest.approx(cmc)


@pytest.fixture
def bench(tmp_path: Path, run_store: Path) -> Bench:
    root = str(write_ward(tmp_path / "ward"))
    options = dict(backbone="small", steps=2, batch=4, k=2, device="cpu", progress=False)
    return open_bench("ward", root=root, **options)


def test_a_trial_is_measured_by_camera_pairs(bench: Bench) -> None:
    measurement = bench.measurement("histogram", 2)
    found = measuring.by_camera_pair(bench, measurement)
    pairs = [*permutations(("C1", "C2", "C3"), 2)]
    assert [*zip(found["probe"], found["gallery"], strict=True)] == pairs
    assert set(found["queries"]) == {3} and set(found["trial"]) == {2}
    probe, gallery = measuring.trial_vectors(bench, measurement)
    assert torch.equal(probe, gallery), "one tracklet for each person and camera"
    tracklets = split(bench.dataset, 2).gallery
    distance = torch.cdist(gallery.double(), gallery.double()).numpy()
    people, camera = bench.people(tracklets), bench.cameras(tracklets)
    for row, pair in zip(found.itertuples(), permutations(range(3), 2), strict=True):
        assert row.rank1 == pytest.approx(100 * naive_cmc(distance, people, camera, pair)[1][0])
        assert row.rank5 == row.rank20 == 100, "three people in each search"


def test_camera_pairs_rest_on_the_networks_of_the_trial(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurement = bench.measurement("fusion")
    measuring.measure(bench, measurement)
    monkeypatch.delattr(training.Trainer, "train_step")
    found = measuring.by_camera_pair(bench, measurement)
    assert len(found) == 6 and set(found["method"]) == {"fusion"}


def test_a_set_of_two_cameras_is_its_one_pair(run_store: Path, tiny_root: Path) -> None:
    bench = open_bench("synthetic_clean", root=str(tiny_root), progress=False)
    measurement = bench.measurement("histogram")
    record = measuring.measure(bench, measurement)
    (row,) = measuring.by_camera_pair(bench, measurement).to_dict("records")
    assert (row["probe"], row["gallery"], row["queries"]) == ("cam_a", "cam_b", 4)
    assert {r: row[r] for r in ("rank1", "rank5")} == {r: record[r] for r in ("rank1", "rank5")}


def test_nothing_published_is_held_against_it(bench: Bench) -> None:
    assert tables.incomparable(bench) == "the paper has no such data set"
    assert "not compared: the paper has no such data set" in tables.notes("2", bench)


# ---------------------------------------------------------------- the check, the real set


def test_the_check_counts_what_is_there(
    check: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    known = {"ward": {"identities": 6, "tracklets": 18, "frames": 39}}
    monkeypatch.setattr(check, "KNOWN", known)
    root = write_ward(tmp_path / "ward")
    assert check.main(["ward", str(root), "--out", str(tmp_path)]) == 0
    said = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert {"identities 6 6", "frames 39 39", "pictures left out 0", "other files 1"} <= said
    (root / "._000100010001.png").write_bytes(b"of a Mac")
    assert check.main(["ward", str(root), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "all fine" in told and "other files                        2" in told
    (root / "000100010001.png").unlink()
    assert check.main(["ward", str(root), "--out", str(tmp_path)]) == 1
    assert "it can be read, but is NOT the published set" in capsys.readouterr().out


@pytest.fixture(scope="module")
def real() -> Dataset:
    if not REAL.is_dir():
        pytest.skip(f"needs {REAL}")
    return ward.read(REAL)


def test_the_real_set_holds_what_is_known_of_it(check: ModuleType, real: Dataset) -> None:
    found = (len(real.people), len(real.tracklets), sum(len(t.frames) for t in real.tracklets))
    assert found == tuple(check.KNOWN["ward"].values()) == (70, 210, 4786)
    lengths = pd.Series([len(t.frames) for t in real.tracklets])
    assert (lengths.min(), lengths.max()) == (10, 66)


def test_ten_trials_of_the_real_set_search_105_tracklets_of_35_people(real: Dataset) -> None:
    halves = [split(real, trial) for trial in range(1, 11)]
    assert {tuple(map(len, half)) for half in halves} == {(105, 105, 105)}
    trained = {tuple(sorted({real.tracklets[t].person for t in h.train})) for h in halves}
    assert len(trained) == 10 and {len(people) for people in trained} == {35}
