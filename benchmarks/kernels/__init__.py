"""What the CUDA kernels are made of, read from their machine code on machines without a GPU."""
