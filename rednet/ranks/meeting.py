"""Where the ranks of a run meet: the store that `torchrun` or the first rank provides."""

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from torch.distributed import PrefixStore, Store, TCPStore

from rednet.errors import StartAgain
from rednet.wording import join_names

PAUSE_S = 0.02
START_S = 300.0
"""Least time in seconds that the ranks have to start, whatever the time-out of a run: the imports
alone may take minutes on a cold network file system."""


@dataclass(frozen=True)
class Place:
    """This process among the others, as `torchrun` says in the environment.

    Attributes:
        rank: Rank of the process.
        local_rank: Rank among the processes of its machine.
        world_size: Number of processes.
    """

    rank: int
    local_rank: int
    world_size: int

    @classmethod
    def find(cls) -> "Place":
        """Return the place of this process; it is alone unless the environment says otherwise."""
        defaults = (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))
        return cls(*(int(os.environ.get(name, default)) for name, default in defaults))


class Peer(NamedTuple):
    """A rank of the run.

    Attributes:
        rank: Its rank.
        pid: Its process.
        host: The name of its machine.
        code: Its exit code, if it ended before the ranks met.
        attempt: How often `torchrun` has started it before.
        token: What tells it from the processes that had its rank before.
    """

    rank: int
    pid: int
    host: str
    code: int | None = None
    attempt: str = "0"
    token: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} (process {self.pid} on {self.host})"

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended; on another machine it never is."""
        if self.host != socket.gethostname():
            return False
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state in "ZX"

    @classmethod
    def own(cls, rank: int) -> "Peer":
        """Return this process."""
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(rank, os.getpid(), socket.gethostname(), None, attempt, uuid4().hex)


class Meeting:
    """One meeting of the ranks of a run; a sweep has one for each of its jobs.

    A store may outlive the processes that `torchrun` starts anew, and its agents on several
    machines may count the starts differently. So each process has a token: the first rank writes
    the roll of all tokens, again whenever one has changed, and who finds its own there is present.

    Attributes:
        place: This process.
        store: What all ranks can read and write; after the meeting, what only these processes do.
    """

    number = 0
    """Meetings of this process so far."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self.place = place
        self.store: Store = PrefixStore(f"rednet/{Meeting.number}", connect(place, timeout_s))
        self.own = Peer.own(place.rank)

    def announce(self, code: int | None = None) -> None:
        """Tell the others who this rank is; with a code, that it has ended."""
        self.own = self.own._replace(code=code)
        self.store.set(f"peer/{self.place.rank}", json.dumps(self.own))

    def wait(self, timeout_s: float) -> list[Peer]:
        """Wait for all ranks, and return them in order.

        Raises:
            StartAgain: A rank has not come in time, or has ended.
        """
        self.announce()
        end = time.monotonic() + timeout_s
        while not self._is_complete(roll := self._read_roll()):
            for peer in roll:
                if peer.code is not None and peer.attempt == self.own.attempt:
                    raise StartAgain("", peer.code)  # it has said why
            if time.monotonic() > end:
                raise StartAgain(self._describe_missing(roll, timeout_s))
            time.sleep(PAUSE_S)
        Meeting.number += 1
        self.store = PrefixStore(roll[0].token, self.store)
        return roll

    def _read_roll(self) -> list[Peer]:
        """Return the ranks that the first one has found; that one looks for them now."""
        if self.place.rank == 0:
            keys = [f"peer/{rank}" for rank in range(self.place.world_size)]
            values = [self.store.get(key) for key in keys if self.store.check([key])]
            roll = [Peer(*json.loads(value)) for value in values]
            self.store.set("roll", json.dumps(roll))
            return roll
        keys = [key for key in ("roll", "peer/0") if self.store.check([key])]
        found = [json.loads(self.store.get(key)) for key in keys]
        if "roll" in keys and list(self.own) in found[0]:
            return [Peer(*values) for values in found[0]]
        return [Peer(*values) for values in found[-1:] if keys[-1] == "peer/0"]

    def _is_complete(self, roll: Sequence[Peer]) -> bool:
        """Return whether all ranks are present; say so of this one."""
        if len(roll) < self.place.world_size or any(peer.code is not None for peer in roll):
            return False
        self.store.set(_presence(roll, self.own), "")
        return bool(self.store.check([_presence(roll, peer) for peer in roll]))

    def _describe_missing(self, roll: Sequence[Peer], timeout_s: float) -> str:
        is_whole = len(roll) == self.place.world_size
        here = {p.rank for p in roll if not is_whole or self.store.check([_presence(roll, p)])}
        here.add(self.place.rank)
        missing = [str(rank) for rank in range(self.place.world_size) if rank not in here]
        one = len(missing) == 1
        who = f"rank {missing[0]} has" if one else f"ranks {join_names(missing)} have"
        return f"{who} not started within {timeout_s:g} s"


def _presence(roll: Sequence[Peer], peer: Peer) -> str:
    """Return the key by which a rank says that it has read the roll of this first rank."""
    return f"present/{roll[0].token}/{peer.token}"


def connect(place: Place, timeout_s: float) -> Store:
    """Return a connection of its own to the store of this process's run.

    Raises:
        StartAgain: Nobody answers.
    """
    host, port = os.environ.get("MASTER_ADDR", "localhost"), int(os.environ["MASTER_PORT"])
    try:
        if place.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            _serve(host, port)
        return TCPStore(host, port, timeout=timedelta(seconds=timeout_s), wait_for_workers=False)
    except RuntimeError as error:
        raise StartAgain(
            f"the first rank does not answer at {host}:{port} within {timeout_s:g} s"
        ) from error


@cache
def _serve(host: str, port: int) -> Store:
    """Provide the store for as long as this process lives."""
    return TCPStore(host, port, is_master=True, wait_for_workers=False, multi_tenant=True)
