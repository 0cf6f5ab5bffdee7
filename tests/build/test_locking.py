"""The lock on the folder of a run."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from rednet.build.locking import LOCK, lock_folder
from rednet.errors import InputError
from rednet.runtime import Runtime

# Without torch, so that it starts quickly.
HOLD = """
import os, sys
from pathlib import Path
from rednet.build.locking import FolderLock

lock = FolderLock(Path(sys.argv[1]), wait_s=60)
lock.acquire()
child = os.fork() if "fork" in sys.argv else None
if not child:
    print("held", flush=True)
sys.stdin.read()
lock.release()
if "rmdir" in sys.argv:
    lock.folder.rmdir()
"""


@contextmanager
def holder(folder, *options):
    """A process that takes the lock, says so, and releases it when its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(folder), *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        yield process


def lock(folder, wait_s=0.0):
    return lock_folder(folder, Runtime(), wait_s)


def is_locked(folder):
    try:
        with lock(folder):
            return False
    except InputError:
        return True


def test_a_second_run_waits_and_is_told_for_whom(tmp_path, capsys):
    whom = f"output_dir={tmp_path} is in use by process {{}} on {socket.gethostname()}: "
    with holder(tmp_path) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError) as refused, lock(tmp_path, wait_s=0.2):
            pytest.fail("two runs in one folder")
        in_use = whom.format(process.pid)
        assert capsys.readouterr().out == f"{in_use}waiting up to 0.2 seconds for it to end\n"
        assert str(refused.value) == f"{in_use}choose another folder, or end that run first"
        process.communicate()
        with lock(tmp_path, wait_s=60):
            assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("fork",)])
def test_a_killed_run_leaves_nothing_locked(options, tmp_path, capsys):
    """Nor do processes that were forked from it and live on, as a worker of a loader may."""
    with holder(tmp_path, *options) as process:
        assert process.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        process.kill()
        process.wait()
        assert (tmp_path / LOCK).exists()
        capsys.readouterr()
        with lock(tmp_path):
            assert (tmp_path / LOCK).read_text() == f"{os.getpid()} {socket.gethostname()}\n"
        assert capsys.readouterr().out == ""
        assert list(tmp_path.iterdir()) == []


def test_an_error_releases_the_lock(tmp_path):
    with pytest.raises(KeyError), lock(tmp_path):
        raise KeyError
    assert not is_locked(tmp_path)


def test_a_run_removes_its_empty_folder_while_another_waits(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with holder(folder, "rmdir") as first:
        assert first.stdout.readline() == "held\n"
        with holder(folder) as second:
            assert "waiting up to 60 seconds" in second.stdout.readline()
            first.communicate()
            assert second.stdout.readline() == "held\n"
            assert is_locked(folder)
            second.communicate()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, None])
def test_a_file_system_without_locks(error, tmp_path, monkeypatch, capsys):
    def flock(handle, operation):
        raise NotImplementedError if error is None else OSError(error, "no locks")

    monkeypatch.setattr("fcntl.flock", flock)
    with lock(tmp_path), lock(tmp_path):
        assert capsys.readouterr().out == 2 * (
            f"warning: output_dir={tmp_path}: its file system has no locks, so nothing keeps a "
            "second run out of the folder\n"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_locked(tmp_path):
    (tmp_path / LOCK).mkdir()  # also stops root
    with pytest.raises(InputError, match=r"output_dir=.*: cannot be locked: Is a directory"):
        lock(tmp_path).__enter__()


def test_an_unreadable_holder_is_another_process(tmp_path, capsys):
    with lock(tmp_path):
        (tmp_path / LOCK).write_text("")
        assert is_locked(tmp_path)
    assert "is in use by another process: waiting" in capsys.readouterr().out


def test_only_the_primary_process_locks(tmp_path):
    with lock(tmp_path), lock_folder(tmp_path, FakeSecondRank(), 0):
        pass


class FakeSecondRank(Runtime):
    """The second of two processes, of which the first had no error."""

    def on_primary(self, function):
        return None


def test_a_deleted_folder_is_locked_again(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    with lock(folder) as held:
        held.renew()
        assert capsys.readouterr().out == ""
        for _ in range(2):
            shutil.rmtree(folder)
            with ThreadPoolExecutor(1) as thread:  # as the one that saves
                thread.submit(held.renew).result()
            (warning,) = capsys.readouterr().out.splitlines()
            assert warning.startswith(f"warning: output_dir={folder} was deleted while")
            assert is_locked(folder)
            capsys.readouterr()
    assert os.listdir(folder) == []
    assert not is_locked(folder)


def test_a_deleted_folder_that_another_run_has_made_is_left_to_it(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with lock(folder) as held:
        shutil.rmtree(folder)
        folder.mkdir()
        with holder(folder) as process:
            assert process.stdout.readline() == "held\n"
            in_use = (
                f"was deleted while this run used it, and is now in use by process {process.pid}"
            )
            with pytest.raises(InputError, match=in_use):
                held.renew()
            held.release()
            assert is_locked(folder)
            process.stdin.close()
