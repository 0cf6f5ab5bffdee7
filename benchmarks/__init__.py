"""Benchmarks: the machine's ceilings, the operator against unfold, RedNet against ResNet.

Speed is always a ratio between contenders that take turns in one process.
"""
