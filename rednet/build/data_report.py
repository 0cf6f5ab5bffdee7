"""Tell the user how the data was understood, and what of it is not read."""

from pathlib import Path

from rednet.best_effort import BestEffort
from rednet.data import Splits
from rednet.data.not_read import NotRead
from rednet.data.summary import summarize_splits
from rednet.files import to_csv, write_text_atomically
from rednet.program import say
from rednet.wording import printable

NOT_READ_FILE = "not_read.csv"


def report_data(splits: Splits, folder: Path) -> None:
    """Print classes, origins and notes, and report what is not read."""
    for line in summarize_splits(splits):
        say(line)
    report_not_read(splits.not_read, folder)


def report_not_read(not_read: NotRead, folder: Path) -> None:
    """Print one line about what is not read, and list it in a file in the run's folder."""
    path = folder / NOT_READ_FILE
    effort = BestEffort("the line below counts what it would list")
    with effort.write(str(path)):
        path.unlink(missing_ok=True)
        if not_read:
            write_text_atomically(path, to_csv(not_read.records(), line_end="\r\n"))
    if not_read:
        where = "" if effort.failure else f"; listed in {printable(path)}"
        say(f"{not_read.describe()}{where}")
