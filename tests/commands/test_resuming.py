"""Going on with a run, starting from weights, and never losing what was saved."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from rednet.layers import pointwise_forms
from rednet.training.metrics import read_metrics


def weights(run, name="last.pt"):
    return torch.load(Path(run) / "checkpoints" / name, weights_only=True)["state_dict"]


def epochs(run):
    return [line["epoch"] for line in read_metrics(Path(run))]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


FORMS = ["auto", pytest.param("run", marks=pytest.mark.nightly), "run/checkpoints/last.pt"]


@pytest.mark.parametrize("resume", FORMS)
def test_a_run_goes_on_where_it_stopped(resume, train_tiny):
    """At the end of an epoch of two steps, or inside the next one."""
    epochs_2 = ["schedule.epochs=2", "output_dir=run"]
    train_tiny("schedule.epochs=2", "output_dir=whole")
    for limit in (2, 3):
        train_tiny(*epochs_2, f"trainer.max_steps={limit}")
    done = train_tiny(*epochs_2, f"resume={resume}")
    file = "last.pt" if resume.endswith("last.pt") else "epoch-0002-step-00000003.pt"
    assert f"resumed after step 3, in epoch 2, from run/checkpoints/{file}\n" in done.out
    assert epochs("run") == epochs("whole") == [1, 2]
    assert_equal(weights("run"), weights("whole"))
    starts = map(json.loads, Path("run/provenance.jsonl").read_text().splitlines())
    assert [start["resumed"] for start in starts] == [
        None,
        "run/checkpoints/epoch-0001.pt",
        f"run/checkpoints/{file}",
    ]


def test_a_run_keeps_the_forms_it_began_with(train_tiny, monkeypatch):
    """Of 1x1 convolutions: those of an AMD processor on one by Intel, and none are left behind."""
    epochs_2 = ["schedule.epochs=2", "output_dir=run"]
    monkeypatch.setattr(pointwise_forms, "cpu_vendor", lambda: "AuthenticAMD")
    train_tiny("schedule.epochs=2", "output_dir=whole")
    train_tiny(*epochs_2, "trainer.max_steps=3")
    monkeypatch.setattr(pointwise_forms, "cpu_vendor", lambda: "GenuineIntel")
    done = train_tiny(*epochs_2)
    assert "computes 1x1 convolutions as where the run began, which may be slower here" in done.out
    assert_equal(weights("run"), weights("whole"))
    train_tiny("trainer.max_steps=1", "output_dir=other")
    state = torch.load("other/checkpoints/last.pt", weights_only=True)["train_state"]
    assert set(state["pointwise"].values()) == {"product"}


@pytest.fixture
def run(trained, work_folder):
    """A run of two epochs in the folder "run"."""
    shutil.copytree(trained, work_folder / "run")


SAME = ["optimizer.lr=40", "schedule.epochs=2", "output_dir=run"]


def test_a_finished_run_has_nothing_left_to_do(run, train_tiny, files_in):
    before = files_in(Path("run"))
    done = train_tiny(*SAME, "trainer.log_every=3", "trainer.keep_latest=1")
    assert "nothing left to do after step 4\n" in done.out
    after = files_in(Path("run"))
    assert after == {name: content for name, content in before.items() if name in after}
    assert {Path(name).name for name in before.keys() - after.keys()} <= {"epoch-0001.pt"}


def test_other_settings_are_another_run_unless_forced(run, train_tiny, files_in):
    before = files_in(Path())
    changed = ["optimizer.lr=20", "schedule.epochs=3", "seed=1", "output_dir=run"]
    done = train_tiny(*changed)
    assert done.code == 2
    assert done.err.splitlines() == [
        "error: run/checkpoints/epoch-0002.pt belongs to a run with other settings; choose another "
        "output_dir, or continue with these changes by resume=force:",
        "error: optimizer.lr: 40.0 in the run, 20.0 here",
        "error: schedule.epochs: 2 in the run, 3 here",
        "error: seed: 0 in the run, 1 here",
    ]
    assert files_in(Path()) == before
    done = train_tiny(*changed, "resume=force")
    assert done.code == 0
    assert "changed: optimizer.lr: 40.0 in the run, 20.0 here\n" in done.out
    assert epochs("run") == [1, 2, 3]


@pytest.mark.parametrize("resume", ["never", "other"])
def test_a_run_is_not_replaced_by_another(resume, run, train_tiny, files_in):
    shutil.copytree("run", "other")
    before = files_in(Path())
    error = train_tiny(*SAME, f"resume={resume}").error
    assert error.startswith("output_dir=run already holds a run: choose another folder, or ")
    assert files_in(Path()) == before


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (["model.name=test_efficientnet"], "model.name: test_resnet in the run, test_efficientnet"),
        (["optimizer=adamw"], "optimizer.name: sgd in the run, adamw here"),
        (["optimizer.decay_all=false"], "optimizer.decay_all: true in the run, false here"),
    ],
)
def test_what_does_not_fit_is_refused_even_if_forced(change, line, run, train_tiny, files_in):
    before = files_in(Path())
    done = train_tiny(*SAME, *change, "resume=force")
    assert done.code == 2
    assert f"error: {line}" in done.err
    assert files_in(Path()) == before


def test_a_folder_with_other_classes_is_another_run(run, train_tiny, make_images):
    root = make_images("images", [f"class{number}" for number in range(10)])
    gray = ["data.mean=[0.5]", "data.std=[0.5]"]
    done = train_tiny("data=image_folder", f"data.root={root}", *gray, *SAME, "resume=force")
    assert done.code == 2
    assert 'class_names: class 0 is "T-shirt/top" in the run, "class0" here' in done.err


def test_a_fork_has_its_own_best(run, train_tiny):
    done = train_tiny("schedule.epochs=3", "output_dir=fork", "resume=run", "optimizer.lr=1e-9")
    assert done.code == 0
    assert "changed: schedule.epochs: 2 in the run, 3 here\n" in done.out
    assert sorted(path.name for path in Path("fork/checkpoints").iterdir()) == [
        *("best.pt", "epoch-0003.pt", "last.pt"),
    ]
    top1 = read_metrics(Path("fork"))[-1]["val_top1"]
    assert done.last_line.startswith(f"best top-1 {top1:.2f} %; ")
    assert epochs("fork") == [1, 2, 3]


def test_another_division_of_the_batch_continues_from_the_end_of_an_epoch(train_tiny):
    train_tiny("schedule.epochs=2", "output_dir=run", "trainer.max_steps=2")
    train_tiny("schedule.epochs=2", "output_dir=run", "trainer.max_steps=3")
    halves = ["data.batch_size=2", "trainer.grad_accum_steps=2"]
    done = train_tiny("schedule.epochs=2", "output_dir=run", *halves)
    assert (
        "no longer exact to the last bit: data.batch_size: 4 in the run, 2 here; "
        "trainer.grad_accum_steps: 1 in the run, 2 here\n"
        "resumed after epoch 1 from run/checkpoints/epoch-0001.pt\n"
    ) in done.out
    assert epochs("run") == [1, 2]
    assert not any("step" in path.name for path in Path("run/checkpoints").iterdir())


def test_damaged_checkpoints_are_not_overwritten(run, train_tiny, files_in):
    for path in sorted(Path("run/checkpoints").iterdir()):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1000])
    before = files_in(Path())
    done = train_tiny(*SAME)
    assert done.error.startswith("run/checkpoints has no checkpoint that can be read: move it away")
    assert done.out.count("warning: passed over: resume=run/checkpoints/") == 3
    assert files_in(Path()) == before


def test_weights_alone_are_no_run_to_go_on_with(train_tiny, trained):
    torch.save(weights(trained), "weights.pt")
    error = train_tiny("resume=weights.pt").error
    assert error.startswith("resume=weights.pt: holds weights but no training state; checkpoint=")


def test_starting_from_weights(train_tiny, trained):
    still = ["optimizer.lr=1e-30", "optimizer.weight_decay=0"]
    start = f"checkpoint={trained}/checkpoints/best.pt"
    done = train_tiny(*still, start, "output_dir=run")
    assert (done.code, epochs("run")) == (0, [1])
    before, after = weights(trained, "best.pt"), weights("run")
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert all("running_" in name or "num_batches" in name for name in moved)


def test_another_number_of_classes_gets_a_new_classifier(train_tiny, trained, make_images):
    root = make_images("images", ["cat", "dog"], 8)
    data = ["data=image_folder", f"data.root={root}", "data.mean=[0.3]", "data.std=[0.3]"]
    still = ["optimizer.lr=1e-30", "data.val_samples=null"]
    checkpoint = f"{trained}/checkpoints/last.pt"
    done = train_tiny(*data, *still, f"checkpoint={checkpoint}", "output_dir=run")
    line = "its classifier has 10 classes, the data 2: the classifier is newly initialised"
    assert done.out.splitlines()[1] == line
    before, after = weights(trained), weights("run")
    assert after["fc.weight"].shape[0] == 2
    assert torch.equal(before["layer1.0.conv1.weight"], after["layer1.0.conv1.weight"])
