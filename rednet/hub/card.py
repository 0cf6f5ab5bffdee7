"""The model card: what a reader of the folder must know."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rednet.data import english_names
from rednet.models.variants import LAYERS
from rednet.wording import printable

FIGURES = {"val_top1": "top-1", "val_top5": "top-5", "val_loss": "loss"}
"""Metrics of a checkpoint that the card shows."""
MAX_CLASSES = 100
"""Most classes that the card lists; config.json has all."""
USAGE = """```python
import timm{rednet}

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
data = timm.data.resolve_model_data_config(model)
transform = timm.data.create_transform(**data, is_training=False)
```

or, with `rednet`:

```python
import rednet

classifier = rednet.Classifier("FOLDER")
print(classifier("photo.jpg"))
```
"""


@dataclass(frozen=True)
class Card:
    """What a model card says besides what is in config.json.

    Attributes:
        network: Name and options of the network.
        class_names: Name of each output; empty if unknown.
        data: Name of the data that the network was trained on, None if unknown.
        metrics: Metrics of the epoch that wrote the weights, in percent; empty if unknown.
        notes: What was assumed about the weights, one line each.
        license: Licence of the weights, None if it is not stated.
    """

    network: str
    class_names: Sequence[str] = ()
    data: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    license: str | None = None


def write_card(card: Card, config: str) -> str:
    """Return the text of a model card.

    Args:
        card: What is known about the weights.
        config: Text of config.json.
    """
    content = json.loads(config)
    header = ["tags:", "- image-classification", "- timm", "library_name: timm"]
    if card.license is not None:
        header.append(f"license: {json.dumps(card.license)}")
    is_ours = content["architecture"] in LAYERS
    usage = USAGE.format(rednet="\nimport rednet  # registers the network with timm" * is_ours)
    parts = [
        "\n".join(["---", *header, "---"]),
        f"# {_text(content['architecture'])}",
        _table(_facts(card, content)),
        "## How to load it",
        usage.rstrip(),
        *_classes(card),
        *_notes(card),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(card: Card, content: Mapping[str, Any]) -> dict[str, str]:
    cfg = content["pretrained_cfg"]
    channels, height, width = cfg["input_size"]
    mean, std = (" ".join(f"{value:g}" for value in cfg[name]) for name in ("mean", "std"))
    values = (f"crop {cfg['crop_pct']:g}", cfg["interpolation"], f"mean {mean}", f"std {std}")
    figures = {
        f"validation {name}": f"{card.metrics[key]:.4g}" + (" %" if "top" in key else "")
        for key, name in FIGURES.items()
        if isinstance(card.metrics.get(key), int | float)
    }
    return {
        "network": card.network,
        "outputs": str(content["num_classes"]),
        **({} if card.data is None else {"trained on": card.data}),
        **figures,
        "images": f"{channels} x {height} x {width}",
        "preprocessing": ", ".join(values),
        "licence": card.license or "not stated",
    }


def _table(facts: Mapping[str, str]) -> str:
    rows = (f"| {name} | {_text(value)} |" for name, value in facts.items())
    return "\n".join(["| | |", "|---|---|", *rows])


def _classes(card: Card) -> list[str]:
    names = card.class_names
    if not names:
        return []
    labels = [label or name for label, name in zip(english_names(names), names, strict=True)]
    shown = ", ".join(map(_text, labels[:MAX_CLASSES]))
    rest = len(labels) - MAX_CLASSES
    more = f" and {rest} more, see `label_names` in config.json" if rest > 0 else ""
    return ["## Classes", f"{shown}{more}"]


def _notes(card: Card) -> list[str]:
    if not card.notes:
        return []
    return ["## Notes", "\n".join(f"- {_text(note)}" for note in card.notes)]


def _text(text: str) -> str:
    """Return text that Markdown shows as it is: names of classes may come from anybody."""
    return "".join(f"\\{c}" if c in "\\|<>`*_[]&#!" else c for c in printable(text))
