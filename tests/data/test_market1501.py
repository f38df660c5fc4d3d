"""The reader of Market-1501, with either kind of training tracklets, and its evaluation."""

import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from trees import write_image

from upm_lib.config import UserError, preset
from upm_lib.data.catalogue import load
from upm_lib.data.readers import market1501
from upm_lib.data.splits import split
from upm_lib.data.tracklets import Dataset
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.paper import tables
from upm_lib.retrieval import evaluation

TRAIN, QUERY, TEST = market1501.FOLDERS.values()
PICTURES = {
    TRAIN: (
        "0002_c1s1_000451_03.jpg",
        "0002_c1s1_000551_01.jpg.jpg",
        "0002_c1s2_000076_02.jpg",
        "0002_c2s1_000301_01.jpg",
        "0007_c2s3_028977_02.jpg",
        "0007_c6s1_000001_01.jpg",
    ),
    QUERY: ("0001_c1s1_001051_00.jpg", "0001_c2s1_000301_00.jpg", "0003_c6s4_000009_00.jpg.jpg"),
    TEST: (
        "-1_c1s1_000401_03.jpg",
        "-1_c3s2_102478_07.jpg",
        "0000_c1s1_000151_01.jpg",
        "0000_c4s6_000726_05.jpg",
        "0001_c1s1_001051_02.jpg",
        "0001_c2s1_000301_01.jpg",
        "0001_c2s1_000401_02.jpg.jpg",
        "0003_c1s1_000001_01.jpg",
        "0003_c6s4_000009_01.jpg",
    ),
}


def write_market(root: Path) -> Path:
    """Write a small Market-1501, each picture in a colour of its own."""
    for number, (folder, name) in enumerate((f, n) for f in PICTURES for n in PICTURES[f]):
        write_image(root / folder / name, (12 * number, 255 - 12 * number, 40), (32, 16))
    for folder in (TRAIN, TEST):
        (root / folder / "Thumbs.db").write_bytes(b"x")
    (root / "readme.txt").write_text("x")
    (root / "gt_bbox").mkdir()
    return root


def said(dataset: Dataset) -> list[tuple]:
    """What a data set says of each tracklet: subset, camera's name, person, frames' names."""
    return [
        (s, dataset.cameras[t.camera], t.person, [Path(f).name for f in t.frames])
        for s, t in zip(dataset.subset, dataset.tracklets, strict=True)
    ]


def single(subset: str, names: tuple[str, ...]) -> list[tuple]:
    """Pictures as tracklets of one frame each, by what their names tell."""
    return [(subset, f"C{n[n.index('c') + 1]}", int(n.split("_")[0]), [n]) for n in names]


