"""The ONNX network gives what PyTorch gives, for any number of frames."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from upm_lib.config import UserError
from upm_lib.deploy import export
from upm_lib.retrieval import features
from upm_lib.retrieval.model_file import Model


def apart(model: Model, path: Path, frames: int) -> float:
    """The largest difference between onnxruntime and the networks as they were trained."""
    config = model.configs[0]
    shape = (frames, 3, config.height, config.width)
    images = 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["vectors"], {"frames": images.numpy()})
    with torch.inference_mode():
        ours = features.fuse(*(network.eval()(images) for network in model.networks)).numpy()
    assert found.shape == ours.shape == (frames, model.dim)
    return float(np.abs(found - ours).max())


def test_onnxruntime_agrees_for_any_number_of_frames(tiny_model: Model, tmp_path: Path) -> None:
    path = export.to_onnx(tiny_model, tmp_path / "new" / "model.onnx")
    assert max(apart(tiny_model, path, frames) for frames in (1, 2, 7)) < 1e-4
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]


def test_a_name_that_no_network_can_have_gets_a_sentence(tiny_model: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give the name of a file that ends in \.onnx"):
        export.to_onnx(tiny_model, tmp_path / "model.pb")
