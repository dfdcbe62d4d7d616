"""Configurations as frozen dataclasses, and their bridges to argparse, JSON and TOML.

The command line is generated from the fields, so a flag, its type, its default and its help stand
in one place.
"""

import argparse
import dataclasses
import difflib
import json
import os
import pathlib
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any

# Kinds of adversarial game, as `losses` implements them.
Adversarial = typing.Literal["none", "wgan_gp", "lsgan", "ragan", "ralsgan"]
# How a learning rate falls, as `optimizers.LearningRate` implements it.
Schedule = typing.Literal["cosine", "linear", "constant"]


# Fields of a configuration that a resumed run may be given anew.
LENGTHS = ("epochs", "adversarial_epochs", "patience")

# Backends of Keras under which trainings run.
BACKENDS = ("tensorflow", "torch")


def check_backend(name: str) -> None:
    """Refuse a backend of Keras under which no training runs.

    Raises:
        ValueError: If it is none of `BACKENDS`.
    """
    if name not in BACKENDS:
        raise ValueError(
            "Training runs under the TensorFlow or the PyTorch backend of Keras. "
            f"Received: KERAS_BACKEND={name!r}. "
            "Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=torch."
        )


def _field(default, help_text):
    return dataclasses.field(default=default, metadata={"help": help_text})


