"""A key that the user sets either changes the plan of the run or is refused, whatever the rest."""

import dataclasses
from pathlib import Path

import pytest
import timm
import torch
from run_plan import save_images, training_plan, with_value

from rednet.build.data import build_splits
from rednet.build.effects import (
    require_device_effects,
    require_optimizer_effects,
    require_split_effects,
)
from rednet.build.losses import build_loss
from rednet.build.model import place_model
from rednet.build.optimizer import build_optimizer
from rednet.config import Config, ConfigError, compose, legal_keys, validate
from rednet.config.data_effects import KEYS_OF_SOME_DATA
from rednet.config.effects import RULES, expects_something, idle_keys
from rednet.config.user_keys import UserKeys
from rednet.errors import InputError
from rednet.runtime import Runtime, set_numerics

OTHER_VALUES = {
    "augment.auto_augment": ["rand-m9-mstd0.5"],
    "augment.color_jitter": [0.4],
    "augment.cutmix": [1.0],
    "augment.hflip": [1.0],
    "augment.image_size": [40],
    "augment.label_smoothing": [0.2],
    "augment.mixup": [0.2],
    "augment.random_erasing": [1.0],
    "augment.ratio": [[0.5, 0.5]],
    "augment.repeats": [2],
    "augment.scale": [[0.3, 0.3]],
    "data.batch_size": [3],
    "data.check": ["full"],
    "data.class_order": ["natural"],
    "data.crop_pct": [0.5],
    "data.image_size": [40],
    "data.interpolation": ["bicubic", "nearest"],
    "data.max_pixels": [1000],
    "data.max_unreadable": [3],
    "data.max_worker_restarts": [3],
    "data.mean": [[0.1, 0.2, 0.3]],
    "data.num_workers": [1],
    "data.on_unreadable": ["skip"],
    "data.sampler": ["balanced"],
    "data.split": ["train"],
    "data.std": [[0.1, 0.2, 0.3]],
    "data.timeout": [5.0],
    "data.train_samples": [6],
    "data.val_fraction": [0.5],
    "data.val_samples": [1],
    "finetune.batch_norm": ["freeze", "train"],
    "finetune.freeze": ["stages", "backbone"],
    "finetune.freeze_stages": [1],
    "finetune.head_epochs": [1, 2],
    "loss.name": ["bce", "cross_entropy"],
    "loss.target_threshold": [0.3, None],
    "model.options.act_layer": ["silu"],
    "model.options.drop_path_rate": [0.1],
    "model.options.drop_rate": [0.1],
    "model.options.generator": ["attention"],
    "model.options.global_pool": ["max"],
    "model.options.group_channels": [4],
    "model.options.involution_stages": [[2]],
    "model.options.kernel_size": [3],
    "model.options.layers": [[1, 1, 2, 1]],
    "model.options.norm_layer": ["frozenbatchnorm2d"],
    "model.options.output_stride": [16],
    "model.options.recompute_kernel": [True, False, "auto"],
    "model.options.reduction": [2],
    "model.options.stem": ["involution7"],
    "model.options.width": [0.5],
    "optimizer.backbone_lr_scale": [0.5],
    "optimizer.decay_all": [True, False],
    "optimizer.layer_decay": [0.5],
    "optimizer.lr": [0.01],
    "optimizer.lr_base_size": [64],
    "optimizer.momentum": [0.5],
    "optimizer.name": ["lamb"],
    "optimizer.weight_decay": [0.3],
    "schedule.epochs": [4],
    "schedule.gamma": [0.5],
    "schedule.milestones": [[2], [1]],
    "schedule.min_lr": [0.001],
    "schedule.name": ["cosine", "constant"],
    "schedule.step_on": ["epoch", "step"],
    "schedule.warmup_epochs": [1.5, 1.0],
    "schedule.warmup_start": [0.5],
    "seed": [3],
    "trainer.channels_last": [True, False],
    "trainer.clip_grad": [0.5],
    "trainer.clip_mode": ["value", "agc"],
    "trainer.compile": [True],
    "trainer.deterministic": [True],
    "trainer.early_stopping": [1],
    "trainer.ema_decay": [0.9],
    "trainer.eval_every": [2],
    "trainer.grad_accum_steps": [2],
    "trainer.grad_checkpointing": [True],
    "trainer.keep_best": [3],
    "trainer.keep_every_epochs": [2],
    "trainer.keep_latest": [3],
    "trainer.log_every": [3],
    "trainer.max_rollbacks": [1],
    "trainer.max_skips": [1],
    "trainer.max_skips_in_a_row": [1],
    "trainer.max_steps": [2],
    "trainer.on_nonfinite": ["skip", "raise"],
    "trainer.precision": ["bf16"],
    "trainer.save_every_minutes": [0.5],
    "trainer.save_every_steps": [3],
    "trainer.tf32": [True, False],
}
"""Values to try for each key, of which one should change the plan unless the key has no effect."""

