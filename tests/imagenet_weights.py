"""Where tests find the real weights of the paper's backbone, and the mark of those in need."""

import os
from pathlib import Path

import pytest

WEIGHTS = Path(
    os.environ.get("UPM_WEIGHTS")
    or Path(__file__).parents[2] / "shared" / "weights" / "mobilenet_v1_1.0_224.safetensors"
)
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_file(),
    reason="needs the ImageNet MobileNetV1 weights: set UPM_WEIGHTS to the .safetensors file",
)
