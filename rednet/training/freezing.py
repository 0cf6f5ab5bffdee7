"""Parts of a network that do not train, for the whole run or in its first epochs."""

from collections.abc import Collection
from types import MethodType

from torch import nn

from rednet.training.workload import WHOLE_STEP
from rednet.wording import count


class Freezing:
    """Freezes parts of a network, anew in each epoch.

    A frozen parameter has no gradient. A module all of whose tensors are frozen stays in evaluation
    mode, whoever calls `train()`: batch normalisation uses its running statistics and leaves them
    alone, and nothing is dropped.

    Args:
        model: Network, neither compiled nor wrapped.
        always: Names of the parameters and buffers that never train.
        at_first: Names of those that do not train in the first epochs.
        first_epochs: Number of these epochs.
    """

    def __init__(
        self,
        model: nn.Module,
        always: Collection[str] = (),
        at_first: Collection[str] = (),
        first_epochs: int = 0,
    ) -> None:
        self.model, self.first_epochs = model, first_epochs
        self.always, self.at_first = frozenset(always), frozenset(always) | frozenset(at_first)
        self.trainable = {name for name, p in model.named_parameters() if p.requires_grad}

    def apply(self, epoch: int) -> bool:
        """Freeze what does not train in an epoch, counted from 0, and nothing else.

        Returns:
            Whether other parameters train than before.
        """
        frozen = self._frozen(epoch)
        changed = False
        for name, parameter in self.model.named_parameters():
            trains = name in self.trainable and name not in frozen
            changed |= trains != parameter.requires_grad
            parameter.requires_grad_(trains)
        self._set_modes(frozen)
        return changed

    def _set_modes(self, frozen: Collection[str]) -> None:
        tensors = tensor_names(self.model)
        parts = {part for name in tensors for part in _parents(name)}
        training = {part for name in tensors if name not in frozen for part in _parents(name)}
        for name, module in self.model.named_modules():
            if name in parts and name not in training:
                module.eval()
                vars(module)["train"] = MethodType(_stay, module)
            else:
                vars(module).pop("train", None)

    def cost(self, epoch: int) -> float:
        """Return about how long a training step of an epoch takes, in forward passes.

        The backward pass takes two, but ends at the first parameter that trains; where it lies is
        told by the number of parameters after it.
        """
        frozen = self._frozen(epoch)
        names = [name for name, _ in self.model.named_parameters()]
        trains = [name in self.trainable and name not in frozen for name in names]
        reached = len(names) - trains.index(True) if any(trains) else 0
        return 1 + (WHOLE_STEP - 1) * reached / max(1, len(names))

    def _frozen(self, epoch: int) -> frozenset[str]:
        return self.at_first if epoch < self.first_epochs else self.always

    def describe(self) -> str:
        """Return how many of the network's parameters train, and when."""
        sizes = {name: p.numel() for name, p in self.model.named_parameters()}
        total = sum(sizes.values())
        later, first = (
            sum(sizes[name] for name in self.trainable - frozen)
            for frozen in (self.always, self.at_first)
        )
        text = f"{total / 1e6:.2f} M parameters"
        if later != total:
            text += f", of which {later:,} train"
        if self.first_epochs:
            epochs = "epoch" if self.first_epochs == 1 else count(self.first_epochs, "epoch")
            some = f"{first:,} train" if later == total else f"{first:,}"
            when = f"{some} in the first {epochs}"
            text += f", of which {when}" if later == total else f" ({when})"
        return text


def tensor_names(model: nn.Module) -> list[str]:
    """Return the names of a network's parameters and buffers."""
    return [name for name, _ in (*model.named_parameters(), *model.named_buffers())]


def _stay(self: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of `train` in a module that stays in evaluation mode."""
    return self


def _parents(name: str) -> list[str]:
    """Return the names of all modules that a tensor is in; that of the network is empty."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:length]) for length in range(len(parts) + 1)]
