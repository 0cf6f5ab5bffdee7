"""Ranks that are forks of one process, which has imported everything."""

import pytest
from forked_commands import ForkedCommands
from forked_ranks import TINY, run_to_the_end


@pytest.fixture(scope="package")
def commands(tmp_path_factory):
    """Runs commands in forks."""
    folder = tmp_path_factory.mktemp("warm_up")
    commands = ForkedCommands([*TINY, "trainer.max_steps=1", f"output_dir={folder}"])
    yield commands
    commands.close()


@pytest.fixture(scope="package")
def whole(commands, tmp_path_factory):
    """The folder of a run of two ranks that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run_to_the_end(commands, folder)
    return folder


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
