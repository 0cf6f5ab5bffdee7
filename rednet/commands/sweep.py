"""The end of a sweep: the table of its jobs."""

import os
from collections.abc import Sequence
from pathlib import Path

from rednet.config.sweeps import Job
from rednet.program import say
from rednet.wording import printable


def conclude_sweep(jobs: Sequence[Job], folder: Path | None) -> None:
    """Print the table of a sweep's jobs, best first, and write it into their common folder.

    Args:
        jobs: Jobs that have started.
        folder: Folder of the sweep; None if the jobs' folders have nothing in common.
    """
    if len(jobs) == 1 or os.environ.get("RANK", "0") != "0":
        return
    from rednet.search.outcomes import read_outcome
    from rednet.search.table import report_table

    outcomes = [
        read_outcome(job.settings, Path(job.folder), "val_top1", job.state, job.reason)
        for job in jobs
        if job.folder is not None
    ]
    if not outcomes:
        return
    for line in report_table(outcomes, "val_top1", folder, "sweep"):
        say(line)
    if folder is not None:
        say(f"the table is in {printable(folder / 'sweep.csv')} and sweep.md")
