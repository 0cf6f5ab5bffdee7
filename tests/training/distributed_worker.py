"""One of several processes of a tiny run in float64, started by test_distributed.py.

Usage: distributed_worker.py FOLDER curve|poison, alone or under torchrun. The run sees 16 samples
a step, whatever the number of processes. Each process writes FOLDER/<rank>.json.
"""

import json
import math
import sys
from pathlib import Path

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


def watch(trainer, losses, poison):
    train_step = TrainStep.__call__

    def watched(self, batches, lr):
        if poison and trainer.counters.global_step == 2:
            batches[0][0][0] = math.nan
        result = train_step(self, batches, lr)
        losses.append(result.loss_sum / result.num_samples)
        return result

    TrainStep.__call__ = watched


def main(folder, mode):
    with start_runtime("cpu", "fp64", channels_last=True) as runtime:
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
        losses = []
        watch(trainer, losses, mode == "poison" and runtime.rank == runtime.world_size - 1)
        report = {"losses": losses}
        try:
            evaluation = trainer.fit()
            report |= {"val_loss": evaluation.loss, "confusion": evaluation.confusion.tolist()}
        except NonFiniteError as error:
            report["error"] = str(error)
        report["weights"] = sum(p.double().abs().sum().item() for p in trainer.model.parameters())
        (folder / f"{runtime.rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
