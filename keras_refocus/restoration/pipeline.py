"""A picture in, the restored picture out: both stages, the grayscale gate and the colour maths.

    from keras_refocus import Restorer

    result = Restorer().restore("old.jpg")
    result.save("restored.png")

The luminance plane is restored in place, a row of tiles at a time, and colours are computed a band
of rows at a time, so beside the picture and its result one float32 plane is in memory.
"""

import dataclasses
import itertools
import numbers
import operator
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, BinaryIO, Literal, NoReturn, Self, get_args

import cv2
import numpy as np
from PIL import Image

from keras_refocus.engines import contract, local, store
from keras_refocus.pictures import color, grayscale, images, provenance
from keras_refocus.restoration import fade as fading
from keras_refocus.restoration import flips, means, regions
from keras_refocus.restoration.chroma import WORKING_SIZE, GuidedChroma, SharpChroma, guess
from keras_refocus.restoration.deconvolution import kernels
from keras_refocus.restoration.deconvolution.finding import Finding
from keras_refocus.restoration.hints import ColorHints
from keras_refocus.restoration.inputs import open_input
from keras_refocus.restoration.reference import Palette
from keras_refocus.restoration.suggestions import Suggestion, likeliest
from keras_refocus.restoration.tiling import (
    FITTING_AREA,
    TILE,
    Tiles,
    default_overlap,
    fitting_tile,
    with_room,
)
from keras_refocus.system import extras

Mode = Literal["restore", "restore+colorize", "colorize"]
MODES: tuple[str, ...] = get_args(Mode)

