"""The text of the CUDA kernels, one for all: NVRTC is given no folder to look into."""

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "kernels" / "cuda"
ENTRY = "involution.cu"
DEVICE = "device.cuh"

_INCLUDE = re.compile(r'\s*#\s*include\s+"(.+)"')


@cache
def source(device: str | None = None) -> str:
    """The text of `kernels/cuda/involution.cu` with the files that it includes in place.

    Args:
        device: What stands in for `device.cuh`, which holds all that only a GPU can run.
    """
    return _joined(ENTRY, {} if device is None else {DEVICE: device})


def _joined(name: str, replaced: dict[str, str]) -> str:
    text = replaced.get(name) or (FOLDER / name).read_text(encoding="utf-8")
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _INCLUDE.match(line):
            line = f'{_joined(match[1], replaced)}\n#line {number + 1} "{name}"'
        lines.append(line)
    return "\n".join(lines)
