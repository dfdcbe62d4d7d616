"""Which files are restored, and to where: decided, and clashes refused, before any work starts."""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from keras_refocus.pictures import catalogue, images
from keras_refocus.system import files

logger = logging.getLogger(__name__)

RESTORED_SUFFIX = "_restored"
COMPARE_SUFFIX = "_compare"
KERNEL_SUFFIX = "_kernel"

#: Standard input as the input of a job, standard output as its target.
STREAM = Path("-")

# What is a JPEG followed by more.
_KEPT_AS = {".mpo": ".jpg"}

# Of files that `refocus video` is for; the rest is said by whoever fails to read them.
_VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".wmv", ".3gp"}


@dataclasses.dataclass(frozen=True)
class FileJob:
    """One file to restore: where it comes from and where its results go.

    Attributes:
        source: File to read, or `STREAM`.
        target: File to write, or `STREAM`.
        compare: File for the side-by-side picture, `None` if there is to be none.
        kernel: File for the picture of the kernel that was found, `None` if there is to be none.
        format: Format of the result where the target has no suffix, being `STREAM`; `None`: that of
            the source.
    """

    source: Path
    target: Path
    compare: Path | None = None
    format: str | None = None
    kernel: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """All files that the job writes."""
        found = [self.target, self.compare, self.kernel]
        return [path for path in found if path is not None and path != STREAM]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done, and what of the inputs is passed by.

    Attributes:
        jobs: Each input once, in the order of the inputs and sorted inside a folder.
        others: Files in the folders and under the patterns that are no pictures by their suffix.
        hidden: Hidden files with the suffix of a picture, such as `._photo.jpg`.
        closed: Folders that may not be read.
    """

    jobs: list[FileJob]
    others: list[Path] = dataclasses.field(default_factory=list)
    hidden: list[Path] = dataclasses.field(default_factory=list)
    closed: list[Path] = dataclasses.field(default_factory=list)


def plan(
    inputs: Iterable[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
    format: str | None = None,
    recursive: bool = False,
    compare: bool = False,
    kernel: bool = False,
) -> Plan:
    """Decide which files are restored, and to where.

    Args:
        inputs: Files, folders and patterns with `*`, `?`, `[...]` and `**`, where brackets in the
            name of a folder or file that exists are part of its name; or `-` alone, for standard
            input.
        out: Folder of the results: `<stem>.<suffix>`, sub-folders of an input folder mirrored.
            `None` puts `<stem>_restored.<suffix>` beside each input. `-`: the result of the only
            input goes to standard output, as that of standard input does.
        format: Format of the results, a name of `images.FORMATS`; `None` keeps the suffix of each
            input where it can be written, and takes PNG, which holds everything, where not.
        recursive: Whether folders are searched to any depth.
        compare: Whether each file also gets a side-by-side picture.
        kernel: Whether each file also gets a picture of the kernel that was found.

    Returns:
        The plan, with at least one job.

    Raises:
        FileNotFoundError: An input names nothing.
        OSError: A folder cannot be read.
        ValueError: No input holds a picture, the format cannot be written, or what is asked for
            cannot be done with standard input or output.
    """
    inputs = [os.fspath(name) for name in inputs]
    if "-" in (out, *inputs):
        return Plan([_stream_job(inputs, out, format, beside=compare or kernel)])
    out = Path(out) if out is not None else None
    jobs, found = {}, Plan([])
    for name in inputs:
        for source, relative in _sources(name, out, found, recursive=recursive):
            key = source.resolve()
            if key not in jobs:
                jobs[key] = _job(source, relative, out, format, compare=compare, kernel=kernel)
    if not jobs:
        raise ValueError(
            "The inputs must hold at least one picture "
            f"({', '.join(sorted(images.SUFFIXES))}). Received: {', '.join(inputs)}. "
            "Name files, or search sub-folders with --recursive."
        )
    return dataclasses.replace(found, jobs=list(jobs.values()))


def refuse_clashes(
    jobs: Sequence[FileJob],
    *,
    report: Path | None = None,
    overwrite: bool = False,
    skip_done: bool = False,
) -> None:
    """Check that no result would destroy an input, another result, or an existing file unasked.

    Args:
        jobs: What is to be done.
        report: File that the report will be written to.
        overwrite: Whether results and the report may replace files.
        skip_done: Whether jobs whose target exists are left out; a side-by-side picture without its
            result may then be replaced, and an existing report is continued.

    Raises:
        FileExistsError: A result exists that must not be replaced.
        ValueError: Two results have one name, or a result has the name of an input.
        NotADirectoryError: A file stands where a folder of results is needed.
        IsADirectoryError: A folder stands where a result is to be written.
    """
    sources = {_key(job.source): job.source for job in jobs if job.source != STREAM}
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
        _refuse_existing(path, may_exist=overwrite or skip_done)


def remove_leftovers(jobs: Sequence[FileJob]) -> list[Path]:
    """Delete what killed runs left unfinished of the results.

    Returns:
        The files that were deleted, sorted.
    """
    return files.remove_abandoned(path for job in jobs for path in job.outputs)


def _refuse_existing(path: Path, *, may_exist: bool) -> None:
    if path.is_dir():
        raise IsADirectoryError(
            f"A folder is never replaced. Received: '{path}', which is one. Choose another --out."
        )
    if path.exists() and not may_exist:
        raise FileExistsError(
            f"A file is never replaced unasked. Received: '{path}', which exists. Choose another "
            "--out, add --overwrite, or go on where an earlier run stopped with --skip-done."
        )
    for parent in path.parents:
        if parent.exists():
            if not parent.is_dir():
                raise NotADirectoryError(
                    f"Results need a folder. Received: '{parent}', which is a file. "
                    "Choose another --out."
                )
            break


def _stream_job(
    inputs: list[str], out: str | os.PathLike | None, format: str | None, *, beside: bool
) -> FileJob:
    """The job of `-`, which stands alone."""
    if len(inputs) != 1:
        raise ValueError(
            "Standard input, or output, is that of one picture. Received: "
            f"{len(inputs)} inputs. Name one, or give --out a folder."
        )
    if beside:
        raise ValueError(
            "Standard output takes one picture. Received: --compare or --write-kernel, which write "
            "another. Give --out a folder, or leave them out."
        )
    name = inputs[0]
    if name == "-" and out not in (None, "-"):
        raise ValueError(
            "What comes from standard input goes to standard output. Received: "
            f"--out '{out}'. Leave it out, and send the output to a file with >."
        )
    if name == "-":
        return FileJob(STREAM, STREAM, format=format)
    source = _apart_from_stream(Path(name))
    if not source.is_file():
        raise FileNotFoundError(
            "The input must be a file where the result goes to standard output. Received: "
            f"'{name}', which is none. Check the path."
        )
    if format is None:
        format = images.FORMAT_OF_SUFFIX[_writable_suffix(source.suffix).lower()]
    return FileJob(source, STREAM, format=format)


def _job(
    source: Path,
    relative: Path,
    out: Path | None,
    format: str | None,
    *,
    compare: bool,
    kernel: bool,
) -> FileJob:
    suffix = images.FORMATS[format] if format else _writable_suffix(source.suffix)
    if out is not None:
        target = out / relative.with_suffix(suffix)
    else:
        target = source.with_name(f"{source.stem}{RESTORED_SUFFIX}{suffix}")
    stem = source.stem if out is not None else target.stem
    return FileJob(
        source,
        target,
        target.with_name(f"{stem}{COMPARE_SUFFIX}{suffix}") if compare else None,
        kernel=target.with_name(f"{stem}{KERNEL_SUFFIX}.png") if kernel else None,
    )


def _sources(
    name: str, out: Path | None, found: Plan, *, recursive: bool
) -> Iterator[tuple[Path, Path]]:
    """Yield the files that an input names, each with its path below the input's root.

    What is passed by is noted in `found`.
    """
    path = Path(name)
    if path.is_dir():
        yield from _pictures(path, out, found, recursive=recursive)
    elif path.exists():
        _refuse_video(path, out)
        yield _apart_from_stream(path), Path(path.name)
    elif _is_pattern(name):
        root = _pattern_root(path)
        pattern = path.relative_to(root)
        matches = sorted(match for match in root.glob(str(pattern)) if match.is_file())
        if not matches:
            raise FileNotFoundError(
                f"The pattern must match a file. Received: '{name}'. Check the folder; quote the "
                "pattern if your shell changes it."
            )
        names_hidden = any(part.startswith(".") for part in pattern.parts)
        for match in matches:
            relative = match.relative_to(root)
            if not catalogue.is_picture(match):
                found.others.append(match)
            elif catalogue.is_hidden(relative) and not names_hidden:
                found.hidden.append(match)
            else:
                yield match, relative
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


def _pictures(
    folder: Path, out: Path | None, found: Plan, *, recursive: bool
) -> Iterator[tuple[Path, Path]]:
    listing = catalogue.list_folder(folder, recursive=recursive)
    found.others.extend(listing.others)
    found.hidden.extend(listing.hidden)
    found.closed.extend(listing.closed)
    stems = {path.with_suffix("") for path in listing.pictures}
    for path in listing.pictures:
        # What an earlier run left in the folder is not restored once more.
        if out is None and _is_result(path, stems):
            logger.info("passing by %s, the result of an earlier run", path)
        elif out is None or folder.resolve() == out.resolve() or not _inside(path, out):
            yield path, path.relative_to(folder)


def _is_result(path: Path, stems: set[Path]) -> bool:
    stem = path.stem.removesuffix(COMPARE_SUFFIX).removesuffix(KERNEL_SUFFIX)
    if not stem.endswith(RESTORED_SUFFIX):
        return False
    return path.with_name(stem.removesuffix(RESTORED_SUFFIX)) in stems


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def _pattern_root(pattern: Path) -> Path:
    """The folder above the first part of a pattern that is one, and no name of a folder."""
    root = Path()
    for part in pattern.parts:
        if _is_pattern(part) and not (root / part).is_dir():
            break
        root /= part
    return root


def _apart_from_stream(path: Path) -> Path:
    """The path of a file that may have the name that stands for standard input."""
    return path.absolute() if path == STREAM else path


def _key(path: Path) -> str:
    return os.path.normcase(path.resolve())


def _writable_suffix(suffix: str) -> str:
    lower = suffix.lower()
    if lower in images.SUFFIXES and lower not in images.READ_ONLY:
        return suffix
    return _KEPT_AS.get(lower, ".png")
