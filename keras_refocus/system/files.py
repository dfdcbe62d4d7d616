"""Files and folders that are written whole or not at all, and the SHA-256 of what is in a file.

A file gets a temporary name beside its own, and its own name when it is complete, so that nobody
ever reads half of one and an error leaves the old one as it was. What a process that was killed
leaves behind is called `.<name>.<16 hexadecimal digits>.tmp`, perhaps with the suffix of the file
after it: `is_left_over` knows them.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

logger = logging.getLogger(__name__)

_LEFT_OVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp(\.[A-Za-z0-9]+)*")
_LONGEST = 200  # bytes of a name that its temporary one repeats; file systems allow 255 in all
# Before a file is locked and after it is closed it is nobody's, for moments; in seconds.
_JUST_WRITTEN = 5.0


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike, *, overwrite: bool = True, keep_suffix: bool = False
) -> Iterator[Path]:
    """Give a temporary path to write to; the file takes its own name when the block ends.

    Args:
        path: The file. Its folder must exist.
        overwrite: Whether a file of that name may be replaced.
        keep_suffix: Whether the temporary name ends as `path` does, for writers that choose the
            format by it.

    Yields:
        Path in the same folder, where there is no file yet.

    Raises:
        FileExistsError: There is a file of that name, and `overwrite` is off.
        OSError: It cannot be written. Nothing is left behind; the error names `path`.
    """
    path = Path(path)
    if not overwrite and path.exists():
        raise exists_error(path)
    temporary = _temporary(path, keep_suffix=keep_suffix)
    try:
        yield temporary
        # A rename may reach the disk before the content does.
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        _publish(temporary, path, overwrite=overwrite)
    except OSError as error:
        # A full disk does not say for which file it was full; and the temporary name is ours.
        if error.filename in (None, str(temporary)) and error.errno is not None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes its own name when the block ends.

    Args:
        path: The folder, which must not be there. Its parents are made.

    Yields:
        Path of an empty folder beside it. An error removes it with all that is in it.

    Raises:
        FileExistsError: There is something of that name.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(
            f"A folder must be a new one. Received: '{path}', which exists. Choose another place, "
            "or delete it."
        )
    temporary = _temporary(path, keep_suffix=False)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: str | os.PathLike, content: bytes, *, overwrite: bool = True) -> None:
    """Write a file whole; see `replacing` for errors."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str, *, overwrite: bool = True) -> None:
    """Write a text whole, in UTF-8 and with its line ends as they are; see `replacing`."""
    write_bytes(path, text.encode("utf-8"), overwrite=overwrite)


def write_json(path: str | os.PathLike, values: Any, *, overwrite: bool = True) -> None:
    """Write values as JSON that people can read; see `replacing`."""
    write_text(path, json.dumps(values, indent=2) + "\n", overwrite=overwrite)


def is_left_over(path: str | os.PathLike) -> bool:
    """Whether a name is that of a file which was never completed."""
    return _LEFT_OVER.fullmatch(Path(path).name) is not None


def remove_left_overs(folder: str | os.PathLike) -> None:
    """Delete what was never completed in a folder that nobody else writes to."""
    for path in Path(folder).iterdir():
        if is_left_over(path) and path.is_file():
            path.unlink(missing_ok=True)


def lock(file: BinaryIO) -> bool:
    """Keep a file from other programs until it is closed, or the program ends, however it ends.

    Returns:
        Whether no other program has it. Where a file system has no locks, the answer is yes.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is open cannot be deleted.
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        logger.debug("%s cannot be locked", file.name, exc_info=True)
    return True


def remove_abandoned(paths: Iterable[Path]) -> list[Path]:
    """Delete what killed programs left of some files; what a program holds by `lock` stays.

    Args:
        paths: The files that were to be written.

    Returns:
        The temporary files that were deleted, sorted.
    """
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(_shortened(path.name))
    removed = []
    for folder, wanted in names.items():
        try:
            entries = list(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            found = _LEFT_OVER.fullmatch(entry.name)
            if found and found["name"] in wanted and _is_abandoned(entry):
                with contextlib.suppress(OSError):
                    entry.unlink()
                    removed.append(entry)
    return sorted(removed)


def _is_abandoned(path: Path) -> bool:
    try:
        if not path.is_file() or time.time() - path.stat().st_mtime < _JUST_WRITTEN:
            return False
        with path.open("r+b") as file:
            return lock(file)
    except OSError:
        return False


def exists_error(path: Path) -> FileExistsError:
    """The error for a file that must not be replaced."""
    return FileExistsError(
        "A file must not be replaced unasked. Received: "
        f"path={str(path)!r}, which exists. Choose another name, or switch `overwrite` on."
    )


def sha256(source: bytes | str | os.PathLike) -> str:
    """SHA-256 in hexadecimal, of bytes or of what is in a file.

    Args:
        source: The bytes, or the path of a file, which is not read into memory at once.

    Raises:
        OSError: The file cannot be read.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary(path: Path, *, keep_suffix: bool) -> Path:
    name = _shortened(path.name)
    suffix = "".join(path.suffixes) if keep_suffix else ""
    return path.with_name(f".{name}.{secrets.token_hex(8)}.tmp{suffix}")


def _shortened(name: str) -> str:
    # By whole characters: not every file system takes a part of one.
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return name


def _publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a complete file its name, in one step."""
    if overwrite:
        temporary.replace(path)
        return
    try:
        # Fails if there is such a file by now, where replacing would not.
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise exists_error(path) from error
    except (OSError, NotImplementedError) as error:
        # A file system without hard links.
        if path.exists():
            raise exists_error(path) from error
        temporary.replace(path)
