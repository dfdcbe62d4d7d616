"""What is installed in a folder of models, and under which licence it came.

Models that were trained here carry no origin; those with published weights carry what
`refocus import` wrote beside them.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from keras_refocus.engines import contract, store, timings

# Under this key of `network.json` lies where weights came from.
IMPORTED = "imported"

# What the models of this project are good for.
_GOOD_FOR = {
    contract.RESTORER: "closest to the truth",
    "restorer_gan": "crisper textures, partly invented",
    contract.COLORIZER: "colours for grey photos",
    contract.REFOCUS: "the whole pipeline in one graph",
    contract.MOTION: "a clip out of one blurred photo",
    contract.INTERPOLATOR: "frames in between, closer to the truth",
}

# Kinds beside restorers, whose names begin so.
_NAMED = (contract.COLORIZER, contract.REFOCUS, contract.MOTION, contract.INTERPOLATOR)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where published weights came from.

    Attributes:
        family: Name of the family, as `refocus import --as` takes it.
        title: What people call the network.
        purpose: What it is good for.
        trained_on: Data that it was trained on.
        paper: Authors, title, place and year.
        address: Page of the authors.
        code_licence: Licence of the authors' code.
        weights_licence: Licence of the weights.
        terms: `"permissive"`, `"non-commercial"` or `"unstated"`.
        accepted: Whether the user accepted terms that are not permissive.
        settings: What was chosen that the weights do not tell.
        files: Name and SHA-256 of each file.
        kind: `"restorer"` or `"colorizer"`.
    """

    family: str
    title: str
    purpose: str
    trained_on: str
    paper: str
    address: str
    code_licence: str
    weights_licence: str
    terms: str
    accepted: bool
    settings: dict[str, float]
    files: list[dict[str, str]]
    kind: str = contract.RESTORER

    @property
    def licence(self) -> str:
        """Licence of the weights in a few words, for lists and reports."""
        if self.terms == "permissive":
            return self.weights_licence
        return f"{self.terms}: {self.weights_licence}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Installed:
    """A model in a folder of models.

    Attributes:
        name: Of the servable.
        version: Number of the newest version.
        folder: Of that version.
        megabytes: Of that version on disk, in 10^6 bytes.
        origin: Where its weights came from, `None` if they were trained with this program.
        seconds: For one picture of 1280x720 on this machine, `None` if that was not measured.
    """

    name: str
    version: str
    folder: Path
    megabytes: float
    origin: Origin | None
    seconds: float | None = None


def read_origin(version: Path) -> Origin | None:
    """Tell where the weights of a SavedModel came from, `None` if it says nothing.

    Args:
        version: Folder of a version of a servable.
    """
    try:
        found: Any = json.loads((version / contract.NETWORK_FILE).read_text(encoding="utf-8"))
        return Origin(**found[IMPORTED])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def kind_of(name: str, origin: Origin | None) -> str:
    """What a model is: `"restorer"`, `"colorizer"`, `"motion"`, `"interpolator"`, `"refocus"`."""
    if origin is not None:
        return origin.kind
    named = (kind for kind in _NAMED if name.startswith(kind))
    return next(named, contract.RESTORER)


def good_for(name: str, origin: Origin | None) -> str:
    """What a model is good for, in a few words; of published weights also whose they are."""
    if origin is not None:
        return f"{origin.title}, for {origin.purpose}"
    return _GOOD_FOR.get(name, "your own model")


def facts(model: Installed) -> tuple[str, ...]:
    """Kind, size and time of a model; of published weights also licence and source."""
    found = [kind_of(model.name, model.origin), f"{model.megabytes:.1f} MB"]
    if model.seconds is not None:
        found.append(f"{model.seconds:.2f} s at 720p")
    if model.origin is not None:
        found += [f"licence {model.origin.licence}", model.origin.address]
    return tuple(found)


def list_models(folder: Path) -> list[Installed]:
    """The newest version of each model in a folder, sorted by name."""
    result = []
    for name in store.servables(folder):
        version = store.newest_version(folder / name)
        if version is None:
            continue
        size = sum(part.stat().st_size for part in version.rglob("*") if part.is_file())
        result.append(
            Installed(
                name=name,
                version=version.name,
                folder=version,
                megabytes=size / 1e6,
                origin=read_origin(version),
                seconds=timings.recall(version),
            )
        )
    return result
