"""Saves run in the background, one at a time, and their errors are not lost."""

from threading import Event

import pytest
import torch

from rednet.errors import InputError
from rednet.training.checkpoints import CheckpointStore, Position
from rednet.training.counters import Counters
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
    saver = Saver(store, {}, every_minutes=0)
    saver.save(STATE, counters(1))
    assert store.written == []
    assert not saver.is_due(2)  # the clock does not ask for a second one meanwhile
    store.answers.set()
    saver.save(STATE, counters(2))
    assert Position(1, 1) in store.written
    saver.close()
    assert store.written == [Position(1, 1), Position(1, 2)]


def test_what_is_saved_is_the_state_when_it_was_asked_for(tmp_path):
    store = SlowStore(tmp_path)
    saver = Saver(store, {})
    weight = torch.zeros(2)
    saver.save({**STATE, "state_dict": {"weight": weight}}, counters(1))
    weight += 1
    store.answers.set()
    saver.close()
    saved = torch.load(store.last, weights_only=True)["state_dict"]["weight"]
    assert saved.tolist() == [0, 0]
    assert snapshot([weight])[0].data_ptr() != weight.data_ptr()


@pytest.mark.parametrize("ask", ["wait", "close", "save", "is_due"])
def test_an_error_in_the_background_is_raised_at_the_next_occasion(ask, tmp_path):
    (tmp_path / "checkpoints").touch()
    saver = Saver(CheckpointStore(tmp_path), {})
    saver.save(STATE, counters(1))
    saver._thread.shutdown()
    arguments = {"save": (STATE, counters(2)), "is_due": (2,)}.get(ask, ())
    with pytest.raises(InputError, match="cannot write the checkpoint"):
        getattr(saver, ask)(*arguments)
