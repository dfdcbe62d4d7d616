"""The families of published weights, and from files to a network."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_refocus import networks
from keras_refocus.networks.imported import (
    ddcolor,
    deepdeblur,
    dmphn,
    dncnn,
    drunet,
    eccv16,
    hinet,
    nafnet,
    siggraph17,
    srn,
    weight_files,
)
from keras_refocus.networks.imported.family import Family, Tensors

_MODULES = (
    nafnet,
    dmphn,
    srn,
    deepdeblur,
    dncnn,
    drunet,
    hinet,
    siggraph17,
    eccv16,
    ddcolor,
)
FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in _MODULES}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """A network with published weights.

    Attributes:
        model: `keras.Model` from luminance to restored luminance, or to chroma.
        family: What it is.
        options: Options it was built with.
        settings: What was chosen that the weights do not tell.
        sources: The files the weights are from.
    """

    model: Any
    family: Family
    options: dict[str, Any]
    settings: dict[str, float]
    sources: tuple[weight_files.Source, ...]


def find(name: str) -> Family:
    """The family of a name.

    Raises:
        ValueError: There is none.
    """
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"The family must be one of {', '.join(FAMILIES)}. Received: {name!r}.{hint}"
        )
    return FAMILIES[name]


def recognise(weights: weight_files.Weights) -> Family:
    """Tell whose weights these are by the names and shapes of the tensors.

    Raises:
        ValueError: They are of no known family.
    """
    for family in FAMILIES.values():
        if family.matches(Tensors(weights.tensors)):
            return family
    names = list(weights.tensors)
    raise ValueError(
        f"The weights must be of a known family: {', '.join(FAMILIES)}. Received: "
        f"{len(names)} tensors, {', '.join(names[:4])} and so on, which none of them has. See "
        "`refocus import --list`."
    )


def load(
    paths: Iterable[str | Path],
    *,
    family: str | None = None,
    settings: Mapping[str, float] | None = None,
) -> Imported:
    """Read published weights into a network.

    Args:
        paths: Files or folders, see `weight_files.read`.
        family: Name of the family; by default it is recognised.
        settings: What the weights do not tell, see `Family.settings`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The files are of no known family, incomplete, or hold more than its network.
    """
    weights = weight_files.read(paths)
    chosen = find(family) if family else recognise(weights)
    return build(chosen, weights, settings=settings)


def build(
    family: Family,
    weights: weight_files.Weights,
    *,
    settings: Mapping[str, float] | None = None,
) -> Imported:
    """Build the network of a family and give it its weights; as `load`."""
    given = dict(settings or {})
    for name in given:
        if name not in family.settings:
            raise ValueError(
                f"{family.title} has the settings {sorted(family.settings) or 'none'}. Received: "
                f"{name}={given[name]}."
            )
    given = {name: given.get(name, default) for name, (default, _) in family.settings.items()}
    tensors = Tensors(weights.tensors)
    try:
        options = family.options(tensors, **given)
        model = networks.build(family.generator, **options)
        family.convert(tensors, options)
    except KeyError as error:
        # Shapes are asked of tensors that a family cannot be without.
        raise ValueError(
            f"Weights of {family.title} must be complete. Received: no {error}. Name all files of "
            "the network, or its folder; or the family is another one (--as)."
        ) from error
    tensors.finish()
    _set_weights(model, tensors.weights, family)
    return Imported(
        model=model, family=family, options=options, settings=given, sources=weights.sources
    )


def _set_weights(model, weights: Mapping[str, list], family: Family) -> None:
    missing = {path for path, layer in _layers(model) if layer.weights}
    layers = dict(_layers(model))
    for path, arrays in weights.items():
        shapes = [array.shape for array in arrays]
        expected = (
            [tuple(weight.shape) for weight in layers[path].weights] if path in layers else []
        )
        if shapes != expected:
            raise ValueError(
                f"The weights of {family.title} must fit its network. Received: {shapes} for "
                f"'{path}', which takes {expected}. They are of another variant of it."
            )
        layers[path].set_weights(arrays)
        missing.discard(path)
    if missing:
        raise ValueError(
            f"The weights of {family.title} must fill its network. Received: none for "
            f"{', '.join(sorted(missing)[:8])}."
        )


def _layers(model) -> list[tuple[str, Any]]:
    """Layers with their paths, those of nested models too."""
    found = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found += [(f"{layer.name}/{path}", inner) for path, inner in _layers(layer)]
        else:
            found.append((layer.name, layer))
    return found
