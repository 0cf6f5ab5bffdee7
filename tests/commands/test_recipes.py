"""Published recipes: their values, and an epoch of each from end to end."""

from pathlib import Path

import pytest
import torch

from rednet.config import CONFIGS, compose

VALUES = {
    # epochs, lr, weight decay, mixup, cutmix, smoothing, repeats, policy, train and test size, drop
    "a1": (600, 5e-3, 0.01, 0.2, 1, 0.1, 3, "rand-m7-mstd0.5-inc1", 224, 224, 0.05),
    "a2": (300, 5e-3, 0.02, 0.1, 1, 0.0, 3, "rand-m7-mstd0.5-inc1", 224, 224, 0.05),
    "a3": (100, 8e-3, 0.02, 0.1, 1, 0.0, 1, "rand-m6-mstd0.5-inc1", 160, 224, 0.0),
    "tv2": (600, 0.5, 2e-5, 0.2, 1, 0.1, 4, "trivial", 176, 224, None),
}
TINY = [
    *("model.options.width=0.25", "model.options.layers=[1,1,1,1]", "data.batch_size=3"),
    *("data.num_workers=0", "schedule.epochs=1", "trainer.device=cpu", "trainer.precision=fp32"),
    "output_dir=run",
]


@pytest.mark.parametrize("name", VALUES)
def test_values_are_the_published_ones(name):
    config = compose("train", [f"experiment={name}", "model=resnet50"])
    data, augment, optimizer = config.data, config.augment, config.optimizer
    assert (
        *(config.schedule.epochs, optimizer.lr, optimizer.weight_decay, augment.mixup),
        *(augment.cutmix, augment.label_smoothing, augment.repeats, augment.auto_augment),
        *(augment.image_size or data.image_size, data.image_size),
        config.model.options.get("drop_path_rate"),
    ) == VALUES[name]
    assert int(data.image_size / data.crop_pct) == (232 if name == "tv2" else 235)
    assert (config.schedule.warmup_epochs, config.trainer.clip_grad) == (5, None)
    is_torchvision = name == "tv2"
    assert (optimizer.name, config.loss.name, optimizer.lr_base_size) == (
        ("momentum", "cross_entropy", 1024) if is_torchvision else ("lamb", "bce", 2048)
    )
    start = 0.01 * 0.5 if is_torchvision else 1e-4
    assert optimizer.lr * config.schedule.warmup_start == pytest.approx(start)


@pytest.mark.parametrize("name", VALUES)
def test_headers_state_result_cost_and_source(name):
    header = (CONFIGS / "experiment" / f"{name}.yaml").read_text().partition("defaults:")[0]
    for word in ("# Published top-1: ", "# Cost: ", "# Source: https://"):
        assert header.count(word) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("name", [*VALUES, "paper", "cifar10"])
def test_an_epoch_from_end_to_end(name, train, evaluate, make_images):
    root = make_images("images/train", ["ant", "bee", "cat"])
    make_images("images/test", ["ant", "bee", "cat"], 2)
    data = ["data=image_folder", f"data.root={root.parent}"]
    done = train(f"experiment={name}", "model=resnet26", *data, *TINY)
    assert (done.code, done.err) == (0, "")
    saved = torch.load("run/checkpoints/last.pt", weights_only=True)
    size = 32 if name == "cifar10" else 224
    assert saved["preprocessing"]["image_size"] == size
    assert ("state_dict_ema" in saved) == (name == "tv2")
    again = evaluate("checkpoint=run/checkpoints/last.pt", *data, "output_dir=evaluation")
    assert (again.code, again.err) == (0, "")
    assert f"{size} px" in again.out
    assert Path("evaluation/evaluation.json").exists()
