"""Make ``import torchvision`` work beside any build of torch.

torchvision's compiled operators (boxes, non-maximum suppression) are tied to one build of torch:
its CUDA wheel beside a CPU torch cannot load them, and then its own import fails with "operator
torchvision::nms does not exist" although its networks and transforms are plain Python. Declaring
the two operators it asks for is enough. Where the compiled operators load, nothing is done.
"""

import importlib.util
from pathlib import Path

import torch


def _compiled_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    files = Path(spec.origin).parent.glob("_C.*") if spec and spec.origin else ()
    library = next((f for f in files if f.suffix in {".so", ".pyd"}), None)
    if library is None:
        return False
    try:
        torch.ops.load_library(library)
    except OSError:
        return False
    return True


if not _compiled_operators_load():
    _library = torch.library.Library("torchvision", "FRAGMENT")  # must outlive the import
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
