"""A trained model as one file: networks, config and origin; whoever has it describes tracklets."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from upm_lib import config as configs
from upm_lib import distributed, files, runs
from upm_lib.config import MAP_ROWS, Config, UserError
from upm_lib.data.packing import Pixels, resized
from upm_lib.learning import mobilenet, model
from upm_lib.learning.model import UPMNet
from upm_lib.retrieval import features

VERSION = 2  # of the file's format
KEY = "upmnet"  # of the file's metadata
SUFFIX = ".safetensors"
LARGEST = 4096  # pixels of a side of the packed frames
# What the networks of a model have in common: how frames are put in, and vectors together.
ALIKE = ("k", "height", "width", "resize", *configs.EVALUATION_FIELDS)
CLIP = NDArray[np.uint8]  # one tracklet: frames [T, H, W, 3], RGB


@dataclass(frozen=True)
class Origin:
    """What a model was trained on, without names of people or places."""

    dataset: str
    trial: int
    cameras: int
    tracklets: int  # that trained
    frames: int  # of these tracklets
    digest: str  # of all frames of the data set
    meaning: str  # and of what was said of them: whose, whence
    size: tuple[int, int]  # height and width of its packed frames; others are brought to it first


class Clips(Pixels):
    """Frames in memory in the place of a data set's packed ones."""

    def __init__(self, clips: Sequence[CLIP], size: tuple[int, int]) -> None:
        self.tracklet = np.repeat(np.arange(len(clips)), [len(clip) for clip in clips])
        self.pixels = np.stack([resized(frame, size) for clip in clips for frame in clip])


@dataclass(frozen=True)
class Model:
    """Trained networks that together give a tracklet one vector: local-aware and global-aware.

    A model of one network works alike. ``configs`` are those of the networks, in their order.
    """

    networks: tuple[UPMNet, ...]
    configs: tuple[Config, ...]
    origin: Origin
    versions: dict[str, str]

    @property
    def dim(self) -> int:
        """How many numbers D a vector has."""
        return sum(network.k * network.dim for network in self.networks)

    @cached_property
    def digest(self) -> str:
        """12 hex digits that tell models apart: over the networks' tensors and all settings."""
        return _digest(self._tensors(), self._about())[:12]

    @cached_property
    def _folded(self) -> list[UPMNet]:
        return [features.folded(network) for network in self.networks]

    def describe(self, frames: CLIP) -> NDArray[np.float32]:
        """Return the vector [D], of unit length, of one tracklet.

        ``frames`` are uint8 RGB [T, H, W, 3] of any size, cut out around one person; they are
        resized as those of the training were.
        """
        return self.describe_many([frames])[0]

    def describe_many(self, clips: Sequence[CLIP]) -> NDArray[np.float32]:
        """Return the vectors [N, D], of unit length, of several tracklets; see :meth:`describe`.

        Raises UserError for what are no frames.
        """
        for clip in clips:
            if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3 or not clip.size:
                got = f"{clip.dtype} {list(clip.shape)}"
                raise UserError(f"a tracklet is uint8 [T, H, W, 3], RGB, with T >= 1, not {got}")
        if not clips:
            return np.empty((0, self.dim), np.float32)
        source, every = Clips(clips, self.origin.size), np.arange(len(clips))
        found = features.tracklet_features(self._folded, source, every, self.configs[0])
        return found.numpy()

    def save(self, path: str | Path) -> Path:
        """Write the model as one safetensors file, whole or not at all; return its path.

        Raises UserError for a name that does not end in .safetensors, and where nothing can be
        written.
        """
        place, tensors, about = check_name(path), self._tensors(), self._about()
        text = json.dumps(about | {"sha256": _digest(tensors, about)}, sort_keys=True)
        with runs.replacing(place) as temporary:
            temporary.write_bytes(save(tensors, {KEY: text}))  # a full disk is Python's error
        return place

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": tensor.detach().cpu().contiguous()
            for number, network in enumerate(self.networks)
            for name, tensor in network.state_dict().items()
        }

    def _about(self) -> dict[str, Any]:
        settings = [configs.to_json(config) for config in self.configs]
        about = {"version": VERSION, "configs": settings, "origin": asdict(self.origin)}
        return json.loads(json.dumps(about | {"versions": self.versions}))


