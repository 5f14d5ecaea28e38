"""Preparation: a folder of videos and stills is analysed once, in parallel, and kept until data or recipe change."""

from __future__ import annotations

import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from facexcli.engines.facex.extractors import extractor_names
from facexcli.errors import InputError, OutputError
from facexcli.events import Informed, StageAdvanced, StageFinished, StageStarted, Warned
from facexcli.media.atomic import write_whole
from facexcli.media.container import os_reason
from facexcli.train.analyse import ShardOrder, make_shard
from facexcli.train.shards import INDEX, VERSION, Index, PreparedFaces, PreparedFile, Skipped, read_index
from facexcli.train.sources import find_sources, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.events import Reporter, StageName

_SHARD_FILES = 24
_STAGE: StageName = "analyse"
_MOST_NAMED = 10
"""Skipped files that are named; the index names all."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How data are prepared. views: of a still; frames: of a video; limit: of files; workers: processes."""

    views: int = 3
    frames: int = 4
    limit: int | None = None
    workers: int = 2
    seed: int = 0


def prepare(data: Path, out: Path, config: FaceXConfig, how: Preparation, reporter: Reporter) -> PreparedFaces:
    """Analyse all files of `data` into shards in `out`, or take those that are there already for the same files.

    Files that cannot be read, or show no face, are skipped, counted and listed. What an interrupted preparation has
    done is kept. Raises InputError where nothing is left, OutputError where `out` cannot be written, WeightsError for
    an extractor that is missing or damaged.
    """
    files = find_sources(data, how.limit)
    recipe = [VERSION, config.size_px, extractor_names(config), how.views, how.frames, how.seed]
    mark = fingerprint(files, recipe)
    index = read_index(out)
    if index is None or index.fingerprint != mark:
        index = _analysed(data, out, config, how, reporter, mark)
    else:
        reporter.emit(Informed(f"{out}: {len(index.files)} files, prepared before"))
    _tell_skipped(index, out, reporter)
    if not index.files:
        raise InputError(f"{data}: no file with a face in it", f"{out / INDEX} says why for each")
    return PreparedFaces(out, index)


def _analysed(data: Path, out: Path, config: FaceXConfig, how: Preparation, reporter: Reporter, mark: str) -> Index:
    files = find_sources(data, how.limit)
    _make_folder(out)
    parts = [files[first : first + _SHARD_FILES] for first in range(0, len(files), _SHARD_FILES)]
    orders = [
        ShardOrder(data, part, out / f"{mark[:12]}-{number:05}.safetensors", config, how.views, how.frames, how.seed)
        for number, part in enumerate(parts)
    ]
    started_s, done = time.monotonic(), 0
    reporter.emit(StageStarted(_STAGE, len(files), "files"))
    found: dict[str, tuple[list[PreparedFile], list[Skipped]]] = {}
    try:
        for order, result in in_processes(orders, how.workers):
            found[order.path.name] = result
            done += len(order.files)
            reporter.emit(StageAdvanced(_STAGE, done, done / max(time.monotonic() - started_s, 1e-3)))
    except (OSError, SafetensorError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error).splitlines()[0]
        raise OutputError(f"{out} cannot be written: {reason}", "make room there, and start again") from error
    reporter.emit(StageFinished(_STAGE, done, time.monotonic() - started_s))
    results = [found[order.path.name] for order in orders]
    index = Index(
        mark,
        extractor_names(config),
        tuple(file for prepared, _ in results for file in prepared),
        tuple(file for _, skipped in results for file in skipped),
    )
    write_whole(out / INDEX, index.as_json())
    return index


def in_processes(
    orders: Sequence[ShardOrder], workers: int
) -> Iterator[tuple[ShardOrder, tuple[list[PreparedFile], list[Skipped]]]]:
    """Each shard, as it is done. A file that kills its process is skipped: what was begun is done file by file."""
    pending = list(orders)
    with _pool(workers) as pool:
        tasks = {pool.submit(make_shard, order): order for order in orders}
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
                pending.remove(tasks[task])
        except BrokenProcessPool:
            pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for order in pending:
        yield order, _carefully(order)


def _carefully(order: ShardOrder) -> tuple[list[PreparedFile], list[Skipped]]:
    """A shard whose process died: each file is tried by itself first, and the one that kills is left out."""
    fatal: list[Skipped] = []
    for file in order.files:
        trial = replace(order, files=(file,), path=order.path.with_name(f"trial-{order.path.name}"))
        with _pool(1) as pool:
            try:
                pool.submit(make_shard, trial).result()
            except BrokenProcessPool:
                fatal.append(Skipped(file.name, "the program that reads it crashed"))
        trial.path.unlink(missing_ok=True)
    names = {skipped.name for skipped in fatal}
    with _pool(1) as pool:
        rest = replace(order, files=tuple(file for file in order.files if file.name not in names))
        prepared, skipped = pool.submit(make_shard, rest).result()
    return prepared, skipped + fatal


def _pool(workers: int) -> ProcessPoolExecutor:
    """Processes of their own kind: dlib and torch keep threads, which a fork would tear."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _leave_signals_to_the_parent)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {os_reason(error)}", "choose another place with --out") from error


def _tell_skipped(index: Index, out: Path, reporter: Reporter) -> None:
    if not index.skipped:
        return
    total = len(index.files) + len(index.skipped)
    reporter.emit(Warned(f"{len(index.skipped)} of {total} files are left out; {out / INDEX} lists them"))
    for file in index.skipped[:_MOST_NAMED]:
        reporter.emit(Warned(f"{file.name}: {file.reason}"))
