"""Says that a file is synthetic, and with what it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from facexcli import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
"""IPTC NewsCodes digital source type of a recording into which synthetic elements were composed."""


_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="{tool}"
 Iptc4xmpExt:DigitalSourceType="{source_type}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{statement}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def synthetic_xmp(task: str, engine: str) -> str:
    """The same statement for a still picture, as an XMP packet (ISO 16684-1; IPTC Photo Metadata 2023.1)."""
    return _XMP.format(
        tool=f"facex {__version__}",
        source_type=DIGITAL_SOURCE_TYPE,
        statement=escape(synthetic_tags(task, engine)["description"]),
    )


def synthetic_tags(task: str, engine: str) -> Mapping[str, str]:
    """Container metadata for a result; `comment` and `description` are the tags that every muxer writes."""
    statement = f"Synthetic media: faces edited ({task}) with facex {__version__}, engine {engine}."
    return {"comment": f"{statement} DigitalSourceType: {DIGITAL_SOURCE_TYPE}", "description": statement}
