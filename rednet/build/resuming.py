"""Resume a run: find its checkpoint, and refuse that of another run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rednet.config import Config
from rednet.errors import InputError
from rednet.training.trainer import Trainer
from rednet.weights import Checkpoint, read_checkpoint


def find_checkpoint(config: Config, folder: Path) -> Checkpoint | None:
    """Return the checkpoint to resume from, None for a new run.

    Args:
        config: Its `resume` is "auto", "never", or the path of a run or checkpoint.
        folder: Folder that the run writes to.

    Raises:
        InputError: A run that the folder already holds would be lost.
    """
    last = folder / "checkpoints" / "last.pt"
    path = last
    if config.resume not in ("auto", "never"):
        path = Path(config.resume)
        path = path / "checkpoints" / "last.pt" if path.is_dir() else path
    elif not last.exists():
        return None
    is_same_run = path.resolve().parent == last.resolve().parent
    if config.resume == "never" or (last.exists() and not is_same_run):
        raise InputError(
            f"output_dir={folder} already holds a run: choose another folder, or resume it with "
            "resume=auto"
        )
    return read_checkpoint(path, key="resume")


def resume(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Load the state of a run into a trainer that has not started yet.

    Raises:
        InputError: The checkpoint has no training state, or belongs to another run.
    """
    content = checkpoint.content
    if "train_state" not in content:
        raise InputError(
            f"resume={checkpoint.path}: holds weights but no training state; "
            f"checkpoint={checkpoint.path} starts a new run from them"
        )
    saved, current = _identity(content), _identity(trainer.description)
    for key in saved:
        if saved[key] != current[key]:
            raise InputError(
                f"{checkpoint.path} belongs to another run: its {key} is {_short(saved[key])}, "
                f"here it is {_short(current[key])}"
            )
    trainer.load_state_dict(content)
    if trainer.runtime.is_primary:
        print(f"resumed after epoch {trainer.counters.epoch} from {checkpoint.path}", flush=True)


def _identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must stay the same over the whole of a run."""
    optimizer = OmegaConf.create(description["config"])["optimizer"]
    return {
        "model": description["model"],
        "class_names": description["class_names"],
        "optimizer": {key: optimizer[key] for key in ("name", "decay_all")},
    }


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
