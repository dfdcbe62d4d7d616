"""Files of a manual folder, loose or inside zips, and the layouts found among them.

A zip is read where it lies: its pictures come out one at a time when they are needed, and nothing
is extracted. In paths it counts as a folder with its name less `.zip`.
"""

import collections
import dataclasses
import functools
import posixpath
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable

import tensorflow as tf
from etils import epath

from keras_refocus.pictures import catalogue, images

PICTURE_SUFFIXES = tuple(sorted(images.SUFFIXES))
_SUFFIXES = (*PICTURE_SUFFIXES, ".txt")

# What a file without a partner lacks.
NO_SHARP, NO_BLURRED = "no sharp picture", "no blurred picture"

# Manual folders hold data sets a few folders deep. What lies deeper is none of ours.
_MAX_DEPTH = 8


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """One file, loose or in a zip. Small, and can be sent to another process.

    Attributes:
        path: Path of the file, or of the zip that it is in.
        inner: Name inside the zip; empty for a loose file.
    """

    path: str
    inner: str = ""

    @property
    def name(self) -> str:
        """Name without folders."""
        return posixpath.basename(self.inner or self.path.replace("\\", "/"))

    def read(self) -> bytes:
        """Read the content.

        Raises:
            OSError: If it is not there any more, or damaged inside its zip.
        """
        if not self.inner:
            return epath.Path(self.path).read_bytes()
        try:
            return _open_zip(self.path).read(self.inner)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
            raise OSError(f"{self.inner} cannot be read from {self.path}: {error}") from error


_zip_lock = threading.Lock()


def _open_zip(path):
    # Many threads read one archive (ZipFile takes turns on the file itself). It is opened once for
    # all of them: the directory of a large one is tens of megabytes.
    with _zip_lock:
        return _opened_zip(path)


@functools.lru_cache(maxsize=8)
def _opened_zip(path):
    return zipfile.ZipFile(epath.Path(path).open("rb"))


def archive_files(path: str) -> dict[str, File]:
    """Pictures and lists inside a zip, by their names in it.

    Raises:
        OSError: If it is not a whole zip archive.
    """
    try:
        names = _open_zip(path).namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise OSError(f"{path} must be a whole zip archive ({error}): download it again") from error
    return {
        name: File(path, name)
        for name in names
        if name.lower().endswith(_SUFFIXES) and not catalogue.is_hidden(name)
    }


