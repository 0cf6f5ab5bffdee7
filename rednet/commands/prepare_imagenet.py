"""Verify ImageNet's tar files, index them so that data=imagenet reads them, or extract them."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from rednet.arguments import command_parser
from rednet.errors import InputError
from rednet.program import DONE, announce_torch, run_program, say
from rednet.wording import printable


def prepare_imagenet(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return run_program(lambda: _prepare_imagenet(_parser().parse_args(argv)))


def _prepare_imagenet(options: Namespace) -> int:
    announce_torch()
    from rednet.data.extraction import extract
    from rednet.data.imagenet_archives import ARCHIVES, compare_labels, index, verify
    from rednet.data.imagenet_tars import TARS

    found = {key: options.folder / archive.name for key, archive in ARCHIVES.items()}
    found = {key: path for key, path in found.items() if path.is_file()}
    if not found.keys() & TARS.keys():
        raise InputError(
            f"{options.folder} has neither {TARS['train']} nor {TARS['val']}: download them from "
            "image-net.org"
        )
    if options.checksums:
        for key, path in found.items():
            verify(path, ARCHIVES[key].md5)
    if "devkit" in found:
        compare_labels(found["devkit"])
    for split in (split for split in TARS if split in found):
        source = index(found[split], split)
        if options.extract is not None:
            extract(source, options.extract / split)
    folder = options.extract or options.folder
    missing = [TARS[split] for split in TARS if split not in found]
    rest = f", once {missing[0]} is there too" if missing else ""
    say(f"train with data=imagenet data.root={printable(folder)}{rest}")
    return DONE


def _parser() -> ArgumentParser:
    parser = command_parser(
        "prepare-imagenet",
        __doc__,
        "Run it again after an interruption: what was verified, indexed or extracted is not "
        "done twice.",
    )
    names = "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar"
    parser.add_argument("folder", type=Path, help=f"folder with {names}")
    parser.add_argument(
        "--extract",
        type=Path,
        metavar="FOLDER",
        help="write train/<synset>/ and val/<synset>/ there; else the tars are only indexed",
    )
    parser.add_argument(
        "--no-checksums", dest="checksums", action="store_false", help="do not compare the MD5s"
    )
    return parser
