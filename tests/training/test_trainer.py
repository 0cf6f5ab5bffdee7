import math

import pytest
import torch
from equal_runs import assert_equal_states, rows

from rednet.errors import InputError
from rednet.training.metrics import read_metrics
from rednet.training.nonfinite import NonFiniteError
from rednet.training.step import TrainStep
from rednet.weights import read_checkpoint

KEYS = [
    "epoch",
    "global_step",
    "lr",
    "train_loss",
    "val_loss",
    "val_top1",
    "val_top5",
    "images_per_second",
    "seconds",
]


def test_a_run_writes_a_line_per_epoch_and_its_checkpoints(make_trainer):
    trainer = make_trainer()
    trainer.fit()
    lines = read_metrics(trainer.log.folder)
    assert [list(line) for line in lines] == [KEYS, KEYS]
    assert [(line["epoch"], line["global_step"]) for line in lines] == [(1, 5), (2, 10)]
    assert (
        lines[-1]["val_top1"]
        == read_checkpoint(trainer.saver.store.last).content["metrics"]["val_top1"]
    )
    assert any((trainer.log.folder / "tensorboard").iterdir())


def test_equal_runs_are_equal_at_any_number_of_workers(make_trainer):
    one, other = make_trainer(folder="a"), make_trainer("data.num_workers=2", folder="b")
    one.fit()
    other.fit()
    assert rows(one.log.folder) == rows(other.log.folder)
    assert_equal_states(one.model.state_dict(), other.model.state_dict())


def test_resuming_takes_the_settings_of_today(make_trainer):
    make_trainer("trainer.max_steps=5").fit()
    trainer = make_trainer("optimizer.weight_decay=0.5", "optimizer.lr=0.007")
    trainer.load_state_dict(read_checkpoint(trainer.saver.store.last).content)
    assert {group["weight_decay"] for group in trainer.train_step.optimizer.param_groups} == {0.5}
    assert trainer.schedule.lr_at(5) == pytest.approx(0.007)


def test_epochs_after_the_resumed_one_leave_the_log(make_trainer):
    make_trainer("schedule.epochs=2").fit()
    trainer = make_trainer("schedule.epochs=2")
    first = trainer.saver.store.folder / "epoch-0001.pt"
    trainer.load_state_dict(read_checkpoint(first).content)
    trainer.fit()
    assert [line["epoch"] for line in read_metrics(trainer.log.folder)] == [1, 2]


def test_a_half_written_line_of_a_crash_is_dropped(make_trainer):
    trainer = make_trainer("trainer.max_steps=5")
    trainer.fit()
    with (trainer.log.folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "glob')
    assert [line["epoch"] for line in read_metrics(trainer.log.folder)] == [1]


def test_a_run_may_go_on_in_half_precision(make_trainer):
    sizes = ("data.train_samples=16", "data.val_samples=10", "schedule.epochs=2")
    make_trainer(*sizes, "trainer.max_steps=2").fit()
    trainer = make_trainer(*sizes, "trainer.precision=fp16")
    trainer.load_state_dict(read_checkpoint(trainer.saver.store.last).content)
    trainer.fit()
    assert trainer.counters.epoch == 2


def test_a_finished_run_has_nothing_left_to_do(make_trainer):
    make_trainer().fit()
    trainer = make_trainer()
    trainer.load_state_dict(read_checkpoint(trainer.saver.store.last).content)
    assert trainer.fit() is None


def test_averaged_weights_are_what_is_evaluated_and_kept(make_trainer):
    trainer = make_trainer("trainer.ema_decay=0.999", "optimizer.lr=0.5")
    result = trainer.fit()
    content = read_checkpoint(trainer.saver.store.last).content
    averaged = trainer.ema.module.state_dict()
    assert_equal_states(content["state_dict_ema"], averaged)
    assert not torch.equal(averaged["fc.weight"], trainer.model.state_dict()["fc.weight"])
    trainer.ema = None
    assert trainer.evaluate().loss != result.loss


def test_evaluation_is_skipped_but_never_at_the_end(make_trainer):
    trainer = make_trainer("schedule.epochs=3", "trainer.eval_every=2")
    trainer.fit()
    evaluated = [line["val_top1"] is not None for line in read_metrics(trainer.log.folder)]
    assert evaluated == [False, True, True]


def test_it_stops_after_max_steps_within_an_epoch(make_trainer):
    trainer = make_trainer("trainer.max_steps=7")
    trainer.fit()
    assert trainer.counters.global_step == 7
    assert trainer.counters.epoch == 1
    assert [line["global_step"] for line in read_metrics(trainer.log.folder)] == [5, 7]


def test_a_diverged_run_raises_and_keeps_its_last_checkpoint(make_trainer):
    trainer = make_trainer("trainer.max_steps=5")
    trainer.fit()
    again = make_trainer()
    again.load_state_dict(read_checkpoint(again.saver.store.last).content)
    with torch.no_grad():
        again.model.fc.weight.fill_(math.nan)
    with pytest.raises(NonFiniteError):
        again.fit()
    assert read_checkpoint(again.saver.store.last).content["train_state"]["epoch"] == 1


def test_the_learning_rate_is_the_schedules(make_trainer, monkeypatch):
    trainer = make_trainer("schedule=cosine", "schedule.warmup_epochs=1")
    optimizer, seen = trainer.train_step.optimizer, []
    train_step = TrainStep.__call__

    def spy(self, batches, lr, counts=()):
        result = train_step(self, batches, lr, counts)
        seen.extend(group["lr"] for group in optimizer.param_groups)
        return result

    monkeypatch.setattr(TrainStep, "__call__", spy)
    trainer.fit()
    groups = len(optimizer.param_groups)
    assert seen[::groups] == [trainer.schedule.lr_at(step) for step in range(10)]


def test_a_batch_larger_than_the_data_is_refused(make_trainer):
    with pytest.raises(InputError, match="more than the 40 training images"):
        make_trainer("data.batch_size=64")


def test_a_last_batch_of_one_image_is_refused_where_nothing_can_be_normalised(make_trainer):
    sizes = ("data.image_size=28", "data.train_samples=41", "schedule.epochs=1")
    with pytest.raises(InputError, match="one batch per epoch has a single image"):
        make_trainer(*sizes, "model.options.stem=involution3")
    make_trainer(*sizes).fit()
