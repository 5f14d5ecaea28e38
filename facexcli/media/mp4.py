"""What has to be said to libav's writer of MP4 and QuickTime before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facexcli.media.container import is_cover

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import OutputContainer

# The tags for which iTunes has a box, where most players look; the other box takes any name.
_ITUNES_KEYS = frozenset(
    ("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "description",
     "synopsis", "lyrics", "show", "episode_id", "network", "grouping", "keywords", "track", "disc", "creation_time",
     "timecode", "location", "hd_video", "media_type")
)  # fmt: skip


def prepare_mp4(container: OutputContainer, time_base: Fraction) -> list[str]:
    """Put tags where players look for them, and make edit lists exact. Returns warnings of what is left out."""
    # Edit lists count in the movie's own ticks; with the default of 1/1000 s a start offset is rounded.
    container.container_options["movie_timescale"] = str(_movie_timescale(time_base))
    tags = container.metadata
    for name in [name for name in tags if name != name.lower() and name.lower() in _ITUNES_KEYS]:
        tags.setdefault(name.lower(), tags.pop(name))  # Matroska's are in capitals
    foreign = [name for name in tags if name not in _ITUNES_KEYS]
    if foreign and any(is_cover(stream) for stream in container.streams):
        for name in foreign:
            del tags[name]
        return [f"these tags were left out: beside a cover picture MP4 takes no {', '.join(foreign)}"]
    if foreign:
        container.container_options["movflags"] = "+use_metadata_tags"
    return []


def _movie_timescale(time_base: Fraction) -> int:
    """Ticks a second of which the stream's ticks are multiples, at least 1000 as is customary."""
    return time_base.denominator * -(-1000 // time_base.denominator)


__all__ = ["prepare_mp4"]
