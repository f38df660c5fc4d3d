"""A model of two small networks that four steps have trained on the tiny world."""

from pathlib import Path

from upm_lib.experiments import networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.retrieval.model_file import Model

# After so few steps only statistics of the last batch tell frames apart.
FEW = dict(steps=4, batch=8, k=2, bn_momentum=1.0, backbone="small", lr=5e-3)


def bench_of(root: Path, dataset: str = "folder", **changes: object) -> Bench:
    return open_bench(dataset, root=str(root), device="cpu", progress=False, **FEW | changes)


def model_of(bench: Bench, method: str = "fusion") -> Model:
    return networks.as_model(bench, bench.measurement(method, bench.config.trial))
