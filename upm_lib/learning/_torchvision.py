"""Make torchvision work beside any build of torch, and import it and timm when they are needed.

torchvision's compiled operators (boxes, non-maximum suppression) are tied to one build of torch:
its CUDA wheel beside a CPU torch cannot load them, and then its own import fails with "operator
torchvision::nms does not exist" although its networks and transforms are plain Python. Declaring
the two operators it asks for is enough. Where the compiled operators load, nothing is done.

torchvision brings torch's compiler, and timm all its networks: two to three seconds that nobody
needs who loads a model or asks an index.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, util
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import torch

_package = util.find_spec("torchvision")
_compiled = PathFinder.find_spec("_C", _package and _package.submodule_search_locations)
if _compiled and sys.platform != "win32":  # where torchvision first says where its libraries lie
    try:
        torch.ops.load_library(_compiled.origin)
    except OSError:
        _library = torch.library.Library("torchvision", "FRAGMENT")  # must outlive the import
        for _name in ("nms", "qnms"):
            _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


class _Late(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


@contextmanager
def late(*names: str) -> Iterator[None]:
    """Within this block ``import`` gives stand-ins for some modules, if nobody has imported them.

    A stand-in imports its module when something of it is first asked for.
    """
    ours = {name: _Late(name) for name in names if name not in sys.modules}
    sys.modules |= ours
    try:
        yield
    finally:
        for name in ours:
            del sys.modules[name]
