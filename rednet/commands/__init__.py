"""The commands: what `train.py`, the scripts and `python -m rednet` run.

torch is imported inside them, so that a typo on the command line is answered at once.
"""

from rednet.analysis.benchmark.cli import main as benchmark
from rednet.analysis.kernels.cli import main as kernel_report
from rednet.commands.evaluate import evaluate
from rednet.commands.train import train

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "benchmark": benchmark,
    "kernel-report": kernel_report,
}

__all__ = ["COMMANDS", "benchmark", "evaluate", "kernel_report", "train"]
