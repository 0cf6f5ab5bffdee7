"""Networks made fast for inference on a CPU."""

from rednet.optimization.network import OptimizedNetwork, optimize

__all__ = ["OptimizedNetwork", "optimize"]
