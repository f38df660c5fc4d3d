"""Searching one's own tracklets: no identities, other cameras, queries from inside and outside."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from upm_lib.config import UserError
from upm_lib.data.packing import Frames
from upm_lib.data.tracklets import Dataset
from upm_lib.experiments import measuring, networks, search
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import training
from upm_lib.pictures import photos
from upm_lib.retrieval import features


@pytest.fixture
def root(tiny_root: Path) -> Path:
    """Two cameras, cam_a and cam_b, with eight tracklets each: the tiny world without its names."""
    return tiny_root / "multi_shot"


@pytest.fixture
def bench(run_store: Path, root: Path) -> Bench:
    # After so few steps only statistics of the last batch tell frames apart.
    few = dict(steps=4, batch=8, k=2, bn_momentum=1.0, backbone="small", lr=5e-3)
    return open_bench("folder", device="cpu", progress=False, root=str(root), **few)


# ---------------------------------------------------------------- ranking


def test_all_tracklets_train_where_nobody_is_known(bench: Bench) -> None:
    trainer = networks.find_or_train(bench, bench.network("local"))
    assert sorted(trainer.data.tracklets) == list(range(16))


def test_the_other_camera_is_ranked_by_the_distance_of_the_fused_features(bench: Bench) -> None:
    found = search.search(bench, "cam_a/person_0003", top=8)
    both = networks.of(bench, bench.measurement("fusion", 1))
    vectors = [
        features.tracklet_features(both, bench.frames, np.array([t]), bench.config)[0]
        for t in range(16)
    ]
    apart = [float((vectors[2] - vectors[t]).norm()) for t in range(8, 16)]
    naive = {f"cam_b/person_{n:04d}": d for n, d in enumerate(apart, 1)}
    assert max(apart) - min(apart) > 0.01
    assert sorted(found.names) == list(naive)
    assert found.distances == sorted(found.distances)
    assert found.distances == pytest.approx([naive[name] for name in found.names], abs=1e-3)
    assert (found.query, found.searched) == ("cam_a/person_0003", 8)
    for image, name in zip(found.images, found.names, strict=True):
        assert np.array_equal(image, bench.images([int(name[-4:]) + 7])[0])
    assert np.array_equal(found.image, bench.images([2])[0])


def test_the_own_camera_is_searched_on_demand_but_never_the_query_itself(bench: Bench) -> None:
    found = search.search(bench, "cam_a/person_0003", top=100, same_camera=True)
    assert found.searched == 15
    assert len(set(found.names)) == 15 and "cam_a/person_0003" not in found.names


def test_a_folder_elsewhere_is_a_query_too(bench: Bench, root: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(root / "cam_a/person_0003", tmp_path / "somebody")
    found = search.search(bench, str(elsewhere), top=16)
    assert found.searched == 16, "its camera is not known"
    assert found.names[0] == "cam_a/person_0003"
    assert found.distances[0] == pytest.approx(0, abs=1e-3)
    inside = search.search(bench, "cam_a/person_0003", top=8)
    assert [name for name in found.names if name.startswith("cam_b")] == inside.names
    assert np.array_equal(found.image, inside.image)


def test_a_path_into_the_gallery_is_the_tracklet_there(bench: Bench, root: Path) -> None:
    found = search.search(bench, str(root / "cam_b/person_0001"), top=1)
    assert found.searched == 8 and found.names[0].startswith("cam_a/")


def test_a_second_search_trains_and_extracts_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search.search(bench, "cam_a/person_0003")
    monkeypatch.setattr(training, "train", None)
    monkeypatch.setattr(features, "extract", None)
    second = search.search(bench, "cam_a/person_0003")
    assert (second.names, second.distances) == (first.names, first.distances)
    assert search.search(bench, "cam_b/person_0008").names[0].startswith("cam_a/")


def test_nothing_can_be_measured_without_identities(bench: Bench) -> None:
    with pytest.raises(UserError, match="has no identities, so nobody can tell"):
        measuring.measure(bench, bench.measurement("histogram"))


# ---------------------------------------------------------------- wrong queries


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "cam_a/person_003",
            "neither a tracklet of .* nor a folder: give one such as cam_a/person",
        ),
        ("nowhere", "neither a tracklet of .* nor a folder: give one such as cam_a/person_0001"),
    ],
)
def test_a_query_that_is_not_there_gets_a_sentence(bench: Bench, query: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        search.search(bench, query)


def test_a_folder_without_pictures_gets_a_sentence(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no pictures: give a folder with the frames"):
        search.search(bench, str(tmp_path))


def test_a_gallery_of_one_camera_gets_a_sentence(bench: Bench) -> None:
    one = Dataset("folder", bench.dataset.root, bench.dataset.tracklets[:8], ("cam_a",))
    only = Bench(bench.config, one, Frames(one), bench.device)
    with pytest.raises(UserError, match=r"no tracklet of another camera .*--same-camera"):
        search.search(only, "cam_a/person_0003")


def test_no_match_at_all_cannot_be_asked_for(bench: Bench) -> None:
    with pytest.raises(UserError, match="top must be at least 1, not 0"):
        search.search(bench, "cam_a/person_0003", top=0)


# ---------------------------------------------------------------- what is shown


@pytest.fixture
def found() -> search.Found:
    images = [np.full((16, 8, 3), 30 * n, np.uint8) for n in range(7)]
    names = [f"c2/{n}" for n in range(7)]
    return search.Found("c1/0007", images[0], 40, names, [0.1 * n for n in range(7)], images)


def test_the_list_in_words_is_aligned(found: search.Found) -> None:
    first, head, *rows = search.lines(found)
    assert first == "query c1/0007: the best of 40 tracklets searched"
    assert len(rows) == 7 and rows[6].split() == ["7", "c2/6", "0.600"]
    assert {row.index("c2/") for row in rows} == {head.index("tracklet")}
    assert {row.index("0.") for row in rows} == {head.index("distance")}


def test_the_picture_holds_every_match(found: search.Found, tmp_path: Path) -> None:
    path = search.draw(found, tmp_path / "new" / "ranked.png")
    assert path == tmp_path / "new" / "ranked.png"
    assert cv2.imread(str(path)).shape[1] > 1000
    fig = photos.best_matches(found.image, found.images, found.names)
    (ax,) = fig.axes
    assert len(ax.images) == 1 + 7
    edges = [image.get_extent() for image in ax.images]
    assert len({tuple(edge) for edge in edges}) == 8, "none covers another"
    width, height = fig.get_size_inches()
    assert all(0 <= e[0] < e[1] <= width and 0 <= e[3] < e[2] <= height for e in edges)


@pytest.mark.parametrize(
    ("query", "name"), [("cam1/0007", "cam1-0007.png"), ("/far/away/walk/", "away-walk.png")]
)
def test_a_picture_without_a_name_is_named_for_the_query(
    run_store: Path, query: str, name: str
) -> None:
    assert search.picture_path(None, query) == run_store / "search" / name


@pytest.mark.parametrize("out", ["ranked.jpg", "ranked", "folder.png"])
def test_a_name_that_no_picture_can_have_gets_a_sentence(tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"give the name of a file that ends in \.png"):
        search.picture_path(str(tmp_path / out), "cam1/0007")
