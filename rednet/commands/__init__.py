"""The commands that `train.py`, the scripts and `python -m rednet` run.

Each imports torch only when it runs, so that a typo on the command line is answered at once.
"""

from rednet.program import starting

with starting():  # Hydra and pydantic take half a second
    from rednet.commands.build_kernels import build_kernels
    from rednet.commands.convert import convert_weights
    from rednet.commands.doctor import doctor
    from rednet.commands.evaluate import evaluate
    from rednet.commands.export import export
    from rednet.commands.info import info
    from rednet.commands.launch_table import launch_table
    from rednet.commands.make_shards import make_shards
    from rednet.commands.paper_tables import paper_tables
    from rednet.commands.predict import predict
    from rednet.commands.prepare_imagenet import prepare_imagenet
    from rednet.commands.report import report
    from rednet.commands.submit import submit
    from rednet.commands.train import train
    from rednet.commands.visualize import visualize

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "convert-weights": convert_weights,
    "export": export,
    "info": info,
    "doctor": doctor,
    "report": report,
    "paper-tables": paper_tables,
    "visualize": visualize,
    "build-kernels": build_kernels,
    "prepare-imagenet": prepare_imagenet,
    "make-shards": make_shards,
    "launch-table": launch_table,
    "submit": submit,
}

__all__ = [
    "COMMANDS",
    "build_kernels",
    "convert_weights",
    "doctor",
    "evaluate",
    "export",
    "info",
    "launch_table",
    "make_shards",
    "paper_tables",
    "predict",
    "prepare_imagenet",
    "report",
    "submit",
    "train",
    "visualize",
]
