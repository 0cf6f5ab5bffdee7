"""What a run is, and what may change while it is continued."""

import copy
import lzma
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from rednet.build.identity import (
    NEVER_COMPARED,
    differences,
    sharding_differences,
    unforceable_differences,
)
from rednet.config import Config, compose, legal_keys, to_yaml
from rednet.data import Preprocessing

COMPARED = {
    "seed",
    "checkpoint",
    *(f"model.{key}" for key in ("name", "options.kernel_size", "options.group_channels")),
    *(f"model.options.{key}" for key in ("reduction", "generator", "generator_options", "stem")),
    *(f"model.options.{key}" for key in ("width", "layers", "involution_stages", "output_stride")),
    *(f"model.options.{key}" for key in ("drop_path_rate", "drop_rate", "global_pool")),
    *(f"model.options.{key}" for key in ("act_layer", "norm_layer")),
    *(f"data.{key}" for key in ("name", "image_size", "crop_pct", "interpolation", "mean", "std")),
    *(f"data.{key}" for key in ("train_samples", "val_samples", "val_fraction", "sampler")),
    *(f"augment.{key}" for key in ("scale", "ratio", "hflip", "color_jitter", "auto_augment")),
    *(f"augment.{key}" for key in ("image_size", "repeats")),
    *(f"augment.{key}" for key in ("random_erasing", "mixup", "cutmix", "label_smoothing")),
    *(f"optimizer.{key}" for key in ("name", "lr", "momentum", "weight_decay", "decay_all")),
    *(f"loss.{key}" for key in ("name", "class_weights", "target_threshold")),
    *(f"finetune.{key}" for key in ("freeze", "freeze_stages", "batch_norm", "head_epochs")),
    *(f"optimizer.{key}" for key in ("lr_base_size", "backbone_lr_scale", "layer_decay")),
    *(f"schedule.{key}" for key in ("name", "epochs", "warmup_epochs", "warmup_start", "min_lr")),
    *(f"schedule.{key}" for key in ("step_on", "milestones", "gamma")),
    *(f"trainer.{key}" for key in ("precision", "clip_grad", "clip_mode", "ema_decay", "sync_bn")),
}
"""Keys that belong to a run. A new key belongs here or in `NEVER_COMPARED`."""

KEYS = {
    key
    for key in legal_keys(Config)
    if not any(other.startswith(f"{key}.") for other in legal_keys(Config)) and key != "experiment"
}

BASE = OmegaConf.create(
    to_yaml(compose("train", ["model=rednet26", "data=image_folder", "data.root=images"]))
)


def describe(changes=(), **others):
    """Describe a run as its checkpoints do, with some values of its configuration changed."""
    config = copy.deepcopy(BASE)
    for key, value in dict(changes).items():
        OmegaConf.update(config, key, value, force_add=True)
    plain = OmegaConf.to_container(config)
    return {
        "model": plain["model"],
        "preprocessing": {name: plain["data"][name] for name in Preprocessing.__match_args__},
        "class_names": ["cat", "dog", "emu"],
        "config": OmegaConf.to_yaml(config),
        "data": images("train", "val"),
        "global_batch": 32,
        "world_size": 1,
    } | others


def images(train, val):
    """Describe the images, of which `train` and `val` are the fingerprints."""
    known = {"train": train, "val": val}
    return {split: {"fingerprint": name, "samples": 12} for split, name in known.items()}


USED_WITH = {
    "schedule.gamma": {"schedule.name": "step"},
    "schedule.milestones": {"schedule.name": "step"},
    "loss.target_threshold": {"loss.name": "bce"},
    "finetune.freeze_stages": {"finetune.freeze": "stages"},
    "finetune.batch_norm": {"finetune.freeze": "stages"},
}
"""Settings without which a key has no effect."""


def test_every_key_of_the_configuration_is_compared_or_never_compared():
    assert COMPARED <= KEYS
    assert not COMPARED & NEVER_COMPARED
    assert KEYS <= COMPARED | NEVER_COMPARED


def test_a_key_without_effect_is_not_compared():
    saved, current = (describe({"schedule.gamma": gamma}) for gamma in (0.1, 0.2))
    assert differences(saved, current) == []


