"""Write the splits of any data as tar shards for data=webdataset."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from rednet.arguments import command_parser
from rednet.config import compose
from rednet.program import DONE, announce_torch, run_program, say
from rednet.wording import count, printable

SHORT_SIDES = (256, 400, 512)


def make_shards(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return run_program(lambda: _make_shards(_parser().parse_args(argv)))


def _make_shards(options: Namespace) -> int:
    config = compose("evaluate", options.overrides)
    announce_torch()
    from rednet.build.opening import open_splits
    from rednet.data.shard_writing import Recipe, plan_shards, start_folder, write_shards
    from rednet.data.split_names import TITLES

    splits = open_splits(config.data, config.seed)
    sources = {split: source for split in TITLES if (source := getattr(splits, split)) is not None}
    if splits.test is splits.val:
        sources.pop("test", None)
    recipe = Recipe(options.short_side, options.quality)
    start_folder(options.folder, sources, recipe, options.images)
    for split, source in sources.items():
        shards = plan_shards(options.folder, split, source, options.images, recipe)
        write_shards(shards, split, options.workers)
        total = sum(shard.path.stat().st_size for shard in shards)
        say(
            f"{split}: {count(len(source), 'image')} in {count(len(shards), 'shard')}, "
            f"{total / 1e6:,.1f} MB"
        )
    say(f"train with data=webdataset data.shards={printable(options.folder)}")
    return DONE


def _parser() -> ArgumentParser:
    parser = command_parser(
        "make-shards",
        __doc__,
        "The same images give the same shards, byte for byte. Run it again after an "
        "interruption: shards that are complete are not written again.",
    )
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("overrides", nargs="+", help="the data, as for evaluate")
    parser.add_argument(
        "--short-side", type=int, choices=SHORT_SIDES, help="reduce a longer short side (pixels)"
    )
    parser.add_argument(
        "--quality", type=_quality, default=90, help="JPEG quality of those (default: %(default)s)"
    )
    parser.add_argument(
        "--images", type=_positive, default=1000, help="per shard (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes (default: only this one)")
    return parser


def _quality(text: str) -> int:
    if not 1 <= int(text) <= 100:
        raise ArgumentTypeError("must be 1 to 100")
    return int(text)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ArgumentTypeError("must be at least 1")
    return int(text)
