"""Ranks that are forks of one process, which has imported everything."""

import pytest
from forked_ranks import run_to_the_end


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
