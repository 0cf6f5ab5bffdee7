"""Draw figures: published accuracies, the learning rate schedule, and those of a network."""

from collections.abc import Sequence
from typing import get_args

from rednet import cli
from rednet.commands.evaluate import TRAINING_ONLY
from rednet.config import ConfigError, FigureName, VisualizationConfig, to_yaml
from rednet.config.data_effects import KEYS_OF_SOME_DATA
from rednet.program import announce, announce_torch, say

UNUSED = (
    *KEYS_OF_SOME_DATA,
    *TRAINING_ONLY,
    "data.batch_size",
    "data.class_order",
    "data.max_worker_restarts",
    "data.name",
    "data.num_workers",
    "data.on_unreadable",
    "data.root",
    "data.split",
    "data.timeout",
    "data.val_fraction",
    "data.val_samples",
    "trainer.log_every",
    "trainer.optimize",
    "trainer.precision",
)

ALL: tuple[FigureName, ...] = get_args(FigureName)
OF_NETWORK: tuple[FigureName, ...] = ("kernels", "taps", "receptive_field")
NEEDED = ("checkpoint", "images")
"""Keys that every figure of a network needs."""

OF_KERNELS = ("layers", "groups", "overlay", "smooth", "shared_scale", "max_rows")
"""Keys that only the heat maps of kernels use."""

FIGURES_OF_KEY: dict[str, tuple[FigureName, ...]] = {
    **dict.fromkeys(OF_KERNELS, ("kernels",)),
    **dict.fromkeys(("schedule", "lr", "steps_per_epoch"), ("schedule",)),
    **dict.fromkeys((*NEEDED, "max_images", "model", "data", "trainer"), OF_NETWORK),
}
"""Figures that use each key."""


def visualize(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("visualize", _visualize, argv, unused=UNUSED)


def _visualize(config: VisualizationConfig, explicit_keys: frozenset[str]) -> None:
    figures = choose_figures(config, explicit_keys)
    announce_torch()
    from rednet.build.folders import run_folder
    from rednet.build.runtime import build_runtime
    from rednet.build.visualization import build_inputs, network_writers, plain_writers

    announce("building the network")
    with build_runtime(config.trainer, explicit_keys) as runtime:
        writers = plain_writers(config, figures)
        if set(figures) & set(OF_NETWORK):
            inputs = build_inputs(config, explicit_keys, runtime)
            writers |= network_writers(inputs, figures)
            config = inputs.config
        with run_folder(config.output_dir, "visualize", runtime) as folder:
            if not runtime.is_primary:
                return
            (folder / "visualization.yaml").write_text(to_yaml(config))
            for figure, write in writers.items():
                announce(f"drawing {figure}")
                names = dict.fromkeys(path.stem for path in write(folder))
                say(f"{figure}: {', '.join(names)}")
            say(f"figures are in {folder}")


def choose_figures(
    config: VisualizationConfig, explicit_keys: frozenset[str]
) -> tuple[FigureName, ...]:
    """Return the figures to draw: the user's choice, or all that the given keys allow.

    Raises:
        ConfigError: A figure needs more keys, or no figure uses one of the explicit keys.
    """
    missing = [key for key in NEEDED if getattr(config, key) is None]
    figures = tuple(config.figures or ALL)
    if config.figures is None and len(missing) == len(NEEDED):
        figures = tuple(figure for figure in ALL if figure not in OF_NETWORK)
    of_network = [figure for figure in figures if figure in OF_NETWORK]
    problems = [f"{key}=... is needed for {', '.join(of_network)}" for key in missing if of_network]
    for key in sorted(explicit_keys):
        used_by = FIGURES_OF_KEY.get(key.partition(".")[0])
        if used_by and not set(used_by) & set(figures):
            problems.append(f"{key}: only figures=[{','.join(used_by)}] use it")
    if problems:
        raise ConfigError(problems)
    return figures
