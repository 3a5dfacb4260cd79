"""The kinds of private data: how each is counted. Nothing here keeps a row."""

import csv
import gzip
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from fl_client.link_errors import BadInput

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Counted:
    rows: int
    columns: tuple[str, ...] = ()
    classes: dict[str, int] = field(default_factory=dict)


def image_folder(path: Path, label: str) -> Counted:
    """One folder for each class, images below it."""
    if label:
        raise BadInput("In a folder of images the folders are the classes; leave --label out.")
    if not path.is_dir():
        raise BadInput(f"{path} is not a folder.")
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    classes = {folder.name: count for folder in folders if (count := _images_below(folder))}
    if not classes:
        raise BadInput(f"{path} holds no folder with images; each class needs a folder of its own.")
    return Counted(sum(classes.values()), classes=classes)


def csv_file(path: Path, label: str) -> Counted:
    """The first line names the columns. Also with .gz at the end of its name."""
    try:
        with _text(path) as file:
            reader = csv.reader(file)
            columns = tuple(next(reader, ()))
            place = _place(columns, label, path)
            rows, classes = 0, Counter[str]()
            for row in reader:
                if row:
                    _check_width(row, columns, reader.line_num, path)
                    rows += 1
                    if place is not None:
                        classes[row[place]] += 1
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as exc:
        raise BadInput(f"{path} is not a readable CSV file: {exc}") from exc
    return Counted(rows, columns, dict(sorted(classes.items())))


def parquet_file(path: Path, label: str) -> Counted:
    import pyarrow as arrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            columns = tuple(file.schema_arrow.names)
            _place(columns, label, path)
            classes = Counter[str](_labels(file, label)) if label else Counter[str]()
            return Counted(file.metadata.num_rows, columns, dict(sorted(classes.items())))
    except (OSError, arrow.ArrowException) as exc:
        raise BadInput(f"{path} is not a readable Parquet file: {exc}") from exc


KINDS: dict[str, Callable[[Path, str], Counted]] = {
    "image-folder": image_folder,
    "csv": csv_file,
    "parquet": parquet_file,
}


def _images_below(folder: Path) -> int:
    names = (name for _, _, found in os.walk(folder) for name in found)
    return sum(Path(name).suffix.lower() in IMAGES for name in names)


def _text(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _place(columns: tuple[str, ...], label: str, path: Path) -> int | None:
    if not columns:
        raise BadInput(f"{path} has no first line that names its columns.")
    if not label:
        return None
    if label not in columns:
        shown = ", ".join(columns[:20])
        raise BadInput(f"{path} has no column {label!r}; it has {shown}.")
    return columns.index(label)


def _check_width(row: list[str], columns: tuple[str, ...], line: int, path: Path) -> None:
    if len(row) != len(columns):
        raise BadInput(f"{path}, line {line}: {len(row)} values for {len(columns)} columns.")


def _labels(file: Any, label: str) -> Iterator[str]:
    batches: Iterable[Any] = file.iter_batches(batch_size=BATCH_ROWS, columns=[label])
    for batch in batches:
        yield from (str(value) for value in batch.column(0).to_pylist())
