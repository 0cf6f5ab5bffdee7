"""Two processes stop, resume, skip and refuse together; what they log is what they save."""

import json
from pathlib import Path

import pytest
import torch
from distributed_runs import RUN, STEPS
from equal_runs import assert_equal_runs, load, rows
from forked_ranks import run_both

from rednet.commands import evaluate, train

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(scope="module")
def folder(request, commands, tmp_path_factory):
    """The folder of the runs."""
    everything = "nightly" in request.config.option.markexpr
    folder = tmp_path_factory.mktemp("runs")
    code = f"import sys; from pathlib import Path; sys.path.insert(0, {str(SUPPORT)!r})\n"
    code += f"import distributed_runs; distributed_runs.main(Path({str(folder)!r}), {everything})"
    run_both(commands, before=code)
    return folder


@pytest.fixture(scope="module")
def done(folder):
    """Exit code, stdout and stderr of both processes, by run and number of its start."""
    starts = {}
    reports = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    for pair in zip(*reports, strict=True):
        name = pair[0][0]
        starts.setdefault(name, []).append([tuple(process[1:]) for process in pair])
    return starts


def codes(start):
    return [code for code, _, _ in start]


def test_a_signal_to_one_process_stops_both(done):
    first, _ = done["cut"]
    assert codes(first) == [143, 143]
    (_, _, said), (_, _, other) = first
    assert said.startswith("stopped by SIGTERM: step 5 was saved ")
    assert other == ""


def test_they_resume_inside_an_epoch_from_a_file_that_one_of_them_has(done, folder):
    """Batch normalisation and averaged weights included; the other's folder stays empty."""
    _, second = done["cut"]
    assert codes(second) == [0, 0]
    assert "resumed after step 5, in epoch 2, from" in second[0][1]
    assert_equal_runs(folder / "cut", folder / "whole")
    assert not (folder / "other").exists()


def test_different_weights_are_refused_by_both(done):
    (start,) = done["different"]
    assert codes(start) == [2, 2]
    said = "".join(err for _, _, err in start)
    assert said.count("rank 1 differs from rank 0 at step 3") == said.count("\n") == 1


@pytest.mark.parametrize("name", ["skip", pytest.param("rollback", marks=pytest.mark.nightly)])
def test_both_agree_about_numbers_that_are_not_finite(name, done, folder):
    (start,) = done[name]
    assert codes(start) == [0, 0]
    state = load(folder / name / "checkpoints" / "last.pt")
    policy = state["train_state"]["nonfinite"]
    assert (policy["skips"], policy["passed_over"]) == ((1, []) if name == "skip" else (0, [4]))
    weights = [*state["state_dict"].values(), *state["state_dict_ema"].values()]
    assert all(tensor.isfinite().all() for tensor in weights)
    (batch,) = (folder / name / "nonfinite").iterdir()
    assert batch.name.endswith("-rank-1.pt")


def test_one_without_images_does_not_keep_the_other_waiting(done, folder):
    assert codes(done["lost"][0]) == [0, 0]
    outputs = [out.count("image skipped: 7.png (gone)") for _, out, _ in done["lost"][0]]
    assert outputs == [0, 1]
    state = load(folder / "lost" / "checkpoints" / "last.pt")["train_state"]
    assert state["unreadable_images"] == {7: "7.png"}
    assert state["optimizer_steps"] == 2 * STEPS


@pytest.mark.nightly
def test_a_run_resumed_where_one_has_no_images_ends_the_same(done, folder):
    """Statistics of batch normalisation included."""
    assert [codes(start) for start in done["lost cut"]] == [[0, 0], [0, 0]]
    assert_equal_runs(folder / "lost cut", folder / "lost")


def test_one_that_gives_up_ends_both_with_a_saved_run(done, folder):
    first, second = done["gave up"]
    assert codes(first) == [2, 2]
    (error,) = filter(None, (err for _, _, err in first))
    assert f"there is no memory; step 4 is saved in {folder}/gave up" in error
    assert codes(second) == [0, 0]
    assert_equal_runs(folder / "gave up", folder / "whole")


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("whole", 1e-6), pytest.param("bf16", 1e-4, marks=pytest.mark.nightly)],
)
def test_what_is_logged_is_what_is_saved(name, accuracy, done, folder, tmp_path):
    """One process evaluates the saved file, in other batches."""
    assert codes(done[name][0]) == [0, 0]
    argv = [
        f"checkpoint={folder}/{name}/checkpoints/last.pt",
        "data=fashion_mnist",
        "data.val_samples=13",
    ]
    precision = "bf16" if name == "bf16" else "fp32"
    argv += ["trainer.device=cpu", f"trainer.precision={precision}", f"output_dir={tmp_path}"]
    assert evaluate(argv) == 0
    alone = json.loads((tmp_path / "evaluation.json").read_text())
    logged = rows(folder / name)[-1]
    assert alone["loss"] == pytest.approx(logged["val_loss"], rel=accuracy)
    assert alone["top1"] == pytest.approx(logged["val_top1"])


def test_the_averaged_network_is_evaluated_as_it_is_saved(folder):
    """To the last bit, where the same processes evaluate the saved file in the same batches."""
    saved = json.loads((folder / "whole" / "evaluation" / "evaluation.json").read_text())
    logged = rows(folder / "whole")[-1]
    assert (saved["loss"], saved["top1"]) == (logged["val_loss"], logged["val_top1"])


@pytest.mark.nightly
def test_one_process_continues_from_the_end_of_an_epoch(done, folder, capsys):
    assert codes(done["smaller"][0]) == [0, 0]
    argv = [*RUN, "data.batch_size=8", "trainer.ema_decay=0.9", f"output_dir={folder}/smaller"]
    assert train(argv) == 0
    out = capsys.readouterr().out
    assert "no longer exact to the last bit: " in out
    assert "resumed after epoch 1 from" in out
    assert [row["global_step"] for row in rows(folder / "smaller")] == [STEPS, 2 * STEPS]


@pytest.mark.nightly
def test_they_thaw_a_network_together(done, folder):
    """After an epoch of the classifier alone, in which a run was stopped or was not."""
    assert [codes(start) for start in done["thawed"]] == [[0, 0]]
    assert [codes(start) for start in done["thawed-cut"]] == [[143, 143], [0, 0]]
    assert_equal_runs(folder / "thawed-cut", folder / "thawed")
    before = load(folder / "whole" / "checkpoints" / "last.pt")["state_dict_ema"]
    after = load(folder / "thawed" / "checkpoints" / "last.pt")["state_dict"]
    moved = {name.partition(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"layer2", "layer3", "layer4", "fc"}
