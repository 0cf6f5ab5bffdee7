"""Where and how a run computes: device, precision, memory layout, and the processes beside it."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rednet.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4

AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
STORAGE_DTYPES = {"fp64": torch.float64}


@dataclass(frozen=True)
class Runtime:
    """Device, precision and place among the processes of a run.

    Attributes:
        device: Where tensors live.
        precision: "fp32", "bf16" or "fp16" (autocast over float32 weights), or "fp64" (everything
            in float64, for proofs).
        channels_last: Whether networks and images are laid out so.
        rank: Number of this process.
        world_size: How many processes there are.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    channels_last: bool = True
    rank: int = 0
    world_size: int = 1

    @property
    def is_primary(self) -> bool:
        """Whether this process writes the files and speaks to the user."""
        return self.rank == 0

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and images."""
        return STORAGE_DTYPES.get(self.precision, torch.float32)

    def autocast(self) -> torch.autocast:
        """The context in which networks run."""
        return torch.autocast(
            self.device.type,
            dtype=AUTOCAST_DTYPES.get(self.precision),
            enabled=self.precision in AUTOCAST_DTYPES,
        )

    def place(self, model: nn.Module) -> nn.Module:
        """Moves a network here, in our layout."""
        return model.to(self.device, self.dtype).to(memory_format=self._memory_format)

    def place_images(self, images: Tensor) -> Tensor:
        """Moves images (N, C, H, W) here, in our layout."""
        return images.to(
            self.device, self.dtype, non_blocking=True, memory_format=self._memory_format
        )

    @property
    def _memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """A picklable value of each process, by rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def from_primary(self, value: Any) -> Any:
        """The first process's value, for all."""
        return self.gather(value)[0]


@contextmanager
def start_runtime(device: str, precision: str, channels_last: bool) -> Iterator[Runtime]:
    """The runtime of this process, among the others if `torchrun` started it.

    Args:
        device: "auto" (a GPU if there is one), or as torch writes it.
        precision: As in `Runtime`.
        channels_last: As in `Runtime`.

    Raises:
        InputError: The device is not there.
    """
    rank, local_rank, world_size = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))
    )
    place = find_device(device, local_rank)
    if place.type == "cpu":
        keep_freed_memory()
    runtime = Runtime(place, precision, channels_last, rank, world_size)
    if world_size == 1:
        yield runtime
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield runtime
    finally:
        dist.destroy_process_group()


def set_numerics(*, deterministic: bool, tf32: bool) -> None:
    """Chooses algorithms for the whole process.

    Args:
        deterministic: Refuse operations that differ from run to run.
        tf32: Let GPUs round the factors of float32 products to 10 bits.
    """
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32


def keep_freed_memory() -> None:
    """Has the C library keep freed memory for the next tensor, where it is glibc.

    By default every tensor above 32 MB is new pages of the system, which cost several times the
    time of writing to them: the activations of one network and a batch of 16 reach that size.
    """
    if os.name != "posix":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def find_device(name: str, local_rank: int = 0) -> torch.device:
    """The device called `name`; each process of a machine gets a GPU of its own.

    Raises:
        InputError: It is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        return _find_accelerator(device)
    if device.index is None:
        device = torch.device("cuda", local_rank)
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or device.index >= count:
        raise InputError(
            f"trainer.device={name}: this machine has {count} CUDA devices; "
            "trainer.device=cpu runs anywhere"
        )
    torch.cuda.set_device(device)
    return device


def _find_accelerator(device: torch.device) -> torch.device:
    """An accelerator that is no CUDA device, if this torch and machine have it."""
    own = torch.accelerator.current_accelerator()
    count = torch.accelerator.device_count()
    if own is None or own.type != device.type or (device.index or 0) >= count:
        raise InputError(
            f"trainer.device={device}: not on this machine, or not in this build of torch; "
            "trainer.device=cpu runs anywhere"
        )
    return device
