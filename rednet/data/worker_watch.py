"""What the data loading workers are doing, and what became of them."""

import signal
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path

from torch.utils.data import Dataset, get_worker_info

from rednet.data.dataset import ImageDataset, Sample
from rednet.memory import count_oom_kills

WORDS = 2
"""Numbers of each worker: the index in hand plus 1, or 0, and how often it took one."""


class WorkerWatch:
    """Memory that workers share with their parent, where each says which image it has in hand.

    Args:
        num_workers: Number of workers.
    """

    def __init__(self, num_workers: int) -> None:
        self.words = RawArray("q", WORDS * num_workers)
        self._spent = RawArray("q", 2 * num_workers)  # nanoseconds and images of each worker
        self.num_workers = num_workers
        self._kills = count_oom_kills()

    def take(self, worker: int, index: int) -> None:
        """Note, in a worker, that it begins with an image."""
        self.words[WORDS * worker] = index + 1
        self.words[WORDS * worker + 1] += 1

    def put_down(self, worker: int) -> None:
        """Note, in a worker, that it is done with an image."""
        self.words[WORDS * worker] = 0

    def spend(self, worker: int, nanoseconds: int) -> None:
        """Note, in a worker, how long an image took."""
        self._spent[2 * worker] += nanoseconds
        self._spent[2 * worker + 1] += 1

    @property
    def seconds_per_image(self) -> float | None:
        """Mean duration of an image in a worker in seconds; None before the first one."""
        nanoseconds, images = sum(self._spent[::2]), sum(self._spent[1::2])
        return nanoseconds / images / 1e9 if images else None

    def in_hand(self, worker: int) -> int | None:
        """Return the index that a worker has in hand, also after its end."""
        index = self.words[WORDS * worker]
        return index - 1 if index else None

    def snapshot(self) -> list[int]:
        """Return numbers that change whenever a worker gets on."""
        return list(self.words)

    def describe_end(self, process: BaseProcess) -> str:
        """Return what a worker died of."""
        code = process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        name = _signal_name(-code)
        if -code == signal.SIGKILL:
            is_kernels = count_oom_kills() > self._kills
            by = "by the kernel: out of memory" if is_kernels else "perhaps for want of memory"
            return f"was killed ({name}), {by}"
        if -code == getattr(signal, "SIGBUS", None):
            return f"died of {name}: /dev/shm is full, or a file was cut while it was read"
        return f"crashed ({name})" if -code in _CRASHES else f"was ended by {name}"


_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def describe_state(pid: int | None) -> str:
    """Return what keeps a process that does not get on, if the system tells."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "does not get on"
    return {"T": "is stopped", "t": "is stopped", "D": "waits for the disk"}.get(
        state, "does not get on"
    )


class WatchedDataset(Dataset[Sample]):
    """Images of a data set; workers say which they have in hand, and pass over some.

    Args:
        dataset: The images.
        watch: Where to say it.
        given_up: Why an image is not to be touched, by its index.
    """

    def __init__(self, dataset: ImageDataset, watch: WorkerWatch, given_up: dict[int, str]) -> None:
        self.dataset, self.watch, self.given_up = dataset, watch, given_up

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        index = key[1]
        if reason := self.given_up.get(index):
            return self.dataset.lost(index, reason)
        info = get_worker_info()
        assert info is not None
        self.watch.take(info.id, index)
        start = time.perf_counter_ns()
        sample = self.dataset[key]
        self.watch.spend(info.id, time.perf_counter_ns() - start)
        self.watch.put_down(info.id)
        return sample


def exit_codes(workers: Sequence[BaseProcess]) -> list[int | None]:
    """Return the exit code of each worker, None for those that live."""
    return [worker.exitcode for worker in workers]
