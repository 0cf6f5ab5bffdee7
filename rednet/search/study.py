"""The trials of a search: drawn by optuna, kept in the search's folder, shared by processes."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import filelock
import optuna
from optuna.trial import TrialState
from sqlalchemy import URL

from rednet.errors import InputError
from rednet.search.metric import is_maximized
from rednet.search.outcomes import Outcome, read_outcome
from rednet.search.plan import Plan
from rednet.search.space import to_text
from rednet.search.trial import REASON, Trial
from rednet.wording import printable

DATABASE, LOCK = "search.db", ".search.lock"
WAIT_S = 120.0
"""How long a process waits for another one that writes to the database, in seconds."""
SETTINGS = "settings"
"""Attribute of the study: what must not change while it goes on."""
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class Study:
    """A search in a folder, which any number of processes work at.

    The kernel releases the lock of a trial when its process ends, however it ends. So a trial that
    is running by the database but not locked was interrupted.

    Args:
        folder: Folder of the search, which must exist.
        plan: What the search does.
        settings: What must not change while the search goes on, by key.

    Raises:
        InputError: The folder holds another search, or cannot be locked.
    """

    def __init__(self, folder: Path, plan: Plan, settings: Mapping[str, str]) -> None:
        self.folder, self.plan = folder, plan
        self._lock = filelock.FileLock(folder / LOCK, timeout=WAIT_S, fallback_to_soft=False)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._locked():
            self.optuna = self._open()
            self._require_same(settings)

    def folder_of(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.folder / f"trial-{number:04d}"

    def claim(self) -> Trial | None:
        """Return a trial that was interrupted, else a new one; None if no more is to be run."""
        with self._locked():
            known = self.optuna.get_trials(deepcopy=False)
            for found in known:
                if trial := self._resume(found):
                    return trial
            if len(known) >= self.plan.trials:
                return None
            return self._draw(len(known))

    def outcomes(self) -> list[Outcome]:
        """Return what came of each trial so far."""
        return [self._outcome(frozen) for frozen in self.optuna.get_trials(deepcopy=False)]

    def _resume(self, found: optuna.trial.FrozenTrial) -> Trial | None:
        """Return a trial that was interrupted; None for any other."""
        if found.state != TrialState.RUNNING or (lock := self._take(found.number)) is None:
            return None
        # Read once more: the process that had the lock may have finished it meanwhile.
        if self.optuna.get_trials(deepcopy=False)[found.number].state == TrialState.RUNNING:
            self.optuna.sampler = self.plan.sampler(found.number)
            return self._trial(optuna.Trial(self.optuna, found._trial_id), lock)
        lock.release()
        return None

    def _draw(self, number: int) -> Trial:
        self.optuna.sampler = self.plan.sampler(number)
        lock = self._take(number)
        assert lock is not None
        return self._trial(self.optuna.ask(), lock)

    def _trial(self, trial: optuna.Trial, lock: filelock.BaseFileLock) -> Trial:
        self.plan.suggest(trial)  # its process may have been killed before it drew all values
        return Trial(self.optuna, trial, lock, self.folder_of(trial.number), self.plan)

    def _outcome(self, frozen: optuna.trial.FrozenTrial) -> Outcome:
        settings = {key: to_text(frozen.params.get(key, "-")) for key in self.plan.space}
        folder, reason = self.folder_of(frozen.number), frozen.user_attrs.get(REASON, "")
        return read_outcome(settings, folder, self.plan.metric, STATES[frozen.state], reason)

    def _take(self, number: int) -> filelock.BaseFileLock | None:
        path = self.folder / f".{self.folder_of(number).name}.lock"
        lock = filelock.FileLock(path, fallback_to_soft=False, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        return lock

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out of the database for a moment."""
        name = f"output_dir={printable(self.folder)}"
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise InputError(f"{name}: another process keeps {LOCK} locked") from None
        except (NotImplementedError, OSError) as error:
            reason = getattr(error, "strerror", None) or "its file system has no locks"
            raise InputError(f"{name}: a search cannot lock {LOCK}: {reason}") from error
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                yield
        finally:
            self._lock.release()

    def _open(self) -> optuna.Study:
        path = self.folder / DATABASE
        url = URL.create("sqlite", database=str(path)).render_as_string()
        arguments = {"connect_args": {"timeout": WAIT_S}}
        try:
            storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
            return optuna.create_study(
                storage=storage,
                pruner=self.plan.pruner(),
                study_name="rednet",
                direction="maximize" if is_maximized(self.plan.metric) else "minimize",
                load_if_exists=True,
            )
        except Exception as error:  # of SQLAlchemy, SQLite and alembic
            raise InputError(f"{printable(path)} cannot be read: {_first_line(error)}") from error

    def _require_same(self, settings: Mapping[str, str]) -> None:
        """Record the settings of a new search; compare those of an earlier start.

        Raises:
            InputError: They differ.
        """
        text = self.optuna.user_attrs.get(SETTINGS)
        if text is None:
            self.optuna.set_user_attr(SETTINGS, json.dumps(dict(settings)))
            return
        before = json.loads(text)
        lines = [
            f"{key}: {before.get(key, 'not set')} there, {settings.get(key, 'not set')} here"
            for key in dict.fromkeys([*before, *settings])
            if before.get(key) != settings.get(key)
        ]
        if lines:
            name = f"output_dir={printable(self.folder)}"
            raise InputError(
                f"{name} holds a search with other settings; choose another folder:", *lines
            )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
