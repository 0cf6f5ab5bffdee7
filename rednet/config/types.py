"""Types of the values in the configuration: a Python type, a range and an error message."""

import math
import os
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictFloat, StrictInt, StrictStr

from rednet.models.variants import STAGES, STEMS


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


def _group_channels(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not (is_count or value == "layer"):
        raise ValueError("must be layer or a whole number of at least 1")
    return value


def _recompute_kernel(value: Any) -> Any:
    if not (isinstance(value, bool) or value == "auto"):
        raise ValueError("must be true, false or auto")
    return value


def _per_stage(values: list[int]) -> list[int]:
    if len(values) != len(STAGES):
        raise ValueError(f"must have exactly {len(STAGES)} entries, one per stage")
    return values


def _per_channel(values: list[float]) -> list[float]:
    if len(values) not in (1, 3):
        raise ValueError("must have 1 number (gray) or 3 (colour)")
    return values


def _rising_pair(values: list[float]) -> list[float]:
    if len(values) != 2 or values[0] > values[1]:
        raise ValueError("must be [min,max] with min <= max")
    return values


def _as_list(value: Any) -> Any:
    """Return a single value as a list with one element."""
    return value if value is None or isinstance(value, list | dict) else [value]


def _expand_home(value: str) -> str:
    """Expand a leading ``~``, which shells leave alone in ``key=~/folder``."""
    path = os.path.expanduser(value)
    if path.startswith("~"):
        raise ValueError(f"there is no such user (./{value} is a path in this folder)")
    return path


def _class_weights(value: Any) -> Any:
    """Accept balanced, positive weights in the order of the classes, or the path of a file."""
    if isinstance(value, str) and value:
        return value if value == "balanced" else _expand_home(value)
    is_list = isinstance(value, list) and bool(value)
    if not is_list or not all(type(item) in (int, float) and 0 < item < math.inf for item in value):
        raise ValueError("must be balanced, a list of numbers greater than 0, or a file")
    return [float(item) for item in value]


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", value):
        raise ValueError("must be auto, cpu, cuda, cuda:1, mps or xpu")
    return value


Text = Annotated[StrictStr, Field(min_length=1)]
Count = Annotated[StrictInt, Field(ge=1)]
NonNegativeInt = Annotated[StrictInt, Field(ge=0)]
SheetSize = Annotated[StrictInt, Field(ge=0, le=400)]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**63)]
Positive = Annotated[StrictFloat, Field(gt=0)]
NonNegative = Annotated[StrictFloat, Field(ge=0)]
Probability = Annotated[StrictFloat, Field(ge=0, le=1)]
BelowOne = Annotated[StrictFloat, Field(ge=0, lt=1)]
Fraction = Annotated[StrictFloat, Field(gt=0, le=1)]

OddCount = Annotated[Count, AfterValidator(_odd)]
GroupChannels = Annotated[Any, AfterValidator(_group_channels)]
RecomputeKernel = Annotated[Any, BeforeValidator(_recompute_kernel)]
Stage = Annotated[StrictInt, Field(ge=1, le=4)]
BlocksPerStage = Annotated[list[Count], AfterValidator(_per_stage)]
MeanPerChannel = Annotated[list[StrictFloat], AfterValidator(_per_channel)]
StdPerChannel = Annotated[list[Positive], AfterValidator(_per_channel)]
FractionRange = Annotated[list[Fraction], AfterValidator(_rising_pair)]
PositiveRange = Annotated[list[Positive], AfterValidator(_rising_pair)]
Decay = Annotated[StrictFloat, Field(gt=0, lt=1)]
ClassWeights = Annotated[Any, AfterValidator(_class_weights)]
FigureName = Literal["envelopes", "schedule", "kernels", "taps", "receptive_field"]
FigureNames = Annotated[list[FigureName], Field(min_length=1), BeforeValidator(_as_list)]
LoggerName = Literal["tensorboard", "csv", "wandb"]
LoggerNames = Annotated[
    list[LoggerName],
    BeforeValidator(_as_list),
    AfterValidator(lambda names: [*dict.fromkeys(names)]),
]
if TYPE_CHECKING:
    StemName = str
else:  # type checkers admit no computed literals
    StemName = Literal[tuple(STEMS)]
PathText = Annotated[Text, AfterValidator(_expand_home)]
PathTexts = Annotated[list[PathText], Field(min_length=1), BeforeValidator(_as_list)]
Texts = Annotated[list[Text], Field(min_length=1), BeforeValidator(_as_list)]
Device = Annotated[StrictStr, AfterValidator(_device)]
