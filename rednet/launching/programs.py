"""Command lines of trainings, which run in any folder where rednet can be imported."""

import sys
from collections.abc import Sequence

TRAIN = ("-m", "rednet", "train")
RESTARTS = 3
"""How often torchrun starts its processes again after an error."""


def train_command(
    overrides: Sequence[str], processes: int, meeting: Sequence[str] = ("--standalone",)
) -> list[str]:
    """Return the command that trains on one machine.

    Args:
        overrides: Command line of `train`.
        processes: Processes on the machine.
        meeting: Options of torchrun that say where processes meet; `--standalone` is for one
            machine, which needs no torchrun for one process.
    """
    if processes == 1 and tuple(meeting) == ("--standalone",):
        return [sys.executable, *TRAIN, *overrides]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting]
    return [
        *torchrun,
        f"--max-restarts={RESTARTS}",
        f"--nproc-per-node={processes}",
        *TRAIN,
        *overrides,
    ]
