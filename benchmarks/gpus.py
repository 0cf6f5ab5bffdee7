"""GPUs as their datasheets describe them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """A GPU's datasheet.

    Attributes:
        name: Name of the product.
        device_name: Name that torch reports.
        arch: Compute capability without the point.
        bandwidth: Bandwidth of device memory in bytes per second.
        flops: Operations per second in float32, without tensor cores.
        flops64: Operations per second in float64, without tensor cores.
        multiprocessors: Number of multiprocessors.
        clock: Boost clock in Hz.
    """

    name: str
    device_name: str
    arch: int
    bandwidth: float
    flops: float
    flops64: float
    multiprocessors: int
    clock: float


GPUS = (
    Gpu("A100 SXM 40 GB", "NVIDIA A100-SXM4-40GB", 80, 1555e9, 19.5e12, 9.7e12, 108, 1.41e9),
    Gpu("A100 SXM 80 GB", "NVIDIA A100-SXM4-80GB", 80, 2039e9, 19.5e12, 9.7e12, 108, 1.41e9),
    Gpu("H100 SXM", "NVIDIA H100 80GB HBM3", 90, 3350e9, 66.9e12, 33.5e12, 132, 1.98e9),
    Gpu("H200 SXM", "NVIDIA H200", 90, 4800e9, 66.9e12, 33.5e12, 132, 1.98e9),
)
"""Figures from NVIDIA's datasheets and whitepapers of the A100, the H100 and the H200."""
