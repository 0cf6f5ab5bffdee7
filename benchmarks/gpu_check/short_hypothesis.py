"""A plugin of pytest: few examples, since most of them compile kernels."""

from hypothesis import settings

settings.register_profile("gpu_check", max_examples=8)
settings.load_profile("gpu_check")
