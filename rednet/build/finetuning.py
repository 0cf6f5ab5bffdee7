"""Decide which parts of a network train, and when."""

from collections.abc import Collection, Iterator
from typing import Any

from timm.models._manipulate import group_with_matcher
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from rednet.config import Config, ConfigError, FineTune, meant_keys
from rednet.errors import InputError
from rednet.training.freezing import Freezing, tensor_names
from rednet.wording import count


def build_freezing(config: Config, model: nn.Module, explicit_keys: Collection[str]) -> Freezing:
    """Freeze what never trains, and return what is frozen when.

    Args:
        config: Configuration of the run.
        model: Network on its device.
        explicit_keys: Dotted keys that the user set.

    Raises:
        InputError: The network does not say which its classifier or its stages are.
        ConfigError: The network leaves one of the explicit keys without effect.
    """
    finetune = config.finetune
    always = _frozen(finetune, model)
    at_first = (
        set(tensor_names(model)) - classifier_tensors(model) if finetune.head_epochs else set()
    )
    norms = _norm_tensors(model)
    if finetune.batch_norm == "freeze":
        always |= norms
    elif finetune.batch_norm == "train":
        always, at_first = always - norms, at_first - norms
    freezing = Freezing(model, always, at_first, finetune.head_epochs)
    if problems := [*_idle(config, freezing, meant_keys(explicit_keys))]:
        raise ConfigError(problems)
    freezing.apply(finetune.head_epochs)
    return freezing


def classifier_tensors(model: nn.Module) -> set[str]:
    """Return the names of the parameters and buffers of a timm model's classifiers.

    Raises:
        InputError: The network does not say which its classifier is.
    """
    layers = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    prefixes = tuple(f"{layer}." for layer in ([layers] if isinstance(layers, str) else layers))
    names = {name for name in tensor_names(model) if prefixes and name.startswith(prefixes)}
    if not names:
        raise InputError(
            f"finetune: {type(model).__name__} does not say which of its layers is the classifier"
        )
    return names


def _frozen(finetune: FineTune, model: Any) -> set[str]:
    """Return the tensors of the parts that never train."""
    if finetune.freeze == "none":
        return set()
    classifier = classifier_tensors(model)
    if finetune.freeze == "backbone":
        return set(tensor_names(model)) - classifier
    if not hasattr(model, "group_matcher"):
        raise InputError(
            f"finetune.freeze=stages: {type(model).__name__} does not say which stages it has; "
            "finetune.freeze=backbone freezes all but the classifier"
        )
    named = [*model.named_parameters(), *model.named_buffers()]
    stages = group_with_matcher(iter(named), model.group_matcher(coarse=True), reverse=True)
    # Group 0 is the stem, and the last one has the classifier and what belongs to no stage.
    last = min(stages[name] for name in classifier) - 1
    if finetune.freeze_stages > last:
        raise InputError(
            f"finetune.freeze_stages={finetune.freeze_stages}: the network has "
            f"{count(last, 'stage')}"
        )
    return {name for name, stage in stages.items() if stage <= finetune.freeze_stages}


def _norm_tensors(model: nn.Module) -> set[str]:
    """Return parameters and running statistics of all batch normalisation."""
    return {
        f"{name}.{tensor}"
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        for tensor in tensor_names(module)
    }


def _idle(config: Config, freezing: Freezing, meant: Collection[str]) -> Iterator[str]:
    """Yield a line for each key that this network leaves without effect."""
    finetune, norms = config.finetune, _norm_tensors(freezing.model)
    key = f"finetune.batch_norm={finetune.batch_norm}"
    if "finetune.batch_norm" in meant and finetune.batch_norm != "follow":
        if not norms:
            yield f"{key}: has no effect, the network has no batch normalisation"
        elif finetune.batch_norm == "freeze" and norms <= _frozen(finetune, freezing.model):
            yield f"{key}: has no effect, finetune.freeze={finetune.freeze} freezes all of it"
        elif (
            finetune.batch_norm == "train"
            and finetune.freeze == "none"
            and not finetune.head_epochs
        ):
            yield f"{key}: has no effect with finetune.freeze=none, which freezes none of it"
    if "trainer.sync_bn" in meant and config.trainer.sync_bn and norms <= freezing.always:
        yield "trainer.sync_bn: has no effect, all batch normalisation is frozen"
