import os
from dataclasses import asdict

import pytest
import torch

from rednet.errors import InputError
from rednet.layers.pointwise_forms import PRODUCTS
from rednet.training.checkpoints import CheckpointStore, Position, upgrade_train_state, versions
from rednet.training.recovery import read_newest, restore_folder
from rednet.weights import read_checkpoint

WEIGHTS = {"fc.weight": torch.zeros(2)}


def save(store, epoch, top1):
    """Save the end of an epoch."""
    store.record(epoch, top1)
    write(store, Position(epoch))


def save_step(store, epoch, step):
    write(store, Position(epoch, step))


def write(store, position):
    epoch, step = position.epoch, position.step
    counters = {"epoch": epoch, "global_step": 2 * epoch, "optimizer_steps": 0}
    if not position.is_epoch_end:
        counters |= {"epoch": epoch - 1, "global_step": step}
    parts = {"optimizer": {"state": {}, "param_groups": []}, "scaler": {}, "unreadable": 0}
    state = {**counters, **parts, **store.state_dict()}
    metrics = {"epoch": epoch} if position.is_epoch_end else None
    content = {"config": "seed: 0", "state_dict": WEIGHTS, "train_state": state, "metrics": metrics}
    store.write(content, position)


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def load(path):
    return torch.load(path, weights_only=True)


def epoch_of(path):
    return load(path)["train_state"]["epoch"]


def is_same_file(store, name, other):
    return (store.folder / name).samefile(store.folder / other)


def test_last_and_best_name_the_right_epochs(tmp_path):
    store = CheckpointStore(tmp_path, keep_latest=1)
    for epoch, top1 in enumerate([50.0, 70.0, None, 60.0, 70.0], 1):
        save(store, epoch, top1)
        assert epoch_of(store.last) == epoch
    assert epoch_of(store.best) == 2
    assert store.best_top1 == 70.0
    assert names(store) == ["best.pt", "epoch-0002.pt", "epoch-0005.pt", "last.pt"]


def test_more_are_kept_where_asked_for(tmp_path):
    store = CheckpointStore(tmp_path, keep_latest=2, keep_best=2, keep_every=3)
    for epoch, top1 in enumerate([90.0, 80.0, 10.0, 20.0, 30.0], 1):
        save(store, epoch, top1)
    assert names(store)[1:-1] == [f"epoch-000{epoch}.pt" for epoch in (1, 2, 3, 4, 5)]
    save(store, 6, 15.0)
    assert names(store)[1:-1] == [f"epoch-000{epoch}.pt" for epoch in (1, 2, 3, 5, 6)]


def test_the_newest_two_files_of_steps_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep_latest=1)
    save(store, 1, 50.0)
    for step in (13, 16, 19):
        save_step(store, 2, step)
        assert is_same_file(store, "last.pt", f"epoch-0002-step-000000{step}.pt")
    steps = ["epoch-0002-step-00000016.pt", "epoch-0002-step-00000019.pt"]
    assert names(store) == ["best.pt", *("epoch-0001.pt", *steps), "last.pt"]
    save(store, 2, 40.0)
    assert names(store) == ["best.pt", *("epoch-0001.pt", *steps, "epoch-0002.pt"), "last.pt"]


def test_names_are_never_the_only_ones_of_a_file(tmp_path):
    store = CheckpointStore(tmp_path, keep_latest=1, keep_best=0)
    for epoch, top1 in enumerate([90.0, 80.0], 1):
        save(store, epoch, top1)
    assert names(store) == ["epoch-0002.pt", "last.pt"]
    assert store.best_top1 == 90.0


def test_names_sort_like_positions():
    positions = [
        Position(1, 3),
        Position(1),
        Position(2, 9),
        Position(2, 10),
        Position(10),
        Position(12345),
    ]
    file_names = [position.file_name for position in positions]
    assert sorted(positions) == positions
    assert sorted(file_names[:-1]) == file_names[:-1]
    assert list(map(Position.parse, file_names)) == positions
    assert Position.parse("epoch-1.pt") is None


def test_scores_travel_in_the_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path)
    save(store, 1, 33.0)
    kept = load(store.last)["train_state"]
    assert {key: kept[key] for key in ("scores", "best")} == {"scores": {1: 33.0}, "best": 33.0}
    other = CheckpointStore(tmp_path)
    other.load_state_dict(kept)
    save(other, 2, 20.0)
    assert epoch_of(other.best) == 1


def resume(folder, **settings):
    """Return the store of a run that continues in a folder, and the epoch it continues from."""
    store = CheckpointStore(folder, **settings)
    newest = read_newest(store)
    store.load_state_dict(newest.content["train_state"])
    restore_folder(store, newest)
    return store, newest


