"""The end of a sweep: the table of its jobs, and the page that compares them."""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rednet.best_effort import BestEffort
from rednet.config.sweeps import Job
from rednet.errors import InputError
from rednet.files import write_text_atomically
from rednet.program import say
from rednet.wording import printable

MAX_MISTAKES = 12
"""Wrongly predicted images of each run on the page."""


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
        page = write_page(folder)
        files = f"{printable(folder / 'sweep.csv')}, sweep.md"
        say(f"the table is in {files}{'' if page is None else f', the page in {page.name}'}")


def write_page(folder: Path) -> Path | None:
    """Write the page that compares the runs in a folder; None without the packages it needs."""
    from rednet.build.compared_runs import read_runs
    from rednet.comparison.page import render, require_packages
    from rednet.comparison.run_folders import find_runs

    page = folder / "report.html"
    with suppress(InputError), BestEffort("the runs are complete without it").write(str(page)):
        require_packages()
        runs = read_runs(find_runs([str(folder)]), MAX_MISTAKES, count_macs=True)
        write_text_atomically(page, render(runs, datetime.now()))
        return page
    return None
