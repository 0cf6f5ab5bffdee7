"""Keys that do nothing beside the others are refused where the user means them to do something."""

from pathlib import Path

import pytest

from rednet.config import CONFIGS, ConfigError, compose_jobs, meant_keys


@pytest.fixture(autouse=True)
def _no_imagenet_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGENET_ROOT", raising=False)


def problems(command: str, *argv: str, folders: tuple[Path, ...] = ()) -> list[str]:
    try:
        compose_jobs(command, argv, folders=(CONFIGS, *folders), multirun=True)
    except ConfigError as error:
        return error.problems
    return []


STEP = "schedule.min_lr: only schedule=cosine and schedule=paper use it"


@pytest.mark.parametrize(
    ("command", "argv", "lines"),
    [
        ("train", "schedule=step schedule.min_lr=0.001", [STEP]),
        ("train", "schedule={name: step, milestones: [1], gamma: 0.1, min_lr: 0.1}", [STEP]),
        ("visualize", "schedule=step schedule.min_lr=0.001", [STEP]),
        (
            "evaluate",
            "data.val_fraction=0.2",
            ["data.val_fraction: only data=image_folder, csv, webdataset or hugg"],
        ),
        (
            "evaluate",
            "data=fashion_mnist seed=3",
            ["seed: this command uses it only to split a "],
        ),
        (
            "evaluate",
            "data=fashion_mnist data.on_unreadable=skip",
            ["data.on_unreadable: has no ef"],
        ),
        ("train", "resume=auto", ["resume: has no effect without output_dir=FOLDER, the run"]),
        ("train", "resume=force", ["resume: has no effect without output_dir=FOLDER, the run"]),
        ("train", "resume=force checkpoint=a.pt output_dir=runs/a", []),
        (
            "evaluate",
            "checkpoint=a.pt model=timm model.name=resnet18 model.options.pretrained=true",
            ["model.options.pretrained: has no effect with checkpoint=FILE"],
        ),
        ("train", "resume=runs/a checkpoint=a.pt", ["checkpoint: has no effect with resume=PATH"]),
        ("train", "data.split=val", ["data.split: this command reads the training and the valid"]),
        (
            "train",
            "trainer.clip_grad=null trainer.clip_mode=agc optimizer.weight_decay=0 "
            "optimizer.decay_all=true",
            [
                "optimizer.decay_all: has no effect with optimizer.weight_decay=0",
                "trainer.clip_mode: has no effect with trainer.clip_grad=null",
            ],
        ),
        # A key that is wrong as well as without effect has one line.
        (
            "train",
            "finetune.freeze=backbone finetune.head_epochs=1 schedule.epochs=1",
            ["finetune.head_epochs: has no effect with finetune.freeze=backbone, which never"],
        ),
        (
            "train",
            "schedule.warmup_start=1 schedule.warmup_epochs=0",
            ["schedule.warmup_start: ha"],
        ),
        # Evaluated after the fourth epoch and the last.
        (
            "train",
            "schedule.epochs=8 trainer.eval_every=4 trainer.early_stopping=1",
            ["trainer.ear"],
        ),
        ("train", "schedule.epochs=9 trainer.eval_every=4 trainer.early_stopping=4", []),
        # Each job of a sweep but one uses it.
        ("train", "schedule=step,cosine schedule.min_lr=0.001", []),
        ("train", "schedule=step,constant schedule.min_lr=0.001", [STEP]),
        # Switched off is what it is.
        ("train", "schedule=cosine schedule.milestones=null schedule.gamma=null", []),
        ("train", "optimizer.weight_decay=0 optimizer.decay_all=false", []),
        # Choices of groups and of our experiments are not meant for each of their keys.
        ("train", "experiment=fashion_mnist schedule=constant optimizer=adamw", []),
        ("train", "experiment=paper schedule=step data=fashion_mnist", []),
    ],
)
def test_keys_of_the_command_line(command: str, argv: str, lines: list[str]) -> None:
    words = [argv] if "{" in argv else argv.split()
    found = problems(command, *words)
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


def test_keys_of_the_users_experiments(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /schedule: step\nschedule:\n  {}: 0.5\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text.format("min_lr"))
    (tmp_path / "experiment" / "good.yaml").write_text(text.format("gamma"))
    assert problems("train", "experiment=mine", folders=(tmp_path,)) == [STEP]
    assert problems("train", "experiment=good", folders=(tmp_path,)) == []
    # What the command line replaces need not fit.
    assert problems("train", "experiment=good", "schedule=cosine", folders=(tmp_path,)) == []


def test_a_configuration_of_another_run_may_have_every_key(tmp_path: Path) -> None:
    text = "defaults:\n  - train\n  - _self_\nschedule: {gamma: 0.5}\ntrainer: {tf32: true}\n"
    (tmp_path / "mine.yaml").write_text(text)
    overrides = ["optimizer.momentum=0.8"]
    composed = compose_jobs("train", overrides, config_name="mine", folders=[tmp_path, CONFIGS])
    assert composed.configs[0]["schedule"]["gamma"] == 0.5
    assert composed.user_keys == {"schedule.gamma", "trainer.tf32", "optimizer.momentum"}
    assert meant_keys(composed.user_keys) == {"optimizer.momentum"}


@pytest.mark.parametrize(
    ("argv", "is_meant"),
    [
        ("optimizer=adamw optimizer.momentum=0.8", True),
        ("optimizer=adamw optimizer.momentum=0.8,0.9", True),
        ("optimizer=adamw,sgd optimizer.momentum=0.8", False),
        ("optimizer=adamw optimizer.momentum=0.8 seed=1,2", True),
    ],
)
def test_a_sweep_over_others_of_the_group(argv: str, is_meant: bool) -> None:
    composed = compose_jobs("train", argv.split(), multirun=True)
    assert ("optimizer.momentum" in meant_keys(composed.user_keys)) == is_meant
