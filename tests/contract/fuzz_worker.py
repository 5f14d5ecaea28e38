"""Takes damaged files through the product, each under the command line's own guard; started by the fuzz test.

Reads one JSON object a line {"path", "out"} and answers with one {"code", "stderr", "left", "rss_mib", "wall_s"}.
`code` is None for a hang. Everything heavy is imported once; a case costs two forks, as a command does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

from facexcli.cli import app, console
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.scan import AnalysisReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter

HANG_S = 20


def take_through(arguments: list[str]) -> int:
    """What `swap` does with a video in which nobody is found: look at it small, then decode and encode it."""
    path, out = (Path(argument) for argument in arguments[1:])
    info = probe(path)
    with AnalysisReader(path, info, max_side_px=96) as small:
        seen = [(index, pts) for index, pts, _, _ in small]
    tell(small.warnings)
    video = VideoFormat.from_media(info)
    # A range whose start is sought, for every third file.
    start = Fraction(1, 3) if len(seen) % 3 == 0 and info.kind == "video" else None
    with FrameReader(path, info) as reader:
        first = next(reader)
        target = out.with_suffix(".mkv" if start is None else ".mp4")
        options = EncodeOptions(codec="h264", crf=40, preset="ultrafast")
        with VideoWriter(target, video, options, audio_from=path, start_s=start and first.time_s) as writer:
            rendered = [(first.index, first.pts)]
            writer.write(first)
            for frame in reader:
                rendered.append((frame.index, frame.pts))
                writer.write(frame)
            writer.commit()
            tell(writer.warnings)
    assert rendered == seen, "both passes see the same frames"
    if start is not None:
        with FrameReader(path, info, start=start) as reader:
            late = [(frame.index, frame.pts) for frame in reader]
        assert late == rendered[len(rendered) - len(late) :], "a late start gives the same frames"
    console.print_result(str(target))
    return 0


def tell(warnings: list[str]) -> None:
    with console.reporting() as reporter:
        from facexcli.events import Warned

        for warning in warnings:
            reporter.emit(Warned(warning))


def run(path: str, out: str) -> dict[str, Any]:
    """One case, in a process of its own."""
    log = Path(out).with_name("stderr.txt")
    began_s = time.monotonic()
    watcher = os.fork()
    if watcher == 0:
        os.setsid()
        for descriptor in (1, 2):
            os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor)
        sys.argv = ["facex", "swap", path, out]
        app._run = take_through
        os._exit(finished(app.main()))
    code, rss_mib = wait(watcher)
    stderr = log.read_text("utf-8", "replace")
    log.unlink()
    left = sorted(each.name for each in Path(out).parent.iterdir())
    for name in left:
        Path(out).with_name(name).unlink()
    wall_s = round(time.monotonic() - began_s, 2)
    return {"code": code, "stderr": stderr, "left": left, "rss_mib": rss_mib, "wall_s": wall_s}


def finished(code: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def wait(watcher: int) -> tuple[int | None, int]:
    """Its exit code, None where it had to be killed; and the peak memory of it and its worker."""
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        _, status, usage = os.wait4(watcher, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_maxrss // 1024
    except TimeoutError:
        os.killpg(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)
        return None, 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def give_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, give_up)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
