"""Start a command in several ranks that are forks, with a store like that of `torchrun`."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from forked_commands import ForkedCommands, Process

TINY = [
    *("train", "experiment=smoke", "model.options.width=0.0625", "data.image_size=12"),
    *("data.train_samples=32", "data.val_samples=13", "data.batch_size=2", "data.num_workers=0"),
    *("schedule.epochs=2", "trainer.log_every=1", "trainer.device=cpu"),
    *("trainer.ema_decay=0.9", "trainer.save_every_steps=1"),
]
"""A run of two ranks."""


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


def run_to_the_end(commands: ForkedCommands, folder: str | Path) -> None:
    """Run both ranks, or continue their run."""
    run_both(commands, *TINY, f"output_dir={folder}")


def run_both(commands: ForkedCommands, *argv: str, before: str = "") -> str:
    """Run two ranks, which must succeed in silence, and return what they print."""
    with start_ranks(commands, argv, argv, before=(before, before)) as ranks:
        assert [rank.wait() for rank in ranks] == [0, 0], [rank.err for rank in ranks]
        assert [rank.err for rank in ranks] == ["", ""]
        return "".join(line for rank in ranks for line in rank.lines)
