"""Files of a run folder as tables and records; what is not as fewstep writes it is refused with its place.

Folders are copied, edited and sent around: nothing in them is taken on trust.
"""

import csv
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from .errors import DamagedError

T = TypeVar("T")

LARGEST_INTEGER = 2**63 - 1
SHOWN = 40
"""Characters of a wrong value that a message shows."""
NPZ_ERRORS = (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def refuse(file: Path, what: str, line: int | None = None) -> NoReturn:
    raise DamagedError(f"{file}{f', line {line}' if line else ''}: {what}")


def text(file: Path) -> str:
    """The text of a file, without a byte order mark. FileNotFoundError, or DamagedError for what is no text."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        refuse(file, f"cannot be read: {error.strerror}")
    try:
        found = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        refuse(file, "is not UTF-8 text")
    if "\0" in found:
        refuse(file, "is not text: it holds NUL bytes")
    return found


class Lines:
    """The lines of a CSV file by column: `columns` are those that it must have, in any order, and it may have others.

    later: columns that were added to the format one after another; a file may lack the last of them, as older
    versions wrote none.
    """

    def __init__(self, file: Path, columns: Sequence[str], later: Sequence[str] = ()) -> None:
        self.file = file
        reader = csv.reader(io.StringIO(text(file), newline=""), strict=True)
        try:
            lines = [(reader.line_num, line) for line in reader if line]
        except csv.Error as error:
            refuse(file, str(error), reader.line_num)
        if not lines:
            refuse(file, "is empty")
        (first, self.header), *rows = lines
        self._check_header(first, columns, later)
        self.numbers = [number for number, _ in rows]
        for number, row in rows:
            if len(row) != len(self.header):
                refuse(file, f"{len(row)} values for {len(self.header)} columns", number)
        self._columns = dict(zip(self.header, zip(*(row for _, row in rows), strict=True), strict=False))

    def _check_header(self, first: int, columns: Sequence[str], later: Sequence[str]) -> None:
        twice = next((name for i, name in enumerate(self.header) if name in self.header[:i]), None)
        if twice is not None:
            refuse(self.file, f"the column {twice[:SHOWN]!r} appears twice", first)
        known = max((i + 1 for i, name in enumerate(later) if name in self.header), default=0)
        lacking = [name for name in (*columns, *later[:known]) if name not in self.header]
        if lacking:
            commas = "" if len(self.header) > 1 else "; columns have commas between them"
            refuse(self.file, f"lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}{commas}")

    def __len__(self) -> int:
        return len(self.numbers)

    def texts(self, column: str) -> Sequence[str]:
        """The column's values; empty texts for a column that the file lacks."""
        if column not in self.header:
            return [""] * len(self)
        return self._columns.get(column, ())

    def converted(self, column: str, convert: Callable[[str], T], what: str) -> list[T]:
        """The column's values, converted; a ValueError of `convert` refuses the file for not being `what`."""
        found: list[T] = []
        values = self.texts(column)
        try:
            found.extend(map(convert, values))
        except ValueError:
            wrong = values[len(found)]
            refuse(self.file, f"{column} {wrong[:SHOWN]!r} is not {what}", self.numbers[len(found)])
        return found

    def frame(self, columns: Iterable[str], kinds: Mapping[str, str]) -> pd.DataFrame:
        """These columns; kinds: those that hold a "count" (int), a "number" (float, NaN where it is empty) or "any"
        number, which need not be finite.
        """
        made: dict[str, Any] = {}
        for name in columns:
            if (kind := kinds.get(name)) is None:
                made[name] = pd.array(list(self.texts(name)), dtype="string")
            elif kind == "count":
                made[name] = np.array(self.converted(name, count, "a whole number"), dtype=np.int64)
            else:
                convert, what = (number, "a number") if kind == "any" else (finite, "a finite number")
                made[name] = np.array(self.converted(name, convert, what), dtype=np.float64)
        return pd.DataFrame(made)


def count(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 19 or (found := int(value)) > LARGEST_INTEGER:
        raise ValueError(value)
    return found


def number(value: str) -> float:
    if "_" in value:
        raise ValueError(value)
    return float(value) if value else math.nan


def finite(value: str) -> float:
    if math.isinf(found := number(value)):
        raise ValueError(value)
    return found


def record(file: Path, model: TypeAdapter[T], missing: T) -> T:
    """The JSON of a file; `missing` without the file. DamagedError where it is of another form."""
    try:
        return model.validate_json(text(file), strict=True)
    except FileNotFoundError:
        return missing
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        refuse(file, f"{where}: {first['msg']}" if where else first["msg"])


def images(file: Path) -> dict[str, np.ndarray]:
    """An npz of uint8 images (n, C, H, W) by name. DamagedError for other content."""
    found: dict[str, np.ndarray] = {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                found[name] = archive[name]
    except NPZ_ERRORS as error:
        refuse(file, f"is not an npz of pictures: {_one_line(error)}")
    except AttributeError:
        refuse(file, "is not an npz of pictures")
    for name, array in found.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] not in (1, 3) or not array.size:
            refuse(file, f"{name[:SHOWN]!r} holds no pictures: {array.dtype} of shape {array.shape}")
    return found


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
