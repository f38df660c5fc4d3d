"""What a run is: one frozen record with the paper's symbols, and presets that fill it.

Every difference between the paper and its published code that changes numbers is a field here, and
so is every equation that can be read in two ways. The default is the paper's way where the paper is
clear; :func:`official` sets them all to the published code's way (FIDELITY.md has the tables with
evidence and reasons). What of it changes a training is :func:`training_fields`.
"""

import dataclasses
import difflib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

PARTS = (1, 2, 4, 8)  # k must divide the 8 rows of the backbone's map
MAP_ROWS, MAP_COLUMNS = 8, 4
# Of the paper; what we measure beyond it; all that a data set can fill; a model on other data.
TABLES = ("1", "2", "3", "4", "5", "6", "beyond", "all", "transfer")


class UserError(ValueError):
    """Something the user can mend: the message says what is wrong, where, and what to do.

    In a notebook the sentence stands alone, without a stack trace; the command line prints it.
    """

    def _render_traceback_(self) -> list[str]:  # IPython's hook
        return [f"{type(self).__name__}: {self}"]


class Caution(Warning):
    """Something is not as it should be, was left out or made anew, and the work goes on."""


def one_line(ours: type[Warning], usual: Callable[..., str]) -> Callable[..., str]:
    """Return a way to print warnings in which those of ours are one line without code."""

    def text(message: Any, category: type[Warning], *place: Any, **line: Any) -> str:
        if issubclass(category, ours):
            return f"warning: {' '.join(str(message).split())}\n"
        return usual(message, category, *place, **line)

    return text


warnings.formatwarning = one_line(Caution, warnings.formatwarning)
warnings.simplefilter("always", Caution)


def _from(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
    """Return the rule that a number lies in a range; NaN lies in none."""
    return lambda x: low <= x <= high, f"must be from {low:,} to {high:,}, not {{}}"


# What the fields of a config must fulfil beside their type: names, test, how the sentence goes on.
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "k",
        PARTS.__contains__,
        f"= {{}} does not divide the {MAP_ROWS} rows of the backbone's map: "
        f"choose k from {', '.join(map(str, PARTS))}",
    ),
    ("steps", *_from(1, 10_000_000)),
    ("epochs", lambda x: 0 < x <= 100_000, "must be above 0 and at most 100,000, not {}"),
    ("batch", *_from(1, 8192)),
    ("trial", *_from(1, 9999)),
    ("min_frames", *_from(1, 1_000_000)),
    ("c_reduced", *_from(1, 16_384)),
    ("freeze", *_from(0, 16)),
    ("crop", *_from(0, 64)),
    ("seed", lambda n: 0 <= n < 2**63, "must be from 0 to 2**63 - 1, not {}"),
    ("lr margin lam weight_decay clip head_lr_factor warmup_epochs", *_from(0, 1_000_000)),
    ("eta ema bn_momentum centre_momentum", *_from(0, 1)),
    ("temperature", lambda x: 1e-3 <= x <= 1000, "must be from 0.001 to 1,000, not {}"),
    (
        "lr_factors",
        lambda x: len(x) == 2 and all(type(n) in (int, float) and 0 <= n <= 1_000_000 for n in x),
        "must be two numbers from 0 to 1,000,000, such as [1.0, 0.1], not {}",
    ),
)
# How the sentences name a type.
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_WORDS |= {tuple: "two numbers such as [1.0, 0.1]", type(None): "nothing (None, null)"}


