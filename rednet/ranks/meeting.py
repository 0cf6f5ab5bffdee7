"""Where the ranks of a run meet: the store that `torchrun` or the first rank provides."""

import json
import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from torch.distributed import PrefixStore, Store, TCPStore

from rednet.errors import StartAgain
from rednet.wording import join_names

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
    """

    rank: int
    pid: int
    host: str
    code: int | None = None

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
    def own(cls, rank: int, code: int | None = None) -> "Peer":
        """Return this process."""
        return cls(rank, os.getpid(), socket.gethostname(), code)


class Meeting:
    """One meeting of the ranks of a run; a sweep has one for each of its jobs.

    Attributes:
        place: This process.
        store: What all ranks can read and write.
    """

    number = 0
    """Meetings of this process so far."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self.place = place
        # The store outlives the workers that `torchrun` starts anew.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        prefix = f"rednet/{attempt}/{Meeting.number}"
        self.store: Store = PrefixStore(prefix, connect(place, timeout_s))

    def announce(self, code: int | None = None) -> None:
        """Tell the others who this rank is; with a code, that it has ended."""
        self.store.set(f"peer/{self.place.rank}", json.dumps(Peer.own(self.place.rank, code)))

    def wait(self, timeout_s: float) -> list[Peer]:
        """Wait for all ranks, and return them in order.

        Raises:
            StartAgain: A rank has not come in time, or has ended.
        """
        self.announce()
        keys = [f"peer/{rank}" for rank in range(self.place.world_size)]
        try:
            self.store.wait(keys, timedelta(seconds=timeout_s))
        except RuntimeError as error:
            missing = [str(rank) for rank, key in enumerate(keys) if not self.store.check([key])]
            ranks = (
                f"rank {missing[0]} has"
                if len(missing) == 1
                else f"ranks {join_names(missing)} have"
            )
            raise StartAgain(f"{ranks} not started within {timeout_s:g} s") from error
        Meeting.number += 1
        peers = [Peer(*json.loads(value)) for value in self.store.multi_get(keys)]
        for peer in peers:
            if peer.code is not None:
                raise StartAgain("", peer.code)  # it has said why
        return peers


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