@pytest.mark.parametrize("key", sorted(KEYS))
def test_one_changed_key(key):
    others = USED_WITH.get(key, {})
    saved, current = (describe(others | change, data={}) for change in ({}, {key: "changed"}))
    lines = differences(saved, current)
    if key in NEVER_COMPARED:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"{key}: ")
        assert line.endswith(" in the run, changed here")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"optimizer.lr": 0.1}, "optimizer.lr: 0.8 in the run, 0.1 here"),
        ({"trainer.ema_decay": 0.9}, "trainer.ema_decay: null in the run, 0.9 here"),
        ({"data.mean": [0.5, 0.5, 0.5]}, "data.mean: [0.485, 0.456, 0.406] in the run, "),
        ({"checkpoint": "a/best.pt"}, "checkpoint: null in the run, best.pt here"),
        ({"model.options.width": 0.5}, "model.options.width: 1.0 in the run, 0.5 here"),
        ({"model.name": "rednet50"}, "model.name: rednet26 in the run, rednet50 here"),
    ],
)
def test_the_line_about_a_difference(changes, line):
    (found,) = differences(describe(), describe(changes))
    assert found.startswith(line)


@pytest.mark.parametrize(
    "options",
    [
        {
            "width": 1,
            "kernel_size": None,
            "layers": [1, 2, 4, 1],
            "involution_stages": [1, 2, 3, 4],
        },
        {"group_channels": 16, "norm_layer": "BatchNorm2d", "act_layer": "relu"},
        {"generator_options": {}, "recompute_kernel": False, "drop_rate": 0, "stem": "involution3"},
    ],
)
def test_options_with_their_default_values_make_an_equal_network(options):
    assert differences(describe(), describe({"model.options": options})) == []


def test_options_of_other_networks():
    def timm(**options):
        return describe({"model.name": "resnet18", "model.options": options})

    assert differences(timm(), timm(stem_width=None)) == []
    assert differences(timm(), timm(stem_width=32)) == [
        "model.options.stem_width: the default in the run, 32 here"
    ]
    assert differences(describe({"model.options.width": 0.5}), timm(stem_width=32)) == [
        "model.name: rednet26 in the run, resnet18 here"
    ]


def test_starting_weights_are_known_by_name():
    saved, current = (describe({"checkpoint": path}) for path in ("/a/best.pt", "b/best.pt"))
    assert differences(saved, current) == []


def test_weights_of_classes_are_those_in_the_file():
    def weights(path, *values):
        return describe({"loss.class_weights": path}, class_weights=list(values))

    assert differences(weights("a.yaml", 0.5, 2.0), weights("b.yaml", 0.5, 2.0)) == []
    assert differences(weights("a.yaml", 0.5, 2.0), weights("a.yaml", 1.0, 1.0)) == [
        "loss.class_weights: [0.5, 2.0] in the run, [1.0, 1.0] here"
    ]


def test_runs_from_before_there_was_fine_tuning():
    old = describe()
    config = OmegaConf.create(old["config"])
    for group in ("loss", "finetune"):
        del config[group]
    for key in ("backbone_lr_scale", "layer_decay"):
        del config.optimizer[key]
    del config.data.sampler
    old["config"] = OmegaConf.to_yaml(config)
    assert differences(old, describe()) == []
    for key, value in (("optimizer.layer_decay", 0.8), ("finetune.freeze", "backbone")):
        (line,) = unforceable_differences(old, describe({key: value}))
        assert line.startswith(f"{key}: ")


def test_data_is_known_by_its_fingerprint():
    assert differences(describe(), describe({"data.root": "/staged"})) == []
    other = describe({"data.val_fraction": 0.2, "seed": 1}, data=images("other", "val"))
    assert differences(describe(), other) == [
        "data.val_fraction: 0.1 in the run, 0.2 here",
        "seed: 0 in the run, 1 here",
        "data.train: 12 images (fingerprint train) in the run, 12 images (fingerprint other) here",
    ]


def test_data_of_the_same_names_is_known_by_the_contents_of_a_few_images():
    def sample(equal, size=16):
        contents = {f"{row}": str(row if row < equal else -row) for row in range(size)}
        return describe(data=images("train", "val") | {"sample": contents})

    for equal in (8, 16):
        assert differences(sample(16), sample(equal)) == []
    assert differences(sample(16), sample(7)) == [
        "data.train: 16 images looked at in the run, 7 of them with the same content here"
    ]
    assert differences(describe(), sample(0)) == []  # saved before there were samples


