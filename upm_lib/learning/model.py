"""The networks: a backbone with an 8x4 map, its stripes, and the two heads of sections 3.2-3.3.

Shapes: B frames, H x W pixels, c channels of the map, k parts, c' reduced channels.
"""

import hashlib
import logging
import urllib.request
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from upm_lib import files, runs
from upm_lib.config import MAP_ROWS, Config, UserError
from upm_lib.learning import _memory, _torchvision  # noqa: F401

# timm and torchvision are imported where they build something: they take two to three seconds,
# which nobody needs who loads a model or asks an index.

logger = logging.getLogger(__name__)


def part_pool(f: Tensor, k: int, pool: str = "gap") -> Tensor:
    """Pool k equal horizontal stripes of a map [B, c, 8, 4], 8 a multiple of k (section 3.1).

    Returns x_1 .. x_k as [B, k, c], top stripe first, not normalised: the mean over the stripe for
    "gap", the maximum for "gmp". k = 1 pools the whole map.
    """
    if f.shape[2] % k:
        raise UserError(f"k = {k} does not divide the {f.shape[2]} rows of the map")
    # Channels last, as the map is stored: all that follows then reads a feature in one piece.
    stripes = f.permute(0, 2, 3, 1).unflatten(1, (k, f.shape[2] // k))  # [B, k, 8/k, 4, c]
    return stripes.mean((2, 3)) if pool == "gap" else stripes.amax((2, 3))


class LocalAware(nn.Module):
    """Local-aware module, Eq. (1): the part features as they are, x_i^l = x_i.

    Maps [B, c, 8, 4] to [B, k, c]. With k = 1 this is the baseline, plain DAL. The length is
    "stored" (as pooled, published code) or "normalised" (1, section 3.1).
    """

    def __init__(self, c: int, k: int, pool: str = "gap", length: str = "stored") -> None:
        super().__init__()
        self.k, self.pool, self.length, self.dim = k, pool, length, c

    def forward(self, f: Tensor) -> Tensor:
        """Return [B, k, c]."""
        x = part_pool(f, self.k, self.pool)
        return F.normalize(x, dim=2) if self.length == "normalised" else x


class GlobalAware(nn.Module):
    """Global-aware module, Eq. (2): x_i^g = ReLU(BN(conv([x^_i ; x^_0]))) + x^_0.

    x^_0 .. x^_k are the whole-map and part features reduced to c' channels by 1x1 convolutions.
    Every part has weights of its own, so the k convolutions on 1x1 maps are one batched product.
    Maps [B, c, 8, 4] to [B, k, c']. The activation is "relu" (paper) or "relu6" (published code),
    the length of x_0 .. x_k "stored" (as pooled, published code) or "normalised" (1, section 3.1).
    """

    def __init__(
        self,
        c: int,
        k: int,
        c_reduced: int = 256,
        pool: str = "gap",
        activation: str = "relu",
        length: str = "stored",
    ) -> None:
        super().__init__()
        self.k, self.pool, self.length, self.dim = k, pool, length, c_reduced
        self.reduce_weight = nn.Parameter(torch.empty(k + 1, c_reduced, c))
        self.reduce_bias = nn.Parameter(torch.zeros(k + 1, c_reduced))
        self.relate_weight = nn.Parameter(torch.empty(k, c_reduced, 2 * c_reduced))
        for weight in (self.reduce_weight, self.relate_weight):
            nn.init.trunc_normal_(weight, std=weight.shape[-1] ** -0.5)
        self.bn = nn.BatchNorm1d(k * c_reduced)
        self.activation = F.relu if activation == "relu" else F.relu6

    def forward(self, f: Tensor) -> Tensor:
        """Return [B, k, c']."""
        x = torch.cat([part_pool(f, 1, self.pool), part_pool(f, self.k, self.pool)], dim=1)
        if self.length == "normalised":
            x = F.normalize(x, dim=2)
        x_hat = torch.einsum("bic,ioc->bio", x, self.reduce_weight) + self.reduce_bias
        x_0, parts = x_hat[:, :1], x_hat[:, 1:]  # [B, 1, c'], [B, k, c']
        pairs = torch.cat([parts, x_0.expand_as(parts)], dim=2)  # [B, k, 2c']
        related = torch.einsum("bic,ioc->bio", pairs, self.relate_weight)
        related = self.bn(related.flatten(1)).unflatten(1, (self.k, self.dim))
        return self.activation(related) + x_0


class UPMNet(nn.Module):
    """A backbone and one head: frames [B, 3, H, W] in [-1, 1] to part features [B, k, dim].

    k is the number of parts, dim is c (local-aware) or c' (global-aware). The features are not
    normalised; association learning and fusion do that. The first blocks of the backbone may be
    frozen: ``frozen`` then holds them with the statistics they came with, ``backbone`` the rest.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: LocalAware | GlobalAware,
        frozen: nn.Sequential | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.k, self.dim = head.k, head.dim
        self.frozen = nn.Sequential() if frozen is None else frozen.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "UPMNet":
        """Set the mode of all but the frozen blocks, which stay in evaluation mode."""
        super().train(mode)
        for block in self.frozen:
            block.eval()
        return self

    def map(self, images: Tensor) -> Tensor:
        """Return the map f [B, c, 8, 4] of frames [B, 3, H, W].

        What the frozen blocks make of the frames is accepted as well: it has more than 3 channels.
        """
        return self.backbone(self.frozen(images) if images.shape[1] == 3 else images)

    def forward(self, images: Tensor) -> Tensor:
        """Return the part features [B, k, dim] of what :meth:`map` takes."""
        return self.head(self.map(images))

    def decayed(self) -> Iterator[Tensor]:
        """Yield the weights that weight decay acts on: ordinary convolutions, nothing else.

        Not depthwise convolutions, batch normalisation or biases, as in the published code.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.groups == 1 and module.weight.requires_grad:
                yield module.weight
            if isinstance(module, GlobalAware) and module.reduce_weight.requires_grad:
                yield from (module.reduce_weight, module.relate_weight)


def _mobilenet_v1(stride: int) -> tuple[nn.Module, int]:
    import timm

    net: Any = timm.create_model("mobilenetv1_100", pretrained=False, pad_type="same")
    if stride == 16:
        net.blocks[4][0].conv_dw.stride = (1, 1)
    backbone = OrderedDict(conv_stem=net.conv_stem, bn1=net.bn1, blocks=net.blocks)
    return nn.Sequential(backbone), 1024


def _resnet50(stride: int) -> tuple[nn.Module, int]:
    from torchvision.models import resnet50

    net = resnet50(weights=None)
    if stride == 16:
        net.layer4[0].conv2.stride = net.layer4[0].downsample[0].stride = (1, 1)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict((name, getattr(net, name)) for name in names)), 2048


def _resnet50_slim(stride: int) -> tuple[nn.Module, int]:
    """ResNet50 as TensorFlow's slim arranges it: the last unit of blocks 1 to 3 has the stride."""
    backbone, c = _resnet50(32)
    backbone.maxpool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2))  # 'same'
    for first, last in ((2, 1), (3, 2), (4, 3)):
        entry = getattr(backbone, f"layer{first}")[0]
        entry.conv2.stride = entry.downsample[0].stride = (1, 1)
        if last == 3 and stride == 16:
            continue
        unit = getattr(backbone, f"layer{last}")[-1]
        unit.conv2.stride = (2, 2)
        unit.downsample = nn.MaxPool2d(1, 2)  # the identity shortcut, subsampled
    return backbone, c


