"""What a run is going to do, as plain values that can be compared."""

import hashlib
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import one_hot

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
        "epoch": epoch(batches.loader, batches, step.label_smoothing),
        "validation": epoch(built.val_loader),
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
    modules = [
        (name, type(module).__name__, {k: v for k, v in vars(module).items() if is_simple(v)})
        for name, module in model.named_modules()
    ]
    weights = [(k, v.dtype, v.shape, v.stride(), digest(v)) for k, v in model.state_dict().items()]
    return modules, weights


def is_simple(value):
    return isinstance(value, SIMPLE) or (isinstance(value, tuple) and all(map(is_simple, value)))


def digest(tensor):
    return hashlib.blake2b(tensor.detach().cpu().double().numpy().tobytes()).hexdigest()


def optimizer(found):
    groups = [
        {**group, "params": [parameter.shape for parameter in group["params"]]}
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


def epoch(loader, batches=None, smoothing=0.0):
    """The images and the probabilities of the classes in one epoch, blended if for training."""
    if loader.num_workers:
        return loader.num_workers
    steps = batches.steps_of_epoch(0) if batches else [[batch] for batch in loader]
    classes = len(loader.dataset.source.class_names)
    return [
        [(digest(batch.images), probabilities(batch.targets, classes, smoothing)) for batch in step]
        for step in steps
    ]


def probabilities(targets, classes, smoothing):
    """Index targets as probabilities of the classes, smoothed as the loss does it."""
    if targets.dim() == 1:
        targets = one_hot(targets, classes) * (1 - smoothing) + smoothing / classes
    return targets.double().numpy().round(5).tolist()