# Pixels of a band in which colours are computed at once.
_BAND = 2**20
# Pixels of a tile where heavy shake is taken away: 1280x720 in four. As one tile it took 1.6 GiB,
# of which the search for the kernel had a few MiB.
_PATIENT_AREA = 2**19
# Of what lies around a part the colorizer judges by a picture of this shorter side, in pixels: four
# times what it sees.
_AROUND = 4 * WORKING_SIZE


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """What to do with a picture.

    Attributes:
        mode: `"restore"` runs stage 1 only; `"restore+colorize"` adds stage 2 when the picture is
            grey, or always when `auto_detect` is off; `"colorize"` runs both stages whatever the
            picture.
        strength: How much of stage 1 to take, 0 to 1. At 0 the input luminance comes back exactly.
        saturation: Factor on the chroma of the result, 0 to 1.5.
        auto_detect: Whether `"restore+colorize"` leaves colour pictures uncoloured.
        blur_faces: Whether faces are made unrecognisable, for good, as the last step.
        tile: Side in pixels of the tiles the restorer sees; 0 shows it the whole picture at once.
            `None`: what suits the picture (`tiling.fitting_tile`) for an engine that takes one tile
            at a time, `tiling.TILE` for any other.
        overlap: Pixels that neighbouring tiles share; `None`: `tiling.default_overlap`.
        restorer: Name of the model of stage 1.
        colorizer: Name of the model of stage 2.
        best: Whether stage 1 is the mean over the four flips of every tile, which takes four times
            as long; see `flips`.
        region: The only part to work on, of the picture as it is seen: left, top, width and
            height in pixels, `regions.Strokes` of a brush, or a `regions.Mask`; the rest stays as
            it is to the bit. `None`: all of it. Faces are blurred everywhere.
        hints: What a person says of the colours, in pixels of the picture as it is seen: the
            colorizer's guess is corrected around them. `None`, or no hints: as it guesses. Also
            what a file of hints holds, as dicts and lists (`hints.ColorHints.from_json`).
        patient: Whether heavy shake is looked for and taken away, after the plain stage 1, which
            stands where that is not better; see `deconvolution.patient`. It takes a minute or so.
        patience: Seconds that this may take; `None`: as long as it takes. What is found by then
            counts, so that with too few the result depends on the machine.
        kernel: The shake, for who knows it: `motion:LENGTH,ANGLE`, `disk:RADIUS` or the name of a
            picture file (`deconvolution.kernels.parse`). `None`: it is looked for if `patient`.
        reference: Path of a photo whose colours a coloured picture gets: of the same scene, or one
            that is liked; see `reference.Palette`. `None`: those that the colorizer guesses.
        fade: How much of fading to take off, 0 to 1: levels of each channel, in linear light, set
            from the darkest to the lightest, white paper left out; see `fade`. Of whole pictures.
        reference_strength: How much of its colours to take, 0 to 1.

    Numbers and truth values of numpy are taken as those of Python.

    Raises:
        TypeError: An option is of another kind.
        ValueError: An option is outside its range.
    """

    mode: Mode = "restore"
    strength: float = 1.0
    saturation: float = 1.0
    auto_detect: bool = True
    blur_faces: bool = False
    tile: int | None = None
    overlap: int | None = None
    restorer: str = contract.RESTORER
    colorizer: str = contract.COLORIZER
    best: bool = False
    region: regions.Region | None = None
    hints: ColorHints | None = None
    patient: bool = False
    patience: float | None = None
    kernel: str | None = None
    reference: str | os.PathLike | None = None
    reference_strength: float = 1.0
    fade: float = 0.0

    def __post_init__(self):
        for name, kind in _KINDS.items():
            object.__setattr__(self, name, _as_kind(name, getattr(self, name), kind))
        if self.mode not in MODES:
            raise ValueError(
                f"The mode must be one of {', '.join(MODES)}. Received: mode={self.mode!r}."
            )
        if not 0 <= self.strength <= 1:
            raise ValueError(f"The strength must be 0 to 1. Received: strength={self.strength}.")
        if not 0 <= self.saturation <= 1.5:
            raise ValueError(
                f"The saturation must be 0 to 1.5. Received: saturation={self.saturation}."
            )
        if self.region is not None:
            object.__setattr__(self, "region", regions.checked(self.region))
        if self.hints is not None and not isinstance(self.hints, ColorHints):
            object.__setattr__(self, "hints", ColorHints.from_json(self.hints))
        if self.hints and self.mode == "restore":
            raise ValueError(
                "Hints say what colours a picture gets, so it must get some. Received: hints with "
                "mode='restore'. Take mode='restore+colorize', or 'colorize' for a picture that "
                "has colours of its own."
            )
        if self.patience is not None and not self.patience > 0:
            raise ValueError(
                f"Patience must be a number of seconds above 0. Received: {self.patience}."
            )
        if self.kernel is not None:
            object.__setattr__(self, "kernel", os.fspath(self.kernel))
            kernels.parse(self.kernel)
        if self.reference is not None:
            object.__setattr__(self, "reference", os.fspath(self.reference))
            if self.mode == "restore":
                raise ValueError(
                    "A reference gives its colours to pictures that are coloured. Received: "
                    f"reference='{self.reference}' with mode='restore'. Take "
                    "mode='restore+colorize' or 'colorize'."
                )
        if not 0 <= self.reference_strength <= 1:
            raise ValueError(
                "The strength of the reference must be 0 to 1. Received: "
                f"reference_strength={self.reference_strength}."
            )
        if not 0 <= self.fade <= 1:
            raise ValueError(f"Fading is taken off by 0 to 1. Received: fade={self.fade}.")
        if self.fade and self.region is not None:
            raise ValueError(
                "Fading is taken off whole pictures, and outside a region nothing changes. "
                f"Received: fade={self.fade}, region={self.region}. Leave one out."
            )
        tile = TILE if self.tile is None else self.tile
        if self.overlap is None:
            object.__setattr__(self, "overlap", default_overlap(tile))
        if tile < 0 or self.overlap < 0 or 0 < tile <= self.overlap:
            raise ValueError(
                "The tile must be larger than the overlap, or 0 for the whole picture, and the "
                f"overlap at least 0. Received: tile={tile}, overlap={self.overlap}."
            )

    def record(self) -> dict[str, Any]:
        """What a report says of them: what JSON can hold."""
        return {**dataclasses.asdict(self), "region": regions.record(self.region)}

    @property
    def deconvolves(self) -> bool:
        """Whether heavy shake is taken away."""
        return self.patient or self.kernel is not None

    def colorizes(self, *, is_grayscale: bool) -> bool:
        """Decide whether stage 2 runs on a picture."""
        if self.mode == "restore+colorize":
            return is_grayscale or not self.auto_detect
        return self.mode == "colorize"


