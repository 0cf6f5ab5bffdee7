"""The configuration: its schema, its composition by Hydra, and what is wrong with it, in words."""

from rednet.config.checking import find_problems, legal_keys, to_yaml, validate
from rednet.config.composition import CONFIGS, Request, compose, read
from rednet.config.groups import (
    Augment,
    Data,
    Model,
    Optimizer,
    RedNetOptions,
    Schedule,
    Trainer,
)
from rednet.config.problems import ConfigError
from rednet.config.schema import (
    SCHEMAS,
    Config,
    ConvertWeightsConfig,
    EvaluationConfig,
    PaperTablesConfig,
    VisualizationConfig,
)
from rednet.config.types import FigureName

__all__ = [
    "CONFIGS",
    "SCHEMAS",
    "Augment",
    "Config",
    "ConfigError",
    "ConvertWeightsConfig",
    "Data",
    "EvaluationConfig",
    "FigureName",
    "Model",
    "Optimizer",
    "PaperTablesConfig",
    "RedNetOptions",
    "Request",
    "Schedule",
    "Trainer",
    "VisualizationConfig",
    "compose",
    "find_problems",
    "legal_keys",
    "read",
    "to_yaml",
    "validate",
]
