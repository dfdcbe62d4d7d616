"""The pictures and the pairs below a folder, in the layouts in which public sets are unpacked.

What belongs to the test half of a published set is never handed out as training pairs.
"""

import dataclasses
import logging
import os
import pathlib
import re
from collections.abc import Iterable

from keras_refocus.pictures import images

_log = logging.getLogger(__name__)

# Names under which public deblurring sets keep the two sides of a pair, in lower case.
BLURRED_FOLDERS = ("blur", "blurred", "input")
SHARP_FOLDERS = ("sharp", "target", "gt")
# HIDE keeps the sharp sides of both halves in one folder.
_SHARED_SHARP = "gt"

# Halves of a set by the folder names that stand for them, in lower case.
SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# What each purpose takes, the first that is there.
_TAKEN = {"train": ("train",), "test": ("test", "val")}

# Frames of one video by their names: `1fromGOPR1087.MP4` of HIDE, `GOPR0372_07_00-000047` of GoPro
# as it is passed on. Two clips of a video look alike, too.
_VIDEO_IN_NAME = re.compile(r"(?:\d+from)?(GOPR\d+)", re.IGNORECASE)

# RealBlur names its halves in lists of `<sharp path> <blurred path>`.
_REALBLUR_LIST = re.compile(r"RealBlur_[JR]_(train|test)_list\.txt", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Part:
    """Pairs of one place.

    Attributes:
        split: The half of a set that they belong to, "train", "val" or "test", or `None`.
        pairs: List of `(blurred path, sharp path)`.
        alone: Pictures without a partner, and the side that is missing, "blurred" or "sharp".
        left_over: Pictures of a folder of sharp sides that several halves share, which no half
            that is there uses.
    """

    split: str | None
    pairs: list[tuple[pathlib.Path, pathlib.Path]]
    alone: list[tuple[pathlib.Path, str]] = dataclasses.field(default_factory=list)
    left_over: list[pathlib.Path] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder, each list sorted.

    Attributes:
        pictures: What may be a picture, by its suffix.
        others: What has another suffix, or none; hidden files left out.
        hidden: Hidden files with the suffix of a picture, such as the `._photo.jpg` that some
            systems put beside `photo.jpg`.
        closed: Folders that may not be read.
    """

    pictures: list[pathlib.Path]
    others: list[pathlib.Path]
    hidden: list[pathlib.Path]
    closed: list[pathlib.Path]


def list_photos(folder: str | os.PathLike) -> list[pathlib.Path]:
    """List the pictures below a folder; hidden files and what lies in hidden folders is left out.

    Args:
        folder: Path of a folder, searched with its sub-folders.

    Returns:
        Sorted list of paths.

    Raises:
        FileNotFoundError: If the folder does not exist or holds no picture.
    """
    paths = pictures_below(folder)
    if not paths:
        raise FileNotFoundError(
            f"The folder must hold at least one picture ({', '.join(sorted(images.SUFFIXES))}). "
            f"Received: {folder}, which holds none. Point at the folder that has the pictures."
        )
    return paths


def pictures_below(folder: str | os.PathLike) -> list[pathlib.Path]:
    """What `list_photos` lists, of a folder that may hold none.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    return list_folder(folder).pictures


def list_folder(folder: str | os.PathLike, *, recursive: bool = True) -> Listing:
    """List what a folder holds, pictures by their suffix and the rest apart.

    Args:
        folder: Path of a folder.
        recursive: Whether its sub-folders are searched, to any depth; links to folders are not
            followed.

    Returns:
        The files, without what lies in hidden folders.

    Raises:
        FileNotFoundError: If the folder does not exist.
        OSError: If it cannot be read.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"A folder of pictures must exist. Received: {folder}. Check the path."
        )
    listing = Listing([], [], [], [])

    def note(error):
        if pathlib.Path(error.filename) == folder:
            raise error
        listing.closed.append(pathlib.Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if recursive and not is_hidden(name)]
        for path in (pathlib.Path(place, name) for name in names):
            if is_hidden(path.name):
                listing.hidden.extend([path] * is_picture(path))
            elif not is_picture(path):
                listing.others.append(path)
            elif path.is_file():  # And no link to nowhere.
                listing.pictures.append(path)
    for paths in (listing.pictures, listing.others, listing.hidden, listing.closed):
        paths.sort()
    return listing


def is_picture(path: pathlib.Path) -> bool:
    """Tell by its suffix whether a file may be a picture."""
    return path.suffix.lower() in images.SUFFIXES


def list_pairs(
    folder: str | os.PathLike, *, split: str | None = None
) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """List pairs of equal names below `<folder>/blur` and `<folder>/sharp`.

    The folders may also be called `blurred` or `input`, and `target` or `gt`, in any case; the
    suffixes of a pair may differ. Known layouts of public sets: GoPro (`train` and `test`, a
    folder for each sequence), HIDE (blurred pictures below `train` and `test`, the sharp sides of
    both in `GT`; or `input` and `target` in each half, as it is passed on), REDS (`train_blur`
    beside `train_sharp`) and RealBlur (`blur/blur_1.png` beside `gt/gt_1.png`, halves in lists).

    Args:
        folder: Path of a folder. Naming one half (`HIDE_dataset/train`) takes that half.
        split: `"train"` takes the training half of a folder that holds several, `"test"` the test
            half, or the validation half where there is no other; `None` takes all.

    Returns:
        Sorted list of `(blurred path, sharp path)`.

    Raises:
        FileNotFoundError: If there are no pairs, or none of that half; the message shows what was
            found.
        ValueError: If a picture has no partner.
    """
    found = find_pairs(folder)
    folder = pathlib.Path(folder)
    if not found:
        inside = sorted(path.name for path in folder.iterdir())[:10]
        raise FileNotFoundError(
            f"A folder of pairs must hold {'/'.join(BLURRED_FOLDERS)} beside "
            f"{'/'.join(SHARP_FOLDERS)}, itself or in sub-folders. Received: {folder}, which "
            f"holds {inside}. Put the two sides of each pair, under the same name, into "
            f"{folder.name}/blur and {folder.name}/sharp."
        )
    splits = {part.split for part in found} - {None}
    if split is not None and splits:
        found = _of_split(folder, found, splits, split)
    _refuse_alone([path for part in found for path, _ in part.alone], folder)
    return [pair for part in found for pair in part.pairs]


def find_pairs(folder: str | os.PathLike) -> list[Part]:
    """Find all that is a pair below a folder, and what has no partner; layouts as in `list_pairs`.

    Returns:
        List of `Part`, sorted by place; empty where there are no two sides.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"A folder of pairs must exist. Received: {folder}. Check the path."
        )
    return _find(folder)


