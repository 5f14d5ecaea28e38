"""OUT/metrics.csv: the course of a training, a row for every so many steps."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Protocol

from facexcli.errors import OutputError
from facexcli.media.atomic import AtomicFile
from facexcli.media.container import os_reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIRST_COLUMNS = ("step", "loss", "samples_per_s")


class MetricsSink(Protocol):
    """Takes numbers by name, for a step."""

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class MetricsTable:
    """A CSV file with the columns `FIRST_COLUMNS` and whatever else is written, empty where nothing was measured.

    after: rows beyond this step are forgotten: a run that goes on from there writes them again.
    """

    def __init__(self, path: Path, after: int = -1) -> None:
        self._path = path
        self._rows = [row for row in read_metrics(path) if row["step"] <= after] if after >= 0 else []
        self._columns = list(FIRST_COLUMNS)
        for row in self._rows:
            self._columns += [name for name in row if name not in self._columns]
        self._rewrite()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row; the file is whole after each."""
        row = {"step": step, **values}
        self._rows.append(row)
        new = [name for name in row if name not in self._columns]
        self._columns += new
        if new:
            self._rewrite()
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(self._cells(row))
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {os_reason(error)}") from error

    def close(self) -> None:
        """See `MetricsSink`; nothing is left open."""

    def _cells(self, row: Mapping[str, float]) -> list[str]:
        return [_cell(row.get(name)) for name in self._columns]

    def _rewrite(self) -> None:
        with AtomicFile(self._path) as file:
            with file.temporary.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(self._columns)
                writer.writerows(self._cells(row) for row in self._rows)
            file.commit()


class TensorBoardLog:
    """The same numbers as TensorBoard reads them. Raises ImportError where tensorboard is not installed."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """See `MetricsSink`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `MetricsSink`."""
        self._writer.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a table, without empty cells; none for a file that is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: _number(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def _number(cell: str) -> float:
    return int(cell) if cell.isdigit() else float(cell)


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.6g}"
