"""Measure how many frames a second `refocus video` restores, live and from files, and its memory.

    refocus benchmark live --sizes 320x180 640x360 1280x720 --jobs 1 2 --lengths 100 3000

Clips are made of moving noise of the colours of photos. A live stream is played at its own speed,
faster than any machine follows, so the rate is what the machine gives. From files, times are those
of the whole command, start of the process and loading of the models included where memory is
measured, and without them where jobs are compared.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_refocus.engines import local
from keras_refocus.engines import options as engine_options
from keras_refocus.pictures import color
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, extras, machine, memory
from keras_refocus.system import options as shared_options
from keras_refocus.video import clip, live, segments

# Frames a second of the stream that is played live, which nothing here keeps up with.
_PLAYED = 120

# Frames in a segment of the file that is restored by --jobs.
_SEGMENT = 12

# Size of the frames of clips whose memory is measured by their length: small ones, so that what
# grows with the number of frames stands out.
_SMALL = (160, 96)


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    extras.require("video", "Measuring videos", "av")
    memory.keep_memory(large=False)
    figures: dict[str, Any] = {"machine": machine.describe(), "cores": machine.usable_cores()}
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if arguments.sizes or arguments.jobs:
                console.import_tensorflow()
                restorer = pipeline.Restorer(local.LocalEngine(arguments.models))
                options = pipeline.RestoreOptions(restorer=arguments.model)
                restorer.check_models(options)
                figures["live"] = [
                    live_rate(folder, restorer, options, size, seconds=arguments.seconds)
                    for size in arguments.sizes
                ]
                figures["jobs"] = [
                    job_rate(folder, restorer, options, count, frames=arguments.frames)
                    for count in arguments.jobs
                ]
            figures["lengths"] = [
                peak_memory(folder, count, arguments.models, size=arguments.length_size)
                for count in arguments.lengths
            ]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(figures, indent=2) if arguments.json else _table(figures))
    return None


def live_rate(
    folder: Path,
    restorer: pipeline.Restorer,
    options: pipeline.RestoreOptions,
    size: tuple[int, int],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Restore a stream for some seconds.

    Args:
        folder: For the clips.
        restorer: Runs the network.
        options: Of it.
        size: Width and height of the frames, in pixels.
        seconds: How long the stream is, after a first frame that is not counted.

    Returns:
        `width`, `height`, and `rate`: restored and written frames a second.
    """
    width, height = size
    # The network is built for this size before the clock runs.
    restorer.restore_luminance(np.full((1, height, width, 1), 0.5, np.float32), options)
    stream = write_clip(
        folder / "stream.mp4", round(seconds * _PLAYED), size, rate=_PLAYED, distinct=8
    )
    with live.Source(str(stream)) as source:
        report = live.restore(source, restorer, options, folder / "live.mp4")
    return {"width": width, "height": height, "rate": report.rate, "dropped": report.dropped}


