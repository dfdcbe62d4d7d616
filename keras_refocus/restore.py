"""Restore photos: files, folders and patterns in, restored files out.

    refocus restore photo.jpg --out restored/
    refocus restore album/ --recursive --out restored/ --report restored.json
    refocus restore "scans/*.tif" --mode restore+colorize --compare

Where every result goes is decided, and clashes are refused, before any work starts. A file that
cannot be restored is named at the end and the others are done; the exit status is then 1.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

import keras_refocus
from keras_refocus.engines import installed, local, store
from keras_refocus.pictures import color, images
from keras_refocus.restoration import pipeline, tiling
from keras_refocus.system import console, extras, memory

logger = logging.getLogger(__name__)

RESTORED_SUFFIX = "_restored"
COMPARE_SUFFIX = "_compare"

# Of files that `refocus video` is for; the rest is said by whoever fails to read them.
_VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".wmv", ".3gp"}

# Width of a side-by-side picture in pixels: for looking, and inside what every format can hold.
_COMPARE_WIDTH = 4096
_COMPARE_GAP = 16


@dataclasses.dataclass(frozen=True)
class Job:
    """One file to restore: where it comes from and where its results go."""

    source: Path
    target: Path
    compare: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """All files that the job writes."""
        return [self.target] + ([self.compare] if self.compare else [])


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Restore files from the command line; returns 0, or 1 if any file failed."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.keep_gps and not arguments.keep_metadata:
        parser.error("--keep-gps needs --keep-metadata")
    if not 1 <= arguments.quality <= 100:
        parser.error(f"--quality must be 1 to 100. Received: {arguments.quality}")
    if arguments.server:
        extras.require("serving", "A server", "tensorflow_serving")
    console.start_logging(verbose=arguments.verbose)
    memory.keep_memory(large=False)
    try:
        options = pipeline.RestoreOptions(
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
        )
        jobs = plan(
            arguments.inputs,
            out=arguments.out,
            format=arguments.format,
            recursive=arguments.recursive,
            compare=arguments.compare,
        )
        refuse_clashes(jobs, report=arguments.report, overwrite=arguments.overwrite)
        restorer = _restorer(arguments, options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with restorer:
        return _run(jobs, restorer, options, arguments)


def plan(
    inputs: Iterable[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
    format: str | None = None,
    recursive: bool = False,
    compare: bool = False,
) -> list[Job]:
    """Decide which files are restored, and to where.

    Args:
        inputs: Files, folders and patterns with `*`, `?` and `**`.
        out: Folder of the results: `<stem>.<suffix>`, sub-folders of an input folder mirrored.
            `None` puts `<stem>_restored.<suffix>` beside each input.
        format: Format of the results, a name of `images.FORMATS`; `None` keeps the suffix of each
            input where it can be written, and takes PNG, which holds everything, where not.
        recursive: Whether folders are searched to any depth.
        compare: Whether each file also gets a side-by-side picture.

    Returns:
        The jobs, each input once, in the order of the inputs and sorted inside a folder.

    Raises:
        FileNotFoundError: An input names nothing.
        ValueError: No input holds a picture, or the format cannot be written.
    """
    out = Path(out) if out is not None else None
    jobs = {}
    for name in inputs:
        for source, relative in _sources(os.fspath(name), out, recursive=recursive):
            key = source.resolve()
            if key in jobs:
                continue
            suffix = images.FORMATS[format] if format else _writable_suffix(source.suffix)
            if out is not None:
                target = out / relative.with_suffix(suffix)
            else:
                target = source.with_name(f"{source.stem}{RESTORED_SUFFIX}{suffix}")
            beside = None
            if compare:
                stem = source.stem if out is not None else target.stem
                beside = target.with_name(f"{stem}{COMPARE_SUFFIX}{suffix}")
            jobs[key] = Job(source, target, beside)
    if not jobs:
        raise ValueError(
            "The inputs must hold at least one picture "
            f"({', '.join(sorted(images.SUFFIXES))}). Received: {', '.join(map(str, inputs))}. "
            "Name files, or search sub-folders with --recursive."
        )
    return list(jobs.values())


def refuse_clashes(
    jobs: Sequence[Job], *, report: Path | None = None, overwrite: bool = False
) -> None:
    """Check that no result would destroy an input, another result, or an existing file unasked.

    Raises:
        FileExistsError: A result exists and `overwrite` is off.
        ValueError: Two results have one name, or a result has the name of an input.
        NotADirectoryError: A file stands where a folder of results is needed.
    """
    sources = {_key(job.source): job.source for job in jobs}
    writers: dict[str, Path] = {}
    planned = [(path, job.source) for job in jobs for path in job.outputs]
    if report is not None:
        planned.append((report, report))
    for path, source in planned:
        key = _key(path)
        if key in sources:
            raise ValueError(
                f"A result must not replace an input. Received: '{path}', the result of "
                f"'{source}'. Choose another --out."
            )
        if key in writers:
            raise ValueError(
                f"Every result needs a name of its own. Received: '{writers[key]}' and '{source}' "
                f"both for '{path}'. Rename one, restore them in two runs, or give their folder "
                "with --recursive, which keeps sub-folders apart."
            )
        writers[key] = source
        if path.exists() and (path.is_dir() or not overwrite):
            raise FileExistsError(
                f"A file is never replaced unasked. Received: '{path}', which exists. "
                "Choose another --out, or add --overwrite."
            )
        for parent in path.parents:
            if parent.exists():
                if not parent.is_dir():
                    raise NotADirectoryError(
                        f"Results need a folder. Received: '{parent}', which is a file. "
                        "Choose another --out."
                    )
                break


def _sources(name: str, out: Path | None, *, recursive: bool) -> Iterable[tuple[Path, Path]]:
    """Yield the files that an input names, each with its path below the input's root."""
    path = Path(name)
    if path.is_dir():
        yield from _pictures(path, out, recursive=recursive)
    elif path.exists():
        _refuse_video(path, out)
        yield path, Path(path.name)
    elif _is_pattern(name):
        root = _pattern_root(name)
        found = sorted(root.glob(str(path.relative_to(root))))
        if not found:
            raise FileNotFoundError(
                f"The pattern must match a file. Received: '{name}'. Check the folder; quote the "
                "pattern if your shell changes it."
            )
        for match in found:
            if match.suffix.lower() in images.SUFFIXES and match.is_file():
                yield match, match.relative_to(root)
    else:
        raise FileNotFoundError(
            f"The input must be a file, a folder or a pattern. Received: '{name}', which does not "
            "exist. Check the path."
        )


