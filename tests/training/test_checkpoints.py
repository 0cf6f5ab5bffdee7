import os

import pytest
import torch

from rednet.errors import InputError
from rednet.training.checkpoints import CheckpointStore, upgrade_train_state, versions


def save(store, epoch, top1):
    store.save({"epoch": epoch, "train_state": {"epoch": epoch}}, epoch, top1)


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def load(path):
    return torch.load(path, weights_only=True)


def test_last_and_best_name_the_right_epochs(tmp_path):
    store = CheckpointStore(tmp_path)
    for epoch, top1 in enumerate([50.0, 70.0, None, 60.0, 70.0], 1):
        save(store, epoch, top1)
        assert load(store.last)["epoch"] == epoch
    assert load(store.best)["epoch"] == 2
    assert store.best_top1 == 70.0
    assert names(store) == ["best.pt", "epoch-0002.pt", "epoch-0005.pt", "last.pt"]


def test_more_are_kept_where_asked_for(tmp_path):
    store = CheckpointStore(tmp_path, keep_latest=2, keep_best=2)
    for epoch, top1 in enumerate([90.0, 80.0, 10.0, 20.0, 30.0], 1):
        save(store, epoch, top1)
    assert names(store)[1:-1] == [f"epoch-000{epoch}.pt" for epoch in (1, 2, 4, 5)]


def test_scores_travel_in_the_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path)
    save(store, 1, 33.0)
    kept = load(store.last)["train_state"]
    assert kept == {"epoch": 1, "scores": {1: 33.0}, "best": 33.0}
    other = CheckpointStore(tmp_path)
    other.load_state_dict(kept)
    save(other, 2, 20.0)
    assert load(other.best)["epoch"] == 1


def test_counters_of_rednet_1_get_their_names_of_today():
    old = {"format": "rednet-1", "train_state": {"epoch": 2, "update": 9, "updated": 8}}
    new = {"epoch": 2, "global_step": 9, "optimizer_steps": 8}
    assert upgrade_train_state(old) == new
    assert upgrade_train_state({"format": "rednet-2", "train_state": new}) == new


def test_a_disk_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    store = CheckpointStore(tmp_path / "file")
    with pytest.raises(InputError, match="cannot write the checkpoint of epoch 1") as caught:
        save(store, 1, None)
    assert "\n" not in str(caught.value)


def test_names_are_copies_where_the_disk_knows_no_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = CheckpointStore(tmp_path)
    save(store, 1, 5.0)
    assert load(store.last)["epoch"] == load(store.best)["epoch"] == 1


def test_versions_are_plain_text():
    assert all(type(value) is str for value in versions().values())
