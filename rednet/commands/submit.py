"""Submit a training to Slurm, which is continued after preemptions and time limits."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from rednet.arguments import command_parser
from rednet.errors import InputError
from rednet.launching.slurm import Job, Resources, make_executor
from rednet.program import DONE, run_program


def submit(argv: Sequence[str] | None = None) -> int:
    """Submit the job, and print its number and where its output is; return the exit code."""
    return run_program(lambda: _submit(_parser().parse_args(argv)))


def _submit(options: Namespace) -> int:
    if not any(text.startswith("output_dir=") for text in options.overrides):
        raise InputError("output_dir=FOLDER is needed: the run to continue")
    resources = Resources(
        name=options.name,
        folder=options.jobs,
        cluster=options.cluster,
        partition=options.partition,
        nodes=options.nodes,
        gpus=options.gpus,
        processes=options.gpus or options.processes,
        cpus=options.cpus,
        hours=options.hours,
        restarts=options.restarts,
    )
    job = make_executor(resources).submit(Job(options.overrides, resources.processes))
    print(f"job {job.job_id}; its output is in {job.paths.stdout}", flush=True)
    if options.cluster == "local":
        job.wait()
        return int(job.result())
    return DONE


def _parser() -> ArgumentParser:
    parser = command_parser("submit", __doc__)
    parser.add_argument("overrides", nargs="+", help="command line of train.py, after --")
    parser.add_argument("--cluster", choices=["slurm", "local"], default="slurm")
    parser.add_argument("--jobs", default="jobs", help="folder of the jobs' logs")
    parser.add_argument("--name", default="rednet")
    parser.add_argument("--partition")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="for each node")
    parser.add_argument("--processes", type=int, default=1, help="for each node, without GPUs")
    parser.add_argument("--cpus", type=int, default=8, help="for each process")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--restarts", type=int, default=20, help="after time limits")
    return parser
