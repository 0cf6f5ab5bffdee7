"""What a run is going to do, as plain values that can be compared."""

import hashlib
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn

from rednet.build.training import build_trainer
from rednet.data.image_files import ImageFiles
from rednet.runtime import set_numerics, start_runtime
from rednet.training.nonfinite import NonFiniteError, Rollback

SIMPLE = (bool, int, float, str)


def save_images(root, classes, count):
    """Make a folder of classes with `count` small images in each."""
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.random.default_rng([number, index]).integers(0, 256, (20, 24, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")


def with_value(config, key, value):
    """Return a configuration as plain values, with another value for a dotted key."""
    plain = asdict(config)
    *groups, name = key.split(".")
    group = plain
    for part in groups:
        group = group[part]
    group[name] = value
    return plain


def training_plan(config, folder):
    """Build a run without starting it, and return everything that its settings may change."""
    trainer = config.trainer
    set_numerics(deterministic=trainer.deterministic, tf32=trainer.tf32)
    with start_runtime(trainer.device, trainer.precision, trainer.channels_last) as runtime:
        built = build_trainer(config, runtime, folder)
    step, batches = built.train_step, built.batches
    return {
        "network": network(built.model),
        "compiled": type(step.model).__name__,
        "rates": [built.schedule.lr_at(index) for index in range(built.schedule.total_steps)],
        "last_step": built.last_step,
        "optimizer": optimizer(step.optimizer),
        "clipping": clipped(step.clipping),
        "failures": reactions(built.nonfinite),
        "epoch": epoch(batches.loader, batches, step.loss),
        "validation": epoch(built.val_loader),
        "trained": [trained(step, number) for number in range(built.schedule.epochs)],
        "early_stopping": stopped(built),
        "limits": (built.settings.max_steps, built.settings.eval_every, built.log.log_every),
        "unreadable": has_files(batches.loader) and unreadable(built),
        "workers": batches.loader.num_workers
        and (batches.loader.timeout, batches.loader.max_restarts),
        "saved": saved(built.saver),
        "ema": built.ema and built.ema.decay,
        "runtime": asdict(runtime) | {"deterministic": trainer.deterministic},
    }


def has_files(loader):
    """Whether an image may turn out to be unreadable."""
    source = loader.dataset.source
    return isinstance(getattr(source, "source", source), ImageFiles)


def unreadable(built):
    """What is done about unreadable images."""
    source = built.batches.loader.dataset.source
    limits = built.batches.unreadable.limit, getattr(source, "source", source).max_pixels
    return limits, built.settings.skip_unreadable, built.saver.description["checked"]


def network(model):
    """The modules with their simple attributes, and the weights with their layout."""
    modules = [shown(name, module) for name, module in model.named_modules()]
    weights = [(k, v.dtype, v.shape, v.stride(), digest(v)) for k, v in model.state_dict().items()]
    return modules, weights


OF_TRAINING = ("recompute_kernel", "grad_checkpointing", "drop_prob", "scale_by_keep")


def shown(name, module):
    """What of a module shows in its outputs and gradients."""
    kind = type(module).__name__
    attributes = {k: v for k, v in vars(module).items() if is_simple(v)}
    if not module.training:
        kind = "Identity" if kind == "DropPath" else kind
        attributes = {k: v for k, v in attributes.items() if k not in OF_TRAINING}
    return name, kind, attributes


def trained(step, epoch):
    """The parameters that train in an epoch, and the modules in training mode."""
    step.train(epoch)
    model = step.freezing.model
    parameters = [name for name, p in model.named_parameters() if p.requires_grad]
    return parameters, [name for name, m in model.named_modules() if m.training and name]


def stopped(trainer):
    """After how many epochs a run ends whose accuracy never rises."""
    every, epochs = trainer.settings.eval_every, trainer.schedule.epochs
    tops = [10.0 if e % every == 0 or e == epochs else None for e in range(1, epochs + 1)]
    rows = [{"epoch": number, "val_top1": top1} for number, top1 in enumerate(tops, 1)]
    ends = (n for n in range(1, epochs) if trainer.settings.early_stopping.reason(rows[:n]))
    return next(ends, epochs)


def is_simple(value):
    return isinstance(value, SIMPLE) or (isinstance(value, tuple) and all(map(is_simple, value)))


def digest(tensor):
    return hashlib.blake2b(tensor.detach().cpu().double().numpy().tobytes()).hexdigest()


def optimizer(found):
    groups = [
        {"lr_scale": 1.0, **group, "params": [parameter.shape for parameter in group["params"]]}
        for group in found.param_groups
    ]
    return type(found).__name__, groups


def clipped(clipping):
    """What becomes of the gradients of a small network."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
        parameter.grad = torch.full_like(parameter, 30.0)
    grads = [parameter.grad for parameter in model.parameters()]
    clipping(model, torch.nn.utils.get_total_norm(grads))
    return [digest(grad) for grad in grads]


def reactions(policy):
    """What a run does about each of a dozen failed steps."""
    failure = SimpleNamespace(step=0, result=SimpleNamespace(is_suspect=False))
    seen = []
    for _ in range(12):
        try:
            policy.handle(failure)
            seen.append("skip")
        except (Rollback, NonFiniteError) as error:
            seen.append(type(error).__name__)
    return seen


def saved(saver):
    """When a run saves, and what it keeps."""
    values = {**vars(saver), **vars(saver.store)}
    return {k: v for k, v in values.items() if is_simple(v) and k != "_last_time"}


def epoch(loader, batches=None, loss=None):
    """The images of one epoch with their classes or, if for training, with their loss."""
    if loader.num_workers:
        return loader.num_workers
    steps = batches.steps_of_epoch(0) if batches else [[batch] for batch in loader]
    classes = len(loader.dataset.source.class_names)
    return [
        [(digest(batch.images), outcome(batch.targets, classes, loss)) for batch in step]
        for step in steps
    ]


def outcome(targets, classes, loss):
    """The loss of logits that are the same each time, or the targets where there is no loss."""
    if loss is None:
        return targets.tolist()
    logits = torch.randn(len(targets), classes, generator=torch.Generator().manual_seed(2))
    return round(float(loss(logits, targets)), 4)
