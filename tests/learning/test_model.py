"""Backbones and heads against loops written for reading and the published network's numbers."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from imagenet_weights import WEIGHTS, needs_weights
from safetensors.torch import save_file
from torch import Tensor, nn

from upm_lib.config import Config, UserError, preset
from upm_lib.learning import model
from upm_lib.learning.model import GlobalAware, LocalAware, UPMNet, build, part_pool

GOLDEN = Path(__file__).parents[1] / "golden" / "mobilenet_local_k4.npz"
SMALL = preset("synthetic_clean", "demo", k=4)


pytestmark = pytest.mark.usefixtures("one_thread")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative(ours: Tensor, golden: np.ndarray) -> float:
    """Largest difference over the largest value."""
    golden = torch.from_numpy(golden)
    return float((ours.detach() - golden).abs().max() / golden.abs().max())


# ---------------------------------------------------------------- stripes


@pytest.mark.parametrize("pool", ["gap", "gmp"])
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_part_pool_equals_the_loop(k: int, pool: str) -> None:
    f = noise(2, 3, 8, 4)
    pooled = part_pool(f, k, pool)
    assert pooled.shape == (2, k, 3)
    height = 8 // k
    for b in range(2):
        for part in range(k):
            for channel in range(3):
                stripe = f[b, channel, part * height : (part + 1) * height].flatten().tolist()
                wanted = sum(stripe) / len(stripe) if pool == "gap" else max(stripe)
                assert float(pooled[b, part, channel]) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("k", [3, 5, 6, 7, 16])
def test_parts_that_do_not_divide_the_rows_are_refused(k: int) -> None:
    with pytest.raises(UserError, match=f"k = {k} does not divide the 8 rows"):
        part_pool(noise(1, 2, 8, 4), k)


def test_the_first_part_is_the_top() -> None:
    f = torch.zeros(1, 1, 8, 4)
    f[:, :, :2] = 1
    assert part_pool(f, 4)[0, :, 0].tolist() == [1, 0, 0, 0]


def test_one_local_part_is_the_mean_of_the_map() -> None:
    f = noise(2, 5, 8, 4)
    torch.testing.assert_close(LocalAware(5, 1)(f), f.mean((2, 3))[:, None])
    torch.testing.assert_close(LocalAware(5, 1, "gmp")(f), f.amax((2, 3))[:, None])
    long, unit = LocalAware(5, 4)(f), LocalAware(5, 4, length="normalised")(f)
    torch.testing.assert_close(unit.norm(dim=2), torch.ones(len(f), 4))
    torch.testing.assert_close(unit * long.norm(dim=2, keepdim=True), long)


def test_the_mean_of_the_parts_is_the_mean_of_the_map() -> None:
    f = noise(2, 5, 8, 4)
    torch.testing.assert_close(LocalAware(5, 8)(f).mean(1), f.mean((2, 3)))


# ---------------------------------------------------------------- the global-aware head


def a_head(k: int, activation: str = "relu", length: str = "stored") -> GlobalAware:
    """A head whose batch normalisation is not the identity."""
    torch.manual_seed(0)
    head = GlobalAware(10, k, c_reduced=6, activation=activation, length=length)
    for tensor in (head.reduce_bias, head.bn.weight, head.bn.bias, head.bn.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(head.bn.running_var, 0.5, 2)
    return head


def naive_global(head: GlobalAware, f: Tensor, training: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. (2) part by part with 1x1 convolutions; also the moving statistics afterwards."""
    k, c, bn = head.k, head.dim, head.bn
    rows = f.shape[2] // k
    mean = bn.running_mean.clone().view(k, c)
    var = bn.running_var.clone().view(k, c)

    def reduce(number: int, stripe: Tensor) -> Tensor:
        x = F.avg_pool2d(stripe, stripe.shape[2:])
        if head.length == "normalised":
            x = x / x.pow(2).sum(1, keepdim=True).sqrt()
        return F.conv2d(x, head.reduce_weight[number, :, :, None, None], head.reduce_bias[number])

    whole = reduce(0, f)
    out = []
    for i in range(k):
        part = reduce(i + 1, f[:, :, i * rows : (i + 1) * rows])
        both = torch.cat([part, whole], 1)
        related = F.conv2d(both, head.relate_weight[i, :, :, None, None])
        scale, shift = bn.weight.view(k, c)[i], bn.bias.view(k, c)[i]
        related = F.batch_norm(
            related, mean[i], var[i], scale, shift, training, bn.momentum, bn.eps
        )
        out.append((head.activation(related) + whole).flatten(1))
    return torch.stack(out, 1), mean.flatten(), var.flatten()


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("length", ["stored", "normalised"])
@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_global_head_equals_convolutions_part_by_part(
    k: int, activation: str, length: str, training: bool
) -> None:
    head = a_head(k, activation, length).train(training)
    head.bn.eps, head.bn.momentum = 1e-3, 0.25
    f = 3 * noise(5, 10, 8, 4)
    expected, mean, var = naive_global(head, f, training)
    features = head(f)
    assert features.shape == (5, k, 6)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(head.bn.running_mean, mean)
    torch.testing.assert_close(head.bn.running_var, var)


