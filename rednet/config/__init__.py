"""The configuration: its schema, its composition by Hydra, and what is wrong with it, in words."""

from rednet.config.composition import CONFIGS, Request, compose, read
from rednet.config.problems import ConfigError
from rednet.config.schema import (
    Augment,
    Config,
    Data,
    Model,
    Optimizer,
    RedNetOptions,
    Schedule,
    Trainer,
    find_problems,
    legal_keys,
    to_yaml,
    validate,
)

__all__ = [
    "CONFIGS",
    "Augment",
    "Config",
    "ConfigError",
    "Data",
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
