"""Make torchvision work beside any build of torch; to be imported before it, and before timm.

torchvision's compiled operators (boxes, non-maximum suppression) are tied to one build of torch:
its CUDA wheel beside a CPU torch cannot load them, and then its own import fails with "operator
torchvision::nms does not exist" although its networks and transforms are plain Python. Declaring
the two operators it asks for is enough. Where the compiled operators load, nothing is done.
"""

from importlib import util
from importlib.machinery import PathFinder

import torch

_package = util.find_spec("torchvision")
_places = _package.submodule_search_locations if _package else None
_compiled = PathFinder.find_spec("_C", _places)
if _compiled:
    try:
        torch.ops.load_library(_compiled.origin)
    except OSError:
        _library = torch.library.Library("torchvision", "FRAGMENT")  # must outlive the import
        for _name in ("nms", "qnms"):
            _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
