"""Several processes, one training: what ``torchrun`` starts behaves as one process would.

Every process computes the backbone on its share of the global batch. Features and tracklet indices
are gathered, so each computes the same loss from the same anchors and moves them alike; batch
normalisation uses the statistics of the global batch. Without ``torchrun`` nothing here does
anything. CPUs talk over gloo, GPUs over NCCL.
"""

import atexit
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from upm_lib.command import Terminated
from upm_lib.config import UserError, known

T = TypeVar("T")


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that ``torchrun`` started, for as long as the block lasts.

    Who is interrupted ends at once, without waiting for the others; the first says what is kept.
    Who loses another ends with an error, and ``torchrun --max-restarts`` starts all of them again.
    Who fails ends without a farewell: NCCL's would wait for the others, who wait for this one.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield
        return
    _join()
    try:
        yield
    except KeyboardInterrupt as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # torchrun sends it once more
        code = 143 if isinstance(stop, Terminated) else 130
        sys.stdout.flush()
        if rank() > 0:
            os._exit(code)
        atexit.register(os._exit, code)  # torch would wait for processes that are gone
        raise
    except BaseException as error:
        sys.stdout.flush()
        atexit.register(os._exit, 2 if isinstance(error, UserError | OSError) else 1)
        raise
    dist.destroy_process_group()


def _join() -> None:
    lacking = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} - os.environ.keys()
    if lacking:
        what = f"torchrun's {', '.join(sorted(lacking))} is not in the environment"
        raise UserError(f"{what}: start it with torchrun, or unset TORCHELASTIC_RUN_ID")
    store, number, count = next(dist.rendezvous("env://"))
    store = dist.PrefixStore(_name_of_start(store, number, count), store)
    # Another run's lock or a first packing may take hours; who is lost torchrun notices by itself.
    patience = timedelta(days=7)
    dist.init_process_group(store=store, rank=number, world_size=count, timeout=patience)


def _name_of_start(store: dist.Store, number: int, count: int) -> str:
    """Return a name that all processes of this start agree on, and none of an earlier start.

    torchrun keeps one store for all starts, with the addresses of processes that are gone in it;
    its count of restarts may differ from machine to machine. So each process asks the first under a
    name of its own, and the first answers, with its own, whoever asks, until all live ones have it.
    """
    own = uuid.uuid4().hex
    if number > 0:
        store.set(f"asks {number}", own)
        while not store.check([own]):
            time.sleep(0.01)
        name = store.get(own).decode()
        store.add(f"{name} has", 1)
        return name
    while store.add(f"{own} has", 0) < count - 1:
        for key in (f"asks {r}" for r in range(1, count)):
            if store.check([key]):  # what a process of an earlier start asked, nobody reads
                store.set(store.get(key).decode(), own)
        time.sleep(0.01)
    return own


def size() -> int:
    """Return the number of processes W."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, 0 .. W - 1; process 0 writes and speaks."""
    return dist.get_rank() if size() > 1 else 0


def local_device() -> str:
    """Return the accelerator of this process: the one of its number on its machine."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if size() > 1 else "cuda"


def pick_device(name: torch.device | str | None = None) -> torch.device:
    """Return the named device; None is a GPU if there is one, and "cuda" that of this process.

    A GPU is set to compute as a CPU does: in float32 without the short factors of TF32, and sums in
    an order that does not change from run to run.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind = str(name).split(":")[0]
    known(("cpu", "cuda"), kind, "device")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {name!r} is not available here: use 'cpu' or leave it out")
    try:
        device = torch.device(local_device() if name == "cuda" else name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}: use 'cpu', 'cuda' or 'cuda:1'") from error
    if kind == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise UserError(f"device {str(device)!r} is not available here: GPUs are 0 to {count - 1}")
    if kind == "cuda":
        if size() > 1 and str(device) != local_device():
            raise UserError(f"device {name!r}: under torchrun each process has a GPU of its own")
        if device.index is not None:
            torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    return device


def wait() -> None:
    """Wait until all processes are here."""
    if size() > 1:
        dist.barrier()


@contextmanager
def first_holds(lock: AbstractContextManager) -> Iterator[None]:
    """Hold a lock in process 0 on behalf of all; the block begins everywhere once it is held."""
    with lock if rank() == 0 else nullcontext():
        wait()
        yield
        wait()


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Run the block in process 0, then in the others, which find on disk what it has made."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