def scene(pair: tuple[pathlib.Path, pathlib.Path]) -> str:
    """Tell what the pictures of a pair are of, as far as its path does.

    Frames of one video resemble each other, so validation on a scene that is trained on tells
    little. The scene is the video in the name, else the folder around or below the two sides;
    pairs of one flat folder are of one scene, as far as is known.

    Args:
        pair: `(blurred path, sharp path)` out of `list_pairs`.

    Returns:
        A name that the pairs of one scene have in common.
    """
    blurred = pair[0].absolute()
    for name in (blurred.name, *(part.name for part in blurred.parents[:2])):
        video = _VIDEO_IN_NAME.match(name)
        if video:
            return video[1].upper()
    return blurred.parent.as_posix()


def other_side(name: str) -> tuple[str, list[str]] | None:
    """Where the partner of a picture would lie, if its folders say that it is one side of a pair.

    Args:
        name: Relative name with forward slashes, such as `train/blur/a/001.png`.

    Returns:
        `(side, stems)`: the side that the partner is, "blurred" or "sharp", and its possible names
        without suffix, such as `train/sharp/a/001`; `None` for a picture that is no side.
    """
    path = pathlib.PurePosixPath(name)
    folders = path.parts[:-1]
    for own, side, others in (
        (BLURRED_FOLDERS, "sharp", SHARP_FOLDERS),
        (SHARP_FOLDERS, "blurred", BLURRED_FOLDERS),
    ):
        for index, folder in enumerate(folders):
            if folder.lower() in own:
                stems = [
                    pathlib.PurePosixPath(*folders[:index], other, *folders[index + 1 :], path.stem)
                    for other in others
                ]
                return side, [stem.as_posix() for stem in stems]
    return None


