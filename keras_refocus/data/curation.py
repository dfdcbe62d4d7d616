"""Check a folder of training pictures, vouch for it with sums, and write a cleaned copy.

A folder holds photos, or pairs, or both: pairs lie in two folders side by side, `blur` (or
`blurred`, `input`) and `sharp` (or `target`, `gt`), under equal names. Folders named train,
validation and test (or val, testing and the like) are parts that must not share pictures.

The rules are those of the data set builders: see `integrity`.
"""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Callable, Iterable

from keras_refocus.data import integrity
from keras_refocus.pictures import catalogue, cleaning, images, staging
from keras_refocus.pictures.cleaning import AS_IT_IS, Copying, clean
from keras_refocus.system import files

logger = logging.getLogger(__name__)

#: Name of the manifest in a folder, unless another is given: what `sha256sum -c` reads.
MANIFEST = "manifest.sha256"
#: Name of the report in a folder, unless another is given.
REPORT = "curation.json"

# Parts of the data by the folder names that stand for them, the best guarded first.
_PARTS = ("test", "validation", "train")
_PART_OF = {
    name: {"val": "validation"}.get(split, split) for name, split in catalogue.SPLIT_OF.items()
}
_WHOLE = "the folder"

_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What counts as bad beyond damage and byte-identical copies.

    Attributes:
        min_size: Least short side in pixels.
        drop_gray: Whether pictures without colour are bad, as for training colour.
        drop_near_duplicates: Whether near-duplicates inside one part are bad but for the first.
            Frames of a video are near-duplicates of each other. Across parts they are always bad.
    """

    min_size: int = 1
    drop_gray: bool = False
    drop_near_duplicates: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a folder holds.

    Attributes:
        folder: The folder.
        good: Names of the units without fault, sorted. A unit is a photo, or a pair under the name
            of its blurred file. Names are relative, with forward slashes.
        bad: Units with a fault, by reason.
        noted: Units without, of which something is worth knowing.
        files: `{unit: names of its files}` of all units that can be read.
        sums: `{file: SHA-256}` of all files that could be opened.
        photos: Number of photos found.
        pairs: Number of pairs found.
    """

    folder: pathlib.Path
    good: list[str]
    bad: integrity.Findings
    noted: integrity.Findings
    files: dict[str, tuple[str, ...]]
    sums: dict[str, str]
    photos: int
    pairs: int

    def to_json(self) -> dict:
        """Ready for `json.dumps`."""
        return {
            "folder": str(self.folder),
            "photos": self.photos,
            "pairs": self.pairs,
            "good": len(self.good),
            "bad": self.bad.to_json(),
            "noted": self.noted.to_json(),
        }

    def kept_files(self, *, leave_out_bad: bool) -> list[str]:
        """Files of the good units, or of all that can be read; sorted."""
        units = self.good if leave_out_bad else self.files
        return sorted(name for unit in units for name in self.files[unit])


