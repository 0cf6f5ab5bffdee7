"""What the ranks of a run have to agree on."""

import hashlib

from timm.utils import distribute_bn
from torch import nn

from rednet.errors import InputError
from rednet.runtime import Runtime


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


def share_statistics(model: nn.Module, runtime: Runtime, *, average: bool) -> None:
    """Give all ranks the same statistics of batch normalisation.

    Args:
        model: The network.
        runtime: Processes of the run.
        average: Whether to average them over ranks; otherwise they are the primary rank's.
    """
    if runtime.world_size > 1:
        distribute_bn(model, runtime.world_size, reduce=average)


def _hash_parameters(model: nn.Module) -> bytes:
    state = hashlib.blake2b(digest_size=16)
    for parameter in model.parameters():
        state.update(parameter.detach().cpu().flatten().numpy().tobytes())
    return state.digest()
