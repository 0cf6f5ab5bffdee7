"""The page: one HTML file with its data, styles, program and charting library."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rednet.comparison.document import to_document
from rednet.comparison.run import Run
from rednet.errors import InputError
from rednet.versions import rednet_version

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
COMPACT = {"separators": (",", ":"), "allow_nan": False}
INSTALL = 'pip install "rednet[report]"'


def require_packages() -> None:
    """Check that the packages are installed which only this page needs.

    Raises:
        InputError: They are not.
    """
    for package in ("jinja2", "vl_convert"):
        try:
            __import__(package)
        except ImportError as error:
            raise InputError(f"report needs {package}: {INSTALL}") from error


def render(runs: Sequence[Run], now: datetime) -> str:
    """Return the page.

    Everything that comes from runs is in a block of JSON, which the program of the page writes
    into text nodes only. A policy in the page keeps browsers from loading anything.

    Args:
        runs: The runs, in the order of their names.
        now: Time to show.
    """
    library, version = charting_library()
    document = to_document(runs)
    template = _environment().get_template("page.html.j2")
    return template.render(
        series=document.pop("series"),
        document=document,
        number=len(runs),
        now=now.astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        version=rednet_version(),
        library=library,
        library_version=version,
    )


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    policies: dict[str, Any] = environment.policies
    policies["json.dumps_kwargs"] = COMPACT
    return environment


@cache
def charting_library() -> tuple[str, str]:
    """Return Vega as a script that defines `vega`, and its version."""
    import vl_convert

    version = vl_convert.get_vega_version()
    # Vega alone; its default bundle has Vega-Lite, too, which takes as long to load again.
    names = f'import {{ View, parse }} from "/npm/vega@{version}/+esm";'
    script: str = vl_convert.javascript_bundle(f"{names} globalThis.vega = {{ View, parse }};")
    # What would end the element of the script, or hide its end.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--"), version