def from_first(make: Callable[[], T]) -> T:
    """Return what process 0 makes, in all processes; the others make nothing."""
    if size() == 1:
        return make()
    held = [make() if rank() == 0 else None]
    dist.broadcast_object_list(held)
    return cast(T, held[0])


def agree(number: int, what: str) -> None:
    """Raise UserError unless a number is the same in all processes."""
    if size() > 1:
        numbers: list[Any] = [None] * size()
        dist.all_gather_object(numbers, number)
        if len(set(numbers)) > 1:
            advice = "put the run store on storage that all machines share, and set UPM_RUNS to it"
            raise UserError(f"the processes disagree on {what} ({numbers}): {advice}")


def share(count: int) -> slice:
    """Return this process's part of a list of count items; the parts follow the ranks' order."""
    return slice(*(count * r // size() for r in (rank(), rank() + 1)))


def gather(x: Tensor) -> Tensor:
    """Join equal parts [b, ...] of all processes to [W b, ...], in the order of the ranks.

    The gradient flows to this process's own rows only.
    """
    if size() == 1:
        return x
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(size())]
    dist.all_gather(parts, x.detach().contiguous())
    parts[rank()] = x
    return torch.cat(parts)


def merge(x: Tensor, count: int) -> Tensor:
    """Join what each process made of its :func:`share` of count items: [count, ...], in order."""
    if size() == 1:
        return x
    longest = -(-count // size())
    padded = torch.cat([x, x.new_zeros(longest - len(x), *x.shape[1:])])
    bounds = [count * r // size() for r in range(size() + 1)]
    parts = gather(padded).split(longest)
    return torch.cat([p[: e - b] for p, b, e in zip(parts, bounds, bounds[1:], strict=False)])


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, mean and var over all processes' frames.

    Every process holds equally many frames. The gradients of weight and bias are those of the own
    frames; summing them over the processes is left to who sums the other weights' gradients.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        axes = [a for a in range(x.ndim) if a != 1]
        ctx.axes, ctx.count = axes, x.numel() // x.shape[1] * size()
        part = torch.stack(torch.var_mean(x.to(weight.dtype), axes, correction=0))  # [2, c]
        var, mean = gather(part[None]).unbind(1)  # [W, c]
        total = mean.mean(0)
        var = (var + (mean - total).square()).mean(0)
        ctx.save_for_backward(x, weight, total, (var + eps).rsqrt())
        ctx.mark_non_differentiable(total, var)
        return F.batch_norm(x, total, var, weight, bias, False, 0.0, eps), total, var

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _mean: None, _var: None) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        shape = [-1 if a == 1 else 1 for a in range(x.ndim)]
        x_hat = (x - mean.view(shape)) * inverse.view(shape)
        own = torch.stack([dy.sum(ctx.axes), (dy * x_hat).sum(ctx.axes)]).to(weight.dtype)
        total = own.clone()
        dist.all_reduce(total)
        shift, slope = (total / ctx.count).view(2, *shape)
        dx = (dy - shift - x_hat * slope) * (weight * inverse).view(shape)
        return dx.to(x.dtype), own[1], own[0], None


class GlobalBatchNorm(nn.Module):
    """Batch normalisation over the frames of all processes, on any device.

    Takes over the parameters and statistics of a layer with a fixed momentum under their names, so
    that the state dict is that of the layer, and the activation that timm keeps inside its layers.
    PyTorch's own SyncBatchNorm works on GPUs only.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        assert layer.momentum is not None, "a plain average over batches is not meant here"
        self.eps, self.momentum = layer.eps, layer.momentum
        self.act: nn.Module = getattr(layer, "act", nn.Identity())
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, c] or [B, c, H, W]; in training, move the statistics as well."""
        if not self.training:
            known = (self.running_mean, self.running_var, self.weight, self.bias)
            return self.act(F.batch_norm(x, *known, False, 0.0, self.eps))
        y, mean, var = _Normalise.apply(x, self.weight, self.bias, self.eps)
        count = x.numel() // x.shape[1] * size()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        return self.act(y)


def synchronise(network: nn.Module) -> None:
    """Replace the batch normalisations of a network, in place, by those over all processes."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, GlobalBatchNorm(child))
