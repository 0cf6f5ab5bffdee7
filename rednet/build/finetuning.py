"""Decide which parts of a network train, and when."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from typing import Any

from timm.models._manipulate import group_with_matcher
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from rednet.config import Config, ConfigError, FineTune, idle_keys, meant_keys
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
    always, at_first = _frozen_tensors(config.finetune, model)
    head_epochs = config.finetune.head_epochs if at_first > always else 0
    freezing = Freezing(model, always, at_first, head_epochs)
    if problems := [*_idle(config, freezing, meant_keys(explicit_keys))]:
        raise ConfigError(problems)
    freezing.apply(head_epochs)
    return freezing


def _frozen_tensors(finetune: FineTune, model: nn.Module) -> tuple[set[str], set[str]]:
    """Return the tensors that never train, and those that do not train in the first epochs."""
    always = _frozen(finetune, model)
    at_first = always
    if finetune.head_epochs:
        at_first = always | (set(tensor_names(model)) - classifier_tensors(model))
    norms = _norm_tensors(model)
    if finetune.batch_norm == "freeze":
        return always | norms, at_first | norms
    if finetune.batch_norm == "train":
        return always - norms, at_first - norms
    return always, at_first


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
    finetune, model = config.finetune, freezing.model
    norms, value = _norm_tensors(model), finetune.batch_norm
    plain = _frozen_tensors(replace(finetune, batch_norm="follow"), model)
    is_idle = value != "follow" and plain == _frozen_tensors(finetune, model)
    if "finetune.batch_norm" in meant and is_idle:
        if not norms:
            reason = "the network has no batch normalisation"
        else:
            part = "all" if value == "freeze" else "none"
            reason = f"finetune.freeze={finetune.freeze} freezes {part} of it"
        yield f"finetune.batch_norm={value}: has no effect, {reason}"
    if "trainer.sync_bn" in meant and config.trainer.sync_bn and norms <= freezing.always:
        yield "trainer.sync_bn: has no effect, all batch normalisation is frozen"
    if finetune.freeze == "stages":
        yield from _idle_without_stages(config, freezing, meant)


def _idle_without_stages(
    config: Config, freezing: Freezing, meant: Collection[str]
) -> Iterator[str]:
    """Yield the lines about ``freeze=backbone`` if the frozen stages are the whole backbone."""
    as_backbone = replace(config, finetune=replace(config.finetune, freeze="backbone"))
    if _frozen(as_backbone.finetune, freezing.model) != _frozen(config.finetune, freezing.model):
        return
    others = idle_keys("train", asdict(config), meant)
    stages = f"finetune.freeze_stages={config.finetune.freeze_stages}"
    for key, line in idle_keys("train", asdict(as_backbone), meant).items():
        if key not in others and key != "finetune.freeze_stages":
            yield line.replace("finetune.freeze=backbone", stages)
