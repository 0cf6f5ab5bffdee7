"""Print the lower bound of each dependency in pyproject.toml as a constraint for pip."""

import re
import tomllib
from pathlib import Path


def floors(project: dict) -> list[str]:
    """Return "name==version" for each requirement "name>=version"."""
    extras = project["optional-dependencies"]
    names = [*extras["test"][0].removeprefix("rednet[").rstrip("]").split(","), "cuda13", "test"]
    tested = [item for name in names for item in extras[name]]
    requirements = project["dependencies"] + tested
    found = (re.match(r"([\w.-]+)>=([\w.]+)", requirement) for requirement in requirements)
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text()
    print(*floors(tomllib.loads(text)["project"]), sep="\n")