# Kinds of the options that are no names.
_KINDS = {
    "strength": float,
    "saturation": float,
    "fade": float,
    "reference_strength": float,
    "auto_detect": bool,
    "blur_faces": bool,
    "tile": int,
    "overlap": int,
    "best": bool,
    "patient": bool,
    "patience": float,
}
# Those that may be left to the program.
_OPEN = ("tile", "overlap", "patience")
_KIND_NAMES = {float: "a number", int: "a whole number", bool: "True or False"}


def _as_kind(name: str, value: Any, kind: type) -> Any:
    """An option as a value of Python, whatever kind of scalar it came as."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if value is None and name in _OPEN:
        return None
    is_truth = isinstance(value, bool | np.bool_)
    try:
        if kind is bool and is_truth:
            return bool(value)
        if kind is float and not is_truth and isinstance(value, numbers.Real):
            return float(value)
        if kind is int and not is_truth:
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"The option {name} must be {_KIND_NAMES[kind]}. Received: {name}={value!r}.")


@dataclasses.dataclass(frozen=True)
class Planes:
    """What the networks gave, kept so that a result can be blended again without them.

    Attributes:
        source: The input picture.
        restored: Luminance after stage 1 at full strength, float32 [H,W,1], or of the window
            around the region; `None` if not run.
        chroma: Chroma of stage 2, or of the window around the region; or the picture's own without
            a shake; `None` if neither.
        faces: Boxes of the faces to blur, as `faces.detect` gives them; `None` if not asked for.
    """

    source: np.ndarray
    restored: np.ndarray | None
    chroma: GuidedChroma | SharpChroma | None
    faces: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestoreResult:
    """A restored picture and how it came about.

    Attributes:
        image: The picture, same height, width and type as the input (float32 for any float):
            [H,W,3] RGB; or, if it was not coloured, [H,W] or [H,W,1] as the input was, [H,W] for a
            file of one channel.
        is_grayscale: What the gate saw in the input.
        stages: Names of the stages that ran, in order: `"restore"`, `"colorize"`, `"blur_faces"`.
        versions: Version of each model that ran, by name.
        seconds: Time taken, reading the file included.
        options: What was asked for.
        photo: The photo that was read, with its metadata, alpha and original picture; `None` if
            the input was an array.
        planes: What `reblend` needs; `None` unless `keep_stages` was on.
        shake: What was found of heavy shake; `None` if it was not looked for.
    """

    image: np.ndarray
    is_grayscale: bool
    stages: tuple[str, ...]
    versions: dict[str, str]
    seconds: float
    options: RestoreOptions
    photo: images.Photo | None = None
    planes: Planes | None = None
    shake: Finding | None = None

    def save(self, path: str | os.PathLike, **options: Any) -> tuple[str, ...]:
        """Write the picture to a file, with the depth and alpha of the input.

        A picture that was coloured says so in its metadata, even if nothing else is kept there.

        Args:
            path: File to write; its suffix chooses the format.
            **options: As of `images.write`: format, quality, metadata, overwriting.

        Returns:
            Sentences about what the format could not hold.
        """
        return images.write(path, self._to_write(options), **options)

    def encode(self, **options: Any) -> bytes:
        """Give the content of the file that `save` would write.

        Args:
            **options: As of `images.encode`: format, quality, metadata.
        """
        return images.encode(self._to_write(options), **options)

    def _to_write(self, options: dict[str, Any]) -> images.Photo:
        """The photo to write; `options` are told to keep what it says of itself."""
        photo = self.as_photo()
        if "colorize" in self.stages:
            kept = photo.metadata if options.get("keep_metadata") else b""
            photo = dataclasses.replace(photo, metadata=provenance.tag_colourised(kept))
            options["keep_metadata"] = True
        return photo

    def as_photo(self) -> images.Photo:
        """Put the picture into the photo it came from, or into a new one."""
        rgb = self.image
        if rgb.ndim == 2:
            rgb = rgb[..., np.newaxis]
        if rgb.shape[2] == 1:
            rgb = np.repeat(rgb, 3, axis=-1)
        if rgb.dtype == np.float32:
            rgb = color.from_float(rgb, np.uint16)
        if self.photo is None:
            return images.Photo(rgb=rgb)
        return dataclasses.replace(self.photo, rgb=rgb)


def choose_tiles(source: np.ndarray, options: RestoreOptions, engine: contract.Engine) -> Tiles:
    """Choose the tiles in which an engine gets a picture `(height, width, ...)` to restore."""
    height, width = source.shape[:2]
    if options.tile == 0:
        return Tiles(height, width, (height, width), 0)
    tile = options.tile
    if tile is None:
        # Who takes one at a time takes any shape.
        area = _PATIENT_AREA if options.deconvolves else FITTING_AREA
        fitting = fitting_tile(height, width, options.overlap, area)
        tile = fitting if engine.batch_size == 1 else TILE
    return Tiles(height, width, tile, options.overlap)


class Restorer:
    """Restores pictures with one engine, which it loads when first needed and keeps.

    Args:
        engine: A folder of models, to run them in this process; `"grpc://host:8500"`, to ask a
            server; `None` for the models that `store.find_models` finds; or an engine.

    Raises:
        FileNotFoundError: There are no models to be found.
        ValueError: The address of a server is not one.
    """

    def __init__(self, engine: contract.Engine | str | os.PathLike | None = None):
        if isinstance(engine, str):
            scheme, separator, _ = engine.partition("://")
            if separator and scheme not in ("grpc", "grpcs"):
                raise ValueError(
                    "Models must be in a folder, or on a server at grpc://host:8500. Received: "
                    f"'{engine}'. The port of REST (8501) cannot be used; name that of gRPC."
                )
        if isinstance(engine, str) and engine.startswith(("grpc://", "grpcs://")):
            extras.require("serving", "A server", "tensorflow_serving")
            # Brings TensorFlow and gRPC.
            from keras_refocus.engines.serving import ServingEngine

            engine = ServingEngine(engine)
        elif engine is None or isinstance(engine, str | os.PathLike):
            engine = local.LocalEngine(engine)
        self.engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the engine."""
        self.engine.close()

    def check_models(self, options: RestoreOptions) -> None:
        """Refuse options for which a model is missing, whatever the picture.

        Raises:
            FileNotFoundError: The engine lacks a model that every picture needs.
        """
        self._versions(
            [options.restorer] * (options.strength > 0)
            + [options.colorizer] * options.colorizes(is_grayscale=False)
        )

    def restore(
        self,
        image: np.ndarray | Image.Image | images.Photo | str | os.PathLike | bytes | BinaryIO,
        options: RestoreOptions | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        keep_stages: bool = False,
    ) -> RestoreResult:
        """Restore one picture.

        Args:
            image: The path of a file; its content, as bytes or a file object; a picture of Pillow,
                of any mode, whose profile and orientation are applied; a photo; or an array: RGB
                [H,W,3] or grey [H,W] or [H,W,1], uint8, uint16 or float in [0, 1], which is taken
                as float32.
            options: What to do; by default stage 1 at full strength.
            progress: Called with the number of steps done and of all steps.
            cancel: Asked between steps; when it says yes, the work stops.
            keep_stages: Whether the result keeps what `reblend` needs. Stage 1 then runs at
                strength 0 too.

        Returns:
            The result; the input is left as it was.

        Raises:
            CancelledError: `cancel` said yes (of `concurrent.futures`).
            FileNotFoundError: The file, or a model that is needed, does not exist.
            RuntimeError: The process was forked after its parent had run models.
            TypeError: It is no picture, or the array has another type.
            ValueError: The picture cannot be read, has another shape or is out of range.
        """
        started = time.perf_counter()
        options = options or RestoreOptions()
        source, photo = open_input(image)
        is_grayscale = source.ndim == 2 or grayscale.is_grayscale(source)
        restores = options.strength > 0 or keep_stages
        colorizes = options.colorizes(is_grayscale=is_grayscale)
        _check_hints(options.hints, source.shape[:2], colorizes=colorizes)
        palette = _palette(options) if colorizes else None
        versions = self._versions([options.restorer] * restores + [options.colorizer] * colorizes)
        part = source
        if options.region is not None:
            options = dataclasses.replace(
                options, region=regions.clipped(options.region, source.shape[:2])
            )
            window = regions.window(options.region, source.shape[:2])
            part = source[window]
        tiles = choose_tiles(part, options, self.engine)
        shake = _Shake(options, part.shape[:2]) if restores and options.deconvolves else None
        passes = len(flips.FLIPS) if options.best else 1
        count = restores * passes * len(tiles)
        if shake is not None:
            count = shake.plan(count)
        step = _Steps(count + colorizes + 1, progress, cancel)

        restored = chroma = faces = finding = None
        if restores or colorizes:
            plane = _luminance(part)
            if restores:
                self._restore_in_place([plane], tiles, options, step)
                means.keep(plane, lambda rows: color.rgb_to_luminance(_as_rgb(part[rows])))
                if shake is not None:
                    plane, finding = self._unshake(part, plane, tiles, shake, step)
                restored = plane
            if colorizes:
                chroma = self._colorize_part(source, plane, options, palette)
                step.done()
            elif finding is not None and not is_grayscale:
                chroma = _colors_module().sharp_chroma(part, finding, step.check)
        composed = _compose_region(source, restored, chroma, options, step.check)
        if options.blur_faces:
            faces = _face_module().detect(_as_rgb(composed))
            composed = _blur_faces(composed, faces)
        step.done()
        has_axis = composed.ndim == 2 and photo is None and np.ndim(image) == 3
        return RestoreResult(
            image=composed[..., np.newaxis] if has_axis else composed,
            is_grayscale=is_grayscale,
            stages=("restore",) * restores
            + ("colorize",) * colorizes
            + ("blur_faces",) * options.blur_faces,
            versions=versions,
            seconds=time.perf_counter() - started,
            options=options,
            photo=photo,
            planes=Planes(source, restored, chroma, faces) if keep_stages else None,
            shake=finding,
        )

    def _colorize_part(
        self,
        source: np.ndarray,
        plane: np.ndarray,
        options: RestoreOptions,
        palette: Palette | None,
    ) -> GuidedChroma:
        """Chroma for the restored plane of a picture, or of its region."""
        if options.region is None:
            return self._colorize(plane, options, palette, source.shape[:2])
        # What colour a part has depends on what is around it.
        window = regions.window(options.region, source.shape[:2])
        whole = _around(source, plane, window)
        return self._colorize(whole, options, palette, source.shape[:2]).part(*window)

    def _unshake(
        self, part: np.ndarray, plain: np.ndarray, tiles: Tiles, shake: "_Shake", step: "_Steps"
    ) -> tuple[np.ndarray, Finding]:
        """Take heavy shake away, where that is better than the plain result."""
        options, patient = shake.options, _patient_module()
        check = patient.Patience(options.patience, step.check)

        def sharpen(plane):
            check()
            self._restore_in_place([plane], tiles, options, step)
            return plane

        def look(plane):
            # A part, whose steps nobody counts.
            check()
            used = choose_tiles(plane, options, self.engine)
            self._restore_in_place([plane], used, options, step.uncounted())
            return plane

        better = patient.improve(
            _luminance(part),
            plain,
            sharpen,
            look=look,
            given=shake.kernel,
            check=check,
            done=step.done,
        )
        step.reach(shake.count)
        return better

    def restore_luminance(
        self,
        planes: np.ndarray,
        options: RestoreOptions | None = None,
        *,
        cancel: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        """Run stage 1 alone on planes of one size, such as frames of a video.

        Tiles of several planes share a call where the engine takes several.

        Args:
            planes: Array of shape (planes, height, width, 1), float32 in [0, 1].
            options: Of it the restorer, tiles, flips and strength count.
            cancel: As in `restore`.

        Returns:
            New float32 array of the same shape, in [0, 1].

        Raises:
            CancelledError: `cancel` said yes (of `concurrent.futures`).
            FileNotFoundError: The model does not exist.
            ValueError: The array has another shape, or the model gave no finite numbers.
        """
        options = options or RestoreOptions()
        if planes.ndim != 4 or planes.shape[-1] != 1 or 0 in planes.shape:
            raise ValueError(
                "Planes must be of shape (planes, height, width, 1), none of them zero. "
                f"Received: shape={planes.shape}."
            )
        restored = np.array(planes, np.float32)
        if options.strength == 0:
            return restored
        self._versions([options.restorer])
        tiles = choose_tiles(restored[0], options, self.engine)
        self._restore_in_place(list(restored), tiles, options, _Steps(0, None, cancel))
        for plane, given in zip(restored, planes, strict=True):
            means.keep(plane, given.__getitem__)
        if options.strength < 1:
            restored = planes + np.float32(options.strength) * (restored - planes)
        return restored

    def suggestions(
        self, result: RestoreResult, point: tuple[float, float], *, count: int = 5
    ) -> list[Suggestion]:
        """Tell which colours the colorizer thinks likeliest at a point, for a person to choose.

        Args:
            result: Of `restore` with `keep_stages`, of a picture that was coloured.
            point: Place (x, y) in pixels of the picture that was given.
            count: How many colours, at most.

        Returns:
            The likeliest first; `color` of one is what a hint takes.

        Raises:
            ValueError: The picture was not coloured, or its stages not kept; the point lies outside
                it; or the colorizer predicts no distribution over colours.
        """
        chroma = result.planes.chroma if result.planes is not None else None
        if not isinstance(chroma, GuidedChroma):
            raise ValueError(
                "Colours are suggested for a picture that was coloured and kept its stages. "
                "Received: a result without. Restore with keep_stages=True and a mode that colours."
            )
        height, width = chroma.picture
        x, y = point
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"The point must lie in the picture. Received: ({x:g}, {y:g}), and a picture of "
                f"{width} x {height} pixels."
            )
        shown = chroma.shown
        shares = self.engine.color_shares(
            shown.luminance[np.newaxis], model=result.options.colorizer
        )[0]
        place = x / width, y / height
        light = chroma.luminance[int(place[1] * len(chroma.luminance))]
        light = light[int(place[0] * len(light))]
        return likeliest(shares, light, shown.place(place), count)

    def _versions(self, needed: list[str]) -> dict[str, str]:
        """Versions of the models a job needs; the job is refused before any work without them."""
        found = self.engine.versions(*needed) if needed else {}
        for name in needed:
            if name not in found:
                raise FileNotFoundError(
                    store.missing_model(name, self.engine.versions(), where="this engine")
                )
        return {name: found[name] for name in needed}

    def _restore_in_place(
        self, planes: Sequence[np.ndarray], tiles: Tiles, options: RestoreOptions, step: "_Steps"
    ) -> None:
        # A band leaves the blend after the last tile that reads any of its rows was cut, so a
        # plane can fill with results from the top while the tiles below read the input.
        windows = [(plane, window) for plane in planes for window in tiles]

        def restore(cut):
            step.check()
            seen, place = with_room(cut)
            results = self.engine.restore(seen, model=options.restorer)[:, *place]
            step.done(len(cut))
            return results

        def restored():
            for start in range(0, len(windows), self.engine.batch_size):
                batch = windows[start : start + self.engine.batch_size]
                # Who takes one at a time takes any size, and sees nothing but the picture.
                fill = self.engine.batch_size > 1
                cut = np.stack([tiles.cut(plane, window, fill=fill) for plane, window in batch])
                yield from flips.mean_over_flips(restore, cut) if options.best else restore(cut)

        results = restored()
        for plane in planes:
            for top, band in tiles.blend(itertools.islice(results, len(tiles))):
                if not np.isfinite(band).all():
                    raise ValueError(
                        "A restorer must give finite numbers. Received: NaN or infinity from "
                        f"model='{options.restorer}', rows {top} to {top + band.shape[0]}. Choose "
                        "another model."
                    )
                plane[top : top + band.shape[0]] = np.clip(band, 0.0, 1.0)

    def _colorize(
        self,
        luminance: np.ndarray,
        options: RestoreOptions,
        palette: Palette | None,
        picture: tuple[int, int],
    ) -> GuidedChroma:
        def colorize(small):
            return self.engine.colorize(small[np.newaxis], model=options.colorizer)[0]

        return guess(
            luminance,
            colorize,
            picture=picture,
            color_hints=options.hints,
            palette=palette,
            palette_strength=options.reference_strength,
        )


