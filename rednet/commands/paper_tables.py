"""Print the paper's tables next to our results."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rednet import cli
from rednet.commands.evaluate import TRAINING_ONLY
from rednet.config import Model, PaperTablesConfig
from rednet.errors import InputError
from rednet.program import announce, announce_torch, say
from rednet.wording import count, printable

if TYPE_CHECKING:
    from rednet.evaluation import Evaluation
    from rednet.paper.accuracy import Accuracy
    from rednet.paper.accuracy_tables import Accuracies
    from rednet.paper.networks import Network
    from rednet.runtime import Runtime
    from rednet.weights import Checkpoint

    Evaluated = tuple[Network, Accuracy, Evaluation]

FILES = "tables.md, tables.csv and tables.json"


def paper_tables(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    unused = (*TRAINING_ONLY, "data.class_order", "data.split", "data.val_fraction")
    return cli.run("paper_tables", _paper_tables, argv, unused=unused)


def _paper_tables(config: PaperTablesConfig, explicit_keys: frozenset[str]) -> None:
    paths = _find_checkpoints(config, explicit_keys)
    announce_torch()
    from rednet.build.finished_runs import find_runs

    runs = [] if config.runs is None else find_runs(config.runs)
    from rednet.build.data_report import report_not_read
    from rednet.build.folders import run_folder
    from rednet.build.opening import open_splits
    from rednet.build.runtime import build_runtime

    # Once for all files: wrong data are not the fault of one.
    splits = open_splits(config.data, seed=0, split="val") if paths else None
    results: list[Evaluation] = []
    accuracies: dict[Network, list[Accuracy]] = {}
    warnings: list[str] = []
    with (
        build_runtime(config.trainer, explicit_keys) as runtime,
        run_folder(config.output_dir, "paper_tables", runtime) as folder,
    ):
        if runtime.is_primary:
            _require_no_tables(folder)
            if splits is not None:
                report_not_read(splits.not_read, folder)
        _read_runs(runs, config, accuracies, warnings)
        announce("counting the parameters and FLOPs of all networks")
        text = _write(accuracies, folder, runtime)
        evaluations = _evaluate_files(paths, config, explicit_keys, runtime, warnings)
        for network, accuracy, result in evaluations:
            results.append(result)
            accuracies.setdefault(network, []).append(accuracy)
            text = _write(accuracies, folder, runtime)  # each time, so that an interrupt loses none
            if runtime.is_primary:
                say(_describe(network, accuracy))
        # The others wait: torchrun ends all processes as soon as one ends with an error.
        lines = [text, *warnings, f"{FILES} are in {printable(folder)}"]
        runtime.on_primary(lambda: print("\n".join(lines), flush=True))
    if runs and not paths and not accuracies:
        raise InputError(f"runs={config.runs}: none of its runs is finished and in the tables")
    if paths and not results:
        raise InputError(f"checkpoints={config.checkpoints}: none of its files can be evaluated")
    if results and config.data.on_unreadable == "error":
        results[-1].require_readable()  # all have read the same images


def _require_no_tables(folder: Path) -> None:
    """Refuse to overwrite tables that may have taken hours."""
    if (folder / "tables.json").exists():
        raise InputError(f"output_dir={folder}: already contains tables: choose another folder")


def _write(accuracies: "Accuracies", folder: Path, runtime: "Runtime") -> str:
    """Write the tables with the accuracies so far; return their Markdown for the screen."""
    from rednet.paper.document import build_tables, write_tables

    return write_tables(build_tables(accuracies), folder) if runtime.is_primary else ""


def _read_runs(
    runs: list[Path],
    config: PaperTablesConfig,
    accuracies: "dict[Network, list[Accuracy]]",
    warnings: list[str],
) -> None:
    """Add the averages of finished runs, and a warning for each that cannot be used."""
    from rednet.build.finished_runs import read_run
    from rednet.paper.accuracy import average_runs

    for run in runs:
        try:
            network, accuracy = read_run(run, Path(str(config.runs)))
        except InputError as error:
            warnings.append(f"warning: skipped: {error}")
        else:
            accuracies.setdefault(network, []).append(accuracy)
    for network, found in accuracies.items():
        accuracies[network] = average_runs(found)


def _describe(network: "Network", accuracy: "Accuracy") -> str:
    scores = f"top-1 {accuracy.top1:.2f} %, top-5 {accuracy.top5:.2f} %"
    return f"{accuracy.checkpoint}  {network}  {scores}  ({count(accuracy.images, 'image')})"


def _find_checkpoints(config: PaperTablesConfig, explicit_keys: frozenset[str]) -> list[Path]:
    """Return the files to evaluate, sorted by name; links to the same file count once."""
    if config.checkpoints is None:
        unused = [key for key in explicit_keys if key.partition(".")[0] in ("data", "trainer")]
        if unused:
            keys = ", ".join(sorted(unused))
            raise InputError(f"{keys}: without checkpoints=FOLDER nothing is evaluated")
        return []
    if config.data.name != "imagenet":
        raise InputError(f"data={config.data.name}: the tables contain accuracies on ImageNet only")
    folder = Path(config.checkpoints)
    if not folder.is_dir():
        what = "is a file; give its folder" if folder.exists() else "no such folder"
        raise InputError(f"checkpoints={folder}: {what}")
    paths = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    if not paths:
        raise InputError(f"checkpoints={folder}: contains no files")
    files = {(path.stat().st_dev, path.stat().st_ino): path for path in sorted(paths, reverse=True)}
    return sorted(files.values())


def _evaluate_files(
    paths: list[Path],
    config: PaperTablesConfig,
    explicit_keys: frozenset[str],
    runtime: "Runtime",
    warnings: list[str],
) -> Iterator["Evaluated"]:
    """Evaluate the files one by one; add a warning for each that cannot be evaluated."""
    for path in paths:
        try:
            evaluated = _evaluate(path, config, explicit_keys, runtime)
        except InputError as error:
            warnings.append(f"warning: skipped: {error}")
            if runtime.is_primary:
                say(warnings[-1])
        else:
            yield evaluated


def _evaluate(
    path: Path, config: PaperTablesConfig, explicit_keys: frozenset[str], runtime: "Runtime"
) -> "Evaluated":
    """Evaluate one file.

    Raises:
        InputError: It is no checkpoint of a network in the tables.
    """
    from rednet.build.conditions import precision
    from rednet.build.evaluation import build_evaluation, run_evaluation
    from rednet.data.imagenet_names import NUM_CLASSES
    from rednet.paper.accuracy import Accuracy
    from rednet.paper.accuracy_tables import has_row
    from rednet.paper.networks import network_from_options
    from rednet.weights import read_checkpoint

    checkpoint = read_checkpoint(path, key="checkpoints")
    resnet = _resnet_from_file_name(checkpoint)
    checkpoint = checkpoint if resnet is None else _strip(checkpoint)
    setup = build_evaluation(checkpoint, resnet, config.data, 0, explicit_keys)
    model, name = setup.network, printable(path.name)
    network = network_from_options(model.name, model.options)
    if network is None or not has_row(network):
        words = [model.name, *(f"{key}={value}" for key, value in model.options.items())]
        raise InputError(f"checkpoints={printable(path)}: no table contains {' '.join(words)}")
    if (classes := len(setup.source.class_names)) != NUM_CLASSES:
        raise InputError(f"checkpoints={printable(path)}: tells {classes} classes apart, not 1000")
    if runtime.is_primary and setup.notes:
        for note in setup.notes:
            say(f"{name}: {note}")
    result = run_evaluation(setup, config.trainer, runtime, label=name)
    assert result.top5 is not None  # ImageNet has more than five classes
    if result.nonfinite:
        raise InputError(f"checkpoints={printable(path)}: {result.explain_nonfinite()}")
    accuracy = Accuracy(
        top1=result.top1,
        top5=result.top5,
        images=result.samples,
        preprocessing=setup.preprocessing,
        precision=precision(config.trainer, runtime),
        checkpoint=name,
        is_named_by_file=resnet is not None,
    )
    return network, accuracy, result


def _strip(checkpoint: "Checkpoint") -> "Checkpoint":
    """Return a ResNet's checkpoint with timm's names and with the paper's image preparation."""
    from rednet.weights import imagenet_preprocessing
    from rednet.weights.naming import strip_prefixes

    weights, dropped = strip_prefixes(checkpoint.state_dict)
    return replace(
        checkpoint,
        state_dict=weights,
        dropped_parts=dropped,
        preprocessing=imagenet_preprocessing(),
    )


def _resnet_from_file_name(checkpoint: "Checkpoint") -> Model | None:
    """Return the ResNet named by the file, or None if the checkpoint itself says which network."""
    if checkpoint.model is not None:
        return None
    found = re.match(r"resnet\d+", checkpoint.path.name)
    if found is None:
        raise InputError(
            f"{checkpoint.label}: does not say which network it holds; for a ResNet, put it in the "
            "file name, e.g. resnet50.pth"
        )
    return Model(name=found[0])
