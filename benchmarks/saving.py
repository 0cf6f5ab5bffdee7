"""What saving a RedNet in training costs: the copy that training waits for, and the write."""

import tempfile
from pathlib import Path
from typing import Any

import timm
import torch
from timm.utils import ModelEmaV3

import rednet.registry  # noqa: F401 (registers the names with timm)
from benchmarks.turns import Spread, Work, take_turns
from rednet.training.checkpoints import CheckpointStore, Position
from rednet.training.saver import estimate_bytes, snapshot


def measure_saving(
    depth: int, device: torch.device, turns: int, folder: Path, on_turn: Work
) -> list[dict[str, Any]]:
    """Time the copy of a training's state to memory, and its write to the disk.

    Args:
        depth: Depth of the RedNet, with SGD's momentum and averaged weights.
        device: Device of the network.
        turns: Turns of each.
        folder: Folder on the disk to write to.
        on_turn: Called after every turn.

    Returns:
        A row for each of the two, in seconds.
    """
    state = _train_state(depth, device)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        store = CheckpointStore(Path(name))
        contenders: dict[str, Work] = {
            "copy": lambda: snapshot(state),
            "write": lambda: store.write(state, Position(1, 1)),
        }
        times = take_turns(contenders, turns, device, on_turn)
    size = estimate_bytes(state) / 1e6
    return [
        {"depth": depth, "megabytes": size, "what": what, **vars(Spread.of(seconds))}
        for what, seconds in times.items()
    ]


def _train_state(depth: int, device: torch.device) -> dict[str, Any]:
    """Return what a run saves after its first step."""
    model = timm.create_model(f"rednet{depth}").to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {
        "state_dict": model.state_dict(),
        "state_dict_ema": ModelEmaV3(model).module.state_dict(),
        "train_state": {"optimizer": optimizer.state_dict()},
    }
