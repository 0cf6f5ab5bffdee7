"""Any value in a checkpoint of ours may be anything: one line, never a traceback."""

import copy
import math
import random

import pytest
import torch

from rednet.build.evaluation import build_evaluation
from rednet.build.resuming import resume
from rednet.build.runtime import build_runtime
from rednet.build.starting import follow_weights
from rednet.build.training import build_trainer
from rednet.config import compose
from rednet.errors import InputError
from rednet.training.train_state import require_train_state
from rednet.weights import read_checkpoint, restore_model, write_safetensors

REPLACEMENTS = {
    "none": None,
    "negative": -1,
    "nan": math.nan,
    "infinite": math.inf,
    "huge": 2**70,
    "text": "x\x1b[31m",
    "list": [],
    "dict": {},
    "tensor": torch.ones(3, 2),
    "missing": ...,
}
RUN = (
    *("model=timm", "model.name=test_resnet", "optimizer=adamw", "trainer.ema_decay=0.9"),
    *("data=fashion_mnist", "data.train_samples=8", "data.val_samples=10", "data.image_size=32"),
    *("data.batch_size=4", "data.num_workers=0", "trainer.device=cpu"),
    *("schedule=constant", "schedule.epochs=3"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trainer after an epoch and a step, and its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    config = compose("train", [*RUN, "trainer.max_steps=3", f"output_dir={folder}"])
    with build_runtime(config.trainer, ()) as runtime:
        trainer = build_trainer(config, runtime, folder)
        trainer.fit()
        yield trainer, torch.load(trainer.saver.store.last, weights_only=True)


def places(value, place=()):
    """Yield the way to each value; the first entries stand for all of a long dict or list."""
    if isinstance(value, dict):
        for key in list(value)[: None if len(place) < 2 else 4]:
            yield (*place, key)
            yield from places(value[key], (*place, key))
    elif isinstance(value, list) and value:
        yield (*place, 0)
        yield from places(value[0], (*place, 0))


def replaced(content, place, value):
    """Return a copy in which one value is replaced, or deleted by `...`."""
    copied = copy.copy(content)
    if len(place) > 1:
        copied[place[0]] = replaced(content[place[0]], place[1:], value)
    elif value is ...:
        del copied[place[0]]
    else:
        copied[place[0]] = value
    return copied


def resumed(checkpoint, trainer, folder):
    require_train_state(checkpoint)
    resume(trainer, checkpoint)
    trainer.train_step.optimizer.step()
    trainer.log.state_dict()
    trainer.saver.store._kept_epochs()


def evaluated(checkpoint, trainer, folder):
    data = compose("evaluate", ["data=fashion_mnist", "data.num_workers=0"]).data
    build_evaluation(checkpoint, None, data, 0, ()).describe()


def tuned(checkpoint, trainer, folder):
    config = compose("train", [*RUN[:1], *RUN[4:], f"checkpoint={checkpoint.path}"])
    start = follow_weights(config, ())[1]
    start.load(trainer.model, ["a", "b"])


def converted(checkpoint, trainer, folder):
    write_safetensors(checkpoint, folder / "out.safetensors", overwrite=True)
    read_checkpoint(folder / "out.safetensors")


def visualized(checkpoint, trainer, folder):
    restore_model(checkpoint)


USES = [resumed, evaluated, tuned, converted, visualized]


def try_all(cases, run, folder):
    trainer, content = run
    for place, name in cases:
        path = folder / "epoch-0001.pt"
        torch.save(replaced(content, place, REPLACEMENTS[name]), path)
        for use in USES if place[0] != "train_state" else [resumed]:
            try:
                use(read_checkpoint(path), trainer, folder)
            except InputError as error:
                assert str(path) in str(error) or "\n" not in str(error), (place, name, use)
            except Exception as error:
                raise AssertionError(f"{use.__name__}: {place} {name}") from error


def all_cases(content):
    return [(place, name) for place in places(content) for name in REPLACEMENTS]


def test_some_damages(run, tmp_path):
    cases = all_cases(run[1])
    try_all(random.Random(0).sample(cases, 6), run, tmp_path)


@pytest.mark.nightly
def test_all_damages(run, tmp_path):
    try_all(all_cases(run[1]), run, tmp_path)
