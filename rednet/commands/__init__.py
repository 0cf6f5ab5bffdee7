"""The commands: what `train.py`, the scripts and `python -m rednet` run.

torch is imported inside them, so that a typo on the command line is answered at once.
"""

from rednet.analysis.benchmark.cli import main as benchmark
from rednet.analysis.kernels.cli import main as kernel_report
from rednet.commands.convert import convert_weights
from rednet.commands.evaluate import evaluate
from rednet.commands.paper_tables import paper_tables
from rednet.commands.train import train
from rednet.commands.visualize import visualize

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "visualize": visualize,
    "paper-tables": paper_tables,
    "convert-weights": convert_weights,
    "benchmark": benchmark,
    "kernel-report": kernel_report,
}

__all__ = [
    "COMMANDS",
    "benchmark",
    "convert_weights",
    "evaluate",
    "kernel_report",
    "paper_tables",
    "train",
    "visualize",
]
