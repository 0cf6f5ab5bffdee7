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


VARIANTS = {
    name: {"REDNET_SPAN": value}
    for name, value in (("chosen", ""), ("fused", "fused"), ("stored", "stored"))
}
"""Ways to run RedNet's spans, and their environment: as its table chooses, all fused, all stored.

An empty variable is as none, also where the check itself was started with another value.
"""


def all_stages() -> tuple[Stage, ...]:
    """Return all stages, in the order in which they run."""
    chosen, *others = VARIANTS
    return (
        Stage("versions", "machine", 30),
        Stage("first-backward", "first_backward", 60),
        Stage("operators", "accuracy", 90),
        _network("network", chosen, 60),
        _network("compiled", chosen, 100),
        _profile(chosen, top=6),
        Stage("pytest", "pytests", 90),
        Stage("speed", "speed", 60),
        *(_network("network", variant, 45) for variant in others),
        Stage("overhead", "overhead", 40),
        Stage("sanitizer", "sanitizer", 60),
        *(_network("compiled", variant, 100) for variant in others),
        *(_profile(variant, top=0) for variant in others),
    )


def _network(name: str, variant: str, seconds: float) -> Stage:
    """Return the stage that measures a variant, `compiled` or not."""
    options = {"compiled": name == "compiled", "variant": variant}
    return Stage(f"{name}-{variant}", "networks", seconds, options, VARIANTS[variant])


def _profile(variant: str, top: int) -> Stage:
    """Return the stage that profiles a variant; the page has the sums, and so many kernels."""
    return Stage(f"profile-{variant}", "profiling", 45, {"top": top}, VARIANTS[variant])
