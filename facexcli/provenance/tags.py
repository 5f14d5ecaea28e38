"""Metadata tags that say that a file is synthetic, and with what it was made. Not signed: anybody can change them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from facexcli import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEWSCODES = "http://cv.iptc.org/newscodes/digitalsourcetype"
COMPOSITE_SYNTHETIC = f"{_NEWSCODES}/compositeSynthetic"
"""IPTC NewsCodes: a composite with at least one synthetic element."""
COMPOSITE_TRAINED = f"{_NEWSCODES}/compositeWithTrainedAlgorithmicMedia"
"""IPTC NewsCodes: a composite with an element that a trained model has made."""

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool={tool}
 Iptc4xmpExt:DigitalSourceType={source_type}>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{statement}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def digital_source_type(generated: bool) -> str:
    """The IPTC digital source type of a result; `generated` says that a trained model has made its face.

    The embedded engine `mesh` finds faces with trained models, but no pixel comes from one: it bends photographs by
    geometry. Its results are therefore composites with a synthetic element and no "trained algorithmic media", which
    is what the NewsCodes call pictures made by a model. Both are marked alike in every other way.
    """
    return COMPOSITE_TRAINED if generated else COMPOSITE_SYNTHETIC


def synthetic_xmp(task: str, engine: str, generated: bool = False, label: str = "") -> str:
    """The same statement for a still picture, as an XMP packet (ISO 16684-1; IPTC Photo Metadata 2023.1)."""
    return _XMP.format(
        tool=quoteattr(f"facex {__version__}"),
        source_type=quoteattr(digital_source_type(generated)),
        statement=escape(synthetic_tags(task, engine, generated, label)["description"]),
    )


def synthetic_tags(task: str, engine: str, generated: bool = False, label: str = "") -> Mapping[str, str]:
    """Container metadata for a result; `comment` and `description` are the tags that every muxer writes."""
    statement = f"Synthetic media: faces edited ({task}) with facex {__version__}, engine {engine}."
    if label:
        statement = f"{label}. {statement}"
    return {"comment": f"{statement} DigitalSourceType: {digital_source_type(generated)}", "description": statement}
