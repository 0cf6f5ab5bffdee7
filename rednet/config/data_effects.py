"""Keys of the data that other settings leave without effect."""

from collections.abc import Callable, Collection, Sequence

from rednet.config.effect_rule import Lookup, Rule

ORDERABLE = ("image_folder", "csv")
"""Kinds of data whose classes have no order but that of their names."""

DIVISIBLE = ("image_folder", "csv", "webdataset", "huggingface")
"""Kinds of data that may have no splits and are then split here."""

EVALUATION_SETS = (
    *("imagenet_v2", "imagenet_real", "imagenet_sketch", "imagenet_a", "imagenet_r"),
)
"""Kinds of data to evaluate with, which have no training images."""

KEYS_OF_DATA = {
    ("data.table", "data.split_column"): ("csv",),
    ("data.shards", "data.val_shards"): ("webdataset",),
    ("data.dataset", "data.config", "data.train_split", "data.val_split"): ("huggingface",),
    ("data.image_column", "data.label_column", "data.classes"): (
        *("csv", "webdataset", "huggingface"),
    ),
}
"""Keys of some kinds of data alone."""

KEYS_OF_SOME_DATA = tuple(key for keys in KEYS_OF_DATA for key in keys)


def _keeps_size(get: Lookup) -> bool:
    """Whether images of Fashion-MNIST, which have 28 x 28 pixels, are never resized."""
    crops = (get("augment.scale"), get("augment.ratio")) != ([1, 1], [1, 1])
    sizes = get("data.image_size"), get("data.crop_pct")
    crops |= get("augment.image_size") not in (None, 28)
    is_plain = not crops and not get("augment.auto_augment") and get("checkpoint") is None
    return get("data.name") == "fashion_mnist" and sizes == (28, 1) and is_plain


def _is_other_data(names: Collection[str]) -> Callable[[Lookup], bool]:
    return lambda get: get("data.name") not in names


def _kinds(names: Sequence[str]) -> str:
    """Return choices of the data, such as "data=csv or image_folder"."""
    *first, last = names
    return f"data={', '.join(first)} or {last}" if first else f"data={last}"


DATA_RULES = (
    Rule(
        ("data.split",),
        lambda get: True,
        "this command reads the training and the validation images",
        commands=("train",),
    ),
    Rule(
        ("data.split",),
        lambda get: get("data.name") in EVALUATION_SETS,
        "has no effect with a data set that has only images to evaluate with",
    ),
    Rule(
        ("data.val_fraction",),
        lambda get: get("data.name") not in DIVISIBLE,
        f"only {_kinds(DIVISIBLE)} uses it",
    ),
    Rule(
        ("data.class_order",),
        lambda get: get("data.name") not in ORDERABLE,
        f"only {_kinds(ORDERABLE)} uses it",
    ),
    Rule(
        ("data.root",),
        lambda get: get("data.name") == "webdataset",
        "has no effect with data=webdataset: data.shards has the paths",
    ),
    Rule(
        ("data.class_order",),
        lambda get: get("data.classes") is not None,
        "has no effect with data.classes=FILE, which has the order",
    ),
    *(
        Rule(keys, _is_other_data(names), f"only {_kinds(names)} uses it")
        for keys, names in KEYS_OF_DATA.items()
    ),
    Rule(
        ("seed",),
        lambda get: get("data.name") not in DIVISIBLE,
        f"this command uses it only to split a data set, with {_kinds(DIVISIBLE)}",
        commands=("evaluate",),
    ),
    Rule(
        ("data.on_unreadable", "data.max_unreadable", "data.max_pixels", "data.check"),
        lambda get: get("data.name") == "fashion_mnist",
        "has no effect with data=fashion_mnist, which has no image files",
    ),
    Rule(
        ("data.timeout", "data.max_worker_restarts"),
        lambda get: get("data.num_workers") == 0,
        "has no effect with data.num_workers=0",
    ),
    Rule(
        ("data.interpolation",),
        _keeps_size,
        "has no effect with data=fashion_mnist at 28 px, which resizes nothing",
        commands=("train",),
    ),
)
