"""What use costs: loading a model, describing tracklets, and the same network under ONNX."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks import timing
from benchmarks.index import untrained
from upm_lib.data.packing import decode
from upm_lib.deploy import export
from upm_lib.deploy.index import open_index
from upm_lib.learning import model
from upm_lib.retrieval import features, model_file
from upm_lib.retrieval.model_file import Clips, Model
from upm_lib.synthetic import world

RUNS = 5
LOADING = {
    "`import torch`": "import torch",
    "and the networks' code": "import upm_lib.retrieval.model_file",
    "and a model": "import sys, upm_lib; upm_lib.load(sys.argv[1], 'cpu')",
}


def loading(file: Path) -> list[list[str]]:
    """CPU seconds of a fresh interpreter."""
    rows = []
    for name, code in LOADING.items():
        seconds = []
        for _ in range(RUNS + 1):
            before = os.times()
            subprocess.run([sys.executable, "-c", code, str(file)], check=True)
            after = os.times()
            used = (after.children_user, after.children_system)
            seconds.append(sum(used) - before.children_user - before.children_system)
        rows.append([name, f"{np.median(seconds[1:]):.2f}"])
    return rows


def parted(made: Model) -> Model:
    """The same with its first 11 blocks frozen, as those of scale `frozen` are."""
    networks = []
    for network in made.networks:
        frozen, rest = model.divide(deepcopy(network.backbone), "mobilenet_v1", 11)
        networks.append(model.channels_last(model.UPMNet(rest, network.head, frozen)).eval())
    return replace(made, networks=tuple(networks))


def describing(made: Model, folder: Path) -> list[list[str]]:
    """CPU milliseconds a frame of each way to describe, and how many times the bare extraction."""
    drawn = world.write(world.World(identities=8, cameras=2, frames=20), folder / "drawn")
    gallery = drawn / "multi_shot"
    read = [[decode(f) for f in sorted(place.iterdir())] for place in sorted(gallery.glob("*/*"))]
    clips = [np.stack([image for image in one if image is not None]) for one in read]
    source, every = Clips(clips, made.origin.size), np.arange(len(clips))
    halves = parted(made)
    free = iter([open_index(folder / f"{n}.lance", made) for n in range(RUNS + 1)])
    calls: dict[str, Callable[[], object]] = {
        "bare": lambda: features.tracklet_features(made._folded, source, every, made.configs[0]),
        "describe_many": lambda: made.describe_many(clips),
        "describe": lambda: [made.describe(clip) for clip in clips],
        "index": lambda: next(free).add(gallery),
        "describe_many, 11 blocks in common": lambda: halves.describe_many(clips),
    }
    seconds = timing.alternating(calls, RUNS)
    rows = []
    for name, used in seconds.items():
        ratios = [one / bare for one, bare in zip(used, seconds["bare"], strict=True)]
        each, ratio = 1000 * np.median(used) / len(source.tracklet), np.median(ratios)
        rows.append([name, f"{each:.1f}", f"{ratio:.3f}"])
    return rows


def runtimes(made: Model, file: Path) -> tuple[float, list[list[str]]]:
    """How far onnxruntime's vectors are from PyTorch's at most, and a row for each of the two."""
    path = export.to_onnx(made, file.with_suffix(".onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    whole, config = export.Fused(made).eval(), made.configs[0]
    images = torch.randn(16, 3, config.height, config.width)
    images = images.to(memory_format=torch.channels_last)
    given = {"frames": images.numpy()}

    def plain() -> torch.Tensor:
        with torch.inference_mode():
            return whole(images)

    (found,) = session.run(["vectors"], given)
    apart = float(np.abs(found - plain().numpy()).max())
    calls = {"PyTorch": plain, "onnxruntime": lambda: session.run(["vectors"], given)}
    seconds = timing.medians(calls, RUNS)
    sizes = {"PyTorch": file.stat().st_size, "onnxruntime": path.stat().st_size}
    rows = [[n, f"{sizes[n] / 1e6:.0f}", f"{1000 * s / 16:.1f}"] for n, s in seconds.items()]
    return apart, rows


def main() -> None:
    """Print the tables; one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["UPM_RUNS"] = place
        file = untrained().save(Path(place) / "model.safetensors")
        made = model_file.load(file, "cpu")
        print("## Use: a model file, describing, ONNX\n")
        print(
            f"CPU seconds of a fresh interpreter; the file has {file.stat().st_size / 1e6:.0f} MB "
            "(both MobileNetV1). Aim: 1 s for a model beyond `import torch`.\n"
        )
        print(timing.table(("code", "CPU s"), loading(file)), flush=True)
        print(
            "\nDescribing 16 tracklets of 20 frames by both networks, 256x128, against the bare "
            "extraction from frames in memory; `index` reads pictures and writes vectors, too. "
            "The last line has a model of scale `frozen`, whose networks share their first 11 "
            "blocks: those run once. Medians; ratios between neighbouring runs. Aim: at most 1.05 "
            "times.\n"
        )
        head = ("way", "CPU ms a frame", "over bare")
        print(timing.table(head, describing(made, Path(place))), flush=True)
        apart, rows = runtimes(made, file)
        print(
            "\nThe fused vector of a frame, both MobileNetV1 in one network, 16 frames at a time, "
            f"one thread. The largest difference between the two is {apart:.0e} (aim: 1e-4).\n"
        )
        print(timing.table(("runtime", "file MB", "CPU ms a frame"), rows))


if __name__ == "__main__":
    main()
