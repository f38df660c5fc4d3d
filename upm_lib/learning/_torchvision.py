"""Make ``import torchvision`` work beside any build of torch.

torchvision's compiled operators (boxes, non-maximum suppression) are tied to one build of torch:
its CUDA wheel beside a CPU torch cannot load them, and then its own import fails with "operator
torchvision::nms does not exist" although its networks and transforms are plain Python. Declaring
the two operators it asks for is enough. Where the compiled operators load, nothing is done.
"""

import torch

try:
    import torchvision
except RuntimeError:
    _library = torch.library.Library("torchvision", "FRAGMENT")  # must outlive the import
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401
