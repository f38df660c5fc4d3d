"""Alternating runs, medians, tables."""

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch


def alternating(
    calls: Mapping[str, Callable[[], Any]],
    runs: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Return the seconds of each run of each call; the calls alternate, after one to warm up.

    Args:
        calls: what to measure, by name.
        runs: of each call.
        clock: processor seconds by default, which other programs disturb least.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            began = clock()
            call()
            if run > 0:
                seconds[name].append(clock() - began)
    return seconds


def medians(
    calls: Mapping[str, Callable[[], Any]],
    runs: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Return the median seconds of each call; see :func:`alternating`."""
    seconds = alternating(calls, runs, clock)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_megabytes() -> float:
    """Return the most memory this process has held since the last call, in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    return int(peak.split()[1]) / 1024


def gigaflops(size: int = 1536) -> float:
    """Return what a product of square float32 matrices reaches here, in GFLOP a second of wall."""
    one = torch.rand(size, size)
    seconds = medians({"product": lambda: one @ one}, 7, time.perf_counter)["product"]
    return 2 * size**3 / seconds / 1e9


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Return the processor's model, the number of cores and torch's version."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    name = names[0] if names else platform.processor()
    return f"{name} ({capability}), {len(names) or '?'} cores, torch {torch.__version__}"
