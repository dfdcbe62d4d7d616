"""Sets of pictures to measure on: pairs, or photos blurred with a fixed seed.

A set is a folder and a list of names with SHA-256, so that a figure can be repeated years later:
the list, the seed and the settings of the blur go into a small manifest.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_refocus.blur import exposure
from keras_refocus.data import sampling
from keras_refocus.pictures import catalogue, color, staging
from keras_refocus.system import files

SHARP = "none"  # The blur of a set that is handed in as it is.

_FORMAT = "keras_refocus evaluation set, version 1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One picture of a set.

    Attributes:
        sharp: Its sharp side, a path relative to the folder with forward slashes.
        sharp_sha256: SHA-256 of that file.
        blurred: The blurred side of a pair, or `None` where blur is synthesised.
        blurred_sha256: SHA-256 of that file, or `None`.
    """

    sharp: str
    sharp_sha256: str
    blurred: str | None = None
    blurred_sha256: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticBlur:
    """Synthetic blur of a set of photos.

    Attributes:
        name: Name it goes by, usually an entry of `exposure.SETTINGS`; `"none"` leaves the photos
            as they are.
        settings: `exposure.ExposureSettings`, or `None` for `"none"`.
        seed: Seed; with a photo's SHA-256 it decides the photo's blur, whatever else is in the set.
        input_psnr: Mean PSNR on luminance of the blurred photos when the manifest was written, by
            which a changed synthesis shows; `None` if that is not known.
    """

    name: str
    settings: exposure.ExposureSettings | None
    seed: int = 0
    input_psnr: float | None = None


