"""The kernel report: what the CUDA kernels need, found without a GPU."""
