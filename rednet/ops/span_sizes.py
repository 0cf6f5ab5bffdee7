"""The sizes of a layer whose involution and span are one operator."""

from dataclasses import dataclass

from rednet.ops.window import Window


@dataclass(frozen=True)
class SpanSizes:
    """What a layer knows of an involution and its span before it sees an image.

    Attributes:
        channels: Channels C of the images.
        groups: Groups G, a divisor of C.
        reduced_channels: Channels D of the images from which the span makes the kernels.
        window: Window of the involution.
    """

    channels: int
    groups: int
    reduced_channels: int
    window: Window
