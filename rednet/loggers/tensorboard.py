"""Event files for TensorBoard that survive a crash, an error and a new clock.

The writer of TensorBoard's package names its files by the clock, and has a thread that dies of its
first error. Only its record format is used here.
"""

import io
import os
import re
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from rednet.loggers.interface import MAX_PENDING, Setting

FILE_NAME = re.compile(r"events\.out\.tfevents\.([0-9]+)\..*")
RGB = 3
"""Colour space in the record of an image: red, green and blue."""


class TensorBoard:
    """Writes to an event file, and to a new one after an error.

    Each file begins with a step from which on it replaces the points of the files before it.

    Args:
        folder: Folder of the event files.
        first_step: Points of this and of later steps that earlier files have are replaced.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self.folder, self.first_step = folder, first_step
        self._pending: deque[Event] = deque(maxlen=MAX_PENDING)  # since the last flush
        self._file: BinaryIO | None = None
        self._path = folder
        # A clock that is set during the run must not move its points.
        self._clock_offset = time.time() - time.monotonic()

    @property
    def place(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write a point for each tag; what cannot be written is left to `flush`."""
        self._add([Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()], step)

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Write an image as JPEG, of which TensorBoard keeps ten for a tag."""
        content = io.BytesIO()
        image.save(content, "JPEG", quality=92, subsampling=0)
        size = {"width": image.width, "height": image.height, "colorspace": RGB}
        record = Summary.Image(encoded_image_string=content.getvalue(), **size)
        self._add([Summary.Value(tag=tag, image=record)], step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Write a text as it is: TensorBoard shows Markdown, in which indented lines are code."""
        lines = (f"    {line}" for line in text.splitlines())
        tensor = TensorProto(
            dtype=DT_STRING,
            string_val=["\n".join(lines).encode(errors="replace")],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        metadata = create_summary_metadata(display_name="", description="")
        value = Summary.Value(tag=f"{tag}/text_summary", tensor=tensor, metadata=metadata)
        self._add([value], step)

    def hparams(self, settings: Mapping[str, Setting], metric: str, step: int) -> None:
        """Write what the HPARAMS tab shows: the settings, and the tag to compare runs by."""
        from torch.utils.tensorboard.summary import hparams

        summaries = hparams(dict(settings), {metric: None})
        self._add([value for summary in summaries for value in summary.value], step)

    def flush(self) -> None:
        """Bring all points to the disk, those that could not be written before included.

        Raises:
            OSError: The file cannot be written; the points are kept for the next call.
        """
        if not self._path.exists():  # deleted with the run's folder
            self._abandon()
        if self._file is None:
            self._open()
        self._write((), sync=True)
        if self._pending:
            self.first_step = self._pending[-1].step + 1
        self._pending.clear()

    def close(self) -> None:
        """Flush, and close the file.

        Raises:
            OSError: The points since the last flush cannot be written.
        """
        try:
            self.flush()
        finally:
            self._abandon()

    def _add(self, values: Iterable[Summary.Value], step: int) -> None:
        events = [self._event(step, summary=Summary(value=[value])) for value in values]
        self._pending.extend(events)
        if self._file is not None:
            with suppress(OSError):
                self._write(events)

    def _event(self, step: int, **content: object) -> Event:
        return Event(wall_time=self._clock_offset + time.monotonic(), step=step, **content)

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / next_file_name(path.name for path in self.folder.iterdir())
        self._file = self._path.open("xb")
        # The version makes readers heed the session's start.
        version = self._event(self.first_step, file_version="brain.Event:2")
        start = self._event(self.first_step, session_log=SessionLog(status=SessionLog.START))
        try:
            self._write([version, start, *self._pending])
        except BaseException:
            with suppress(OSError):
                self._path.unlink()
            raise

    def _write(self, events: Iterable[Event], *, sync: bool = False) -> None:
        assert self._file is not None
        try:
            writer = RecordWriter(self._file)
            for event in events:
                writer.write(event.SerializeToString())
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Close the file, which may end in half a record: readers go on to the next file."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # it still buffers what could not be written
                file.close()


def next_file_name(existing: Iterable[str]) -> str:
    """Return the name of a new event file, which sorts behind those that exist.

    TensorBoard reads the files in the order of their names, which begin with the time in seconds.
    After a start in the same second, or of a clock that went back, the name is ahead of the clock.

    Args:
        existing: Names of the files in the folder.
    """
    now = f"{max(0, int(time.time())):010d}"
    last = max((match[1] for name in existing if (match := FILE_NAME.match(name))), default="")
    if last >= now:
        now = f"{int(last) + 1:0{len(last)}d}"
    return f"events.out.tfevents.{now}.{socket.gethostname()}.{os.getpid()}"