def test_the_fraction_matters_only_where_something_is_split():
    changed = {"data.val_fraction": 0.2}
    assert differences(describe(), describe(changed)) == []  # the splits are the same
    saved, current = describe({"data.name": "imagenet"}, data={}), describe(changed, data={})
    assert differences(saved, current) == ["data.name: imagenet in the run, image_folder here"]


def test_classes():
    def classes(*names):
        return describe(class_names=list(names))

    assert differences(describe(), classes("cat", "dog")) == [
        "class_names: 3 classes in the run, 2 here"
    ]
    assert differences(describe(), classes("cat", "dogs", "emus")) == [
        'class_names: class 1 is "dog" in the run, "dogs" here'
    ]


def test_the_global_batch_counts_and_not_how_it_is_divided():
    two = {"data.batch_size": 8, "trainer.grad_accum_steps": 2}
    assert differences(describe(), describe(two, world_size=2)) == []
    assert sharding_differences(describe(), describe(two, world_size=2)) == [
        "world_size: 1 in the run, 2 here",
        "data.batch_size: 32 in the run, 8 here",
        "trainer.grad_accum_steps: 1 in the run, 2 here",
    ]
    assert differences(describe(), describe(global_batch=64, world_size=2)) == [
        "global_batch: 32 in the run, 64 here"
    ]
    assert sharding_differences(describe(), describe()) == []


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"model.options.width": 0.5, "seed": 1}, ["model.options.width"]),
        ({"model.name": "rednet38"}, ["model.name"]),
        ({"model.options.drop_path_rate": 0.1}, []),
        ({"optimizer.name": "adamw"}, ["optimizer.name"]),
        ({"optimizer.decay_all": False}, ["optimizer.decay_all"]),
        ({"optimizer.weight_decay": 0.1}, []),
        ({"optimizer.decay_all": False, "optimizer.weight_decay": 0}, []),
        ({"optimizer.layer_decay": 0.8}, ["optimizer.layer_decay"]),
        ({"optimizer.backbone_lr_scale": 0.8}, ["optimizer.backbone_lr_scale"]),
        ({"finetune.freeze": "stages"}, ["finetune.freeze"]),
        ({"finetune.batch_norm": "freeze"}, ["finetune.batch_norm"]),
        ({"finetune.head_epochs": 2, "loss.name": "bce", "data.sampler": "balanced"}, []),
        ({"data.mean": [0.5], "data.std": [0.5]}, ["data.mean"]),
        ({"data.mean": [0.5, 0.5, 0.5], "schedule.epochs": 3}, []),
    ],
)
def test_what_cannot_be_loaded(changes, keys):
    lines = unforceable_differences(describe(), describe(changes))
    assert [line.partition(":")[0] for line in lines] == keys
    assert set(lines) <= set(differences(describe(), describe(changes)))


def test_what_an_older_checkpoint_does_not_know_is_not_compared():
    packed = Path(__file__).parents[1] / "fixtures/rednet-1/checkpoints/last.pt.xz"
    with lzma.open(packed) as file:
        old = torch.load(file, weights_only=True)
    config = OmegaConf.create(old["config"])
    for group, before, after in [
        ("optimizer", "reference_batch", "lr_base_size"),
        ("trainer", "accumulate", "grad_accum_steps"),
        ("trainer", "checkpoint_activations", "grad_checkpointing"),
        ("trainer", "max_updates", "max_steps"),
    ]:
        config[group][after] = config[group].pop(before)
    config.schedule.step_on = "step"
    config.data.split = "val"  # a newer key
    new = {**old, "config": OmegaConf.to_yaml(config), "data": images("a", "b"), "global_batch": 32}
    assert differences(old, new) == sharding_differences(old, new) == []
    config.optimizer.lr_base_size = 2048
    config.trainer.grad_accum_steps = 1
    new["config"] = OmegaConf.to_yaml(config)
    assert differences(old, new) == ["optimizer.lr_base_size: 256 in the run, 2048 here"]
    assert sharding_differences(old, new) == ["trainer.grad_accum_steps: 2 in the run, 1 here"]
