"""Searching an index: no identities, other cameras, queries from inside and outside."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny_model import FEW

from upm_lib.config import Caution, UserError
from upm_lib.data.packing import decode
from upm_lib.deploy import search
from upm_lib.deploy.index import Index
from upm_lib.learning import training
from upm_lib.pictures import photos
from upm_lib.retrieval.model_file import Model


def names(found: search.Found) -> list[str]:
    return (found.matches["camera"] + "/" + found.matches["tracklet"]).tolist()


# ---------------------------------------------------------------- ranking


def test_the_other_camera_is_ranked_by_the_distance_of_the_fused_features(
    index: Index, tiny_root: Path
) -> None:
    found = search.search(index, "cam_a/person_0003", top=8)
    query = index.vector("cam_a/person_0003")
    naive = {
        f"cam_b/person_{n:04d}": np.linalg.norm(index.vector(f"cam_b/person_{n:04d}") - query)
        for n in range(1, 9)
    }
    assert max(naive.values()) - min(naive.values()) > 0.01
    assert sorted(names(found)) == list(naive)
    distances = found.matches["distance"]
    assert distances.is_monotonic_increasing and found.matches["rank"].tolist() == [*range(1, 9)]
    assert distances.tolist() == pytest.approx([naive[name] for name in names(found)], abs=1e-5)
    assert (found.query, found.searched) == ("cam_a/person_0003", 8)
    middle = tiny_root / "multi_shot" / "cam_a" / "person_0003" / "0003.png"
    assert np.array_equal(found.image, decode(middle))
    shown = [Path(file).parent.name for file in found.matches["thumbnail"]]
    assert shown == found.matches["tracklet"].tolist()


def test_the_own_camera_is_searched_on_demand_but_never_the_query_itself(index: Index) -> None:
    found = search.search(index, "cam_a/person_0003", top=100, same_camera=True)
    assert found.searched == 15
    assert len({*names(found)}) == 15 and "cam_a/person_0003" not in names(found)


def test_a_folder_or_a_picture_elsewhere_is_a_query_too(
    index: Index, tiny_root: Path, tmp_path: Path
) -> None:
    inside = tiny_root / "multi_shot" / "cam_a" / "person_0003"
    elsewhere = shutil.copytree(inside, tmp_path / "somebody")
    found = search.search(index, str(elsewhere), top=16)
    assert found.searched == 16, "its camera is not known"
    assert names(found)[0] == "cam_a/person_0003"
    assert found.matches["distance"][0] == pytest.approx(0, abs=1e-5)
    one = search.search(index, "cam_a/person_0003", top=8)
    assert [name for name in names(found) if name.startswith("cam_b")] == names(one)
    picture = search.search(index, str(inside / "0001.png"), top=16)
    assert picture.searched == 16 and names(picture)[0] == "cam_a/person_0003"


def test_a_path_into_the_gallery_is_the_tracklet_there(index: Index, tiny_root: Path) -> None:
    found = search.search(index, str(tiny_root / "multi_shot/cam_b/person_0001"), top=1)
    assert found.searched == 8 and names(found)[0].startswith("cam_a/")


# ---------------------------------------------------------------- a gallery without an index


def test_a_gallery_is_trained_on_and_indexed_once(
    run_store: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def index_of() -> Index:
        return search.of_gallery(gallery, None, "demo", False, device="cpu", **FEW)

    first = search.search(index_of(), "cam_a/person_0003")
    monkeypatch.setattr(training.Trainer, "train_step", None)
    monkeypatch.setattr(Model, "describe_many", None)
    again = search.search(index_of(), "cam_a/person_0003")
    assert again.matches.equals(first.matches)


def test_who_is_named_changes_nothing_of_the_training(run_store: Path, gallery: Path) -> None:
    people = [f"{p.parent.name},{p.name},{p.name}" for p in sorted(gallery.glob("cam_*/person_*"))]
    found = []
    for lines in ([], people):
        (gallery / "identities.csv").write_text("\n".join(["camera,tracklet,person", *lines]))
        found.append(search.of_gallery(gallery, None, "demo", False, device="cpu", **FEW).model)
    assert [model.origin.tracklets for model in found] == [16, 16]
    assert found[0].digest == found[1].digest


def test_with_a_model_the_index_follows_the_gallery(
    run_store: Path, gallery: Path, tiny_model: Model
) -> None:
    assert len(search.of_gallery(gallery, tiny_model, "frozen", False)) == 16
    shutil.rmtree(gallery / "cam_a/person_0003")
    shutil.copytree(gallery / "cam_a/person_0004", gallery / "cam_c/t")
    shutil.copytree(gallery / "cam_a/person_0005", gallery / "cam_c/u")
    index = search.of_gallery(gallery, tiny_model, "frozen", False)
    assert len(index) == 17 and "cam_a/person_0003" not in index.about.index
    assert not (run_store / "training").exists()


# ---------------------------------------------------------------- wrong queries


@pytest.mark.parametrize("query", ["cam_a/person_003", "nowhere"])
def test_a_query_that_is_not_there_gets_a_sentence(index: Index, query: str) -> None:
    with pytest.raises(UserError, match=r"neither a tracklet of .* give one such as cam_a/person"):
        search.search(index, query)


def test_folders_and_files_without_pictures_get_a_sentence(index: Index, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no pictures: give a folder with the frames"):
        search.search(index, str(tmp_path / "empty"))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=r"text.png is no readable picture"):
        search.search(index, str(tmp_path / "text.png"))


def test_an_index_of_one_camera_gets_a_sentence(index: Index) -> None:
    index.remove([name for name in index.about["name"] if name.startswith("cam_b")])
    with pytest.raises(UserError, match=r"no tracklet of another camera .*--same-camera"):
        search.search(index, "cam_a/person_0003")
    assert search.search(index, "cam_a/person_0003", same_camera=True).searched == 7
    index.remove([name for name in index.about["name"] if name != "cam_a/person_0003"])
    for same in (True, False):
        with pytest.raises(UserError, match="holds no other tracklet"):
            search.search(index, "cam_a/person_0003", same_camera=same)


def test_no_match_at_all_cannot_be_asked_for(index: Index) -> None:
    with pytest.raises(UserError, match="top must be at least 1, not 0"):
        search.search(index, "cam_a/person_0003", top=0)


def test_a_list_of_queries_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text("cam_a/person_0001\n\n  cam_b/person_0002  \n")
    assert search.queries(str(path)) == ["cam_a/person_0001", "cam_b/person_0002"]
    path.write_text("\n")
    with pytest.raises(UserError, match="holds no query: write one a line"):
        search.queries(str(path))
    with pytest.raises(UserError, match="cannot be read"):
        search.queries(str(tmp_path / "nowhere.txt"))


def test_a_query_that_is_wider_than_high_is_told_of(index: Index, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "scene.png"), np.zeros((90, 160, 3), np.uint8))
    with pytest.warns(Caution, match="scene.png is wider than high: a frame is expected to be cut"):
        search.search(index, str(tmp_path / "scene.png"))


# ---------------------------------------------------------------- what is shown


@pytest.fixture
def found(tmp_path: Path) -> search.Found:
    files = [str(tmp_path / f"{n}.png") for n in range(7)]
    for n, file in enumerate(files[:6]):  # the last one is gone
        cv2.imwrite(file, np.full((16, 8, 3), 30 * n, np.uint8))
    rows = {"rank": range(1, 8), "camera": "c2", "tracklet": [str(n) for n in range(7)]}
    rows |= {"person": ["Zoë, the first", *[""] * 6], "distance": [0.1 * n for n in range(7)]}
    matches = pd.DataFrame(rows | {"thumbnail": files})
    return search.Found("c1/0007", np.zeros((16, 8, 3), np.uint8), 40, matches)


def test_the_list_in_words_is_aligned(found: search.Found) -> None:
    first, head, *rows = search.lines(found)
    assert first == "query c1/0007: the best of 40 tracklets searched"
    assert len(rows) == 7 and rows[6].split() == ["7", "c2/6", "0.600"]
    assert {row.index("c2/") for row in rows} == {head.index("tracklet")}
    assert {row.index("0.") for row in rows} == {head.index("distance")}
    assert rows[0].endswith("Zoë, the first")


def test_programs_get_the_same_as_json_and_csv(found: search.Found, tmp_path: Path) -> None:
    read = json.loads(json.dumps(search.as_json(found)))
    assert (read["query"], read["searched"]) == ("c1/0007", 40)
    assert read["matches"][1] == {
        "rank": 2, "camera": "c2", "tracklet": "1", "person": "", "distance": 0.1,
        "thumbnail": str(tmp_path / "1.png"),
    }  # fmt: skip
    (tmp_path / "found.csv").write_text(search.as_csv([found, found]))
    table = pd.read_csv(tmp_path / "found.csv", keep_default_na=False)
    assert list(table.columns) == ["query", "rank", *search.COLUMNS]
    assert len(table) == 14 and table["person"][0] == "Zoë, the first"


def test_the_picture_holds_every_match(found: search.Found, tmp_path: Path) -> None:
    path = tmp_path / "new" / "ranked.png"
    assert search.draw(found, path) == f"picture: {path}"
    assert cv2.imread(str(path)).shape[1] > 1000
    fig = photos.best_matches(found.image, [found.image] * 7, found.matches["tracklet"])
    (ax,) = fig.axes
    assert len(ax.images) == 1 + 7
    edges = [image.get_extent() for image in ax.images]
    assert len({tuple(edge) for edge in edges}) == 8, "none covers another"
    width, height = fig.get_size_inches()
    assert all(0 <= e[0] < e[1] <= width and 0 <= e[3] < e[2] <= height for e in edges)


def test_a_picture_shows_no_more_than_a_page_and_no_more_pixels_than_it_can(
    found: search.Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[np.ndarray]] = []
    plain = photos.best_matches

    def kept(query: np.ndarray, images: list[np.ndarray], labels: list[str], **_: str) -> object:
        drawn.append(images)
        return plain(query, images[:1], labels[:1])  # in less time

    monkeypatch.setattr(photos, "best_matches", kept)
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((640, 320, 3), np.uint8))
    many = pd.concat([found.matches] * 10).assign(thumbnail=str(tmp_path / "large.png"))
    path = tmp_path / "ranked.png"
    assert search.draw(found._replace(matches=many), path) == f"picture of the first 50: {path}"
    assert [len(images) for images in drawn] == [50]
    assert drawn[0][0].shape == (512, 256, 3)


@pytest.mark.parametrize(
    ("query", "name"), [("cam1/0007", "cam1-0007"), ("/far/away/walk/", "away-walk")]
)
def test_a_picture_without_a_name_is_named_for_the_query(
    run_store: Path, query: str, name: str
) -> None:
    path = search.picture_path(None, query, "one gallery")
    assert path.parent == run_store / "search" and path.name.startswith(f"{name}-")
    assert path != search.picture_path(None, query, "another")


def test_a_picture_among_the_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lies in the gallery and would become a part"):
        search.picture_path(str(tmp_path / "cam1" / "t1" / "x.png"), "cam1/t1", str(tmp_path))


@pytest.mark.parametrize("out", ["ranked.jpg", "ranked", "folder.png"])
def test_a_name_that_no_picture_can_have_gets_a_sentence(tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"give the name of a file that ends in \.png"):
        search.picture_path(str(tmp_path / out), "cam1/0007", None)
