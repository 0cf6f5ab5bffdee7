"""The folder of each job of a sweep."""

import os
import re

import pytest

from rednet.config import compose, compose_jobs
from rednet.config.sweeps import Job, job_folder, make_sweep_folder, share_folders
from rednet.errors import InputError, Stopped


@pytest.mark.parametrize(
    ("output_dirs", "shared"),
    [
        (["X", "X"], True),
        (["X", "X/", "./X"], True),
        (["a", "a", "b", "b"], True),
        (["a", "b"], False),
        ([None, None], True),  # no folder is given
    ],
)
def test_jobs_with_the_same_folder_share_it(output_dirs, shared):
    assert share_folders({"output_dir": each} for each in output_dirs) is shared


@pytest.mark.parametrize(
    ("overrides", "fixed_keys", "folder"),
    [
        (["optimizer.lr=0.05", "output_dir=X"], [], "X/optimizer.lr-0.05"),
        (["++optimizer.lr=1e-3", "++seed=1"], [], "X/optimizer.lr-1e-3+seed-1"),
        (["seed=1", "model=rednet26", "output_dir=X"], ["model"], "X/seed-1"),
        (["experiment/ablation=kernel3"], [], "X/experiment_ablation-kernel3-"),
        (["seed=1", "~model.options.width"], ["seed", "model.options.width"], "X"),
    ],
)
def test_a_job_is_named_after_its_own_overrides(overrides, fixed_keys, folder):
    assert re.sub("-[0-9a-f]{8}$", "-", job_folder("X", overrides, fixed_keys)) == folder


VALUES = {
    "0.1": "key-0.1",
    "-1": "key--1",
    "ablation/kernel3": "key-ablation_kernel3-",
    "ablation_kernel3": "key-ablation_kernel3",
    "'a b'": "key-a_b-",
    "a_b": "key-a_b",
    "A_B": "key-A_B-",
    "[0.5,1]": "key-0.5_1-",
    "../../x": "key-.._.._x-",
    "\u00e4": "key--",
    "\u00f6": "key--",
    "~/runs": "key-runs-",
    "a=b": "key-a_b-",
    "x" * 300: "key-" + "x" * 96 + "-",
    "x" * 301: "key-" + "x" * 96 + "-",
    "": "key-",
}


def test_names_are_readable_unique_and_safe():
    names = [os.path.relpath(job_folder("X", [f"key={value}"], []), "X") for value in VALUES]
    for name, start in zip(names, VALUES.values(), strict=True):
        assert name == start or re.fullmatch(re.escape(start) + "[0-9a-f]{8}", name)
        assert re.fullmatch(r"[\w.+-]{4,120}", name, re.ASCII)
    # Some file systems ignore the case.
    assert len({name.lower() for name in names}) == len(names)


def test_a_command_line_takes_the_names_unquoted():
    folders = [job_folder("X", [f"key={value}", "seed=1"], []) for value in VALUES]
    assert compose("visualize", [f"images=[{','.join(folders)}]"]).images == folders


def test_which_keys_are_the_same_in_all_jobs():
    argv = ["experiment=smoke", "optimizer.lr=0.1,0.2", "seed=choice(3)", "~model.options.width"]
    composition = compose_jobs("train", argv, multirun=True)
    assert composition.fixed_keys == {"experiment", "model.options.width"}
    assert len(composition.configs) == 2


def test_two_sweeps_never_make_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {make_sweep_folder() for _ in range(3)}
    assert len(folders) == 3 and all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "complete", ""),
        (InputError("one", "two"), "failed", "one two"),
        (RuntimeError(), "failed", "RuntimeError"),
        (Stopped(15), "stopped", ""),
        (KeyboardInterrupt(), "stopped", ""),
    ],
)
def test_a_job_records_how_it_ended(error, state, reason):
    job = Job({"seed": "1"}, "X")
    if error is None:
        with job.running():
            pass
    else:
        with pytest.raises(type(error)), job.running():
            raise error
    assert (job.state, job.reason) == (state, reason)