ELSEWHERE = {
    *("model.name", "data.name", "data.root", "experiment", "model.options.generator_options"),
    *("checkpoint", "output_dir", "resume", "trainer.device", "trainer.sync_bn"),
    *("trainer.timeout", "trainer.optimize", "trainer.find_batch_size", "loss.class_weights"),
    *(key for key in legal_keys(Config) if key.startswith(("debug.", "search.", "logger"))),
    *KEYS_OF_SOME_DATA,
}
"""Keys with tests of their own, below or next to what they name."""

TINY = [
    *("model=rednet26", "model.options={stem: small, width: 0.25, layers: [1, 1, 1, 1]}"),
    *("data.image_size=32", "data.batch_size=2", "data.num_workers=0", "schedule.epochs=3"),
    "trainer.device=cpu",
]
FOLDER = [*TINY, "data=image_folder", "data.root=split"]
COLOUR = ["data.mean=[0,0,0]", "data.std=[1,1,1]"]
FASHION = [*TINY, "data=fashion_mnist", "data.train_samples=8", "data.val_samples=2", *COLOUR]

BASES = {
    "sgd and cosine": FOLDER,
    "adamw and steps": [
        *("schedule=step", "optimizer=adamw", "trainer.clip_grad=null", *FOLDER),
        *("schedule.milestones=[1,2]", "schedule.warmup_epochs=0", "trainer.on_nonfinite=skip"),
        *("finetune.freeze=stages", "finetune.head_epochs=1", "loss=bce"),
    ],
    "constant without decay": [
        *("schedule=constant", *FOLDER, "optimizer.weight_decay=0", "data.root=splits"),
        *("model.options.involution_stages=[]", "model.options.stem=conv7"),
        "trainer.on_nonfinite=rollback",
    ],
    "steps inside an epoch": [
        *("schedule=step", *FOLDER, "schedule.milestones=[1.5]", "data.batch_size=1"),
        *("model.options.generator=linear", "data.image_size=48"),
        *("finetune.freeze=backbone", "loss=bce", "augment.label_smoothing=0"),
    ],
    "fashion, never resized": [
        *(*FASHION, "augment=none", "data.image_size=28", "schedule.warmup_start=1"),
    ],
}
"""The overrides of the runs in which each key is tried."""

RULED = {key for rule in RULES for key in rule.keys} | {"optimizer.momentum", "trainer.tf32"}


DAYS = ("day9", "day10")  # text order has 10 first, natural order 9


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name, count in (("split", 5), ("splits/train", 4), ("splits/val", 2)):
        save_images(folder / name, DAYS, count)
    return folder


@pytest.fixture(autouse=True)
def _work_folder(folders, monkeypatch):
    monkeypatch.chdir(folders)
    yield
    set_numerics(deterministic=False, tf32=False)
    torch.backends.cudnn.benchmark = False


def is_refused(plain, key):
    if idle_keys("train", plain, {key}):
        return True
    config = validate(plain)
    try:
        require_device_effects(config.trainer, Runtime(), {key})
        require_optimizer_effects(config.optimizer, {key})
        splits = build_splits(config.data, config.seed)
        require_split_effects(splits, {key})
        build_loss(config, splits.train, {key}, Runtime())
    except ConfigError:
        return True
    return False