def synthetic_blur(name: str, *, seed: int = 0) -> SyntheticBlur:
    """Make the blur of a name.

    Raises:
        ValueError: If it is neither an entry of `exposure.SETTINGS` nor `"none"`.
    """
    if name == SHARP:
        return SyntheticBlur(name=name, settings=None, seed=seed)
    if name not in exposure.SETTINGS:
        raise ValueError(
            f"`blur` must be one of {', '.join([*exposure.SETTINGS, SHARP])}. "
            f"Received: blur={name!r}."
        )
    return SyntheticBlur(name=name, settings=exposure.SETTINGS[name], seed=seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Pictures to measure on.

    Attributes:
        folder: Where they are.
        items: Tuple of `Item`.
        blur: `SyntheticBlur` of photos; `None` for pairs.
    """

    folder: pathlib.Path
    items: tuple
    blur: SyntheticBlur | None = None

    def __len__(self):
        return len(self.items)

    @property
    def label(self) -> str:
        """The set in words."""
        count = f"{len(self)} picture{'s' * (len(self) != 1)}"
        if self.blur is None:
            return f"pairs of '{self.folder.name}', {count}"
        kind = "sharp photos as they are"
        if self.blur.settings is not None:
            kind = f"blur '{self.blur.name}', seed {self.blur.seed}"
        return f"photos of '{self.folder.name}', {count}, {kind}"

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read or synthesise one pair.

        Returns:
            Tuple `(blurred, sharp)` of uint8 arrays of shape `(height, width, 3)`, sRGB.

        Raises:
            ValueError: If a file cannot be read, or the sides differ in size.
        """
        item = self.items[index]
        sharp = read_picture(self.folder / item.sharp)
        if self.blur is None:
            blurred = read_picture(self.folder / item.blurred)
            if blurred.shape != sharp.shape:
                raise ValueError(
                    "The two sides of a pair must have the same size. Received: "
                    f"{item.blurred} with {blurred.shape[:2]} and {item.sharp} with "
                    f"{sharp.shape[:2]} (height, width). Remove or repair the pair."
                )
            return blurred, sharp
        if self.blur.settings is None:
            return sharp, sharp
        rng = np.random.default_rng([self.blur.seed, int(item.sharp_sha256[:16], 16)])
        result = exposure.expose(sharp, self.blur.settings, rng)
        return color.from_float(result.blurred, "uint8"), color.from_float(result.sharp, "uint8")


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """Read a picture of a set as 8-bit RGB.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        return sampling.read_rgb(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Every picture of a set must be readable: a figure over fewer is another figure. "
            f"Received: {path}: {error} Repair or remove it."
        ) from error


def photo_items(folder: pathlib.Path) -> tuple[Item, ...]:
    """List the photos below a folder as items of a set; see `catalogue.list_photos`."""
    folder = pathlib.Path(folder)
    return tuple(
        Item(sharp=path.relative_to(folder).as_posix(), sharp_sha256=staging.sha256(path))
        for path in catalogue.list_photos(folder)
    )


def pair_items(folder: pathlib.Path) -> tuple[Item, ...]:
    """List the pairs to measure on below a folder as items; see `catalogue.list_pairs`."""
    return tuple(
        Item(
            sharp=_below(sharp, folder),
            sharp_sha256=staging.sha256(sharp),
            blurred=_below(blurred, folder),
            blurred_sha256=staging.sha256(blurred),
        )
        for blurred, sharp in catalogue.list_pairs(folder, split="test")
    )


def _below(path, folder):
    """A path as seen from a folder; the sharp sides of HIDE lie beside its `test`: `../GT`."""
    return pathlib.Path(os.path.relpath(path, folder)).as_posix()


def write_manifest(
    path: str | os.PathLike, sets: Sequence[PictureSet], *, input_psnrs: Sequence[float]
) -> None:
    """Write what another machine needs to measure on the same pictures.

    Args:
        path: Path of the JSON file.
        sets: List of `PictureSet` over the same items.
        input_psnrs: Mean PSNR on luminance of the input of each set.
    """
    items = [
        {name: value for name, value in dataclasses.asdict(item).items() if value is not None}
        for item in sets[0].items
    ]
    blurs = []
    for picture_set, input_psnr in zip(sets, input_psnrs, strict=True):
        if picture_set.blur is not None:
            blurs.append(
                dataclasses.asdict(picture_set.blur) | {"input_psnr": round(float(input_psnr), 4)}
            )
    # One picture in a line keeps the file small and its differences readable.
    lists = [
        ",\n".join(f"  {json.dumps(entry)}" for entry in entries) for entries in (blurs, items)
    ]
    text = '{{\n "format": {},\n "blurs": [\n{}\n ],\n "items": [\n{}\n ]\n}}\n'.format(
        json.dumps(_FORMAT), *lists
    )
    files.write_text(path, text)


def read_manifest(path: str | os.PathLike, folder: pathlib.Path) -> list[PictureSet]:
    """Read the sets of a manifest and check that the folder holds their very pictures.

    Args:
        path: Path of the JSON file.
        folder: Folder of the pictures. What the manifest does not name is left aside.

    Returns:
        List of `PictureSet`.

    Raises:
        FileNotFoundError: If the manifest or a picture is missing.
        ValueError: If it is no manifest, or a picture differs.
    """
    folder = pathlib.Path(folder)
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise KeyError("format")
        items = tuple(Item(**item) for item in values["items"])
        blurs = []
        for entry in values["blurs"]:
            if entry["settings"] is not None:
                entry["settings"] = exposure.ExposureSettings(**entry["settings"])
            blurs.append(SyntheticBlur(**entry))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"A manifest must be a file of --write-manifest, of this version. Received: {path} "
            f"({error}). Write it again."
        ) from error
    for item in items:
        sides = [(item.sharp, item.sharp_sha256), (item.blurred, item.blurred_sha256)]
        for name, digest in sides[: 1 if item.blurred is None else 2]:
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"The folder must hold every picture of the manifest. Received: {folder} "
                    f"without {name}. Point at the folder that the manifest was written for."
                )
            if staging.sha256(folder / name) != digest:
                raise ValueError(
                    "The pictures must be those of the manifest. Received: "
                    f"{folder / name}, whose SHA-256 differs. Restore the file."
                )
    if not blurs:
        return [PictureSet(folder=folder, items=items)]
    return [PictureSet(folder=folder, items=items, blur=entry) for entry in blurs]
