"""What only an NVIDIA GPU gains from: fewer kernels, and those of cuDNN."""