def _refuse_video(path: Path, out: Path | None) -> None:
    """Say what to type for a video."""
    if path.suffix.lower() in _VIDEO_SUFFIXES:
        raise ValueError(
            f"The input must be a picture. Received: '{path}', a video. Type: refocus video "
            f"{path} --out {out or 'restored'}"
        )


def _pictures(folder: Path, out: Path | None, *, recursive: bool) -> Iterable[tuple[Path, Path]]:
    entries = sorted(folder.rglob("*") if recursive else folder.iterdir())
    stems = {entry.with_suffix("") for entry in entries}
    for entry in entries:
        if entry.suffix.lower() not in images.SUFFIXES or not entry.is_file():
            continue
        # What an earlier run left in the folder is not restored once more.
        if out is None and _is_result(entry, stems):
            logger.info("passing by %s, the result of an earlier run", entry)
        elif out is None or folder.resolve() == out.resolve() or not _inside(entry, out):
            yield entry, entry.relative_to(folder)


def _is_result(path: Path, stems: set[Path]) -> bool:
    stem = path.stem.removesuffix(COMPARE_SUFFIX)
    if not stem.endswith(RESTORED_SUFFIX):
        return False
    return path.with_name(stem.removesuffix(RESTORED_SUFFIX)) in stems


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def _pattern_root(pattern: str) -> Path:
    """The folder above the first part of a pattern that is one."""
    parts = []
    for part in Path(pattern).parts:
        if _is_pattern(part):
            break
        parts.append(part)
    return Path(*parts)


