"""How the ranks of a run find each other."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import TCPStore

from rednet.errors import StartAgain
from rednet.ranks.meeting import Meeting, Peer, Place


@pytest.fixture
def store(monkeypatch):
    """A store like that of torchrun's agent, which the environment names."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setattr(Meeting, "number", 0)
    return store


def test_ranks_that_do_not_come_are_named(store):
    Meeting(Place(2, 2, 4), 5).announce()
    with pytest.raises(StartAgain, match=r"^ranks 1, 3 have not started within 0.1 s$") as error:
        Meeting(Place(0, 0, 4), 5).wait(0.1)
    assert error.value.code == 142


def test_a_rank_that_ended_before_ends_the_others_in_silence(store):
    Meeting(Place(1, 1, 2), 5).announce(code=2)
    with pytest.raises(StartAgain, match=r"^$") as error:
        Meeting(Place(0, 0, 2), 5).wait(5)
    assert error.value.code == 2


def meet(*meetings):
    """Return what each of several ranks finds."""
    with ThreadPoolExecutor(len(meetings)) as pool:
        return list(pool.map(lambda meeting: meeting.wait(10), meetings))


def test_all_know_each_other(store):
    meetings = [Meeting(Place(rank, rank, 3), 5) for rank in range(3)]
    expected = [meeting.own for meeting in meetings]
    assert meet(*meetings) == [expected] * 3
    assert not any(peer.has_ended() for peer in expected)
    assert Peer(0, 2**22 + 1, socket.gethostname()).has_ended()
    assert not Peer(0, 2**22 + 1, "another host").has_ended()


def test_processes_of_an_earlier_start_are_not_waited_for(store, monkeypatch):
    """One machine was replaced, so the agents of torchrun count the starts differently."""
    old = [Meeting(Place(rank, rank, 2), 5) for rank in range(2)]
    meet(*old)
    monkeypatch.setattr(Meeting, "number", 0)
    Meeting(Place(1, 1, 2), 5).announce(code=2)
    new = Meeting(Place(1, 1, 2), 5)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    first = Meeting(Place(0, 0, 2), 5)
    with pytest.raises(StartAgain, match="rank 1 has not started"):
        first.wait(0.1)
    assert meet(first, new) == [[first.own, new.own]] * 2


def test_without_torchrun_the_first_rank_has_the_store(monkeypatch):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    monkeypatch.setattr(Meeting, "number", 0)
    with pytest.raises(StartAgain, match=r"does not answer at localhost:\d+ within 0.1 s"):
        Meeting(Place(1, 0, 2), 0.1)
    first = Meeting(Place(0, 0, 2), 5)
    second = Meeting(Place(1, 0, 2), 5)
    assert meet(first, second) == [[first.own, second.own]] * 2
