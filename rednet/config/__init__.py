"""The configuration: composed by Hydra, checked against a schema, explained where it is wrong."""

from rednet.config.checking import find_problems, legal_keys, to_yaml, validate
from rednet.config.composition import CONFIGS, Composition, compose, compose_jobs
from rednet.config.effects import idle_keys
from rednet.config.groups import (
    Augment,
    Data,
    Debug,
    FineTune,
    Loss,
    Model,
    Optimizer,
    RedNetOptions,
    Schedule,
    Trainer,
)
from rednet.config.problems import ConfigError
from rednet.config.schema import (
    SCHEMAS,
    BuildKernelsConfig,
    Config,
    ConvertWeightsConfig,
    DoctorConfig,
    EvaluationConfig,
    ExportConfig,
    InfoConfig,
    PaperTablesConfig,
    PredictionConfig,
    ReportConfig,
    VisualizationConfig,
)
from rednet.config.types import FigureName
from rednet.config.user_keys import meant_keys

__all__ = [
    "CONFIGS",
    "SCHEMAS",
    "Augment",
    "BuildKernelsConfig",
    "Composition",
    "Config",
    "ConfigError",
    "ConvertWeightsConfig",
    "Data",
    "Debug",
    "DoctorConfig",
    "EvaluationConfig",
    "ExportConfig",
    "FigureName",
    "FineTune",
    "InfoConfig",
    "Loss",
    "Model",
    "Optimizer",
    "PaperTablesConfig",
    "PredictionConfig",
    "RedNetOptions",
    "ReportConfig",
    "Schedule",
    "Trainer",
    "VisualizationConfig",
    "compose",
    "compose_jobs",
    "find_problems",
    "idle_keys",
    "legal_keys",
    "meant_keys",
    "to_yaml",
    "validate",
]
