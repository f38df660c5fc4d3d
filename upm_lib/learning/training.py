"""Training: one visible step, the schedules, checkpoints, and the loop that resumes.

Training knows the objective only as a module with ``step(features, tracklet, warm)``, which gives
the loss, a share and the move of the memory as a call that gives another share, with ``renew()``,
called once an epoch, and with a buffer ``camera_of``, so another unsupervised method fits in its
place. There are two: association learning and cluster contrast.
"""

import hashlib
import json
import math
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from upm_lib import config as configs
from upm_lib import distributed, runs
from upm_lib.config import Caution, Config, UserError
from upm_lib.data.batches import TrainingSet
from upm_lib.learning import model
from upm_lib.learning.association import Association
from upm_lib.learning.clusters import Clusters

if TYPE_CHECKING:  # timm takes two seconds to import, and the demo's networks need nothing of it
    from timm.utils import ModelEmaV3


class NotFinite(UserError, FloatingPointError):
    """The training has left the finite numbers."""


# One value a step each; "gradient" is the largest of all elements, before decay and clipping.
HISTORY = ("loss", "top_share", "cyclic_share", "gradient")
CHECKPOINT = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.safetensors")
SLOT = re.compile(r"optimiser\.\d+\.\w+")  # one tensor of the optimiser's state
OBJECTIVES: dict[str, type[Association] | type[Clusters]]
OBJECTIVES = {"association": Association, "cluster": Clusters}
KEEP = 2  # checkpoints on disk
SECONDS = 60.0  # between checkpoints: no more work than this is lost


