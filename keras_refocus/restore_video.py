"""Restore videos: clips in, restored clips out, with all else in the files untouched.

    refocus video clip.mp4 --out restored/
    refocus video clips/ --recursive --out restored/ --jobs 2 --report restored.json
    refocus video old.mkv --mode restore+colorize --fps 2x --out restored/
    refocus video --live /dev/video0 --size 640x360 --out - | ffplay -

Where every result goes is decided, and clashes are refused, before any work starts. What an
interruption leaves unfinished goes on with --resume. A clip that cannot be restored is named at the
end and the others are done; the exit status is then 1.
"""

import argparse
import dataclasses
import datetime
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import keras_refocus
from keras_refocus.engines import local
from keras_refocus.engines import options as engine_options
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, extras, files, machine, memory
from keras_refocus.system import options as shared_options
from keras_refocus.video import clip, containers, encoders, interpolation, live, segments

logger = logging.getLogger(__name__)


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Restore clips from the command line; returns 0, or 1 if any clip failed."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    extras.require("video", "Restoring videos", "av")
    if arguments.server:
        extras.require("serving", "A server", "tensorflow_serving")
    if arguments.keep_gps and not arguments.keep_metadata:
        parser.error("--keep-gps needs --keep-metadata")
    if arguments.jobs < 1:
        parser.error(f"--jobs must be at least 1. Received: {arguments.jobs}")
    if bool(arguments.inputs) == bool(arguments.live):
        parser.error("name clips, or a source with --live")
    if arguments.size is not None and not arguments.live:
        parser.error("--size is for --live")
    console.start_logging(verbose=arguments.verbose)
    memory.keep_memory(large=False)
    if arguments.live:
        return _live(parser, arguments)
    try:
        options = _options(arguments)
        _check_part(arguments.start, arguments.end)
        jobs = plan(arguments.inputs, arguments, options)
        refuse_clashes(jobs, report=arguments.report, overwrite=arguments.overwrite)
        restorer = _restorer(arguments, options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with restorer:
        return _run(jobs, restorer, options, arguments)


def plan(
    inputs: Iterable[str], arguments: argparse.Namespace, options: clip.ClipOptions
) -> list[segments.ClipJob]:
    """Decide which clips are restored, and to where.

    Args:
        inputs: Files, folders and patterns with `*`, `?` and `**`.
        arguments: Of the command: `out`, `recursive` and what concerns containers.
        options: What to do with frames.

    Returns:
        The jobs, each clip once.

    Raises:
        FileNotFoundError: An input names nothing.
        ValueError: No input holds a video.
    """
    jobs: dict[Path, segments.ClipJob] = {}
    out = arguments.out
    for name in inputs:
        for source, relative in _sources(name, out, recursive=arguments.recursive):
            key = source.resolve()
            if key not in jobs:
                jobs[key] = segments.ClipJob(
                    source=source,
                    folder=out / relative.parent,
                    name=relative.stem,
                    options=options,
                    codec=arguments.codec,
                    crf=arguments.crf,
                    start=arguments.start,
                    end=arguments.end,
                    compare=arguments.compare,
                    keep_metadata=arguments.keep_metadata,
                    keep_place=arguments.keep_gps,
                )
    if not jobs:
        raise ValueError(
            f"The inputs must hold at least one video ({', '.join(sorted(containers.SUFFIXES))}). "
            f"Received: {', '.join(inputs)}. Name files, or search sub-folders with --recursive."
        )
    return list(jobs.values())


def refuse_clashes(
    jobs: Sequence[segments.ClipJob], *, report: Path | None = None, overwrite: bool = False
) -> None:
    """Check that no result would destroy an input, another result, or an existing file unasked.

    The suffix of a result is known only once its clip was looked at, so any file of its name with
    the suffix of a video counts.

    Raises:
        FileExistsError: A result exists and `overwrite` is off.
        ValueError: Two results have one name, or a result has the name of an input.
        NotADirectoryError: A file stands where a folder of results is needed.
    """
    sources = {job.source.resolve(): job.source for job in jobs}
    if report is not None and report.resolve() in sources:
        raise ValueError(f"A report must not replace an input. Received: '{report}'.")
    names: dict[str, Path] = {}
    for job in jobs:
        # Of the suffixes that are possible the first in use is the likely one, and enough to
        # tell files of one folder apart whose suffixes differ.
        kind = job.source.suffix.lower() if job.codec is None else ""
        key = os.path.normcase((job.folder / job.name).resolve()) + kind
        if key in names:
            raise ValueError(
                f"Two results must not have one name. Received: '{job.folder / job.name}', of "
                f"'{names[key]}' and of '{job.source}'. Restore them into folders of their own."
            )
        names[key] = job.source
        for path in existing(job):
            if path.resolve() in sources:
                raise ValueError(
                    f"A result must not replace an input. Received: '{path}', the result of "
                    f"'{job.source}'. Choose another --out."
                )
            if not overwrite:
                raise FileExistsError(
                    f"An existing file is never replaced unasked. Received: '{path}', which "
                    "exists. Choose another --out, or add --overwrite."
                )
        for parent in (job.folder, *job.folder.parents):
            if parent.exists():
                if not parent.is_dir():
                    raise NotADirectoryError(
                        f"Results need a folder. Received: '{parent}', which is a file. "
                        "Choose another --out."
                    )
                break


def existing(job: segments.ClipJob) -> list[Path]:
    """Files that a clip's result may replace."""
    if not job.folder.is_dir():
        return []
    stems = {job.name} | ({f"{job.name}_compare"} if job.compare else set())
    suffixes = containers.possible_suffixes(job.source)
    return [
        path
        for path in sorted(job.folder.iterdir())
        if path.stem in stems and path.suffix.lower() in suffixes and path.is_file()
    ]


def _sources(name: str, out: Path, *, recursive: bool) -> Iterable[tuple[Path, Path]]:
    """Yield the clips that an input names, each with its path below the input's root."""
    path = Path(name)
    if path.is_dir():
        for entry in sorted(path.rglob("*") if recursive else path.iterdir()):
            inside = entry.resolve().is_relative_to(out.resolve())
            if containers.is_video(entry) and entry.is_file() and not inside:
                yield entry, entry.relative_to(path)
    elif path.exists():
        yield path, Path(path.name)
    elif any(character in name for character in "*?["):
        fixed = []
        for part in path.parts:
            if any(character in part for character in "*?["):
                break
            fixed.append(part)
        root = Path(*fixed)
        found = sorted(root.glob(str(path.relative_to(root))))
        if not found:
            raise FileNotFoundError(
                f"The pattern must match a file. Received: '{name}'. Check the folder; quote the "
                "pattern if your shell changes it."
            )
        for match in found:
            if containers.is_video(match) and match.is_file():
                yield match, match.relative_to(root)
    else:
        raise FileNotFoundError(
            f"The input must be a file, a folder or a pattern. Received: '{name}', which does not "
            "exist. Check the path."
        )


def _live(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Restore a stream, dropping frames instead of lagging."""
    out = arguments.out
    to_screen = str(out) == "-" or "://" in str(out)
    try:
        if not to_screen:
            containers.format_of(out)
            if out.exists() and not arguments.overwrite:
                raise FileExistsError(
                    f"An existing file is never replaced unasked. Received: '{out}', which "
                    "exists. Choose another --out, or add --overwrite."
                )
        options = _options(arguments)
        source = live.Source(arguments.live)
        restorer = _restorer(arguments, options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    stopped = threading.Event()
    with restorer, source, console.progress_bar(unit=" frames") as bar:

        def told(report: live.Report) -> None:
            bar.set_description_str(f"{report.rate:.1f} a second, {report.dropped} dropped", False)
            bar.update(report.restored - bar.n)

        handler = signal.signal(signal.SIGINT, lambda *_: stopped.set())
        try:
            report = live.restore(
                source,
                restorer,
                options.restore,
                # `Path` makes one slash of two.
                str(out).replace(":/", "://", 1) if to_screen and str(out) != "-" else out,
                size=arguments.size,
                progress=told,
                cancel=stopped.is_set,
            )
        except (OSError, ValueError) as error:
            print(f"refocus video: {error}", file=sys.stderr)
            return 1
        finally:
            signal.signal(signal.SIGINT, handler)
    print(
        f"{report.restored} of {report.read} frames restored, {report.rate:.1f} a second at "
        f"{report.width}x{report.height}",
        file=sys.stderr,
    )
    return 0


def _options(arguments: argparse.Namespace) -> clip.ClipOptions:
    return clip.ClipOptions(
        restore=pipeline.RestoreOptions(
            mode=arguments.mode,
            strength=arguments.strength,
            saturation=arguments.saturation,
            blur_faces=arguments.blur_faces,
            tile=arguments.tile,
            overlap=arguments.overlap,
            restorer=arguments.model,
            colorizer=arguments.colorizer,
            best=arguments.best,
        ),
        steady=arguments.steady,
        rate=interpolation.Rate.parse(arguments.fps) if arguments.fps else None,
        deinterlace=arguments.deinterlace,
        interpolator=arguments.interpolator,
    )


def _check_part(start: float | None, end: float | None) -> None:
    if start is not None and end is not None and end <= start:
        raise ValueError(f"--end must be after --start. Received: --start {start} --end {end}")


def _restorer(arguments: argparse.Namespace, options: clip.ClipOptions) -> pipeline.Restorer:
    """Open the engine and make sure that the models it will need for certain are there."""
    console.import_tensorflow()
    if arguments.server:
        address = arguments.server
        restorer = pipeline.Restorer(address if "://" in address else f"grpc://{address}")
    else:
        engine = local.LocalEngine(arguments.models, threads=arguments.threads)
        restorer = pipeline.Restorer(engine)
    restorer.check_models(options.restore)
    clip.interpolator_of(options, restorer.engine)
    return restorer


def _run(
    jobs: Sequence[segments.ClipJob],
    restorer: pipeline.Restorer,
    options: clip.ClipOptions,
    arguments: argparse.Namespace,
) -> int:
    records: list[dict[str, Any]] = []
    failures: list[tuple[Path, str]] = []
    stopped = False
    for number, job in enumerate(jobs, 1):
        label = f"{number}/{len(jobs)} {job.source.name}"
        try:
            outcome = _restore(job, restorer, arguments, label)
        except (KeyboardInterrupt, CancelledError):
            stopped = True
            break
        except Exception as error:
            # Whatever is wrong with one clip, the others are done.
            logger.debug("%s failed", job.source, exc_info=True)
            message = _say(error)
            failures.append((job.source, message))
            records.append({"input": str(job.source), "error": message})
            continue
        records.append(_record(job, outcome, with_sums=arguments.report is not None))
        print(outcome.path, flush=True)
        _tell(job, outcome)
    if arguments.report is not None:
        models = arguments.server or str(restorer.engine.models_dir)
        _write_report(arguments.report, records, options, arguments, models)
    for source, message in failures:
        print(f"refocus video: {source}: {message}", file=sys.stderr)
    done = len(records) - len(failures)
    if stopped:
        print(
            f"refocus video: stopped; {done} of {len(jobs)} clips done. What is finished of the "
            "next one goes on with --resume.",
            file=sys.stderr,
        )
        return 130
    if failures:
        print(f"refocus video: {done} of {len(jobs)} clips done", file=sys.stderr)
    return 1 if failures else 0


def _restore(
    job: segments.ClipJob, restorer: pipeline.Restorer, arguments: argparse.Namespace, label: str
) -> segments.Outcome:
    job.folder.mkdir(parents=True, exist_ok=True)
    cores = arguments.threads or machine.usable_cores()
    # A bar that is not shown has no description to ask for.
    restoring = False
    with console.progress_bar(label=f"{label}: looking", unit=" frames") as bar:

        def looked(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        def restored(done: int, total: int) -> None:
            nonlocal restoring
            if not restoring:
                restoring = True
                bar.set_description_str(f"{label}: restoring", refresh=False)
                bar.reset(total)
                # Rate and time left count what this run does, not what it found done.
                bar.initial = bar.n = done
                bar.start_t = bar.last_print_t = time.time()
                bar.refresh()
            else:
                bar.update(done - bar.n)

        return segments.restore(
            job,
            restorer,
            workers=arguments.jobs,
            threads=max(cores // arguments.jobs, 1),
            resume=arguments.resume,
            progress=restored,
            surveying=looked,
        )


def _tell(job: segments.ClipJob, outcome: segments.Outcome) -> None:
    """Say on standard error what the user should know of a result."""
    for note in outcome.notes:
        print(f"refocus video: {job.source}: {note}", file=sys.stderr)
    if outcome.failed:
        index, why = next(iter(outcome.failed.items()))
        colors_only = any(why.startswith(clip.UNCOLORED) for why in outcome.failed.values())
        or_colored = ", or have the colours of frames near them" if colors_only else ""
        print(
            f"refocus video: {job.source}: {len(outcome.failed)} of {outcome.frames} frames could "
            f"not be restored and are as they were{or_colored}; the first is frame {index}: {why}",
            file=sys.stderr,
        )


def _say(error: Exception) -> str:
    """An error in one line; its type too where the message was not written for people."""
    message = " ".join(str(error).split())
    if isinstance(error, clip.ClipError):
        return f"{message}. What is finished goes on with --resume."
    if isinstance(error, OSError | ValueError | TypeError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _record(job: segments.ClipJob, outcome: segments.Outcome, *, with_sums: bool) -> dict[str, Any]:
    found = outcome.survey
    record = {
        "input": str(job.source),
        "output": str(outcome.path),
        "width": found.width,
        "height": found.height,
        "pixels": found.layout.format,
        "frames": outcome.frames,
        "frames_written": outcome.written,
        "frames_failed": {str(index): why for index, why in outcome.failed.items()},
        "scenes": outcome.scenes,
        "is_grayscale": found.is_gray,
        "encoder": outcome.encoder,
        "notes": outcome.notes,
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.compare is not None:
        record["compare"] = str(outcome.compare)
    if with_sums:
        record["input_sha256"] = files.sha256(job.source)
        record["output_sha256"] = files.sha256(outcome.path)
    return record


def _write_report(
    path: Path,
    records: list[dict[str, Any]],
    options: clip.ClipOptions,
    arguments: argparse.Namespace,
    models: str,
) -> None:
    """Write what was done, to what and with what, replacing the file at once."""
    said = dataclasses.asdict(options)
    said["rate"] = arguments.fps
    report = {
        "program": f"keras_refocus {keras_refocus.__version__}",
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "models": models,
        "options": said,
        "clips": records,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, report)


def _moment(text: str) -> float:
    """Read seconds, or [HH:]MM:SS, as a `type` of argparse."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or any(part < 0 for part in parts):
        raise argparse.ArgumentTypeError(f"must be seconds, MM:SS or HH:MM:SS: {text!r}")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus video",
        usage="refocus video INPUT [INPUT ...] --out DIR [options]\n"
        "       refocus video --live SOURCE --out FILE [options]",
        description="Restore videos: remove motion blur, steadily from frame to frame; sound, "
        "subtitles, times and all else stay as they are.",
        epilog="example: refocus video clip.mp4 --out restored/",
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="files, folders, or quoted patterns"
    )
    parser.add_argument(
        "--version", action="version", version=f"refocus {keras_refocus.__version__}"
    )
    shared_options.add_verbose(parser, "say more, with tracebacks")

    _add_work(parser)
    _add_live(parser)
    _add_files(parser)
    _add_models(parser)
    return parser


def _add_work(parser: argparse.ArgumentParser) -> None:
    """Options of what is done with frames."""
    defaults = pipeline.RestoreOptions()
    what = parser.add_argument_group("what to do")
    what.add_argument(
        "--mode",
        choices=pipeline.MODES,
        default=defaults.mode,
        help="restore: sharpen only; restore+colorize: colour grey clips too; colorize: colour "
        "every clip (default: %(default)s)",
    )
    what.add_argument(
        "--strength",
        type=float,
        default=defaults.strength,
        help="how much of the sharpening to take, 0 to 1 (default: %(default)s)",
    )
    what.add_argument(
        "--best",
        action="store_true",
        help="sharpen each frame and its three mirror images and take the mean: a little closer to "
        "the truth, in four times the time",
    )
    what.add_argument(
        "--no-steady",
        dest="steady",
        action="store_false",
        help="restore each frame alone; it flickers more",
    )
    what.add_argument(
        "--fps",
        metavar="2x|60",
        help="raise the frame rate: a multiple of the clip's own, or frames a second",
    )
    what.add_argument(
        "--saturation",
        type=float,
        default=defaults.saturation,
        help="factor on the colours of a coloured clip, 0 to 1.5 (default: %(default)s)",
    )
    what.add_argument(
        "--deinterlace", action="store_true", help="make whole frames of interlaced ones first"
    )
    what.add_argument(
        "--blur-faces", action="store_true", help="make faces unrecognisable, for good"
    )
    what.add_argument(
        "--start", type=_moment, metavar="TIME", help="begin there: seconds, MM:SS or HH:MM:SS"
    )
    what.add_argument("--end", type=_moment, metavar="TIME", help="end there")


def _add_live(parser: argparse.ArgumentParser) -> None:
    """Options of streams."""
    near = parser.add_argument_group("live")
    near.add_argument(
        "--live",
        metavar="SOURCE",
        help="restore a device (/dev/video0, avfoundation:0, dshow:video=NAME), a file or an "
        "address as it comes, dropping frames instead of lagging; --out is a file, an address "
        "or -, for a player: refocus video --live /dev/video0 --out - | ffplay -",
    )
    near.add_argument(
        "--size", type=shared_options.parse_size, metavar="WxH", help="make frames this large first"
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Options of results."""
    results = parser.add_argument_group("files")
    results.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="folder of the results"
    )
    results.add_argument(
        "--recursive", action="store_true", help="search folders to any depth, mirroring them"
    )
    results.add_argument(
        "--codec",
        metavar="NAME",
        help=f"codec of the results: {', '.join(encoders.CODECS)} (default: that of each clip "
        "where it can be written, else h264)",
    )
    results.add_argument(
        "--crf",
        type=int,
        help="quality on the codec's own scale, lower is better (default: one at which nothing "
        "of the encoding is seen)",
    )
    results.add_argument("--overwrite", action="store_true", help="replace existing results")
    results.add_argument(
        "--resume", action="store_true", help="go on with what an interruption left unfinished"
    )
    results.add_argument(
        "--compare",
        action="store_true",
        help="also write a clip of before and after side by side, as <name>_compare",
    )
    results.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write a JSON record: SHA-256 of inputs and outputs, options, frames that failed",
    )
    results.add_argument(
        "--keep-metadata",
        action="store_true",
        help="keep title, date and the like, but not the place (all of it is removed otherwise)",
    )
    results.add_argument(
        "--keep-gps", action="store_true", help="with --keep-metadata: keep the place too"
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    """Options of what runs the networks."""
    defaults = pipeline.RestoreOptions()
    models = parser.add_argument_group("models")
    engine_options.add_models_or_server(models)
    engine_options.add_model_names(models)
    models.add_argument(
        "--interpolator",
        metavar="NAME",
        help="name of the model that corrects the new frames of --fps (default: interpolator, if "
        "there is one and --best is given)",
    )
    models.add_argument(
        "--tile",
        type=int,
        default=defaults.tile,
        help="side of the pieces a frame is restored in, in pixels; 0: in one piece",
    )
    models.add_argument("--overlap", type=int, help="pixels that neighbouring pieces share")
    models.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="segments of a clip to restore at once (default: %(default)s)",
    )
    engine_options.add_threads(models)


if __name__ == "__main__":
    sys.exit(main())
