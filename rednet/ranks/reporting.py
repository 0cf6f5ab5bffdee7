"""A mistake that several ranks find is printed by one of them."""

import hashlib
import json
import os
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from torch.distributed import Store

from rednet.errors import InputError, StartAgain
from rednet.ranks.ending import print_error
from rednet.ranks.meeting import Meeting, Place

CONNECTION_S = 20.0
"""Longest time in seconds to look for the other ranks, who may not have started."""
PRINTING_S = 5.0


def report_once(error: InputError, store: Store) -> None:
    """Print a mistake unless another rank does it, and leave it for `torchrun`'s own report."""
    text = str(error)
    write_error_file(text)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store may outlive this one
    key = f"report/{attempt}/{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"
    try:
        is_first = store.add(key, 1) == 1
        if not is_first:
            # `torchrun` ends all processes as soon as one ends, also the one that prints.
            store.wait([f"{key}/printed"], timedelta(seconds=PRINTING_S))
    except RuntimeError:  # no answer
        is_first = True
    if is_first:
        print_error(text)
        with suppress(RuntimeError):
            store.set(f"{key}/printed", "")
    error.is_reported = True


def report_before_meeting(error: InputError) -> None:
    """Print a mistake that was found before the ranks of the run met, unless another rank does."""
    try:
        report_once(error, Meeting(Place.find(), CONNECTION_S).store)
    except (StartAgain, KeyError):  # nobody answers, or nobody says where to meet
        print_error(str(error))


def leave_before_meeting(code: int) -> None:
    """Tell the ranks that wait for this one that it has ended, unless they have met."""
    if Meeting.number == 0:
        with suppress(StartAgain, RuntimeError, KeyError):  # nobody answers
            Meeting(Place.find(), CONNECTION_S).announce(code)


def write_error_file(text: str) -> None:
    """Give `torchrun` the message for its summary, in the form of its own `record`."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    details = {"py_callstack": f"error: {text}", "timestamp": str(int(time.time()))}
    content = {"message": {"message": text, "extraInfo": details}}
    with suppress(OSError):
        Path(path).write_text(json.dumps(content))
