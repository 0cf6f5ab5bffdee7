"""Build the training loss, with a weight for each class."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from rednet.config import Config, ConfigError, meant_keys
from rednet.config import Loss as LossConfig
from rednet.data import ImageSource
from rednet.data.class_folders import class_name
from rednet.errors import InputError
from rednet.runtime import Runtime
from rednet.training.losses import BinaryCrossEntropy, CrossEntropy, Loss
from rednet.wording import count, join_names, printable


def build_loss(
    config: Config, source: ImageSource, explicit_keys: Collection[str], runtime: Runtime
) -> Loss:
    """Build the training loss for the classes of the training images.

    Raises:
        InputError: The weights do not fit the classes, or no target exceeds the threshold.
        ConfigError: The data leave one of the explicit keys without effect.
    """
    _require_class_effects(config, source, explicit_keys)
    loss, smoothing = config.loss, config.augment.label_smoothing
    weights = build_class_weights(loss, source, is_balanced=config.data.sampler == "balanced")
    if weights is not None:
        _require_unequal(weights, explicit_keys)
        weights = weights.to(runtime.device)
    if loss.name == "cross_entropy":
        return CrossEntropy(smoothing, weights)
    _require_targets(config, len(source.class_names), explicit_keys)
    return BinaryCrossEntropy(smoothing, loss.target_threshold, weights)


def build_class_weights(
    loss: LossConfig, source: ImageSource, *, is_balanced: bool
) -> Tensor | None:
    """Return the weight of each class, None for equal weights.

    They are scaled to a mean of 1 over the images that training sees, so that the loss and the
    learning rate keep their meaning.

    Args:
        loss: Configuration of the loss.
        source: Training images.
        is_balanced: Whether training sees each class equally often.
    """
    if loss.class_weights is None:
        return None
    sizes = _class_sizes(source)
    seen = np.sign(sizes) if is_balanced else sizes
    if loss.class_weights == "balanced":
        weights = np.where(seen > 0, 1 / np.maximum(seen, 1), 1 / np.maximum(seen.mean(), 1))
    elif isinstance(loss.class_weights, str):
        weights = _read_weights(Path(loss.class_weights), source.class_names)
    else:
        weights = np.array(loss.class_weights)
        if len(weights) != len(sizes):
            raise InputError(
                f"loss.class_weights: {count(len(weights), 'weight')}, but the data has "
                f"{count(len(sizes), 'class')}: {join_names(source.class_names)}"
            )
    mean = (weights * seen).sum() / seen.sum()
    return torch.from_numpy(weights / mean).float()


def describe_class_weights(weights: Tensor, class_names: Collection[str]) -> str:
    """Return the smallest and the largest weight, with the classes that have them."""
    names = list(class_names)
    ends = (int(weights.argmin()), int(weights.argmax()))
    least, most = (f"{weights[index]:.3g} ({printable(names[index])})" for index in ends)
    return f"class weights from {least} to {most}"


def _class_sizes(source: ImageSource) -> np.ndarray:
    return np.bincount(np.asarray(source.targets), minlength=len(source.class_names)).astype(float)


def _read_weights(path: Path, class_names: list[str]) -> np.ndarray:
    """Read a YAML or JSON file that maps each class to its weight."""
    key = f"loss.class_weights={printable(path)}"
    try:
        # Without types, since a class may be named no or 1.
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a YAML or JSON file"
        raise InputError(f"{key}: {reason}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{key}: has no lines class: weight")
    found = {class_name(str(name)): value for name, value in content.items()}
    if missing := [name for name in class_names if name not in found]:
        raise InputError(f"{key}: has no weight for {join_names(missing)}")
    if unknown := [name for name in found if name not in set(class_names)]:
        raise InputError(f"{key}: the data has no class {join_names(unknown)}")
    return np.array([_weight(found[name], name, key) for name in class_names])


def _weight(value: Any, name: str, key: str) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 < weight < math.inf:
        raise InputError(
            f"{key}: the weight of {printable(name)} must be a number greater than 0, "
            f"got {printable(str(value))}"
        )
    return weight


def _require_class_effects(
    config: Config, source: ImageSource, explicit_keys: Collection[str]
) -> None:
    """Refuse to balance classes that are balanced."""
    sizes = _class_sizes(source)
    if len(set(sizes[sizes > 0])) > 1:
        return
    asked = {
        "data.sampler": config.data.sampler == "balanced",
        "loss.class_weights": config.loss.class_weights == "balanced",
    }
    same = f"all classes have {count(int(sizes.max()), 'training image')}"
    problems = [
        f"{key}=balanced: has no effect, {same}"
        for key, is_balanced in asked.items()
        if is_balanced and key in meant_keys(explicit_keys)
    ]
    if problems:
        raise ConfigError(problems)


def _require_unequal(weights: Tensor, explicit_keys: Collection[str]) -> None:
    key = "loss.class_weights"
    if key in meant_keys(explicit_keys) and bool((weights == weights[0]).all()):
        raise ConfigError([f"{key}: has no effect, all weights are equal"])


def _require_targets(config: Config, num_classes: int, explicit_keys: Collection[str]) -> None:
    """Require a threshold between the targets of the true class and of the others."""
    threshold, smoothing = config.loss.target_threshold, config.augment.label_smoothing
    if threshold is None:
        return
    others = smoothing / num_classes
    true = 1 - smoothing + others
    if not others <= threshold < true:
        raise InputError(
            f"loss.target_threshold={threshold:g}: must be at least {others:.3g}, the target of "
            f"the other classes, and below {true:.3g}, that of the true one "
            f"(augment.label_smoothing={smoothing:g})"
        )
    key, is_blended = "augment.label_smoothing", config.augment.mixup or config.augment.cutmix
    if smoothing and not is_blended and key in meant_keys(explicit_keys):
        raise ConfigError([f"{key}: has no effect with loss.target_threshold={threshold:g}"])
