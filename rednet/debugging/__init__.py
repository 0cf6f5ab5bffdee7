"""Searches for a mistake in a training: the pipeline in miniature, one batch, the time, NaNs."""

from rednet.debugging.fast import run_fast
from rednet.debugging.job import DebugJob
from rednet.debugging.nan import run_nan
from rednet.debugging.overfit import run_overfit
from rednet.debugging.profile import run_profile

__all__ = ["DebugJob", "look_for_mistakes"]

MODES = {"fast": run_fast, "overfit": run_overfit, "profile": run_profile, "nan": run_nan}


def look_for_mistakes(job: DebugJob) -> None:
    """Run the mode that the configuration names.

    Raises:
        SystemExit: It found a mistake; exit code 1.
    """
    MODES[job.debug.mode](job)
