"""The CUDA kernels as one text: NVRTC gets no folder in which to look for headers."""

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "kernels" / "cuda"
ENTRY = "involution.cu"
DEVICE = "device.cuh"

_INCLUDE = re.compile(r'\s*#\s*include\s+"(.+)"')
_PRAGMA_ONCE = re.compile(r"\s*#\s*pragma\s+once\b")


@cache
def source(device: str | None = None) -> str:
    """Return the text of `kernels/cuda/involution.cu` with its includes replaced by their text.

    Args:
        device: Text that replaces `device.cuh`, which holds everything that only a GPU can run.
    """
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    if device is not None:
        texts[DEVICE] = device
    return _join(ENTRY, texts, set())


def _join(name: str, texts: dict[str, str], joined: set[str]) -> str:
    """Return the text of a file, each include that is not yet in `joined` replaced by its text."""
    joined.add(name)
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(texts[name].splitlines(), start=1):
        if match := _INCLUDE.match(line):
            included = match[1]
            line = ""
            if included not in joined:
                line = f'{_join(included, texts, joined)}\n#line {number + 1} "{name}"'
        elif _PRAGMA_ONCE.match(line):
            line = ""  # compilers warn of it in a main file, which the joined text is
        lines.append(line)
    return "\n".join(lines)
