"""When a rank counts as missing; each look is one second here."""

import pytest

from rednet.ranks.meeting import Peer
from rednet.ranks.view import Judge, View

TIMEOUT, PATIENCE = 5, 20


class Ranks:
    """The first of three ranks, and what the others tell it."""

    def __init__(self, is_patient=False):
        self.views = [View(Peer(rank, 100 + rank, "host")) for rank in range(3)]
        self.judge = Judge(self.views[0], self.views[1:], TIMEOUT, PATIENCE, 1.0)
        self.is_patient = is_patient

    def look(self, *doing, looks=1):
        """Look several times while each rank is silent, still, waiting or busy."""
        for _ in range(looks):
            for view, what in zip(self.views, doing, strict=True):
                if what != "silent":
                    pulse = {**view.pulse, "answers": view.pulse["answers"] + 1, "step": 7}
                    pulse["beats"] += what == "busy"
                    pulse |= {"is_waiting": what == "waiting", "is_patient": self.is_patient}
                    view.pulse = pulse
            line = self.judge.find_missing()
            if line:
                return line
        return None


@pytest.fixture
def ranks():
    return Ranks()


def test_a_process_that_does_not_answer_is_named(ranks):
    assert ranks.look("waiting", "busy", "busy") is None
    assert ranks.look("waiting", "silent", "waiting", looks=TIMEOUT - 1) is None
    assert ranks.look("waiting", "silent", "waiting") == (
        "rank 1 (process 101 on host) has not answered for 5 s, last seen at step 7"
    )


def test_two_that_do_not_answer_are_named_together(ranks):
    ranks.look("busy", "busy", "busy")
    assert ranks.look("waiting", "silent", "silent", looks=TIMEOUT) == (
        "rank 1 (process 101 on host) and rank 2 (process 102 on host) have not answered for 5 s, "
        "last seen at step 7"
    )


def test_the_one_that_makes_no_progress_is_named_and_not_those_that_wait_for_it(ranks):
    ranks.look("busy", "busy", "busy")
    assert ranks.look("waiting", "waiting", "still", looks=TIMEOUT) == (
        "rank 2 (process 102 on host) has made no progress for 5 s, last seen at step 7"
    )


def test_a_long_evaluation_or_save_with_signs_of_progress_is_waited_for(ranks):
    ranks.look("busy", "busy", "busy")
    for _ in range(10):
        assert ranks.look("waiting", "still", "waiting", looks=TIMEOUT - 1) is None
        assert ranks.look("waiting", "busy", "waiting") is None


def test_ranks_that_wait_for_each_other_are_noticed(ranks):
    ranks.look("busy", "busy", "busy")
    line = ranks.look("waiting", "waiting", "waiting", looks=TIMEOUT)
    assert "have waited for each other and made no progress for 5 s" in line


def test_the_store_may_be_what_does_not_answer(ranks):
    ranks.look("busy", "busy", "busy")
    line = ranks.look("silent", "silent", "silent", looks=TIMEOUT)
    assert line == "the store of the run has not answered for 5 s"


def test_a_start_or_a_compilation_may_take_longer():
    ranks = Ranks(is_patient=True)
    ranks.look("busy", "busy", "busy")
    assert ranks.look("waiting", "still", "waiting", looks=PATIENCE - 1) is None
    assert "no progress for 20 s" in ranks.look("waiting", "still", "waiting")
    ranks = Ranks(is_patient=True)
    ranks.look("busy", "busy", "busy")
    assert "not answered for 5 s" in ranks.look("waiting", "silent", "waiting", looks=TIMEOUT)
