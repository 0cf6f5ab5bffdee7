"""Load files of any kind into an existing RedNet, where timm's own functions are called."""

import logging
from pathlib import Path
from typing import Any

from rednet.models.rednet import RedNet
from rednet.models.variants import HIDDEN_DEFAULTS
from rednet.weights.checkpoint import Checkpoint
from rednet.weights.loading import require_fit
from rednet.weights.networks import require_same_unseen
from rednet.weights.pretrained import fill_network, log_notes, pretrained_cfg_of
from rednet.weights.reading import read_checkpoint
from rednet.wording import printable

_logger = logging.getLogger(__name__)


def load_checkpoint_file(model: RedNet, file: str | Path) -> Any:
    """Load a file as `timm.create_model(..., checkpoint_path=file)` does, whatever its kind.

    Raises:
        InputError: The file cannot be read, or is for another network.
    """
    checkpoint = _read_for(model, file)
    require_fit(checkpoint.state_dict, model.state_dict(), checkpoint)
    return model.load_state_dict(checkpoint.state_dict)


def load_pretrained_file(model: RedNet, file: str | Path) -> None:
    """Load a file as `timm.models.load_pretrained` does, whatever its kind.

    The classifier stays as it is if it is for another number of classes.

    Raises:
        InputError: The file cannot be read, or is for another network.
    """
    checkpoint = _read_for(model, file)
    if model.num_classes != checkpoint.num_classes:
        _logger.warning(
            f"{printable(file)}: has {checkpoint.num_classes or 'no'} classes, the network has "
            f"{model.num_classes}: the classifier is not loaded"
        )
    fill_network(model, checkpoint, checkpoint.num_classes or 0)


def _read_for(model: RedNet, file: str | Path) -> Checkpoint:
    """Read a file; refuse it if it says that it is for a network with other options."""
    checkpoint = read_checkpoint(file, key="file")
    given: dict[str, Any] | None = getattr(model, "given_options", None)
    if given is not None:  # the network was made by `timm.create_model`
        require_same_unseen(checkpoint, {**HIDDEN_DEFAULTS, **given})
    log_notes(checkpoint, given or {})
    cfg: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    cfg.update(pretrained_cfg_of(checkpoint))
    return checkpoint
