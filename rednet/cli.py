"""The command line of the commands: Hydra's, with every mistake of the user in one line each."""

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import hydra
from hydra._internal.utils import get_args_parser  # hydra.main's own, which has no public name
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rednet.config import CONFIGS, SCHEMAS, ConfigError, Request, read, validate
from rednet.config.overrides import one_line
from rednet.errors import InputError

Command = Callable[[Any, frozenset[str]], None]

DONE = 0
WRONG_INPUT = 2
INTERRUPTED = 130


def run(
    name: str,
    command: Command,
    argv: Sequence[str] | None = None,
    *,
    unused: Collection[str] = (),
) -> int:
    """Runs a command on the configuration that its command line asks for.

    Everything that Hydra's command line offers works, ``--multirun`` included. The command line is
    checked as a whole before anything is run, and each mistake is one line on stderr.

    Args:
        name: of the command: its schema in `rednet.config.SCHEMAS`, its file in ``configs/``.
        command: gets the checked configuration and the dotted keys that the user typed, the group
            itself for a group's choice (``model=rednet26`` is "model").
        argv: the arguments; those of the process where None.
        unused: keys and groups that this command does nothing with: to type one is a mistake.

    Returns:
        The exit code: 0, 2 for what the user gave, 130 after an interrupt. Other exceptions pass.
    """
    try:
        return _run(name, command, list(sys.argv[1:] if argv is None else argv), unused)
    except InputError as error:
        return _report(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:  # argparse and Hydra leave this way after --help and its like
        if isinstance(stop.code, str):
            raise
        return stop.code or DONE


@dataclass
class _Jobs:
    """Hydra's task function: runs the command for each job and remembers how it went."""

    command: Command
    schema: type
    explicit_keys: frozenset[str] = frozenset()
    code: int = DONE
    bug: Exception | None = None

    def run(self, composed: DictConfig) -> None:
        try:
            _announce()
            plain = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
            self.command(validate(plain, self.schema), self.explicit_keys)
        except InputError as error:
            self.code = _report(error)
        except Exception as error:
            self.bug = error
            raise


def _run(name: str, command: Command, argv: list[str], unused: Collection[str]) -> int:
    arguments = get_args_parser().parse_intermixed_args(argv)
    jobs = _Jobs(command, SCHEMAS[name])
    if not (arguments.hydra_help or arguments.shell_completion or arguments.experimental_rerun):
        request = _checked(arguments, name, unused)
        jobs.explicit_keys = request.explicit_keys
        arguments.overrides = request.overrides
        arguments.config_dir = None  # among the overrides now, as hydra.searchpath
    with _multirun_folder(arguments) as overrides, _process(_flags(arguments) + overrides):
        try:
            hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(jobs.run)()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if error is jobs.bug:
                raise
            raise InputError(one_line(error)) from None
    return jobs.code


def _checked(arguments: Namespace, name: str, unused: Collection[str]) -> Request:
    _choose_folders(arguments, name)
    request = read(
        name,
        arguments.overrides,
        config_name=arguments.config_name,
        config_path=Path(arguments.config_path),
        config_dir=arguments.config_dir,
        multirun=_is_multirun(arguments),
        allow_missing=bool(arguments.help or arguments.cfg or arguments.info),
    )
    problems = [*request.problems, *_without_effect(request, unused)]
    if problems:
        raise ConfigError(problems)
    return request


def _choose_folders(arguments: Namespace, config_name: str) -> None:
    """Makes the folder of the primary configuration the main one, and paths absolute.

    The further folder then becomes a hydra.searchpath, where Hydra looks for no primary ones.
    """
    main, further = arguments.config_path or CONFIGS, arguments.config_dir
    name = f"{arguments.config_name or config_name}.yaml"
    if further and Path(further, name).is_file() and not Path(main, name).is_file():
        main, further = further, main
    arguments.config_path, arguments.config_dir = str(Path(main).absolute()), further


def _without_effect(request: Request, unused: Collection[str]) -> Iterator[str]:
    """No setting is silently ignored: what the user typed must do something."""
    for key in sorted(request.explicit_keys):
        if any(f"{key}.".startswith(f"{name}.") for name in unused):
            yield f"{key}: this command does not use it"
    for schedule in (config.get("schedule") or {} for config in request.configs):
        for name in ("milestones", "gamma"):
            is_explicit = (
                f"schedule.{name}" in request.explicit_keys and schedule.get(name) is not None
            )
            if is_explicit and schedule.get("name") != "step":
                yield f"schedule.{name}: only schedule=step uses it"


def _is_multirun(arguments: Namespace) -> bool:
    return arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides


@contextmanager
def _multirun_folder(arguments: Namespace) -> Iterator[list[str]]:
    """The overrides, with a folder that goes away for the multirun.yaml that Hydra must write."""
    is_explicit = any(text.startswith("hydra.sweep.dir=") for text in arguments.overrides)
    is_needed = _is_multirun(arguments) and not is_explicit
    with tempfile.TemporaryDirectory() if is_needed else nullcontext() as folder:
        extra = [f"hydra.sweep.dir='{folder}'"] if folder else []
        yield [*arguments.overrides, *extra]


def _flags(arguments: Namespace) -> list[str]:
    """Hydra's own options as they were given, without the overrides."""
    flags = []
    for name, value in vars(arguments).items():
        if name != "overrides" and value:
            flag = f"--{name.replace('_', '-')}"
            flags.append(flag if value is True else f"{flag}={value}")
    return flags


@contextmanager
def _process(argv: list[str]) -> Iterator[None]:
    """What hydra.main takes from the process: its arguments, and leave to let exceptions pass."""
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [sys.argv[0], *argv]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before[0]
        if before[1] is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[1]


def _announce() -> None:
    settings = HydraConfig.get()
    if settings.mode == RunMode.MULTIRUN:
        overrides = " ".join(text.lstrip("+") for text in settings.overrides.task)
        print(f"job {settings.job.num}: {overrides}", flush=True)


def _report(error: InputError) -> int:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return WRONG_INPUT
