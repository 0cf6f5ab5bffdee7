"""Device, precision, memory layout and processes of a run."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.ranks.group import join_ranks
from rednet.ranks.meeting import Place
from rednet.ranks.pulse import PULSE
from rednet.wording import count

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4

AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
STORAGE_DTYPES = {"fp64": torch.float64}

T = TypeVar("T")
Normalize = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Runtime:
    """How and where this process of a run computes.

    Attributes:
        device: Device of the network and the images.
        precision: "fp32", "bf16" or "fp16" (autocast with float32 weights), or "fp64" (everything
            in float64, for numerical checks).
        channels_last: Whether networks and images use the channels_last memory format.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    channels_last: bool = True
    rank: int = 0
    world_size: int = 1

    @property
    def is_primary(self) -> bool:
        """Whether this process writes the files and prints the messages."""
        return self.rank == 0

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of weights and images."""
        return STORAGE_DTYPES.get(self.precision, torch.float32)

    def autocast(self) -> torch.autocast:
        """Return the context in which to run a network."""
        return torch.autocast(
            self.device.type,
            dtype=AUTOCAST_DTYPES.get(self.precision),
            enabled=self.precision in AUTOCAST_DTYPES,
        )

    def place(self, model: nn.Module) -> nn.Module:
        """Move a network to the device, with the run's dtype and memory format."""
        return model.to(self.device, self.dtype).to(memory_format=self._memory_format)

    def place_images(self, images: Tensor, normalize: Normalize | None = None) -> Tensor:
        """Move images (N, C, H, W) to the device, with the run's dtype and memory format.

        Args:
            images: The images.
            normalize: Applied on the device, to images that are still pixels; None if they are not.

        Raises:
            TypeError: Images are pixels of 8 bits, and `normalize` is None.
        """
        if normalize is None and images.dtype == torch.uint8:
            raise TypeError("pixels of 8 bits need their batch's normalization")
        if normalize is not None:
            images = normalize(images.to(self.device, non_blocking=True))
        return images.to(
            self.device, self.dtype, non_blocking=True, memory_format=self._memory_format
        )

    @property
    def _memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place, and return it."""
        if self.world_size > 1:
            with PULSE.waiting():
                dist.all_reduce(values)
        return values

    def max(self, values: Tensor) -> Tensor:
        """Take the maximum of a tensor over all processes, in place, and return it."""
        if self.world_size > 1:
            with PULSE.waiting():
                dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def copy_from_primary(self, values: Tensor) -> None:
        """Overwrite a tensor with that of the primary process."""
        if self.world_size > 1:
            with PULSE.waiting():
                dist.broadcast(values, 0)

    def gather(self, value: Any) -> list[Any]:
        """Return the picklable values of all processes, by rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        with PULSE.waiting():
            dist.all_gather_object(values, value)
        return values

    def from_primary(self, value: Any) -> Any:
        """Return the picklable value of the primary process, on all processes."""
        if self.world_size == 1:
            return value
        values = [value if self.is_primary else None]
        with PULSE.waiting():
            dist.broadcast_object_list(values)
        return values[0]

    def on_primary(self, function: Callable[[], T]) -> T:
        """Call a function on the primary process only; return its picklable value on all.

        An error on the primary process is raised on all of them, so that none waits for the others
        for ever: an `InputError` as it is, any other on the other processes as a `RuntimeError`.
        """
        if self.world_size == 1:
            return function()
        value: T | None = None
        error: Exception | None = None
        if self.is_primary:
            try:
                value = function()
            except Exception as raised:
                error = raised
        value, is_input_error, message = self.from_primary(
            (value, isinstance(error, InputError), str(error) if error else None)
        )
        if error is not None:
            raise error
        if message is not None:
            raise (
                InputError(*message.split("\n"))
                if is_input_error
                else RuntimeError(f"rank 0: {message}")
            )
        return cast(T, value)


@contextmanager
def start_runtime(
    device: str, precision: str, channels_last: bool, timeout_s: float = 600.0
) -> Iterator[Runtime]:
    """Set up the runtime of this process, and the process group if `torchrun` started it.

    Args:
        device: "auto" (a GPU if there is one, else the CPU), or the name of a torch device.
        precision: See `Runtime`.
        channels_last: See `Runtime`.
        timeout_s: How long a rank may stand still before the run ends on all ranks, in seconds.

    Raises:
        InputError: The device is not available.
        StartAgain: Another rank is missing.
    """
    place = Place.find()
    found = find_device(device, place.local_rank)
    if found.type == "cpu":
        keep_freed_memory()
    runtime = Runtime(found, precision, channels_last, place.rank, place.world_size)
    if place.world_size == 1:
        yield runtime
        return
    with join_ranks(place, "nccl" if found.type == "cuda" else "gloo", timeout_s):
        yield runtime


def set_numerics(*, deterministic: bool, tf32: bool) -> None:
    """Set the process-wide options of torch's algorithms.

    Args:
        deterministic: Use deterministic algorithms, and raise an error where there is none.
        tf32: Let GPUs multiply float32 tensors in TF32, which has 10 bits of mantissa.
    """
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory instead of returning it to the system.

    By default every tensor above 32 MB gets new pages, which cost several times the time of writing
    to them. The activations of RedNet-50 with a batch of 16 reach that size.
    """
    if os.name != "posix":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def find_device(name: str, local_rank: int = 0, key: str = "trainer.device") -> torch.device:
    """Return the device called `name`; "cuda" is the GPU with the index `local_rank`.

    Args:
        name: Name of the device.
        local_rank: Rank of this process on this machine.
        key: What the user calls the setting, for error messages.

    Raises:
        InputError: The device is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        return _find_accelerator(device, key)
    if device.index is None:
        device = torch.device("cuda", local_rank)
    devices = torch.cuda.device_count()
    if not torch.cuda.is_available() or device.index >= devices:
        raise InputError(
            f"{key}={name}: this machine has {count(devices, 'CUDA device')}; "
            f"{key}=cpu works everywhere"
        )
    torch.cuda.set_device(device)
    return device


def _find_accelerator(device: torch.device, key: str) -> torch.device:
    """Return an accelerator other than a CUDA device, if it is available."""
    available = torch.accelerator.current_accelerator()
    devices = torch.accelerator.device_count()
    if available is None or available.type != device.type or (device.index or 0) >= devices:
        raise InputError(
            f"{key}={device}: not available on this machine or in this build of torch; "
            f"{key}=cpu works everywhere"
        )
    return device
