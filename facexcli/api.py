"""facex from Python: what the commands do, as functions. Exported lazily by `facexcli`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.events import Reporter, SilentReporter
from facexcli.media.picture_files import output_path
from facexcli.pipeline.formats import probe_target
from facexcli.pipeline.inputs import Mapped
from facexcli.pipeline.parallel import single_threaded_kernels
from facexcli.pipeline.people import find_people
from facexcli.pipeline.perception import choose_analyzer
from facexcli.pipeline.planning import plan_mapped_swap, plan_reenact, plan_swap
from facexcli.pipeline.result import PersonResult, RunResult
from facexcli.pipeline.run import run
from facexcli.settings import Settings

if TYPE_CHECKING:
    from os import PathLike

    from facexcli.types import Analysis

    AnyPath = str | PathLike[str]
    Who = int | str | Path

__all__ = ["PersonResult", "RunResult", "analyse", "reenact", "swap"]


def swap(
    sources: AnyPath | Sequence[AnyPath] | Mapping[Who, AnyPath | Sequence[AnyPath]],
    target: AnyPath,
    output: AnyPath,
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Put the person of `sources` into an image or a video, as `facex swap` does.

    Args:
        sources: one still, several stills of one person, or a folder of them. For several people at once a mapping
            {who: such sources}; who is a number (int) or a name (str) of `analyse`, or a reference still (Path).
        target: image, video, or a folder of pictures.
        output: the file to write; its suffix chooses the container. `DIR/%05d.png` and `DIR/` take every frame as a
            picture, `-` writes Matroska to standard output.
        settings: every option of the command line; defaults when None.
        overwrite: replace a file at `output`.
        reporter: receives progress and warnings.

    Raises:
        FacexError: a subclass that says what is wrong with which file; nothing is written then.
    """
    settings = settings or Settings()
    if isinstance(sources, Mapping):
        rows = [Mapped(_paths(own), str(who) if isinstance(who, int) else who) for who, own in sources.items()]
        plan = plan_mapped_swap(rows, Path(target), output_path(fspath(output)), settings)
    else:
        plan = plan_swap(_paths(sources), Path(target), output_path(fspath(output)), settings)
    return run(plan, reporter, overwrite)


def _paths(sources: AnyPath | Sequence[AnyPath]) -> tuple[Path, ...]:
    if isinstance(sources, Sequence) and not isinstance(sources, str):
        return tuple(Path(source) for source in sources)
    return (Path(sources),)


def reenact(
    source: AnyPath,
    driving: AnyPath,
    output: AnyPath,
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Make the portrait `source` move like the face in `driving`, as `facex reenact` does.

    The result has the frames, times and sound of `driving` and the picture of `source`. Raises as `swap` does.
    """
    place = output_path(fspath(output))
    return run(plan_reenact(Path(source), Path(driving), place, settings or Settings()), reporter, overwrite)


def analyse(media: AnyPath, *, settings: Settings | None = None, reporter: Reporter | None = None) -> Analysis:
    """Who is where in an image or a video: shots, and a smoothed track for each person in each shot.

    Raises InputError for media that cannot be read.
    """
    settings = settings or Settings()
    analyzer, _ = choose_analyzer(settings.people.analyzer)
    with closing(analyzer), single_threaded_kernels():
        return find_people(probe_target(Path(media), settings), settings, analyzer, reporter or SilentReporter())
