"""What is known of a family of published weights, and the tools its map of names is written with.

A map takes tensors by the authors' names and puts them, in the layout of Keras, where the network
of ours has them. Every tensor has to be taken and every weight of the network to be put, or the
import is refused: a network of which a part kept its random start is worse than none.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

Terms = Literal["permissive", "non-commercial", "unstated"]
Kind = Literal["restorer", "colorizer"]


class Tensors:
    """The tensors of a file, each to be taken once, and the weights of the network they become.

    Args:
        tensors: By the authors' names.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        self._left = dict(tensors)
        self.weights: dict[str, list[np.ndarray]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor that is still there."""
        return self._left[name].shape

    def names(self) -> list[str]:
        """Names of the tensors that are still there."""
        return list(self._left)

    def take(self, name: str) -> np.ndarray:
        """Take a tensor.

        Raises:
            ValueError: There is none of this name.
        """
        if name not in self._left:
            raise ValueError(
                f"The weights must be complete. Received: no '{name}'. Name all files of the "
                "network, or its folder; or the family is another one (--as)."
            )
        return self._left.pop(name)

    def drop(self, name: str) -> None:
        """Leave out a tensor that is no weight, such as a counter, where it is there."""
        self._left.pop(name, None)

    def put(self, layer: str, *weights: np.ndarray) -> None:
        """Give a layer its weights, in the order that Keras keeps them.

        Args:
            layer: Name of the layer; inside a nested model `model/layer`.
            *weights: Arrays in the layout of Keras.
        """
        self.weights[layer] = list(weights)

    def convolution(self, name: str, layer: str, *, scale: np.ndarray | float = 1.0) -> None:
        """Take `name.weight` and, where there is one, `name.bias`, of a convolution of PyTorch.

        Args:
            name: The authors' name of the layer.
            layer: Ours.
            scale: Factor on what the layer gives, one number or one a channel.
        """
        kernel = self.take(f"{name}.weight").transpose(2, 3, 1, 0)
        weights = [kernel * scale]
        if f"{name}.bias" in self:
            weights.append(self.take(f"{name}.bias") * scale)
        self.put(layer, *weights)

    def transposed(self, name: str, layer: str) -> None:
        """Take a transposed convolution of PyTorch; as `convolution`."""
        weights = [self.take(f"{name}.weight").transpose(2, 3, 1, 0)]
        if f"{name}.bias" in self:
            weights.append(self.take(f"{name}.bias"))
        self.put(layer, *weights)

    def normalization(self, name: str, layer: str) -> None:
        """Take a batch normalisation of PyTorch."""
        parts = ("weight", "bias", "running_mean", "running_var")
        self.put(layer, *(self.take(f"{name}.{part}") for part in parts))
        self.drop(f"{name}.num_batches_tracked")

    def finish(self) -> None:
        """Raise `ValueError` if a tensor was not taken."""
        if self._left:
            names = sorted(self._left)
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            raise ValueError(
                "Every tensor of a file must have its place. Received: "
                f"{', '.join(names[:8])}{more}, which the network has no use for. The weights are "
                "of another network than their names say; or the family is another one (--as)."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Published weights of one architecture.

    Attributes:
        name: Of the family; what `--as` takes.
        title: What people call the network.
        purpose: What it is good for, in a few words.
        generator: Name of the network in `networks.GENERATORS`, or in `networks.COLORIZERS`.
        paper: Authors, title, place and year.
        address: Page of the authors that has the files.
        trained_on: The data the published files were trained on.
        code_licence: Licence of the authors' code, as they state it.
        weights_licence: Licence of the weights, as they state it.
        terms: What that comes to; for other than `"permissive"` the user has to accept it.
        verified: What was tried here, on which files.
        matches: Whether tensors of these names and shapes are of this family.
        options: Options of the network, read off names and shapes; and off `settings`.
        convert: Puts all tensors into place, given the options.
        settings: What weights do not tell and a user may choose: name, default, and description.
        kind: Which stage the network is for.
    """

    name: str
    title: str
    purpose: str
    generator: str
    paper: str
    address: str
    trained_on: str
    code_licence: str
    weights_licence: str
    terms: Terms
    verified: str
    matches: Callable[[Tensors], bool]
    options: Callable[..., dict[str, Any]]
    convert: Callable[[Tensors, dict[str, Any]], None]
    settings: Mapping[str, tuple[float, str]] = dataclasses.field(default_factory=dict)
    kind: Kind = "restorer"