def test_the_activation_follows_the_config() -> None:
    for activation, wanted in (("relu", 9.0), ("relu6", 6.0)):
        head = build(SMALL.replace(branch="global", head_activation=activation)).head
        assert float(head.activation(torch.tensor(9.0))) == wanted


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_without_a_relation_every_part_is_the_whole(training: bool) -> None:
    head = a_head(4).train(training)
    for tensor in (head.relate_weight, head.bn.weight, head.bn.bias):
        nn.init.zeros_(tensor)
    f = noise(3, 10, 8, 4)
    whole = F.linear(f.mean((2, 3)), head.reduce_weight[0], head.reduce_bias[0])
    torch.testing.assert_close(head(f), whole[:, None].expand(-1, 4, -1))


def test_a_part_depends_on_its_own_stripe_and_on_the_mean_only() -> None:
    head = a_head(2).eval()
    f = noise(1, 10, 8, 4)
    changed = f.clone()
    changed[:, :, 4:] = f[:, :, 4:].flip(2, 3)  # same mean of the lower half
    torch.testing.assert_close(head(changed), head(f))
    changed[:, :, 4:] += 1
    assert bool((head(changed) != head(f)).any(-1).all())


# ---------------------------------------------------------------- training the parameters


def one_step(network: UPMNet) -> None:
    """One step of plain gradient descent on a function that every output enters."""
    features = network.train()(noise(4, 3, 128, 64))
    (features * noise(*features.shape, seed=1)).sum().backward()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1).step()


@pytest.mark.parametrize("branch", ["local", "global"])
def test_every_parameter_learns(branch: str) -> None:
    network = build(SMALL.replace(branch=branch, c_reduced=32))
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    assert any(n.startswith("head.") for n in before) == (branch == "global")
    one_step(network)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name
        assert not torch.equal(parameter, before[name]), name


def test_the_head_that_is_not_trained_stays_as_drawn() -> None:
    config = SMALL.replace(branch="global", c_reduced=32, train_global_head=False)
    network = build(config)
    before = {n: t.clone() for n, t in network.head.state_dict().items()}
    one_step(network)
    for parameter in network.head.parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None
    for name, tensor in network.head.state_dict().items():
        if name != "bn.num_batches_tracked":  # counts, and is not used
            assert torch.equal(tensor, before[name]), name
    for (
        name,
        parameter,
    ) in network.backbone.named_parameters():  # gradients pass through to the backbone
        assert bool(parameter.grad.any()), name


