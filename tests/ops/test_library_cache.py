"""The lock of the cache of compiled libraries."""

import errno
import subprocess
import sys

import filelock
import pytest

from rednet.ops.library_cache import LOCK, lock_cache

HOLD = """
import sys, filelock
lock = filelock.FileLock(sys.argv[1], fallback_to_soft=False)
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / LOCK)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def is_locked(folder):
    lock = filelock.FileLock(folder / LOCK, timeout=0, fallback_to_soft=False)
    try:
        with lock:
            return False
    except filelock.Timeout:
        return True


def test_one_process_at_a_time(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / LOCK)]
    with lock_cache(tmp_path):
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1)
    assert waiting.communicate(timeout=60)[0] == b"held\n"


def test_the_end_of_a_context_or_an_error_unlocks(tmp_path):
    with lock_cache(tmp_path):
        pass
    assert not is_locked(tmp_path)
    with pytest.raises(KeyError), lock_cache(tmp_path):
        raise KeyError
    assert not is_locked(tmp_path)


def test_a_killed_process_leaves_nothing_locked(holder, tmp_path):
    assert is_locked(tmp_path)
    holder.kill()
    holder.wait()
    assert not is_locked(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EBADF])
def test_without_locks_every_process_compiles(code, tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(code, "no locks")

    monkeypatch.setattr("fcntl.flock", flock)
    entered = 0
    for _ in range(2):
        with lock_cache(tmp_path), lock_cache(tmp_path):
            entered += 1
    assert entered == 2


def test_a_folder_without_write_access_is_not_locked(tmp_path):
    (tmp_path / LOCK).mkdir()  # also stops root
    with lock_cache(tmp_path), lock_cache(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_only_the_user_can_open_the_lock(tmp_path):
    with lock_cache(tmp_path):
        assert (tmp_path / LOCK).stat().st_mode & 0o777 == 0o600
