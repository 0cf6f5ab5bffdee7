"""The process group of a run, watched from its start to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from rednet.errors import InputError, StartAgain, Stopped
from rednet.ranks.ending import end_soon
from rednet.ranks.meeting import START_S, Meeting, Place
from rednet.ranks.pulse import PULSE
from rednet.ranks.reporting import report_once, write_error_file
from rednet.ranks.watch import Watch

BACKSTOP = timedelta(days=7)
"""Time-out of the group's operations. They cannot tell a rank that stands still from one that takes
long over an evaluation or a checkpoint; `Watch` can, and is the one that ends the run."""


@contextmanager
def join_ranks(place: Place, backend: str, timeout_s: float) -> Iterator[None]:
    """Join the other ranks in a process group, and leave it together with them.

    Args:
        place: This process.
        backend: "gloo" or "nccl".
        timeout_s: How long a rank may stand still before the run ends on all ranks, in seconds.

    Raises:
        StartAgain: Another rank is missing.
    """
    start_s = max(START_S, timeout_s)
    meeting = Meeting(place, start_s)
    peers = meeting.wait(start_s)
    PULSE.restart()
    watch = Watch(meeting, peers, timeout_s)
    try:
        group = dist.PrefixStore("group", meeting.store)
        dist.init_process_group(
            backend, store=group, rank=place.rank, world_size=place.world_size, timeout=BACKSTOP
        )
        yield
        # A rank that has left would count as missing. Besides, gloo's threads need Python's lock to
        # release the tensors of the last exchange. Without a pause for that, the end of the group
        # can wait for them for ever (torch 2.11).
        with PULSE.waiting():
            dist.barrier(device_ids=[torch.cuda.current_device()] if backend == "nccl" else None)
    except BaseException as raised:
        error = watch.explain(raised) or raised
        code = exit_code(error)
        last_resort = end_soon(code)
        if isinstance(error, InputError):
            report_once(error, meeting.store)
        elif isinstance(error, StartAgain) and error.message:
            write_error_file(error.message)
        if watch.fail(code, wait=isinstance(error, InputError)):
            dist.destroy_process_group()  # which would wait for others
            last_resort.cancel()
        if error is raised:
            raise
        raise error from None
    watch.close()
    dist.destroy_process_group()


def exit_code(error: BaseException) -> int:
    """Return the code with which the commands end after an error."""
    if isinstance(error, StartAgain):
        return error.code
    if isinstance(error, Stopped):
        return 128 + error.signal
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if isinstance(error, InputError) else 1