@dataclass(frozen=True)
class Config:
    """One training run: data, network, association learning, optimisation, evaluation."""

    # data
    dataset: str = "synthetic_clean"
    root: str | None = None  # folder of the data set; None: the synthetic data
    trial: int = 1  # number of the half/half split of the identities, from 1
    splits: Literal["random", "official"] = "random"  # official: the ten lists of the paper's code
    min_frames: int = 28  # shorter tracklets are left out ("more than 27 frames", section 4.1)
    height: int = 256  # of the network's input, pixels
    width: int = 128
    resize: Literal["half_pixel", "legacy"] = "half_pixel"  # legacy: TensorFlow 1's sample grid
    flip: bool = False  # half of the training frames are mirrored; the published code has none
    crop: int = 0  # training frames are moved by up to so many pixels each way; 0: not at all

    # network
    backbone: Literal["mobilenet_v1", "resnet50", "resnet50_slim", "small"] = "mobilenet_v1"
    weights: str | None = None  # None (random), a local file, or "imagenet"
    freeze: int = 0  # first blocks of the backbone that keep their weights; their output is cached
    restore_bn_statistics: bool = True  # False: moving mean 0 and variance 1 beside trained weights
    branch: Literal["local", "global"] = "local"  # Eq. (1) or Eq. (2)
    k: int = 8  # number of parts; k = 1 and local: the DAL baseline
    pool: Literal["gap", "gmp"] = "gap"
    part_length: Literal["stored", "normalised"] = "stored"  # of x_0 .. x_k; section 3.1: the other
    c_reduced: int = 256  # c'
    head_activation: Literal["relu", "relu6"] = "relu"  # of Eq. (2)
    train_global_head: bool = True

    # the objective; cluster: cluster contrast (learning/clusters.py) in place of Eqs. (4)-(9)
    objective: Literal["association", "cluster"] = "association"
    centres: Literal["cluster", "camera"] = "cluster"  # one centre a cluster, or one a camera of it
    centre_momentum: float = 0.1  # what a centre keeps of itself at a step
    temperature: float = 0.15  # of the softmax over the centres (EXPERIMENTS.md; theirs: 0.05)

    # association learning, Eqs. (3)-(9)
    eta: float = 0.5  # update rate of the intra-camera anchors
    margin: float = 0.5  # m
    lam: float = 1.0  # weight of the cross-camera loss
    warmup_epochs: float = 2.0  # n: epochs in which the cross anchor equals the intra anchor
    distance: Literal["euclidean", "squared"] = "euclidean"
    anchor_difference: Literal["stored", "normalised"] = "stored"  # what eta pulls at in Eq. (3)
    repeats: Literal["mean", "accumulate"] = "mean"  # several frames of a tracklet in one batch
    partner_anchor: Literal["before", "after"] = "before"  # the step: of the partner in Eq. (4)
    cross_case: Literal["intra", "cross"] = "intra"  # distance that decides the case of Eq. (6)
    anchor_length: Literal["normalised", "stored"] = "normalised"  # in distances and in Eq. (4)
    rank_unvisited: bool = False  # may a tracklet not seen yet win a ranking: loss, there, back?
    anchors: Literal["float32", "float16"] = "float32"  # as stored; float16: half the memory

    # optimisation, section 4.1
    steps: int = 20000
    epochs: float | None = None  # length in epochs of the training frames, in place of steps
    batch: int = 64
    optimiser: Literal["rmsprop", "sgd", "adam"] = "rmsprop"
    lr: float = 0.045
    schedule: Literal["staircase", "halves", "cosine"] = "staircase"
    lr_factors: tuple[float, float] = (1.0, 0.1)  # of "halves": first and second half of the steps
    head_lr_factor: float = 1.0  # of the global-aware head's parameters
    weight_decay: float = 4e-5  # on ordinary convolutions only
    clip: float = 2.0  # gradients are clipped element by element to [-clip, clip]
    ema: float = 0.9999  # largest decay of the moving average of the weights; 0: none
    bn_momentum: float | None = None  # None: the backbone's own
    seed: int = 0

    # features and evaluation: the fields below do not change what is trained
    tracklet_pool: Literal["max", "mean"] = "max"  # over the frames of a tracklet, section 3.5
    probes: Literal["first", "both"] = "first"  # which of two cameras searches the other one
    normalise_branches: bool = False  # True: each half of the fused vector gets unit length first

    def __post_init__(self) -> None:
        if isinstance(self.lr_factors, list):  # as JSON and notebook parameters have it
            object.__setattr__(self, "lr_factors", tuple(self.lr_factors))
        for name, (hint, usual) in _hints().items():
            value = getattr(self, name)
            if type(value) not in usual and not (type(value) is str and value in usual):
                _check_type(name, value, hint)
        for names, holds, sentence in _RULES:
            for name in names.split():
                value = getattr(self, name)
                if value is not None and not holds(value):
                    raise UserError(f"{name} {sentence.format(value)}")
        stride = self.height // MAP_ROWS
        if stride not in (16, 32) or (self.height, self.width) != (8 * stride, 4 * stride):
            sizes = f"256x128 or 128x64 pixels (a map of {MAP_ROWS}x{MAP_COLUMNS})"
            raise UserError(f"the input is {sizes}, not {self.height}x{self.width}")
        if self.batch == 1 and self.branch == "global":
            what = "batch = 1 leaves the global-aware module one number a channel to normalise by"
            raise UserError(f"{what}: choose a batch of at least 2")
        if self.freeze and self.weights is None:
            raise UserError("freeze keeps trained weights as they are: give weights, or freeze = 0")

    def replace(self, **changes: Any) -> "Config":
        """Return a copy with some fields changed; a length in steps ends one in epochs.

        An unknown name raises UserError.
        """
        for name in changes.keys() - _hints().keys():
            known(_hints(), name, "option")
        ended = {"epochs": None} if "steps" in changes else {}
        return dataclasses.replace(self, **ended | changes)

    @property
    def length(self) -> str:
        """The length of a training in words: "8 epochs" or "400 steps"."""
        return f"{self.steps} steps" if self.epochs is None else f"{self.epochs:g} epochs"

    def in_steps(self, frames: int) -> "Config":
        """Return the config of a training on so many frames, its length given in steps."""
        if self.epochs is None:
            return self
        return self.replace(steps=max(1, round(self.epochs * frames / self.batch)))


