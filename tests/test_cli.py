import logging
import operator
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from rednet.cli import run
from rednet.config import Config
from rednet.errors import InputError

PROGRAM = """
import sys
from rednet.cli import run

def command(config, explicit_keys):
    print(config.model.name, config.optimizer.lr)
    if config.seed == 1:
        raise RuntimeError("a bug")

if __name__ == "__main__":
    code = run("train", command)
    heavy = {"torch", "timm", "numpy"} & set(sys.modules)
    sys.exit(f"imported: {heavy}" if heavy else code)
"""


class Recorder:
    """A command that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Config, frozenset[str]]] = []

    def __call__(self, config: Config, explicit_keys: frozenset[str]) -> None:
        self.calls.append((config, explicit_keys))

    @property
    def config(self) -> Config:
        (call,) = self.calls
        return call[0]

    @property
    def explicit_keys(self) -> frozenset[str]:
        (call,) = self.calls
        return call[1]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMAGENET_ROOT", raising=False)
    return Recorder()


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_the_command_gets_the_configuration_and_the_explicit_keys(command: Recorder) -> None:
    argv = ["model=rednet26", "optimizer.lr=0.5", "model.options={width: 0.5}", "data.root=a b"]
    assert run("train", command, argv) == 0
    assert command.config.model.options == {"width": 0.5}
    assert (command.config.optimizer.lr, command.config.data.root) == (0.5, "a b")
    assert command.explicit_keys == {"model", "optimizer.lr", "model.options.width", "data.root"}


def test_no_explicit_keys(command: Recorder) -> None:
    assert run("evaluate", command, []) == 0
    assert command.explicit_keys == frozenset()
    assert command.config.model is None


def test_a_plain_run_and_one_through_hydra_are_the_same(command: Recorder) -> None:
    argv = ["experiment=smoke", "+model.options.stem=conv7", "++seed=3", "~model.options.width"]
    assert run("train", command, argv) == 0
    assert run("train", command, [*argv, "--run"]) == 0
    plain, hydra = command.calls
    assert plain == hydra


def test_hydra_leaves_folder_arguments_environment_and_logging_alone(
    command: Recorder, tmp_path: Path
) -> None:
    before = (Path.cwd(), list(sys.argv), dict(os.environ))
    handlers = (list(logging.root.handlers), logging.root.level)
    assert run("train", command, []) == 0
    assert run("train", command, ["-m", "seed=1,2"]) == 0
    assert (Path.cwd(), list(sys.argv), dict(os.environ)) == before
    assert (list(logging.root.handlers), logging.root.level) == handlers
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["", "+", "++"])
def test_the_three_ways_to_set_a_key_are_one(command: Recorder, form: str) -> None:
    argv = [f"{form}model.options.width=0.5", f"{form}seed=3", f"{form}experiment=smoke"]
    assert run("train", command, argv) == 0
    assert command.config.model.options["width"] == 0.5
    assert (command.config.seed, command.config.data.name) == (3, "fashion_mnist")


def test_deleting(command: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", command, ["experiment=smoke", "~model.options.width"]) == 0
    assert "width" not in command.config.model.options
    assert run("train", command, ["~optimizer.lr", "~nothing"]) == 2
    assert errors(capsys) == [
        "error: ~nothing: Could not delete from config. 'nothing' does not exist.",
        "error: optimizer.lr: has no value, give one with optimizer.lr=...",
    ]


def test_a_model_chosen_by_the_user_wins_over_the_experiment(command: Recorder) -> None:
    assert run("train", command, ["experiment=smoke", "model=rednet50"]) == 0
    assert command.config.model.name == "rednet50"


@pytest.mark.parametrize("text", ["data.root='/a=b/c'", 'data.root="/a=b/c"'])
def test_quoted_values(command: Recorder, text: str) -> None:
    assert run("train", command, [text]) == 0
    assert command.config.data.root == "/a=b/c"


def test_windows_paths(command: Recorder) -> None:
    assert run("train", command, [r"data.root=C:\data\new folder"]) == 0
    assert command.config.data.root == r"C:\data\new folder"


@pytest.mark.parametrize(
    ("name", "text", "key", "expected"),
    [
        ("train", "data.root=~/pics", "data.root", "/home/me/pics"),
        ("train", "data.root=~", "data.root", "/home/me"),
        ("train", "data.root='~/my pics'", "data.root", "/home/me/my pics"),
        ("train", "data.root=~/my pics", "data.root", "/home/me/my pics"),
        ("train", "+output_dir=~/a=b", "output_dir", "/home/me/a=b"),
        ("train", "resume=~/run", "resume", "/home/me/run"),
        ("train", "resume=never", "resume", "never"),
        ("train", "checkpoint=~/a.pt", "checkpoint", "/home/me/a.pt"),
        ("train", "checkpoint=./~/a~b.pt", "checkpoint", "./~/a~b.pt"),
        ("train", r"data.root=C:\PROGRA~1\x", "data.root", r"C:\PROGRA~1\x"),
        ("train", "data={root: ~/pics}", "data.root", "/home/me/pics"),
        ("train", "data={root: '~/pics'}", "data.root", "/home/me/pics"),
        ("evaluate", "checkpoint=~/a.pt", "checkpoint", "/home/me/a.pt"),
        ("evaluate", "output_dir=~/out", "output_dir", "/home/me/out"),
        ("paper_tables", "checkpoints=~/all", "checkpoints", "/home/me/all"),
        ("convert_weights", "output=~/a.safetensors", "output", "/home/me/a.safetensors"),
        ("visualize", "images=~/pics", "images", ["/home/me/pics"]),
        ("visualize", "images=[~/a b, c,'~/d']", "images", ["/home/me/a b", "c", "/home/me/d"]),
    ],
)
def test_the_home_folder(
    command: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    key: str,
    expected: str | list[str],
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert run(name, command, [text]) == 0
    assert operator.attrgetter(key)(command.config) == expected
    assert command.explicit_keys == {key}


def test_the_home_folder_in_a_file_a_variable_and_a_sweep(
    command: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\noutput_dir: ~/runs\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IMAGENET_ROOT", "~/imagenet")
    argv = ["--config-dir=~", "experiment=mine", "-m", "resume=~/a,~/b"]
    assert run("train", command, argv) == 0
    for name, (config, _) in zip("ab", command.calls, strict=True):
        assert Path(config.output_dir).parent == tmp_path / "runs"
        paths = (config.data.root, config.resume)
        assert paths == tuple(str(tmp_path / name) for name in ("imagenet", name))


MISTAKES = [
    (["output_dir=~nobody1/x"], ["output_dir: there is no such user (./~nobody1/x is a path in t"]),
    (["seed=~"], ['seed: must be a whole number, got "~"']),
    (["--lr", "1"], ["unrecognized arguments: --lr; settings are written key=value, such as opt"]),
    (["--cfg", "jobs"], ["argument --cfg/-c: invalid choice: 'jobs' (choose from"]),
    (["model=rednet5O"], ["unknown choice 'model=rednet5O': did you mean 'rednet50'? the choices"]),
    (
        ["experiment=zzz"],
        ["unknown choice 'experiment=zzz': the choices of experiment are a1, a2, a3"],
    ),
    (
        ["experiment=kernel5"],
        ["unknown choice 'experiment=kernel5': did you mean 'ablation/kernel5'"],
    ),
    (["checkpoints=a"], ["checkpoints: this command does not use it; did you mean 'checkpoint'?"]),
    (["optimizer.lrr=1"], ["unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?"]),
    (["+new.key=1"], ["unknown key 'new.key': the keys are augment, checkpoint, data, debug"]),
    (["++modle=rednet26"], ["unknown key 'modle': did you mean 'model'?"]),
    (["model=timm"], ["model.name: has no value, give one with model.name=..."]),
    (["model=null"], ["model: has no value, give one with model=..."]),
    (["data=image_folder"], ["data.root: has no value, give one with data.root=..."]),
    (["foo"], ["cannot read 'foo': write key=value"]),
    (["=3"], ["cannot read '=3': write key=value"]),
    (["augment.scale=[0.5,1"], ["cannot read 'augment.scale=[0.5,1': its brackets do not close"]),
    (["checkpoint=a=b"], ["""cannot read 'checkpoint=a=b': quote the value, 'checkpoint="a=b"'"""]),
    (["model=rednet26,rednet38"], ["model=rednet26,rednet38: write a list as [a,b]; several"]),
    (["schedule.gamma=0.2"], ["schedule.gamma: only schedule=step uses it"]),
    (["hydra.nothing=1"], ["hydra.nothing=1: Could not override 'hydra.nothing'."]),
    (["--config-dir", "zzz"], ["there is no folder of configurations 'zzz'"]),
    (["hydra.searchpath=[zzz]"], ["provider=hydra.searchpath in command-line, path=zzz is not"]),
    (["--config-name", "zzz"], ["Cannot find primary config 'zzz'."]),
    (["--resolve"], ["The --resolve flag can only be used in conjunction with --cfg or --help"]),
    (["data.root=${oc.env:REDNET_ZZZ}"], ["data.root=${oc.env:REDNET_ZZZ}: KeyError raised"]),
    (["-m", "optimizer.lr=interval(1,2)"], ["BasicSweeper does not support sweep type"]),
    (["-m", "optimizer.lr=1,-1"], ["optimizer.lr: must be greater than 0, got -1"]),
    (["-m", "model=rednet26,zzz"], ["unknown choice 'model=zzz': the choices of model are"]),
    (
        ["seed=-1", "foo", "model=rednet5O", "modle=x", "trainer.compile=yes", "optimizer.lr=0"],
        [
            "cannot read 'foo'",
            "unknown choice 'model=rednet5O'",
            "optimizer.lr: must be greater than 0, got 0",
            "trainer.compile: must be true or false",
            "seed: must be at least 0",
            "unknown key 'modle'",
        ],
    ),
]


@pytest.mark.parametrize(("argv", "lines"), MISTAKES, ids=lambda value: value[0][:40])
def test_mistakes_are_reported_in_one_line_each(
    command: Recorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    lines: list[str],
) -> None:
    monkeypatch.delenv("REDNET_ZZZ", raising=False)
    assert run("train", command, argv) == 2
    reported = errors(capsys)
    assert len(reported) == len(lines)
    for line, start in zip(reported, lines, strict=True):
        assert line.startswith(f"error: {start}")
    assert command.calls == []


NEW_NAME = "unknown key 'trainer.accumulate': it was renamed to 'trainer.grad_accum_steps'"
RENAMED = [
    ("train", ["trainer.accumulate=2"], NEW_NAME),
    ("train", ["+trainer.accumulate=2"], NEW_NAME),
    ("train", ["++trainer.accumulate=2"], NEW_NAME),
    ("train", ["~trainer.accumulate"], NEW_NAME),
    ("train", ["trainer={accumulate: 2}"], NEW_NAME),
    ("train", ["-m", "trainer.accumulate=1,2"], NEW_NAME),
    ("train", ["--cfg", "job", "trainer.accumulate=2"], NEW_NAME),
    (
        "train",
        ["schedule.step_on=update"],
        'schedule.step_on: must be epoch or step, got "update", which was renamed to step',
    ),
    (
        "visualize",
        ["updates_per_epoch=626"],
        "unknown key 'updates_per_epoch': it was renamed to 'steps_per_epoch'",
    ),
    (
        "evaluate",
        ["trainer.max_updates=3"],
        "unknown key 'trainer.max_updates': it was renamed to 'trainer.max_steps'",
    ),
    ("convert_weights", ["trainer.accumulate=2"], NEW_NAME),
]


@pytest.mark.parametrize(("name", "argv", "line"), RENAMED, ids=lambda value: str(value)[:40])
def test_an_old_key_is_answered_with_its_new_name(
    command: Recorder, capsys: pytest.CaptureFixture[str], name: str, argv: list[str], line: str
) -> None:
    assert run(name, command, argv) == 2
    assert errors(capsys) == [f"error: {line}"]
    assert command.calls == []


def test_old_keys_in_the_users_files(
    command: Recorder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "old.yaml").write_text(
        "# @package _global_\ntrainer:\n  accumulate: 2\nschedule:\n  step_on: update\n"
    )
    assert run("train", command, ["--config-dir=own", "experiment=old"]) == 2
    assert errors(capsys) == [
        'error: schedule.step_on: must be epoch or step, got "update", which was renamed to step',
        f"error: {NEW_NAME}",
    ]


def test_settings_that_a_command_does_not_use(
    command: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    unused = ["trainer.ema_decay"]
    argv = ["optimizer.lr=1", "optimizer=adamw", "trainer.ema_decay=0.9", "trainer.device=cpu"]
    assert run("evaluate", command, argv, unused=unused) == 2
    assert errors(capsys) == [
        "error: optimizer.lr: this command does not use it",
        "error: optimizer: this command does not use it",
        "error: trainer.ema_decay: this command does not use it",
    ]


OF_OTHER_COMMANDS = [
    ("train", "lr=0.1", "; did you mean 'optimizer.lr'?"),
    ("train", "layers=[1,1,1,1]", "; did you mean 'model.options.layers'?"),
    ("train", "output=x", "; did you mean 'output_dir'?"),
    ("train", "overwrite=true", ""),
    ("evaluate", "lr=0.1", ""),
    ("evaluate", "optimizer.name=sgd", ""),
    ("evaluate", "images=x", ""),
    ("paper_tables", "checkpoint=x", "; did you mean 'checkpoints'?"),
    ("convert_weights", "output_dir=x", "; did you mean 'output'?"),
    ("visualize", "checkpoints=x", "; did you mean 'checkpoint'?"),
]


@pytest.mark.parametrize(("name", "text", "guess"), OF_OTHER_COMMANDS)
def test_a_key_of_another_command(
    command: Recorder, capsys: pytest.CaptureFixture[str], name: str, text: str, guess: str
) -> None:
    assert run(name, command, [text]) == 2
    key = text.partition("=")[0]
    assert errors(capsys) == [f"error: {key}: this command does not use it{guess}"]


def test_multirun_runs_each_job_in_turn(
    command: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", command, ["model=rednet26,rednet38", "-m", "seed=choice(1,2)"]) == 0
    jobs = [(config.model.name, config.seed) for config, _ in command.calls]
    assert jobs == [("rednet26", 1), ("rednet26", 2), ("rednet38", 1), ("rednet38", 2)]
    assert all(explicit_keys == {"model", "seed"} for _, explicit_keys in command.calls)
    assert "job 3: model=rednet38 seed=2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "folders"),
    [
        (["optimizer.lr=0.05,0.1", "output_dir=X"], ["X/optimizer.lr-0.05", "X/optimizer.lr-0.1"]),
        (["output_dir=X/${seed}", "seed=1,2"], ["X/1", "X/2"]),
        (["seed=1,2"], [None, None]),
    ],
)
def test_jobs_of_a_sweep_share_no_folder(
    command: Recorder, argv: list[str], folders: list[str | None]
) -> None:
    assert run("train", command, ["-m", *argv]) == 0
    assert [config.output_dir for config, _ in command.calls] == folders


def test_multirun_continues_after_a_job_with_wrong_input(
    command: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    def picky(config: Config, explicit_keys: frozenset[str]) -> None:
        command(config, explicit_keys)
        if config.seed == 1:
            raise InputError("not this one")

    assert run("train", picky, ["-m", "seed=1,2"]) == 2
    assert [config.seed for config, _ in command.calls] == [1, 2]
    assert errors(capsys) == ["error: not this one"]


@pytest.mark.parametrize("arguments", [[], ["-m"]])
def test_bugs_pass_and_interrupts_end_with_130(
    command: Recorder, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    def bug(config: Config, explicit_keys: frozenset[str]) -> None:
        raise ValueError("a bug")

    def interrupt(config: Config, explicit_keys: frozenset[str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="a bug"):
        run("train", bug, [*arguments, "seed=1"])
    errors(capsys)
    assert run("train", interrupt, [*arguments, "seed=1"]) == 130
    assert errors(capsys) == ["interrupted"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--help"], "experiment: a1, a2, a3, cifar10, fashion_mnist, finetune, paper, smoke, tv2"),
        (["--cfg", "job", "seed=3"], "\nseed: 3\n"),
        (["data=image_folder", "--cfg", "job", "--package", "data"], "root: ???"),
        (["--info", "defaults", "model=rednet26"], "model/rednet26"),
        (["--hydra-help"], "hydra/launcher: basic"),
    ],
    ids=lambda value: value[0],
)
def test_what_hydra_shows_instead_of_running(
    command: Recorder, capsys: pytest.CaptureFixture[str], argv: list[str], expected: str
) -> None:
    level, handlers = logging.root.level, list(logging.root.handlers)
    try:
        assert run("train", command, argv) == 0
    finally:  # --info reports through the root logger
        logging.root.setLevel(level)
        logging.root.handlers[:] = handlers
    assert expected in capsys.readouterr().out
    assert command.calls == []


def test_wrong_keys_are_not_shown_either(
    command: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", command, ["--cfg", "job", "optimizer.lrr=1"]) == 2
    assert errors(capsys) == ["error: unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?"]


@pytest.fixture
def own_configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "experiment").mkdir()
    mine = "# @package _global_\ndefaults:\n  - override /model: {}\noptimizer:\n  {}: 3\n"
    (folder / "experiment" / "mine.yaml").write_text(mine.format("rednet26", "lr"))
    (folder / "experiment" / "typo.yaml").write_text(mine.format("rednet26", "lrr"))
    (folder / "experiment" / "other.yaml").write_text(mine.format("rednet27", "lr"))
    (folder / "experiment" / "broken.yaml").write_text("a: [1\nb: }")
    (folder / "mytrain.yaml").write_text("defaults:\n  - train\n  - _self_\n\nseed: 5\n")
    return folder


@pytest.mark.parametrize("option", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
@pytest.mark.parametrize("arguments", [[], ["-m"]])
def test_experiments_of_the_user(
    command: Recorder, own_configs: Path, option: str, arguments: Sequence[str]
) -> None:
    argv = [option.format(own_configs), "experiment=mine", *arguments]
    assert run("train", command, argv) == 0
    assert (command.config.model.name, command.config.optimizer.lr) == ("rednet26", 3)


def test_a_schedule_in_a_file_of_the_user(
    command: Recorder, capsys: pytest.CaptureFixture[str], own_configs: Path
) -> None:
    short = own_configs / "experiment" / "short.yaml"
    short.write_text("# @package _global_\nschedule:\n  epochs: 3\n")
    argv = [f"--config-dir={own_configs}", "experiment=short"]
    assert run("train", command, argv) == 0
    assert command.config.schedule.warmup_epochs == 1.5
    short.write_text(short.read_text() + "  warmup_epochs: 5\n")
    assert run("train", command, argv) == 2
    assert errors(capsys) == [
        "error: schedule.warmup_epochs: must be at most schedule.epochs (3), got 5"
    ]


def test_a_primary_configuration_of_the_user(command: Recorder, own_configs: Path) -> None:
    assert run("train", command, ["--config-name=mytrain", f"--config-dir={own_configs}"]) == 0
    assert (command.config.seed, command.config.model.name) == (5, "rednet50")


@pytest.mark.parametrize(
    ("experiment", "line"),
    [
        ("typo", "unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?"),
        ("other", "experiment=other: In 'train': Could not find 'model/rednet27'"),
        ("broken", "experiment=broken: while parsing a flow sequence"),
    ],
)
def test_mistakes_in_the_users_files(
    command: Recorder,
    capsys: pytest.CaptureFixture[str],
    own_configs: Path,
    experiment: str,
    line: str,
) -> None:
    argv = [f"--config-dir={own_configs}", f"experiment={experiment}", "seed=-1"]
    assert run("train", command, argv) == 2
    first, second = errors(capsys)
    assert first.startswith(f"error: {line}")
    assert second == "error: seed: must be at least 0, got -1"


UNKNOWN_OPTION = (
    "unrecognized arguments: --nonsense; settings are written key=value, such as optimizer.lr=0.1"
)


@pytest.mark.parametrize(
    ("argv", "code", "out", "err"),
    [
        (["experiment=smoke"], 0, "rednet26 0.05\n", ""),
        (["modle=x"], 2, "", "error: unknown key 'modle': did you mean 'model'?\n"),
        (["--version"], 0, f"rednet {version('rednet')}, torch {version('torch')}\n", ""),
        (["--nonsense"], 2, "", f"error: {UNKNOWN_OPTION}\n"),
        (["seed=1"], 1, "rednet50 0.8\n", "RuntimeError: a bug\n"),
    ],
    ids=["right", "typo", "version", "option", "bug"],
)
def test_exit_codes_of_the_process_without_heavy_imports(
    tmp_path: Path, argv: list[str], code: int, out: str, err: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    finished = subprocess.run(
        [sys.executable, str(program), *argv], capture_output=True, text=True, cwd=tmp_path
    )
    assert (finished.returncode, finished.stdout) == (code, out)
    assert finished.stderr.endswith(err)
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]
