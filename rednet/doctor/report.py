"""What the checks of a machine have found."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rednet.best_effort import reason_of


@dataclass
class Report:
    """Collects findings.

    Attributes:
        rows: Label and text of each finding.
        problems: What is wrong and what to do about it, one line each.
        obstacles: Problems with which RedNet cannot run at all.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)

    def add(self, label: str, text: str) -> None:
        """Add a finding."""
        self.rows.append((label, text))

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """Turn an exception of the context into a problem: a machine may be broken in any way."""
        try:
            yield
        except Exception as error:
            self.problems.append(f"{what}: cannot be checked: {reason_of(error)}")