def _of_split(folder, found, splits, split):
    """The parts that a purpose takes; what belongs to no half is for training."""
    taken = next((name for name in _TAKEN[split] if name in splits), None)
    kept = [
        part
        for part in found
        if (part.split == taken and taken is not None) or (part.split is None and split == "train")
    ]
    if not kept:
        there = sorted(splits)
        raise FileNotFoundError(
            f"The folder must hold pairs of the half '{split}'. Received: {folder}, which holds "
            f"{there} only. To use that half all the same, name its own folder, such as "
            f"{folder / there[0]}."
        )
    # At the level that the commands show: which half was taken must not need asking for.
    _log.warning(
        "%s: took %d pairs of the half '%s'; the folder holds %s",
        folder,
        sum(len(part.pairs) for part in kept),
        taken or split,
        ", ".join(sorted(splits)),
    )
    return kept


def _find(folder):
    """Everything below a folder that is a pair, in parts, sorted by place."""
    above = _of_lists_above(folder)
    if above:
        return above
    inner = (path for path in sorted(folder.rglob("*")) if path.is_dir())
    places = [folder, *(path for path in inner if not is_hidden(path.relative_to(folder)))]
    found, told = [], []
    for place in places:
        if any(place.is_relative_to(other) for other in told):
            continue
        listed = [part for path in _lists(place) if (part := _read_realblur_list(path)).pairs]
        if listed:
            found += listed
            told.append(place)
            continue
        split = _split_of(place.relative_to(folder).parts)
        sides = list(_two_sides(place))
        for prefix, blurred, sharp in sides:
            part = _match(prefix or split, blurred, sharp)
            if part.pairs or part.alone:
                found.append(part)
        children = _children(place)
        if not sides and _SHARED_SHARP in children:
            found += _of_shared_sharp(children)
    own = SPLIT_OF.get(folder.absolute().name.lower())
    if not found and own:
        beside = _children(folder.absolute().parent)
        for part in _of_shared_sharp(beside) if _SHARED_SHARP in beside else ():
            if part.split == own:
                pairs = [(_as_seen_from(folder, path), sharp) for path, sharp in part.pairs]
                alone = [(_as_seen_from(folder, path), side) for path, side in part.alone]
                found.append(Part(None, pairs, alone))
    return found


def _lists(place):
    """The lists of halves of RealBlur in a folder."""
    return [path for path in sorted(place.iterdir()) if _REALBLUR_LIST.fullmatch(path.name)]


def _of_lists_above(folder):
    """Parts of a folder inside RealBlur, whose lists of halves lie above it."""
    root, found = folder.absolute(), []
    for place in root.parents[:2]:
        try:
            lists = _lists(place)
        except OSError:  # Somebody else's folder.
            continue
        for path in lists:
            part = _read_realblur_list(path)
            pairs = [
                tuple(_as_seen_from(folder, side) for side in pair)
                for pair in part.pairs
                if all(side.is_relative_to(root) for side in pair)
            ]
            if pairs:
                found.append(Part(part.split, pairs))
    return found


def _as_seen_from(folder, path):
    return folder / path.relative_to(folder.absolute())


def _of_shared_sharp(children):
    """Parts whose blurred pictures lie in folders of halves and whose sharp ones in one beside."""
    halves = {name: split for name, split in SPLIT_OF.items() if name in children}
    sharp = {path.stem: path for path in pictures_below(children[_SHARED_SHARP])}
    left, parts = set(sharp), []
    for name, split in halves.items():
        blurred = {path.stem: path for path in pictures_below(children[name])}
        pairs = [(blurred[stem], sharp[stem]) for stem in sorted(blurred.keys() & sharp.keys())]
        alone = [(blurred[stem], "sharp") for stem in sorted(blurred.keys() - sharp.keys())]
        left -= blurred.keys()
        if blurred:
            parts.append(Part(split, pairs, alone))
    if parts and left:
        unused = [sharp[stem] for stem in sorted(left)]
        parts[-1] = dataclasses.replace(parts[-1], left_over=unused)
    return parts


