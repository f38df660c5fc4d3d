"""The run store as a list; a plan before anything goes; what is in use stays."""

import os
from pathlib import Path

import pytest
from filelock import FileLock
from tiny_model import bench_of, model_of

from upm_lib.config import UserError
from upm_lib.data import catalogue
from upm_lib.deploy import shelf
from upm_lib.synthetic import world


@pytest.fixture
def store(run_store: Path, tiny_root: Path) -> Path:
    model_of(bench_of(tiny_root / "multi_shot"), "local")
    (run_store / "search").mkdir()
    (run_store / "search" / "cam1-0007.png").write_bytes(b"x" * 1000)
    return run_store


def test_everything_is_listed_with_its_size_and_what_it_belongs_to(store: Path) -> None:
    found = shelf.listing().set_index("what")
    (run,) = [what for what in found.index if what.startswith("training/folder/local-k2-trial1-")]
    assert found.loc[run, "belongs"] == "a network of folder, 4 steps done"
    size = sum(path.stat().st_size for path in (store / run).rglob("*") if path.is_file())
    assert found.loc[run, "bytes"] == size > 10_000
    assert found.loc["search/cam1-0007.png", "bytes"] == 1000
    assert any(what.startswith("packed/folder-") for what in found.index)
    assert found["bytes"].is_monotonic_decreasing and (found["days"] < 1).all()
    text = shelf.lines(shelf.listing())
    assert text[-1].startswith(f"{len(found)} things, ") and len(text) == len(found) + 2


def test_odd_names_and_links_are_listed_and_a_link_goes_alone(
    run_store: Path, tmp_path: Path
) -> None:
    run = run_store / "training" / "x" / "local-1"
    run.mkdir(parents=True)
    (run / "step-abc-1.safetensors").touch()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").touch()
    (run_store / "maps").mkdir()
    (run_store / "maps" / "dead.npy").symlink_to("/nowhere")
    (run_store / "maps" / "own").symlink_to(tmp_path / "own")
    (run_store / "maps" / os.fsdecode(b"\xff.npy")).touch()
    found = shelf.listing()
    assert len(found) == 4 and len(shelf.lines(found)) == 6
    assert shelf.remove(shelf.chosen(found, ["maps/*"])) == []
    assert shelf.listing()["belongs"].tolist() == ["a network of x, not begun"]
    assert (tmp_path / "own" / "file").exists()


def test_a_link_to_a_folder_is_listed_without_what_is_in_it(
    run_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "large").write_bytes(b"x" * 5_000_000)
    (run_store / "maps").mkdir(parents=True)
    (run_store / "maps" / "own").symlink_to(tmp_path / "own")
    (run_store / "maps" / "a\nb\x1b[31m").touch()
    found = shelf.listing()
    assert found["bytes"].tolist() == [0, 0]
    said = "".join(shelf.lines(found))
    assert "'maps/a\\nb\\x1b[31m'" in said and said.isprintable(), "no command to the terminal"


def test_an_empty_store_is_an_empty_list(run_store: Path) -> None:
    assert shelf.lines(shelf.listing())[-1] == f"0 things, 0.0 MB, in {run_store}"
    with pytest.raises(UserError, match=r"'\*' fits nothing in .*, which is empty"):
        shelf.chosen(shelf.listing(), ["*"])


def test_what_is_chosen_goes_and_all_else_stays(store: Path) -> None:
    found = shelf.chosen(shelf.listing(), ["training/folder/*", "search/*.png"])
    assert len(found) == 2
    assert shelf.remove(found) == []
    left = shelf.listing()["what"].tolist()
    assert len(left) == 1 and left[0].startswith("packed/")


def test_what_another_process_works_on_stays(store: Path) -> None:
    found = shelf.chosen(shelf.listing(), ["training/*"])
    with FileLock(store / found["what"][0] / "lock"):
        assert shelf.remove(found) == found["what"].tolist()
    assert (store / found["what"][0]).is_dir()
    assert shelf.remove(found) == [] and not (store / found["what"][0]).exists()


def test_a_world_that_another_process_draws_stays(run_store: Path) -> None:
    drawn = catalogue.drawn("x", world.World(identities=1, frames=1))
    found = shelf.chosen(shelf.listing(), ["data/*"])
    with FileLock(drawn.with_name(f"{drawn.name}.lock")):
        assert shelf.remove(found) == [f"data/{drawn.name}"] and drawn.is_dir()
    assert shelf.remove(found) == [] and list((run_store / "data").iterdir()) == []


def test_a_pattern_that_fits_nothing_gets_a_sentence(store: Path) -> None:
    with pytest.raises(UserError, match=r"'maps/\*' fits nothing in .*: one is 'training/folder"):
        shelf.chosen(shelf.listing(), ["maps/*"])