def test_names_are_rebuilt_after_a_kill_between_them(tmp_path, monkeypatch):
    """The file of the best epoch is written, `last` and `best` still name the one before."""
    store = CheckpointStore(tmp_path)
    save(store, 1, 12.0)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "tidy", lambda *_: None)
        save(store, 2, 30.0)
    assert epoch_of(store.last) == epoch_of(store.best) == 1
    store, newest = resume(tmp_path)
    assert newest.path.name == "epoch-0002.pt"
    assert epoch_of(store.last) == epoch_of(store.best) == 2
    assert store.best_top1 == 30.0


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "epoch-0002.pt", "epoch-0001.pt"])
def test_a_missing_file_is_no_new_run(name, tmp_path):
    store = CheckpointStore(tmp_path)
    save(store, 1, 12.0)
    save(store, 2, 30.0)
    (store.folder / name).unlink()
    store, newest = resume(tmp_path)
    assert newest.content["train_state"]["epoch"] == 2
    expected = {"best.pt", "epoch-0001.pt", "epoch-0002.pt", "last.pt"}
    assert set(names(store)) == expected - ({name} & {"epoch-0001.pt"})
    assert epoch_of(store.best) == epoch_of(store.last) == 2


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # other names of the file keep the whole content
    path.write_bytes(content[:-200])


def test_damaged_files_are_named_and_passed_over(tmp_path, capsys):
    store = CheckpointStore(tmp_path)
    save(store, 1, 12.0)
    save(store, 2, 30.0)
    save_step(store, 3, 25)
    for name in ("epoch-0003-step-00000025.pt", "epoch-0002.pt", "best.pt", "last.pt"):
        damage(store.folder / name)
    store, newest = resume(tmp_path)
    assert newest.path.name == "epoch-0001.pt"
    warnings = capsys.readouterr().out.splitlines()
    named = ("epoch-0003-step-00000025.pt", "epoch-0002.pt", "last.pt")
    for line, name in zip(warnings, named, strict=True):
        assert line.startswith(f"warning: passed over: resume={store.folder / name}: damaged")
    assert epoch_of(store.last) == epoch_of(store.best) == 1
    assert store.best_top1 == 12.0
    save(store, 2, 40.0)
    assert epoch_of(store.last) == epoch_of(store.best) == 2


def test_a_run_without_a_valid_file_is_not_started_anew(tmp_path):
    store = CheckpointStore(tmp_path)
    save(store, 1, 12.0)
    for name in names(store):
        damage(store.folder / name)
    before = names(store)
    with pytest.raises(InputError, match="no checkpoint that can be read"):
        read_newest(CheckpointStore(tmp_path))
    assert names(store) == before


def test_what_an_interrupted_save_left_is_removed(tmp_path):
    store = CheckpointStore(tmp_path, keep_latest=1)
    save(store, 1, 12.0)
    (store.folder / ".epoch-0002.pt.123.partial").write_bytes(b"half")
    (tmp_path / ".metrics.jsonl.123.partial").write_bytes(b"half")
    os.link(store.last, store.folder / "epoch-0000.pt")  # a kill before it was deleted
    store, _ = resume(tmp_path, keep_latest=1)
    assert names(store) == ["best.pt", "epoch-0001.pt", "last.pt"]
    assert os.listdir(tmp_path) == ["checkpoints"]


def test_a_fork_claims_no_best_of_another_folder(tmp_path):
    store = CheckpointStore(tmp_path / "one")
    save(store, 1, 90.0)
    fork = CheckpointStore(tmp_path / "two")
    fork.load_state_dict(read_checkpoint(store.last).content["train_state"])
    restore_folder(fork, None)
    assert (fork.scores, fork.best_top1) == ({}, None)
    save(fork, 2, 20.0)
    assert epoch_of(fork.best) == 2


def test_counters_of_rednet_1_get_their_names_of_today():
    old = {"format": "rednet-1", "train_state": {"epoch": 2, "update": 9, "updated": 8}}
    new = {"epoch": 2, "global_step": 9, "optimizer_steps": 8, "pointwise": asdict(PRODUCTS)}
    assert upgrade_train_state(old) == new
    assert upgrade_train_state({"format": "rednet-2", "train_state": new}) == new


def test_names_that_cannot_be_updated_are_a_warning(tmp_path, capsys):
    store = CheckpointStore(tmp_path, keep_latest=1)
    (store.last / "in the way").mkdir(parents=True)
    for epoch in (1, 2):
        save(store, epoch, 5.0 * epoch)
    (warning,) = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"warning: cannot write {store.last} and best.pt: Is a directory; ")
    assert names(store) == ["best.pt", "epoch-0002.pt", "last.pt"]


def test_names_are_copies_where_the_disk_knows_no_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = CheckpointStore(tmp_path)
    save(store, 1, 5.0)
    assert epoch_of(store.last) == epoch_of(store.best) == 1
    store, _ = resume(tmp_path)
    assert names(store) == ["best.pt", "epoch-0001.pt", "last.pt"]


def test_versions_are_plain_text():
    assert all(type(value) is str for value in versions().values())
