"""Frames as numbered pictures: `frames/%05d.png`. All of them appear at once, or none does."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from facexcli import journal
from facexcli.errors import OutputError
from facexcli.media.container import os_reason
from facexcli.media.image import IMAGE_SUFFIXES, encode_image

if TYPE_CHECKING:
    from types import TracebackType

    from facexcli.media.atomic import Finish
    from facexcli.types import Array

_NUMBER = re.compile(r"%(?:0([1-9]\d?))?d")
DEFAULT_NAME = "%05d.png"
_FIRST_NUMBER = 1


@dataclass(frozen=True, slots=True)
class PicturePattern:
    """`path` with one %d or %05d in its name, which stands for the number of the picture, from 1."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> PicturePattern | None:
        """The pattern that `path` is, or None: only the names of pictures are patterns."""
        is_picture = path.suffix.lower() in IMAGE_SUFFIXES
        return cls(path) if is_picture and len(_NUMBER.findall(path.name)) == 1 else None

    @property
    def folder(self) -> Path:
        return self.path.parent

    def name(self, number: int) -> str:
        """The file name of picture `number`."""
        return _NUMBER.sub(lambda match: str(number).zfill(int(match[1] or 1)), self.path.name)

    def matches(self, name: str) -> bool:
        """Whether `name` is what `name()` gives for some number."""
        before, _, after = _NUMBER.sub("\0", self.path.name).partition("\0")
        digits = name[len(before) : len(name) - len(after)]
        return digits.isascii() and digits.isdecimal() and self.name(int(digits)) == name

    def existing(self) -> list[Path]:
        """The files that the pattern stands for and that are there. Raises OutputError."""
        try:
            return [path for path in self.folder.iterdir() if self.matches(path.name)] if self.folder.is_dir() else []
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be read: {os_reason(error)}") from error


def output_path(text: str) -> Path:
    """Where a result goes, as it is typed: a folder with a slash at its end stands for numbered PNG files in it."""
    ends = tuple(separator for separator in ("/", os.sep, os.altsep) if separator)
    return Path(text) / DEFAULT_NAME if text.endswith(ends) else Path(text)


class PictureWriter:
    """Writes pictures by a pattern; a context manager.

    They are made in a hidden folder, where `finish` gets each of them when it is complete, and moved to their places by
    `commit`, or when the block is left without an exception. Older files that the pattern stands for go away with it,
    other files in the folder stay; on any failure everything is as it was. Raises OutputError for a place that cannot
    be written.
    """

    def __init__(
        self, pattern: PicturePattern, *, xmp: str = "", icc_profile: bytes = b"", finish: Finish | None = None
    ) -> None:
        self._pattern, self._xmp, self._profile, self._finish = pattern, xmp, icc_profile, finish
        self._count = 0
        self._done = False
        folder = pattern.folder
        # A new folder is renamed as a whole; one that is there may be a disk of its own, so work inside it.
        self._is_new = not folder.exists()
        hidden = f".{folder.name[:40]}.{secrets.token_hex(4)}.part"
        self._work = folder.with_name(hidden) if self._is_new else folder / hidden
        journal.half_written(self._work)
        try:
            self._work.mkdir()
        except OSError as error:
            raise OutputError(f"{pattern.path} cannot be written: {os_reason(error)}") from error

    def write(self, pixels: Array) -> None:
        """The next picture, as `image.encode_image` takes it. Raises OutputError."""
        path = self._work / self._pattern.name(_FIRST_NUMBER + self._count)
        encoded = encode_image(path, pixels, xmp=self._xmp, icc_profile=self._profile)
        try:
            path.write_bytes(encoded)
        except OSError as error:
            raise OutputError(f"{self._pattern.path} cannot be written: {os_reason(error)}") from error
        if self._finish is not None:
            self._finish(path)
        self._count += 1

    def commit(self) -> None:
        """Put the pictures in their places. Raises OutputError; nothing has changed then."""
        if self._done:
            return
        if not self._count:
            raise OutputError(f"{self._pattern.path}: there was no frame to write")
        try:
            if self._is_new:
                os.rename(self._work, self._pattern.folder)
            else:
                self._replace()
        except OSError as error:
            raise OutputError(f"{self._pattern.path} cannot be written: {os_reason(error)}") from error
        self._done = True

    def _replace(self) -> None:
        """Change old pictures for new ones; a failure in between, Ctrl-C too, changes them back."""
        folder = self._pattern.folder
        aside = folder / f".{secrets.token_hex(4)}.old"  # not in the journal: what a kill leaves here is the user's
        moves = [(path, aside / path.name) for path in self._pattern.existing()]
        moves += [(path, folder / path.name) for path in sorted(self._work.iterdir())]
        aside.mkdir()
        done = []
        try:
            for origin, place in moves:
                done.append((origin, place))
                os.rename(origin, place)
        except BaseException:
            for origin, place in reversed(done):
                if place.exists() and not origin.exists():
                    os.rename(place, origin)
            with contextlib.suppress(OSError):
                aside.rmdir()
            raise
        shutil.rmtree(aside, ignore_errors=True)

    def close(self) -> None:
        """Remove what was written, unless it was committed."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.commit()
        finally:
            self.close()


def check_folder(pattern: PicturePattern) -> None:
    """Raises OutputError where pictures cannot be put."""
    folder = pattern.folder
    if _NUMBER.search(str(folder)):
        raise OutputError(f"{pattern.path}: the number belongs into the name of the file, not of a folder")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder")
    place = folder if folder.exists() else folder.parent
    if not place.is_dir():
        raise OutputError(f"{pattern.path}: there is no folder {place}", "make the folder first")
    with contextlib.suppress(FileNotFoundError):
        if not os.access(place, os.W_OK):
            raise OutputError(f"{pattern.path}: the folder {place} cannot be written")
