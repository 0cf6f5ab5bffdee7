"""How the ranks of a run find each other."""

import socket

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


def test_all_know_each_other(store):
    other = Meeting(Place(1, 1, 2), 5)
    other.announce()
    expected = [Peer.own(0), Peer.own(1)]
    assert Meeting(Place(0, 0, 2), 5).wait(5) == expected
    assert not any(peer.has_ended() for peer in expected)
    assert Peer(0, 2**22 + 1, socket.gethostname()).has_ended()
    assert not Peer(0, 2**22 + 1, "another host").has_ended()


def test_another_attempt_meets_anew(store, monkeypatch):
    Meeting(Place(1, 1, 2), 5).announce()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(StartAgain, match="rank 1 has not started"):
        Meeting(Place(0, 0, 2), 5).wait(0.1)


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
    Meeting(Place(1, 0, 2), 5).announce()
    assert [peer.rank for peer in first.wait(5)] == [0, 1]
