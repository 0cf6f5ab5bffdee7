import json
import subprocess
import sys
from pathlib import Path

import pytest

from rednet import commands

WORKER = Path(__file__).with_name("distributed_worker.py")
ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def run(program, *arguments):
    result = subprocess.run(
        [*program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def reports(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9].json"))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The reports by rank of a run in one process and in two, and of a poisoned run in two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    run([sys.executable], WORKER, one, "curve")
    run(TORCHRUN, WORKER, two, "curve", "poison")
    return reports(one / "curve"), reports(two / "curve"), reports(two / "poison")


def test_two_processes_have_the_loss_curve_of_one(runs):
    """To float64 accuracy, the uneven last steps (3 samples of 16) included."""
    (single,), (first, second), _ = runs
    assert len(single["losses"]) == 8
    assert first["losses"] == pytest.approx(single["losses"], rel=1e-10)
    assert second["losses"] == first["losses"]
    assert first["weights"] == pytest.approx(single["weights"], rel=1e-12)
    assert max(single["losses"]) - min(single["losses"]) > 1e-3


def test_metrics_are_exact_over_all_ranks(runs):
    (single,), (first, second), _ = runs
    assert first["confusion"] == second["confusion"] == single["confusion"]
    assert sum(map(sum, first["confusion"])) == 21
    assert first["val_loss"] == pytest.approx(single["val_loss"], rel=1e-6)


def test_a_non_finite_loss_on_one_rank_is_caught_on_all(runs):
    first, second = runs[-1]
    assert len(first["losses"]) == len(second["losses"]) == 3
    assert "the loss is nan" in first["error"]
    assert first["error"] == second["error"]
    assert first["weights"] == second["weights"]


def test_the_training_command_under_torchrun(tmp_path):
    folder = tmp_path / "run"
    sizes = ["data.image_size=12", "data.train_samples=64", "data.val_samples=21"]
    out = run(TORCHRUN, ROOT / "train.py", "experiment=smoke", *sizes, f"output_dir={folder}")
    assert out.count("checkpoints are in") == 1
    trained = json.loads((folder / "metrics.jsonl").read_text())
    assert trained["global_step"] == 1
    checkpoint = f"checkpoint={folder}/checkpoints/last.pt"
    data = ["data=fashion_mnist", "data.val_samples=21", "trainer.device=cpu"]
    assert commands.evaluate([checkpoint, *data, f"output_dir={tmp_path}/evaluation"]) == 0
    alone = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert alone["top1"] == pytest.approx(trained["val_top1"])
    assert alone["loss"] == pytest.approx(trained["val_loss"], rel=1e-5)
