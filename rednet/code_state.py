"""Which code runs: the commit of its git checkout, and what has been changed since.

A checkout may come from anybody, and what its configuration names, git would run: monitors, filters
and programs that show differences. So the repository is only asked for its commit and its objects;
the files are compared in a new, empty repository that borrows these objects.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Timer
from typing import IO

from rednet.best_effort import reason_of

ROOT = Path(__file__).resolve().parents[1]
"""The folder of the package, which is a checkout if it holds ``.git``."""
TIMEOUT_S = 10.0
MAX_BYTES = 2**20
"""Size of the differences and of any other output of git."""
MAX_NEW_FILES = 200
MAX_NEW_BYTES = 2**18
"""Number, and size of each, of the files unknown to git whose text is kept."""
SOURCES = (".py", ".yaml", ".toml", ".cpp", ".h", ".cu", ".cuh", ".sh")
"""Suffixes of these files: others may be data."""
PLAIN = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.fileMode=false")
"""Git refuses another user's repository for what it would run; nothing of it is run here."""
SHA1_DIGITS = 40


class GitError(Exception):
    """Git cannot tell; the message says why."""


@dataclass(frozen=True)
class CodeState:
    """The state of a checkout.

    Attributes:
        commit: Hash of the commit; None if it is unknown.
        diff: What differs from the commit, as a patch, new source files included.
        is_cut: Whether the patch is only the beginning of a longer one.
        new_files: Files that git does not know, the first `MAX_NEW_FILES`.
        problem: Why something is unknown.
    """

    commit: str | None = None
    diff: bytes = b""
    is_cut: bool = False
    new_files: Sequence[str] = ()
    problem: str | None = None


@cache
def code_state() -> CodeState | None:
    """Return the state of the code of this process when it is first asked for."""
    return read_code_state(ROOT)


def read_code_state(root: Path, timeout_s: float = TIMEOUT_S) -> CodeState | None:
    """Return the state of a checkout; None if the folder is none.

    Args:
        root: The folder that holds ``.git``.
        timeout_s: How long git may take altogether, in seconds.
    """
    if not (root / ".git").exists():
        return None
    git, commit = Git(root, timeout_s), None
    try:
        commit = os.fsdecode(git.run("rev-parse", "--verify", "HEAD")).strip()
        objects = os.fsdecode(git.run("rev-parse", "--git-path", "objects")).removesuffix("\n")
        with tempfile.TemporaryDirectory(prefix="rednet-git-") as folder:
            git.borrow(Path(folder), root / objects, commit)
            new_files = _find_new(git, root)
            diff = git.run("diff", "--no-ext-diff", "--no-textconv", "--no-color", commit, cut=True)
    except GitError as error:
        return CodeState(commit, problem=str(error))
    except OSError as error:
        return CodeState(commit, problem=f"git cannot run: {reason_of(error)}")
    return CodeState(commit, diff[:MAX_BYTES], len(diff) > MAX_BYTES, new_files[:MAX_NEW_FILES])


def _find_new(git: "Git", root: Path) -> list[str]:
    """Return the files that git does not know; let the differences include those with source."""
    names = git.run("ls-files", "-z", "--others", "--exclude-standard", cut=True).split(b"\0")
    files = [os.fsdecode(name) for name in names[:-1]]
    sources = [name for name in files if name.endswith(SOURCES) and _is_small(root / name)]
    if sources:
        text = "\0".join(sources[:MAX_NEW_FILES])
        git.run(
            *("add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul"),
            text=os.fsencode(text),
        )
    return files


def _is_small(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_NEW_BYTES


class Git:
    """Runs git in a checkout, without the user's configuration, hooks, pagers and questions.

    Args:
        root: Folder of the checkout.
        timeout_s: How long all commands may take together, in seconds.
    """

    def __init__(self, root: Path, timeout_s: float) -> None:
        self.root, self._end = root, time.monotonic() + timeout_s
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        self._environment = {
            **inherited,
            "GIT_CEILING_DIRECTORIES": str(root.parent),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    def borrow(self, folder: Path, objects: Path, commit: str) -> None:
        """Go on in a new repository in a folder, with a commit of another one as its index."""
        kind = "sha1" if len(commit) == SHA1_DIGITS else "sha256"
        self.run("init", "-q", "--bare", "--template=", f"--object-format={kind}", str(folder))
        (folder / "objects/info/alternates").write_bytes(os.fsencode(objects.absolute()) + b"\n")
        self._environment |= {"GIT_DIR": str(folder), "GIT_WORK_TREE": str(self.root)}
        self.run("read-tree", commit)

    def run(self, *arguments: str, text: bytes = b"", cut: bool = False) -> bytes:
        """Run a command and return its output.

        Args:
            arguments: The command.
            text: Input of the command.
            cut: Whether an output longer than `MAX_BYTES` may be cut off behind the next byte.

        Raises:
            GitError: It fails, takes too long, or prints too much.
            OSError: It cannot be started.
        """
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
            given.write(text)
            given.seek(0)
            output, code = self._read(["git", *PLAIN, *arguments], given, errors)
            if len(output) > MAX_BYTES and cut:
                return output
            if len(output) > MAX_BYTES or code:
                errors.seek(0)
                raise GitError(self._explain(arguments[0], code, errors.read(1000)))
        return output

    def _read(self, command: list[str], given: IO[bytes], errors: IO[bytes]) -> tuple[bytes, int]:
        """Return the first bytes that a command prints, and its exit code."""
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=self._environment,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process:
            assert process.stdout is not None
            timer = Timer(max(0, self._end - time.monotonic()), process.kill)
            timer.start()
            try:
                output = process.stdout.read(MAX_BYTES + 1)
                if len(output) > MAX_BYTES:
                    process.kill()
                return output, process.wait()
            finally:
                timer.cancel()

    def _explain(self, command: str, code: int, errors: bytes) -> str:
        if time.monotonic() >= self._end:
            return f"git {command} takes too long"
        lines = errors.decode(errors="replace").strip().splitlines()
        return f"git {command}: {lines[0] if lines else f'ends with code {code}'}"