def job_rate(
    folder: Path,
    restorer: pipeline.Restorer,
    options: pipeline.RestoreOptions,
    jobs: int,
    *,
    frames: int,
    size: tuple[int, int] = (640, 360),
) -> dict[str, Any]:
    """Restore a clip of a file by several segments at once.

    Args:
        folder: For the clips.
        restorer: Runs the network.
        options: Of it.
        jobs: Segments at once.
        frames: Of the clip.
        size: Width and height of the frames, in pixels.

    Returns:
        `jobs`, and `rate`: frames a second, survey and joining included.
    """
    source = write_clip(folder / f"clip{frames}.mp4", frames, size, distinct=frames)
    job = segments.ClipJob(
        source=source,
        folder=folder / "restored",
        name=f"jobs{jobs}",
        options=clip.ClipOptions(restore=options),
    )
    job.folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    segments.restore(
        job,
        restorer,
        workers=jobs,
        threads=max(machine.usable_cores() // jobs, 1),
        length=_SEGMENT,
    )
    return {"jobs": jobs, "rate": frames / (time.perf_counter() - began)}


def peak_memory(
    folder: Path, frames: int, models: Path | None = None, *, size: tuple[int, int] = _SMALL
) -> dict[str, Any]:
    """Restore a clip of so many small frames by the command, in a process of its own.

    Args:
        folder: For the clips.
        frames: Of the clip.
        models: Folder of the models; `None` for those of the program.
        size: Width and height of the frames, in pixels.

    Returns:
        `width`, `height`, `frames`, and `peak_memory_mib`: the most that the process held, in MiB.
    """
    source = write_clip(folder / f"length{frames}.mp4", frames, size, distinct=24)
    program = (
        "import sys\n"
        "from keras_refocus import restore_video\n"
        "from keras_refocus.system import machine\n"
        "status = restore_video.main(sys.argv[1:])\n"
        "print(machine.peak_memory())\n"
        "sys.exit(status)\n"
    )
    command = [sys.executable, "-c", program, str(source), "--out", str(folder / "lengths")]
    if models is not None:
        command += ["--models", str(models)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"A clip could not be restored: {done.stderr.strip()[-500:]}")
    peak = int(done.stdout.split()[-1])
    return {
        "width": size[0],
        "height": size[1],
        "frames": frames,
        "peak_memory_mib": peak / 2**20,
    }


def write_clip(
    path: Path, frames: int, size: tuple[int, int], *, rate: int = 30, distinct: int = 24
) -> Path:
    """Write a clip of a picture that moves to and fro.

    Args:
        path: Of the file; H.264.
        frames: How many.
        size: Width and height, in pixels, even.
        rate: Frames a second.
        distinct: Frames after which the movement begins again.

    Returns:
        The path.
    """
    import av

    width, height = size
    rng = np.random.default_rng(0)
    coarse = rng.random((height // 8 + 2, width // 8 + 34), np.float32)
    picture = cv2.resize(coarse, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    picture = color.from_float(np.clip(picture, 0.0, 1.0), np.uint8)
    with av.open(str(path), "w") as result:
        stream = result.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for index in range(frames):
            step = index % distinct
            left = 2 * min(step, distinct - step) % 64
            shown = np.ascontiguousarray(picture[:, left : left + width])
            frame = av.VideoFrame.from_ndarray(shown, format="gray").reformat(format="yuv420p")
            frame.pts = index
            result.mux(stream.encode(frame))
        result.mux(stream.encode(None))
    return path


def _table(figures: dict[str, Any]) -> str:
    lines = [f"machine: {figures['machine']}, {figures['cores']} cores"]
    if figures.get("live"):
        lines += ["", "| live | frames a second |", "|---|---|"]
        lines += [
            f"| {row['width']}x{row['height']} | {row['rate']:.1f} |" for row in figures["live"]
        ]
    if figures.get("jobs"):
        lines += ["", "| `--jobs`, 640x360 | frames a second |", "|---|---|"]
        lines += [f"| {row['jobs']} | {row['rate']:.2f} |" for row in figures["jobs"]]
    if figures["lengths"]:
        first = figures["lengths"][0]
        lines += [
            "",
            f"| frames of {first['width']}x{first['height']} | peak memory |",
            "|---|---|",
        ]
        lines += [
            f"| {row['frames']:,} | {row['peak_memory_mib']:.0f} MiB |"
            for row in figures["lengths"]
        ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus benchmark live",
        description="Measure frames a second of `refocus video`, and its memory.",
        epilog="example: refocus benchmark live --sizes 640x360 --jobs 1 2 --lengths 100 3000",
    )
    parser.add_argument(
        "--sizes",
        type=shared_options.parse_size,
        nargs="*",
        default=[(320, 180), (640, 360), (1280, 720)],
        metavar="WxH",
        help="of live streams (default: 320x180 640x360 1280x720)",
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of each live stream (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        nargs="*",
        default=[1, 2],
        metavar="N",
        help="segments at once, of a file (default: 1 2)",
    )
    parser.add_argument(
        "--frames", type=int, default=96, help="of that file (default: %(default)s)"
    )
    parser.add_argument(
        "--lengths",
        type=int,
        nargs="*",
        default=[],
        metavar="FRAMES",
        help="of clips whose memory is measured, as 100 3000 (default: none)",
    )
    parser.add_argument(
        "--length-size",
        type=shared_options.parse_size,
        default=_SMALL,
        metavar="WxH",
        help=f"of the frames of these clips (default: {_SMALL[0]}x{_SMALL[1]})",
    )
    engine_options.add_models(parser)
    parser.add_argument(
        "--model", default="restorer", help="name of the restorer (default: %(default)s)"
    )
    shared_options.add_json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
