"""Run code in a Python that has imported torch and torchvision and nothing else.

Importing torch takes seconds. One process does it, and every piece of code runs in a fork of it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

SERVER = """
import gc, json, os, sys, traceback
import torch, torchvision

gc.freeze()  # The garbage collector of a fork would copy the memory that it shares.

for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(request["outputs"][stream - 1], os.O_WRONLY | os.O_CREAT), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        status = 1
        try:
            exec(compile(request["code"], "<fresh python>", "exec"), {"__name__": "__main__"})
            status = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # An orderly end of a process with torch takes as long as its imports.
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class FreshPython:
    """A process with torch, which forks for each run.

    Args:
        folder: Holds the outputs of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.outputs = [folder / name for name in ("stdout", "stderr")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], **pipes)

    def close(self) -> None:
        """Kill the process; data loading workers may hold its pipes and keep its input open."""
        with self.process:
            self.process.kill()

    def __call__(self, code: str, **variables: str | None) -> str:
        """Run code like `python -c` in the current folder, and return what it prints.

        What torch reads when it is imported, such as OMP_NUM_THREADS, is as in this process.

        Args:
            code: What to run.
            variables: Changes of the environment; None removes a variable.
        """
        environment = {**os.environ, **variables}
        request = {
            "code": code,
            "environment": {key: text for key, text in environment.items() if text is not None},
            "folder": os.getcwd(),
            "outputs": list(map(str, self.outputs)),
        }
        for path in self.outputs:
            path.unlink(missing_ok=True)
        print(json.dumps(request), file=self.process.stdin, flush=True)
        status = self.process.stdout.readline().strip()
        stdout, stderr = (path.read_text() for path in self.outputs)
        assert status == "0", stdout + stderr
        return stdout