@lru_cache  # a plan of many trials makes thousands of configs
def _hints() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Return the type of each field, and what it is made of: types, or the texts of a Literal."""
    hints = get_type_hints(Config)
    return {n: (h, (get_origin(h) is not tuple and get_args(h)) or (h,)) for n, h in hints.items()}


def _check_type(name: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is Literal:
        known(get_args(hint), value, name)
        return
    allowed = get_args(hint) if get_origin(hint) is not tuple else (tuple,)
    allowed = tuple(allowed) or (hint,)
    allowed = (*allowed, int) if float in allowed else allowed
    if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
        wanted = " or ".join(_WORDS[t] for t in allowed if float not in allowed or t is not int)
        raise UserError(f"{name} must be {wanted}, not {value!r}")


def known(names: Iterable[object], name: Any, what: str) -> Any:
    """Return name if it is one of names; otherwise raise UserError with the nearest valid one."""
    valid = [str(n) for n in names]
    if name in valid:
        return name
    near = difflib.get_close_matches(str(name), valid, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"unknown {what} {name!r}: {hint}known are {', '.join(valid)}")


DATA_FIELDS = ("dataset", "root", "min_frames", "splits")  # decide what is opened
EVALUATION_FIELDS = ("tracklet_pool", "normalise_branches", "probes")

# What the published code does where the paper says otherwise or nothing (FIDELITY.md).
OFFICIAL: dict[str, Any] = dict(
    resize="legacy",
    restore_bn_statistics=False,
    part_length="stored",
    head_activation="relu6",
    train_global_head=False,
    distance="squared",
    anchor_difference="normalised",
    repeats="accumulate",
    partner_anchor="after",
    cross_case="intra",
    anchor_length="normalised",
    rank_unvisited=True,
    lr_factors=(0.045, 0.0045),
    tracklet_pool="max",
    normalise_branches=False,
)

# Section 4.1. All else in it is a default of Config: batches of 64 frames of 256x128 pixels,
# eta = 0.5, m = 0.5, lambda = 1, c' = 256, k = 8, a moving average of the weights. What to expect
# of a preset (time, published number) is computed: plan.expectation.
_IMAGENET = dict(weights="imagenet")
_RMSPROP = _IMAGENET | dict(optimiser="rmsprop", lr=0.045, schedule="staircase", warmup_epochs=2.0)
_SGD = _IMAGENET | dict(optimiser="sgd", lr=0.01, schedule="halves", warmup_epochs=1.0, steps=25000)
_RECIPES: dict[str, dict[str, Any]] = {
    "prid2011": _RMSPROP | dict(steps=20000),
    "ilids_vid": _RMSPROP | dict(steps=15000),
    "dukemtmc": _SGD,
    "mars": _SGD,  # by analogy: section 4.1 gives no values for it
    # The paper has neither WARD nor Market-1501: as the set whose size and division are nearest.
    "ward": _RMSPROP | dict(steps=20000),  # by analogy with PRID2011
    "market1501": _SGD,  # by analogy with DukeMTMC-VideoReID
    "market1501_sequences": _SGD,
    "folder": _RMSPROP | dict(steps=20000),  # by analogy with PRID2011
    "synthetic_clean": _RMSPROP | dict(steps=20000),  # the synthetic sets as those they stand for
    "synthetic_cluttered": _RMSPROP | dict(steps=15000),
    "synthetic_eight": _SGD,
}
# What a set needs at every scale: only PRID2011 leaves out short tracklets, and the two cameras of
# iLIDS-VID search each other.
_SETS: dict[str, dict[str, Any]] = {name: dict(min_frames=1) for name in _RECIPES} | {
    "prid2011": {},
    "ilids_vid": dict(min_frames=1, probes="both"),
    "synthetic_cluttered": dict(min_frames=1, probes="both"),
}
PAPER = {name: _SETS[name] | recipe for name, recipe in _RECIPES.items()}

# A minute or less a network on two cores, without any download.
_FAST = dict(height=128, width=64, optimiser="adam", schedule="cosine", weight_decay=0.0, ema=0.0)
_DEMO = _FAST | dict(steps=400, lr=5e-3)
_DRAWN = _DEMO | dict(backbone="small", bn_momentum=0.1)
_FILMED = _DEMO | dict(backbone="mobilenet_v1", lr=3e-4, head_lr_factor=3.0)
DEMO = {
    name: needs | (_DRAWN if name.startswith("synthetic_") else _FILMED)
    for name, needs in _SETS.items()
}
# Real weights without a GPU: only the last two blocks of the ImageNet MobileNetV1 are trained. The
# recipe was chosen on WARD (EXPERIMENTS.md); about two minutes a network of 2,400 frames.
_FROZEN = _FAST | dict(
    backbone="mobilenet_v1", weights="imagenet", freeze=11, height=256, width=128, epochs=8.0,
    lr=1e-3, head_lr_factor=0.1, bn_momentum=0.1, tracklet_pool="mean",
)  # fmt: skip
FROZEN = {name: needs | _FROZEN for name, needs in _SETS.items()}
SCALES = {"demo": DEMO, "frozen": FROZEN, "paper": PAPER}


def preset(dataset: str, scale: str = "demo", **changes: Any) -> Config:
    """Return the config of a data set at a scale ("demo", "frozen" or "paper"), with changes.

    A change of None means "as the preset has it", so that notebook parameters pass through.
    The objective "cluster" has centres by camera unless others are asked for: without cameras it
    does harm (EXPERIMENTS.md). Raises UserError for an unknown data set, scale or field, naming the
    nearest valid one, and for a length in both steps and epochs.
    """
    known(SCALES, scale, "scale")
    known(SCALES[scale], dataset, "data set")
    config = Config(dataset=dataset).replace(**SCALES[scale][dataset])
    for name in changes:
        known(to_json(config), name, "option")
    given = {name: value for name, value in changes.items() if value is not None}
    if {"steps", "epochs"} <= given.keys():
        raise UserError("give the length of the training in steps or in epochs, not in both")
    usual = {"centres": "camera"} if given.get("objective") == "cluster" else {}
    return config.replace(**usual | given)


def official(config: Config) -> Config:
    """Return the config with every named difference set to the published code's behaviour."""
    return config.replace(**OFFICIAL)


def training_fields(config: Config) -> dict[str, Any]:
    """Return, as plain values, the fields that change what is trained.

    Without ``root``: where the data lie does not matter, what they are does (its digest counts).
    """
    left_out = (*EVALUATION_FIELDS, "root")
    return {name: value for name, value in to_json(config).items() if name not in left_out}


def to_json(config: Config) -> dict[str, Any]:
    """Return the config as plain values that JSON can hold."""
    return vars(config) | {"lr_factors": list(config.lr_factors)}


def from_json(values: dict[str, Any]) -> Config:
    """Return the config that :func:`to_json` wrote."""
    return Config().replace(**values)
