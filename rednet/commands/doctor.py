"""Say whether RedNet runs on this machine, how fast, and what is in the way."""

import warnings
from collections.abc import Collection, Sequence

from rednet import cli
from rednet.config import DoctorConfig
from rednet.errors import InputError
from rednet.label_rows import format_rows, terminal_width
from rednet.program import announce, announce_torch, say


def doctor(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 even with problems, unless RedNet cannot run."""
    return cli.run("doctor", _doctor, argv)


def _doctor(config: DoctorConfig, explicit_keys: Collection[str]) -> None:
    from rednet.doctor.packages import check_extras, check_packages
    from rednet.doctor.report import Report

    report = Report()
    announce_torch()
    check_packages(report)
    if not report.obstacles:
        from rednet.doctor.speed import check_backends
        from rednet.doctor.system import check_system
        from rednet.doctor.tools import check_tools

        # What libraries warn of is among the problems.
        with warnings.catch_warnings(action="ignore"), report.checking("backends"):
            check_tools(report)
            check_system(report)
            check_backends(report, config.seconds)
    announce(None)
    check_extras(report)
    problems = [("problem", text) for text in report.problems] or [("problems", "none")]
    for line in format_rows([*report.rows, *problems], terminal_width()):
        say(line)
    if report.obstacles:
        raise InputError(*(f"RedNet cannot run: {text}" for text in report.obstacles))
