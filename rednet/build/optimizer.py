"""Build the optimizer, with its groups of parameters."""

from collections.abc import Iterator
from typing import Any

import torch
from timm.optim import (
    create_optimizer_v2,
    get_optimizer_info,
    list_optimizers,
    param_groups_layer_decay,
    param_groups_weight_decay,
)
from torch import nn

from rednet.build.finetuning import classifier_tensors
from rednet.build.model import nearest
from rednet.config import Optimizer
from rednet.errors import InputError

Group = dict[str, Any]
"""A group of parameters with its settings, as optimizers take it."""


def scaled_lr(optimizer: Optimizer, global_batch: int) -> float:
    """Return the learning rate for a global batch, scaled linearly if `lr_base_size` is set."""
    if optimizer.lr_base_size is None:
        return optimizer.lr
    return optimizer.lr * global_batch / optimizer.lr_base_size


def build_optimizer(optimizer: Optimizer, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Build one of timm's optimizers for the parameters that are not frozen.

    Raises:
        InputError: There is no such optimizer, or it cannot be used here.
    """
    names = [str(name) for name in list_optimizers()]
    if optimizer.name not in names:
        raise InputError(
            f"optimizer.name={optimizer.name}: timm has no such optimizer; "
            f"{nearest(optimizer.name, names, 'timm.optim.list_optimizers() has them all')}"
        )
    if get_optimizer_info(optimizer.name).second_order:
        raise InputError(f"optimizer.name={optimizer.name}: needs second derivatives of the loss")
    groups = parameter_groups(optimizer, model)
    try:
        return create_optimizer_v2(groups, opt=optimizer.name, lr=lr, momentum=optimizer.momentum)
    except (ValueError, AssertionError, ImportError, RuntimeError) as error:
        raise InputError(f"optimizer.name={optimizer.name}: {error}") from error


def parameter_groups(optimizer: Optimizer, model: nn.Module) -> list[Group]:
    """Divide the trainable parameters by weight decay and by factor of the learning rate.

    Without `decay_all`, biases and norms do not decay. The factor is the group's `lr_scale`.

    Raises:
        InputError: The network does not say which layers, or which classifier, it has.
    """
    decay: dict[str, Any] = {
        "weight_decay": optimizer.weight_decay,
        "weight_decay_exclude_1d": not optimizer.decay_all,
        "no_weight_decay_list": getattr(model, "no_weight_decay", set)(),
    }
    if optimizer.layer_decay is None:
        groups = param_groups_weight_decay(model, **decay)
    else:
        if not hasattr(model, "group_matcher"):
            raise InputError(
                f"optimizer.layer_decay: {type(model).__name__} does not say which layers it has; "
                "optimizer.backbone_lr_scale needs only the classifier"
            )
        groups = param_groups_layer_decay(model, layer_decay=optimizer.layer_decay, **decay)
    scale = optimizer.backbone_lr_scale
    return groups if scale is None else [*_scale_backbone(groups, model, scale)]


def _scale_backbone(groups: list[Group], model: nn.Module, scale: float) -> Iterator[Group]:
    """Divide each group into parameters of the classifier and others, whose rate is scaled."""
    names = classifier_tensors(model)
    classifier = {id(parameter) for name, parameter in model.named_parameters() if name in names}
    for group in groups:
        for is_head in (False, True):
            members = [p for p in group["params"] if (id(p) in classifier) == is_head]
            factor = group.get("lr_scale", 1.0) * (1.0 if is_head else scale)
            if members:
                yield {**group, "params": members, "lr_scale": factor}
