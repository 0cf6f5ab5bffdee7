"""The benchmark: this machine's ceilings, the operator against unfold, RedNet against ResNet.

Speed is a ratio of contenders that take turns in one process, never a figure on its own.
"""
