"""Where a result may go, checked before any work is done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from facexcli.errors import OutputError
from facexcli.media.image import IMAGE_SUFFIXES
from facexcli.media.picture_files import PicturePattern, check_folder
from facexcli.media.pipe import STANDARD
from facexcli.media.writer import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facexcli.types import MediaInfo

_PATTERN_HINT = "frames/%05d.png, or a folder with a slash at its end, takes every frame as a picture"


def check_output(output: Path, timeline: MediaInfo, inputs: Sequence[Path]) -> None:
    """Raises OutputError where the result cannot be written, or would replace one of the inputs."""
    try:
        _check_kind(output, timeline)
        pattern = PicturePattern.of(output)
        if output == STANDARD:
            return
        if pattern is not None:
            _check_pattern(pattern, inputs)
        else:
            _check_file(output, inputs)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}") from error


def check_free(output: Path, overwrite: bool) -> None:
    """Raises OutputError when there is something at `output` that may not be replaced."""
    if overwrite or output == STANDARD:
        return
    pattern = PicturePattern.of(output)
    if pattern is not None:
        if existing := pattern.existing():
            raise OutputError(f"{output}: there are {len(existing)} such pictures already, {min(existing).name} is one",
                              "use --overwrite to replace them; other files in the folder stay")  # fmt: skip
    elif output.exists():
        raise OutputError(f"{output} exists", "use --overwrite to replace it")


def _check_kind(output: Path, timeline: MediaInfo) -> None:
    """A picture becomes a picture, everything else a video or many pictures."""
    suffix = output.suffix.lower()
    videos, pictures = ", ".join(sorted(VIDEO_SUFFIXES)), ", ".join(sorted(IMAGE_SUFFIXES))
    if output.is_dir():
        raise OutputError(f"{output} is a folder", f"name a file with -o; {_PATTERN_HINT}")
    if timeline.kind == "image":
        if output == STANDARD or PicturePattern.of(output) or suffix not in IMAGE_SUFFIXES:
            what = f", which has no {suffix} files" if suffix and suffix not in IMAGE_SUFFIXES else ""
            raise OutputError(f"{output}: the result is one picture{what}", f"name one file, {pictures}")
    elif suffix in IMAGE_SUFFIXES:
        if PicturePattern.of(output) is None:
            raise OutputError(f"{output}: the result is a video, not one picture", f"use {videos}; {_PATTERN_HINT}")
    elif output != STANDARD and suffix not in VIDEO_SUFFIXES:
        raise OutputError(f"{output}: the result is a video, which has no {suffix or 'empty'} files", f"use {videos}")


def _check_pattern(pattern: PicturePattern, inputs: Sequence[Path]) -> None:
    check_folder(pattern)
    if not pattern.folder.exists():
        return
    for path in inputs:
        within = path.parent.exists() and os.path.samefile(path.parent, pattern.folder) and pattern.matches(path.name)
        if within or (path.exists() and os.path.samefile(path, pattern.folder)):
            raise OutputError(f"{pattern.path} would replace an input, {path}", "choose another folder with -o")


def _check_file(output: Path, inputs: Sequence[Path]) -> None:
    for path in inputs:
        if path.exists() and output.exists() and os.path.samefile(path, output):
            raise OutputError(f"{output} is also an input", "choose another name with -o")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: there is no folder {output.parent}", "make the folder first")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output}: the folder {output.parent} cannot be written")
