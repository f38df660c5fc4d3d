"""What use costs: loading a model, describing tracklets, and the same network under ONNX."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks import timing
from benchmarks.index import untrained
from upm_lib.data.packing import decode
from upm_lib.deploy import export
from upm_lib.deploy.index import open_index
from upm_lib.retrieval import features
from upm_lib.retrieval.model_file import Clips
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
        for _ in range(4):
            before = os.times()
            subprocess.run([sys.executable, "-c", code, str(file)], check=True)
            after = os.times()
            used = (after.children_user, after.children_system)
            seconds.append(sum(used) - before.children_user - before.children_system)
        rows.append([name, f"{np.median(seconds[1:]):.2f}"])
    return rows


def main() -> None:
    """Print the tables; one thread."""
    torch.set_num_threads(1)
    made = untrained()
    with tempfile.TemporaryDirectory() as place:
        os.environ["UPM_RUNS"] = place
        file = made.save(Path(place) / "model.safetensors")
        print("## Use: a model file, describing, ONNX\n")
        print(
            f"CPU seconds of a fresh interpreter; the file has {file.stat().st_size / 1e6:.0f} MB "
            "(both MobileNetV1). Aim: 1 s for a model beyond `import torch`.\n"
        )
        print(timing.table(("code", "CPU s"), loading(file)), flush=True)

        drawn = world.write(world.World(identities=8, cameras=2, frames=20), Path(place) / "drawn")
        folders = sorted((drawn / "multi_shot").glob("*/*"))
        read = [[decode(file) for file in sorted(folder.iterdir())] for folder in folders]
        clips = [np.stack([image for image in one if image is not None]) for one in read]
        source, every = Clips(clips, made.origin.size), np.arange(len(clips))
        networks, config = made._folded, made.configs[0]
        free = iter([open_index(Path(place) / f"{n}.lance", made) for n in range(RUNS + 1)])
        calls: dict[str, Callable[[], object]] = {
            "bare": lambda: features.tracklet_features(networks, source, every, config),
            "describe_many": lambda: made.describe_many(clips),
            "describe": lambda: [made.describe(clip) for clip in clips],
            "index": lambda: next(free).add(drawn / "multi_shot"),
        }
        seconds = timing.alternating(calls, RUNS)
        frames = sum(map(len, clips))
        rows = []
        for name, used in seconds.items():
            ratios = [one / bare for one, bare in zip(used, seconds["bare"], strict=True)]
            each, ratio = 1000 * np.median(used) / frames, np.median(ratios)
            rows.append([name, f"{each:.1f}", f"{ratio:.3f}"])
        print(
            f"\nDescribing {len(clips)} tracklets of 20 frames by both networks, 256x128, against "
            "the bare extraction from frames in memory; `index` reads pictures and writes vectors, "
            "too. Medians of the ratios of neighbouring runs. Aim: at most 1.05 times.\n"
        )
        print(timing.table(("way", "CPU ms a frame", "over bare"), rows), flush=True)

        path = export.to_onnx(made, Path(place) / "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        whole = export.Fused(made).eval()
        images = torch.randn(16, 3, config.height, config.width)
        images = images.to(memory_format=torch.channels_last)
        given = {"frames": images.numpy()}

        def plain() -> torch.Tensor:
            with torch.inference_mode():
                return whole(images)

        (found,) = session.run(["vectors"], given)
        apart = float(np.abs(found - plain().numpy()).max())
        calls = {"PyTorch": plain, "onnxruntime": lambda: session.run(["vectors"], given)}
        seconds = timing.medians(calls, 3)
        sizes = {"PyTorch": file.stat().st_size, "onnxruntime": path.stat().st_size}
        rows = [[n, f"{sizes[n] / 1e6:.0f}", f"{1000 * s / 16:.1f}"] for n, s in seconds.items()]
        print(
            f"\nThe fused vector of a frame, both MobileNetV1 in one network, 16 frames at a time, "
            f"one thread. The largest difference between the two is {apart:.0e} (aim: 1e-4).\n"
        )
        print(timing.table(("runtime", "file MB", "CPU ms a frame"), rows))


if __name__ == "__main__":
    main()
