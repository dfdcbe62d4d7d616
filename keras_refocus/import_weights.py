"""Turn files of published weights into a model for this program and for TensorFlow Serving.

    refocus import NAFNet-GoPro-width32.pth --out my_models
    refocus import checkpoints/DMPHN_1_2_4 --out my_models --name dmphn --accept-licence
    refocus import --list

The files are those of the authors, which the user has downloaded; nothing is downloaded here, and
PyTorch is not needed. Whose weights they are is told by the names and shapes in them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_refocus.system import console, options


def main(argv: Sequence[str] | None = None) -> None:
    """Import from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        if arguments.checkpoint:
            parser.error("--list shows what can be imported. Leave the files out.")
        _quietly()
        print(_families())
        return
    if not arguments.checkpoint:
        parser.error("name the files of the authors, or see --list")
    console.start_logging(verbose=arguments.verbose)
    _quietly()
    from keras_refocus.deployment import saved_model
    from keras_refocus.engines import installed
    from keras_refocus.networks.imported import cards, registry

    settings = {} if arguments.noise is None else {"noise": arguments.noise}
    try:
        imported = registry.load(arguments.checkpoint, family=arguments.family, settings=settings)
        family = imported.family
        if family.terms != "permissive" and not arguments.accept_licence:
            parser.error(
                f"these are weights of {family.title}, whose licence is not permissive: "
                f"{family.weights_licence} ({family.terms}). See {family.address}, and add "
                "--accept-licence if you may use them so."
            )
        name = arguments.name or family.name
        version = saved_model.export_model(
            imported.model,
            arguments.out / name,
            version=arguments.number,
            overwrite=arguments.overwrite,
            half=arguments.half,
            network={
                "generator": family.generator,
                "generator_options": imported.options,
                installed.IMPORTED: cards.origin(imported, accepted=arguments.accept_licence),
            },
            card=cards.card(imported, name),
        )
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    size = sum(part.stat().st_size for part in version.rglob("*") if part.is_file())
    print(f"{version}  ({size / 1e6:.1f} MB; {family.title}, {family.weights_licence})")
    print(_how_to_use(family.kind, arguments.out, name), file=sys.stderr)


def _how_to_use(kind: str, out: Path, name: str) -> str:
    command = f"refocus restore PHOTO --models {out}"
    if kind == "restorer":
        return f"restore with: {command} --model {name}"
    return (
        f"colour with: {command} --mode colorize --colorizer {name}\n"
        f"The restorer, which runs before it, has to lie in {out} too."
    )


def _quietly() -> None:
    # The maps lie beside the networks, which are of Keras.
    console.import_tensorflow()


def _families() -> str:
    """What can be imported, one paragraph a family."""
    from keras_refocus.networks.imported import registry

    paragraphs = []
    for family in registry.FAMILIES.values():
        lines = [
            f"{family.name}: {family.title}, for {family.purpose}",
            f"  paper       {family.paper}",
            f"  files       {family.address}",
            f"  trained on  {family.trained_on}",
            f"  licence     weights: {family.weights_licence}; code: {family.code_licence}"
            + ("" if family.terms == "permissive" else f" ({family.terms}: --accept-licence)"),
            f"  verified    {family.verified}",
        ]
        lines += [
            f"  --{name:<10}{text} (default: {default:g})"
            for name, (default, text) in family.settings.items()
        ]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus import",
        usage="refocus import CHECKPOINT [CHECKPOINT ...] [--out DIR] [--name NAME] [options]",
        description="Turn files of published weights (PyTorch, safetensors, HDF5, checkpoints of "
        "TensorFlow) into a model for this program and for TensorFlow Serving. Nothing is "
        "downloaded, and no code in the files is run.",
        epilog="example: refocus import checkpoints/DMPHN_1_2_4 --out my_models --accept-licence",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="*",
        metavar="CHECKPOINT",
        help="file of the authors, several where they split them, or the folder they lie in",
    )
    parser.add_argument(
        "--list", action="store_true", help="show what can be imported, from where, which licence"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("my_models"),
        help="folder of models to add it to (default: %(default)s)",
    )
    parser.add_argument("--name", help="name of the model (default: that of the family)")
    parser.add_argument(
        "--as",
        dest="family",
        metavar="FAMILY",
        help="whose weights they are, where that cannot be told from the files",
    )
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="accept a licence that is not permissive, or that nobody has stated",
    )
    parser.add_argument(
        "--noise",
        type=float,
        metavar="LEVEL",
        help="of a denoiser that has to be told: standard deviation of the noise, of 255",
    )
    parser.add_argument(
        "--half", action="store_true", help="store weights as float16: half the size on disk"
    )
    parser.add_argument(
        "--number", type=int, help="number of the version (default: the next free one)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the version if it exists")
    options.add_verbose(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
