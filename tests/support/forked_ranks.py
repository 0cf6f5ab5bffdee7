"""Start a command in several ranks that are forks, with a store like that of `torchrun`."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from forked_commands import ForkedCommands, Process


@contextmanager
def start_ranks(
    commands: ForkedCommands, *argvs: Sequence[str], before: Sequence[str] = ("", "")
) -> Iterator[list[Process]]:
    """Start one rank for each command line; at the end of the context all are killed.

    Args:
        commands: Starts commands.
        argvs: Command lines of the ranks.
        before: Python code to run in each process first.
    """
    from torch.distributed import TCPStore

    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    place = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(len(argvs)),
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                commands.start(
                    *argv, before=code, environment={**place, "RANK": str(rank), "LOCAL_RANK": "0"}
                )
            )
            for rank, (argv, code) in enumerate(zip(argvs, before, strict=True))
        ]
