"""Write a page that compares runs."""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from rednet import cli
from rednet.config import ReportConfig
from rednet.errors import InputError
from rednet.files import require_free, write_text_atomically
from rednet.program import announce, announce_torch
from rednet.wording import count, printable

SUFFIXES = (".html", ".htm")


def report(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("report", _report, argv)


def _report(config: ReportConfig, explicit_keys: Collection[str]) -> None:
    output = Path(config.output)
    if config.runs is None:
        raise InputError("runs=FOLDER is needed: a run, or a folder of runs")
    if output.suffix not in SUFFIXES:
        raise InputError(f"output={config.output}: must end in .html")
    announce_torch()
    from rednet.comparison.page import render, require_packages
    from rednet.comparison.run_folders import find_runs

    require_packages()
    folders = find_runs(config.runs)
    require_free(output, Path(config.runs[0]), config.overwrite)
    from rednet.build.compared_runs import read_runs

    announce(f"reading {count(len(folders), 'run')}")
    runs = read_runs(folders, config.mistakes, config.count_macs)
    announce("writing the page")
    page = render(runs, datetime.now())
    try:
        write_text_atomically(output, page)
    except OSError as error:
        raise InputError(f"output={output}: cannot be written: {error.strerror}") from error
    for run in runs:
        if run.problems:
            print(f"warning: {printable(run.name)}: {printable('; '.join(run.problems))}")
    size = len(page.encode())
    print(f"{count(len(runs), 'run')} compared in {printable(output)}, {size / 1e6:.1f} MB")
