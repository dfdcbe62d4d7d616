"""The pictures and the pairs below a folder, in the layouts in which public sets are unpacked.

What belongs to the test half of a published set is never handed out as training pairs.
"""

import dataclasses
import logging
import os
import pathlib
import re

from keras_refocus.pictures import images

_log = logging.getLogger(__name__)

# Names under which public deblurring sets keep the two sides of a pair, in lower case.
_BLURRED_FOLDERS = ("blur", "blurred", "input")
_SHARP_FOLDERS = ("sharp", "target", "gt")
# HIDE keeps the sharp sides of both halves in one folder.
_SHARED_SHARP = "gt"

# Halves of a set: what each purpose takes, the first that is there.
_SPLITS = ("train", "val", "test")
_TAKEN = {"train": ("train",), "test": ("test", "val")}

# RealBlur names its halves in lists of `<sharp path> <blurred path>`.
_REALBLUR_LIST = re.compile(r"RealBlur_[JR]_(train|test)_list\.txt", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class _Found:
    """Pairs of one place, and the half of a set that they belong to, if any."""

    split: str | None
    pairs: list[tuple[pathlib.Path, pathlib.Path]]


def list_photos(folder: str | os.PathLike) -> list[pathlib.Path]:
    """List the pictures below a folder; hidden files and what lies in hidden folders is left out.

    Args:
        folder: Path of a folder, searched with its sub-folders.

    Returns:
        Sorted list of paths.

    Raises:
        FileNotFoundError: If the folder does not exist or holds no picture.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"A folder of pictures must exist. Received: {folder}. Check the path."
        )
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in images.SUFFIXES
        and not _is_hidden(path.relative_to(folder))
        and path.is_file()
    )
    if not paths:
        raise FileNotFoundError(
            f"The folder must hold at least one picture ({', '.join(sorted(images.SUFFIXES))}). "
            f"Received: {folder}, which holds none. Point at the folder that has the pictures."
        )
    return paths


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
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"A folder of pairs must exist. Received: {folder}. Check the path."
        )
    found = _find(folder)
    if not found:
        inside = sorted(path.name for path in folder.iterdir())[:10]
        raise FileNotFoundError(
            f"A folder of pairs must hold {'/'.join(_BLURRED_FOLDERS)} beside "
            f"{'/'.join(_SHARP_FOLDERS)}, itself or in sub-folders. Received: {folder}, which "
            f"holds {inside}. Put the two sides of each pair, under the same name, into "
            f"{folder.name}/blur and {folder.name}/sharp."
        )
    splits = {part.split for part in found} - {None}
    if split is not None and splits:
        found = _of_split(folder, found, splits, split)
    return [pair for part in found for pair in part.pairs]


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
    lists = [path for path in sorted(folder.iterdir()) if _REALBLUR_LIST.fullmatch(path.name)]
    if lists:
        return [part for path in lists if (part := _read_realblur_list(path)).pairs]
    inner = (path for path in sorted(folder.rglob("*")) if path.is_dir())
    places = [folder, *(path for path in inner if not _is_hidden(path.relative_to(folder)))]
    found = []
    for place in places:
        split = _split_of(place.relative_to(folder).parts)
        for prefix, blurred, sharp in _two_sides(place):
            found.append(_Found(prefix or split, _match_by_path(blurred, sharp)))
    if found:
        return found
    for place in places:
        children = _children(place)
        if _SHARED_SHARP in children:
            for half in (name for name in _SPLITS if name in children):
                pairs = _match_by_name(children[half], children[_SHARED_SHARP])
                found.append(_Found(half, pairs))
    if not found and folder.absolute().name.lower() in _SPLITS:
        beside = _children(folder.absolute().parent)
        if _SHARED_SHARP in beside:
            found.append(_Found(None, _match_by_name(folder, beside[_SHARED_SHARP])))
    return found


def _children(folder):
    """Folders directly below a folder, by their names in lower case."""
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}


def _split_of(parts):
    return next((part.lower() for part in parts if part.lower() in _SPLITS), None)


def _is_hidden(relative):
    return any(part.startswith(".") for part in relative.parts)


def _two_sides(folder):
    """Yield the half, the blurred and the sharp side of pairs directly below a folder."""
    children = _children(folder)
    for split in (None, *_SPLITS):
        prefix = f"{split}_" if split else ""
        blurred, sharp = (
            next((children[prefix + name] for name in names if prefix + name in children), None)
            for names in (_BLURRED_FOLDERS, _SHARP_FOLDERS)
        )
        if blurred is not None and sharp is not None:
            yield split, blurred, sharp


def _match_by_path(blurred_folder, sharp_folder):
    """Pairs of the same path below two folders; every picture must have a partner."""
    blurred, sharp = (
        {_without_side(path.relative_to(side), side.name): path for path in list_photos(side)}
        for side in (blurred_folder, sharp_folder)
    )
    _refuse_single(blurred.keys() ^ sharp.keys(), blurred_folder.parent)
    return [(blurred[name], sharp[name]) for name in sorted(blurred)]


def _without_side(path, side):
    """A path without suffix and without the side's own name in front, as RealBlur has it."""
    return path.with_name(path.stem.removeprefix(f"{side}_") or path.stem)


def _match_by_name(blurred_folder, sharp_folder):
    """Pairs of the same file name anywhere below two folders; sharp pictures may be left over."""
    blurred, sharp = (
        {path.stem: path for path in list_photos(side)} for side in (blurred_folder, sharp_folder)
    )
    _refuse_single(blurred.keys() - sharp.keys(), blurred_folder.parent)
    return [(blurred[name], sharp[name]) for name in sorted(blurred)]


def _read_realblur_list(path):
    """Pairs that a list of RealBlur names and that are there."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        sharp, blurred = ([path.parent / name for name in line.split()[:2]] + [None] * 2)[:2]
        if blurred is not None and sharp.is_file() and blurred.is_file():
            pairs.append((blurred, sharp))
    return _Found(_REALBLUR_LIST.fullmatch(path.name)[1].lower(), sorted(pairs))


def _refuse_single(names, folder):
    alone = sorted(str(name) for name in names)
    if alone:
        raise ValueError(
            f"Every picture must have a partner of the same name. Received: {len(alone)} without "
            f"one in {folder}, such as {alone[:5]}. Remove them or add their partners."
        )
