"""Restore photos: files, folders and patterns in, restored files out.

    refocus restore photo.jpg --out restored/
    refocus restore album/ --recursive --out restored/ --report restored.json
    refocus restore "scans/*.tif" --mode restore+colorize --compare
    refocus restore - < photo.jpg > restored.jpg
    refocus restore s3://bucket/scans --out s3://bucket/restored --skip-done

Where every result goes is decided, and clashes are refused, before any work starts. A file that
cannot be restored is named at the end and the others are done; the exit status is then 1. A run
that was stopped goes on with --skip-done. Of stores, pictures are listed and restored as they come:
see docs/cloud.md.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import keras_refocus
from keras_refocus.cloud import restoring, retries, storage
from keras_refocus.engines import local
from keras_refocus.engines import options as engine_options
from keras_refocus.pictures import images
from keras_refocus.restoration import batch, hints, jobs, pipeline, regions, tiling
from keras_refocus.restoration.reports import Report
from keras_refocus.system import console, extras, memory

# Of the names of what is passed by.
_MOST_NAMES = 10


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Restore files from the command line; returns 0, or 1 if any file failed, 130 if stopped."""
    console.claim_streams()
    parser = _parser()
    arguments = parser.parse_args(argv)
    _refuse_mistakes(parser, arguments)
    over_stores = _names_a_store(parser, arguments)
    if arguments.server:
        extras.require("serving", "A server", "tensorflow_serving")
    console.start_logging(verbose=arguments.verbose)
    memory.keep_memory(large=False)
    try:
        with console.terminated_as_interrupted(), contextlib.ExitStack() as stack:
            try:
                if over_stores:
                    return _restore_over_stores(arguments, stack)
                plan, options, restorer, report = _prepare(arguments, stack)
            except (OSError, ValueError) as error:
                parser.error(batch.say(error))
            _say_what_is_passed_by(plan)
            return _run(plan.jobs, restorer, options, report, arguments)
    except KeyboardInterrupt as stop:
        console.warn("refocus restore: stopped before the first file")
        return _status(stop)