def reblend(
    result: RestoreResult,
    *,
    strength: float | None = None,
    saturation: float | None = None,
    hints: ColorHints | None = None,
    fade: float | None = None,
) -> RestoreResult:
    """Blend a result again with other settings, without running the networks.

    Args:
        result: A result of `Restorer.restore` with `keep_stages`.
        strength: As in `RestoreOptions`; `None` leaves it as it was.
        saturation: As in `RestoreOptions`; `None` leaves it as it was.
        fade: As in `RestoreOptions`; `None` leaves it as it was.
        hints: As in `RestoreOptions`; `None` leaves them as they were, and `ColorHints()` takes
            them away. Of a result that was made smaller they stay in pixels of the whole picture.

    Returns:
        The new result; `seconds` is the time this took.

    Raises:
        ValueError: The result was made without `keep_stages`, a number is out of range, a hint lies
            outside the picture, or there are hints for a picture that was not coloured.
    """
    started = time.perf_counter()
    planes = result.planes
    if planes is None:
        raise ValueError(
            "Only a result that kept its stages can be blended again. Received: planes=None. "
            "Restore with keep_stages=True."
        )
    options = dataclasses.replace(
        result.options,
        strength=result.options.strength if strength is None else strength,
        saturation=result.options.saturation if saturation is None else saturation,
        hints=result.options.hints if hints is None else hints,
        fade=result.options.fade if fade is None else fade,
    )
    if (options.hints or None) != (result.options.hints or None):
        if not isinstance(planes.chroma, GuidedChroma):
            _refuse_hints()
        planes = dataclasses.replace(planes, chroma=planes.chroma.hinted(options.hints))
    image = _compose_region(planes.source, planes.restored, planes.chroma, options)
    if planes.faces is not None:
        image = _blur_faces(image, planes.faces)
    if result.image.shape == (*image.shape, 1):
        image = image[..., np.newaxis]
    return dataclasses.replace(
        result,
        image=image,
        options=options,
        seconds=time.perf_counter() - started,
        planes=planes,
    )


