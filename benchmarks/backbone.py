"""What the bare backbone takes to train and to run: memory layout, kept memory, waiting threads.

Each variant runs in a process of its own, because allocator and threads are set once a process; the
processes alternate. The arithmetic limit is the step's 142 GFLOP at the speed of a plain product of
matrices in the same process.
"""

import os
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from types import ModuleType

GFLOP = 142  # a step: forward and twice that backward, batch 64, MobileNetV1 at 256x128
SLEEP, SPIN = {"OMP_WAIT_POLICY": "PASSIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}
WHOLE = "as the library, whole step of local-aware k = 8, 178 tracklets, RMSProp"
VARIANTS = {  # what each sets for OpenMP; the library's own choice where empty
    "plain": SPIN,
    "channels_last": SPIN,
    "as the library": {},
    "as the library, threads that sleep at once": SLEEP,
    "as the library, threads that spin": SPIN,
    WHOLE: {},
}
ROUNDS, RUNS = 5, 5
Times = tuple[float, float, float]  # s a step, s for a batch's inference, GFLOP a second


def child(variant: str) -> None:
    """Print the seconds of a step and of inference, and the GFLOP a second of a product."""
    ours = variant.startswith("as the library")
    if not ours:  # leave the allocator as it is
        sys.modules["upm_lib.learning._memory"] = ModuleType("upm_lib.learning._memory")
    import torch

    from benchmarks import step, timing
    from upm_lib.config import Config, preset
    from upm_lib.learning import model
    from upm_lib.retrieval import features

    layout = torch.contiguous_format if variant == "plain" else torch.channels_last
    network = model.build(Config())
    if variant != "plain":
        network = model.channels_last(network)
    images = torch.rand(step.BATCH, 3, 256, 128).to(memory_format=layout)
    ready = features.folded(network) if ours else deepcopy(network).eval()

    @torch.inference_mode()
    def inference() -> None:
        ready.backbone(images)

    with tempfile.TemporaryDirectory() as folder:
        if variant == WHOLE:
            train = step.whole_step(preset("prid2011", "paper").replace(weights=None), folder)
        else:
            train = step.backbone_step(network.backbone.train(), images)
        for _ in range(2):  # the memory a step needs is asked for
            train()
        seconds = [
            timing.medians({"": call}, RUNS, time.perf_counter)[""] for call in (train, inference)
        ]
    print(*seconds, timing.gigaflops())


def measured(variant: str) -> Times:
    """Run a variant in a fresh process."""
    others = {n: v for n, v in os.environ.items() if n not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-m", "benchmarks.backbone", variant]
    done = subprocess.run(
        command, env=others | VARIANTS[variant], stdout=subprocess.PIPE, text=True, check=True
    )
    step, inference, speed = map(float, done.stdout.split())
    return step, inference, speed


def main() -> None:
    """Print the table."""
    from benchmarks import timing

    found: dict[str, list[Times]] = {variant: [] for variant in VARIANTS}
    for _ in range(ROUNDS):
        for variant in VARIANTS:
            found[variant].append(measured(variant))
    best = {v: [min(column) for column in zip(*runs, strict=True)] for v, runs in found.items()}
    speed = max(run[2] for runs in found.values() for run in runs)
    limit = GFLOP / speed
    ours = best["as the library"]
    rows = [
        [v, f"{s:.2f}", f"{s / ours[0]:.2f}", f"{s / limit:.1f}", f"{i:.2f}", f"{i / ours[1]:.2f}"]
        for v, (s, i, _) in best.items()
    ]
    print("## The backbone, training and inference\n")
    print(
        f"MobileNetV1, 256x128, 64 frames, float32, all threads ({os.cpu_count()} cores), wall "
        f"seconds: the best of {ROUNDS} processes, of each the median of {RUNS}. Arithmetic limit "
        f"of a training step (forward, backward, SGD): {GFLOP} GFLOP at {speed:.0f} GFLOP/s of a "
        f"product here: {limit:.2f} s. Aim: at most 0.85 s a step on two idle cores, and at most "
        "0.8 times the plain one. The library keeps freed memory (`upm_lib/learning/_memory.py`), "
        "lays maps out channels last, lets waiting threads spin for a moment only "
        "(`upm_lib/__init__.py`), and folds batch normalisation for inference.\n"
    )
    head = (
        "variant", "s a step", "over the library's", "over the limit", "s inference",
        "over the library's",
    )  # fmt: skip
    print(timing.table(head, rows))


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
