"""Saves run in the background, one at a time; only the last one must succeed."""

from threading import Event

import pytest
import torch

from rednet.errors import InputError
from rednet.training.checkpoints import CheckpointStore, Position
from rednet.training.counters import Counters
from rednet.training.metrics import EpochMetrics
from rednet.training.saver import Saver, snapshot

STATE = {"state_dict": {"weight": torch.zeros(2)}, "train_state": {"epoch": 0}}


class SlowStore(CheckpointStore):
    """A store whose disk answers when it is told to."""

    def __init__(self, folder):
        super().__init__(folder)
        self.answers = Event()
        self.written = []

    def write(self, checkpoint, position):
        assert self.answers.wait(60)
        super().write(checkpoint, position)
        self.written.append(position)


def counters(step):
    return Counters(steps_per_epoch=100, step_in_epoch=step)


def test_training_does_not_wait_but_the_next_save_does(tmp_path):
    store = SlowStore(tmp_path)
    with Saver(store, {}, every_minutes=0) as saver:
        saver.save(STATE, counters(1))
        assert store.written == []
        assert not saver.is_due(2)  # the clock does not ask for a second one meanwhile
        store.answers.set()
        saver.save(STATE, counters(2))
        assert Position(1, 1) in store.written
    assert store.written == [Position(1, 1), Position(1, 2)]


def test_what_is_saved_is_the_state_when_it_was_asked_for(tmp_path):
    store = SlowStore(tmp_path)
    weight = torch.zeros(2)
    with Saver(store, {}) as saver:
        saver.save({**STATE, "state_dict": {"weight": weight}}, counters(1))
        weight += 1
        store.answers.set()
    saved = torch.load(store.last, weights_only=True)["state_dict"]["weight"]
    assert saved.tolist() == [0, 0]
    assert snapshot([weight])[0].data_ptr() != weight.data_ptr()


@pytest.fixture
def broken(tmp_path):
    """A store that cannot be written until a file is deleted, and that file."""
    store = CheckpointStore(tmp_path)
    store.folder.touch()
    return store, store.folder


def save_epoch(saver, epoch, top1):
    numbers = dict.fromkeys(EpochMetrics.__dataclass_fields__, 1.0)
    metrics = EpochMetrics(**{**numbers, "epoch": epoch, "val_top1": top1})
    saver.save(STATE, Counters(steps_per_epoch=100, epoch=epoch), metrics)


@pytest.mark.parametrize("ask", ["wait", "save", "is_due"])
def test_a_failed_save_is_one_warning_and_the_next_is_tried(ask, broken, capsys):
    store, obstacle = broken
    with Saver(store, {}) as saver:
        for step in (1, 2):
            saver.save(STATE, counters(step))
            saver.wait()
        assert saver.saved is None
        arguments = {"save": (STATE, counters(3)), "is_due": (2,)}.get(ask, ())
        getattr(saver, ask)(*arguments)
        saver.wait()
        (warning,) = capsys.readouterr().out.splitlines()
        path = store.folder / "epoch-0001-step-00000001.pt"
        assert warning.startswith(f"warning: cannot write {path}: File exists; training goes on")
        obstacle.unlink()
        saver.save(STATE, counters(4))
    assert (
        capsys.readouterr().out == f"{store.folder}/epoch-0001-step-00000004.pt is written again\n"
    )
    assert store.positions() == [Position(1, 4)]


def test_an_epoch_that_was_not_saved_is_not_the_best(broken):
    store, obstacle = broken
    obstacle.unlink()
    with Saver(store, {}) as saver:
        save_epoch(saver, 1, top1=50.0)
        saver.wait()
        store.folder.rename(store.folder.with_name("away"))
        store.folder.touch()
        save_epoch(saver, 2, top1=90.0)
        saver.wait()
        assert (store.best_top1, saver.saved.epoch) == (50.0, 1)
        store.folder.unlink()
        store.folder.with_name("away").rename(store.folder)
        save_epoch(saver, 3, top1=40.0)
    assert store.scores == {1: 50.0, 3: 40.0}
    assert store.best.samefile(store.folder / "epoch-0001.pt")
    assert store.last.samefile(store.folder / "epoch-0003.pt")


def test_the_last_save_is_tried_twice(broken, capsys):
    store, obstacle = broken
    with Saver(store, {}) as saver:
        save_epoch(saver, 1, top1=50.0)
        saver.wait()
        obstacle.unlink()
    assert store.best.samefile(store.folder / "epoch-0001.pt")
    assert (store.best_top1, saver.saved.epoch) == (50.0, 1)
    assert "epoch-0001.pt is written again" in capsys.readouterr().out


@pytest.mark.parametrize("earlier", [False, True])
def test_a_run_whose_last_save_fails_says_what_is_saved(earlier, broken):
    store, obstacle = broken
    saved = "there is no other checkpoint"
    if earlier:
        obstacle.unlink()
        saved = f"the same command with output_dir={store.folder.parent} resumes from epoch-0001.pt"
    with pytest.raises(InputError) as error, Saver(store, {}) as saver:
        if earlier:
            save_epoch(saver, 1, top1=50.0)
            saver.wait()
            (store.folder / "epoch-0002.pt").mkdir()
        save_epoch(saver, 2, top1=40.0)
    path = store.folder / "epoch-0002.pt"
    reason = "Is a directory" if earlier else "File exists"
    assert str(error.value) == f"cannot write {path}: {reason}; {saved}"


def test_another_error_that_ends_the_run_is_not_hidden(broken):
    with pytest.raises(KeyError), Saver(broken[0], {}) as saver:
        saver.save(STATE, counters(1))
        raise KeyError


def test_a_folder_that_another_run_has_taken_ends_the_run(tmp_path):
    def taken():
        raise InputError("taken")

    with pytest.raises(InputError, match="taken"), Saver(CheckpointStore(tmp_path), {}) as saver:
        saver.check_folder = taken
        saver.save(STATE, counters(1))
        saver.wait()