def _check_hints(hints: ColorHints | None, size: tuple[int, int], *, colorizes: bool) -> None:
    """Refuse hints that nothing can be done with, before any work."""
    if hints:
        hints.check(size)
        if not colorizes:
            _refuse_hints()


def _refuse_hints() -> NoReturn:
    raise ValueError(
        "Hints are for pictures that are coloured. Received: hints for a picture that has colours "
        "of its own, which it keeps. To colour it anew take mode='colorize', or leave the hints "
        "out."
    )


class _Shake:
    """What is planned for heavy shake: the kernel if it is known, and how much work it is."""

    def __init__(self, options: RestoreOptions, size: tuple[int, int]):
        self.options = options
        self.kernel = None if options.kernel is None else kernels.parse(options.kernel)
        self.count = 0
        self._size = size

    def plan(self, tiles: int) -> int:
        """Count the steps of stage 1, for which one restoration takes so many."""
        patient = _patient_module()
        self.count = 2 * tiles
        self.count += patient.steps(self._size, self.kernel)
        return self.count


class _Steps:
    """Counts steps for whoever watches, and stops when they say so."""

    def __init__(
        self,
        total: int,
        progress: Callable[[int, int], None] | None,
        cancel: Callable[[], bool] | None,
    ):
        self._total = total
        self._count = 0
        self._progress = progress
        self._cancel = cancel

    def check(self) -> None:
        if self._cancel is not None and self._cancel():
            raise CancelledError("The restoration was cancelled.")

    def uncounted(self) -> "_Steps":
        """Steps of a work on the side, which is stopped with this one."""
        return _Steps(0, None, self._cancel)

    def reach(self, count: int) -> None:
        """Count up to here what turned out not to be needed."""
        if self._count < count:
            self.done(count - self._count)

    def done(self, steps: int = 1) -> None:
        self._count += steps
        if self._progress is not None:
            self._progress(self._count, self._total)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """A view with three channels of a picture that may have none."""
    if image.ndim == 2:
        return np.broadcast_to(image[..., np.newaxis], (*image.shape, 3))
    return image