def _children(folder):
    """Folders directly below a folder, by their names in lower case."""
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}


def _split_of(parts):
    return next((SPLIT_OF[part.lower()] for part in parts if part.lower() in SPLIT_OF), None)


def is_hidden(relative: str | pathlib.PurePath) -> bool:
    """Tell whether a file, or a folder above it, is hidden by its name.

    macOS puts a second, unreadable `._name` beside every file on disks of other systems, and into
    archives below a folder `__MACOSX`.

    Args:
        relative: Path below the folder that was asked for; forward slashes if it is text.
    """
    parts = pathlib.PurePosixPath(relative).parts if isinstance(relative, str) else relative.parts
    return any(part.startswith((".", "__MACOSX")) for part in parts)


def _two_sides(folder):
    """Yield the half, the blurred and the sharp side of pairs directly below a folder."""
    children = _children(folder)
    for split in (None, *SPLIT_OF):
        prefix = f"{split}_" if split else ""
        blurred, sharp = (
            next((children[prefix + name] for name in names if prefix + name in children), None)
            for names in (BLURRED_FOLDERS, SHARP_FOLDERS)
        )
        if blurred is not None and sharp is not None:
            yield split and SPLIT_OF[split], blurred, sharp


def _match(split, blurred_folder, sharp_folder):
    """Pictures of the same path below two folders."""
    blurred, sharp = (
        [path.relative_to(side).as_posix() for path in pictures_below(side)]
        for side in (blurred_folder, sharp_folder)
    )
    sides = blurred_folder.name, sharp_folder.name
    pairs, no_sharp, no_blurred = match_names(blurred, sharp, sides=sides)
    return Part(
        split,
        [(blurred_folder / one, sharp_folder / other) for one, other in pairs],
        [(blurred_folder / name, "sharp") for name in no_sharp]
        + [(sharp_folder / name, "blurred") for name in no_blurred],
    )


def match_names(
    blurred: Iterable[str], sharp: Iterable[str], *, sides: tuple[str, str] = ("", "")
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Match the names of two sides: equal paths, whose suffixes may differ.

    Args:
        blurred: Names below the blurred side's folder, with forward slashes.
        sharp: Names below the sharp side's folder.
        sides: Names of these folders: RealBlur has them before each file name, `blur_1`, `gt_1`.

    Returns:
        `(pairs, blurred names without a sharp one, sharp names without a blurred one)`, sorted.
    """
    blurred, sharp = set(blurred), set(sharp)
    # Two of one folder may differ in the suffix alone.
    pairs = {name: name for name in blurred & sharp}
    ours, theirs = (
        {_without_side(name, side): name for name in sorted(names - pairs.keys())}
        for names, side in zip((blurred, sharp), sides, strict=True)
    )
    pairs |= {ours[key]: theirs[key] for key in ours.keys() & theirs.keys()}
    return (
        sorted(pairs.items()),
        sorted(blurred - pairs.keys()),
        sorted(sharp - set(pairs.values())),
    )


def _without_side(name, side):
    """A name without suffix and without the side's own name in front, as RealBlur has it."""
    path = pathlib.PurePosixPath(name)
    stem = path.stem.removeprefix(f"{side}_") if side else path.stem
    return path.with_name(stem or path.stem).as_posix()


def _read_realblur_list(path):
    """Pairs that a list of RealBlur names and that are there."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        sharp, blurred = ([path.parent / name for name in line.split()[:2]] + [None] * 2)[:2]
        if blurred is not None and sharp.is_file() and blurred.is_file():
            pairs.append((blurred, sharp))
    return Part(_REALBLUR_LIST.fullmatch(path.name)[1].lower(), sorted(pairs))


def _refuse_alone(paths, folder):
    if paths:
        names = [os.path.relpath(path, folder) for path in sorted(paths)[:5]]
        raise ValueError(
            f"Every picture must have a partner of the same name. Received: {len(paths)} without "
            f"one in {folder}, such as {names}. Remove them or add their partners."
        )
