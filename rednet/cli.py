"""The command line: Hydra's syntax and options, and one line for each mistake of the user."""

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, cast

import hydra

# Private, but hydra.main offers no other way to tell its options from the overrides.
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rednet.arguments import OneLineParser
from rednet.config import CONFIGS, SCHEMAS, Composition, compose_jobs, validate
from rednet.config.overrides import one_line
from rednet.config.sweeps import (
    Job,
    job_folder,
    make_sweep_folder,
    own_settings,
    share_folders,
)
from rednet.errors import InputError
from rednet.memory import explain, is_out_of_memory
from rednet.program import CLOSED_PIPE, DONE, WRONG_INPUT, report, run_program, say, unread_outputs
from rednet.versions import version_line

Command = Callable[[Any, frozenset[str]], None]
Conclude = Callable[[Sequence[Job], Path | None], None]
"""Reports the jobs of a sweep; the path is the sweep's folder, None if each job has another."""


@dataclass(frozen=True)
class CommandLine:
    """A command line whose configuration can be composed again, with further overrides.

    Attributes:
        name: Name of the command.
        overrides: Its overrides.
        options: Its options.
        compose_jobs: `rednet.config.compose_jobs` with its other arguments.
    """

    name: str
    overrides: list[str]
    options: list[str]
    compose_jobs: Callable[..., Composition]

    def compose(self, drawn: Sequence[str]) -> tuple[Any, frozenset[str]]:
        """Return the checked configuration and the keys that the user set.

        Args:
            drawn: Further overrides, which a search has drawn.
        """
        composition = self.compose_jobs(self.overrides, drawn=drawn)
        return validate(composition.configs[0], SCHEMAS[self.name]), composition.user_keys


Search = Callable[[Any, CommandLine], None]


