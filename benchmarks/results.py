"""The results of a part of the benchmark, saved while they come in."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from benchmarks import charts, report

Row = dict[str, Any]

COLUMNS = {
    "ceilings": {
        "ceiling": "ceiling",
        "method": "method",
        "median": "median",
        "lower": "q1",
        "upper": "q3",
        "best": "best",
        "unit": "unit",
    },
    "input": {
        "source": "source",
        "stage": "stage",
        "contender": "contender",
        "images_per_second_median": "images/s",
        "baseline": "baseline",
        "over_baseline_median": "x baseline",
        "over_baseline_lower": "q1",
        "over_baseline_upper": "q3",
    },
    "saving": {
        "depth": "depth",
        "megabytes": "MB",
        "what": "what",
        "median": "s",
        "lower": "q1",
        "upper": "q3",
    },
    "growth": {
        "precision": "precision",
        "pass": "pass",
        "quantity": "quantity",
        "value": "value",
        "ms_median": "ms",
        "ms_lower": "q1",
        "ms_upper": "q3",
        "exponent": "exponent",
    },
    "pointwise": {
        "depth": "depth",
        "shape": "shape",
        "times": "times",
        "batch": "batch",
        "direction": "direction",
        "product_ms": "product ms",
        "convolution_ms": "convolution ms",
        "ratio_median": "ratio",
        "ratio_lower": "q1",
        "ratio_upper": "q3",
        "chosen": "chosen",
    },
    "operator": {
        "layer": "layer",
        "precision": "precision",
        "batch": "batch",
        "pass": "pass",
        "contender": "contender",
        "ms_median": "ms",
        "turns_speedup_median": "x unfold",
        "turns_speedup_lower": "q1",
        "turns_speedup_upper": "q3",
        "gflops": "GFLOP/s",
        "gbs": "GB/s",
        "turns_share_median": "share",
        "binds": "of",
        "peak_mib": "peak MiB",
    },
    "export": {
        "depth": "depth",
        "form": "form",
        "batch": "batch",
        "megabytes": "MB",
        "export_seconds": "export s",
        "export_cpu_seconds": "CPU s",
        "ms_per_image_median": "ms",
        "over_eager_median": "x eager",
        "over_eager_lower": "q1",
        "over_eager_upper": "q3",
        "relative_error": "error",
    },
    "optimized": {
        "depth": "depth",
        "precision": "precision",
        "batch": "batch",
        "form": "form",
        "ms_per_image_median": "ms",
        "over_best_resnet_median": "x best resnet",
        "over_best_resnet_lower": "q1",
        "over_best_resnet_upper": "q3",
    },
    "onnx-forms": {
        "form": "form",
        "runtime": "runtime",
        "batch": "batch",
        "ms_per_image_median": "ms",
        "over_native_median": "x native",
        "over_native_lower": "q1",
        "over_native_upper": "q3",
        "relative_error": "error",
    },
    "network": {
        "depth": "depth",
        "mode": "mode",
        "precision": "precision",
        "execution": "execution",
        "batch": "batch",
        "resnet_ms_per_image": "resnet ms",
        "rednet_ms_per_image": "rednet ms",
        "bound_ms_per_image": "bound ms",
        "turns_rednet_over_resnet_median": "red/res",
        "turns_rednet_over_resnet_lower": "q1",
        "turns_rednet_over_resnet_upper": "q3",
        "turns_rednet_over_bound_median": "red/bound",
        "turns_rednet_over_bound_lower": "q1",
        "turns_rednet_over_bound_upper": "q3",
        "turns_bound_over_resnet_median": "bound/res",
        "memory_over_resnet": "memory",
    },
}
GPU_COLUMNS = {
    "roofline_share": "roofline",
    "datasheet_share": "datasheet",
    "speedup_over_conv3x3": "x conv3x3",
}
RECORDS: dict[str, Callable[[list[Row]], Iterable[report.Record]]] = {
    "ceilings": iter,
    "input": report.flat_records,
    "saving": iter,
    "export": report.flat_records,
    "optimized": report.flat_records,
    "onnx-forms": report.flat_records,
    "operator": report.operator_records,
    "growth": report.flat_records,
    "network": report.network_records,
    "pointwise": report.pointwise_records,
}
CHARTS: dict[str, Callable[[Sequence[Row], Path], None]] = {
    "ceilings": charts.draw_ceilings,
    "input": charts.draw_input,
    "saving": charts.draw_saving,
    "export": charts.draw_export,
    "optimized": charts.draw_optimized,
    "onnx-forms": charts.draw_onnx_forms,
    "operator": charts.draw_operator,
    "growth": charts.draw_growth,
    "network": charts.draw_network,
    "pointwise": charts.draw_pointwise,
}


@dataclass
class Results:
    """Rows of a part of the benchmark, saved whenever some are added.

    Attributes:
        part: A key of `COLUMNS`.
        folder: Folder of the files.
        header: Entries of the JSON file other than the rows.
        rounds: Total rounds of turns, for the progress bar.
        rows: Rows so far.
    """

    part: str
    folder: Path
    header: dict[str, Any]
    rounds: int
    rows: list[Row] = field(default_factory=list)

    def __enter__(self) -> "Results":
        self.bar = tqdm(total=self.rounds, unit=" turns", desc=self.part, disable=None, leave=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()
        if self.rows:
            self._conclude()

    def on_turn(self) -> None:
        """Advance the progress bar by one round of turns."""
        self.bar.update()

    def say(self, line: str) -> None:
        """Print a line above the progress bar."""
        self.bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows and save all rows so far."""
        self.rows += rows
        report.write_json(self.header, self.rows, self.folder / f"{self.part}.json")

    def _conclude(self) -> None:
        """Write the CSV file and the chart, print the table."""
        records = list(RECORDS[self.part](self.rows))
        report.write_csv(records, self.folder / f"{self.part}.csv")
        CHARTS[self.part](self.rows, self.folder / f"{self.part}.png")
        columns = COLUMNS[self.part] | {
            name: heading for name, heading in GPU_COLUMNS.items() if name in records[0]
        }
        print(report.to_table(records, columns))
        print(f"{self.part}.json, .csv and .png are in {self.folder}", flush=True)
