"""Whether a run waits for its images or for its network, from the timings of its first steps."""

from dataclasses import dataclass
from math import ceil

from rednet.training.throughput import Throughput
from rednet.wording import count, format_rate

NOTICEABLE = 0.1
"""Share of the time waiting for data from which the loader is the limit."""
SURELY = 0.01
"""Share of the time of the network below which nothing can be said of it."""


@dataclass(frozen=True)
class LoadingSpeed:
    """How fast one process of a run loads images.

    Attributes:
        workers: Number of workers; 0 if the process loads them itself.
        seconds: Seconds that a worker takes for an image; None if not known.
        cores: Cores that the process can use.
    """

    workers: int
    seconds: float | None
    cores: int


def describe_limit(throughput: Throughput, speed: LoadingSpeed, world_size: int) -> str:
    """Return a line about what limits the images per second and how many workers would do.

    The network's rate is that of the time in which no data was waited for, the loader's that of
    workers that never wait. Nothing is measured for it that the run would not do anyway.

    Args:
        throughput: Throughput of the last steps, of all processes.
        speed: Speed of this process's loader.
        world_size: Number of processes.

    Returns:
        The line, empty if it is not known.
    """
    rate, waiting = throughput.images_per_second, throughput.waiting / 100
    seconds = speed.seconds
    if speed.workers == 0 and rate:
        seconds = waiting * world_size / rate
    if not seconds or not rate or waiting > 1 - SURELY:
        return ""
    network = rate / (1 - waiting)
    loader = world_size * max(1, speed.workers) / seconds
    needed = max(1, ceil(network / world_size * seconds - 1e-6))  # of rounding
    each = " of each process" if world_size > 1 else ""
    who = f"{count(speed.workers, 'worker')}{each}" if speed.workers else "the training process"
    if waiting < NOTICEABLE:
        would_do = f"; {needed} would do" if speed.workers else ""
        return (
            f"input      the network is the limit, with {format_rate(network)} images/s: {who} "
            f"could load {format_rate(loader)} images/s{would_do}"
        )
    if speed.workers == 0:
        rates = f"{who} loads {format_rate(loader)} images/s between the steps"
    else:
        rates = f"{who} load {format_rate(rate)} images/s"
    return (
        f"input      the loader is the limit: {rates}, the network could take "
        f"{format_rate(network)} images/s; data.num_workers={needed} would do"
        f"{_beyond(needed, speed)}"
    )


def _beyond(needed: int, speed: LoadingSpeed) -> str:
    if needed <= speed.cores:
        return ""
    cores = f"{count(speed.cores, 'core')} that there {'is' if speed.cores == 1 else 'are'}"
    return f", on more than the {cores}; reduced shards load faster"
