"""The configuration: its schema, its composition by Hydra, and what is wrong with it, in words."""

from rednet.config.checking import find_problems, legal_keys, to_yaml, validate
from rednet.config.composition import CONFIGS, Request, compose, read
from rednet.config.problems import ConfigError
from rednet.config.schema import (
    SCHEMAS,
    Augment,
    Config,
    Data,
    EvaluationConfig,
    Model,
    Optimizer,
    RedNetOptions,
    Schedule,
    Trainer,
)

__all__ = [
    "CONFIGS",
    "SCHEMAS",
    "Augment",
    "Config",
    "ConfigError",
    "Data",
    "EvaluationConfig",
    "Model",
    "Optimizer",
    "RedNetOptions",
    "Request",
    "Schedule",
    "Trainer",
    "compose",
    "find_problems",
    "legal_keys",
    "read",
    "to_yaml",
    "validate",
]