def _layer(c_in: int, c: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c), nn.ReLU6(inplace=True))


def _small(stride: int) -> tuple[nn.Module, int]:
    """The first seven blocks of MobileNetV1 at half width: deeper ones do not learn in minutes."""
    if stride != 16:
        raise UserError("the small backbone takes 128x64 frames: set height = 128 and width = 64")
    stem, blocks, c = _layer(3, 16, 3, 2), nn.Sequential(), 16
    for c_out, down in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        blocks.append(nn.Sequential(_layer(c, c, 3, down, groups=c), _layer(c, c_out, 1)))
        c = c_out
    return nn.Sequential(OrderedDict(stem=stem, blocks=blocks)), c


# With eps and momentum of the batch normalisation; momentum is 1 - TensorFlow's decay.
_BACKBONES = {
    "mobilenet_v1": (_mobilenet_v1, 1e-3, 3e-4),
    "resnet50": (_resnet50, 1e-5, 0.1),
    "resnet50_slim": (_resnet50_slim, 1e-5, 3e-3),
    "small": (_small, 1e-5, 0.1),
}


def build(config: Config) -> UPMNet:
    """Build the network of a config, with its weights loaded; random parts follow ``config.seed``.

    Raises UserError for an input the backbone does not take, and for weights that are missing or
    belong to another architecture.
    """
    make, eps, momentum = _BACKBONES[config.backbone]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone, c = make(config.height // MAP_ROWS)
        head = head_of(config, c)
    for module in (*backbone.modules(), *head.modules()):
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = eps
            module.momentum = momentum if config.bn_momentum is None else config.bn_momentum
    if isinstance(head, GlobalAware) and not config.train_global_head:
        # The published code leaves the head as it was drawn, its moving statistics too.
        head.requires_grad_(False).bn.momentum = 0.0
    if config.weights is not None:
        _load(backbone, config, config.weights)
    frozen = None
    if config.freeze:
        frozen, backbone = divide(backbone, config.backbone, config.freeze)
    return UPMNet(backbone, head, frozen)


def check(config: Config) -> None:
    """Raise UserError for what :func:`build` would refuse; nothing is downloaded for it."""
    if config.weights == "imagenet":
        _check_public(config.backbone)
    local = config.weights if config.weights != "imagenet" else None
    network = build(config.replace(weights=local, freeze=0))
    if config.freeze:
        divide(network.backbone, config.backbone, config.freeze)


def channels_last(network: UPMNet, device: torch.device | str = "cpu") -> UPMNet:
    """Move a network to a device, its weights laid out channels last, and so its maps."""
    # torch's stub does not know of the memory format of a module.
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def divide(backbone: nn.Module, architecture: str, freeze: int) -> list[nn.Sequential]:
    """Part a backbone behind its first blocks: what is frozen, and the rest.

    Raises UserError if nothing would be left.
    """
    parts = dict(backbone.named_children())
    stages = [parts.pop(part) for part in list(parts) if part.startswith(("blocks", "layer"))]
    if architecture == "mobilenet_v1":  # its blocks come in stages, ResNet50's in layers
        stages = list(stages[0].children())
    blocks = [block for stage in stages for block in stage.children()]
    if freeze >= len(blocks):
        what = f"the backbone {architecture} has {len(blocks)} blocks"
        raise UserError(f"freeze = {freeze}: {what}, and at least one must be trained")
    return [nn.Sequential(*parts.values(), *blocks[:freeze]), nn.Sequential(*blocks[freeze:])]


def head_of(config: Config, c: int) -> LocalAware | GlobalAware:
    """Return the head of a config, Eq. (1) or (2), for a map of c channels; drawn anew."""
    k, pool, length = config.k, config.pool, config.part_length
    if config.branch == "local":
        return LocalAware(c, k, pool, length)
    return GlobalAware(c, k, config.c_reduced, pool, config.head_activation, length)


def _load(backbone: nn.Module, config: Config, weights: str) -> None:
    """Load trained weights into the backbone of a config, in place.

    ``weights`` is "imagenet" (downloaded on first use) or a local .safetensors or .pth file; for
    mobilenet_v1 with the names of the public file google/mobilenet_v1_1.0_224, for ResNet50 with
    torchvision's.
    """
    architecture = config.backbone
    state = _imagenet(architecture) if weights == "imagenet" else _read_state(weights)
    wanted = backbone.state_dict()
    public = architecture == "mobilenet_v1"
    names = _mobilenet_names([*wanted]) if public else {name: name for name in wanted}
    misfit = f"the weights {weights} do not fit the backbone {architecture}"
    if missing := [n for n in names.values() if n not in state and "num_batches" not in n]:
        which = f"{len(missing)} of {len(names)} tensors are missing, the first is {missing[0]!r}"
        raise UserError(f"{misfit}: {which}")
    loaded = {}
    for name, value in wanted.items():
        keep = "num_batches" in name or ("running_" in name and not config.restore_bn_statistics)
        new = value if keep else state[names[name]]
        if new.shape != value.shape:
            shapes = f"shape {tuple(new.shape)}, the backbone needs {tuple(value.shape)}"
            raise UserError(f"{misfit}: {names[name]!r} has {shapes}")
        if not keep:
            _check_numbers(new, f"the weights {weights}", names[name])
        loaded[name] = new
    backbone.load_state_dict(loaded)


def _check_numbers(values: Tensor, source: str, name: str) -> None:
    """Refuse numbers that no trained layer has."""
    if not values.is_floating_point():
        what = f"holds {values.dtype} numbers, whose scale is not known"
    elif not values.isfinite().all():
        what = "holds numbers that are not finite"
    elif name.endswith("running_var") and (values < 0).any():
        what = "holds variances below zero"
    elif values.ndim > 1 and not values.any():
        what = "is zero everywhere"
    else:
        return
    raise UserError(f"{source} are of no trained network ({name!r} {what}): give another file")


def _mobilenet_names(ours: list[str]) -> dict[str, str]:
    """Map timm's names to those of the public file, which counts the 27 convolutions in order."""
    theirs = {}
    for number, layer in enumerate(dict.fromkeys(n.rpartition(".")[0] for n in ours)):
        unit = "conv_stem" if number < 2 else f"layer.{number // 2 - 1}"
        theirs[layer] = f"mobilenet_v1.{unit}.{('convolution', 'normalization')[number % 2]}"
    return {n: f"{theirs[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}" for n in ours}


def _read_state(weights: str) -> dict[str, Tensor]:
    path = files.place(weights)
    if not path.is_file():
        advice = "give a .safetensors or .pth file, or 'imagenet' to download"
        raise UserError(f"no weights at {weights}: {advice}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)  # executes nothing
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:  # the readers raise many kinds; the advice is the same
        what = f"{weights} is not a readable weights file ({type(error).__name__})"
        advice = "give a .safetensors file, or a .pth file that holds tensors and nothing else"
        raise UserError(f"{what}: {advice}") from error


# Of the backbone of MobileNetV1 1.0_224 (TensorFlow models, slim): the download must equal it.
MOBILENET_DIGEST = "8e393daa8324ac71c13232cdfe0d213cccfd3ff4ce2f1fa5e3f2849e45d57570"


def pinned(state: dict[str, Tensor], digest: str, source: str) -> dict[str, Tensor]:
    """Return MobileNetV1 weights from a source if they are, number by number, the known ones.

    The digest is SHA-256, hexadecimal, over name, shape and content of the backbone's tensors under
    their public names; the file's header, its classifier and its counters of batches are free.

    Raises UserError otherwise.
    """
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        if name.startswith("mobilenet_v1.") and "num_batches" not in name:
            found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(value.contiguous().numpy().tobytes())
    if found.hexdigest() != digest:
        what = f"are not the known ones (their SHA-256 is {found.hexdigest()}, not {digest})"
        advice = "give the path of a file that you trust as weights"
        raise UserError(f"the weights from {source} {what}: {advice}")
    return state


MOBILENET = "https://huggingface.co/google/mobilenet_v1_1.0_224/resolve/main/model.safetensors"


def _check_public(backbone: str) -> None:
    if backbone not in ("mobilenet_v1", "resnet50"):
        raise UserError(f"there is no public source of weights for {backbone}: give a local file")


def _imagenet(backbone: str) -> dict[str, Tensor]:
    _check_public(backbone)
    from torchvision.models import ResNet50_Weights

    # The file's name holds its digest; a file in the cache is not checked again, hence nothing but
    # tensors is read from it.
    resnet = ResNet50_Weights.IMAGENET1K_V1
    address = MOBILENET if backbone == "mobilenet_v1" else resnet.url
    try:
        if backbone == "resnet50":
            return resnet.get_state_dict(progress=True, check_hash=True, weights_only=True)
        file = _downloaded(address)
    except (OSError, RuntimeError) as error:
        what = f"of {backbone} could not be downloaded from {address} ({error})"
        advice = "fetch the file elsewhere and give its path: --weights FILE, or weights"
        raise UserError(f"the ImageNet weights {what}: {advice}") from error
    try:
        return pinned(_read_state(str(file)), MOBILENET_DIGEST, str(file))
    except UserError:
        runs.remove(file)  # cut off, say: it would be taken for the download ever after
        raise


def _downloaded(address: str) -> Path:
    """Return a file of the run store that holds what is at an address; got now if need be."""
    file = runs.store() / "weights" / "mobilenet_v1_1.0_224.safetensors"
    if not file.is_file():
        logger.warning("downloading %s (17 MB) to %s", address, file.parent)
        with urllib.request.urlopen(address, timeout=10) as answer, runs.replacing(file) as new:
            new.write_bytes(answer.read(files.LARGEST))
    return file
