"""`facex bench`: the figures of README, measured again."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from facexcli.cli.bench_batch import bench_batch
from facexcli.cli.bench_compare import bench_compare
from facexcli.cli.bench_resume import bench_resume
from facexcli.cli.bench_train import bench_train
from facexcli.cli.console import print_json, print_result
from facexcli.errors import UsageError, unknown_name
from facexcli.settings import DtypeName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facexcli.evaluate.quality import ReenactQuality
    from facexcli.evaluate.speed import ProcessCost

_HELP = """Measure quality and speed on real clips.

The evaluation data are looked for in FACEX_TEST_DATA, or in --data.

Example:
  facex bench swap --data ../shared/data/eval
  facex bench people
  facex bench speed --seconds 10
  facex bench compare --grid compared.png
"""

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="folder with talking/ and london/", envvar="FACEX_TEST_DATA")
]
KeepOption = Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="keep the results in this folder")]
_DATA = Path("../shared/data/eval")


def register(app: typer.Typer, panel: str) -> None:
    group = typer.Typer(help=_HELP, rich_markup_mode="rich")
    group.command("swap")(bench_swap)
    group.command("reenact")(bench_reenact)
    group.command("people")(bench_people)
    group.command("speed")(bench_speed)
    group.command("media")(bench_media)
    group.command("resume")(bench_resume)
    group.command("batch")(bench_batch)
    group.command("compare")(bench_compare)
    group.command("engine")(bench_engine)
    group.command("train")(bench_train)
    group.command("provenance")(bench_provenance)
    group.command("occlusion")(bench_occlusion)
    app.add_typer(group, name="bench", rich_help_panel=panel)


def bench_swap(data: DataOption = _DATA, keep: KeepOption = None) -> None:
    """Swap four people into six talking clips, and judge every frame.

    Example:
      facex bench swap --data ../shared/data/eval --keep swaps
    """
    from facexcli.evaluate import bench
    from facexcli.settings import Settings

    _line("clip, only re-encoded", "eyes", "mouth")
    for clip, eyes, mouth in bench.bench_judge(data):
        _line(clip, eyes, mouth)
    _line("source", "target", "found", "d(source)", "d(canvas)", "deviation", "landmarks", "eyes", "mouth")
    rows = []
    for row in bench.bench_swap(data, Settings(), _made(keep)):
        q = row.quality
        rows.append(q)
        _line(row.source, row.target, f"{q.found_share:.0%}", q.distance_to_source, q.distance_to_canvas,
              q.distance_deviation, f"{q.landmark_error:.2%}", q.eye_correlation, q.mouth_correlation)  # fmt: skip
    won = sum(q.distance_to_source < q.distance_to_canvas for q in rows)
    print_result(
        f"nearer to the source in {won} of {len(rows)}; means: distance to the source "
        f"{_mean(q.distance_to_source for q in rows):.3f}, landmarks {_mean(q.landmark_error for q in rows):.2%}; "
        f"least: found {min(q.found_share for q in rows):.0%}, eyes {min(q.eye_correlation for q in rows):.2f}"
    )


def bench_reenact(data: DataOption = _DATA, keep: KeepOption = None) -> None:
    """Drive two portraits with six talking and two head-pose clips, and judge every frame.

    Example:
      facex bench reenact --data ../shared/data/eval --keep reenacts
    """
    from facexcli.evaluate import bench
    from facexcli.settings import Settings

    _line("source", "driving", "found", "d(source)", "mouth", "eyes", "yaw", "pitch", "roll", "(range, degrees)")
    talking: list[ReenactQuality] = []
    turning: list[ReenactQuality] = []
    for row in bench.bench_reenact(data, Settings(), _made(keep)):
        q = row.quality
        (turning if row.driving.startswith("head-pose") else talking).append(q)
        ranges = f"{q.yaw_range_deg:.0f} {q.pitch_range_deg:.0f} {q.roll_range_deg:.0f}"
        _line(row.source, row.driving, f"{q.found_share:.0%}", q.distance_to_source, q.mouth_correlation,
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


def bench_people(
    data: DataOption = _DATA,
    keep: KeepOption = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="length of the analysed clip")] = 10.0,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="analyses to take the median of")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as one JSON object")] = False,
) -> None:
    """Swap two people at once, and one in every clip; does everybody keep their face?

    Example:
      facex bench people --data ../shared/data/eval --keep swaps
      facex bench people --json
    """
    from facexcli.evaluate import people

    tell = _nothing if as_json else _line
    tell("clip", "person", "source", "frames", "kept")
    couples = []
    for row in people.bench_couples(data, _made(keep)):
        couples.append(row)
        tell(row.clip, row.person, row.source, row.frames, f"{row.kept:.1%}")
    tell("clip", "frames", "weaker", "swapped", "flicker", "steadiness", "in full")
    clips = []
    for clip in people.bench_clips(data, _made(keep)):
        clips.append(clip)
        tell(clip.clip, clip.frames, clip.weaker, f"{clip.swap_rate:.1%}", clip.flicker_ratio,
             clip.distance_steadiness, clip.full_steadiness)  # fmt: skip
    analysis = people.bench_analysis(data, seconds, repeats)
    figures = people.figures_of(couples, clips, analysis)
    if as_json:
        print_json(people.as_json(couples, clips, analysis, figures))
        return
    _line("analysis", f"{analysis.frames} frames of {analysis.height_px} lines", f"{os.cpu_count()} cores",
          f"{analysis.cpu_ms_per_frame:.1f} ms CPU a frame")  # fmt: skip
    for figure in figures:
        bound = "at least" if figure.is_least else "at most"
        print_result(f"{figure.name:<28} {figure.value:8.3f}   {bound} {figure.limit:g}"
                     f"   {'met' if figure.met else 'missed'}")  # fmt: skip


def bench_speed(
    data: DataOption = _DATA,
    height: Annotated[int, typer.Option("--height", metavar="PX", min=64, help="lines of the made clip")] = 1080,
    seconds: Annotated[list[float] | None, typer.Option("--seconds", metavar="S", help="length; repeatable")] = None,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="runs of which the median is told")] = 3,
) -> None:
    """Time a whole swap beside a plain ffmpeg transcode with the same encoder settings.

    Example:
      facex bench speed --seconds 10 --seconds 100
    """
    from facexcli.evaluate import bench, speed

    print_result(f"machine: {os.cpu_count()} cores; facex --help: {speed.help_wall_s(5):.2f} s")
    _line("height", "frames", "swap s", "fps", "peak MiB", "transcode s", "ratio")
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        for length in seconds or [10.0]:
            speed.make_clip(bench.talking_clips(data)[0], clip, height, length)
            row = speed.bench_speed(data / "london" / "087_neutral.jpg", clip, folder, repeats)
            plain = f"{row.transcode.wall_s:.2f}" if row.transcode else "no ffmpeg"
            _line(row.height_px, row.frames, f"{row.swap.wall_s:.2f}", f"{row.frames / row.swap.wall_s:.1f}",
                  f"{row.swap.peak_rss_mib:.0f}", plain, f"{row.ratio:.2f}" if row.ratio else "")  # fmt: skip


def bench_media(
    data: DataOption = _DATA,
    height: Annotated[list[int] | None, typer.Option("--height", metavar="PX", help="lines; repeatable")] = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="length of the made clips")] = 20.0,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="runs of which the median is told")] = 5,
) -> None:
    """Time renders of known faces, stage by stage and beside a plain ffmpeg transcode.

    One face, of a third of the height; engines `unchanged` and `mesh`; H.264, veryfast, crf 18.

    Example:
      facex bench media --height 1080 --height 2160
    """
    from facexcli.evaluate import bench, media, speed

    origin, still = bench.talking_clips(data)[0], data / "london" / "087_neutral.jpg"
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        for lines in height or [1080, 2160]:
            speed.make_clip(origin, clip, lines, seconds, (media.face_height_px(origin), lines / 3))
            row = media.bench_media(still, clip, folder, repeats)
            print_result(f"{row.height_px} lines, {row.frames} frames, {os.cpu_count()} cores, median of {repeats}")
            _line("", "wall s", "CPU s", "peak MiB", "to ffmpeg")
            if row.transcode:
                _line("ffmpeg", *_cost_cells(row.transcode), "1.00")
            for engine, cost in row.renders.items():
                _line(engine, *_cost_cells(cost), f"{row.ratios[engine]:.2f}" if row.ratios else "no ffmpeg")
            print_result("CPU milliseconds a frame, each stage by itself")
            for engine, stages in row.stages.items():
                total = sum(stages.values())
                _line("", *stages, "together")
                _line(engine, *(f"{value:.1f}" for value in stages.values()), f"{total:.1f}")
                _line("share", *(f"{value / total:.0%}" for value in stages.values()), "")


def bench_engine(
    name: Annotated[str, typer.Argument(metavar="NAME", help="see `facex engines`")] = "mesh",
    faces: Annotated[int, typer.Option("--faces", metavar="N", min=1, help="faces to take the median of")] = 10,
    device: Annotated[str | None, typer.Option("--device", metavar="NAME", help="where it runs: cpu, cuda ...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as one JSON object")] = False,
    config: Annotated[str | None, typer.Option("--config", metavar="NAME", help="facex: sd15, compact, tiny")] = None,
    size: Annotated[int | None, typer.Option("--size", metavar="PX", help="facex: side of the crop")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="facex: of the sampler")] = None,
    batch: Annotated[int | None, typer.Option("--batch-size", metavar="N", min=1, help="facex: faces at once")] = None,
    dtype: Annotated[str, typer.Option("--dtype", metavar="auto|fp32|fp16|bf16", help="facex: precision")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="facex: also compiled")] = True,
    onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="facex: also exported, by onnxruntime")] = False,
) -> None:
    """Time an engine by itself, a face at a time; ONNX engines with a made network of 37 GFLOP.

    Of facex the network is timed, stage by stage, with random weights; of difffae
    a face with DDIM in 50 steps and with DPM-Solver++ in 10.

    Example:
      facex bench engine inswapper_128
      facex bench engine mesh --faces 50
      facex bench engine difffae --faces 3
      facex bench engine facex --config sd15 --size 512 --steps 10
      facex bench engine facex --config compact --no-compile --onnx
    """
    if name == "facex":
        _bench_network(config or "tiny", size, steps, device or "auto", dtype, batch, faces, compiled, onnx, as_json)
        return
    if name == "difffae" and size is None and steps is None and batch is None:
        _bench_difffae(config or "tiny", device or "auto", faces, as_json)
        return
    if any(given is not None for given in (config, size, steps, batch)):
        raise UsageError("--config, --size, --steps and --batch-size are for the engine facex", "leave them out")
    from facexcli.evaluate import engine_bench

    cost = engine_bench.bench_engine(name, faces, device or "cpu")
    if as_json:
        print_json(asdict(cost) | {"overhead": cost.overhead, "gflop_per_s": cost.gflop_per_s})
        return
    place = f", {cost.runs_on}" if cost.runs_on else ""
    print_result(f"{cost.name}{place}: {cost.face_ms:.1f} ms a face of {cost.size_px} px, median of {cost.faces}")
    if cost.session_ms is not None and cost.overhead is not None:
        print_result(
            f"network {cost.session_ms:.1f} ms ({cost.session_ms / cost.face_ms:.1%}), {cost.gflop:.1f} GFLOP, "
            f"{cost.gflop_per_s:.1f} GFLOP/s; all else {cost.overhead:.1%} of it, at most 15% wanted"
        )


def _bench_difffae(config: str, device: str, faces: int, as_json: bool) -> None:
    if find_spec("torch") is None or find_spec("diffusers") is None:
        raise UsageError("engine 'difffae' needs torch and diffusers", "pip install 'facexcli[diffusion]'")
    from facexcli.evaluate.difffae_bench import bench_difffae

    cost = bench_difffae(config, device, faces)
    if as_json:
        print_json(asdict(cost))
        return
    print_result(
        f"difffae {cost.config}, {cost.size_px} px, {cost.device}; a source {cost.prepare_ms:.0f} ms once a video, "
        f"a query {cost.fit_ms:.1f} ms, its rendering {cost.render_ms:.1f} ms"
    )
    _line("sampler", "ms a face", "GFLOP")
    for walk in cost.walks:
        _line(f"{walk.sampler} {walk.steps}", f"{walk.face_ms:.1f}", f"{walk.gflop:.1f}")
    print_result(f"a matrix product on this CPU: {cost.gflop_per_s:.0f} GFLOP/s")


def _bench_network(
    config: str,
    size: int | None,
    steps: int | None,
    device: str,
    dtype: str,
    batch: int | None,
    faces: int,
    compiled: bool,
    onnx: bool,
    as_json: bool,
) -> None:
    if find_spec("torch") is None or find_spec("diffusers") is None:
        raise UsageError("engine 'facex' needs torch and diffusers", "pip install 'facexcli[diffusion]'")
    if dtype not in get_args(DtypeName):
        raise unknown_name("precision", dtype, get_args(DtypeName))
    from facexcli.evaluate.network_bench import bench_network

    cost = bench_network(
        config, size, steps, device, cast("DtypeName", dtype), batch, faces, compiled=compiled, exported=onnx
    )
    if as_json:
        print_json(asdict(cost))
        return
    print_result(
        f"facex {cost.config}, {cost.size_px} px, {cost.steps} steps, batch of {cost.batch}, {cost.dtype}; "
        f"{cost.device}: {cost.peak_tflop_per_s:.3g} TFLOP/s in a matrix product"
    )
    _line("ms a face", *(run.mode for run in cost.runs), "GFLOP")
    for rows in zip(*(run.stages for run in cost.runs), strict=True):
        _line(rows[0].name, *(row.ms for row in rows), f"{rows[0].gflop:.2f}")
    _line("all", *(run.wall_ms for run in cost.runs), f"{1000 * cost.runs[0].tflop:.2f}")
    for run in cost.runs:
        share = run.tflop_per_s / cost.peak_tflop_per_s
        print_result(
            f"{run.mode}: {run.wall_ms:.1f} ms a face, {1000 / run.wall_ms:.2f} faces/s, {run.cpu_ms:.1f} ms of CPU; "
            f"{run.tflop_per_s:.3g} TFLOP/s, {share:.0%} of the matrix product; {run.peak_mib:.0f} MiB at most; "
            f"ready after {run.first_s:.1f} s{f' ({run.note})' if run.note else ''}"
        )


def bench_occlusion(data: DataOption = _DATA, keep: KeepOption = None) -> None:
    """Move made hands and microphones before six talking clips, and measure what stays in front.

    Example:
      facex bench occlusion --data ../shared/data/eval --keep occluded
    """
    from facexcli.evaluate import occlusion

    _line("clip", "occluder", "kept", "face lost", "flicker", "painted")
    rows = []
    for row in occlusion.bench_occlusion(data, _made(keep)):
        rows.append(row)
        kept = f"{row.kept:.1%}" if row.occluder else ""
        _line(row.clip, row.occluder or "none", kept, f"{row.lost:.1%}", row.flicker, f"{row.painted:.0%}")
    for name in dict.fromkeys(row.occluder for row in rows):
        same = [row for row in rows if row.occluder == name]
        least = f"kept {_mean(row.kept for row in same):.1%}, least {min(row.kept for row in same):.1%}; "
        print_result(
            f"{name or 'none'}: {least if name else ''}face lost {_mean(row.lost for row in same):.1%}, "
            f"most {max(row.lost for row in same):.1%}"
        )


def bench_provenance(
    data: DataOption = _DATA,
    changes: Annotated[int, typer.Option("--changes", metavar="N", min=0, help="single bytes changed in a file")] = 50,
    results: Annotated[int, typer.Option("--results", metavar="N", min=0, help="results with a watermark")] = 30,
    unmarked: Annotated[int, typer.Option("--unmarked", metavar="N", min=0, help="videos without a watermark")] = 500,
    manifests: Annotated[bool, typer.Option("--manifests/--no-manifests", help="also try the manifests")] = True,
) -> None:
    """Sign results of every kind, read them elsewhere, and change single bytes; look for watermarks after re-encoding.

    Example:
      facex bench provenance --data ../shared/data/eval
    """
    if manifests:
        _bench_manifests(data, changes)
    if results:
        _bench_marks(data, results)
    if unmarked:
        _bench_unmarked(data, unmarked)


def _bench_manifests(data: Path, changes: int) -> None:
    from facexcli.evaluate.manifests import bench_manifests

    _line("result", "manifest", "facex", "c2pa alone", "changes", "found")
    rows = []
    for row in bench_manifests(data, changes):
        rows.append(row)
        _line(row.name, row.place, row.state, row.independent, row.changes, row.detected)
    intact = sum(row.state in ("valid", "untrusted") and row.independent in ("Valid", "Trusted") for row in rows)
    found, tried = sum(row.detected for row in rows), sum(row.changes for row in rows)
    print_result(f"intact for both readers: {intact} of {len(rows)}; changes found: {found} of {tried}")


def _bench_marks(data: Path, count: int) -> None:
    from facexcli.evaluate.watermarks import ATTACKS, bench_marks

    names = ["as made", *(attack.name for attack in ATTACKS)]
    print_result("-log10 of the chance; in brackets: not found; *: the run was read")
    _line("face, px", "PSNR, dB", *names)
    rows = []
    for row in bench_marks(data, count):
        rows.append(row)
        cells = [f"{row.log10_chance[name]:.1f}{'*' if row.is_read[name] else ''}" for name in names]
        shown = [cell if row.is_found[name] else f"({cell})" for name, cell in zip(names, cells, strict=True)]
        _line(f"{row.face_px:.0f}", f"{row.psnr_db:.1f}", *shown, row.name)
    _line("found", f"of {len(rows)}", *(sum(row.is_found[name] for row in rows) for name in names))
    _line("read", f"of {len(rows)}", *(sum(row.is_read[name] for row in rows) for name in names))
    print_result(f"another key found something, or a wrong run was read: {sum(row.wrong for row in rows)}")


def _bench_unmarked(data: Path, count: int) -> None:
    from facexcli.evaluate.watermarks import bench_unmarked

    found = list(bench_unmarked(data, count))
    most = max(evidence.log10_chance for evidence in found)
    print_result(
        f"found in {sum(evidence.is_found for evidence in found)} of {count} without a watermark; most: {most:.1f}"
    )


def _cost_cells(cost: ProcessCost) -> tuple[str, str, str]:
    return f"{cost.wall_s:.2f}", f"{cost.cpu_s:.2f}", f"{cost.peak_rss_mib:.0f}"


def _made(folder: Path | None) -> Path | None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _nothing(*cells: Any) -> None:
    """Where the rows are printed later."""


def _line(*cells: Any) -> None:
    texts = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
    print_result("  ".join(f"{text:>11}" for text in texts))


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
