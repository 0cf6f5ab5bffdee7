"""Check the validation images before the first epoch, not after it."""

from collections.abc import Mapping
from typing import Any

from rednet.config import Data
from rednet.data import ImageSource, make_check
from rednet.data.loading import default_num_workers
from rednet.errors import InputError
from rednet.evaluation import LoadingError, describe_unreadable
from rednet.program import say, working
from rednet.runtime import Runtime

MODES = ("none", "headers", "full")
"""Values of `data.check`, each of which finds all that the earlier ones do."""


def is_checked(checkpoint: Mapping[str, Any], description: Mapping[str, Any]) -> bool:
    """Return whether a run that is resumed has checked the same images as thoroughly.

    Args:
        checkpoint: Content of the run's checkpoint.
        description: Description of the run that continues it.
    """
    before, now = (state.get("checked", "none") for state in (checkpoint, description))
    images, same = (dict(state.get("data") or {}).get("val") for state in (checkpoint, description))
    return images == same and MODES.index(now) <= MODES.index(before)


def check_validation(source: ImageSource, data: Data, runtime: Runtime) -> None:
    """Look for validation images that cannot be read; the processes share the work.

    Raises:
        InputError: There are some, and `data.on_unreadable` is not "skip".
    """
    if data.check == "none":
        return
    unreadable: list[tuple[str, str]] = []
    failure = ""
    loader = make_check(
        source,
        full=data.check == "full",
        rank=runtime.rank,
        world_size=runtime.world_size,
        num_workers=default_num_workers() if data.num_workers is None else data.num_workers,
        timeout=data.timeout,
        max_restarts=data.max_worker_restarts,
    )
    what = f"checking {len(source)} validation images (data.check={data.check})"
    with working(what), loader:
        for batch in loader:
            unreadable += batch.unreadable
            failure = batch.failure
    found = runtime.gather((unreadable, failure))
    if failures := [text for _, text in found if text]:
        raise LoadingError(failures[0])
    _require_readable([image for images, _ in found for image in images], data, runtime)


def _require_readable(unreadable: list[tuple[str, str]], data: Data, runtime: Runtime) -> None:
    if not unreadable:
        return
    line = f"before the first epoch: {describe_unreadable(unreadable)}"
    if data.on_unreadable == "error":
        raise InputError(
            f"{line}; repair or remove them, or evaluate without them by data.on_unreadable=skip"
        )
    if runtime.is_primary:
        say(f"warning: {line}; evaluations leave them out (data.on_unreadable=skip)")
