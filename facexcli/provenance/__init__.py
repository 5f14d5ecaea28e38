"""What a result says of itself: metadata tags, a signed C2PA manifest, and how to check them."""

from facexcli.provenance.tags import synthetic_tags, synthetic_xmp

__all__ = ["synthetic_tags", "synthetic_xmp"]
