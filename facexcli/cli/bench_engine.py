"""`facex bench engine`: an engine by itself, and of those that sample, their networks."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import Annotated, cast, get_args

import typer

from facexcli.cli.bench_options import print_row
from facexcli.cli.console import print_json, print_result
from facexcli.errors import UsageError, unknown_name
from facexcli.settings import DtypeName


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
    print_row("sampler", "ms a face", "GFLOP")
    for walk in cost.walks:
        print_row(f"{walk.sampler} {walk.steps}", f"{walk.face_ms:.1f}", f"{walk.gflop:.1f}")
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
    print_row("ms a face", *(run.mode for run in cost.runs), "GFLOP")
    for rows in zip(*(run.stages for run in cost.runs), strict=True):
        print_row(rows[0].name, *(row.ms for row in rows), f"{rows[0].gflop:.2f}")
    print_row("all", *(run.wall_ms for run in cost.runs), f"{1000 * cost.runs[0].tflop:.2f}")
    for run in cost.runs:
        share = run.tflop_per_s / cost.peak_tflop_per_s
        print_result(
            f"{run.mode}: {run.wall_ms:.1f} ms a face, {1000 / run.wall_ms:.2f} faces/s, {run.cpu_ms:.1f} ms of CPU; "
            f"{run.tflop_per_s:.3g} TFLOP/s, {share:.0%} of the matrix product; {run.peak_mib:.0f} MiB at most; "
            f"ready after {run.first_s:.1f} s{f' ({run.note})' if run.note else ''}"
        )