def _key(path: Path) -> str:
    return os.path.normcase(path.resolve())


def _writable_suffix(suffix: str) -> str:
    lower = suffix.lower()
    return suffix if lower in images.SUFFIXES and lower not in images.READ_ONLY else ".png"


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


def _run(
    jobs: Sequence[Job],
    restorer: pipeline.Restorer,
    options: pipeline.RestoreOptions,
    arguments: argparse.Namespace,
) -> int:
    records, failures = [], []
    stopped = False
    with console.progress_bar(len(jobs)) as bar:
        for index, job in enumerate(jobs):
            bar.set_description(f"{index + 1}/{len(jobs)} {job.source.name}", refresh=False)

            def progress(done: int, total: int, index: int = index) -> None:
                bar.n = round(index + done / total, 2)
                bar.refresh()

            try:
                records.append(_restore_file(job, restorer, options, arguments, progress))
            except KeyboardInterrupt:
                stopped = True
                break
            except Exception as error:
                # Whatever is wrong with one file, the others are done.
                logger.debug("%s failed", job.source, exc_info=True)
                message = _say(error)
                failures.append((job.source, message))
                records.append({"input": str(job.source), "error": message})
            else:
                with bar.external_write_mode():
                    print(job.target, flush=True)
            bar.n = index + 1
    if arguments.report is not None:
        models = arguments.server or str(restorer.engine.models_dir)
        licences = {} if arguments.server else _licences(restorer.engine.models_dir, records)
        _write_report(arguments.report, records, options, models, licences)
    for source, message in failures:
        print(f"refocus restore: {source}: {message}", file=sys.stderr)
    done = len(records) - len(failures)
    if stopped:
        print(f"refocus restore: stopped; {done} of {len(jobs)} files done", file=sys.stderr)
        return 130
    if failures:
        print(f"refocus restore: {done} of {len(jobs)} files done", file=sys.stderr)
    return 1 if failures else 0


def _restore_file(
    job: Job,
    restorer: pipeline.Restorer,
    options: pipeline.RestoreOptions,
    arguments: argparse.Namespace,
    progress: Callable[[int, int], None],
) -> dict:
    """Restore one file; returns what the report says of it."""
    photo = images.read(job.source, max_pixels=round(arguments.max_megapixels * 1e6))
    result = restorer.restore(photo, options, progress=progress)
    settings = {"quality": arguments.quality, "overwrite": arguments.overwrite}
    job.target.parent.mkdir(parents=True, exist_ok=True)
    result.save(
        job.target,
        keep_metadata=arguments.keep_metadata,
        keep_gps=arguments.keep_gps,
        **settings,
    )
    record = {"input": str(job.source), "output": str(job.target)}
    if job.compare is not None:
        compared = images.Photo(rgb=_side_by_side(photo.rgb, result.image))
        images.write(job.compare, compared, **settings)
        record["compare"] = str(job.compare)
    if arguments.report is not None:
        record["input_sha256"] = _sha256(job.source)
        record["output_sha256"] = _sha256(job.target)
    height, width = result.image.shape[:2]
    return record | {
        "width": width,
        "height": height,
        "is_grayscale": result.is_grayscale,
        "stages": result.stages,
        "model_versions": result.versions,
        "seconds": round(result.seconds, 3),
    }


