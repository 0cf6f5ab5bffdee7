"""Search for the best settings: many runs, each an ordinary training."""

import dataclasses
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rednet import cli
from rednet.commands.sweep import write_page
from rednet.config import Config
from rednet.config.search import PREFIX, Search, read_space
from rednet.errors import InputError, StartAgain, Stopped
from rednet.program import announce_torch, has_other_ranks, report, say
from rednet.wording import printable

if TYPE_CHECKING:
    from rednet.search.outcomes import Outcome
    from rednet.search.study import Study
    from rednet.search.trial import Trial

RunTrial = Callable[[Config, frozenset[str], Any], None]
"""Trains; the last argument is the trainer's monitor."""
MAX_FAILURES = 3
"""Trials that may fail before the first one succeeds; what fails them will fail them all."""


def search(config: Config, line: cli.CommandLine, run_trial: RunTrial) -> None:
    """Run trials until there are as many as asked for, then report them.

    Args:
        config: Configuration of the command line; the trials differ from it.
        line: The command line, to compose the configuration of a trial.
        run_trial: Trains a trial.

    Raises:
        InputError: The search cannot start, or no trial was completed.
    """
    assert config.search is not None
    _require_single_process()
    study = _open_study(config, config.search)
    failures, has_succeeded = 0, False
    try:
        while failures < MAX_FAILURES and (trial := study.claim()) is not None:
            has_succeeded |= _run(trial, line, run_trial)
            failures = 0 if has_succeeded else failures + 1
    except Stopped as stop:
        raise Stopped(stop.signal, _continuation(stop, study.folder)) from None
    _conclude(study, line)


def _require_single_process() -> None:
    if has_other_ranks():
        raise InputError(
            "search: a trial has one process; instead of torchrun start the same command several "
            "times, with the same output_dir"
        )
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise InputError('search=optuna needs optuna: pip install "rednet[search]"') from error


def _open_study(config: Config, settings: Search) -> "Study":
    """Return the search in the output folder, which is made if need be."""
    announce_torch()
    from rednet.build.searching import search_settings
    from rednet.search.plan import Plan
    from rednet.search.study import Study

    space = read_space(settings.space)
    plan = Plan(
        space=space,
        trials=settings.trials,
        metric=settings.metric,
        sampler_name=settings.sampler,
        pruner_name=settings.pruner,
        startup_trials=settings.startup_trials,
        seed=config.seed,
        epochs=config.schedule.epochs,
    )
    folder = Path(config.output_dir or f"runs/search-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output_dir={printable(folder)}: {error.strerror}") from error
    return Study(folder, plan, search_settings(config, space))


def _run(trial: "Trial", line: cli.CommandLine, run_trial: RunTrial) -> bool:
    """Run a trial; return whether it succeeded.

    Raises:
        StartAgain: The same command goes on with the trial.
        Stopped: So it does after a signal.
    """
    say(f"trial {trial.number}, of {trial.plan.trials}: {' '.join(trial.overrides)}")
    try:
        config, keys = line.compose(trial.overrides)
        folder = str(trial.folder)
        config = dataclasses.replace(config, search=None, output_dir=folder, resume="auto")
        cli.call(lambda config, keys: run_trial(config, keys, trial.monitor), config, keys)
        trial.finish()
        return True
    except InputError as error:
        report(error)
        trial.fail(" ".join(str(error).split()))
        return False
    except StartAgain:
        raise
    except Exception as error:
        trial.fail(" ".join(f"{type(error).__name__}: {error}".split()))
        raise
    finally:
        trial.release()


def _continuation(stop: Stopped, folder: Path) -> str:
    saved = stop.message.partition("; ")[0]
    return f"{saved}; the same command with output_dir={printable(folder)} goes on with the search"


def _conclude(study: "Study", line: cli.CommandLine) -> None:
    """Print and write the table, draw the figures, and say how to train the best longer.

    Raises:
        InputError: No trial was completed.
    """
    from rednet.search.figures import draw_figures
    from rednet.search.outcomes import best_first
    from rednet.search.table import report_table

    outcomes, metric, folder = study.outcomes(), study.plan.metric, study.folder
    for text in report_table(outcomes, metric, folder, "search"):
        say(text)
    complete = [each for each in outcomes if each.state == "complete"]
    if not complete:
        raise InputError(
            f"no trial was completed; {printable(folder / 'search.csv')} has the reasons"
        )
    draw_figures(study.optuna, metric, folder)
    page = write_page(folder)
    what = "table and figures are" if page is None else f"table, figures and {page.name} are"
    say(f"{what} in {printable(folder)}")
    say(f"to train the best longer: {_best_command(best_first(complete, metric)[0], line)}")


def _best_command(best: "Outcome", line: cli.CommandLine) -> str:
    """Return the command that trains with the settings of the best trial."""
    keys = ("search", "output_dir", "resume", "schedule.epochs")
    own = [text for text in line.overrides if _key(text) not in keys and not _is_search(text)]
    settings = [f"{key}={value}" for key, value in best.settings.items()]
    rest = [text for text in settings if _key(text) != "schedule.epochs"]
    return (
        shlex.join(["python", "train.py", *line.options, *own, *rest, "schedule.epochs="]) + "..."
    )


def _key(text: str) -> str:
    return text.lstrip("+").partition("=")[0]


def _is_search(text: str) -> bool:
    return _key(text).startswith(PREFIX.partition(".")[0] + ".")
