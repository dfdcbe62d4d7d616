"""A clip out of one blurred photo: what happened while the shutter was open.

    refocus unblur photo.jpg --frames 7 --out clip.mp4
    refocus unblur photo.jpg --out clip.gif --fps 8 --loop --reverse
    refocus unblur photo.jpg --frames 15 --out frames/

Blur tells along which line things moved, not in which direction: that is a guess, which the
metadata of the result says, and `--reverse` turns it round.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path

from keras_refocus.engines import local
from keras_refocus.engines import options as engine_options
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, extras
from keras_refocus.system import options as shared_options
from keras_refocus.video import from_blur, unblur


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Make a clip from the command line; returns 0."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.out.suffix.lower() in unblur.VIDEOS:
        extras.require("video", "Writing a video", "av")
    if arguments.server:
        extras.require("serving", "A server", "tensorflow_serving")
    if arguments.out.suffix and arguments.out.exists() and not arguments.overwrite:
        parser.error(
            f"a file is not replaced unasked. Received: --out {arguments.out}, which "
            "exists. Choose another name, or add --overwrite."
        )
    console.start_logging(verbose=arguments.verbose)
    try:
        # Read first: a mistake in the name needs no TensorFlow.
        from keras_refocus.pictures import images

        photo = images.read(arguments.photo)
        with _restorer(arguments) as restorer:
            options = pipeline.RestoreOptions(restorer=arguments.model, strength=arguments.strength)
            restorer.check_models(options)
            clip = unblur.unblur(
                photo.rgb,
                restorer,
                frames=arguments.frames,
                reverse=arguments.reverse,
                model=arguments.motion,
                coded=arguments.coded,
                longest_side=arguments.longest_side,
                options=options,
            )
        written = unblur.write(
            arguments.out,
            clip,
            rate=arguments.fps,
            loop=arguments.loop,
            overwrite=arguments.overwrite,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    except (KeyboardInterrupt, CancelledError):
        print("\nStopped: nothing was written.", file=sys.stderr)
        return 130
    height, width = clip.frames.shape[1:3]
    print(
        f"{len(clip.frames)} frames of {width}x{height}, motion of up to {clip.length:.0f} pixels "
        f"({clip.method}), direction {clip.direction}" + (", reversed" if clip.reversed else ""),
        file=sys.stderr,
    )
    for path in written:
        print(path)
    return 0


def _restorer(arguments: argparse.Namespace) -> pipeline.Restorer:
    console.import_tensorflow()
    if arguments.server:
        address = arguments.server
        return pipeline.Restorer(address if "://" in address else f"grpc://{address}")
    return pipeline.Restorer(local.LocalEngine(arguments.models, threads=arguments.threads))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus unblur",
        description="Make a clip of what happened while one blurred photo was exposed. The "
        "direction of time is a guess, since blur does not tell it.",
        epilog="example: refocus unblur photo.jpg --frames 7 --out clip.mp4",
    )
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="the blurred photo")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="where the clip goes: .mp4, .mov, .mkv, .webm, .gif, .webp or .png (moving); a name "
        "without a suffix is a folder of PNG frames",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    shared_options.add_verbose(parser)
    _add_clip(parser.add_argument_group("the clip"))
    _add_engine(parser.add_argument_group("models"))
    return parser


def _add_clip(clip: argparse._ArgumentGroup) -> None:
    clip.add_argument(
        "--frames",
        type=shared_options.positive,
        default=from_blur.FRAMES,
        metavar="N",
        help="frames, from the first moment to the last (default: %(default)s)",
    )
    clip.add_argument(
        "--fps",
        type=float,
        default=unblur.RATE,
        metavar="X",
        help="frames a second (default: %(default)g)",
    )
    clip.add_argument(
        "--loop",
        action="store_true",
        help="there and back again, so that it can repeat without a jump; GIF, WebP and PNG do",
    )
    clip.add_argument("--reverse", action="store_true", help="time goes the other way")
    clip.add_argument(
        "--longest-side",
        type=shared_options.positive,
        default=unblur.LONGEST_SIDE,
        metavar="N",
        help="shrink larger photos to this many pixels first (default: %(default)s)",
    )
    clip.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="X",
        help="how much the frames are sharpened, 0 to 1 (default: %(default)g)",
    )


def _add_engine(models: argparse._ArgumentGroup) -> None:
    engine_options.add_models_or_server(models)
    models.add_argument(
        "--model",
        default=pipeline.RestoreOptions().restorer,
        help="name of the restorer, where there are several (default: %(default)s)",
    )
    models.add_argument(
        "--motion",
        metavar="NAME",
        help="name of the motion network; classical: none, the search for straight lines alone "
        "(default: motion if it is there and the photo is not coded, else classical)",
    )
    models.add_argument(
        "--coded",
        action="store_true",
        help="the photo was taken through the phase-coded aperture, whose colours tell the "
        "direction of time; a network that --motion names must have been trained for it",
    )
    engine_options.add_threads(models)


if __name__ == "__main__":
    sys.exit(main())
