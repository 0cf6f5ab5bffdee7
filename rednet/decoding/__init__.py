"""Parts of JPEG files, decoded to the pixels that Pillow gives."""

from rednet.decoding.jpeg import decode_jpeg, unavailable_reason

__all__ = ["decode_jpeg", "unavailable_reason"]
