"""Says that a file is synthetic, and with what it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facexcli import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
"""IPTC NewsCodes digital source type of a recording into which synthetic elements were composed."""


def synthetic_tags(task: str, engine: str) -> Mapping[str, str]:
    """Container metadata for a result; `comment` and `description` are the tags that every muxer writes."""
    statement = f"Synthetic media: faces edited ({task}) with facex {__version__}, engine {engine}."
    return {"comment": f"{statement} DigitalSourceType: {DIGITAL_SOURCE_TYPE}", "description": statement}
