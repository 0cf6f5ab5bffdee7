"""Weights & Biases, offline unless the environment asks for more (https://docs.wandb.ai).

Offline, rows lie in the run's folder, without an account; ``wandb sync`` uploads them.
"""

import json
import os
import secrets
from collections import defaultdict, deque
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from rednet.errors import InputError
from rednet.files import write_text_atomically
from rednet.loggers.interface import MAX_PENDING, Setting

PROJECT = "rednet"
STEP = "global_step"
"""What the charts are drawn over: W&B's own step counts rows and cannot go back."""


class WandbRun:
    """Hands rows to W&B's process with each flush.

    W&B takes no row back. So rows wait until the steps that they belong to are saved, and what an
    earlier start has handed over is not handed over again: it had the same values.

    Args:
        folder: Folder of the run.
        first_step: First step that this start reports.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self.folder, self.first_step = folder, first_step
        self.state = folder / "wandb" / "rednet.json"
        self._pending: deque[tuple[int, str, Any]] = deque(maxlen=MAX_PENDING)
        self._texts: dict[str, str] = {}
        self._settings: dict[str, Setting] = {}
        self._metric = ""
        self._run: Any = None
        self._id, self._num_rows, self._last_step, self._known_step = "", 0, 0, 0

    @property
    def place(self) -> str:
        """Folder of W&B's files."""
        return str(self.state.parent)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Keep the value of each tag until the next flush."""
        self._pending.extend((step, tag, float(value)) for tag, value in values.items())

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Keep an image until the next flush."""
        self._pending.append((step, tag, image))

    def text(self, tag: str, text: str, step: int) -> None:
        """Keep a text for the summary of the run."""
        self._texts[tag] = text

    def hparams(self, settings: Mapping[str, Setting], metric: str, step: int) -> None:
        """Keep the settings for the run's table."""
        self._settings, self._metric = dict(settings), metric

    def flush(self) -> None:
        """Hand all rows to W&B's process, which writes them.

        Raises:
            Exception: W&B does not take them; they are kept for the next call.
        """
        if self._run is None:
            self._run = self._start()
        rows: dict[int, dict[str, Any]] = defaultdict(dict)
        for step, tag, value in self._pending:
            if step > self._known_step:
                rows[step][tag] = value
        for step, row in rows.items():
            self._hand_over(step, row)
        self._pending.clear()
        self._remember()

    def close(self) -> None:
        """Flush, and wait for W&B's process to write all.

        Raises:
            Exception: W&B does not take the rows, or cannot be ended.
        """
        try:
            self.flush()
        finally:
            run, self._run = self._run, None
            if run is not None:
                run.finish()

    def _start(self) -> Any:
        """Start W&B's run, or continue that of the folder."""
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        if mode == "offline":  # nor does a fault of W&B's own reach its makers
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._recall()
        # Git, packages and machine are in provenance.jsonl.
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self.folder.resolve().name,
            id=self._id,
            dir=str(self.folder.resolve()),  # its process may be in another folder
            mode=mode,
            resume=None if mode == "offline" else "allow",
            config=self._settings,
            settings=quiet,
        )
        run.define_metric("*", step_metric=STEP)
        run.define_metric(self._metric or "*", step_metric=STEP, summary="max")
        run.summary.update(self._texts)
        return run

    def _hand_over(self, step: int, row: Mapping[str, Any]) -> None:
        import wandb

        images = {tag: wandb.Image(v) for tag, v in row.items() if isinstance(v, Image.Image)}
        self._run.log({**row, **images, STEP: step}, step=self._num_rows, commit=True)
        self._num_rows += 1
        self._last_step = max(self._last_step, step)

    def _recall(self) -> None:
        """Read which run the folder has, and up to which step it was handed over."""
        try:
            state = json.loads(self.state.read_text())
            self._id, self._num_rows = str(state["id"]), int(state["rows"])
            self._last_step = self._known_step = int(state["step"])
        except (OSError, ValueError, KeyError, TypeError):
            self._id = self._id or secrets.token_hex(4)

    def _remember(self) -> None:
        state = {"id": self._id, "rows": self._num_rows, "step": self._last_step}
        text = json.dumps(state) + "\n"
        if not (self.state.is_file() and self.state.read_text() == text):
            write_text_atomically(self.state, text)


def require_wandb() -> None:
    """Check that W&B is installed; a folder of that name, as it makes them, is not enough.

    Raises:
        InputError: It is not.
    """
    spec = find_spec("wandb")
    if spec is None or spec.origin is None:
        raise InputError('logger: wandb is missing: pip install "rednet[wandb]"')
