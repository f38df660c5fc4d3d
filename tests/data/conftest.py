"""What the tests of several readers share."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

CHECK = Path(__file__).resolve().parents[2] / "data_scripts" / "check_dataset.py"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """The script that checks a copy of a data set, as a module that a test may patch."""
    spec = importlib.util.spec_from_file_location("check_dataset", CHECK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
