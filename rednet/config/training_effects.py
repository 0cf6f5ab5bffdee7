"""Keys of recipe, fine-tuning and loop that other settings leave without effect."""

from rednet.config.effect_rule import Lookup, Rule

OF_BACKBONE_TRAINING = ("model.options.recompute_kernel", "model.options.drop_path_rate")


def _has_whole_milestones(get: Lookup) -> bool:
    milestones = get("schedule.milestones")
    is_list = isinstance(milestones, list)
    return is_list and all(isinstance(item, int | float) and item % 1 == 0 for item in milestones)


def _has_hard_targets(get: Lookup) -> bool:
    return not any(get(f"augment.{key}") for key in ("label_smoothing", "mixup", "cutmix"))


def _trains_head_only(get: Lookup) -> bool:
    return get("finetune.freeze") == "backbone" and get("finetune.batch_norm") != "train"


def _ends_before_early_stopping(get: Lookup) -> bool:
    """Whether the run ends before so many epochs can pass after the first that counts."""
    patience, epochs = get("trainer.early_stopping"), get("schedule.epochs")
    every, head_epochs = get("trainer.eval_every"), get("finetune.head_epochs")
    if not all(isinstance(value, int) for value in (patience, epochs, every, head_epochs)):
        return False
    if get("finetune.freeze") == "backbone":
        head_epochs = 0  # all epochs count, since the rest never trains
    last = (epochs - 1) // max(1, every) * every  # the last evaluation before the end
    return bool(last - max(every, head_epochs) < patience)


TRAINING_RULES = (
    Rule(
        ("schedule.milestones", "schedule.gamma"),
        lambda get: get("schedule.name") != "step",
        "only schedule=step uses it",
    ),
    Rule(
        ("schedule.min_lr",),
        lambda get: get("schedule.name") != "cosine",
        "only schedule=cosine and schedule=paper use it",
    ),
    Rule(
        ("schedule.step_on",),
        lambda get: get("schedule.name") == "constant",
        "has no effect with schedule=constant",
    ),
    Rule(
        ("schedule.step_on",),
        lambda get: get("schedule.name") == "step" and _has_whole_milestones(get),
        "has no effect with schedule=step, unless a milestone lies inside an epoch",
    ),
    Rule(
        ("schedule.warmup_start",),
        lambda get: get("schedule.warmup_epochs") == 0,
        "has no effect with schedule.warmup_epochs=0",
    ),
    Rule(
        ("schedule.warmup_epochs",),
        lambda get: get("schedule.warmup_start") == 1 and get("schedule.warmup_epochs") != 0,
        "has no effect with schedule.warmup_start=1",
    ),
    Rule(
        ("optimizer.decay_all",),
        lambda get: get("optimizer.weight_decay") == 0,
        "has no effect with optimizer.weight_decay=0",
    ),
    Rule(
        ("trainer.clip_mode",),
        lambda get: get("trainer.clip_grad") is None,
        "has no effect with trainer.clip_grad=null",
    ),
    Rule(
        ("trainer.max_skips", "trainer.max_skips_in_a_row"),
        lambda get: get("trainer.on_nonfinite") != "skip",
        "only trainer.on_nonfinite=skip uses it",
    ),
    Rule(
        ("trainer.max_rollbacks",),
        lambda get: get("trainer.on_nonfinite") != "rollback",
        "only trainer.on_nonfinite=rollback uses it",
    ),
    Rule(
        ("data.batch_size",),
        lambda get: get("trainer.find_batch_size") is True,
        "has no effect with trainer.find_batch_size=true, which finds it",
        commands=("train",),
    ),
    Rule(
        ("debug.max_steps",),
        lambda get: get("debug.mode") != "overfit",
        "only debug=overfit uses it",
        commands=("train",),
    ),
    Rule(
        ("debug.warmup_steps", "debug.steps", "debug.top"),
        lambda get: get("debug.mode") != "profile",
        "only debug=profile uses it",
        commands=("train",),
    ),
    Rule(
        ("augment.mixup", "augment.cutmix"),
        lambda get: get("data.batch_size") == 1,
        "has no effect with data.batch_size=1, which leaves no pairs to blend",
    ),
    Rule(
        ("loss.target_threshold",),
        lambda get: get("loss.name") != "bce",
        "only loss=bce uses it",
    ),
    Rule(
        ("loss.target_threshold",),
        _has_hard_targets,
        "has no effect without label smoothing, mixup and cutmix: all targets are 0 or 1",
    ),
    Rule(
        ("loss.class_weights",),
        lambda get: (get("loss.class_weights"), get("data.sampler")) == ("balanced", "balanced"),
        "has no effect with data.sampler=balanced, which shows each class equally often",
    ),
    Rule(
        ("finetune.freeze_stages",),
        lambda get: get("finetune.freeze") != "stages",
        "only finetune.freeze=stages uses it",
    ),
    Rule(
        ("finetune.head_epochs",),
        lambda get: get("finetune.freeze") == "backbone" and get("finetune.head_epochs") != 0,
        "has no effect with finetune.freeze=backbone, which never trains the rest",
    ),
    Rule(
        ("optimizer.backbone_lr_scale", "optimizer.layer_decay"),
        _trains_head_only,
        "has no effect with finetune.freeze=backbone, which trains the classifier alone",
    ),
    Rule(
        ("trainer.grad_checkpointing", *OF_BACKBONE_TRAINING),
        _trains_head_only,
        "has no effect with finetune.freeze=backbone, through which no gradient flows",
    ),
    Rule(
        ("trainer.clip_grad",),
        lambda get: get("trainer.clip_mode") == "agc" and _trains_head_only(get),
        "has no effect with trainer.clip_mode=agc and finetune.freeze=backbone: agc leaves the "
        "classifier alone",
    ),
    Rule(
        ("trainer.early_stopping",),
        _ends_before_early_stopping,
        "has no effect in a run of so few epochs",
    ),
)
