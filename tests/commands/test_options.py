"""Options of a run: each in a short run, with a smaller last step."""

from functools import partial
from pathlib import Path

import pytest
import torch

from rednet import commands
from rednet.training.metrics import read_metrics

# 11 images in steps of 4, 4 and 3.
SIZES = ["data.image_size=12", "data.train_samples=11", "data.val_samples=10", "data.batch_size=4"]
RUN = ["experiment=smoke", *SIZES, "output_dir=run"]

OPTIONS = [
    ["trainer.precision=bf16"],
    ["trainer.precision=bf16", "trainer.ema_decay=0.9", "trainer.grad_accum_steps=2"],
    ["trainer.grad_accum_steps=2", "data.batch_size=2"],
    ["trainer.clip_grad=null"],
    ["trainer.clip_grad=0.1", "trainer.clip_mode=value"],
    ["trainer.clip_grad=0.01", "trainer.clip_mode=agc"],
    ["augment.mixup=0.2", "augment.cutmix=1.0", "augment.label_smoothing=0.1"],
    ["augment.mixup=0.2", "augment.cutmix=1.0", "trainer.grad_accum_steps=2", "data.batch_size=2"],
    ["augment=paper", "augment.color_jitter=0.4", "augment.random_erasing=0.5"],
    ["augment.auto_augment=rand-m9-mstd0.5", "trainer.on_nonfinite=skip"],
    ["optimizer=adamw", "schedule=cosine", "schedule.epochs=1", "schedule.warmup_epochs=0.5"],
    ["optimizer.name=lamb", "optimizer.decay_all=false", "trainer.keep_best=0"],
    ["schedule=step", "schedule.epochs=2", "schedule.milestones=[1]", "trainer.eval_every=2"],
    ["model.options.generator=attention", "model.options.drop_path_rate=0.1"],
    ["model=timm", "model.name=test_convnext", "~model.options", "data.image_size=32"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options)[:60])
def test_a_run_with(options, train):
    done = train(*RUN, *options)
    assert (done.code, done.err) == (0, "")
    assert "warning" not in done.out
    last = read_metrics(Path("run"))[-1]
    assert last["global_step"] == 3 * last["epoch"] or "trainer.grad_accum_steps=2" in options
    assert 0 < last["train_loss"] < 20
    assert 0 < last["val_loss"] < 20


@pytest.fixture(scope="module")
def plain_losses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert commands.train([*RUN[:-1], f"output_dir={folder}"]) == 0
    return losses(folder)


def losses(folder):
    return [(line["train_loss"], line["val_loss"]) for line in read_metrics(Path(folder))]


@pytest.mark.parametrize(
    "option",
    [
        "trainer.channels_last=false",
        "trainer.grad_checkpointing=true",
        "trainer.deterministic=true",
        "trainer.tf32=false",
        "data.num_workers=1",
    ],
)
def test_options_that_do_not_change_the_result(option, train, plain_losses):
    assert train(*RUN, option).code == 0
    assert losses("run") == [pytest.approx(pair, rel=1e-3) for pair in plain_losses]


def test_half_precision_on_a_cpu_works_and_warns(train):
    done = train(*RUN, "trainer.precision=fp16", "schedule.epochs=3")
    assert (done.code, done.err) == (0, "")
    warnings = [line for line in done.out.splitlines() if line.startswith("warning: ")]
    assert warnings == ["warning: trainer.precision=fp16 is slow on a CPU; bf16 may not be"]
    assert 0 < read_metrics(Path("run"))[-1]["train_loss"] < 20


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.nightly)]
)
def test_a_compiled_run(backend, train_tiny, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for name, compiled in (("plain", "false"), ("run", "true")):
        assert train_tiny(f"trainer.compile={compiled}", f"output_dir={name}").code == 0
    assert losses("run") == [pytest.approx(pair, rel=1e-3) for pair in losses("plain")]
