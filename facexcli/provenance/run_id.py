"""The short number of a run, which stands in the manifest and in the watermark, and ties the two together."""

from __future__ import annotations

RUN_ID_BITS = 32


def run_id_of(plan_fingerprint: str) -> int:
    """The run id, 0 to 2**32 - 1, of the plan with this fingerprint (SHA-256, hexadecimal).

    It is as good as random, but the same plan has the same one: the watermark is part of the picture, and the same plan
    renders the same frames on any machine and in any segment.
    """
    return int(plan_fingerprint[: RUN_ID_BITS // 4], 16)


def run_id_text(run_id: int) -> str:
    """As it is written: eight hexadecimal digits."""
    return f"{run_id:08x}"