def changes_the_plan(config, plan, key):
    for value in OTHER_VALUES[key]:
        other = validate(with_value(config, key, value))
        if training_plan(other, Path("run")) != plan:
            return True
    return False


def test_every_key_is_tried():
    groups = {key.rpartition(".")[0] for key in legal_keys(Config)}
    assert OTHER_VALUES.keys() | ELSEWHERE == legal_keys(Config).keys() - groups


def assert_effect_or_refusal(base, keys):
    config = compose("train", base)
    plan = training_plan(config, Path("run"))
    wrong = {True: [], False: []}
    for key in keys:
        value = next(filter(expects_something, OTHER_VALUES[key]))
        refused = is_refused(with_value(config, key, value), key)
        if refused == changes_the_plan(config, plan, key):
            wrong[refused].append(key)
    assert wrong == {True: [], False: []}, "refused with an effect, accepted without one"


def test_every_key_has_an_effect_or_is_refused():
    assert_effect_or_refusal(FOLDER, OTHER_VALUES)


RULED_DAILY = ("steps inside an epoch", "fashion, never resized")


@pytest.mark.parametrize(
    "base",
    [
        pytest.param(base, id=name, marks=() if name in RULED_DAILY else pytest.mark.nightly)
        for name, base in list(BASES.items())[1:]
    ],
)
def test_a_ruled_key_has_an_effect_or_is_refused(base):
    assert_effect_or_refusal(base, sorted(RULED & OTHER_VALUES.keys()))


@pytest.mark.nightly
@pytest.mark.parametrize("base", list(BASES.values())[1:], ids=list(BASES)[1:])
def test_every_key_in_every_run_has_an_effect_or_is_refused(base):
    assert_effect_or_refusal(base, OTHER_VALUES)


GPU = torch.device("cuda")  # not used, so that none is needed


def test_synchronised_batch_norm_needs_processes_and_batch_norm():
    trainer = compose("train", [*FOLDER, "trainer.sync_bn=true"]).trainer
    with pytest.raises(ConfigError, match=r"trainer.sync_bn: has no effect with one process"):
        require_device_effects(trainer, Runtime(GPU), {"trainer.sync_bn"})
    require_device_effects(trainer, Runtime(GPU, world_size=2), {"trainer.sync_bn"})
    require_device_effects(trainer, Runtime(GPU), UserKeys({"trainer.sync_bn"}, meant=()))
    without = timm.create_model("rednet26", width=0.25, norm_layer="frozenbatchnorm2d")
    with pytest.raises(InputError, match="the network has no batch norm to synchronise"):
        place_model(without, trainer, Runtime(GPU, world_size=2))


def test_tf32_is_for_gpus():
    trainer = compose("train", [*FOLDER, "trainer.tf32=true"]).trainer
    with pytest.raises(ConfigError, match=r"trainer.tf32: has no effect on cpu"):
        require_device_effects(trainer, Runtime(), {"trainer.tf32"})
    require_device_effects(trainer, Runtime(GPU), {"trainer.tf32"})


@pytest.mark.parametrize(
    "name",
    [
        *("sgd", "momentum", "sgdw", "sgdp", "rmsprop", "rmsproptf", "lars", "madgrad"),
        *("adam", "adamw", "nadamw", "lamb", "lion", "adafactor", "adopt", "novograd"),
    ],
)
def test_momentum_is_refused_by_exactly_the_optimizers_without_it(name):
    settings = dataclasses.replace(compose("train", FOLDER).optimizer, name=name)
    other = dataclasses.replace(settings, momentum=0.5)
    if torch.equal(weights_after_steps(settings), weights_after_steps(other)):
        with pytest.raises(ConfigError, match=f"has no effect with optimizer.name={name}"):
            require_optimizer_effects(settings, {"optimizer.momentum"})
    else:
        require_optimizer_effects(settings, {"optimizer.momentum"})


def weights_after_steps(settings):
    torch.manual_seed(0)
    model, images = torch.nn.Linear(6, 4), torch.randn(5, 6)
    optimizer = build_optimizer(settings, model, 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
    return model.weight.detach()
