"""Settings of the training loop."""

from dataclasses import dataclass, field

from rednet.training.early_stopping import EarlyStopping


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop itself.

    Attributes:
        seed: Seed of what the network draws, such as dropout.
        max_steps: Stop after this many steps; None for the whole schedule.
        eval_every: Epochs between two evaluations; the schedule's last epoch is always evaluated.
        skip_unreadable: Evaluate without the validation images that cannot be read; otherwise
            they end the run, once the epoch is saved.
        early_stopping: When to end before the schedule does.
    """

    seed: int = 0
    max_steps: int | None = None
    eval_every: int = 1
    skip_unreadable: bool = False
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
