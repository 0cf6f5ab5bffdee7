"""The tables as files: a Markdown document, and CSV and JSON with one record per number."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch

from rednet.files import to_csv, to_json, write_text_atomically
from rednet.paper import complexity
from rednet.paper.ablations import ablation_table, stem_table
from rednet.paper.accuracy import evaluation_record
from rednet.paper.accuracy_tables import Accuracies, accuracy_tables
from rednet.paper.comparison import Comparison
from rednet.paper.complexity_tables import generator_table, hybrid_table, rednet_table, resnet_table
from rednet.paper.cost_breakdown import operator_table, parts_table
from rednet.paper.networks import INVOLUTION_STEMS
from rednet.paper.tables import Table

FORMAT = 1
HEAD = """# The tables of the involution paper: published and reproduced

Li et al., Involution: Inverting the Inherence of Convolution for Visual Recognition, CVPR 2021,
arXiv 2103.06255. Written by `python scripts/paper_tables.py` on {date} with rednet {rednet}, torch
{torch}, timm {timm}. Images are 224 x 224.

"here" is the number that this package counts or measures; "difference" is that number minus the
last published one to its left. A number is reproduced if it rounds to the published one. An
accuracy is "not comparable" unless all 50,000 images were evaluated under the published conditions.
"""
CONVENTIONS = """## Conventions

"MACs" are multiply-adds (`macs` in rednet.paper.complexity). "FLOPs" (`flops`) are counted as in
the publications, where a multiply-add is one FLOP. Each call of a function on one image counts as:

{functions}

"Everything else" is sums, products with a scalar, softmax, other activations and normalisations.
W1 s W0 and W are the kernel generators; C is the number of channels, K the kernel size, G the
number of groups and r the reduction.
"""
SOURCES = """## Sources of the published numbers

- paper: parameters, FLOPs and top-1 of Table 1 as listed by paperswithcode; the ablations as quoted
  from Table 6 in slides and articles; parameters and FLOPs of ResNet, which match the relative
  reductions in the authors' README.
- model zoo: README of the authors' repository d-li14/involution, commit 21c3158. It says that some
  networks were retrained and may differ slightly from the paper's.
- plot: read off the plots of accuracy against complexity in the same repository, to about 0.02.
"""


def build_tables(accuracies: Accuracies) -> list[Table]:
    """Build all tables.

    Args:
        accuracies: Accuracies of evaluated checkpoints.
    """
    return [
        *(rednet_table(stem) for stem in INVOLUTION_STEMS),
        resnet_table(),
        *(ablation_table(name) for name in ("kernel size", "group channels", "generator")),
        stem_table(),
        *accuracy_tables(accuracies),
        operator_table(),
        parts_table(),
        hybrid_table(),
        generator_table(),
    ]


def provenance() -> dict[str, str]:
    """Return today's date and the versions of the packages that the numbers depend on."""
    return {
        "date": f"{datetime.now():%Y-%m-%d}",
        "rednet": version("rednet"),
        "torch": str(torch.__version__),
        "timm": timm.__version__,
    }


def to_markdown(tables: Sequence[Table], versions: Mapping[str, str]) -> str:
    """Return the document with all tables, the counting conventions and the sources."""
    # The conventions stand in the counter's docstring, next to the code that they describe.
    functions = re.search(r"^\|.*\|$", complexity.__doc__ or "", re.MULTILINE | re.DOTALL)
    parts = [HEAD.format(**versions), *(table.to_markdown() for table in tables)]
    parts.append(CONVENTIONS.format(functions=functions and functions[0]))
    return "\n".join([*parts, SOURCES])


def write_tables(tables: Sequence[Table], folder: Path) -> str:
    """Write tables.md, tables.csv and tables.json.

    Args:
        tables: The tables.
        folder: Folder for the files.

    Returns:
        The Markdown text.
    """
    versions = provenance()
    markdown = to_markdown(tables, versions)
    records = [_record(table, item) for table in tables for item in table.comparisons]
    contents = {
        "md": markdown,
        "csv": to_csv([{**record, **versions} for record in records]),
        "json": to_json({"format": FORMAT, **versions}, "figures", list(map(_to_json, records))),
    }
    for suffix, content in contents.items():
        write_text_atomically(folder / f"tables.{suffix}", content)
    return markdown


def _record(table: Table, item: Comparison) -> dict[str, Any]:
    return {
        "table": table.key,
        "row": item.row,
        "quantity": item.quantity,
        "unit": item.unit,
        "source": item.source,
        "published": item.published,
        "ours": item.ours,
        "difference": item.difference,
        "verdict": item.verdict,
        "reason": item.reason,
        "network": item.network,
        **evaluation_record(item.accuracy),
    }


def _to_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """Convert our numbers to floats; published ones stay text to keep their printed digits."""
    return {
        key: float(value) if isinstance(value, Decimal) else value for key, value in record.items()
    }
