"""What a training step of the bare trunk takes: memory layout, kept memory, waiting threads.

Each variant runs in a process of its own, because allocator and threads are set once a process; the
processes alternate. The arithmetic limit is the step's 142 GFLOP at the speed of a plain product of
matrices in the same process.
"""

import os
import statistics
import subprocess
import sys
import time
from types import ModuleType

GFLOP = 142  # a step: forward and twice that backward, batch 64, MobileNetV1 at 256x128
VARIANTS = ("plain", "channels_last", "as the library", "as the library, spinning threads")
ROUNDS, STEPS = 3, 2


def child(variant: str) -> None:
    """Print the seconds of a step and the GFLOP a second of a product."""
    if not variant.startswith("as the library"):  # leave the allocator as it is
        sys.modules["upm_lib._memory"] = ModuleType("upm_lib._memory")
    import torch

    from benchmarks import step, timing
    from upm_lib import model
    from upm_lib.config import Config

    layout = torch.contiguous_format if variant == "plain" else torch.channels_last
    trunk = model.build(Config()).trunk.to(memory_format=layout).train()
    images = torch.rand(step.BATCH, 3, 256, 128).to(memory_format=layout)
    call = {"step": step.trunk_step(trunk, images)}
    print(timing.medians(call, STEPS, time.perf_counter)["step"], timing.gigaflops())


def measured(variant: str) -> tuple[float, float]:
    """Run a variant in a fresh process: seconds a step, GFLOP a second of a product."""
    wait = "ACTIVE" if "spinning" in variant else "PASSIVE"
    environment = os.environ | {"OMP_WAIT_POLICY": wait}
    command = [sys.executable, "-m", "benchmarks.trunk", variant]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds, speed = map(float, done.stdout.split())
    return seconds, speed


def main() -> None:
    """Print the table."""
    from benchmarks import timing

    found = {variant: [] for variant in VARIANTS}
    for _ in range(ROUNDS):
        for variant in VARIANTS:
            found[variant].append(measured(variant))
    seconds = {v: statistics.median(s for s, _ in runs) for v, runs in found.items()}
    speed = statistics.median(s for runs in found.values() for _, s in runs)
    limit = GFLOP / speed
    ours = seconds["as the library"]
    rows = [
        [variant, f"{s:.2f}", f"{s / ours:.2f}", f"{s / limit:.1f}"]
        for variant, s in seconds.items()
    ]
    print("## A training step of the trunk\n")
    print(
        f"MobileNetV1, 256x128, batch 64, float32, all threads ({os.cpu_count()} cores), wall "
        f"seconds. Arithmetic limit: {GFLOP} GFLOP at {speed:.0f} GFLOP/s of a product here: "
        f"{limit:.2f} s. Aim: at most 0.85 s on two idle cores.\n"
    )
    print(timing.table(("variant", "s a step", "over the library's", "over the limit"), rows))


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
