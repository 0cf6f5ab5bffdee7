"""Whatever happens while a checkpoint is saved, the ones before it can be resumed from."""

from pathlib import Path

import pytest
from disks import short_files

SUPPORT = Path(__file__).parents[1] / "support"


def kill_saves(fresh_python, run, folder, every):
    """Kill a save at every point; return the points and what they left."""
    paths = [str(SUPPORT.parents[1]), str(SUPPORT)]
    output = fresh_python(
        f"import sys; from pathlib import Path; sys.path[:0] = {paths}; import killed_saves; "
        f"killed_saves.main(Path({str(run)!r}), Path({str(folder)!r}), {every})"
    )
    return [tuple(line.split()) for line in output.splitlines()]


@pytest.mark.parametrize("every", [100, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_kill_at_every_point_of_a_save(every, fresh_python, trained, tmp_path):
    """Before each call that changes the disk; before some records of the file, at night all."""
    found = kill_saves(fresh_python, trained, tmp_path / "killed", every)
    names = [name for name, _ in found]
    assert {"open", "write_record", "fsync", "replace", "link", "unlink"} <= set(names)
    assert names[-1] == "unlink"  # the file that is not kept any more
    renamed = names.index("replace") + 1
    assert {left for _, left in found[:renamed]} == {"old"}
    assert {left for _, left in found[renamed:]} == {"new"}


def test_the_last_save_fails(train_tiny, files_in):
    """The error happens in the background when nothing is left to do but to save."""
    run = ["schedule.epochs=2", "output_dir=run"]
    train_tiny(*run, "trainer.max_steps=2")
    before = files_in(Path("run/checkpoints"))
    with short_files(size=50_000):  # more than logs need
        done = train_tiny(*run)
    assert done.error == (
        "cannot write run/checkpoints/epoch-0002.pt: File too large; the same command with "
        "output_dir=run resumes from epoch-0001.pt"
    )
    assert files_in(Path("run/checkpoints")) == before
    assert train_tiny(*run).code == 0


def test_no_save_succeeds(train_tiny, files_in):
    run = ["schedule.epochs=1", "trainer.save_every_steps=1", "output_dir=run", "logger=[]"]
    with short_files(size=50_000):
        done = train_tiny(*run)
    assert done.error == (
        "cannot write run/checkpoints/epoch-0001.pt: File too large; there is no other checkpoint"
    )
    assert done.out.count("warning: ") == 1
    assert files_in(Path("run/checkpoints")) == {}
    assert train_tiny(*run).code == 0
