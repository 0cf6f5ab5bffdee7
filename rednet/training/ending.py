"""Save at unusual times, and end a run before its time."""

from signal import Signals
from typing import TYPE_CHECKING, NoReturn

from rednet.errors import InputError
from rednet.wording import printable

if TYPE_CHECKING:
    from rednet.training.trainer import Trainer


def heed(trainer: "Trainer", unreadable: int, signals: int, asks: int) -> None:
    """Do what ranks have reported with a step.

    Args:
        trainer: The trainer of this rank.
        unreadable: Number of ranks that have met images that cannot be read.
        signals: Number of ranks that were asked to stop.
        asks: Number of ranks that ask for a save.

    Raises:
        InputError: More images are bad than may be; the run is saved.
        Stopped: The run is saved.
    """
    trainer.saver.asks = asks > 0
    if unreadable and (problem := trainer.batches.unreadable.settle(trainer.runtime)):
        give_up(trainer, problem)
    if signals:
        stop(trainer)


def save_early(trainer: "Trainer") -> None:
    """Save what is complete before data loading workers are replaced.

    What took them may take this process next. A rank that does not write asks for a save, which all
    agree on with the next step.
    """
    if not trainer.runtime.is_primary:
        trainer.saver.asks = True
    elif trainer.saver.saved != trainer.counters:
        trainer.save()


def stop(trainer: "Trainer") -> NoReturn:
    """Save and stop, on every rank, after a signal to any of them.

    Raises:
        Stopped: The run is saved.
    """
    number = trainer.signals.agreed(trainer.runtime)
    failure = _save_rest(trainer, Signals(number).name)
    step, folder = trainer.counters.global_step, trainer.log.folder
    raise trainer.signals.stopped(number, step, folder, failure)


def give_up(trainer: "Trainer", problem: str) -> NoReturn:
    """Save and end the run, on every rank, with a problem of any of them.

    Args:
        trainer: The trainer of this rank.
        problem: What this rank knows of it, maybe nothing.

    Raises:
        InputError: The run is saved.
    """
    problem = next(filter(None, trainer.runtime.gather(problem)))
    failure = _save_rest(trainer, "the run ends")
    step, folder = trainer.counters.global_step, printable(trainer.log.folder)
    raise InputError(f"{problem}; {failure or f'step {step} is saved in {folder}'}")


def _save_rest(trainer: "Trainer", why: str) -> str | None:
    """Save what is not saved yet; return why that failed, if it did."""
    saver = trainer.saver
    if saver.saved != trainer.counters:
        trainer.save()
        trainer.log.say(f"{why}: saving; the longest save so far took {saver.seconds:.1f} s")
    return saver.settle()