def test_the_head_that_is_not_trained_uses_batch_statistics_in_training() -> None:
    network = build(SMALL.replace(branch="global", c_reduced=32, train_global_head=False))
    f = noise(4, 256, 8, 4)
    expected, _, _ = naive_global(network.head, f, training=True)
    torch.testing.assert_close(network.head.train()(f), expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- building


INPUTS = [
    (backbone, height)
    for backbone in ("mobilenet_v1", "resnet50", "resnet50_slim", "small")
    for height in (256, 128)
    if (backbone, height) != ("small", 256)
]
CHANNELS = {"mobilenet_v1": 1024, "resnet50": 2048, "resnet50_slim": 2048, "small": 256}


@pytest.mark.parametrize(("backbone", "height"), INPUTS)
def test_the_map_is_eight_by_four(backbone: str, height: int) -> None:
    network = build(Config(backbone=backbone, height=height, width=height // 2, k=4)).eval()
    with torch.inference_mode():
        f = network.backbone(noise(1, 3, height, height // 2))
    assert f.shape == (1, CHANNELS[backbone], 8, 4)
    assert torch.isfinite(f).all()
    assert (network.k, network.dim) == (4, CHANNELS[backbone])


def test_the_global_network_has_the_reduced_length() -> None:
    network = build(SMALL.replace(branch="global", k=8)).eval()
    assert (network.k, network.dim) == (8, 256)
    with torch.inference_mode():
        assert network(noise(2, 3, 128, 64)).shape == (2, 8, 256)


def test_the_small_backbone_refuses_large_frames() -> None:
    with pytest.raises(UserError, match="128x64"):
        build(Config(backbone="small"))


@pytest.mark.parametrize("branch", ["local", "global"])
def test_the_seed_decides_the_weights(branch: str) -> None:
    config = SMALL.replace(branch=branch)
    torch.manual_seed(1)
    first = build(config).state_dict()
    torch.manual_seed(2)
    second = build(config).state_dict()
    other = build(config.replace(seed=1)).state_dict()
    assert all(torch.equal(t, second[n]) for n, t in first.items())
    assert not torch.equal(first["backbone.stem.0.weight"], other["backbone.stem.0.weight"])
    if branch == "global":
        assert not torch.equal(first["head.reduce_weight"], other["head.reduce_weight"])


def test_both_branches_of_a_seed_start_with_the_same_backbone() -> None:
    local, over_all = (build(SMALL.replace(branch=b)).backbone for b in ("local", "global"))
    theirs = over_all.state_dict()
    assert all(torch.equal(t, theirs[n]) for n, t in local.state_dict().items())


def test_building_does_not_disturb_the_random_numbers() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    build(SMALL.replace(branch="global"))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("backbone", "eps", "momentum"),
    [("mobilenet_v1", 1e-3, 3e-4), ("resnet50_slim", 1e-5, 3e-3), ("small", 1e-5, 0.1)],
)
def test_batch_normalisation_of_the_published_code(
    backbone: str, eps: float, momentum: float
) -> None:
    config = Config(backbone=backbone, height=128, width=64, k=2, branch="global", c_reduced=8)
    for wanted, network in (
        (momentum, build(config)),
        (0.2, build(config.replace(bn_momentum=0.2))),
    ):
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
        layers = [m for m in network.modules() if isinstance(m, kinds)]
        assert layers
        assert {(m.eps, m.momentum) for m in layers} == {(eps, wanted)}


# ---------------------------------------------------------------- ResNet50 as slim arranges it


def strides(backbone: nn.Sequential) -> list[list[int]]:
    """Stride of the 3x3 convolution of each unit of the four blocks."""
    blocks = [getattr(backbone, f"layer{number}") for number in (1, 2, 3, 4)]
    return [[unit.conv2.stride[0] for unit in block] for block in blocks]


def test_slim_strides_in_the_last_unit_of_the_first_three_blocks() -> None:
    backbone = build(Config(backbone="resnet50_slim")).backbone
    assert strides(backbone) == [[1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 1, 1, 2], [1, 1, 1]]
    entries = [getattr(backbone, f"layer{number}")[0] for number in (1, 2, 3, 4)]
    assert [e.downsample[0].stride[0] for e in entries] == [1, 1, 1, 1]
    assert {unit.conv1.stride for block in backbone[4:] for unit in block} == {(1, 1)}
    small = build(Config(backbone="resnet50_slim", height=128, width=64)).backbone
    assert strides(small) == [[1, 1, 2], [1, 1, 1, 2], [1] * 6, [1, 1, 1]]


def test_torchvision_strides_in_the_first_unit() -> None:
    backbone = build(Config(backbone="resnet50")).backbone
    assert strides(backbone) == [[1, 1, 1], [2, 1, 1, 1], [2, 1, 1, 1, 1, 1], [2, 1, 1]]


def naive_same_pool(x: Tensor) -> Tensor:
    """3x3 maximum with stride 2, padded after the last row and column only."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    rows = [
        [x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax((2, 3)) for j in range(width)]
        for i in range(height)
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def test_slim_pools_and_subsamples_as_the_loops() -> None:
    backbone = build(Config(backbone="resnet50_slim", height=128, width=64)).backbone.eval()
    x = noise(2, 64, 8, 6).relu()
    assert torch.equal(backbone.maxpool(x), naive_same_pool(x))
    unit = backbone.layer1[-1]
    x = noise(1, 256, 6, 4).relu()
    residual = unit.bn1(unit.conv1(x)).relu()
    padded = F.pad(residual, (1, 1, 1, 1))  # symmetric, whatever the stride
    residual = torch.zeros(1, 64, 3, 2)
    for i in range(3):
        for j in range(2):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            residual[:, :, i, j] = (window * unit.conv2.weight).sum((1, 2, 3))
    residual = unit.bn3(unit.conv3(unit.bn2(residual).relu()))
    expected = (residual + x[:, :, ::2, ::2]).relu()
    torch.testing.assert_close(unit(x), expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- weight decay


def test_decay_acts_on_ordinary_convolutions_only() -> None:
    golden = np.load(GOLDEN)
    network = build(Config(k=4))
    decayed = {id(p) for p in network.decayed()}
    names = [n for n, p in network.named_parameters() if id(p) in decayed]
    assert len(names) == golden["regularisation_terms_total_trunk_count"][1] == 14
    assert not any("bn" in n or "bias" in n or "conv_dw" in n for n in names)
    assert names[0] == "backbone.conv_stem.weight"
    assert all(n.endswith("conv_pw.weight") for n in names[1:])


def test_decay_includes_a_trained_head_and_leaves_out_a_fixed_one() -> None:
    count = {}
    for trained in (True, False):
        network = build(SMALL.replace(branch="global", train_global_head=trained))
        decayed = list(network.decayed())
        count[trained] = len(decayed)
        head = [network.head.reduce_weight, network.head.relate_weight]
        assert all(any(p is w for p in decayed) == trained for w in head)
        assert all(p.requires_grad and p.ndim > 1 for p in decayed)
    assert count[True] == count[False] + 2
    assert sum(1 for _ in build(Config(backbone="resnet50_slim")).decayed()) == 53


# ---------------------------------------------------------------- weights


def public_names(backbone: nn.Module) -> dict[str, Tensor]:
    """The backbone's tensors under the names of the public MobileNetV1 file."""
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(convolutions) == len(norms) == 27
    state = {"classifier.weight": torch.zeros(3, 3), "classifier.bias": torch.zeros(3)}
    for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        unit = "conv_stem" if number == 0 else f"layer.{number - 1}"
        state[f"mobilenet_v1.{unit}.convolution.weight"] = convolution.weight.detach()
        for name, tensor in norm.state_dict().items():
            state[f"mobilenet_v1.{unit}.normalization.{name}"] = tensor
    return state


def a_mobilenet(seed: int = 7) -> nn.Module:
    """A random backbone whose moving statistics are random too."""
    backbone = build(Config(seed=seed)).backbone
    torch.manual_seed(seed)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return backbone


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_under_the_public_names_come_back(tmp_path: Path, suffix: str) -> None:
    backbone, path = a_mobilenet(), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(public_names(backbone), path)
    else:
        save_file(public_names(backbone), path)
    loaded = build(Config(weights=str(path))).backbone.state_dict()
    for name, tensor in backbone.state_dict().items():
        if "num_batches_tracked" not in name:
            assert torch.equal(loaded[name], tensor), name


def test_moving_statistics_can_be_left_at_zero_and_one(tmp_path: Path) -> None:
    backbone, path = a_mobilenet(), tmp_path / "weights.safetensors"
    save_file(public_names(backbone), path)
    loaded = build(Config(weights=str(path), restore_bn_statistics=False)).backbone.state_dict()
    for name, tensor in backbone.state_dict().items():
        if "running_mean" in name:
            assert not loaded[name].any(), name
        elif "running_var" in name:
            assert bool((loaded[name] == 1).all()), name
        elif "num_batches_tracked" not in name:
            assert torch.equal(loaded[name], tensor), name


def test_resnet_weights_have_torchvision_names(tmp_path: Path) -> None:
    config = Config(backbone="resnet50_slim", height=128, width=64)
    state = build(config.replace(seed=5)).backbone.state_dict()
    path = tmp_path / "resnet.pth"
    torch.save(state | {"fc.weight": torch.zeros(2, 2)}, path)
    loaded = build(config.replace(weights=str(path))).backbone.state_dict()
    assert {"conv1.weight", "layer1.0.conv1.weight", "layer4.2.bn3.running_var"} <= set(loaded)
    assert all(torch.equal(t, state[n]) for n, t in loaded.items())


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.safetensors"
    with pytest.raises(UserError, match="no weights at") as caught:
        build(Config(weights=str(path)))
    assert str(path) in str(caught.value)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_file(build(SMALL).backbone.state_dict(), path)
    with pytest.raises(
        UserError, match=r"do not fit the backbone mobilenet_v1: .* missing"
    ) as caught:
        build(Config(weights=str(path)))
    assert str(path) in str(caught.value)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    name = "mobilenet_v1.layer.3.convolution.weight"
    save_file(public_names(a_mobilenet()) | {name: torch.zeros(128, 128, 1, 1)}, path)
    with pytest.raises(UserError, match=r"\(128, 128, 1, 1\)") as caught:
        build(Config(weights=str(path)))
    assert str(path) in str(caught.value)
    assert name in str(caught.value)


class _Executes:
    """Pickles as a call that creates a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return Path.touch, (self.witness,)


def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    witness, path = tmp_path / "executed", tmp_path / "weights.pth"
    torch.save({"mobilenet_v1.conv_stem.convolution.weight": _Executes(witness)}, path)
    with pytest.raises((pickle.UnpicklingError, UserError)):
        build(Config(weights=str(path)))
    assert not witness.exists()


def test_weights_without_a_public_source_are_refused() -> None:
    with pytest.raises(UserError, match="no public source of weights for small"):
        build(SMALL.replace(weights="imagenet"))


# ---------------------------------------------------------------- the published network


def backbone_of_the_published_network() -> UPMNet:
    return build(Config(k=4, weights=str(WEIGHTS)))


def run_golden(network: UPMNet) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Map, part features and the output of every convolution after BN and activation."""
    images = torch.from_numpy(np.load(GOLDEN)["images"]).permute(0, 3, 1, 2).contiguous()
    seen: list[Tensor] = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, out: seen.append(out))
        for m in network.modules()
        if isinstance(m, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        f = network.backbone(images)
        parts = network.head(f)
    for hook in hooks:
        hook.remove()
    return f, parts, seen


@needs_weights
def test_the_weights_file_has_the_public_names() -> None:
    from safetensors import safe_open

    with safe_open(WEIGHTS, framework="pt") as file:
        assert set(public_names(a_mobilenet())) == set(file.keys())


@needs_weights
@pytest.mark.parametrize(("mode", "tolerance"), [("eval", 5e-5), ("train", 2e-4)])
def test_map_and_parts_of_the_published_network(mode: str, tolerance: float) -> None:
    golden = np.load(GOLDEN)
    network = backbone_of_the_published_network().train(mode == "train")
    f, parts, layers = run_golden(network)
    assert relative(f.permute(0, 2, 3, 1), golden[f"{mode}/PrePool"]) <= tolerance
    assert relative(parts, golden[f"{mode}/AvgPool"]) <= tolerance
    assert len(layers) == len(golden["trunk_endpoint_names"]) == 27
    for number, name in enumerate(golden["trunk_endpoint_names"]):
        mean = golden[f"{mode}/trunk_endpoint_mean"][number]
        std = golden[f"{mode}/trunk_endpoint_std"][number]
        assert float(layers[number].mean()) == pytest.approx(mean, rel=1e-5), name
        assert float(layers[number].std(correction=0)) == pytest.approx(std, rel=1e-5), name


@needs_weights
def test_moving_statistics_after_one_update_of_the_published_network() -> None:
    golden = np.load(GOLDEN)
    network = backbone_of_the_published_network().train()
    run_golden(network)
    norms = [m for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    prefix = "train/after_one_update/MobilenetV1/"
    names = [n for n in golden.files if n.startswith(prefix)]
    assert len(names) == 8
    for name in names:
        layer, _, statistic = name.removeprefix(prefix).split("/")
        number = list(golden["trunk_endpoint_names"]).index(layer)
        norm = norms[number]
        ours = norm.running_mean if statistic == "moving_mean" else norm.running_var
        assert relative(ours, golden[name]) <= 1e-5, name


@needs_weights
def test_weight_decay_of_the_published_network() -> None:
    golden = np.load(GOLDEN)
    network = backbone_of_the_published_network()
    total = sum(float(p.detach().square().sum()) for p in network.decayed())
    wanted = float(golden["regularisation_trunk_sum"])
    assert Config().weight_decay * total / 2 == pytest.approx(wanted, rel=1e-5)


def test_the_network_is_backbone_then_head() -> None:
    network = build(SMALL).eval()
    images = noise(2, 3, 128, 64)
    with torch.inference_mode():
        features = network(images)
        expected = model.part_pool(network.backbone(images), 4)
    assert torch.equal(features, expected)
