"""Runs of the training command in two processes, started by training/test_distributed_runs.py.

The process group stays the same from run to run.
"""

import io
import json
import math
import os
import signal
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from unittest.mock import patch

import torch

from rednet import commands
from rednet.data import Batch, Sample, collate
from rednet.runtime import start_runtime
from rednet.training.batches import TrainBatches
from rednet.training.step import TrainStep

RUN = [
    *("experiment=smoke", "model.options.width=0.0625", "data.image_size=12"),
    *("data.train_samples=22", "data.val_samples=13", "schedule.epochs=2"),
    *("augment=paper", "augment.mixup=0.2", "trainer.log_every=1"),
]
TWO = [*RUN, "data.batch_size=4", "trainer.ema_decay=0.9"]
FINE_TUNING = [
    *("finetune.freeze=stages", "finetune.freeze_stages=1", "finetune.head_epochs=1"),
    *("data.sampler=balanced", "loss=bce", "optimizer.layer_decay=0.8"),
]
STEPS = 3
GONE = collate([Sample(None, 0, 7, ("7.png", "gone"))])
"""A batch of which no image can be read."""


def main(folder, everything):
    """Train, and write folder/<rank>.json: the exit code and the output of each run.

    Args:
        folder: Folder of the runs.
        everything: Whether to train for the nightly tests, too.
    """
    with start_runtime("cpu", "fp32", channels_last=True) as runtime:
        runs = Runs(folder, runtime)
        runs.train("whole")
        runs.evaluate("whole")
        runs.train("cut", at_step=(3, stop))
        # As if each process had a disk of its own.
        runs.train("cut" if runtime.is_primary else "other")
        runs.train("different", at_step=(1, change_weights))
        runs.train("skip", "trainer.on_nonfinite=skip", at_step=(2, poison))
        runs.train("lost", without_images=(4, GONE))
        runs.train("gave up", without_images=(4, Batch.failed("there is no memory")))
        runs.train("gave up")
        if everything:
            train_for_nightly_tests(runs)
    (folder / f"{runtime.rank}.json").write_text(json.dumps(runs.done))


def train_for_nightly_tests(runs):
    rollback = ("trainer.on_nonfinite=rollback", "trainer.save_every_steps=1")
    runs.train("rollback", *rollback, at_step=(4, poison))
    runs.train("bf16", "trainer.precision=bf16", "trainer.ema_decay=null")
    runs.train("lost cut", "trainer.max_steps=4")
    runs.train("lost cut", without_images=(4, GONE))
    start = f"checkpoint={runs.folder / 'whole' / 'checkpoints' / 'last.pt'}"
    runs.train("thawed", start, *FINE_TUNING)
    runs.train("thawed-cut", start, *FINE_TUNING, at_step=(3, stop))
    runs.train("thawed-cut", start, *FINE_TUNING)
    runs.train("smaller", f"trainer.max_steps={STEPS + 1}")


class Runs:
    """Trains in this process and the others, which share a runtime."""

    def __init__(self, folder, runtime):
        self.folder, self.runtime, self.done = folder, runtime, []

    def evaluate(self, name):
        """Evaluate the last checkpoint of a run in the batches in which it was evaluated."""
        last = self.folder / name / "checkpoints" / "last.pt"
        data = ("data=fashion_mnist", "data.val_samples=13", "data.batch_size=4")
        output = f"output_dir={self.folder / name / 'evaluation'}"
        with self.shared_runtime(), redirect_stdout(io.StringIO()):
            assert commands.evaluate([f"checkpoint={last}", *data, output]) == 0

    def train(self, name, *overrides, at_step=(None, None), without_images=(None, None)):
        """Train, and let the last process do something at a step, or have no images for it."""
        argv = [*TWO, *overrides, f"output_dir={self.folder / name}"]
        out, err = io.StringIO(), io.StringIO()
        is_last = self.runtime.rank == self.runtime.world_size - 1
        outputs = redirect_stdout(out), redirect_stderr(err)
        acts = act_at(*at_step, enabled=is_last), load_at(*without_images, enabled=is_last)
        with self.shared_runtime(), acts[0], acts[1], outputs[0], outputs[1]:
            code = commands.train(argv)
        self.done.append([name, code, out.getvalue(), err.getvalue()])

    @contextmanager
    def shared_runtime(self):
        """Let commands use the runtime that there is."""

        @contextmanager
        def build(trainer, explicit_keys):
            yield replace(self.runtime, precision=trainer.precision)

        with patch("rednet.build.runtime.build_runtime", build):
            yield


@contextmanager
def act_at(at, act, *, enabled):
    """Call a function before a step, counted from 0."""
    train_step, steps = TrainStep.__call__, 0

    def wrapped(self, batches, lr, counts):
        nonlocal steps
        if enabled and steps == at:
            act(self, batches)
        steps += 1
        return train_step(self, batches, lr, counts)

    with patch.object(TrainStep, "__call__", wrapped):
        yield


@contextmanager
def load_at(at, batch, *, enabled):
    """Put a batch in the place of what was loaded for a step, counted from 0."""
    place = TrainBatches._place

    def wrapped(self, loaded, global_step):
        replaced = enabled and global_step == at
        return place(self, [batch] * len(loaded) if replaced else loaded, global_step)

    with patch.object(TrainBatches, "_place", wrapped):
        yield


def stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)


def change_weights(train_step, _):
    with torch.no_grad():
        next(train_step.model.parameters()).add_(1e-6)


def poison(_, batches):
    batches[0].images[0] = math.nan