def _dict_field(default, help_text):
    return dataclasses.field(default_factory=lambda: dict(default), metadata={"help": help_text})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What the trainings of both stages have in common."""

    generator: str = _field("", "generator, a name of `networks`")
    generator_options: dict = _dict_field({}, "options of the generator, as JSON")
    discriminator: str = _field("patchgan", "discriminator, a name of `networks.DISCRIMINATORS`")
    discriminator_options: dict = _dict_field({}, "options of the discriminator, as JSON")

    flip: bool = _field(True, "turn and mirror patches at random; colour patches are not turned")
    patch_size: int = _field(128, "side of the training patches in pixels")
    batch_size: int = _field(16, "patches in a batch")
    final_patch_size: int | None = _field(None, "side of the patches in the last epochs")
    final_batch_size: int | None = _field(None, "patches in a batch in the last epochs")
    final_epochs: int = _field(0, "number of content epochs that use the final patch size")

    gradient_accumulation: int = _field(
        1,
        "parts in which a batch is computed, one after the other, for one step of them all: the "
        "memory of a part, the result of the whole (but for what looks at other pictures of a "
        "batch: batch normalisation, relativistic losses)",
    )

    epochs: int = _field(40, "epochs before the adversarial ones, on the other losses alone")
    adversarial_epochs: int = _field(0, "epochs with the adversarial loss, after the others")
    steps_per_epoch: int = _field(250, "steps in an epoch; a checkpoint is written after each")

    adversarial: Adversarial = _field("ralsgan", "kind of adversarial game")
    adversarial_weight: float = _field(0.01, "weight of the adversarial loss of the generator")

    learning_rate: float = _field(1e-3, "peak learning rate of the epochs before the adversarial")
    final_learning_rate: float = _field(1e-6, "learning rate at the end of these epochs")
    warmup_steps: int = _field(500, "steps of linear rise to the peak learning rate")
    adversarial_learning_rate: float = _field(1e-4, "learning rate of the adversarial epochs")
    adversarial_final_learning_rate: float = _field(
        0.0, "learning rate at the end of the adversarial epochs"
    )
    schedule: Schedule = _field(
        "cosine",
        "how learning rates fall in either kind of epochs; linear: the first half constant, then "
        "straight down",
    )
    beta_1: float = _field(0.9, "decay of the generator optimizer's mean gradient")
    beta_2: float = _field(0.9, "decay of the generator optimizer's mean square")
    weight_decay: float = _field(1e-4, "decoupled weight decay (AdamW)")
    clip_norm: float | None = _field(1.0, "largest global norm of a gradient; none: no clipping")
    average_decay: float = _field(0.999, "decay of the averaged weights per step")

    patience: int | None = _field(
        None,
        "end the run when no epoch was better on validation for so many; for runs without "
        "adversarial epochs; none: never",
    )

    precision: typing.Literal["float32", "mixed_float16", "mixed_bfloat16"] = _field(
        "float32", "precision of the networks while training"
    )
    seed: int = _field(0, "seed of weights, data and everything else that is random")
    deterministic: bool = _field(False, "ask the backend for bit-exact kernels; slower on GPUs")

    def __post_init__(self):
        for name in ("patch_size", "batch_size", "steps_per_epoch", "gradient_accumulation"):
            self._check_at_least(1, name)
        for name in ("batch_size", "final_batch_size"):
            if (getattr(self, name) or 0) % self.gradient_accumulation:
                raise ValueError(
                    "A batch must split into `gradient_accumulation` equal parts. Received: "
                    f"{name}={getattr(self, name)}, "
                    f"gradient_accumulation={self.gradient_accumulation}."
                )
        for name in ("epochs", "adversarial_epochs", "final_epochs", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"`{name}` must not be negative. Received: {name}={getattr(self, name)}."
                )
        if self.epochs + self.adversarial_epochs < 1:
            raise ValueError(
                "There must be at least one epoch. Received: epochs=0, adversarial_epochs=0."
            )
        if self.final_epochs > self.epochs:
            raise ValueError(
                "`final_epochs` are the last of `epochs` and cannot be more. Received: "
                f"final_epochs={self.final_epochs}, epochs={self.epochs}."
            )
        if self.patience is not None and (self.patience < 1 or self.adversarial_epochs):
            raise ValueError(
                "`patience` must be at least 1, and is for runs without adversarial epochs, which "
                "trade accuracy for looks. Received: "
                f"patience={self.patience}, adversarial_epochs={self.adversarial_epochs}."
            )
        if self.adversarial_epochs and self.adversarial == "none":
            raise ValueError(
                "Adversarial epochs need an adversarial loss. Received: "
                f"adversarial_epochs={self.adversarial_epochs}, adversarial='none'. "
                "Choose a kind, or set adversarial_epochs to 0."
            )

    def _check_at_least(self, least, name):
        if getattr(self, name) < least:
            raise ValueError(
                f"`{name}` must be at least {least}. Received: {name}={getattr(self, name)}."
            )

    @property
    def total_epochs(self) -> int:
        return self.epochs + self.adversarial_epochs

    def patches(self, epoch: int) -> tuple[int, int]:
        """Side and number of the patches of an epoch: `(patch_size, batch_size)`."""
        if epoch < self.epochs - self.final_epochs:
            return self.patch_size, self.batch_size
        return self.final_patch_size or self.patch_size, self.final_batch_size or self.batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestorerConfig(TrainingConfig):
    """Everything that decides a training of stage 1, apart from the pictures."""

    generator: str = _field("blind_wiener", "generator, a name of `networks.GENERATORS`")

    blur: str = _field("mixed", "blur synthesis for photos, a name of `exposure.SETTINGS`")
    blur_options: dict = _dict_field(
        {},
        "what of that blur is otherwise, as JSON; fields of `exposure.ExposureSettings`: "
        '{"noise": 0.0, "layers": [1.0]}',
    )
    pairs_share: float = _field(
        0.15, "share of examples from real pairs when photos and pairs are both given"
    )
    pair_degradations: str | None = _field(
        None, "noise, JPEG and scratches for pairs: those of a name of `exposure.SETTINGS`"
    )

    echo: int | None = _field(
        None,
        "batches in a row that are cut out of the same pictures, which are read once for them; "
        "none: 4 for a data set by name, 8 for folders that do not fit into memory, else 1",
    )

    content: dict = _dict_field(
        {"charbonnier": 1.0, "frequency": 0.1},
        "content losses and their weights, as JSON; names of `losses.CONTENT_LOSSES`, and "
        'perceptual, with options: {"psnr": 1.0, "perceptual": {"weight": 0.006, "weights": '
        '"imagenet"}}',
    )
    warm_up_content: dict = _dict_field(
        {}, "the same for the epochs before the adversarial ones; empty: as --content"
    )
    frozen_epochs: int = _field(
        0,
        "first epochs in which the pretrained backbone of a generator that has one (fpn_...) stays "
        "as it is",
    )
    scale_weight: float = _field(
        1.0,
        "weight of the content losses at the coarser scales of generators that have them "
        "(multiscale, pyramid, scale_recurrent); 0: compare the finest alone",
    )
    teacher_weight: float = _field(
        0.5, "share of the content losses that compare with what --teacher restores"
    )
    gradient_penalty_weight: float = _field(10.0, "weight of the gradient penalty of wgan_gp")
    critic_steps: int = _field(1, "discriminator steps for each generator step")

    def __post_init__(self):
        super().__post_init__()
        self._check_at_least(1, "critic_steps")
        self._check_at_least(0, "frozen_epochs")
        if self.echo is not None:
            self._check_at_least(1, "echo")
        if self.warm_up_content and not (self.epochs and self.adversarial_epochs):
            raise ValueError(
                "`warm_up_content` is for content epochs before adversarial ones. Received: "
                f"epochs={self.epochs}, adversarial_epochs={self.adversarial_epochs}. Name these "
                "losses in `content`."
            )
        if not 0.0 <= self.pairs_share <= 1.0:
            raise ValueError(
                f"`pairs_share` must be in [0, 1]. Received: pairs_share={self.pairs_share}."
            )
        if not 0.0 <= self.teacher_weight <= 1.0:
            raise ValueError(
                "`teacher_weight` must be in [0, 1]. "
                f"Received: teacher_weight={self.teacher_weight}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorizerConfig(TrainingConfig):
    """Everything that decides a training of stage 2, apart from the pictures.

    The discriminator options are those of the colour discriminator, which sees three channels; the
    grey one, which sees one, takes what `gray_discriminator_options` change.
    """

    generator: str = _field("mobilenet_v2_colorizer", "generator, a name of `networks.COLORIZERS`")
    decolorizer: str = _field(
        "resnet_decolorizer", "generator from colour to grey, a name of `networks.DECOLORIZERS`"
    )
    decolorizer_options: dict = _dict_field({}, "options of the decolorizer, as JSON")
    gray_discriminator_options: dict = _dict_field(
        {}, "what the discriminator of grey pictures has otherwise than the other, as JSON"
    )

    paired: bool = _field(
        True,
        "learn a photo's colours from the photo itself; otherwise one half of the photos is grey, "
        "the other in colour, and only the adversarial epochs bring them together",
    )
    smallest_part: float = _field(0.6, "part of a photo's height and width seen at least")
    tone: float = _field(
        0.0, "how much the tone curve of the grey side varies: exponents up to 1 + this"
    )

    old_prints: float = _field(
        0.0,
        "share of the photos whose grey side looks like an old print: light as an old film sees "
        "it, faded, dark or harsh, grain, soft focus, dark corners, border, scratches",
    )

    color_losses: dict = _dict_field(
        {"color_aware": 1.0},
        "colour losses and their weights, as JSON; names of `losses.COLOR_LOSSES`, or perceptual, "
        'with options: {"color_aware": {"weight": 1.0, "strength": 10.0}}',
    )
    rebalance: float | None = _field(
        None,
        "weigh colours by how rare they are in the training photos, as Zhang et al. 2016, whose "
        "mixture with equal shares is 0.5; nearer to 1 is weaker; none: treat all alike",
    )
    cycle_weight: float = _field(10.0, "weight of the cycle loss")
    identity_weight: float = _field(0.5, "weight of the identity loss, as a share of the cycle's")
    pool_size: int = _field(50, "generated pictures kept for each discriminator; 0: none")

    colorfulness_target: float = _field(
        0.65,
        "share of the photos' colourfulness below which an epoch is not taken for the best for its "
        "small chroma error",
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.paired and (self.epochs or self.color_losses):
            raise ValueError(
                "Unpaired training has adversarial epochs alone, and no colour losses. Received: "
                f"epochs={self.epochs}, color_losses={self.color_losses}. Set epochs to 0 and "
                "color_losses to {}."
            )
        if self.paired and not self.color_losses:
            raise ValueError(
                "Paired training needs colour losses. Received: color_losses={}. Name one, such as "
                '{"color_aware": 1.0}, or train unpaired.'
            )
        if not 0.0 < self.smallest_part <= 1.0:
            raise ValueError(
                f"`smallest_part` must be in (0, 1]. Received: smallest_part={self.smallest_part}."
            )
        if self.tone < 0.0:
            raise ValueError(f"`tone` must not be negative. Received: tone={self.tone}.")
        if not 0.0 <= self.old_prints <= 1.0:
            raise ValueError(
                f"`old_prints` must be in [0, 1]. Received: old_prints={self.old_prints}."
            )
        if self.adversarial_epochs and 0 < self.pool_size < self.patches(self.epochs)[1]:
            raise ValueError(
                "The history of a discriminator holds at least a batch, or nothing. Received: "
                f"pool_size={self.pool_size}, batches of {self.patches(self.epochs)[1]}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionConfig(TrainingConfig):
    """Everything that decides a training of a motion network, apart from the pictures."""

    generator: str = _field("motion_unet", "network, a name of `networks.MOTIONS`")

    blur: str = _field("clean", "blur synthesis for photos, a name of `exposure.SETTINGS`")
    blur_options: dict = _dict_field(
        {}, "what of that blur is otherwise, as JSON; fields of `exposure.ExposureSettings`"
    )
    picture: typing.Literal["luminance", "color"] = _field(
        "luminance", "what is seen of the picture: luminance, or luminance and chroma"
    )
    coded: bool = _field(
        False,
        "pictures through a phase-coded aperture (`blur.optics`), whose colours tell the direction "
        "of time; for --picture color",
    )
    parts: int = _field(21, "equal parts of a coded exposure in which its focus stands still")

    loss: typing.Literal["sequence", "jin", "trajectories"] = _field(
        "sequence",
        "trajectories: the ways alone, beside those that optical flow finds between the true "
        "frames; sequence: the frames in order; of a picture without code the better of both "
        "directions counts; "
        "jin: pairs of frames, whichever of the two is first (Jin et al. 2018)",
    )
    frequency_weight: float = _field(0.03, "weight of the loss of Fourier coefficients")
    reblur_weight: float = _field(
        0.1, "weight of how far the mean of the frames is from the blurred picture, in light"
    )
    trajectory_weight: float = _field(
        0.0, "weight of the distance of the ways beside a loss of frames"
    )

    def __post_init__(self):
        super().__post_init__()
        self._check_at_least(1, "parts")
        for name in ("frequency_weight", "reblur_weight", "trajectory_weight"):
            self._check_at_least(0, name)
        if self.adversarial_epochs:
            raise ValueError(
                "A motion network has no opponent. Received: "
                f"adversarial_epochs={self.adversarial_epochs}. Leave it out."
            )
        if self.coded and self.picture != "color":
            raise ValueError(
                "The code of an aperture is in the colours. Received: coded=True, "
                f"picture={self.picture!r}. Add --picture color."
            )
        if self.generator_options.get("channels", self.channels) != self.channels:
            raise ValueError(
                "The channels of the network are those of the picture. Received: "
                f"generator_options={self.generator_options}, picture={self.picture!r}."
            )

    @property
    def channels(self) -> int:
        """Channels of the picture that the network sees."""
        return 3 if self.picture == "color" else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterpolatorConfig(TrainingConfig):
    """Everything that decides a training of a correction of frames in between, but the clips."""

    generator: str = _field("correction_unet", "network, a name of `networks.CORRECTIONS`")

    content: dict = _dict_field(
        {"charbonnier": 1.0, "frequency": 0.01},
        "content losses and their weights, as JSON; names of `losses.CONTENT_LOSSES`",
    )
    gradient_penalty_weight: float = _field(10.0, "weight of the gradient penalty of wgan_gp")
    critic_steps: int = _field(1, "discriminator steps for each generator step")

    def __post_init__(self):
        super().__post_init__()
        self._check_at_least(1, "critic_steps")


def settled(config: TrainingConfig) -> TrainingConfig:
    """Fill in what of the networks follows from the rest of a configuration.

    The window of NAFNet's channel attention becomes 1.5 times the largest patch (Chu et al. 2022),
    unless it was given. A motion network has as many channels as what is seen of the picture.
    """
    if isinstance(config, MotionConfig):
        options = config.generator_options | {"channels": config.channels}
        return dataclasses.replace(config, generator_options=options)
    if config.generator != "nafnet" or "local_window" in config.generator_options:
        return config
    window = 3 * max(config.patch_size, config.final_patch_size or 0) // 2
    options = config.generator_options | {"local_window": window}
    return dataclasses.replace(config, generator_options=options)


def to_json(config: TrainingConfig) -> dict[str, Any]:
    """Write a configuration as a JSON-ready dict."""
    return dataclasses.asdict(config)


def from_json(config_class: type[TrainingConfig], values: Mapping[str, Any]) -> Any:
    """Build a configuration out of a dict.

    Raises:
        TypeError: If a key is not a field, or a value has another type; the message names it.
        ValueError: If a value has no meaning.
    """
    return config_class(**checked(config_class, values))


def checked(config_class: type[TrainingConfig], values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration out of a dict of JSON or TOML, which has no null: "none" is `None`.

    Raises:
        TypeError: If a key is not a field, or a value has another type; the message names it.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        near = difflib.get_close_matches(unknown[0], fields, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise TypeError(
            f"Every key must be a field of {config_class.__name__}. Received: {unknown}.{hint}"
        )
    return {name: _checked(fields[name], value) for name, value in values.items()}


def _checked(field, value):
    kind = field.type
    if typing.get_origin(kind) is typing.Literal:
        if value not in typing.get_args(kind):
            choices = ", ".join(typing.get_args(kind))
            raise TypeError(
                f"`{field.name}` must be one of {choices}. Received: {field.name}={value!r}."
            )
        return value
    if isinstance(kind, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        kind = next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
    if kind is float and type(value) is int:
        return float(value)
    # Not `isinstance`: a truth value is an integer to Python.
    if type(value) is not kind:
        raise TypeError(
            f"`{field.name}` must be of type {kind.__name__}. Received: {field.name}={value!r}."
        )
    return value


def read_file(path: str | os.PathLike) -> dict:
    """Read a configuration file: TOML or JSON, or the `record.json` of a run.

    Returns:
        Dict with `config`, what the file says of the configuration, and of a record also the rest.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is neither.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in (".toml", ".json"):
        raise ValueError(
            "A configuration must be a .toml or .json file, or the record.json of a run. "
            f"Received: {path}."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"The configuration file must exist. Received: {path}. Check the path."
        )
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except ValueError as error:  # Those of both formats and of UTF-8 are such.
        raise ValueError(
            f"A configuration must be whole TOML or JSON. Received: {path} ({error}). Mend it."
        ) from error
    if not isinstance(values, dict):
        raise ValueError(
            f"A configuration must be a table of keys and values. Received: {path}, which holds "
            f"a {type(values).__name__}."
        )
    return values if isinstance(values.get("config"), dict) else {"config": values}


