"""Read tables: CSV with any usual delimiter, and parquet."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rednet.data.folder_entries import is_image_name
from rednet.errors import InputError
from rednet.wording import count, join_names, printable

DELIMITERS = ",;\t|"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        path: Its file.
        columns: Texts of each column, by name; a missing value is empty.
        rows: Number of each row: in a CSV file that of its (last) line.
    """

    path: Path
    columns: Mapping[str, Sequence[str]]
    rows: Sequence[int]

    def find(self, key: str, name: str | None, usual: Sequence[str]) -> str:
        """Return the name of a column.

        Args:
            key: Configuration key of the name.
            name: The name, if the user gives it.
            usual: Names to look for otherwise, in lower case.

        Raises:
            InputError: There is no such column, or it is not clear which one is meant.
        """
        if (found := self.find_optional(key, name, usual)) is not None:
            return found
        names = list(self.columns)
        header = "; is the header line missing?" if any(map(is_image_name, names)) else ""
        raise InputError(
            f"{printable(self.path)} has no column {' or '.join(usual)}: give {key}, one of "
            f"{join_names(names, limit=20)}{header}"
        )

    def find_optional(self, key: str, name: str | None, usual: Sequence[str]) -> str | None:
        """Return the name of a column as `find` does, None if the user gives none of a usual name.

        Raises:
            InputError: There is no column of the given name, or several of a usual name.
        """
        if name is not None:
            if name in self.columns:
                return name
            raise InputError(
                f"{key}={name}: {printable(self.path)} has no such column; its columns are "
                f"{join_names(list(self.columns), limit=20)}"
            )
        found = [column for column in self.columns if column.strip().lower() in usual]
        if len(found) > 1:
            raise InputError(
                f"{printable(self.path)} has columns {join_names(found)}: choose one by {key}"
            )
        return found[0] if found else None

    def place(self, position: int) -> str:
        """Return where a row stands, such as "row 7 of pets.csv"."""
        return f"row {self.rows[position]} of {printable(self.path)}"


def read_table(path: Path) -> Table:
    """Read a table: parquet by its suffix, anything else as CSV.

    CSV files are UTF-8 or, with its byte order mark, UTF-16; the delimiter (comma, semicolon, tab
    or bar) is the one that splits the header line into the most columns.

    Raises:
        InputError: The file cannot be read, or is no such table.
    """
    try:
        table = _read_parquet(path) if path.suffix.lower() in PARQUET else _read_csv(path)
    except OSError as error:
        raise InputError(f"data.table={path} cannot be read: {error.strerror or error}") from error
    if not table.rows:
        raise InputError(f"data.table={path} has no rows")
    return table


def _read_csv(path: Path) -> Table:
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in UTF_16 else "utf-8-sig"
    # Names of files can have bytes of any encoding.
    errors = "strict" if encoding == "utf-16" else "surrogateescape"
    with path.open(newline="", encoding=encoding, errors=errors) as file:
        try:
            head = file.readline()
            sizes = {each: len(next(csv.reader([head], delimiter=each), [])) for each in DELIMITERS}
            delimiter = max(DELIMITERS, key=sizes.__getitem__)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = next(reader, [])
            rows, numbers = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise InputError(
                        f"row {reader.line_num} of {path} has {count(len(row), 'field')}, its "
                        f"header line has {len(names)}"
                    )
                rows.append(row)
                numbers.append(reader.line_num)
        except (csv.Error, UnicodeError) as error:
            raise InputError(f"data.table={path} is no CSV or parquet file: {error}") from error
    _require_different(path, names)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return Table(path, dict(zip(names, columns, strict=True)), numbers)


def _require_different(path: Path, names: Sequence[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"data.table={path} has columns of the same name: {join_names(repeated)}")


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f'data.table={path} needs pyarrow: pip install "rednet[parquet]"'
        ) from error
    try:
        content = parquet.ParquetFile(os.fspath(path)).read()
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"data.table={path} cannot be read as parquet: {reason}") from error
    _require_different(path, content.column_names)
    columns = {
        name: [_as_text(value) for value in column.to_pylist()]
        for name, column in zip(content.column_names, content.columns, strict=True)
        if not pyarrow.types.is_nested(column.type) and not pyarrow.types.is_binary(column.type)
    }
    return Table(path, columns, range(1, content.num_rows + 1))


def _as_text(value: object) -> str:
    return "" if value is None else str(value)
