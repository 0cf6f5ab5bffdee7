"""Run one stage: the program of a stage's process."""

import importlib
import json
import sys
from typing import Any

from benchmarks.gpu_check.stages import Settings, all_stages


def main() -> None:
    """Run the stage that the arguments name; rows are appended to a file as they come."""
    name, rows, settings = sys.argv[1], sys.argv[2], Settings(**json.loads(sys.argv[3]))
    stage = next(stage for stage in all_stages() if stage.name == name)

    def emit(line: str | None, **values: Any) -> None:
        with open(rows, "a", encoding="utf-8") as file:
            file.write(json.dumps({"line": line, **values}) + "\n")

    module = importlib.import_module(f"benchmarks.gpu_check.{stage.module}")
    module.run(settings, emit, **stage.options)


if __name__ == "__main__":
    main()
