"""Steps whose loss or gradients are not finite are raised, skipped or rolled back."""

import math

import pytest
import torch
from equal_runs import assert_equal_values, load, rows

from rednet.training.nonfinite import NonFiniteError
from rednet.training.step import StepResult, TrainStep

OVERFLOW = StepResult(1.0, 8, math.inf, updated=False, is_suspect=True)
FINITE = StepResult(1.0, 8, 1.0, updated=True)


@pytest.fixture
def poison(monkeypatch):
    """Return a function that makes the first image of some steps, counted from 0, not a number."""
    train_step = TrainStep.__call__

    def poison(trainer, *steps):
        def poisoned(self, batches, lr, counts):
            if trainer.counters.global_step in steps:
                batches[0].images[0] = math.nan
            return train_step(self, batches, lr, counts)

        monkeypatch.setattr(TrainStep, "__call__", poisoned)
        return trainer

    return poison


def test_raise_names_the_step_and_its_images_and_saves_the_batch(make_trainer, poison, capsys):
    trainer = poison(make_trainer("trainer.save_every_steps=1"), 6)
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit()
    reason = "step 7 (learning rate 0.05): the loss is nan"
    assert str(caught.value).startswith(f"{reason}; the weights have not moved. Lower optimizer.lr")
    (file,) = (trainer.log.folder / "nonfinite").iterdir()
    replay = load(file)
    assert (replay["step"], replay["lr"], len(replay["names"])) == (6, 0.05, 8)
    (batch,) = replay["batches"]
    assert batch["images"].shape == (8, 1, 12, 12)
    assert batch["images"][0].isnan().all()
    assert len(batch["indices"]) == 8
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if "warning" in line)
    assert warning.startswith(f"warning: {reason}; its batch is in {file}: {replay['names'][0]}, ")
    assert load(trainer.saver.store.last)["train_state"]["global_step"] == 6


def test_a_skipped_step_leaves_no_trace_in_weights_and_statistics(make_trainer, poison):
    """The epoch's other steps are the same as if the step's batch did not exist."""
    options = ("trainer.on_nonfinite=skip", "trainer.ema_decay=0.5", "schedule.epochs=1")
    trainer = poison(make_trainer(*options), 4)  # the last one
    trainer.fit()
    cut = make_trainer(*options, "trainer.max_steps=4", folder="cut")
    cut.fit()
    one, other = (load(run.saver.store.last) for run in (trainer, cut))
    for key in ("state_dict", "state_dict_ema"):
        assert all(tensor.isfinite().all() for tensor in one[key].values())
        assert_equal_values(one[key], other[key])
    assert trainer.nonfinite.skips == 1
    assert trainer.counters.optimizer_steps == 4


def test_skipped_steps_do_not_enter_the_loss(make_trainer, poison, capsys):
    trainer = poison(make_trainer("trainer.on_nonfinite=skip", "schedule.epochs=1"), *range(5))
    trainer.fit()
    (row,) = rows(trainer.log.folder)
    assert row["train_loss"] is None
    assert math.isfinite(row["val_loss"])
    assert "skipped 5 steps of this epoch: not finite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("limit", "steps"), [("max_skips_in_a_row=2", (2, 3, 4)), ("max_skips=2", (1, 3, 5))]
)
def test_skips_are_limited(limit, steps, make_trainer, poison):
    trainer = poison(make_trainer("trainer.on_nonfinite=skip", f"trainer.{limit}"), *steps)
    with pytest.raises(NonFiniteError, match=f"more steps were skipped than trainer.{limit} "):
        trainer.fit()
    assert trainer.counters.global_step == steps[-1] + 1


def test_a_rollback_passes_over_the_batch(make_trainer, poison):
    """Two bad batches, with checkpoints before the first step and after each third."""
    options = ("trainer.on_nonfinite=rollback", "trainer.save_every_steps=3")
    trainer = poison(make_trainer(*options), 1, 7)
    trainer.fit()
    assert trainer.nonfinite.passed_over == [1, 7]
    assert (trainer.counters.global_step, trainer.counters.optimizer_steps) == (10, 8)
    assert [row["epoch"] for row in rows(trainer.log.folder)] == [1, 2]
    weights = load(trainer.saver.store.last)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_rollbacks_are_limited(make_trainer, poison):
    options = ("trainer.on_nonfinite=rollback", "trainer.max_rollbacks=2")
    trainer = poison(make_trainer(*options), *range(3, 10))
    with pytest.raises(NonFiniteError, match="2 rollbacks did not help"):
        trainer.fit()
    assert trainer.nonfinite.passed_over == [3, 4]


def test_fp16_overflow_is_the_scalers_business_until_the_scale_falls_below_one(make_trainer):
    trainer = make_trainer("trainer.precision=fp16")
    scaler, policy = trainer.train_step.scaler, trainer.nonfinite
    scaler.scale(torch.ones(()))  # which makes the scale a tensor
    assert not policy.is_failure(OVERFLOW, scaler)
    scaler.update(0.5)
    assert not policy.is_failure(OVERFLOW, scaler)
    scaler.update(0.25)
    assert policy.is_failure(OVERFLOW, scaler)
    assert not policy.is_failure(FINITE, scaler)


def test_an_evaluation_that_is_not_finite_ends_the_run_and_is_not_saved(make_trainer, monkeypatch):
    trainer = make_trainer("schedule.epochs=3")
    evaluate = type(trainer).evaluate

    def diverge(self):
        if self.counters.epoch == 1:
            torch.nn.init.constant_(self.model.fc.bias, math.inf)
        return evaluate(self)

    monkeypatch.setattr(type(trainer), "evaluate", diverge)
    with pytest.raises(NonFiniteError, match="epoch 2: the validation loss is nan; the epoch is n"):
        trainer.fit()
    assert [path.name for path in sorted(trainer.saver.store.folder.iterdir())] == [
        *("best.pt", "epoch-0001.pt", "last.pt"),
    ]


def test_what_was_skipped_is_part_of_the_state(make_trainer):
    one, other = make_trainer(), make_trainer()
    one.nonfinite.skips, one.nonfinite.passed_over = 3, [5]
    other.nonfinite.load_state_dict(one.nonfinite.state_dict())
    assert (other.nonfinite.skips, other.nonfinite.passed_over) == (3, [5])
    other.nonfinite.load_state_dict({})
    assert (other.nonfinite.skips, other.nonfinite.passed_over) == (0, [])


def test_a_batch_that_cannot_be_saved_ends_nothing(make_trainer, poison, capsys):
    trainer = poison(make_trainer("trainer.on_nonfinite=skip", "schedule.epochs=1"), 1)
    (trainer.log.folder / "nonfinite").touch()
    trainer.fit()
    one, other = (line for line in capsys.readouterr().out.splitlines() if "warning" in line)
    assert one.endswith("File exists; the batch cannot be replayed")
    assert "the loss is nan; its images: " in other
