"""The metrics by which runs are compared."""

from typing import Literal, get_args

Metric = Literal["val_top1", "val_top5", "val_loss", "train_loss"]
"""Columns of metrics.jsonl."""

HEADINGS: dict[Metric, str] = dict(
    zip(get_args(Metric), ("top-1", "top-5", "val loss", "train loss"), strict=True)
)


def is_maximized(metric: Metric) -> bool:
    """Return whether a higher value is better."""
    return not metric.endswith("loss")