def _side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Put two pictures of one size beside each other, 8 bits, small enough to look at."""
    height, width = before.shape[:2]
    scale = min(1.0, (_COMPARE_WIDTH - _COMPARE_GAP) / 2 / width, _COMPARE_WIDTH / height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    halves = [
        color.from_float(
            color.to_float(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)), np.uint8
        )
        for picture in (before, after)
    ]
    # Grey results have no channels.
    halves = [half if half.ndim == 3 else np.stack([half] * 3, axis=2) for half in halves]
    gap = np.full((size[1], _COMPARE_GAP, 3), 255, np.uint8)
    return np.concatenate([halves[0], gap, halves[1]], axis=1)


def _say(error: Exception) -> str:
    """An error in one line; its type too where the message was not written for people."""
    message = " ".join(str(error).split())
    if isinstance(error, OSError | ValueError | TypeError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _licences(models: Path, records: list[dict]) -> dict[str, dict]:
    """Whose weights restored the files, of models with published weights, and their licence."""
    used = sorted({name for record in records for name in record.get("model_versions", {})})
    versions = {name: store.newest_version(models / name) for name in used}
    origins = {
        name: installed.read_origin(version) for name, version in versions.items() if version
    }
    return {
        name: {
            "network": origin.title,
            "licence": origin.licence,
            "accepted": origin.accepted,
            "from": origin.address,
            "files": origin.files,
        }
        for name, origin in origins.items()
        if origin is not None
    }


def _write_report(
    path: Path,
    records: list[dict],
    options: pipeline.RestoreOptions,
    models: str,
    licences: dict[str, dict],
) -> None:
    """Write what was done, to what and with what, replacing the file at once."""
    report = {
        "program": f"keras_refocus {keras_refocus.__version__}",
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "models": models,
        "published_weights": licences,
        "options": dataclasses.asdict(options),
        "files": records,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def _format(name: str) -> str:
    """A name of `images.FORMATS`, whatever the case, also as a suffix."""
    names = {known.lower(): known for known in images.FORMATS}
    names |= {suffix[1:]: known for known, suffix in images.FORMATS.items()}
    return names.get(name.lower().removeprefix("."), name)


def _parser() -> argparse.ArgumentParser:
    defaults = pipeline.RestoreOptions()
    parser = argparse.ArgumentParser(
        prog="refocus restore",
        usage="refocus restore INPUT [INPUT ...] [--out DIR] [options]",
        description="Restore photos: remove motion blur, and colour grey pictures if asked to.",
        epilog="example: refocus restore photo.jpg --out restored/",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="files, folders, or quoted patterns"
    )
    parser.add_argument(
        "--version", action="version", version=f"refocus {keras_refocus.__version__}"
    )
    parser.add_argument("--verbose", action="store_true", help="say more, with tracebacks")

    what = parser.add_argument_group("what to do")
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
        "--best",
        action="store_true",
        help="sharpen the picture and its three mirror images and take the mean: a little closer "
        "to the truth, in four times the time",
    )
    what.add_argument(
        "--saturation",
        type=float,
        default=defaults.saturation,
        help="factor on the colours, 0 to 1.5 (default: %(default)s)",
    )
    what.add_argument(
        "--auto-detect",
        action=argparse.BooleanOptionalAction,
        default=defaults.auto_detect,
        help="leave colour pictures uncoloured by restore+colorize",
    )
    what.add_argument(
        "--blur-faces", action="store_true", help="make faces unrecognisable, for good"
    )

    files = parser.add_argument_group("files")
    files.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the results; without it they lie beside the inputs as "
        f"<name>{RESTORED_SUFFIX}.<suffix>",
    )
    files.add_argument(
        "--recursive", action="store_true", help="search folders to any depth, mirroring them"
    )
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
    files.add_argument("--overwrite", action="store_true", help="replace existing results")
    files.add_argument(
        "--compare",
        action="store_true",
        help=f"also write a picture of before and after as <name>{COMPARE_SUFFIX}.<suffix>",
    )
    files.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write a JSON record: SHA-256 of inputs and outputs, options, model versions",
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
        type=float,
        default=200,
        help="refuse larger pictures (default: %(default)s)",
    )

    models = parser.add_argument_group("models")
    where = models.add_mutually_exclusive_group()
    where.add_argument(
        "--models",
        metavar="DIR",
        help=f"folder of models (default: ${store.MODELS_VARIABLE}, else those installed)",
    )
    where.add_argument(
        "--server", metavar="HOST:PORT", help="run the models on TensorFlow Serving instead"
    )
    models.add_argument(
        "--model",
        default=defaults.restorer,
        help="name of the restorer, where there are several (default: %(default)s)",
    )
    models.add_argument(
        "--colorizer",
        default=defaults.colorizer,
        metavar="NAME",
        help="name of the colorizer, where there are several (default: %(default)s)",
    )
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
    models.add_argument("--threads", type=int, help="processor threads to use (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
