"""A network's buffers, kept over a step that may have to be undone."""

from collections import defaultdict

import torch
from torch import Tensor, nn

from rednet.runtime import Runtime
from rednet.training.agreement import share_statistics


class SavedBuffers:
    """A copy of a network's buffers, such as the statistics of batch normalisation.

    A forward pass in training mode writes to them before anybody knows whether its loss is finite.

    Args:
        model: The network.
        runtime: Processes of the run.
    """

    def __init__(self, model: nn.Module, runtime: Runtime) -> None:
        self.model, self.runtime = model, runtime
        by_dtype: dict[torch.dtype, list[Tensor]] = defaultdict(list)  # one kernel for each dtype
        for buffer in model.buffers():
            by_dtype[buffer.dtype].append(buffer)
        self.groups = [(group, list(map(torch.clone, group))) for group in by_dtype.values()]

    def save(self) -> None:
        """Copy the buffers."""
        for buffers, copies in self.groups:
            torch._foreach_copy_(copies, buffers)

    def restore(self) -> None:
        """Undo what was written since `save`, on all ranks.

        The primary rank's statistics are those that count: DistributedDataParallel broadcasts them
        before each step, and the copies of the other ranks are older.
        """
        for buffers, copies in self.groups:
            torch._foreach_copy_(buffers, copies)
        share_statistics(self.model, self.runtime, average=False)
