"""What the ranks of a run have to agree on."""

import hashlib

import torch
from torch import nn

from rednet.errors import InputError
from rednet.ops.backends import broken_backends, kept_backends
from rednet.runtime import Runtime

STATISTICS = ("running_mean", "running_var")


def require_equal_ranks(model: nn.Module, global_step: int, runtime: Runtime) -> None:
    """Require the same step and the same parameters on all ranks.

    Raises:
        InputError: On every rank, if a rank differs.
    """
    if runtime.world_size == 1:
        return
    states = runtime.gather((global_step, _hash_parameters(model)))
    different = [rank for rank, state in enumerate(states) if state != states[0]]
    if different:
        ranks = ", ".join(map(str, different))
        raise InputError(
            f"the processes have different weights or steps: rank {ranks} differs from rank 0 "
            f"at step {global_step}; start the run again from its last checkpoint"
        )


def require_equal_backends(runtime: Runtime) -> None:
    """Require the same backends of the operators on all ranks.

    Raises:
        InputError: On every rank, if a rank has fallen back to another one.
    """
    kept = kept_backends()
    broken = [line for _, dtype in kept for line in broken_backends(runtime.device, dtype)]
    choices = runtime.gather((kept, broken))
    for rank, (names, reasons) in enumerate(choices):
        if names != choices[0][0]:
            worse, lines = (rank, reasons) if reasons else (0, choices[0][1])
            raise InputError(
                f"the processes would compute with different backends: on rank {worse} "
                f"{'; '.join(dict.fromkeys(lines)) or names}"
            )


def share_statistics(model: nn.Module, runtime: Runtime, *, average: bool) -> None:
    """Give all ranks the same statistics of batch normalisation.

    Args:
        model: The network.
        runtime: Processes of the run.
        average: Whether to average them over ranks; otherwise they are the primary rank's.
    """
    # Even the average of equal numbers is rounded, and what is frozen must not move.
    moving = [layer for layer in model.modules() if layer.training or not average]
    buffers = [item for layer in moving for item in layer.named_buffers(recurse=False)]
    statistics = [buffer for name, buffer in buffers if name.endswith(STATISTICS)]
    if runtime.world_size == 1 or not statistics:
        return
    # In one exchange: networks have a hundred of them.
    values = torch.cat([buffer.flatten() for buffer in statistics])
    if average:
        runtime.sum(values).div_(runtime.world_size)
    else:
        runtime.copy_from_primary(values)
    parts = values.split([buffer.numel() for buffer in statistics])
    torch._foreach_copy_(statistics, [p.view_as(b) for p, b in zip(parts, statistics, strict=True)])


def _hash_parameters(model: nn.Module) -> bytes:
    state = hashlib.blake2b(digest_size=16)
    for parameter in model.parameters():
        state.update(parameter.detach().cpu().flatten().numpy().tobytes())
    return state.digest()