class Listing:
    """The pictures and lists below a folder.

    Attributes:
        root: The folder.
        folders: `{folder: {file name: File}}`; folders relative to the root with forward slashes,
            "" for the root itself.
        notices: Sentences about archives that could not be opened.
    """

    def __init__(self, root: epath.PathLike):
        self.root = str(root)
        self.folders: dict[str, dict[str, File]] = collections.defaultdict(dict)
        self.notices: list[str] = []
        archives = []
        for folder, file in _walk(self.root):
            lower = file.lower()
            path = str(epath.Path(self.root) / folder / file)
            if lower.endswith(".zip"):
                archives.append((posixpath.join(folder, file), path))
            elif lower.endswith((".tar", ".tar.gz", ".tgz")):
                self.notices.append(f"{posixpath.join(folder, file)} must be unpacked first")
            elif lower.endswith(_SUFFIXES):
                self.folders[folder][file] = File(path)
        for relative, path in archives:
            self._add_archive(relative.removesuffix(relative[-4:]), path)

    def _add_archive(self, prefix, path):
        try:
            files = archive_files(path)
        except OSError as error:
            self.notices.append(str(error))
            return
        for inner, file in files.items():
            folder, name = posixpath.split(posixpath.join(prefix, inner))
            # A loose copy of the same file is quicker to read.
            self.folders[folder].setdefault(name, file)

    def subfolders(self, folder: str) -> list[str]:
        """Names of the folders directly inside a folder, sorted."""
        return sorted(self._children.get(folder, ()))

    @functools.cached_property
    def _children(self):
        children = collections.defaultdict(set)
        for folder in self.folders:
            while folder:
                parent, name = posixpath.split(folder)
                children[parent].add(name)
                folder = parent
        return children

    def all_folders(self) -> list[str]:
        """Every folder that holds something, directly or deeper; shallow ones first."""
        found = {""} | {
            posixpath.join(parent, name)
            for parent, names in self._children.items()
            for name in names
        }
        return sorted(found, key=lambda folder: (folder.count("/") + bool(folder), folder))

    def files(self, folder: str) -> dict[str, File]:
        """Files directly inside a folder, by name; empty if there is none."""
        return dict(self.folders.get(folder, {}))

    def pictures(self, folder: str, *, deep: bool = False) -> dict[str, File]:
        """Pictures inside a folder, by path relative to it.

        Args:
            folder: The folder.
            deep: Whether to go into its subfolders.
        """
        found = {
            name: file
            for name, file in self.folders.get(folder, {}).items()
            if name.lower().endswith(PICTURE_SUFFIXES)
        }
        if deep:
            for name in self.subfolders(folder):
                inside = self.pictures(posixpath.join(folder, name), deep=True)
                found |= {posixpath.join(name, path): file for path, file in inside.items()}
        return found

    def find(self, required: Iterable[str], *, name: str, hints: tuple[str, ...]) -> str | None:
        """Find the folder below which a layout lies.

        A manual folder may hold several data sets of one layout, and a zip beside what was unpacked
        from it: a path that names this one wins, then loose files do.

        Args:
            required: Folders, relative to the one looked for, that must all hold a picture.
            name: Name of the data set.
            hints: Words, in lower case, that the path of this data set contains.

        Returns:
            The folder, relative to the root; `None` if there is none.

        Raises:
            ValueError: If it stays open which of several is meant.
        """
        required = tuple(required)
        found = {}
        for root in self.all_folders():
            insides = [self.pictures(posixpath.join(root, path), deep=True) for path in required]
            if all(insides):
                found[root] = not next(iter(insides[0].values())).inner
        named = [root for root in found if any(hint in root.lower() for hint in hints)]
        candidates = named or list(found)
        candidates = [root for root in candidates if found[root]] or candidates
        if len(candidates) > 1:
            raise ValueError(
                f"{name} must lie in the manual folder once. Received: {self.root}, where "
                f"{', '.join(repr(root or '.') for root in candidates)} all look like it. Move "
                "the others away, or name the right one with --manual_dir."
            )
        return candidates[0] if candidates else None

    def find_folder(
        self, name: str, *, title: str, holds: Callable[[str], object] | None = None
    ) -> str | None:
        """Find the folder of a name that holds pictures.

        Args:
            name: Last part of its path.
            title: What to call it in an error.
            holds: Whether a folder is what is looked for; default: it has pictures directly inside.

        Returns:
            The folder, relative to the root; `None` if there is none.

        Raises:
            ValueError: If it stays open which of several is meant.
        """
        holds = holds or self.pictures
        found = [
            folder
            for folder in self.all_folders()
            if posixpath.basename(folder) == name and holds(folder)
        ]
        loose = [
            folder
            for folder in found
            if not next(iter(self.pictures(folder, deep=True).values())).inner
        ]
        found = loose or found
        if len(found) > 1:
            raise ValueError(
                f"{title} must lie in the manual folder once. Received: {self.root}, where "
                f"{', '.join(map(repr, found))} all look like it. Move the others away."
            )
        return found[0] if found else None

    def describe(self, *, most: int = 15) -> str:
        """What lies here, a line for each folder that has files."""
        lines = []
        for folder in self.all_folders():
            files = self.folders.get(folder)
            if files:
                first = min(files)
                more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
                lines.append(f"  {folder or '.'}/: {first}{more}")
        if len(lines) > most:
            lines[most:] = [f"  ... and {len(lines) - most} more folders"]
        lines += [f"  {notice}" for notice in self.notices]
        return "\n".join(lines) or "  nothing that is a picture, a list or a zip"


def _walk(root):
    """Folder and name of every file below a folder, folders relative to it."""
    for path, folders, files in tf.io.gfile.walk(root):
        folder = path[len(root) :].replace("\\", "/").strip("/")
        # gfile goes on into the folders that are left in the list.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if folder.count("/") >= _MAX_DEPTH:
            folders.clear()
        for file in sorted(files):
            if not file.startswith("."):
                yield folder, file


def manual_folder(dl_manager) -> str:
    """The manual folder.

    Args:
        dl_manager: `tfds.download.DownloadManager`.

    Raises:
        FileNotFoundError: If it does not exist or is empty. The message shows what is needed and
            where to get it.
    """
    try:
        return str(dl_manager.manual_dir)
    except AssertionError as error:
        raise FileNotFoundError(
            f"{error}\nReceived: nothing in that folder. Name another one with --manual_dir."
        ) from None


def layout_error(name: str, listing: Listing, instructions: str) -> FileNotFoundError:
    """The error for a folder in which a data set was not found.

    Args:
        name: Name of the data set.
        listing: What was found.
        instructions: The layouts that are read, and where to get the data.
    """
    return FileNotFoundError(
        f"The manual folder must hold {name} in a layout that is read.\n"
        f"Received: {listing.root}, which holds\n{listing.describe()}\n{instructions.strip()}"
    )


def match_pairs(
    blurred: dict[str, File], sharp: dict[str, File]
) -> tuple[list[tuple[str, File, File]], list[tuple[str, str]]]:
    """Match two sides of a data set by relative path; the suffixes may differ.

    Returns:
        `(pairs, alone)`: `(relative path of the blurred side, blurred, sharp)` of each pair,
        sorted; and `(path, which side is missing)` of each file without a partner, sorted.
    """
    matched, no_sharp, no_blurred = catalogue.match_names(blurred, sharp)
    alone = [(path, NO_SHARP) for path in no_sharp] + [(path, NO_BLURRED) for path in no_blurred]
    return [(one, blurred[one], sharp[other]) for one, other in matched], sorted(alone)
