"""The stages of the check, the most important first, and what a stage is told."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

Row = dict[str, Any]
Emit = Callable[..., None]
"""Called as `emit(line, **values)`: a row of the JSON file and its line of the page, or None."""


@dataclass(frozen=True)
class Settings:
    """What a stage is told.

    Attributes:
        device: "cuda:0" or "cpu".
        tiny: Whether this is a dry run: smallest sizes, one turn.
        deadline: Time, as of `time.time`, by which the stage is ended.
    """

    device: str
    tiny: bool
    deadline: float

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""
        return self.device != "cpu"

    def seconds_left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time.time()


@dataclass(frozen=True)
class Stage:
    """A stage, which runs in a process of its own.

    Attributes:
        name: Name on the command line.
        module: Module of this package whose `run(settings, emit, **options)` is the stage.
        seconds: Seconds after which the stage is ended.
        options: Keyword arguments of `run`.
        environment: Environment variables that are set for the stage.
    """

    name: str
    module: str
    seconds: float
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


SPAN_VARIABLE = "REDNET_SPAN"
"""Chooses how kernels are made in training, where the package supports it."""


def span_variants() -> dict[str, dict[str, str]]:
    """Return the variants of RedNet to measure: what their stages' names end in, environment."""
    sources = (ROOT / "rednet").rglob("*.py")
    if not any(SPAN_VARIABLE in path.read_text(encoding="utf-8") for path in sources):
        return {"": {}}
    return {f"-{name}": {SPAN_VARIABLE: name} for name in ("fused", "stored")}


def all_stages() -> tuple[Stage, ...]:
    """Return all stages, in the order in which they run."""
    variants = span_variants().items()
    network, compiled = (
        [
            Stage(
                f"{name}{end}", "networks", seconds, {"compiled": name == "compiled"}, environment
            )
            for end, environment in variants
        ]
        for name, seconds in (("network", 75), ("compiled", 120))
    )
    first, *others = [Stage(f"profile{end}", "profiling", 45, {}, env) for end, env in variants]
    return (
        Stage("versions", "machine", 30),
        Stage("first-backward", "first_backward", 60),
        Stage("operators", "accuracy", 100),
        *network,
        first,
        Stage("pytest", "pytests", 90),
        Stage("speed", "speed", 60),
        Stage("overhead", "overhead", 40),
        Stage("sanitizer", "sanitizer", 60),
        *compiled,
        *others,
    )