def run(
    name: str,
    command: Command,
    argv: Sequence[str] | None = None,
    *,
    unused: Collection[str] = (),
    conclude: Conclude | None = None,
    search: Search | None = None,
) -> int:
    """Run a command with the configuration that its command line describes.

    Everything that Hydra's command line offers works, ``--multirun`` included. The whole command
    line is checked before anything runs; each mistake is one line on stderr.

    Args:
        name: Name of the command's schema in `rednet.config.SCHEMAS` and of its file in
            ``configs/``.
        command: Receives the checked configuration and the dotted keys that the user set, also by
            an experiment; a group choice such as ``model=rednet26`` counts as the group, "model".
        argv: Arguments; by default those of the process.
        unused: Dotted keys that have no effect on this command; setting one is a mistake.
        conclude: Reports the jobs of a sweep, which get a common folder.
        search: Runs instead of the command where the configuration has a search.

    Returns:
        The exit code, as `run_program` returns it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_program(lambda: _run(name, command, arguments, unused, conclude, search))


def _run(
    name: str,
    command: Command,
    argv: list[str],
    unused: Collection[str],
    conclude: Conclude | None,
    search: Search | None,
) -> int:
    argv = [_expand_home(text) for text in argv]
    arguments = _parser().parse_intermixed_args(argv)
    options = [text for text in argv if text not in arguments.overrides]
    if arguments.shell_completion:  # its arguments look like overrides but are none
        unchecked = Composition(arguments.overrides, frozenset(), frozenset(), [])
        return _run_hydra(name, command, unchecked, options)
    folders = _config_folders(arguments, name)
    compose = partial(
        compose_jobs, name, config_name=arguments.config_name, folders=folders, unused=unused
    )
    composition = compose(
        arguments.overrides,
        multirun=arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides,
        allow_missing=bool(arguments.help or arguments.cfg or arguments.info),
    )
    shows = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info
    if search is not None and composition.configs[0].get("search") and not shows:
        line = CommandLine(name, arguments.overrides, options, compose)
        search(validate(composition.configs[0], SCHEMAS[name]), line)
        return DONE
    if not options and not any(text.startswith("hydra") for text in composition.overrides):
        # Nothing is left for Hydra, which would compose the same configuration twice more.
        config = validate(composition.configs[0], SCHEMAS[name])
        call(command, config, composition.user_keys)
        return DONE
    options.append(f"--config-path={Path(folders[0]).absolute()}")  # the last one counts
    return _run_hydra(name, command, composition, options, conclude)


def call(command: Command, config: Any, user_keys: frozenset[str]) -> None:
    """Run a command; want of memory is a mistake of the user, who can ask for less."""
    try:
        command(config, user_keys)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        data = getattr(config, "data", None)
        sizes = () if data is None else (data.batch_size, data.num_workers or 0)
        raise InputError(explain(error, *sizes)) from error


def _expand_home(text: str) -> str:
    """Expand ``~`` in ``--config-dir=~/folder``, as a shell does in ``--config-dir ~/folder``."""
    option, equals, path = text.partition("=")
    is_path = option in ("--config-dir", "-cd", "--config-path", "-cp")
    return f"{option}{equals}{os.path.expanduser(path)}" if is_path else text


class _SettingsParser(OneLineParser):
    """A parser that also says how settings are written, where an option is unknown."""

    def error(self, message: str) -> NoReturn:
        # The programs that users know, such as timm's train.py, take every setting as an option.
        is_unknown = message.startswith("unrecognized arguments: ")
        hint = "; settings are written key=value, such as optimizer.lr=0.1" if is_unknown else ""
        super().error(f"{message}{hint}")


def _parser() -> OneLineParser:
    """Return Hydra's parser, whose ``--version`` prints our versions instead of Hydra's."""
    hydras = get_args_parser()
    parser = _SettingsParser(parents=[hydras], add_help=False, conflict_handler="resolve")
    parser.add_argument("--version", action="version", version=version_line())
    return parser


def _config_folders(arguments: Namespace, name: str) -> list[str | Path]:
    """Return the folders of configurations; the one with the primary configuration first."""
    folders = [arguments.config_path or CONFIGS]
    if arguments.config_dir:
        folders.append(arguments.config_dir)
    file = f"{arguments.config_name or name}.yaml"
    return sorted(folders, key=lambda folder: not Path(folder, file).is_file())


def _run_hydra(
    name: str,
    command: Command,
    composition: Composition,
    options: list[str],
    conclude: Conclude | None = None,
) -> int:
    """Let Hydra show what its options ask for, or run the command once per job."""
    failures: list[Exception] = []
    sweep = _Sweep(composition, has_folder=conclude is not None)

    def run_job(composed: DictConfig) -> None:
        try:
            plain = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
            is_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
            with sweep.job(plain) if is_sweep else nullcontext():
                call(command, validate(plain, SCHEMAS[name]), composition.user_keys)
        except BrokenPipeError:
            if unread_outputs():  # Hydra reports an Exception but not this one
                raise SystemExit(CLOSED_PIPE) from None
            raise
        except Exception as error:
            failures.append(error)
            if not isinstance(error, InputError):
                raise
            report(error)  # the next job still runs

    main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)
    argv, raise_exceptions = sys.argv, logging.raiseExceptions
    # With HYDRA_FULL_ERROR, Hydra raises exceptions instead of printing them and exiting with 1.
    with TemporaryDirectory() as folder, env_override({"HYDRA_FULL_ERROR": "1"}):
        # Hydra always writes a multirun.yaml; an override given by the user comes later and wins.
        logging.raiseExceptions = False  # --info logs; each record would report a closed pipe
        sys.argv = [argv[0], *options, f"hydra.sweep.dir='{folder}'", *composition.overrides]
        try:
            main(run_job)()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if error in failures:
                raise
            raise InputError(one_line(error)) from None
        finally:
            sys.argv, logging.raiseExceptions = argv, raise_exceptions
            if conclude is not None and sweep.jobs:
                conclude(sweep.jobs, sweep.folder)
    return WRONG_INPUT if failures else DONE


class _Sweep:
    """The jobs of a sweep.

    Args:
        composition: What all jobs are composed from.
        has_folder: Whether jobs without an output folder get subfolders of a new one.

    Attributes:
        jobs: Jobs that have started.
        folder: Folder of the sweep; None if the jobs' folders have nothing in common.
    """

    def __init__(self, composition: Composition, *, has_folder: bool) -> None:
        self.composition, self.has_folder = composition, has_folder
        self.jobs: list[Job] = []
        self.folder: Path | None = None
        self._shares_folder = share_folders(composition.configs)

    @contextmanager
    def job(self, plain: dict[str, Any]) -> Iterator[None]:
        """Announce a job, give it a folder that it does not share, and record how it ends."""
        settings = HydraConfig.get()
        overrides = list(settings.overrides.task)
        text = " ".join(override.lstrip("+") for override in overrides)
        say(f"job {settings.job.num}: {text}", ignore_closed_pipe=False)
        fixed = self.composition.fixed_keys
        if self._shares_folder and (folder := self._find_folder(plain)):
            plain["output_dir"] = job_folder(folder, overrides, fixed)
        job = Job(own_settings(overrides, fixed), plain.get("output_dir"))
        self.jobs.append(job)
        with job.running():
            yield

    def _find_folder(self, plain: dict[str, Any]) -> str | None:
        """Return the folder that the jobs are given, or make one."""
        given: str | None = plain.get("output_dir")
        if given is None and self.has_folder and len(self.composition.configs) > 1:
            given = str(self.folder or make_sweep_folder())
        if given is not None:
            self.folder = Path(given)
        return given
