"""Restore what arrives in a folder or a store.

    refocus watch incoming/ --out restored/
    refocus watch s3://bucket/incoming --out s3://bucket/restored --poll 60

What cannot be read is copied to `rejected/` below the results, with its reason in a line of text.
Ctrl-C ends it after the picture in work; started again, it goes on where it was.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from keras_refocus.cloud import restoring, retries, storage, watch
from keras_refocus.engines.local import LocalEngine
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, extras, memory


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Watch from the command line; returns 0 when it is stopped."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    extras.require("cloud", "Watching", "watchfiles")
    console.start_logging(verbose=arguments.verbose)
    memory.keep_memory(large=False)
    try:
        settings = restoring.Settings(
            options=pipeline.RestoreOptions(mode=arguments.mode, strength=arguments.strength),
            format=arguments.format,
            quality=arguments.quality,
        )
        timing = watch.Timing(settle=arguments.settle, poll=arguments.poll)
        places = storage.open_place(arguments.source), storage.open_place(arguments.out)
        watch.refuse_nesting(*places)
        console.import_tensorflow()
        restorer = pipeline.Restorer(LocalEngine(arguments.models, threads=arguments.threads))
        restorer.check_models(settings.options)
    except (OSError, ValueError) as error:
        parser.error(retries.say(error))
    stop = threading.Event()

    def stopped(number, frame):
        if stop.is_set():
            raise KeyboardInterrupt  # asked a second time: now
        print("refocus watch: ending after the picture in work", file=sys.stderr)
        stop.set()

    previous = {number: signal.signal(number, stopped) for number in _signals()}
    try:
        with restorer:
            watcher = watch.Watcher(*places, restorer, settings, timing)
            print(f"refocus watch: watching {places[0].shown}; Ctrl-C ends", file=sys.stderr)
            watcher.run(stop=stop, once=arguments.once, tell=_tell)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        parser.error(retries.say(error))
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _signals() -> list[int]:
    return [signal.SIGINT, signal.SIGTERM]


def _tell(outcome: restoring.Outcome) -> None:
    if outcome.status == "restored":
        print(outcome.task.out.show(outcome.task.target), flush=True)
    elif outcome.status == "failed":
        print(f"refocus watch: {outcome.task.shown}: {outcome.reason}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    defaults, times = pipeline.RestoreOptions(), watch.Timing()
    parser = argparse.ArgumentParser(
        prog="refocus watch",
        description="Restore what arrives in a folder or a store, until Ctrl-C.",
        epilog="Example: refocus watch incoming/ --out restored/",
    )
    parser.add_argument("source", metavar="IN", help="folder, or address such as s3://bucket/in")
    parser.add_argument("--out", required=True, metavar="OUT", help="folder or address of results")
    parser.add_argument("--once", action="store_true", help="end when all that is there is done")
    parser.add_argument(
        "--settle",
        type=float,
        default=times.settle,
        metavar="SECONDS",
        help="a file is taken when it has not changed for so long (default: %(default)s)",
    )
    parser.add_argument(
        "--poll",
        type=float,
        default=times.poll,
        metavar="SECONDS",
        help="time between two listings of a store (default: %(default)s)",
    )
    parser.add_argument("--mode", choices=pipeline.MODES, default=defaults.mode)
    parser.add_argument("--strength", type=float, default=defaults.strength, help="0 to 1")
    parser.add_argument(
        "--format", choices=list(images.FORMATS), help="of the results (default: of each picture)"
    )
    parser.add_argument("--quality", type=int, default=95, help="of JPEG and WebP (default: 95)")
    parser.add_argument("--models", metavar="DIR", help="folder or address of models")
    parser.add_argument("--threads", type=int, help="processor threads to use (default: all)")
    parser.add_argument("--verbose", action="store_true", help="say more on standard error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