def refused(act: Callable) -> str:
    with pytest.raises(UserError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- reading


def test_a_training_tracklet_is_a_person_in_a_camera_and_a_test_picture_stands_alone(
    tmp_path: Path,
) -> None:
    dataset = market1501.read(write_market(tmp_path))
    names = PICTURES[TRAIN]
    assert said(dataset) == [
        ("train", "C1", 2, [*names[:3]]),
        ("train", "C2", 2, [names[3]]),
        ("train", "C2", 7, [names[4]]),
        ("train", "C6", 7, [names[5]]),
        *single("query", PICTURES[QUERY]),
        *single("gallery", PICTURES[TEST][2:]),
    ]
    assert dataset.cameras == ("C1", "C2", "C4", "C6")
    assert dataset.tracklets[0].frames[1] == f"{TRAIN}/0002_c1s1_000551_01.jpg.jpg"
    assert all((tmp_path / f).is_file() for t in dataset.tracklets for f in t.frames)


def test_a_training_tracklet_may_be_a_sequence(tmp_path: Path) -> None:
    camera = market1501.read(write_market(tmp_path))
    sequence = market1501.read_sequences(tmp_path)
    names = PICTURES[TRAIN]
    assert said(sequence)[:2] == [
        ("train", "C1", 2, [*names[:2]]),
        ("train", "C1", 2, [names[2]]),
    ]
    assert said(sequence)[2:] == said(camera)[1:], "all else is the same"
    assert sequence.meaning != camera.meaning, "else one would take the other's networks"


def test_pictures_come_in_time_whatever_the_width_of_their_numbers(tmp_path: Path) -> None:
    write_market(tmp_path)
    for name in ("0002_c1s1_99_01.jpg", "0002_c1s10_000001_01.jpg"):
        write_image(tmp_path / TRAIN / name)
    frames = [Path(f).name for f in market1501.read(tmp_path).tracklets[0].frames]
    names = PICTURES[TRAIN]
    assert frames == ["0002_c1s1_99_01.jpg", *names[:3], "0002_c1s10_000001_01.jpg"]


@pytest.mark.parametrize("name", ["market1501", "market1501_sequences"])
def test_no_limit_of_frames_takes_single_pictures_away(tmp_path: Path, name: str) -> None:
    config = preset(name, root=str(write_market(tmp_path)))
    whole = load(config)
    assert whole.name == name
    assert load(config.replace(min_frames=28)).tracklets == whole.tracklets
    assert sum(len(t.frames) == 1 for t in whole.tracklets) >= 10


@pytest.mark.parametrize(
    ("place", "who"),
    [
        (f"{TRAIN}/0002_c1_000451_03.jpg", "from person 0001 on"),
        (f"{TRAIN}/-1_c1s1_000451_03.jpg", "from person 0001 on"),
        (f"{TRAIN}/0000_c1s1_000451_03.jpg", "from person 0001 on"),
        (f"{QUERY}/0000_c1s1_000451_00.jpg", "from person 0001 on"),
        (f"{TEST}/0001_c1s1_000451_03.png", "also person -1 or 0000"),
        (f"{TEST}/0001_c1s1_000451_03.jpg.jpg.jpg", "also person -1 or 0000"),
        (f"{TEST}/-2_c1s1_000451_03.jpg", "also person -1 or 0000"),
        (f"{TEST}/0001_c1s1_000451_03 (copy).jpg", "also person -1 or 0000"),
    ],
)
def test_a_picture_with_another_name_is_named_and_what_is_expected(
    tmp_path: Path, place: str, who: str
) -> None:
    write_image(write_market(tmp_path) / place)
    assert refused(lambda: market1501.read(tmp_path)) == (
        f"{tmp_path / place} is not named as a picture such as 0002_c1s1_000451_03.jpg, {who}: "
        "rename or remove it"
    )


def test_a_folder_without_a_person_is_named(tmp_path: Path) -> None:
    write_market(tmp_path)
    for name in PICTURES[TEST][2:]:
        (tmp_path / TEST / name).unlink()
    assert f"{tmp_path / TEST} holds no picture of a person" in refused(
        lambda: market1501.read(tmp_path)
    )


def test_a_root_one_level_too_high_or_too_low_gets_a_hint(tmp_path: Path) -> None:
    root = write_market(tmp_path / "shelf" / "Market-1501-v15.09.15")
    for wrong in (root.parent, root / "query"):
        assert refused(lambda wrong=wrong: market1501.read(wrong)).endswith(f"mean {root}?")


def test_a_set_of_the_real_size_is_read_in_seconds(tmp_path: Path) -> None:
    """With 36,000 files that are empty: nothing but their names is read."""
    for folder, copies in ((TRAIN, 3), (QUERY, 1), (TEST, 4)):
        (tmp_path / folder).mkdir()
        for person, camera, box in product(range(1, 751), range(1, 7), range(copies)):
            (tmp_path / folder / f"{person:04d}_c{camera}s1_000451_{box:02d}.jpg").touch()
    began = time.process_time()
    dataset = market1501.read(tmp_path)
    assert time.process_time() - began < 5
    assert len(dataset.tracklets) == 6 * 750 * (1 + 1 + 4)


# ---------------------------------------------------------------- evaluation


def test_every_trial_has_the_official_division(tmp_path: Path) -> None:
    dataset = market1501.read(write_market(tmp_path))
    assert dataset.protocol == "query and gallery"
    for trial in (1, 2):
        sides = split(dataset, trial)
        assert [[dataset.subset[t] for t in side] for side in sides] == [
            ["train"] * 4,
            ["query"] * 3,
            ["gallery"] * 7,
        ]


def test_the_same_person_in_the_same_camera_is_junk_as_in_the_owners_script(
    tmp_path: Path,
) -> None:
    """The owner ranks all test pictures, junk (-1) included, and then leaves junk out."""
    dataset = market1501.read(write_market(tmp_path))
    trial = split(dataset, 1)
    rng = np.random.default_rng(0)
    place = {name: rng.normal(size=4) for names in PICTURES.values() for name in names}
    place = {name: x / np.linalg.norm(x) for name, x in place.items()}

    def side(tracklets: np.ndarray) -> tuple[torch.Tensor, evaluation.Labels]:
        chosen = [dataset.tracklets[t] for t in tracklets]
        vectors = np.stack([place[Path(t.frames[0]).name] for t in chosen])
        people, cameras = np.array([(t.person, t.camera) for t in chosen]).T
        return torch.from_numpy(vectors), evaluation.Labels(people, cameras)

    (probe, asked), (gallery, kept) = side(trial.probe), side(trial.gallery)
    found = evaluation.rank(probe, gallery, asked, kept)
    for query, ranks in zip(PICTURES[QUERY], found.ranks, strict=True):
        order = sorted(PICTURES[TEST], key=lambda n: -float(place[query] @ place[n]))
        mine = query[: query.index("s")]  # person and camera
        order = [n for n in order if not n.startswith(("-1_", f"{mine}s"))]
        places = [i for i, n in enumerate(order, 1) if n.startswith(query[:5])]
        assert ranks.tolist() == places
    assert [len(ranks) for ranks in found.ranks] == [2, 1, 1]


@pytest.fixture
def bench(tmp_path: Path, run_store: Path) -> Bench:
    root = str(write_market(tmp_path / "market"))
    options = dict(backbone="small", steps=2, batch=4, k=2, device="cpu", progress=False)
    return open_bench("market1501", root=root, **options)


def test_single_pictures_are_trained_on_searched_and_found(bench: Bench) -> None:
    record = measuring.measure(bench, bench.measurement("fusion"))
    assert 0 <= record["mAP"] <= record["mAP_mean_precision"] <= 100
    assert len(measuring.trial_vectors(bench, bench.measurement("fusion"))[1]) == 7
    pairs = measuring.by_camera_pair(bench, bench.measurement("histogram"))
    assert pairs[["probe", "gallery", "queries"]].to_numpy().tolist() == [
        ["C1", "C2", 1],
        ["C2", "C1", 1],
        ["C6", "C1", 1],
    ]
    assert tables.incomparable(bench) == "the paper has no such data set"


# ---------------------------------------------------------------- the check


def test_the_check_counts_junk_and_other_files(
    check: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    small = {
        "train tracklets": 4,
        "train frames": 6,
        "query frames": 3,
        "gallery identities": 3,
        "gallery frames": 7,
        "pictures left out": 2,
    }
    monkeypatch.setattr(check, "KNOWN", {"market1501": small})
    root = write_market(tmp_path / "market")
    arguments = ["market1501", str(root), "--out", str(tmp_path)]
    assert check.main(arguments) == 0
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert {f"{what} {count} {count}" for what, count in small.items()} <= lines
    assert {"other files 2", f"{TEST} found", "all fine"} <= lines
    (root / TEST / PICTURES[TEST][0]).unlink()
    assert check.main(arguments) == 1
    assert "pictures left out 1 2 DIFFERS" in " ".join(capsys.readouterr().out.split())


def test_what_is_known_of_the_real_set_adds_up(check: ModuleType) -> None:
    known = check.KNOWN["market1501"]
    assert known["gallery frames"] + known["pictures left out"] == 19732
    assert known["train identities"] + known["query identities"] == 1501
    assert set(check.KNOWN["market1501_sequences"]) == set(known) - {"train tracklets"}
