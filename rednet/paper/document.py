"""The tables as files: a Markdown document, and CSV and JSON with one record per number."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import timm
import torch

from rednet.files import to_csv, to_json, write_text_atomically
from rednet.paper import complexity
from rednet.paper.ablations import ABLATIONS, ablation_table, all_ablations_table, stem_table
from rednet.paper.accuracy import evaluation_record
from rednet.paper.accuracy_tables import Accuracies, accuracy_tables
from rednet.paper.comparison import Comparison
from rednet.paper.complexity_tables import generator_table, hybrid_table, rednet_table, resnet_table
from rednet.paper.cost_breakdown import operator_table, parts_table
from rednet.paper.networks import INVOLUTION_STEMS
from rednet.paper.summary import summary_tables
from rednet.paper.tables import Section, Table
from rednet.versions import rednet_version

FORMAT = 1
HEAD = """# The tables of the involution paper: published and reproduced

Li et al., Involution: Inverting the Inherence of Convolution for Visual Recognition, CVPR 2021,
arXiv 2103.06255. Images of 224 x 224; parameters in millions, FLOPs in 10^9, accuracy in percent.

The published FLOPs come out as one per multiply-add of convolutions and involutions, one per added
bias, two per normalised element and one per activated or pooled element, without the classifier:
an inference from the numbers, since the authors' own definition was not found.

A published number is **bold** where ours, counted or measured "here", rounds to it. "zoo" is the
authors' model zoo. tables.md has an appendix, tables.csv every number with all its digits.
"""
ACCURACY = """## Accuracies on ImageNet

"difference" is ours minus the last published number to its left. An accuracy is "not comparable"
unless all 50,000 images were evaluated under the published conditions, and a run of ours followed
the paper's recipe. Runs that differ in their seeds only are averaged; "spread" is their standard
deviation.
"""
APPENDIX = """## Appendix

Written by `python scripts/paper_tables.py` on {date} with rednet {rednet}, torch {torch},
timm {timm}. "difference" is ours minus the last published number to its left.
"""
CONVENTIONS = """### Conventions

"MACs" are multiply-adds (`macs` in rednet.paper.complexity). "FLOPs" (`flops`) are counted as in
the publications, where a multiply-add is one FLOP. Each call of a function on one image counts as:

{functions}

"Everything else" is sums, products with a scalar, softmax, other activations and normalisations.
W1 s W0 and W are the kernel generators; C is the number of channels, K the kernel size, G the
number of groups and r the reduction.
"""
SOURCES = """### Sources of the published numbers

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
    measured = list(accuracy_tables(accuracies))
    return [
        *summary_tables(measured),
        *(rednet_table(stem) for stem in INVOLUTION_STEMS),
        resnet_table(),
        *map(ablation_table, ABLATIONS),
        all_ablations_table(),
        stem_table(),
        *measured,
        operator_table(),
        parts_table(),
        hybrid_table(),
        generator_table(),
    ]


def provenance() -> dict[str, str]:
    """Return today's date and the versions of the packages that the numbers depend on."""
    return {
        "date": f"{datetime.now():%Y-%m-%d}",
        "rednet": rednet_version(),
        "torch": str(torch.__version__),
        "timm": timm.__version__,
    }


def results_to_markdown(tables: Sequence[Table]) -> str:
    """Return the first part of the document: the first screen and the evaluated accuracies."""
    measured = _sections(tables, "accuracy", level=3)
    parts = [HEAD, *_sections(tables, "summary", level=2), *([ACCURACY] if measured else [])]
    return "\n".join([*parts, *measured])


def appendix_to_markdown(tables: Sequence[Table], versions: Mapping[str, str]) -> str:
    """Return the second part of the document, with the counting conventions and the sources."""
    # The conventions stand in the counter's docstring, next to the code that they describe.
    functions = re.search(r"^\|.*\|$", complexity.__doc__ or "", re.MULTILINE | re.DOTALL)
    parts = [APPENDIX.format(**versions), *_sections(tables, "appendix", level=3)]
    parts.append(CONVENTIONS.format(functions=functions and functions[0]))
    return "\n".join([*parts, SOURCES])


def _sections(tables: Sequence[Table], section: Section, level: int) -> list[str]:
    return [table.to_markdown(level) for table in tables if table.section == section]


def write_tables(tables: Sequence[Table], folder: Path) -> str:
    """Write tables.md, tables.csv and tables.json.

    Args:
        tables: The tables.
        folder: Folder for the files.

    Returns:
        The Markdown text without the appendix.
    """
    versions = provenance()
    results = results_to_markdown(tables)
    markdown = f"{results}\n{appendix_to_markdown(tables, versions)}"
    records = [_record(table, item) for table in tables for item in table.comparisons]
    contents = {
        "md": markdown,
        "csv": to_csv([{**record, **versions} for record in records]),
        "json": to_json({"format": FORMAT, **versions}, "figures", list(map(_to_json, records))),
    }
    for suffix, content in contents.items():
        write_text_atomically(folder / f"tables.{suffix}", content)
    return results


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
