"""Check the state of a run in a checkpoint before anything is loaded from it."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from torch import Tensor

from rednet.errors import InputError
from rednet.layers.pointwise_forms import Form
from rednet.training.checkpoints import upgrade_train_state
from rednet.weights import Checkpoint
from rednet.weights.checks import Number, check_description, require_valid
from rednet.weights.messages import list_some
from rednet.wording import count, printable

if TYPE_CHECKING:
    from rednet.training.trainer import Trainer

WEIGHTS = ("state_dict", "state_dict_ema")
AVERAGES = {"momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
"""State of optimizers that has the shape of its parameter, or is one number."""
Count = Annotated[StrictInt, Field(ge=0, lt=2**62)]
Epoch = Annotated[StrictInt, Field(ge=1, lt=2**31)]
Percent = Annotated[Number, Field(ge=0, le=100)]


class _Group(BaseModel):
    """A group of values of which some are known; later versions may add others."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, arbitrary_types_allowed=True)


class _Row(_Group):
    epoch: Epoch
    global_step: Count
    lr: Number
    train_loss: Number | None
    val_loss: Number | None
    val_top1: Percent | None
    val_top5: Percent | None
    images_per_second: Number
    seconds: Number


class _Totals(_Group):
    loss_sum: Number = 0
    num_samples: Annotated[Number, Field(ge=0)] = 0
    skipped: Count = 0
    lr: Number = 0
    seconds: Annotated[Number, Field(ge=0)] = 0


class _Log(_Group):
    rows: list[_Row] = Field(default_factory=list)
    totals: _Totals = Field(default_factory=_Totals)


class _Optimizer(_Group):
    state: dict[StrictInt, dict[StrictStr, Any]]
    param_groups: list[dict[StrictStr, Any]]


class _NonFinite(_Group):
    skips: Count = 0
    skips_in_a_row: Count = 0
    passed_over: list[Count] = Field(default_factory=list)


class _Pointwise(BaseModel):
    """How a run computes 1x1 convolutions."""

    model_config = ConfigDict(extra="forbid")

    forward: Form
    input_gradient: Form
    weight_gradient: Form


class TrainState(_Group):
    """What a run needs to continue."""

    epoch: Count
    global_step: Count
    optimizer_steps: Count
    step_in_epoch: Count = 0
    optimizer: _Optimizer
    scaler: dict[StrictStr, Number | None]
    log: _Log = Field(default_factory=_Log)
    nonfinite: _NonFinite = Field(default_factory=_NonFinite)
    unreadable: Count
    unreadable_images: dict[Count, StrictStr] = Field(default_factory=dict)
    scores: dict[Epoch, Percent | None]
    best: Percent | None
    pointwise: _Pointwise


class RunContent(_Group):
    """What a checkpoint of a run must contain."""

    config: StrictStr
    model: dict[StrictStr, Any] = Field(default_factory=dict)
    preprocessing: dict[StrictStr, Any] = Field(default_factory=dict)
    class_names: list[StrictStr] = Field(default_factory=list)
    state_dict: dict[StrictStr, Tensor]
    state_dict_ema: dict[StrictStr, Tensor] = Field(default_factory=dict)
    train_state: dict[StrictStr, Any]


def require_train_state(checkpoint: Checkpoint) -> None:
    """Require the state that a run needs to continue.

    Raises:
        InputError: The file has weights only, or its state is damaged.
    """
    content = checkpoint.content
    if "train_state" not in content:
        raise InputError(
            f"{checkpoint.label}: holds weights but no training state; "
            f"checkpoint={printable(checkpoint.path)} starts a new run from them"
        )
    try:
        check_description(content)
        require_valid(RunContent, content)
        require_valid(TrainState, upgrade_train_state(content))
    except InputError as error:
        raise InputError(f"{checkpoint.label}: {error}") from error


def load_run_state(trainer: "Trainer", checkpoint: Checkpoint) -> None:
    """Load the state of a run into a trainer.

    Raises:
        InputError: It does not fit the trainer's network, optimizer or length of an epoch.
    """
    content, expected = checkpoint.content, trainer.state_dict()
    names = [name for name in WEIGHTS if name in expected and name in content]
    if misfits := [line for name in names for line in _misfits(name, content, expected)]:
        raise InputError(f"{checkpoint.label}: does not fit this network: {list_some(misfits)}")
    try:
        trainer.load_state_dict(content)
        _require_same_shapes(trainer.train_step.optimizer)
    except InputError as error:
        raise InputError(f"{checkpoint.label}: {error}") from error
    except Exception as error:  # the state of an optimizer may have any form
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{checkpoint.label}: its training state cannot be loaded: {printable(reason)}"
        ) from error
    counters = trainer.counters
    if counters.step_in_epoch > counters.steps_per_epoch:
        raise InputError(
            f"{checkpoint.label}: is at step {counters.step_in_epoch} of an epoch of "
            f"{count(counters.steps_per_epoch, 'step')}"
        )


def _require_same_shapes(optimizer: torch.optim.Optimizer) -> None:
    """Require of each parameter what the others have, and averages of its own shape."""
    for group in optimizer.param_groups:
        states = [
            (each, optimizer.state[each]) for each in group["params"] if each in optimizer.state
        ]
        for parameter, state in states:
            if state.keys() != states[0][1].keys():
                raise InputError(
                    "damaged: its optimizer's state has other keys for some parameters"
                )
            for name in AVERAGES & state.keys():
                average = state[name]
                is_unset = average is None and name == "momentum_buffer"
                if not is_unset and not _fits(average, parameter):
                    raise InputError(f"damaged: its optimizer's {name} does not fit the network")
            step = state.get("step", 0)
            if not isinstance(step, Tensor | int | float) or not 0 <= float(step) < math.inf:
                raise InputError("damaged: its optimizer's step is no count")


def _fits(average: Any, parameter: Tensor) -> bool:
    return isinstance(average, Tensor) and average.shape in (parameter.shape, torch.Size())


def _misfits(name: str, content: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """Return the names of tensors that are missing, unexpected, or of another shape."""
    found, expected = content[name], state[name]
    return [
        f"{name}.{key}"
        for key in sorted(found.keys() | expected.keys())
        if key not in found or key not in expected or found[key].shape != expected[key].shape
    ]
