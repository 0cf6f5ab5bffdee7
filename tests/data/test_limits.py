"""What the system does not allow is said in one line before workers are started."""

import resource

import pytest

from rednet.data import limits
from rednet.data.limits import FILES, FILES_PER_WORKER, require_room_for_workers
from rednet.errors import InputError


@pytest.fixture
def open_files():
    """Restores the limit on open files, which a test may lower."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_on_open_files_is_raised_as_far_as_needed(open_files):
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    require_room_for_workers(2)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == FILES + 2 * FILES_PER_WORKER


def test_a_limit_that_cannot_be_raised_is_named(monkeypatch):
    low = FILES + 3 * FILES_PER_WORKER
    monkeypatch.setattr(resource, "getrlimit", lambda _: (low, low))
    require_room_for_workers(3)
    with pytest.raises(InputError, match=rf"the limit is {low}: .* data.num_workers=3"):
        require_room_for_workers(8)


def test_a_full_folder_of_shared_memory_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "SHARED_BYTES", 2**80)
    with pytest.raises(InputError, match=r"/dev/shm has \d+ bytes left.* data.num_workers=0"):
        require_room_for_workers(1)
    require_room_for_workers(0)
    monkeypatch.setattr(limits, "SHARED_MEMORY", tmp_path / "none")
    require_room_for_workers(1)
