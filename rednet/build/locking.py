"""A lock on the folder of a run, so that no two runs write to it at the same time."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from rednet.errors import InputError
from rednet.program import say
from rednet.wording import count, printable

if TYPE_CHECKING:
    from rednet.runtime import Runtime

LOCK = ".lock"
WAIT_S = 30.0
"""Long enough for a run that was just told to end to save and end."""
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""Errors of file systems that have no locks."""


@contextmanager
def lock_folder(folder: Path, runtime: "Runtime", wait_s: float = WAIT_S) -> Iterator["FolderLock"]:
    """Keep other runs out of a folder, which must exist.

    The primary process holds the lock. The kernel releases it when the process ends, however it
    ends; processes forked from it do not inherit the lock. Where the file system has no locks, a
    warning says so. Yields the lock.

    Args:
        folder: Folder of the run.
        runtime: Processes of the run; all of them enter and leave together.
        wait_s: How long to wait for another run to leave the folder, in seconds.

    Raises:
        InputError: Another run still holds the lock after `wait_s`, on all processes.
    """
    lock = FolderLock(folder, wait_s)
    try:
        runtime.on_primary(lock.acquire)
        yield lock
    finally:
        lock.release()  # does nothing on the other processes


class FolderLock:
    """The lock of one process on a folder.

    The lock's file names the holder while the lock is held, and is deleted before its release.
    Whoever waited for a deleted file notices that and opens the new one, as filelock does.

    Args:
        folder: Folder to lock.
        wait_s: How long to wait for another process to release the lock, in seconds.
    """

    def __init__(self, folder: Path, wait_s: float) -> None:
        self.folder, self.wait_s = folder, wait_s
        self.path = folder / LOCK
        self.lock = self._make_lock()
        self._signature = f"{os.getpid()} {socket.gethostname()}\n"
        self._name = f"output_dir={printable(folder)}"

    def acquire(self) -> None:
        """Take the lock; say so if that has to wait."""
        try:
            if not self._acquire(0):
                bound = count(self.wait_s, "second")
                in_use = f"{self._name} is in use by {self._holder()}"
                say(f"{in_use}: waiting up to {bound} for it to end")
                if not self._acquire(self.wait_s):
                    raise InputError(
                        f"{self._name} is in use by {self._holder()}: choose another folder, or "
                        "end that run first"
                    )
            self._sign()
        except (NotImplementedError, OSError) as error:
            self._go_on_without(error)

    def renew(self) -> None:
        """Lock the folder again if it was deleted, with a warning.

        Raises:
            InputError: Another process has made the folder since then, and uses it.
            OSError: The folder cannot be made.
        """
        if not self.lock.is_locked or self._is_signed():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        deleted, self.lock = self.lock, self._make_lock()
        try:
            if not self._acquire(0):
                raise InputError(
                    f"{self._name} was deleted while this run used it, and is now in use by "
                    f"{self._holder()}"
                )
            self._sign()
        except OSError:
            self.lock = deleted  # the next call tries again
            raise
        say(f"warning: {self._name} was deleted while the run used it; it is made again")

    def _sign(self) -> None:
        self.path.write_text(self._signature)

    def _is_signed(self) -> bool:
        try:
            return self.path.read_text() == self._signature
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self.lock.is_locked:
            with suppress(OSError):
                self.path.unlink()
            self.lock.release()

    def _make_lock(self) -> filelock.BaseFileLock:
        # A soft lock, a file that exists while it is held, would outlive a killed process. The
        # thread that saves may renew the lock.
        return filelock.FileLock(self.path, fallback_to_soft=False, thread_local=False)

    def _acquire(self, timeout_s: float) -> bool:
        try:
            self.lock.acquire(timeout=timeout_s)
        except filelock.Timeout:
            return False
        except FileNotFoundError:  # the run before has removed its folder, which was empty
            self.folder.mkdir(parents=True, exist_ok=True)
            return self._acquire(timeout_s)
        return True

    def _holder(self) -> str:
        try:
            process, host = self.path.read_text().split()
        except (OSError, ValueError):  # just being written, or just released
            return "another process"
        return printable(f"process {process} on {host}")

    def _go_on_without(self, error: NotImplementedError | OSError) -> None:
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            reason = error.strerror or error
            raise InputError(f"{self._name}: cannot be locked: {reason}") from error
        with suppress(OSError):
            self.path.unlink()
        say(
            f"warning: {self._name}: its file system has no locks, so nothing keeps a second run "
            "out of the folder"
        )
