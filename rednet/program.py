"""What every program of the project shares: exit codes, one-line errors, closed pipes, notices."""

import atexit
import gc
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn, TextIO

from rednet.errors import InputError, StartAgain, Stopped
from rednet.ranks.ending import print_error
from rednet.screen import SCREEN
from rednet.wording import printable

DONE = 0
WRONG_INPUT = 2
INTERRUPTED = 130
STDERR = 2
CLOSED_PIPE = 141  # what a shell reports after SIGPIPE


def run_program(main: Callable[[], int]) -> int:
    """Run `main`; report a mistake of the user on stderr.

    Characters that stdout and stderr cannot encode are printed as escapes.

    Returns:
        The exit code: that of `main`, 2 after a mistake of the user, 128 + the number of a signal
        that stopped it (130 after Ctrl-C, 143 after SIGTERM), 142 if another process of the run
        is missing, 141 if the reader of the output has gone, as in ``train.py --help | head -2``.
        Other exceptions are not caught.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            code = _run_as_rank(main) if has_other_ranks() else _run(main)
        finally:
            SCREEN.clear()
            _end_at_once_at_exit()
        # Python would flush at exit too, but answer a closed pipe with a traceback.
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        return code
    except BrokenPipeError:
        if not (closed := unread_outputs()):
            raise
        for stream in closed:
            discard(stream)
        return CLOSED_PIPE


@contextmanager
def starting() -> Iterator[None]:
    """Import what a program needs: a terminal shows it, and Ctrl-C ends it without a traceback."""
    try:
        with SCREEN.working("starting"):
            yield
    except KeyboardInterrupt:
        raise SystemExit(_report_interrupt()) from None


def _report_interrupt() -> int:
    say("interrupted", sys.stderr)
    return INTERRUPTED


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt even if a library makes another error of it.

    Numpy does so while it is imported.
    """
    interrupts = []

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        interrupts.append(number)
        raise KeyboardInterrupt

    if not _is_handled_by_python():
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if interrupts:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_handled_by_python() -> bool:
    """Return whether Ctrl-C raises KeyboardInterrupt in this thread."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _end_at_once_at_exit() -> None:
    """Let the process end fast, and by Ctrl-C without a traceback, once Python unloads torch.

    Nothing changes for a caller that goes on.
    """
    atexit.unregister(_hasten_exit)  # the last function to be registered is called first
    atexit.register(_hasten_exit)


def _hasten_exit() -> None:
    gc.freeze()  # else Python looks for garbage among all objects of torch, for a second
    if _is_handled_by_python():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_closed_streams() -> None:
    """Let streams that the caller has closed, as by ``>&-``, lead to nowhere.

    Otherwise the next files that are opened would get their numbers, and their text.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (until the process ends)


def unread_outputs() -> list[TextIO]:
    """Return those of stdout and stderr that are pipes without a reader."""
    return [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]


def report(error: InputError) -> int:
    """Print each line of a mistake to stderr, of several processes once; return the exit code."""
    if getattr(error, "is_reported", False):
        return WRONG_INPUT
    if has_other_ranks():
        from rednet.ranks.reporting import report_before_meeting

        report_before_meeting(error)
    else:
        for line in str(error).split("\n"):
            say(f"error: {line}", sys.stderr, ignore_closed_pipe=False)
    return WRONG_INPUT


def has_other_ranks() -> bool:
    """Return whether this is one of several processes of a run."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def say(line: str, stream: TextIO | None = None, *, ignore_closed_pipe: bool = True) -> None:
    """Print a line, by default to stdout; go on in silence if that is not possible.

    The terminal may be closed, the `tee` behind the program ended by the same Ctrl-C, or the disk
    of the log full. None of these may end a training.

    Args:
        line: The line; a line break or a terminal sequence in it is escaped.
        stream: Where to print it.
        ignore_closed_pipe: Whether to go on even if the stream is a pipe that nobody reads.

    Raises:
        BrokenPipeError: Nobody reads the pipe.
    """
    stream = stream or sys.stdout
    try:
        print(printable(line), file=stream, flush=True)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not ignore_closed_pipe:
            raise
        discard(stream)


def discard(stream: TextIO) -> None:
    """Discard what the stream still buffers, which Python flushes at exit, and what follows."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def announce(what: str | None) -> None:
    """Say what the next seconds are for, on a terminal only: logs do not need it.

    The terminal's last line says it until something else is announced (None for nothing of note),
    or the program ends. Of several processes the first one says it.
    """
    is_shown = SCREEN.announce(what)
    if what is not None and not is_shown:
        _say_once(what)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say what the context is for, on a terminal only, as `announce` does."""
    with SCREEN.working(what) as is_shown:
        if not is_shown:
            _say_once(what)
        yield


def _say_once(what: str) -> None:
    """Say what is being done on a terminal that has no line for it."""
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        say(f"{what} ...", sys.stderr)


def announce_torch() -> None:
    """Say that torch is loaded, unless it has been; the caller imports it right after this."""
    if "torch" not in sys.modules:
        announce("loading PyTorch")


def _run_as_rank(main: Callable[[], int]) -> int:
    """Run `main`; tell the other ranks when it has failed, as they may wait for this one."""
    code = 1
    try:
        code = _run(main)
    finally:
        if code != DONE:
            from rednet.ranks.reporting import leave_before_meeting

            leave_before_meeting(code)
    return code


def _run(main: Callable[[], int]) -> int:
    try:
        with _interruptible():
            return main()
    except InputError as error:
        return report(error)
    except StartAgain as error:
        if error.message:
            print_error(error.message)
        return error.code
    except Stopped as stop:
        # Several processes stop together once they have saved, and the first one says so.
        if not stop.message or os.environ.get("RANK", "0") == "0":
            say(str(stop), sys.stderr)
        return 128 + stop.signal
    except KeyboardInterrupt:
        return _report_interrupt()
    except SystemExit as stop:  # argparse and Hydra end this way after --help and the like
        if isinstance(stop.code, str):
            raise
        return stop.code or DONE


def _flush(stream: TextIO) -> None:
    """Write out what a stream buffers, unless that fails: the terminal may be gone."""
    try:
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError:
        discard(stream)


def _has_no_reader(stream: TextIO) -> bool:
    """Return whether nobody reads a stream; poll reports that as an error of a pipe."""
    poll = select.poll()
    poll.register(stream, 0)
    return bool(poll.poll(0))
