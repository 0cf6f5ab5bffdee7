"""Layers: the involution, its kernel generators, convolutions and normalisation."""

from rednet.layers.conv import (
    ConvNormAct,
    LayerType,
    init_conv,
    make_act,
    make_norm,
)
from rednet.layers.generators import GENERATORS
from rednet.layers.involution import Involution2d
from rednet.layers.kernel_memory import RecomputeKernel
from rednet.layers.norm import norm_act
from rednet.layers.observers import is_bare
from rednet.layers.pointwise import PointwiseConv2d
from rednet.layers.recompute import checkpoint_module, may_checkpoint
from rednet.layers.repeatable import repeatable

__all__ = [
    "GENERATORS",
    "ConvNormAct",
    "Involution2d",
    "LayerType",
    "PointwiseConv2d",
    "RecomputeKernel",
    "checkpoint_module",
    "init_conv",
    "is_bare",
    "make_act",
    "make_norm",
    "may_checkpoint",
    "norm_act",
    "repeatable",
]
