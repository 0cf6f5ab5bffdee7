"""Schema of each command's configuration."""

from typing import Literal, Self

from pydantic import StrictBool, model_validator
from pydantic.dataclasses import dataclass

from rednet.config.data_effects import EVALUATION_SETS
from rednet.config.groups import (
    RULES,
    Augment,
    Data,
    Debug,
    FineTune,
    Loss,
    Model,
    Optimizer,
    Schedule,
    Trainer,
)
from rednet.config.search import Search
from rednet.config.types import (
    Count,
    FigureNames,
    LoggerNames,
    NonNegative,
    NonNegativeInt,
    PathText,
    PathTexts,
    Positive,
    Probability,
    Seed,
    SheetSize,
    Text,
    Texts,
)


@dataclass(config=RULES, frozen=True, kw_only=True)
class Config:
    """A training run."""

    model: Model | None
    data: Data
    augment: Augment
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    finetune: FineTune
    trainer: Trainer
    logger: LoggerNames
    debug: Debug | None = None
    seed: Seed
    output_dir: PathText | None
    resume: PathText
    checkpoint: PathText | None
    search: Search | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.data.name in EVALUATION_SETS:
            raise ValueError(
                f"data: {self.data.name} has only images to evaluate with; train on data=imagenet"
            )
        head_epochs, epochs = self.finetune.head_epochs, self.schedule.epochs
        if head_epochs >= epochs:
            raise ValueError(
                f"finetune.head_epochs: must be less than schedule.epochs ({epochs}), "
                f"got {head_epochs}; finetune.freeze=backbone never trains the rest"
            )
        return self


@dataclass(config=RULES, frozen=True, kw_only=True)
class EvaluationConfig:
    """An evaluation; if `model` is None, the checkpoint says which network it holds."""

    model: Model | None
    data: Data
    trainer: Trainer
    seed: Seed
    output_dir: PathText | None
    checkpoint: PathText | None
    predictions: StrictBool
    tta: Literal["hflip"] | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class PredictionConfig:
    """Images to classify; if `model` is None, the checkpoint says which network it holds."""

    model: Model | None
    data: Data
    trainer: Trainer
    checkpoint: PathText | None
    images: PathTexts | None
    top_k: Count
    features: StrictBool
    tta: Literal["hflip"] | None
    sheet_images: SheetSize
    output_dir: PathText | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class VisualizationConfig:
    """Figures to draw; those of a network need a checkpoint and images."""

    figures: FigureNames | None
    model: Model | None
    data: Data
    schedule: Schedule
    trainer: Trainer
    checkpoint: PathText | None
    images: PathTexts | None
    max_images: Count
    layers: Texts | None
    groups: Count | None
    overlay: Probability
    smooth: StrictBool
    shared_scale: StrictBool
    max_rows: Count
    lr: Positive
    steps_per_epoch: Count
    output_dir: PathText | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class PaperTablesConfig:
    """The paper's tables; `data` and `trainer` are used to evaluate `checkpoints`."""

    data: Data
    trainer: Trainer
    output_dir: PathText | None
    checkpoints: PathText | None
    runs: PathText | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class ConvertWeightsConfig:
    """A conversion of weights; if `model` is None, the checkpoint says which network it holds."""

    model: Model | None
    checkpoint: PathText | None
    output: PathText | None
    overwrite: StrictBool


@dataclass(config=RULES, frozen=True, kw_only=True)
class ExportConfig:
    """An export; if `model` is None, the checkpoint says which network it holds."""

    model: Model | None
    checkpoint: PathText | None
    output: PathText | None
    overwrite: StrictBool
    format: Literal["onnx", "torch_export", "aoti"]
    fold_bn: StrictBool
    decompose: StrictBool
    dynamic_size: StrictBool
    image_size: Count | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class InfoConfig:
    """A file to describe; if `model` is None, the checkpoint says which network it holds."""

    model: Model | None
    checkpoint: PathText | None
    format: Literal["text", "json"]


@dataclass(config=RULES, frozen=True, kw_only=True)
class ReportConfig:
    """A page that compares runs."""

    runs: PathTexts | None
    output: PathText
    overwrite: StrictBool
    mistakes: NonNegativeInt
    count_macs: StrictBool


@dataclass(config=RULES, frozen=True, kw_only=True)
class BuildKernelsConfig:
    """Compilation of the CPU's kernels for machines without a compiler."""

    output: PathText | None
    cpu: Text


@dataclass(config=RULES, frozen=True, kw_only=True)
class DoctorConfig:
    """A check of the machine."""

    seconds: NonNegative


SCHEMAS: dict[str, type] = {
    "train": Config,
    "evaluate": EvaluationConfig,
    "predict": PredictionConfig,
    "visualize": VisualizationConfig,
    "paper_tables": PaperTablesConfig,
    "convert_weights": ConvertWeightsConfig,
    "export": ExportConfig,
    "info": InfoConfig,
    "report": ReportConfig,
    "build_kernels": BuildKernelsConfig,
    "doctor": DoctorConfig,
}
"""Schema of each command, by the name of its file in ``configs/``."""
