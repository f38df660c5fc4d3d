"""The scripts that measure: what does not fit ends in one sentence, before any work."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from PIL import Image
from trees import made_of

from upm_lib import runs
from upm_lib.config import UserError, preset
from upm_lib.experiments.bench import Bench
from upm_lib.paper import committed, study

SCRIPTS = Path(__file__).resolve().parents[2] / "data_scripts"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("study --trials 0", "trials must be a whole number from 1"),
        ("study --threads -1", "--threads must be at least 1, not -1"),
        ("study --threads 0", "--threads must be at least 1, not 0"),
        ("study --pairs --trials 0", "trials must be a whole number from 1"),
        ("study --write", "holds nothing of the study: run it without --write first"),
        ("curves --write", "holds no curves: run it without --write first"),
        ("curves x --write", "--write takes whatever was measured: leave out 'x'"),
        ("curves", "name a data set, or --write what has been measured"),
        ("curves nonsense", "unknown data set 'nonsense'"),
        ("curves ward --cross-until 0", "--cross-until must be above 0 and at most 60, not 0"),
        ("curves ward --cross-until 61", "--cross-until must be above 0 and at most 60, not 61"),
        ("ablation -p root x", "-p root is not for this script: it is the option --root"),
        ("ablation --trials 2-2", "a standard deviation needs at least 2 trials"),
        ("ablation --switch nonsense", "unknown switch 'nonsense'"),
        ("ablation --switch eta", "unknown switch 'eta'"),
        ("ablation --dataset folder --write", "no place for a table of folder: leave out --write"),
    ],
)
def test_what_does_not_fit_gets_one_sentence_and_code_2(
    run_store: Path, monkeypatch: pytest.MonkeyPatch, capsys, words: str, sentence: str
) -> None:
    name, *rest = words.split()
    monkeypatch.setattr(sys, "argv", [name, *rest])
    assert load(name).main() == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and sentence in err
    assert not run_store.exists()


def test_every_switch_and_every_page_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    ablation = load("ablation")
    before, after = ablation._page("ward")
    whole = ablation.PAGE.read_text("utf-8")
    assert whole.startswith(before) and whole.endswith(after)
    assert before.endswith("<!-- ablation ward -->\n") and after.startswith("<!-- end")


def test_tighter_boxes_lack_a_share_at_each_side(run_store: Path, tmp_path: Path) -> None:
    picture = np.arange(48 * 20 * 3, dtype=np.uint8).reshape(48, 20, 3)
    Image.fromarray(picture).save(tmp_path / "000100010001.png")
    study_script = load("study")
    folder = study_script.tighter(str(tmp_path), 0.1)
    (made,) = Path(folder).iterdir()
    assert made.name == "000100010001.png" and Path(folder).is_relative_to(run_store)
    assert np.array_equal(np.asarray(Image.open(made)), picture[5:43, 2:18])
    (tmp_path / "000100010001.png").unlink()
    assert study_script.tighter(str(tmp_path), 0.1) == folder, "cut once"


def test_the_table_of_the_switches_pairs_each_with_the_default_of_its_trials() -> None:
    rows = pd.DataFrame(
        {
            "method": "local",
            "switch": ["default"] * 3 + ["a = 1"] * 2,
            "trial": [1, 2, 3, 1, 2],
            "rank1": [90.0, 92.0, 50.0, 80.0, 84.0],
        }
    )
    lines = load("ablation").table(rows.assign(mAP=rows["rank1"] / 2)).splitlines()
    low, high = -9 - 12.706205 * 1, -9 + 12.706205 * 1
    told = f"-9.0 [{low:+.1f}, {high:+.1f}]"
    half = f"-4.5 [{low / 2:+.1f}, {high / 2:+.1f}]"
    assert lines[2:] == [f"| `a = 1` | local | 2 | 91.0 ± 1.4 | 82.0 ± 2.8 | {told} | {half} |"]


def test_frames_that_are_not_resized_cannot_be_resized_otherwise() -> None:
    config = preset("ward", "demo")
    pixels = np.zeros((1, config.height, config.width, 3), np.uint8)
    bench = SimpleNamespace(config=config, frames=SimpleNamespace(pixels=pixels))
    with pytest.raises(
        UserError, match=r"ward are 128x64 pixels already, .*: leave out --switch resize"
    ):
        load("ablation").measured(bench, [1, 2], ["resize"])


def test_the_sentence_above_the_switches_counts_who_is_searched() -> None:
    rows = pd.DataFrame({"trial": [1, 2], "cpu": "AVX2"})
    data = made_of([1, 2, 3, 4, 5])
    for dataset, people in ((data, 3), (data.anonymous, 0)):
        bench = Bench(preset("ward", "demo"), dataset, None, torch.device("cpu"))
        assert f"trials 1-2 of {people} test people, AVX2; mean" in load("ablation").about(
            bench, rows
        )


def test_the_table_of_wards_switches_is_that_of_the_rows_that_are_kept() -> None:
    ablation = load("ablation")
    before, after = ablation._page("ward")
    shown = ablation.PAGE.read_text("utf-8")[len(before) : -len(after)]
    rows = ablation.kept("ward")
    assert shown.endswith("\n\n" + ablation.table(rows))
    assert "trials 1-10 of" in shown
    lines = rows.groupby(["method", "switch"])["trial"]
    assert all(sorted(found) == [*range(1, 11)] for _, found in lines)
    assert rows["settings"].nunique() == 1 and set(rows["cpu"]) == {"AVX512"}


def test_curves_are_written_from_checked_records(run_store: Path, tmp_path: Path) -> None:
    curves = load("curves")
    about = {"length": 60.0, "people": 12, "cross_until": 60.0, "variant": "default"}
    about |= {"method": "local", "epoch": 1.0, "loss": float("nan")}
    kept = [about | {"dataset": name, "trial": 1, "rank1": 10.0} for name in ("here", "elsewhere")]
    pd.DataFrame(kept).to_csv(tmp_path / "curves.csv", index=False)
    for name, trial in (("a", 1), ("b", 2)):
        rows = [about | {"dataset": "here", "trial": trial, "rank1": 50.0}]
        kept = {"rows": rows, "code": committed.code(), "data": "these"}
        runs.write_json(run_store / "curves" / f"{name}.json", kept)
    curves.write(tmp_path)
    written = pd.read_csv(tmp_path / "curves.csv")
    assert written["dataset"].tolist() == ["elsewhere", "here", "here"]
    assert written["rank1"].tolist() == [10.0, 50.0, 50.0]
    assert "data" not in written
    runs.write_json(run_store / "curves" / "c.json", kept | {"data": "those"})
    with pytest.raises(UserError, match="holds curves of two sets of data named here: remove"):
        curves.write(tmp_path)
    (run_store / "curves" / "c.json").unlink()
    runs.write_json(run_store / "curves" / "a.json", kept | {"code": "of before"})
    with pytest.raises(UserError, match=r"a\.json was measured by other code: measure it again"):
        curves.write(tmp_path)
    (run_store / "curves" / "a.json").write_text("garbage")
    with pytest.raises(UserError, match=r"a\.json is damaged"):
        curves.write(tmp_path)


def test_curves_of_two_sets_are_kept_apart(
    run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, about = load("curves"), {"dataset": "ward", "cross_until": 60.0}
    monkeypatch.setattr(script.measuring, "key", lambda bench, measurement: bench.frames.digest)
    row = pd.DataFrame([{"rank1": 50.0}])
    monkeypatch.setattr(script.curves, "curve", lambda *arguments: row)
    for digest in ("these", "those", "these"):
        frames = SimpleNamespace(digest=digest)
        script.run(SimpleNamespace(frames=frames, measurement=print), "local", 11, about)
    kept = [runs.read_json(file)["data"] for file in (run_store / "curves").glob("*.json")]
    assert sorted(kept) == ["these", "those"]


def test_measured_trials_take_their_place_in_the_study(run_store: Path, tmp_path: Path) -> None:
    script = load("study")
    for name in ("study.csv", "study.json"):
        shutil.copy(Path(study.__file__).with_name(name), tmp_path / name)
    before = pd.read_csv(tmp_path / "study.csv")
    part = before["part"] == "ward-head"
    about = json.loads((tmp_path / "study.json").read_text("utf-8"))["ward-head"]
    line = before[part].iloc[0].drop(["cpu", "variant"]).to_dict() | {"rank1": 1.0, "changes": {}}
    for trial in (2, 99):
        measured = {"rows": [line | {"trial": trial}], "config": about["config"]}
        measured["versions"] = about["versions"] | {"cpu": "abacus"}
        measured["code"] = committed.code()
        runs.write_json(run_store / "study" / "ward-head" / f"trial{trial}.json", measured)
    script.write(tmp_path)
    after = pd.read_csv(tmp_path / "study.csv")
    new = after[after["cpu"] == "abacus"]
    assert new["trial"].tolist() == [2, 99] and (new["rank1"] == 1).all()
    stays = before[~(part & (before["trial"] == 2))]
    assert_frame_equal(
        *(t.sort_values(list(t)).reset_index(drop=True) for t in (stays, after.drop(new.index)))
    )
    measured["config"] = about["config"] | {"epochs": 9.0}
    runs.write_json(run_store / "study" / "ward-head" / "trial99.json", measured)
    with pytest.raises(UserError, match="other trials of ward-head had another epochs"):
        script.write(tmp_path)


def test_the_settings_of_a_part_are_those_that_its_cases_share() -> None:
    script, about = load("study"), json.loads(Path(study.__file__).with_suffix(".json").read_text())
    for part, kept in about.items():
        shared = script._common([(case, None) for case in script.cases() if case.part == part])
        assert {name: kept["config"].get(name) for name in shared} == shared, part
    assert about["ward-cluster-camera"]["config"]["objective"] == "cluster"