def _refuse_mistakes(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse what is wrong whatever the inputs."""
    if arguments.keep_gps and not arguments.keep_metadata:
        parser.error("--keep-gps needs --keep-metadata")
    if arguments.skip_done and arguments.overwrite:
        parser.error("--skip-done keeps existing results, --overwrite replaces them; choose one")
    if not 1 <= arguments.quality <= 100:
        parser.error(f"--quality must be 1 to 100. Received: {arguments.quality}")
    if not (arguments.patient or arguments.kernel):
        for name in ("patience", "write_kernel"):
            if getattr(arguments, name):
                parser.error(f"--{name.replace('_', '-')} needs --patient or --kernel")
    if arguments.strength == 0 and (arguments.patient or arguments.kernel):
        parser.error("--patient and --kernel sharpen. Received: --strength 0, which does not")
    reads, writes = "-" in arguments.inputs, "-" in (arguments.out, *arguments.inputs)
    if reads and (sys.stdin is None or sys.stdin.isatty()):
        parser.error("- reads a picture from standard input, and none comes: add < photo.jpg")
    if writes and (sys.stdout is None or sys.stdout.isatty()):
        parser.error("- writes the picture to standard output, a screen: add > restored.jpg")


def _names_a_store(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> bool:
    """Tell whether an input or the place of the results is an address."""
    given = [*arguments.inputs, arguments.out or ""]
    try:
        if not any(storage.is_url(name) for name in given):
            return False
    except ValueError as error:
        parser.error(str(error))
    if arguments.out is None:
        parser.error("pictures of addresses need a place for their results: add --out")
    if arguments.hints or "-" in given:
        parser.error("addresses go neither with --hints nor with -, which are of one picture")
    if arguments.write_kernel:
        parser.error("--write-kernel is for files. Received: it with addresses; leave it out")
    extras.require("cloud", "An address", "fsspec")
    return True


def _restore_over_stores(arguments: argparse.Namespace, stack: contextlib.ExitStack) -> int:
    """Restore pictures of stores, or into one, a few at a time; returns the exit status."""
    settings = restoring.Settings(
        options=_options(arguments),
        format=arguments.format,
        quality=arguments.quality,
        keep_metadata=arguments.keep_metadata,
        keep_gps=arguments.keep_gps,
        max_pixels=round(arguments.max_megapixels * 1e6),
        compare=arguments.compare,
    )
    out = storage.open_place(arguments.out)
    passed_by = _PassedBy()
    planned = restoring.plan(
        arguments.inputs, out, settings, recursive=arguments.recursive, pass_by=passed_by
    )
    # Before the models are loaded: whether there is anything to do.
    planned = itertools.chain([next(planned)], planned)
    restorer = stack.enter_context(_restorer(arguments, settings.options))
    report = None
    if arguments.report is not None:
        report = stack.enter_context(
            Report(
                arguments.report,
                options=settings.options,
                models=arguments.server or str(restorer.engine.models_dir),
                origins=_origins(arguments, restorer),
                overwrite=arguments.overwrite,
                goes_on=arguments.skip_done,
            )
        )
    work = restoring.restore_all(
        planned,
        restorer,
        settings,
        skip_done=arguments.skip_done,
        overwrite=arguments.overwrite or arguments.skip_done,
        in_flight=arguments.in_flight,
    )
    counts, stop = collections.Counter(), None
    recorder = _Recorder(report)
    try:
        with console.progress_bar() as bar:
            for outcome in work:
                counts[outcome.status] += 1
                record = _record_over_stores(outcome, settings)
                if outcome.status == "failed":
                    console.warn(f"refocus restore: {record['input']}: {outcome.reason}")
                elif outcome.status == "restored":
                    with bar.external_write_mode():
                        console.say(record["output"])
                recorder.add(record)
                bar.update()
    except KeyboardInterrupt as error:
        work.close()
        stop = error
    return _finish_over_stores(counts, passed_by, recorder, stop)


def _record_over_stores(outcome: restoring.Outcome, settings: restoring.Settings) -> dict:
    """What the report says of a picture."""
    task = outcome.task
    if outcome.status == "failed":
        return {"input": task.shown, "error": outcome.reason}
    record = {"input": task.shown, "output": task.out.show(task.target)}
    if settings.compare:
        record["compare"] = task.out.show(settings.beside(task.target))
    return record | outcome.record


def _finish_over_stores(
    counts: collections.Counter,
    passed_by: "_PassedBy",
    recorder: "_Recorder",
    stop: KeyboardInterrupt | None,
) -> int:
    """Say what became of a job over stores, finish its report, and choose the exit status."""
    passed_by.say("no pictures by their names")
    recorder.close()
    if counts["skipped"]:
        console.warn(f"refocus restore: {counts['skipped']} were done before")
    if stop is not None:
        console.warn(
            f"refocus restore: stopped; {counts['restored']} done; --skip-done goes on from here"
        )
        return _status(stop)
    if counts["failed"]:
        console.warn(f"refocus restore: {counts['restored']} done, {counts['failed']} failed")
    return 1 if counts["failed"] or recorder.error else 0


class _PassedBy:
    """Names of what is no picture: how many, and the first of them."""

    def __init__(self):
        self.count, self.names = 0, []

    def __call__(self, name: str) -> None:
        self.count += 1
        if len(self.names) < _MOST_NAMES:
            self.names.append(name)

    def say(self, what: str) -> None:
        """Say it, if there is any."""
        if self.count:
            more = self.count - len(self.names)
            and_more = f" and {more} more" if more else ""
            names = ", ".join(self.names)
            console.warn(f"refocus restore: passed by {self.count}, {what}: {names}{and_more}")


class _Recorder:
    """Adds to a report, if there is one; what it cannot write is told at the end."""

    def __init__(self, report: Report | None):
        self.report, self.error = report, ""

    def add(self, record: dict) -> None:
        """Add what was done to one file."""
        if self.report is not None:
            try:
                self.report.add(record)
            except OSError as error:
                self.error = batch.say(error)

    def close(self) -> None:
        """Finish the report, and say if it lacks something."""
        if self.report is not None:
            try:
                self.report.close()
            except OSError as error:
                self.error = batch.say(error)
        if self.error:
            console.warn(f"refocus restore: the report lacks something: {self.error}")


def _options(arguments: argparse.Namespace) -> pipeline.RestoreOptions:
    return pipeline.RestoreOptions(
        mode=arguments.mode,
        strength=arguments.strength,
        saturation=arguments.saturation,
        auto_detect=arguments.auto_detect,
        blur_faces=arguments.blur_faces,
        tile=arguments.tile,
        overlap=arguments.overlap,
        restorer=arguments.model,
        colorizer=arguments.colorizer,
        best=arguments.best,
        region=arguments.region,
        fade=arguments.fade,
        reference=arguments.reference,
        reference_strength=arguments.reference_strength,
        hints=arguments.hints and hints.ColorHints.read(arguments.hints),
        patient=arguments.patient,
        patience=arguments.patience,
        kernel=arguments.kernel,
    )


def _prepare(arguments: argparse.Namespace, stack: contextlib.ExitStack):
    """All that can fail before work does: the plan, the options, the restorer and the report."""
    options = _options(arguments)
    plan = jobs.plan(
        arguments.inputs,
        out=arguments.out,
        format=arguments.format,
        recursive=arguments.recursive,
        compare=arguments.compare,
        kernel=arguments.write_kernel,
    )
    if options.hints and len(plan.jobs) != 1:
        raise ValueError(
            f"Hints are those of one picture. Received: --hints with {len(plan.jobs)} pictures. "
            "Restore each with its own."
        )
    jobs.refuse_clashes(
        plan.jobs,
        report=arguments.report,
        overwrite=arguments.overwrite,
        skip_done=arguments.skip_done,
    )
    restorer = stack.enter_context(_restorer(arguments, options))
    for path in jobs.remove_leftovers(plan.jobs):
        console.warn(f"refocus restore: removed {path}, which a run that was killed left")
    report = None
    if arguments.report is not None:
        report = _report(arguments, plan.jobs, options, restorer)
    return plan, options, restorer, report


def _restorer(arguments: argparse.Namespace, options: pipeline.RestoreOptions):
    """Open the engine and make sure that the models it will need for certain are there."""
    console.import_tensorflow()
    if arguments.server:
        address = arguments.server
        restorer = pipeline.Restorer(address if "://" in address else f"grpc://{address}")
    else:
        engine = local.LocalEngine(arguments.models, threads=arguments.threads)
        restorer = pipeline.Restorer(engine)
    restorer.check_models(options)
    return restorer


def _report(
    arguments: argparse.Namespace,
    planned: Sequence[jobs.FileJob],
    options: pipeline.RestoreOptions,
    restorer: pipeline.Restorer,
) -> Report:
    models = arguments.server or str(restorer.engine.models_dir)
    return Report(
        arguments.report,
        options=options,
        models=models,
        origins=_origins(arguments, restorer),
        overwrite=arguments.overwrite,
        goes_on=arguments.skip_done,
        anew={str(job.source) for job in planned if not batch.is_done(job)},
    )


def _origins(arguments: argparse.Namespace, restorer: pipeline.Restorer):
    """Tells whose weights models have; of those of a server that is not known."""
    if arguments.server:
        return lambda names: {}
    return functools.partial(batch.origins, restorer.engine.models_dir)


def _say_what_is_passed_by(plan: jobs.Plan) -> None:
    for what, paths in (
        ("no pictures by their names", plan.others),
        ("hidden", plan.hidden),
        ("folders that may not be read", plan.closed),
    ):
        passed_by = _PassedBy()
        for path in paths:
            passed_by(str(path))
        passed_by.say(what)


@dataclasses.dataclass
class _Tally:
    """What became of the files so far."""

    failures: list[batch.Outcome] = dataclasses.field(default_factory=list)
    done: int = 0
    skipped: int = 0

    def count(self, outcome: batch.Outcome, recorder: _Recorder) -> None:
        if outcome.record is None:
            self.skipped += 1
            return
        if outcome.error:
            self.failures.append(outcome)
        else:
            self.done += 1
        recorder.add(outcome.record)


def _run(
    planned: Sequence[jobs.FileJob],
    restorer: pipeline.Restorer,
    options: pipeline.RestoreOptions,
    report: Report | None,
    arguments: argparse.Namespace,
) -> int:
    """Do the work and say what became of it; returns the exit status."""
    settings = batch.FileSettings(
        quality=arguments.quality,
        overwrite=arguments.overwrite,
        skip_done=arguments.skip_done,
        keep_metadata=arguments.keep_metadata,
        keep_gps=arguments.keep_gps,
        max_pixels=round(arguments.max_megapixels * 1e6),
        sums=report is not None,
    )
    tally, recorder, stop = _Tally(), _Recorder(report), None
    with console.progress_bar(len(planned)) as bar:

        def progress(index):
            name = planned[index].source.name
            bar.set_description(f"{index + 1}/{len(planned)} {name}", refresh=False)

            def show(done, total):
                bar.n = round(index + done / total, 2)
                bar.refresh()

            return show

        work = batch.run(planned, restorer, options, settings, progress=progress)
        try:
            for index, outcome in enumerate(work):
                tally.count(outcome, recorder)
                written = outcome.record is not None and not outcome.error
                if written and outcome.job.target != jobs.STREAM:
                    with bar.external_write_mode():
                        console.say(str(outcome.job.target))
                bar.n = index + 1
        except KeyboardInterrupt as error:
            stop = error
    return _finish(tally, len(planned), recorder, stop)


def _finish(
    tally: _Tally, planned: int, recorder: _Recorder, stop: KeyboardInterrupt | None
) -> int:
    """Say what went wrong, finish the report, and choose the exit status."""
    for outcome in tally.failures:
        console.warn(f"refocus restore: {outcome.job.source}: {outcome.error}")
    recorder.close()
    if tally.skipped:
        console.warn(f"refocus restore: {tally.skipped} of {planned} files were done before")
    if stop is not None:
        console.warn(
            f"refocus restore: stopped; {tally.done} of {planned} files done; "
            "--skip-done goes on from here"
        )
        return _status(stop)
    if tally.failures:
        console.warn(f"refocus restore: {tally.done} of {planned} files done")
    return 1 if tally.failures or recorder.error else 0


def _status(stop: KeyboardInterrupt) -> int:
    """Exit status of a program that was stopped, as shells have it: 128 and the signal."""
    return 143 if isinstance(stop, console.Terminated) else 130


def _format(name: str) -> str:
    """A name of `images.FORMATS`, whatever the case, also as a suffix."""
    names = {known.lower(): known for known in images.FORMATS}
    names |= {suffix[1:]: known for suffix, known in images.FORMAT_OF_SUFFIX.items()}
    return names.get(name.lower().removeprefix("."), name)


def _megapixels(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"must be a number above 0: {text!r}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus restore",
        usage="refocus restore INPUT [INPUT ...] [--out DIR] [options]",
        description="Restore photos: remove motion blur, and colour grey pictures if asked to.",
        epilog="example: refocus restore photo.jpg --out restored/",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, folders, or quoted patterns; addresses such as s3://bucket/scans; -: from "
        "standard input to standard output",
    )
    parser.add_argument(
        "--version", action="version", version=f"refocus {keras_refocus.__version__}"
    )
    parser.add_argument("--verbose", action="store_true", help="say more, with tracebacks")
    _add_what(parser.add_argument_group("what to do"))
    files = parser.add_argument_group("files")
    _add_places(files)
    _add_formats(files)
    _add_models(parser.add_argument_group("models"))
    return parser


def _region(text: str) -> regions.Region:
    """Read a region, as a `type` of argparse."""
    try:
        return regions.read(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _report_file(text: str) -> Path:
    """Read the name of the report, as a `type` of argparse."""
    found = storage.path_or_address(text)
    if isinstance(found, str):
        raise argparse.ArgumentTypeError(
            "must be a file of this machine, for it grows picture by picture; copy it when all is "
            f"done: '{retries.redact(text)}'"
        )
    return found


def _add_what(what) -> None:
    defaults = pipeline.RestoreOptions()
    what.add_argument(
        "--mode",
        choices=pipeline.MODES,
        default=defaults.mode,
        help="restore: sharpen only; restore+colorize: colour grey pictures too; colorize: colour "
        "every picture (default: %(default)s)",
    )
    what.add_argument(
        "--strength",
        type=float,
        default=defaults.strength,
        help="how much of the sharpening to take, 0 to 1 (default: %(default)s)",
    )
    what.add_argument(
        "--region",
        type=_region,
        metavar="REGION",
        help="restore this part only, with soft edges; the rest stays as it is: "
        "LEFT,TOP,WIDTH,HEIGHT in pixels of the upright picture, a mask (a picture of that size, "
        "white where to work), or strokes of a brush (.json)",
    )
    what.add_argument(
        "--best",
        action="store_true",
        help="sharpen the picture and its three mirror images and take the mean: a little closer "
        "to the truth, in four times the time",
    )
    what.add_argument(
        "--patient",
        action="store_true",
        help="look for heavy shake and take it away, which takes a minute or so; where that is not "
        "better the usual result stands",
    )
    what.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="with --patient: that each picture may take (default: as long as it takes)",
    )
    what.add_argument(
        "--kernel",
        metavar="FILE.png|motion:LENGTH,ANGLE|disk:RADIUS",
        help="take away this blur instead of looking for one: a picture of the kernel, a straight "
        "motion in pixels and degrees, or a lens out of focus",
    )
    _add_colours(what, defaults)
    what.add_argument(
        "--blur-faces", action="store_true", help="make faces unrecognisable, for good"
    )


def _add_colours(what, defaults: pipeline.RestoreOptions) -> None:
    what.add_argument(
        "--saturation",
        type=float,
        default=defaults.saturation,
        help="factor on the colours, 0 to 1.5 (default: %(default)s)",
    )
    what.add_argument(
        "--hints",
        type=Path,
        metavar="FILE",
        help="JSON file of colours at points or along strokes of the picture, which correct what "
        "the colorizer guesses: docs/color.md",
    )
    what.add_argument(
        "--fade",
        type=float,
        default=defaults.fade,
        metavar="X",
        help="take fading off a print, 0 to 1: the levels of each channel, white paper left out "
        "(default: %(default)s)",
    )
    what.add_argument(
        "--reference",
        type=Path,
        metavar="PHOTO",
        help="give coloured pictures the colours of this photo, of the same scene or one that is "
        "liked",
    )
    what.add_argument(
        "--reference-strength",
        type=float,
        default=defaults.reference_strength,
        metavar="X",
        help="how much of its colours to take, 0 to 1 (default: %(default)s)",
    )
    what.add_argument(
        "--auto-detect",
        action=argparse.BooleanOptionalAction,
        default=defaults.auto_detect,
        help="leave colour pictures uncoloured by restore+colorize",
    )


def _add_places(files) -> None:
    files.add_argument(
        "--out",
        metavar="DIR",
        help="folder or address of the results; without it they lie beside the inputs as "
        f"<name>{jobs.RESTORED_SUFFIX}.<suffix>; -: standard output",
    )
    files.add_argument(
        "--recursive", action="store_true", help="search folders to any depth, mirroring them"
    )
    files.add_argument("--overwrite", action="store_true", help="replace existing results")
    files.add_argument(
        "--skip-done",
        action="store_true",
        help="pass by inputs whose results exist, and continue the report: goes on where a run "
        "stopped; of addresses, results that were made of other content or with other options are "
        "made anew",
    )
    files.add_argument(
        "--in-flight",
        type=int,
        default=restoring.IN_FLIGHT,
        metavar="N",
        help="of addresses: pictures that are read, restored or written at once, at most "
        "(default: %(default)s)",
    )
    files.add_argument(
        "--compare",
        action="store_true",
        help=f"also write a picture of before and after as <name>{jobs.COMPARE_SUFFIX}.<suffix>",
    )
    files.add_argument(
        "--write-kernel",
        action="store_true",
        help="with --patient: also write a picture of the blur that was found, as "
        f"<name>{jobs.KERNEL_SUFFIX}.png",
    )
    files.add_argument(
        "--report",
        type=_report_file,
        metavar="FILE",
        help="write a JSON record: SHA-256 of inputs and outputs, options, model versions",
    )


def _add_formats(files) -> None:
    files.add_argument(
        "--format",
        choices=list(images.FORMATS),
        type=_format,
        help="format of the results (default: that of each input, PNG for HEIC)",
    )
    files.add_argument(
        "--quality",
        type=int,
        default=95,
        help="quality of JPEG and WebP, 1 to 100 (default: %(default)s)",
    )
    files.add_argument(
        "--keep-metadata",
        action="store_true",
        help="keep EXIF, but not the position (all of it is removed otherwise)",
    )
    files.add_argument(
        "--keep-gps", action="store_true", help="with --keep-metadata: keep the position too"
    )
    files.add_argument(
        "--max-megapixels",
        type=_megapixels,
        default=200,
        help="refuse larger pictures (default: %(default)s)",
    )


def _add_models(models) -> None:
    defaults = pipeline.RestoreOptions()
    engine_options.add_models_or_server(models)
    engine_options.add_model_names(models)
    models.add_argument(
        "--tile",
        type=int,
        default=defaults.tile,
        help="side of the pieces a picture is restored in, in pixels; 0: in one piece (default: "
        f"what suits the picture, up to a megapixel; {tiling.TILE} with --server)",
    )
    models.add_argument(
        "--overlap",
        type=int,
        help=f"pixels that neighbouring pieces share (default: {defaults.overlap}, at most half "
        "of a small piece)",
    )
    engine_options.add_threads(models)


if __name__ == "__main__":
    sys.exit(main())
