"""Version of the package, also where it is used without being installed."""

import tomllib
from importlib import metadata
from pathlib import Path

UNKNOWN = "0+unknown"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def rednet_version() -> str:
    """Return the installed version, else that of the checkout, else "0+unknown"."""
    try:
        return metadata.version("rednet")
    except metadata.PackageNotFoundError:
        return _checkout_version()


def version_line() -> str:
    """Return the versions of rednet and torch, as ``--version`` prints them, without torch."""
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "not installed"
    return f"rednet {rednet_version()}, torch {torch}"


def _checkout_version() -> str:
    """Return the version in the pyproject.toml next to the package, if that is ours."""
    try:
        project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return UNKNOWN
    return str(project.get("version", UNKNOWN)) if project.get("name") == "rednet" else UNKNOWN
