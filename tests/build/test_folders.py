"""The folder of a run."""

import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from rednet.build.folders import require_space, run_folder, write_config
from rednet.config import compose
from rednet.errors import InputError
from rednet.runtime import Runtime


def test_runs_that_start_at_the_same_time_get_different_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = 16
    with ExitStack() as stack, ThreadPoolExecutor(runs) as pool:
        contexts = [run_folder(None, "label", Runtime()) for _ in range(runs)]
        folders = list(pool.map(stack.enter_context, contexts))
        assert len(set(folders)) == runs
        assert set(folders) == set(Path("runs").iterdir())
        assert all(folder.name.startswith("label-") for folder in folders)
    assert not any(folder.exists() for folder in folders)


def test_what_was_written_or_was_there_before_stays(tmp_path):
    with run_folder(f"{tmp_path}/new/run", "label", Runtime()) as folder:
        (folder / "file").touch()
    (tmp_path / "empty").mkdir()
    with run_folder(f"{tmp_path}/empty/run", "label", Runtime()):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "file", "new", "run"]


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"output_dir=.*/file/run: cannot be written: Not a dir"):
        run_folder(f"{tmp_path}/file/run", "label", Runtime()).__enter__()


def test_two_checkpoints_must_fit(tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path).free
    require_space(tmp_path, 1000)
    with pytest.raises(InputError, match=rf"output_dir={tmp_path}: two checkpoints need \d+\.\d G"):
        require_space(tmp_path, free)
    usage = namedtuple("usage", "total free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 3 * 10**6))
    with pytest.raises(InputError, match=r"need 4 MB, but only 3 MB are free$"):
        require_space(tmp_path, 2 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0, 0))  # unknown
    require_space(tmp_path, 2 * 10**6)


def test_the_configuration_of_a_finished_run_stays(tmp_path):
    first, second = (compose("train", [f"seed={seed}"]) for seed in (1, 2))
    write_config(tmp_path, first, finished=True)  # deleted by hand, for example
    written = (tmp_path / "config.yaml").read_text()
    write_config(tmp_path, second, finished=True)
    assert (tmp_path / "config.yaml").read_text() == written
    write_config(tmp_path, second)
    assert "seed: 2\n" in (tmp_path / "config.yaml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
