"""A model for other programs: one network in ONNX, from frames to fused vectors."""

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from upm_lib import files, runs
from upm_lib.config import UserError
from upm_lib.retrieval import features
from upm_lib.retrieval.model_file import Model


class Fused(nn.Module):
    """The networks of a model as one: frames [B, 3, H, W] in [-1, 1] to unit vectors [B, D].

    H and W are those of the model's config. A tracklet's vector is then the maximum (or the mean,
    as the config says) over its frames, scaled to unit length.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        networks = [features.folded(network) for network in model.networks]
        self.networks, self.shared = nn.ModuleList(networks), features.shared(networks)
        self.normalise = model.configs[0].normalise_branches

    def forward(self, frames: Tensor) -> Tensor:
        """Return the fused vectors [B, D] (section 3.5)."""
        images = frames if self.shared is None else self.shared(frames)
        parts = [network(images) for network in self.networks]
        return features.fuse(*parts, normalise_branches=self.normalise)


def to_onnx(model: Model, path: str | Path) -> Path:
    """Write a model as an ONNX file with one input, frames, and one output, vectors; B is free.

    Raises UserError for a name that does not end in .onnx, and where the packages that torch's
    exporter needs are not installed.
    """
    place, config = files.target(path, "the network", ".onnx"), model.configs[0]
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError("export needs more packages: pip install 'upm_lib[onnx]'") from error
    whole = Fused(model).cpu().eval()
    frames = torch.zeros(2, 3, config.height, config.width)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with (
        runs.replacing(place) as temporary,
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),  # the exporter talks, and warns of itself
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        written = Path(folder) / "model.onnx"
        torch.onnx.export(
            whole, (frames,), written, input_names=["frames"], output_names=["vectors"],
            dynamic_shapes={"frames": {0: torch.export.Dim("batch")}}, dynamo=True,
            external_data=False, verbose=False,
        )  # fmt: skip
        temporary.write_bytes(written.read_bytes())
    return place
