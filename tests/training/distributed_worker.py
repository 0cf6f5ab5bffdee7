"""One of several processes of a tiny run in float64, started by test_distributed.py.

A run sees 16 samples a step, whatever the number of processes.
"""

import json
import math
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torchvision.ops.misc import FrozenBatchNorm2d

from rednet.build.training import build_trainer
from rednet.config import compose
from rednet.runtime import start_runtime
from rednet.training.nonfinite import NonFiniteError
from rednet.training.step import TrainStep

GLOBAL_BATCH = 16


def thaw(model):
    """Gives frozen statistics values under which every branch of the network matters."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            for name, low in (("weight", 0.3), ("bias", -0.1), ("running_var", 1.0)):
                values = torch.rand(len(module.weight), generator=generator)
                getattr(module, name).copy_(low + 0.2 * values)


@contextmanager
def watch(trainer, poisoned):
    """Yield the mean loss of each step; a poisoned trainer meets NaN in its third step."""
    losses = []
    train_step = TrainStep.__call__

    def watched(self, batches, lr, counts):
        if poisoned and trainer.counters.global_step == 2:
            batches[0].images[0] = math.nan
        result = train_step(self, batches, lr, counts)
        losses.append(result.loss_sum / result.num_samples)
        return result

    with patch.object(TrainStep, "__call__", watched):
        yield losses


def run(runtime, folder, poisoned):
    """Train, and return what is to be equal on all ranks."""
    config = compose(
        "train",
        [
            "experiment=smoke",
            "model.options.norm_layer=frozenbatchnorm2d",
            "data.image_size=12",
            "data.train_samples=51",
            "data.val_samples=21",
            f"data.batch_size={GLOBAL_BATCH // runtime.world_size}",
            "schedule.epochs=2",
            "optimizer.lr=0.02",
            "augment.label_smoothing=0.1",
            "augment.hflip=0.5",
        ],
    )
    trainer = build_trainer(config, runtime, folder)
    thaw(trainer.model)
    report = {}
    with watch(trainer, poisoned) as report["losses"]:
        try:
            evaluation = trainer.fit()
            report |= {"val_loss": evaluation.loss, "confusion": evaluation.confusion.tolist()}
        except NonFiniteError as error:
            report["error"] = str(error)
    weights = trainer.model.parameters()
    return report | {"weights": sum(p.double().abs().sum().item() for p in weights)}


def main(folder, modes):
    """Train in each mode, "curve" or "poison", and write folder/<mode>/<rank>.json."""
    with start_runtime("cpu", "fp64", channels_last=True) as runtime:
        for mode in modes:
            (folder / mode).mkdir(exist_ok=True)
            poisoned = mode == "poison" and runtime.rank == runtime.world_size - 1
            report = run(runtime, folder / mode, poisoned)
            (folder / mode / f"{runtime.rank}.json").write_text(json.dumps(report))
