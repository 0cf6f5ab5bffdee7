"""The conditions of an evaluation: everything that is needed to repeat it, as plain values."""

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rednet.build.evaluation import EvaluationSetup
from rednet.config import EvaluationConfig, Trainer
from rednet.data import fingerprint
from rednet.runtime import Runtime
from rednet.training.checkpoints import versions
from rednet.weights import Checkpoint
from rednet.wording import printable


def evaluation_conditions(
    setup: EvaluationSetup, checkpoint: Checkpoint, config: EvaluationConfig, runtime: Runtime
) -> dict[str, Any]:
    """Return network, weights, data, preprocessing, arithmetic and versions of an evaluation."""
    return {
        "options": setup.network.options,
        "parameters": sum(parameter.numel() for parameter in setup.model.parameters()),
        "checkpoint": {
            "path": printable(os.path.abspath(checkpoint.path)),
            "sha256": _sha256(checkpoint.path),
            "kind": checkpoint.kind,
            "ema": checkpoint.is_averaged,
        },
        "data": _data(setup),
        "preprocessing": asdict(setup.preprocessing),
        "tta": config.tta,
        "precision": precision(config.trainer, runtime),
        "device": _device(runtime.device),
        "processes": runtime.world_size,
        "batch_size": setup.data.batch_size,
        "channels_last": runtime.channels_last,
        "deterministic": config.trainer.deterministic,
        "versions": versions(),
    }


def _data(setup: EvaluationSetup) -> dict[str, Any]:
    """Return which images were read; `split` is null for all of a folder without splits."""
    images, data, counting = setup.images, setup.data, setup.counting
    is_split = images.split_seed is not None
    return {
        "name": data.name,
        "root": data.root and printable(os.path.abspath(data.root)),
        "read": printable(images.origin),
        "split": images.split,
        "seed": images.split_seed,
        "val_fraction": data.val_fraction if is_split else None,
        "images": len(images.source),
        "of": images.total,
        "classes": len(images.source.class_names),
        "outputs": setup.num_outputs,
        "counted_classes": "all" if counting.outputs is None else images.source.class_names,
        "labels": "one per image" if counting.labels is None else "one or more per image",
        "fingerprint": fingerprint(images.source),
    }


def precision(trainer: Trainer, runtime: Runtime) -> str:
    """Return the precision of the arithmetic, which on a GPU may be TF32 instead of fp32."""
    uses_tf32 = trainer.precision == "fp32" and trainer.tf32 and runtime.device.type == "cuda"
    return "tf32" if uses_tf32 else trainer.precision


def _device(device: torch.device) -> str:
    """Return the name of a device, with the model of a GPU."""
    is_gpu = device.type == "cuda"
    return f"{device} ({torch.cuda.get_device_name(device)})" if is_gpu else str(device)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