def nameless(config: Config) -> Config:
    """Return a config that names no place: weights keep the name of their file."""
    weights = None if config.weights is None else Path(config.weights).name
    return config.replace(root=None, weights=weights)


def check_name(path: str | Path) -> Path:
    """Return the path of a model file to be written; raise UserError for a name it cannot have."""
    return files.target(path, "the model", SUFFIX)


def skeleton(config: Config) -> UPMNet:
    """Return the network of a config with tensors that have a shape and no content."""
    with torch.device("meta"):
        network = _unloaded(config.replace(weights=None, freeze=0))
    if not config.freeze:
        return network
    frozen, rest = model.divide(network.backbone, config.backbone, config.freeze)
    return UPMNet(rest, network.head, frozen)


def _unloaded(config: Config) -> UPMNet:
    """Build a network; MobileNetV1 without timm, whose import takes longer than all of loading."""
    if config.backbone != "mobilenet_v1":
        return model.build(config)
    head = model.head_of(config, mobilenet.CHANNELS)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eps = mobilenet.EPS
    return UPMNet(mobilenet.backbone(config.height // MAP_ROWS), head)


def load(path: str | Path, device: torch.device | str | None = None) -> Model:
    """Return the model in a file that :meth:`Model.save` wrote; nothing in it is executed.

    Device None is a GPU if there is one. Every byte is checked.

    Raises UserError for a file that is missing, damaged, of another kind or another version, and
    for a device that is not there.
    """
    where, place = distributed.pick_device(device), files.place(path)
    if not place.is_file():
        advice = "make one with `python -m upm_lib train both --save FILE`"
        raise UserError(f"there is no model file {path}: {advice}")
    try:
        with safe_open(place, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about is None:
            raise UserError(f"{path} is no model file: its header does not say {KEY!r}")
        if about["version"] != VERSION:
            what = f"{path} is a model file of version {about['version']}"
            raise UserError(f"{what}, and this program reads {VERSION}: update it")
        if _digest(tensors, about) != about["sha256"]:
            raise ValueError("another checksum")
        return _built(about, tensors, where)
    except UserError:
        raise
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError,
            AttributeError, RecursionError) as error:  # fmt: skip
        what = f"{path} is damaged, or no model file ({type(error).__name__})"
        raise UserError(f"{what}: get it anew from where it came") from error


def _built(about: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> Model:
    settings = tuple(configs.from_json(values) for values in about["configs"])
    size = tuple(about["origin"]["size"])
    inputs = {tuple(getattr(config, name) for name in ALIKE) for config in settings}
    sides = len(size) == 2 and all(type(n) is int and 1 <= n <= LARGEST for n in size)
    if len(settings) not in (1, 2) or len(inputs) > 1 or not sides:
        raise ValueError("networks that do not go together, or frames of no size")
    networks = []
    for number, config in enumerate(settings):
        network, start = skeleton(config), f"{number}."
        own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        kinds = {n: t.dtype for n, t in network.state_dict().items()}
        if kinds != {n: t.dtype for n, t in own.items()} or not all(map(_finite, own.values())):
            raise ValueError("other tensors than its config says, or numbers that are none")
        network.load_state_dict(own, assign=True)
        networks.append(model.channels_last(network, device).eval())
    origin = Origin(**about["origin"] | {"size": size})
    return Model(tuple(networks), settings, origin, about["versions"])


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def _digest(tensors: dict[str, Tensor], about: dict[str, Any]) -> str:
    """Return the SHA-256 over tensors, by name, and all that is said of them but the digest."""
    said = {name: value for name, value in about.items() if name != "sha256"}
    text = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        text.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        text.update(tensor.contiguous().numpy().data)
    return text.hexdigest()
