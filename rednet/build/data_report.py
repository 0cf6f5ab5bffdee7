"""Tell the user how the data was understood."""

from pathlib import Path

from rednet.data import Splits
from rednet.data.summary import summarize_splits
from rednet.files import to_csv, write_text_atomically

NOT_READ_FILE = "not_read.csv"


def report_data(splits: Splits, folder: Path) -> None:
    """Print classes, origins, notes and what is not read; list the latter in the run's folder."""
    path = folder / NOT_READ_FILE
    lines = summarize_splits(splits)
    if splits.not_read:
        write_text_atomically(path, to_csv(splits.not_read.records(), line_end="\r\n"))
        lines[-1] += f"; listed in {path}"
    else:
        path.unlink(missing_ok=True)
    print("\n".join(lines), flush=True)