def inspect(
    folder: str | os.PathLike,
    rules: Rules = Rules(),
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Read every picture of a folder through and judge it.

    Args:
        folder: Folder, searched with its sub-folders.
        rules: What counts as bad.
        threads: Number of threads; default: one for each core.
        progress: Called with the number of units done and of all units.

    Returns:
        `Inspection`.

    Raises:
        FileNotFoundError: If the folder does not exist or holds no picture.
    """
    folder = pathlib.Path(folder)
    photos, pairs, alone = _units(folder)
    bad, noted = integrity.Findings(), integrity.Findings()
    for name, detail in alone:
        bad.add(integrity.MISSING_PARTNER, name, detail)

    names = [*((name,) for name in photos), *pairs]
    judged = integrity.map_in_threads(_Inspect(folder), names, threads=threads)
    sums, subjects, readable = {}, [], {}
    for done, (unit, (inspections, problem)) in enumerate(zip(names, judged, strict=True), 1):
        if progress is not None:
            progress(done, len(names))
        sums |= {
            name: inspection.sha256
            for name, inspection in zip(unit, inspections, strict=True)
            if inspection.sha256
        }
        fault, detail = _fault(inspections, problem, rules)
        if fault is not None:
            bad.add(fault, unit[0], detail)
        if fault != integrity.UNREADABLE:
            readable[unit[0]] = unit
        if fault is None:
            if any(inspection.gray for inspection in inspections):
                noted.add(integrity.GRAY, unit[0])
            subjects.append(
                integrity.Subject(
                    name=unit[0],
                    split=_part(unit[0]),
                    content="".join(inspection.sha256 for inspection in inspections),
                    inspection=inspections[-1],
                )
            )
    gone = integrity.find_copies(subjects, left_out=bad, kept=noted, splits=(*_PARTS, _WHOLE))
    left = {subject.name for index, subject in enumerate(subjects) if index not in gone}
    if rules.drop_near_duplicates:
        noted, near = noted.without(integrity.NEAR_DUPLICATE)
        for name, detail in near:
            bad.add(integrity.NEAR_DUPLICATE, name, detail)
            left.discard(name)
    return Inspection(
        folder=folder,
        good=sorted(left),
        bad=bad,
        noted=noted,
        files=readable,
        sums=sums,
        photos=len(photos),
        pairs=len(pairs),
    )


def pictures(folder: str | os.PathLike) -> list[str]:
    """Relative names, with forward slashes, of the files that may be pictures; sorted.

    Hidden files and folders do not count.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    folder = pathlib.Path(folder)
    return [path.relative_to(folder).as_posix() for path in catalogue.pictures_below(folder)]


def _units(folder):
    """Photos, pairs as `(blurred, sharp)`, and files without a partner."""
    photos = {path.relative_to(folder).as_posix() for path in catalogue.list_photos(folder)}
    pairs, alone = [], []
    for part in catalogue.find_pairs(folder):
        # The sharp sides of a half that was named lie outside: then its pictures are photos here.
        inside = [
            tuple(path.relative_to(folder).as_posix() for path in pair)
            for pair in part.pairs
            if pair[1].is_relative_to(folder)
        ]
        pairs += inside
        photos -= {name for pair in inside for name in pair}
        lone = [(path, f"no {side} picture") for path, side in part.alone]
        lone += [(path, "no blurred picture") for path in part.left_over]
        alone += [(path.relative_to(folder).as_posix(), detail) for path, detail in lone]
    photos -= {name for name, _ in alone}
    return sorted(photos), sorted(pairs), sorted(alone)


def _part(name):
    words = (word.lower() for word in name.split("/")[:-1])
    return next((_PART_OF[word] for word in words if word in _PART_OF), _WHOLE)


@dataclasses.dataclass(frozen=True)
class _Inspect:
    """Reads and inspects one unit."""

    folder: pathlib.Path

    def __call__(self, unit):
        try:
            contents = [staging.read_bytes(self.folder / name) for name in unit]
        except OSError as error:
            lost = integrity.Inspection(sha256="", bytes=0, problem=str(error))
            return (lost,) * len(unit), integrity.UNREADABLE
        if len(unit) == 1:
            inspection = integrity.inspect(contents[0], ask_gray=True)
            return (inspection,), integrity.UNREADABLE if inspection.problem else None
        blurred, sharp, problem = integrity.inspect_pair(*contents)
        return (blurred, sharp), problem


def _fault(inspections, problem, rules):
    """Reason and detail of what is wrong with a unit by itself, or `(None, "")`."""
    sizes = " and ".join(f"{each.width}x{each.height}" for each in inspections)
    if problem == integrity.UNREADABLE:
        return problem, next(each.problem for each in inspections if each.problem)
    if problem is not None:
        return problem, sizes
    small = cleaning.fault_of_size(
        [(each.height, each.width) for each in inspections], rules.min_size
    )
    if small is not None:
        return small
    if rules.drop_gray and inspections[0].gray:
        return integrity.GRAY, ""
    return None, ""


# Manifest


def write_sums(path: str | os.PathLike, sums: dict[str, str]) -> None:
    """Write sums in the format of `sha256sum`, sorted by name.

    Args:
        path: File to write, atomically.
        sums: `{relative name: SHA-256}`.
    """
    files.write_text(path, sums_text(sums))


def sums_text(sums: dict[str, str]) -> str:
    """Content of a manifest, as `write_sums` writes it."""
    lines = []
    for name, value in sorted(sums.items()):
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{'' if escaped == name else chr(92)}{value}  {escaped}\n")
    return "".join(lines)


def read_sums(path: str | os.PathLike) -> dict[str, str]:
    """Read a manifest.

    Returns:
        `{relative name: SHA-256}`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a line is not of the format, or names a file outside the folder.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"The manifest must exist. Received: {path}. Write one with `refocus curate FOLDER`."
        )
    sums = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        is_escaped = line.startswith("\\")
        value, separator, name = line.removeprefix("\\").partition("  ")
        if is_escaped:
            name = _unescaped(name)
        is_sum = len(value) == 64 and set(value) <= set("0123456789abcdef")
        pure = pathlib.PurePosixPath(name)
        if not is_sum or not separator or not name or pure.is_absolute() or ".." in pure.parts:
            raise ValueError(
                "Every line of a manifest must be a SHA-256 sum, two spaces and a relative path. "
                f"Received: {path}, line {number}: {line[:100]!r}."
            )
        sums[name] = value
    return sums


def _unescaped(name):
    result, rest = [], iter(name)
    for character in rest:
        if character == "\\":
            following = next(rest, "")
            character = {"n": "\n", "r": "\r"}.get(following, following)
        result.append(character)
    return "".join(result)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """How a folder differs from its manifest.

    Attributes:
        unchanged: Number of files that are as they were.
        changed: Files with another content.
        missing: Files that are gone.
        new: Pictures that the manifest does not name.
    """

    unchanged: int
    changed: list[str]
    missing: list[str]
    new: list[str]

    @property
    def holds(self) -> bool:
        """Whether everything that the manifest names is there and unchanged."""
        return not self.changed and not self.missing


def verify(
    folder: str | os.PathLike,
    sums: dict[str, str],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Compare a folder with its manifest.

    Args:
        folder: The folder.
        sums: From `read_sums`.
        threads: Number of threads; default: one for each core.
        progress: Called with the number of files done and of all files.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    folder = pathlib.Path(folder)
    there = set(pictures(folder))
    names = sorted(sums)
    changed, missing = [], []
    found = integrity.map_in_threads(lambda name: _sum_of(folder / name), names, threads=threads)
    for done, (name, value) in enumerate(zip(names, found, strict=True), start=1):
        if progress is not None:
            progress(done, len(names))
        if value is None:
            missing.append(name)
        elif value != sums[name]:
            changed.append(name)
    return Verification(
        unchanged=len(names) - len(changed) - len(missing),
        changed=changed,
        missing=missing,
        new=sorted(there - sums.keys()),
    )


def _sum_of(path):
    try:
        return staging.sha256(path)
    except FileNotFoundError:
        return None


# Cleaned copy


def targets(names: Iterable[str], copying: Copying) -> dict[str, str]:
    """Names of the cleaned files.

    Args:
        names: Relative names of the files to copy.
        copying: How the copy looks.

    Returns:
        `{name: name in the copy}`.

    Raises:
        ValueError: If two files would get one name.
    """
    suffix = images.FORMATS[copying.format]
    result, taken = {}, {}
    for name in names:
        target = str(pathlib.PurePosixPath(name).with_suffix(suffix))
        # Some file systems do not tell upper case from lower.
        first = taken.setdefault(target.lower(), name)
        if first != name:
            raise ValueError(
                "Files of a folder must differ in more than their suffix to be written in one "
                f"format. Received: {first} and {name}, both to become {target}. Rename one."
            )
        result[name] = target
    return result


def copy_clean(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    names: Iterable[str],
    copying: Copying = AS_IT_IS,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    written: Callable[[pathlib.Path, str], None] = lambda path, name: None,
) -> dict[str, str]:
    """Write pictures upright, in sRGB, in one format and depth, without metadata or alpha.

    Args:
        folder: Where they are.
        out: Where the copy goes; the same sub-folders are made in it.
        names: Relative names of the pictures.
        copying: How the copy looks.
        threads: Number of threads; default: one for each core.
        progress: Called with the number of pictures done and of all pictures.
        written: Called with each file that was written, and its name in the copy.

    Returns:
        `{name in the copy: SHA-256}`.

    Raises:
        FileExistsError: If a file of the copy exists.
        ValueError: If two files would get one name, or one cannot be read.
    """
    folder, out = pathlib.Path(folder), pathlib.Path(out)
    plan = targets(names, copying)
    for place in {pathlib.PurePosixPath(target).parent for target in plan.values()}:
        (out / place).mkdir(parents=True, exist_ok=True)

    def copy(entry):
        name, target = entry
        photo = images.read(folder / name)
        cleaned = images.Photo(rgb=clean(photo, copying))
        images.write(out / target, cleaned, format=copying.format, quality=copying.quality)
        found = _sum_of(out / target)
        written(out / target, target)
        return target, found

    sums = {}
    copied = integrity.map_in_threads(copy, plan.items(), threads=threads)
    for done, (target, value) in enumerate(copied, start=1):
        sums[target] = value
        if progress is not None:
            progress(done, len(plan))
    return sums
