"""A disk that is full, read-only or gone costs a run nothing but what it could not save."""

import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from disks import immutable, read_only, short_files, small_disk
from equal_runs import assert_equal_runs, points

from rednet.training.checkpoints import CheckpointStore
from rednet.training.metrics import read_metrics
from rednet.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("drawn")

EPOCHS, STEPS = 4, 2
RUN = [f"schedule.epochs={EPOCHS}", "trainer.log_every=1"]


@pytest.fixture
def at_step(monkeypatch):
    """Return a function that registers what happens to the disk before a step, from 1."""
    actions = {}
    step = Trainer.step

    def act_and_step(self, batches):
        if action := actions.pop(self.counters.global_step + 1, None):
            self.saver.wait()
            action()
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", act_and_step)
    return actions.__setitem__


def warnings(done):
    return [line for line in done.out.splitlines() if line.startswith("warning: ")]


def epochs(run):
    return [row["epoch"] for row in read_metrics(Path(run))]


def steps(run, tag="train/loss"):
    return [step for step, _ in points(Path(run))[tag]]


def leftovers(run):
    return [path for path in Path(run).rglob(".*") if path.name.endswith(".partial")]


def assert_complete(run):
    """Require that nothing is missing of a run's log."""
    assert epochs(run) == [1, 2, 3, 4]
    assert steps(run) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert steps(run, "val/top1") == [2, 4, 6, 8]
    assert leftovers(run) == []
    assert Path(run, "curves.png").exists()


@pytest.fixture
def disk(work_folder):
    """A disk of 16 MB, on which a run has room for three checkpoints."""
    with small_disk(work_folder / "disk", "16m") as disk:
        yield disk


def test_full_for_a_while(train_tiny, at_step, disk):
    """Each kind of output that cannot be written is one warning."""
    at_step(3, disk.fill)
    at_step(7, disk.empty)
    done = train_tiny(*RUN, "output_dir=disk/run")
    assert (done.code, done.err) == (0, "")
    reasons = [line.split(": ", 2)[2].split(";")[0] for line in warnings(done)]
    assert 1 <= len(reasons) <= 4 and set(reasons) == {"No space left on device"}
    assert "disk/run/checkpoints/epoch-0004.pt is written again" in done.out
    assert_complete("disk/run")


def test_full_to_the_end(train_tiny, at_step, disk):
    """The error says what is saved, and the same command goes on as if nothing had happened."""
    at_step(3, disk.fill)
    done = train_tiny(*RUN, "output_dir=disk/run")
    assert done.error == (
        "cannot write disk/run/checkpoints/epoch-0004.pt: No space left on device; the same "
        "command with output_dir=disk/run resumes from epoch-0001.pt"
    )
    assert leftovers("disk/run") == []
    disk.empty()
    again = train_tiny(*RUN, "output_dir=disk/run")
    assert (again.code, again.err) == (0, "")
    assert_complete("disk/run")
    assert train_tiny(*RUN, "output_dir=whole").code == 0
    assert_equal_runs(Path("disk/run"), Path("whole"))


@pytest.mark.parametrize(
    ("damage", "folder"),
    [(read_only, "run"), (immutable, "run/checkpoints"), (short_files, "run")],
)
def test_not_writable_for_a_while(damage, folder, train_tiny, at_step):
    with ExitStack() as damaged:
        at_step(3, lambda: damaged.enter_context(damage(Path(folder).absolute())))
        at_step(7, damaged.close)
        done = train_tiny(*RUN, "output_dir=run")
    assert (done.code, done.err) == (0, "")
    assert 1 <= len(warnings(done)) <= 4  # a file that is open can be written on some disks
    assert_complete("run")


@pytest.mark.parametrize(("step", "code"), [(3, 143), (1, 2)])
def test_a_signal_while_the_disk_is_full(step, code, train_tiny, at_step, disk):
    """The same command goes on from what is saved; if nothing is, it must not be repeated."""

    def fill_and_stop():
        disk.fill()
        os.kill(os.getpid(), signal.SIGTERM)

    at_step(step, fill_and_stop)
    done = train_tiny(*RUN, "output_dir=disk/run")
    assert done.code == code
    path = f"disk/run/checkpoints/epoch-000{step // 2 + 1}-step-{step:08d}.pt"
    reason = f"cannot write {path}: No space left on device"
    saved = "the same command with output_dir=disk/run resumes from epoch-0001.pt"
    assert done.err == (
        f"stopped by SIGTERM: {reason}; {saved}\n"
        if step > 1
        else f"error: {reason}; there is no other checkpoint\n"
    )


def test_something_else_has_the_name_of_a_log(train_tiny):
    logs = ("metrics.jsonl", "config.yaml", "not_read.csv", "curves.png", "provenance.jsonl")
    for name in logs:
        Path("run", name, "folder").mkdir(parents=True)
    Path("run/tensorboard").touch()
    done = train_tiny(*RUN, "schedule.epochs=1", "output_dir=run")
    assert (done.code, done.err) == (0, "")
    assert len(warnings(done)) == 6
    assert CheckpointStore(Path("run")).last.exists()


def test_only_last_cannot_be_replaced(train_tiny, at_step):
    with ExitStack() as damaged:
        at_step(3, lambda: damaged.enter_context(immutable(Path("run/checkpoints/last.pt"))))
        done = train_tiny(*RUN, "output_dir=run")
        assert (done.code, done.err) == (0, "")
        (warning,) = warnings(done)
        assert "the checkpoints themselves are complete" in warning
        again = train_tiny(*RUN, "output_dir=run")
        assert "last.pt" in again.error or "cannot be written" in again.error
    assert CheckpointStore(Path("run")).positions()[0].epoch == EPOCHS


def test_the_folder_is_deleted(train_tiny, at_step):
    at_step(5, lambda: shutil.rmtree("run"))
    done = train_tiny(*RUN, "output_dir=run")
    assert (done.code, done.err) == (0, "")
    (warning,) = warnings(done)
    assert warning == "warning: output_dir=run was deleted while the run used it; it is made again"
    assert epochs("run") == [1, 2, 3, 4]
    assert steps("run") == [5, 6, 7, 8]
    assert train_tiny(*RUN, "output_dir=run").last_line.startswith("best top-1 ")


def test_the_folder_is_deleted_and_cannot_be_made_again(train_tiny, at_step):
    def replace():
        shutil.rmtree("run")
        Path("run").touch()

    at_step(5, replace)
    error = train_tiny(*RUN, "output_dir=run").error
    assert error.startswith("cannot write run/checkpoints/epoch-0004.pt: Not a directory; there is")
