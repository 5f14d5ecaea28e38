"""`facex bench swap`, `reenact` and `occlusion`: how well, frame by frame."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from facexcli.cli.bench_options import (
    DATA,
    DataOption,
    KeepOption,
    WatermarkOption,
    made_folder,
    print_row,
    settings_with,
)
from facexcli.cli.console import print_result

if TYPE_CHECKING:
    from facexcli.evaluate.quality import ReenactQuality


def bench_swap(data: DataOption = DATA, keep: KeepOption = None, watermark: WatermarkOption = "on") -> None:
    """Swap four people into six talking clips, and judge every frame.

    Example:
      facex bench swap --data ../shared/data/eval --keep swaps
    """
    from facexcli.evaluate import bench

    print_row("clip, only re-encoded", "eyes", "mouth")
    for clip, eyes, mouth in bench.bench_judge(data):
        print_row(clip, eyes, mouth)
    print_row("source", "target", "found", "d(source)", "d(canvas)", "deviation", "landmarks", "eyes", "mouth")
    rows = []
    for row in bench.bench_swap(data, settings_with(watermark), made_folder(keep)):
        q = row.quality
        rows.append(q)
        print_row(row.source, row.target, f"{q.found_share:.0%}", q.distance_to_source, q.distance_to_canvas,
              q.distance_deviation, f"{q.landmark_error:.2%}", q.eye_correlation, q.mouth_correlation)  # fmt: skip
    won = sum(q.distance_to_source < q.distance_to_canvas for q in rows)
    print_result(
        f"nearer to the source in {won} of {len(rows)}; means: distance to the source "
        f"{fmean(q.distance_to_source for q in rows):.3f}, landmarks {fmean(q.landmark_error for q in rows):.2%}; "
        f"least: found {min(q.found_share for q in rows):.0%}, eyes {min(q.eye_correlation for q in rows):.2f}"
    )


def bench_reenact(data: DataOption = DATA, keep: KeepOption = None, watermark: WatermarkOption = "on") -> None:
    """Drive two portraits with six talking and two head-pose clips, and judge every frame.

    Example:
      facex bench reenact --data ../shared/data/eval --keep reenacts
    """
    from facexcli.evaluate import bench

    print_row("source", "driving", "found", "d(source)", "mouth", "eyes", "yaw", "pitch", "roll", "(range, degrees)")
    talking: list[ReenactQuality] = []
    turning: list[ReenactQuality] = []
    for row in bench.bench_reenact(data, settings_with(watermark), made_folder(keep)):
        q = row.quality
        (turning if row.driving.startswith("head-pose") else talking).append(q)
        ranges = f"{q.yaw_range_deg:.0f} {q.pitch_range_deg:.0f} {q.roll_range_deg:.0f}"
        print_row(row.source, row.driving, f"{q.found_share:.0%}", q.distance_to_source, q.mouth_correlation,
              q.eye_correlation, q.yaw_correlation, q.pitch_correlation, q.roll_correlation, ranges)  # fmt: skip
    print_result(
        f"talking clips, least: mouth {min(q.mouth_correlation for q in talking):.2f}, "
        f"eyes {min(q.eye_correlation for q in talking):.2f}; "
        f"largest distance to the source {max(q.distance_to_source for q in talking):.3f}"
    )
    print_result(
        f"head-pose clips, least: yaw {min(q.yaw_correlation for q in turning):.2f}, "
        f"pitch {min(q.pitch_correlation for q in turning):.2f}, roll {min(q.roll_correlation for q in turning):.2f}"
    )


def bench_occlusion(data: DataOption = DATA, keep: KeepOption = None) -> None:
    """Move made hands and microphones before six talking clips, and measure what stays in front.

    Example:
      facex bench occlusion --data ../shared/data/eval --keep occluded
    """
    from facexcli.evaluate import occlusion

    print_row("clip", "occluder", "kept", "face lost", "flicker", "painted")
    rows = []
    for row in occlusion.bench_occlusion(data, made_folder(keep)):
        rows.append(row)
        kept = f"{row.kept:.1%}" if row.occluder else ""
        print_row(row.clip, row.occluder or "none", kept, f"{row.lost:.1%}", row.flicker, f"{row.painted:.0%}")
    for name in dict.fromkeys(row.occluder for row in rows):
        same = [row for row in rows if row.occluder == name]
        least = f"kept {fmean(row.kept for row in same):.1%}, least {min(row.kept for row in same):.1%}; "
        print_result(
            f"{name or 'none'}: {least if name else ''}face lost {fmean(row.lost for row in same):.1%}, "
            f"most {max(row.lost for row in same):.1%}"
        )