def learning_rate(config: Config, step: int, frames: int) -> float:
    """Return the learning rate of a step, counted from 0 (section 4.1).

    The staircase falls by 0.94 every two epochs of the training frames.
    """
    if config.schedule == "staircase":
        every = max(1, int(frames / config.batch * 2))
        return config.lr * 0.94 ** (step // every)
    if config.schedule == "halves":
        return config.lr * config.lr_factors[step > config.steps // 2]
    rise = min(1.0, (step + 1) / 20)
    return config.lr * rise * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def ema_decay(config: Config, updates: int) -> float:
    """Return the decay of the moving average after some updates: it starts low and rises."""
    return min(config.ema, (1 + updates) / (10 + updates))


def optimiser_of(network: model.UPMNet, config: Config) -> torch.optim.Optimizer:
    """Return the optimiser of section 4.1 (RMSProp or SGD), or Adam for the short demo runs."""
    groups: list[dict[str, Any]] = [{"params": [*network.backbone.parameters()], "factor": 1.0}]
    if head := [p for p in network.head.parameters() if p.requires_grad]:
        groups.append({"params": head, "factor": config.head_lr_factor})
    if config.optimiser == "rmsprop":  # TensorFlow's: epsilon inside the root, slot starts at 1
        from timm.optim import RMSpropTF

        return RMSpropTF(groups, lr=config.lr, alpha=0.9, eps=1.0, momentum=0.9)
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)
    return torch.optim.Adam(groups, lr=config.lr)


def average_of(network: nn.Module) -> "ModelEmaV3":
    """Return a moving average of a network's weights; batch norm's statistics are copied."""
    from timm.utils import ModelEmaV3

    return ModelEmaV3(network, exclude_buffers=True)


class Trainer:
    """Everything a training run consists of: network, objective, optimiser, moving average, step.

    Several processes (:mod:`upm_lib.distributed`) share the frames of each batch and hold the same
    state; ``config.batch`` is the global batch.
    """

    def __init__(self, config: Config, data: TrainingSet, device: torch.device) -> None:
        if config.batch % distributed.size():
            what = f"batch = {config.batch} does not divide over {distributed.size()} processes"
            raise UserError(f"{what}: choose a multiple of their number")
        self.config = config = config.in_steps(len(data.frame))
        self.data, self.device = data, device
        with distributed.first_goes_first():  # trained weights may have to be downloaded
            network = model.build(config)
        self.network = model.channels_last(network, device).train()
        self.parallel: nn.Module = self.network  # what a step calls
        if distributed.size() > 1:
            distributed.synchronise(self.network)
            # Statistics are those of the global batch, in every process.
            self.parallel = DistributedDataParallel(self.network, broadcast_buffers=False)
        shape = self.network.k, self.network.dim
        made = OBJECTIVES[config.objective](*shape, data.camera_of, config)
        self.objective: Association | Clusters = made.to(device)
        self.optimiser = optimiser_of(self.network, config)
        self.decayed = list(self.network.decayed()) if config.weight_decay else []
        self.ema = average_of(self.network) if config.ema else None
        self.epoch = max(1, len(data.frame) // config.batch)  # steps
        self.warmup_steps = math.ceil(self.epoch * config.warmup_epochs)
        self.step = self.resumed = 0  # steps done, and those of them in the checkpoint read
        self.history = torch.full((config.steps, len(HISTORY)), torch.nan, device=device)

    def train_step(self) -> None:
        """Learn from the batch that belongs to the present step."""
        self.learn(*self.data.batch(self.step, self.device))

    def learn(self, images: Tensor, tracklet: Tensor) -> None:
        """Learn from this process's frames (or maps) [b, ...] and their tracklets' indices [b].

        One step: forward, loss, backward, clip, optimiser, anchors, moving average. The loss reads
        the anchors as they stood before the step; they move when the weights have moved.
        """
        warm = self.step < self.warmup_steps
        if not warm and (self.step - self.warmup_steps) % self.epoch == 0:
            self.objective.renew()
        features, tracklet = map(distributed.gather, (self.parallel(images), tracklet))
        loss, top_share, move = self.objective.step(features, tracklet, warm)
        self.optimiser.zero_grad(set_to_none=True)
        # Each process has the gradient through its own frames, and DDP takes their mean, not sum.
        (loss * distributed.size()).backward()
        gradient = self._decay_and_clip()
        rate = learning_rate(self.config, self.step, len(self.data.frame))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimiser.step()
        cyclic_share = move()
        self.history[self.step] = torch.stack([loss.detach(), top_share, cyclic_share, gradient])
        self.step += 1
        if self.ema:
            self.ema.decay = ema_decay(self.config, self.step)
            self.ema.update(self.network)

    @torch.no_grad()  # else a decayed gradient keeps a graph that leads back to its parameter
    def _decay_and_clip(self) -> Tensor:
        """Add the gradient of weight decay, then clip element by element, in this order.

        Returns the largest absolute element before both: clipping makes an infinite one finite, and
        without this record nobody would know.
        """
        found = [p.grad for p in self.network.parameters() if p.grad is not None]
        largest = torch.stack(torch._foreach_norm(found, torch.inf)).max()  # NaN if one is
        if self.decayed:
            pairs = [(p.grad, p) for p in self.decayed if p.grad is not None]
            torch._foreach_add_(*zip(*pairs, strict=True), alpha=self.config.weight_decay)
        nn.utils.clip_grad_value_(self.network.parameters(), self.config.clip)
        return largest

    @property
    def result(self) -> model.UPMNet:
        """The network to evaluate: the moving average if there is one."""
        return self.ema.module if self.ema else self.network

    def log(self) -> pd.DataFrame:
        """Return the history, one row a step: step, loss, top_share, cyclic_share, gradient."""
        values = self.history[: self.step].cpu().numpy()
        return pd.DataFrame(values, columns=list(HISTORY)).rename_axis("step").reset_index()

    def check_finite(self) -> None:
        """Raise NotFinite for a loss or gradient so far, or a weight or statistic now, that is not.

        The sentence names the first such step and the frames of its batch, by their numbers.
        """
        kept = "the last checkpoint before it is kept"
        advice = f"lower the learning rate (now {self.config.lr}); {kept}"
        history = self.history[: self.step, [HISTORY.index("loss"), HISTORY.index("gradient")]]
        if len(bad := (~history.isfinite()).nonzero()):
            step, column = bad[0].tolist()
            frames = ", ".join(map(str, self.data.frame[self.data.sampler(step)]))
            raise NotFinite(
                f"the {('loss', 'gradient')[column]} of step {step} is not finite, its batch holds "
                f"the frames {frames}: {advice}"
            )
        state = {n: t for n, t in self.network.state_dict().items() if t.is_floating_point()}
        largest = torch.stack(torch._foreach_norm([*state.values()], torch.inf))  # NaN if one is
        if len(bad := (~largest.isfinite()).nonzero()):
            name = list(state)[int(bad[0])]
            raise NotFinite(f"{name} is not finite after {self.step} steps: {advice}")

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"network": self.network, "objective": self.objective}
        return modules | ({"ema": self.ema.module} if self.ema else {})

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the run's state under a flat name."""
        modules = self._modules().items()
        state = {f"{m}.{n}": t for m, module in modules for n, t in module.state_dict().items()}
        for number, slots in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{number}.{n}": t for n, t in slots.items()}
        return state | {"history": self.history}

    def load_tensors(self, state: dict[str, Tensor], step: int) -> None:
        """Put back what :meth:`tensors` returned after a number of steps."""
        for name, module in self._modules().items():
            module.load_state_dict({n: state[f"{name}.{n}"] for n in module.state_dict()})
        slots: dict[int, dict[str, Tensor]] = {}
        groups = self.optimiser.state_dict()["param_groups"]
        weights = [p for group in self.optimiser.param_groups for p in group["params"]]
        for _, number, slot in (n.split(".") for n in state if SLOT.fullmatch(n)):
            value = state[f"optimiser.{number}.{slot}"]
            if value.ndim:  # in memory as its weight lies, else the optimiser takes a slower way
                value = torch.empty_like(weights[int(number)]).copy_(value)
            slots.setdefault(int(number), {})[slot] = value
        self.optimiser.load_state_dict({"state": slots, "param_groups": groups})
        self.history.copy_(state["history"])
        self.step = self.resumed = step


def save_checkpoint(trainer: Trainer, folder: Path) -> Path:
    """Write the run's state to ``folder/step-NUMBER-DIGEST.safetensors``; keep the last two.

    The file is complete or absent: it is written beside, flushed and moved. Its name carries the
    SHA-256 of its content, so a damaged file is recognised; the same training gives the same bytes.
    A finished run keeps the last one only. A state that is not finite is never saved: NotFinite is
    raised.
    """
    trainer.check_finite()
    tensors = {n: t.detach().cpu().contiguous() for n, t in trainer.tensors().items()}
    about = {"step": trainer.step, "config": configs.to_json(trainer.config)}
    # One entry: safetensors writes several in random order.
    content = save(tensors, metadata={"run": json.dumps(about, sort_keys=True)})
    path = folder / f"step-{trainer.step:08d}-{_digest(content)}.safetensors"
    with runs.replacing(path) as temporary:
        temporary.write_bytes(content)
    finished = trainer.step == trainer.config.steps
    for old in checkpoints(folder)[: -1 if finished else -KEEP]:
        runs.remove(old)
    return path


def load_checkpoint(trainer: Trainer, folder: Path) -> bool:
    """Restore the newest undamaged checkpoint; False if there is none.

    One that is damaged, renamed or no file is removed with a warning; one of another config raises
    UserError.
    """
    for path in reversed(checkpoints(folder)):
        step, digest = _named(path)
        if not path.is_file() or _digest(path.read_bytes()) != digest:
            _discard(path)
            continue
        theirs, done, tensors = _read_checkpoint(path)
        if done != step:
            _discard(path)
            continue
        if _meant(theirs) != _meant(trainer.config):
            raise UserError(f"{path} belongs to another config: remove it or its folder")
        if not _same_data(tensors, trainer):
            raise UserError(f"{path} belongs to other data: remove it or its folder")
        trainer.load_tensors(tensors, step)
        return True
    return False


def _discard(path: Path) -> None:
    text = f"{path} is damaged: removed, the training goes on from the checkpoint before it"
    warnings.warn(text, Caution, stacklevel=3)
    runs.remove(path)


def _read_checkpoint(path: Path) -> tuple[Config, int, dict[str, Tensor]]:
    """Read a checkpoint's config, step and tensors; nothing in it is executed, whoever wrote it."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["run"])
            theirs = configs.from_json(about["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return theirs, about["step"], tensors
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"no checkpoint of this program ({type(error).__name__})"
        raise UserError(f"{path} is {what}: remove it or its folder") from error


def _meant(config: Config) -> dict[str, Any]:
    """Return what a config trains; where the starting weights lay does not matter."""
    return configs.training_fields(config) | {"weights": bool(config.weights)}


def _same_data(tensors: dict[str, Tensor], trainer: Trainer) -> bool:
    """Whether a checkpoint is of the trainer's tracklets; a fresh optimiser has no slots yet."""
    ours = trainer.tensors()
    shapes = all(n in tensors and tensors[n].shape == t.shape for n, t in ours.items())
    shapes &= all(SLOT.fullmatch(n) for n in tensors.keys() - ours.keys())
    return shapes and torch.equal(tensors["objective.camera_of"], ours["objective.camera_of"].cpu())


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest last."""
    return sorted(p for p in folder.glob("step-*") if CHECKPOINT.fullmatch(p.name))


def _named(checkpoint: Path) -> tuple[int, str]:
    """Return what the name of a checkpoint says: the steps done, and the digest of its content."""
    _, step, digest = checkpoint.stem.split("-")
    return int(step), digest


def steps_kept(folder: Path) -> int:
    """Return how many steps are safe in a folder's newest checkpoint; 0 if there is none."""
    newest = checkpoints(folder)[-1:]
    return _named(newest[0])[0] if newest else 0


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def train(
    trainer: Trainer,
    folder: Path | None = None,
    title: str | None = None,
    stop: Callable[[int], bool] | None = None,
) -> None:
    """Train to the last step, from the newest checkpoint in folder if there is one.

    Checkpoints go to the folder, if there is one, when :func:`due`; ``title`` is that of the bar,
    None shows none. Who interrupts is told what is kept. ``stop`` gets the number of steps done;
    True ends early, without a last checkpoint. Of several processes, the first writes and speaks.
    """
    if folder is not None:
        with distributed.first_goes_first():  # it removes what is damaged
            load_checkpoint(trainer, folder)
        distributed.agree(trainer.step, "the checkpoint to go on from")
    if trainer.step == trainer.config.steps:
        return
    hidden, saved = title is None or distributed.rank() > 0, time.monotonic()
    steps, cost = trainer.config.steps, 0.0
    try:
        with tqdm(total=steps, initial=trainer.step, desc=title, disable=hidden) as bar:
            while trainer.step < steps:
                trainer.train_step()
                done = trainer.step
                bar.update()
                if done % 10 == 0 or done == steps:
                    trainer.check_finite()
                    loss, top, cyclic, _ = trainer.history[done - 1].tolist()
                    bar.set_postfix_str(
                        f"loss {loss:.3f}, own first {top:.0%}, cyclic {cyclic:.0%}"
                    )
                if stop is not None and stop(done):
                    break
                if folder is None or distributed.rank() > 0:
                    continue
                began = time.monotonic()
                if done == steps or due(began - saved, cost):
                    save_checkpoint(trainer, folder)
                    saved = time.monotonic()
                    cost = saved - began
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(_kept(trainer, folder, title)) from None


def due(seconds: float, cost: float = 0.0) -> bool:
    """Whether a checkpoint is due, so many seconds after the one before.

    Saving takes a twentieth of the time at most; ``cost`` is what it took last.
    """
    return seconds >= max(SECONDS, 20 * cost)


def _kept(trainer: Trainer, folder: Path | None, title: str | None) -> str:
    """Say what of an interrupted training is kept."""
    steps = steps_kept(folder) if folder else 0
    then = "the same command goes on from there" if steps else "the same command begins it anew"
    return f"{title or 'training'}: {steps} of {trainer.config.steps} steps are kept, {then}"
