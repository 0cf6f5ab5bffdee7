"""Check the packages: those that are needed, and the optional ones."""

import platform
import tomllib
from importlib import import_module, metadata
from typing import Any

from packaging.requirements import Requirement

from rednet.best_effort import reason_of
from rednet.doctor.report import Report
from rednet.versions import PYPROJECT, rednet_version

MAIN = ("torch", "torchvision", "timm")
"""Packages that are imported to see whether that works."""
PURPOSES = {
    "cuda12": "NVIDIA GPUs with a torch for CUDA 12",
    "cuda13": "NVIDIA GPUs with a torch for CUDA 13",
    "opencv": "data.interpolation=opencv and experiment=paper",
    "onnx": "export format=onnx",
    "cluster": "scripts/submit.py",
    "report": "scripts/report.py",
    "parquet": "data=csv with a parquet file",
    "huggingface": "data=huggingface",
    "webdataset": "data=webdataset",
    "wandb": "logger=wandb",
    "search": "search=optuna",
}
"""What an extra is for; those for developers are left out."""


def check_packages(report: Report) -> None:
    """Report the versions of needed packages, and which do not fit or cannot be imported."""
    report.add("rednet", f"{rednet_version()}, Python {platform.python_version()}")
    requirements = [each for each in _requirements() if _is_needed(each, "")]
    others = []
    for each in requirements:
        remedy = f'pip install "{each.name}{each.specifier}"'
        version = installed_version(each.name)
        if version is None:
            report.obstacles.append(f"{each.name} is missing: {remedy}")
        elif not each.specifier.contains(version, prereleases=True):
            needed = f"{each.name}{each.specifier}"
            report.problems.append(f"{each.name} {version}: rednet needs {needed}: {remedy}")
        elif each.name not in MAIN:
            others.append(f"{each.name} {version}")
    for name in MAIN:
        if installed_version(name) is not None:
            _check_import(name, report)
    report.add("other packages", ", ".join(others))


def _check_import(name: str, report: Report) -> None:
    try:
        module = import_module(name)
    except Exception as error:  # a broken library may raise anything
        report.obstacles.append(
            f"{name} cannot be imported ({reason_of(error)}): install torch and torchvision again, "
            "in versions that belong together"
        )
    else:
        report.add(name, str(getattr(module, "__version__", None) or installed_version(name)))


def check_extras(report: Report) -> None:
    """Report which optional packages are there, and how to install the others."""
    requirements = _requirements()
    for extra, purpose in PURPOSES.items():
        names = [each.name for each in requirements if _is_needed(each, extra)]
        if not names:  # the package was installed before it had the extra
            report.add(f"extra {extra}", "not known to this installation: install rednet again")
            continue
        found = {name: installed_version(name) for name in names}
        texts = [f"{name} {version}" for name, version in found.items() if version is not None]
        missing = [name for name, version in found.items() if version is None]
        if missing:
            texts.append(
                f'{", ".join(missing)} not installed: pip install "rednet[{extra}]" for {purpose}'
            )
        report.add(f"extra {extra}", "; ".join(texts))


def installed_version(name: str) -> str | None:
    """Return the version of an installed package, else None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[Requirement]:
    """Return what the installed package requires, else what the checkout does."""
    lines = metadata.requires("rednet") if installed_version("rednet") else None
    if lines is None:
        project = _project()
        extras = project.get("optional-dependencies", {})
        lines = [
            *project.get("dependencies", []),
            *(f"{each}; extra == '{extra}'" for extra in extras for each in extras[extra]),
        ]
    return [Requirement(line) for line in lines]


def _project() -> dict[str, Any]:
    try:
        return dict(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"])
    except (OSError, ValueError, KeyError):
        return {}


def _is_needed(requirement: Requirement, extra: str) -> bool:
    """Whether an extra, or the package itself ("") needs a package on this system."""
    marker = requirement.marker
    if extra and (marker is None or marker.evaluate({"extra": ""})):
        return False  # needed anyway
    return marker is None or marker.evaluate({"extra": extra})
