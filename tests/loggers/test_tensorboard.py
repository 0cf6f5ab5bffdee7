"""TensorBoard reads all points, whatever happened to the clock, the disk or the process."""

import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rednet.loggers.tensorboard import TensorBoard, next_file_name

NOW = 1_800_000_000.0
DAY = 86_400


def write(folder, first_step, steps):
    board = TensorBoard(folder, first_step)
    board.flush()
    for step in steps:
        board.scalars({"loss": step + 0.5, "lr": 0.1}, step)
    return board


def points(folder, tag="loss"):
    board = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    return [(point.step, point.value) for point in board.Scalars(tag)]


def expected(*steps):
    return [(step, step + 0.5) for step in steps]


CLOCKS = {
    "same second": [NOW, NOW, NOW],
    "goes back": [NOW, NOW - DAY, NOW - 2 * DAY],
    "goes back and on": [NOW, NOW - DAY, NOW + 1],
    "was in the future": [33_000_000_000.0, NOW, NOW + 1],
    "starts in 1970": [NOW, 12.0, 13.0],
    "before 1970": [-5.0, -9.0, 0.0],
}


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_a_new_clock_changes_nothing(clock, tmp_path, monkeypatch):
    """Each start replaces a point that the one before wrote after its last save."""
    for start, now in enumerate(clock):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        steps = range(2 * start + 1, 2 * start + 4)
        write(tmp_path, steps[0], steps).close()
    assert points(tmp_path) == expected(*range(1, 8))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len({name.split(".")[3] for name in names}) == 3


def test_names_go_on_from_those_of_other_writers():
    names = ["events.out.tfevents.1900000000.host.12.0", "events.out.tfevents.2", "notes.txt"]
    assert next_file_name(names).startswith("events.out.tfevents.1900000001.")


def test_the_clock_is_set_during_a_run(tmp_path, monkeypatch):
    board = write(tmp_path, 1, [1])
    monkeypatch.setattr(time, "time", lambda: 0.0)
    board.scalars({"loss": 2.5}, 2)
    board.close()
    one, two = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert one.wall_time < two.wall_time < one.wall_time + 60


def test_points_are_kept_until_they_can_be_written(tmp_path):
    """Also those whose file was lost after they were written, but before they were flushed."""
    folder = tmp_path / "board"
    board = write(folder, 1, [1, 2])
    board.flush()
    board.scalars({"loss": 3.5}, 3)
    folder.rename(tmp_path / "away")
    folder.touch()
    for step in (4, 5):
        board.scalars({"loss": step + 0.5}, step)
        with pytest.raises(OSError):
            board.flush()
    folder.unlink()
    (tmp_path / "away").rename(folder)
    board.close()
    assert points(folder) == expected(1, 2, 3, 4, 5)


def test_half_a_record_hides_nothing_of_later_files(tmp_path):
    for damage in (lambda content: content[:-7], lambda content: content[:-40] + bytes(40)):
        write(tmp_path, 1, [1, 2]).close()
        path = max(tmp_path.iterdir())
        path.write_bytes(damage(path.read_bytes()))
    write(tmp_path, 2, [2, 3]).close()
    assert points(tmp_path) == expected(1, 2, 3)


def test_values_beyond_float32(tmp_path):
    board = TensorBoard(tmp_path, 1)
    board.scalars({"loss": 1e300, "lr": float("nan")}, 1)
    board.close()
    assert points(tmp_path) == [(1, float("inf"))]
