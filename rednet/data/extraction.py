"""Extract the images of a tar file to folders; an interrupted extraction is continued."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rednet.data.tar_images import TarImages
from rednet.errors import InputError
from rednet.program import say
from rednet.wording import count


def extract(source: TarImages, folder: Path) -> None:
    """Write the images that are not there yet with their full size.

    Raises:
        InputError: The disk is too small or cannot be written.
    """
    names = [name.decode(errors="surrogateescape") for name in source.relative_names.tolist()]
    missing = [index for index in range(len(source)) if not _is_done(source, folder, names, index)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob("*/.*.partial"):
            partial.unlink()
        needed, free = int(source.sizes[missing].sum()), shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{folder} has {free / 1e9:.1f} GB left of the {needed / 1e9:.1f} needed"
            )
        # In the order of the tar, which is the fastest to read.
        missing.sort(key=source.offsets.__getitem__)
        bar = tqdm(missing, f"extracting to {folder}", unit="images", mininterval=1, leave=False)
        for number in bar:
            path = folder / names[number]
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(source.read_bytes(number))
            partial.replace(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    say(f"{folder}: {count(len(missing), 'image')} extracted, {len(source) - len(missing)} before")


def _is_done(source: TarImages, folder: Path, names: Sequence[str], index: int) -> bool:
    try:
        return os.stat(folder / names[index]).st_size == source.sizes[index]
    except OSError:
        return False
