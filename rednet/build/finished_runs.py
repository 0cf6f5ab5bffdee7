"""The accuracies of finished runs, from their last checkpoints, and how they were trained."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rednet.build.identity import identity
from rednet.config import Config, compose, to_yaml
from rednet.config.problems import format_value
from rednet.data import Preprocessing
from rednet.data.imagenet import NUM_CLASSES
from rednet.errors import InputError
from rednet.paper.accuracy import Accuracy
from rednet.paper.accuracy_tables import has_row
from rednet.paper.networks import Network, network_from_options
from rednet.weights import OURS, read_checkpoint, read_run_config
from rednet.wording import count, printable

LAST = "checkpoints/last.pt"
DEEPEST = 3
"""Levels of folders below the given one in which runs are looked for, as sweeps make them."""
PAPER_BATCH = 2048
RECIPE = ("augment.", "loss.", "optimizer.", "schedule.", "finetune.", "trainer.")
"""Groups of the configuration that are the recipe."""
RECIPE_KEYS = ("global_batch", "checkpoint", "data.sampler", "data.train_samples")
PRECISION = "trainer.precision"


def find_runs(folder: str) -> list[Path]:
    """Return the folders of runs in a folder, which may be one itself.

    Raises:
        InputError: There is no such folder, or no run in it.
    """
    path = Path(folder)
    if not path.is_dir():
        what = "is a file; give its folder" if path.exists() else "no such folder"
        raise InputError(f"runs={printable(folder)}: {what}")
    files = (file for depth in range(DEEPEST) for file in path.glob("*/" * depth + LAST))
    found = {file.parents[1] for file in files if not file.parents[1].name.startswith("debug-")}
    if not found:
        raise InputError(f"runs={printable(folder)}: has no run; each has a {LAST}")
    return sorted(found)


def read_run(run: Path, root: Path) -> tuple[Network, Accuracy]:
    """Return network and accuracy of a finished run: those of its last epoch, not of its best.

    Args:
        run: Folder of the run.
        root: Folder that its name is relative to.

    Raises:
        InputError: The run is damaged, not finished, or its network or data are not in the tables.
    """
    name = printable(run.relative_to(root)) if run != root else printable(run.resolve().name)
    key = f"runs={name}"
    checkpoint = read_checkpoint(run / LAST, key="runs")
    if checkpoint.kind not in OURS:
        raise InputError(f"{key}: {LAST} was not written by a run")
    try:
        return _interpret(checkpoint.content, key, name)
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{key}: {LAST} is damaged") from error


def _interpret(content: Mapping[str, Any], key: str, name: str) -> tuple[Network, Accuracy]:
    run, metrics = identity(content), content["metrics"]
    epoch, epochs = content["train_state"]["epoch"], run["schedule.epochs"]
    if metrics is None or epoch < epochs:
        raise InputError(f"{key}: not finished, {count(epoch, 'epoch')} of {epochs}")
    model = content["model"]
    network = network_from_options(model["name"], model["options"])
    if network is None or not has_row(network):
        words = [
            model["name"],
            *(f"{option}={value}" for option, value in model["options"].items()),
        ]
        raise InputError(f"{key}: no table contains {printable(' '.join(words))}")
    if (classes := len(content["class_names"])) != NUM_CLASSES:
        raise InputError(f"{key}: tells {count(classes, 'class')} apart, not {NUM_CLASSES}")
    images = content["data"]["val"]["samples"]
    uses_tf32 = read_run_config(content["config"])["trainer"]["tf32"]  # if it had a GPU
    return network, Accuracy(
        top1=metrics["val_top1"],
        top5=metrics["val_top5"],
        images=min(images, run["data.val_samples"] or images),
        preprocessing=Preprocessing(**content["preprocessing"]),
        precision="tf32" if uses_tf32 and run[PRECISION] == "fp32" else run[PRECISION],
        checkpoint=name,
        seeds=(run["seed"],),
        recipe=_differences(run),
    )


def _differences(run: Mapping[str, Any]) -> str:
    """Return how a run was trained otherwise than by the paper's recipe, "" if it was not."""
    paper = _paper_recipe()
    keys = [key for key in dict.fromkeys([*paper, *run]) if _is_recipe(key)]
    values = {key: (run.get(key), paper.get(key)) for key in keys}
    # Training at the size of evaluation may be said in two ways.
    values["augment.image_size"] = (run.get("augment.image_size") or run["data.image_size"], 224)
    return "; ".join(
        f"{key} {format_value(ours)}, not {format_value(theirs)}"
        for key, (ours, theirs) in values.items()
        if ours != theirs
    )


def _is_recipe(key: str) -> bool:
    return (key.startswith(RECIPE) and key != PRECISION) or key in RECIPE_KEYS


@cache
def _paper_recipe() -> dict[str, Any]:
    config = compose("train", ["experiment=paper"])
    assert isinstance(config, Config)
    return identity({"config": to_yaml(config), "global_batch": PAPER_BATCH})
