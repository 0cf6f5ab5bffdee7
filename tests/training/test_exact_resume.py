"""A run interrupted between any two steps ends as the uninterrupted run, to the last bit."""

import signal
from itertools import product

import pytest
from equal_runs import assert_equal_runs, assert_equal_states, load
from image_sources import open_as, write_folder

from rednet.errors import Stopped
from rednet.training.recovery import read_newest
from rednet.training.step import TrainStep

EPOCHS, STEPS = 2, 3
SIZES = [
    *("data.train_samples=20", "data.val_samples=10", "data.batch_size=8"),
    *(f"schedule.epochs={EPOCHS}", "trainer.log_every=2"),
]
RUNS = {
    "everything random": [
        *("trainer.ema_decay=0.9", "augment=paper", "augment.mixup=0.2", "augment.cutmix=1.0"),
        *("model.options.drop_path_rate=0.3", "model.options.drop_rate=0.3"),
    ],
    "fp16": ["trainer.precision=fp16", "trainer.grad_accum_steps=2", "data.batch_size=4"],
    "fine-tuning": [
        *("finetune.freeze=stages", "finetune.head_epochs=1", "optimizer.layer_decay=0.7"),
        *("data.sampler=balanced", "data.train_samples=25", "loss=bce", "augment=paper"),
        *("loss.class_weights=[1,2,3,1,2,3,1,2,3,1]", "data.batch_size=10"),
    ],
    "workers": ["optimizer=adamw", "data.num_workers=2", "trainer.eval_every=2"],
}


class Crash(Exception):
    """Ends a run as a kill would: nothing more is saved."""


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that interrupts a trainer after a step."""

    def interrupt(trainer, after, how):
        train_step = TrainStep.__call__

        def interrupted(self, *arguments):
            if how == "crash" and trainer.counters.global_step == after:
                raise Crash
            if how == "signal" and trainer.counters.global_step + 1 == after:
                trainer.signals.received = signal.SIGTERM
            return train_step(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(TrainStep, "__call__", interrupted)
            try:
                trainer.fit()
            except (Crash, Stopped) as stop:
                return stop
            raise AssertionError("the run was not interrupted")

    return interrupt


@pytest.fixture
def start(make_trainer):
    """Return a function that builds a run, or continues the one in its folder."""

    def start(*overrides, folder="cut"):
        trainer = make_trainer(*SIZES, *overrides, folder=folder)
        checkpoint = read_newest(trainer.saver.store)
        if checkpoint is not None:
            trainer.load_state_dict(checkpoint.content)
            trainer.saver.saved = trainer.counters
        return trainer

    return start


@pytest.fixture
def whole(start):
    """Return a function that trains without interruption; it returns the folder."""

    def train(*overrides):
        trainer = start(*overrides, folder="whole")
        trainer.fit()
        return trainer.log.folder

    return train


def every_run():
    """At every commit the others are interrupted once."""
    for name in RUNS:
        is_daily = name in ("everything random", "workers")
        yield pytest.param(name, marks=() if is_daily else pytest.mark.nightly)


@pytest.mark.parametrize("name", list(every_run()))
def test_interrupted_after_every_step(name, start, whole, interrupt):
    """In turn by a limit, by a signal and by a crash, in one run."""
    options = RUNS[name]
    for step in range(1, EPOCHS * STEPS):
        how = ("limit", "signal", "crash")[step % 3]
        if how == "limit":
            start(*options, f"trainer.max_steps={step}").fit()
        else:
            stop = interrupt(start(*options, "trainer.save_every_steps=1"), step, how)
            assert isinstance(stop, Stopped) == (how == "signal")
    trainer = start(*options)
    assert trainer.counters.global_step >= EPOCHS * STEPS - 2
    trainer.fit()
    assert_equal_runs(trainer.log.folder, whole(*options))


def every_interruption():
    """Each run, step and way to end; two runs after one step at every commit, all nightly."""
    steps, ways = range(1, EPOCHS * STEPS + 1), ("limit", "signal", "crash")
    for name, step, how in product(RUNS, steps, ways):
        is_daily = (name, step, how) in (("fp16", 2, "crash"), ("fine-tuning", 2, "signal"))
        yield pytest.param(name, step, how, marks=() if is_daily else pytest.mark.nightly)


@pytest.mark.parametrize(("name", "step", "how"), list(every_interruption()))
def test_interrupted_after_one_step(name, step, how, start, whole, interrupt):
    options = RUNS[name]
    if how == "limit":
        start(*options, f"trainer.max_steps={step}").fit()
    elif (how, step) == ("signal", EPOCHS * STEPS):
        start(*options).fit()
    elif (how, step) != ("crash", EPOCHS * STEPS):
        interrupt(start(*options, "trainer.save_every_steps=1"), step, how)
    trainer = start(*options)
    trainer.fit()
    assert_equal_runs(trainer.log.folder, whole(*options))


LONG = [pytest.param(kind, marks=pytest.mark.nightly) for kind in ("csv", "webdataset", "imagenet")]


@pytest.mark.parametrize("kind", ["huggingface", *LONG])
def test_a_run_of_another_source_stopped_by_a_signal(kind, start, whole, interrupt, tmp_path):
    """With the same weights as of a folder of the same images, if these are its only classes."""
    write_folder(tmp_path)
    options = ["augment=paper", "data.num_workers=1", *open_as(kind, tmp_path)]
    assert isinstance(interrupt(start(*options), 1, "signal"), Stopped)
    trainer = start(*options)
    assert 0 < trainer.counters.step_in_epoch < STEPS
    trainer.fit()
    run = whole(*options)
    assert_equal_runs(trainer.log.folder, run)
    if kind != "imagenet":  # the network has a thousand outputs
        folder = ["data=image_folder", f"data.root={tmp_path}/images"]
        trainer = start(*options[:2], *folder, folder="folder")
        trainer.fit()
        states = (load(each / "checkpoints/last.pt") for each in (run, trainer.log.folder))
        assert_equal_states(*(state["state_dict"] for state in states))