def _bands(source: np.ndarray) -> Iterator[slice]:
    """Rows of a picture in pieces small enough for temporaries of every kind."""
    height, width = source.shape[:2]
    rows = max(_BAND // width, 1)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _luminance(source: np.ndarray) -> np.ndarray:
    plane = np.empty((*source.shape[:2], 1), np.float32)
    for band in _bands(source):
        plane[band] = color.rgb_to_luminance(_as_rgb(source[band]))
    return plane


def _around(source: np.ndarray, plane: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    """Luminance of a picture with a restored part in it; of a large one at a smaller size.

    Converting the whole of 40 megapixels takes many times as long as restoring a face in them.
    """
    size = source.shape[:2]
    scale = min(_AROUND / min(size), 1.0)
    if scale == 1.0:
        whole = _luminance(source)
        whole[window] = plane
        return whole
    height, width = (max(round(length * scale), 1) for length in size)
    whole = _luminance(cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA))
    rows, columns = (slice(round(side.start * scale), round(side.stop * scale)) for side in window)
    place = whole[rows, columns]
    if place.size:
        shape = place.shape[1::-1]
        place[..., 0] = cv2.resize(plane[..., 0], shape, interpolation=cv2.INTER_AREA)
    return whole


def _compose_region(
    source: np.ndarray,
    restored: np.ndarray | None,
    chroma: GuidedChroma | SharpChroma | None,
    options: RestoreOptions,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Put luminance and chroma together where they are asked for."""
    chosen = restored, chroma, options.strength, options.saturation, check
    if options.region is None:
        image = _compose(source, *chosen)
        return fading.correct(image, options.fade) if options.fade else image
    window = regions.window(options.region, source.shape[:2])
    return regions.paste(source, _compose(source[window], *chosen), options.region)


def _compose(
    source: np.ndarray,
    restored: np.ndarray | None,
    chroma: GuidedChroma | SharpChroma | None,
    strength: float,
    saturation: float,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Put luminance and chroma together, a band of rows at a time."""
    strength = strength if restored is not None else 0.0
    if strength == 0 and isinstance(chroma, SharpChroma):
        chroma = None
    if strength == 0 and chroma is None and (saturation == 1 or source.ndim == 2):
        return source.copy()
    height, width = source.shape[:2]
    is_gray = source.ndim == 2 and chroma is None
    image = np.empty((height, width) if is_gray else (height, width, 3), source.dtype)
    for band in _bands(source):
        check()
        luminance, own_chroma = color.rgb_to_lab(_as_rgb(source[band]))
        if strength == 1:
            luminance = restored[band]
        elif strength > 0:
            luminance += np.float32(strength) * (restored[band] - luminance)
        if isinstance(chroma, SharpChroma):
            band_chroma = chroma.mixed(band.start, own_chroma, strength)
        else:
            band_chroma = own_chroma if chroma is None else chroma.rows(band.start, luminance)
        if saturation != 1:
            band_chroma *= np.float32(saturation)
        if is_gray:
            rgb = color.lab_to_rgb(luminance, np.zeros_like(own_chroma))[..., 0]
        else:
            rgb = color.recompose(luminance, band_chroma)
        image[band] = color.from_float(rgb, source.dtype)
    return image


def _palette(options: RestoreOptions) -> Palette | None:
    """The colours of another photo, where they are asked for."""
    if options.reference is None:
        return None
    return Palette.read(options.reference)


def _face_module():
    # Its detector brings TensorFlow; nobody pays for it who does not ask for it.
    from keras_refocus.pictures import faces

    return faces


def _patient_module():
    # It brings scipy.
    from keras_refocus.restoration.deconvolution import patient

    return patient


def _colors_module():
    # It brings scipy.
    from keras_refocus.restoration.deconvolution import colors

    return colors


def _blur_faces(image: np.ndarray, boxes: Any) -> np.ndarray:
    blurred = _face_module().anonymize(_as_rgb(image), boxes)
    return blurred[..., 0] if image.ndim == 2 else blurred
