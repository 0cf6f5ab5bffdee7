"""The command line of the benchmarks: python scripts/benchmark.py [PART]."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.commandline import Parser, output_path, run_command
from rednet.program import announce, announce_torch

PROGRAM = "python scripts/benchmark.py"
PARTS = {
    "all": "all of the following, at their defaults",
    "ceilings": "multiply-adds and copied bytes per second of this machine",
    "operator": "the involutions of RedNet-50: every backend against unfold and the ceilings",
    "growth": "how the operator's cost grows: batch, size, kernel, groups, cores",
    "network": "RedNet against the ResNet of equal depth and against a free involution",
    "pointwise": "1x1 convolutions as matrix products and as convolutions",
    "input": "images from files and shards to batches: each stage, against timm and torchvision",
    "saving": "what a checkpoint costs: the copy, for which training waits, and the write",
    "export": "RedNet as exported files: size, time to export, speed and error, on the CPU",
    "optimized": "RedNet optimized for inference against ResNet in runtimes for CPUs",
    "onnx-forms": "ways to write the involution in ONNX, in two runtimes on the CPU",
}
ON_CPU = ("input", "export", "optimized", "onnx-forms")
STAGES = ("read", "decode", "crop", "collate", "sample")
LAYERS = (
    *("stem", "stage1", "stage2-first", "stage2"),
    *("stage3-first", "stage3", "stage4-first", "stage4"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return the exit code: 0, 2 for wrong input, 130 after an interrupt."""
    return run_command(_run, argv)


def _run(argv: Sequence[str]) -> None:
    options = parse(argv)
    announce_torch()
    # Imported here because torch takes seconds to import, and a mistake is answered without it.
    from benchmarks.parts import run

    announce(None)
    run(options)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options; `command` is the command line that repeats the measurement elsewhere."""
    argv = list(argv)
    if not argv or (argv[0] not in PARTS and argv[0] not in ("-h", "--help")):
        argv = ["all", *argv] if not argv or argv[0].startswith("-") else argv
    options = _parser().parse_args(argv)
    options.command = " ".join([PROGRAM, *_without_output(argv)])
    if options.output is None:
        options.output = Path("runs", f"benchmark-{datetime.now():%Y%m%d-%H%M%S}")
    return options


def _without_output(argv: Sequence[str]) -> list[str]:
    """Drop `--output`: the folder means nothing on another machine."""
    kept, skip = [], False
    for word in argv:
        if not skip and not word.startswith("--output"):
            kept.append(word)
        skip = word == "--output"
    return kept


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    parts = parser.add_subparsers(dest="part", required=True, metavar="|".join(PARTS))
    made = {
        name: parts.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in PARTS.items()
    }
    for name, one in made.items():
        _add_common(one, ("cpu",) if name in ON_CPU else ("auto", "cpu", "cuda"))
    for name in ("all", "operator", "network"):
        _add_sizes(made[name], PRECISIONS[name])
    _add_operator(made["operator"])
    _add_growth(made["growth"])
    _add_network(made["network"])
    _add_depth(made["saving"])
    _add_pointwise(made["pointwise"])
    _add_input(made["input"])
    for name in ("export", "optimized"):
        _add_depth(made[name])
        _add_image_size(made[name])
        _add_batch(made[name], [1, 16], "export_batch")
    _add_precision(made["optimized"], PRECISIONS["all"], "optimized_precision")
    _add_clock(made["optimized"], "wall")
    _add_batch(made["onnx-forms"], [4], "form_batch")
    made["all"].set_defaults(
        layer=list(LAYERS),
        backend=None,
        depth=[50],
        mode=["inference", "training"],
        compile="no",
        plain=False,
        export_batch=[1, 16],
        form_batch=[4],
        optimized_precision=list(PRECISIONS["all"]),
        clock="wall",
        images=None,
        number=64,
        workers=[],
        stage=list(STAGES),
    )
    return parser


PRECISIONS = {
    "all": ("fp32", "bf16"),
    "operator": ("fp32", "bf16", "fp16", "fp64"),
    "network": ("fp32", "bf16", "fp16"),
}


def _add_common(parser: argparse.ArgumentParser, devices: Sequence[str]) -> None:
    parser.add_argument("--output", type=output_path, help="folder (runs/benchmark-TIME)")
    parser.add_argument("--turns", type=_at_least(1), default=9, help="turns of each contender (9)")
    parser.add_argument("--threads", type=_at_least(1), help="threads of torch (torch's default)")
    parser.add_argument("--device", choices=devices, default=devices[0])


def _add_sizes(parser: argparse.ArgumentParser, precisions: Sequence[str]) -> None:
    _add_batch(parser, [16], "batch")
    _add_image_size(parser)
    _add_precision(parser, precisions, "precision")


def _add_precision(parser: argparse.ArgumentParser, choices: Sequence[str], name: str) -> None:
    """Add `--precision`; `name` is the attribute."""
    default = ["fp32", "bf16"]
    parser.add_argument(
        "--precision", nargs="+", choices=choices, default=default, dest=name, help="(fp32 bf16)"
    )


def _add_batch(parser: argparse.ArgumentParser, default: Sequence[int], name: str) -> None:
    """Add `--batch`; `name` is the attribute, as "all" has another default for each part."""
    text = f"images ({' '.join(map(str, default))})"
    parser.add_argument(
        "--batch", type=_at_least(1), nargs="+", default=default, dest=name, help=text
    )


def _add_image_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image-size", type=_at_least(64), default=224, help="pixels (224)")


def _add_operator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layer", nargs="+", choices=LAYERS, default=list(LAYERS), help="(all)")
    parser.add_argument("--backend", nargs="+", help="(all that can run)")


def _add_depth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--depth", nargs="+", type=int, choices=(26, 38, 50, 101, 152), default=[50], help="(50)"
    )


def _add_growth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS["operator"], default=["fp32"], help="(fp32)"
    )
    parser.add_argument("--backend", help="(the first that can run)")


def _add_pointwise(parser: argparse.ArgumentParser) -> None:
    _add_depth(parser)
    _add_batch(parser, [16], "batch")
    _add_image_size(parser)


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", help="folder of JPEG files (images of noise are made)")
    parser.add_argument("--number", type=_at_least(1), default=64, help="images (64)")
    parser.add_argument(
        "--workers", type=_at_least(1), nargs="*", default=[], help="loaders with workers (none)"
    )
    parser.add_argument(
        "--stage", nargs="+", choices=STAGES, default=list(STAGES), help="stages (all)"
    )
    _add_image_size(parser)
    _add_clock(parser, "cpu")


def _add_clock(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default=default, help=f"or processor time ({default})"
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    _add_depth(parser)
    modes = ("inference", "training")
    parser.add_argument("--mode", nargs="+", choices=modes, default=list(modes), help="(both)")
    parser.add_argument(
        "--compile", choices=("no", "yes", "both"), default="no", help="torch.compile (no)"
    )
    parser.add_argument("--backend", help="backend of RedNet (the first that can run)")
    parser.add_argument(
        "--plain", action="store_true", help="without rednet.keep_freed_memory(), as in a library"
    )


def _at_least(least: int) -> "argparse._ActionType":
    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {number}")
        return number

    return whole_number
