"""Figures of a search, by optuna: its history, and how the settings matter."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
import optuna
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.visualization import matplotlib as figures

from rednet.best_effort import BestEffort
from rednet.files import write_atomically
from rednet.search.metric import HEADINGS, Metric

MAX_IN_LEGEND = 20
MIN_COMPLETE = 2
"""Trials that figures of the settings need."""


def draw_figures(study: optuna.Study, metric: Metric, folder: Path) -> list[Path]:
    """Draw what the trials so far allow, and return the PNG files.

    Args:
        study: The search, with at least one complete trial.
        metric: What decides which trial is best.
        folder: Folder of the files.
    """
    name = HEADINGS[metric]
    drawings: dict[str, Callable[[], object]] = {
        "history": lambda: figures.plot_optimization_history(study, target_name=name),
        "curves": lambda: _draw_curves(study, name),
    }
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len({trial.value for trial in complete}) >= MIN_COMPLETE:
        drawings |= {
            "slices": lambda: figures.plot_slice(study, target_name=name),
            "parallel": lambda: figures.plot_parallel_coordinate(study, target_name=name),
            "importances": lambda: figures.plot_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator(), target_name=name
            ),
        }
    paths = {folder / f"search-{stem}.png": draw for stem, draw in drawings.items()}
    for path, draw in paths.items():
        with BestEffort("the trials are complete without it").write(str(path)):
            _draw(draw, path)
    return [path for path in paths if path.exists()]


def _draw_curves(study: optuna.Study, name: str) -> None:
    axes = figures.plot_intermediate_values(study)
    axes.set(title="Epochs of the trials", xlabel="epoch", ylabel=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend = axes.get_legend()
    if legend is not None and len(study.get_trials(deepcopy=False)) > MAX_IN_LEGEND:
        legend.remove()


def _draw(draw: Callable[[], object], path: Path) -> None:
    """Draw a figure without a display, and keep optuna's style to it."""
    pyplot.switch_backend("agg")
    try:
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental functions, and layouts that do not fit
            draw()
            save = partial(pyplot.gcf().savefig, format="png", dpi=120, bbox_inches="tight")
            write_atomically(path, save)
    finally:
        pyplot.close("all")