def _parse_dict(text):
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(
            f"must be a JSON object, such as '{{\"l1\": 1.0}}': {error}"
        ) from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object. Received: {text}")
    return value


def _optional(convert):
    def parse(text):
        return None if text.lower() == "none" else convert(text)

    parse.__name__ = convert.__name__  # argparse names it in its error message.
    return parse


def add_arguments(parser: argparse.ArgumentParser, config_class: type[TrainingConfig]) -> None:
    """Add one flag for each field; a flag that is not given stays out of the namespace."""
    for field in dataclasses.fields(config_class):
        flag = "--" + field.name.replace("_", "-")
        options = {"default": argparse.SUPPRESS, "help": field.metadata["help"]}
        kind = field.type
        if typing.get_origin(kind) is typing.Literal:
            options["choices"] = typing.get_args(kind)
        elif kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind is dict:
            options.update(type=_parse_dict, metavar="JSON")
        elif isinstance(kind, types.UnionType):
            inner = next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
            options.update(type=_optional(inner), metavar=inner.__name__.upper())
        else:
            options.update(type=kind, metavar=kind.__name__.upper())
        parser.add_argument(flag, **options)


def to_arguments(config: TrainingConfig, base: TrainingConfig) -> list[str]:
    """Write the flags that make `config` out of `base`: the inverse of `from_arguments`.

    Returns:
        List of words for a command line.
    """
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == getattr(base, field.name):
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, dict):
            words += [f"--{flag}", json.dumps(value)]
        else:
            words += [f"--{flag}", "none" if value is None else str(value)]
    return words


def from_arguments(
    base: TrainingConfig, arguments: argparse.Namespace, told: dict[str, Any] | None = None
) -> Any:
    """Replace the fields of `base` for which a flag was given, or else a value of the dict `told`.

    At once, because some values have a meaning only together.
    """
    names = {field.name for field in dataclasses.fields(base)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return dataclasses.replace(base, **(told or {}) | given)
