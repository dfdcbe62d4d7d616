"""Collect photos: from Unsplash's search, from its data set, from a list of addresses.

    refocus collect unsplash "street at night" --count 300 --out photos/
    refocus collect unsplash-lite photos.tsv000 --count 1000 --width 1280 --out photos/
    refocus collect urls list.txt --out photos/

A collection that was stopped goes on with the same command. `manifest.jsonl` in the folder has
source, photographer, links and licence of each photo.
"""

import argparse
import datetime
import sys
from collections.abc import Sequence

from keras_refocus.cloud import collect, retries
from keras_refocus.system import console, extras


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Collect from the command line; returns 0, or 1 if a photo could not be had."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    extras.require("cloud", "Collecting", "requests")
    console.start_logging(verbose=arguments.verbose)
    if arguments.count is not None and arguments.count < 1:
        parser.error(f"--count must be at least 1. Received: --count {arguments.count}.")
    try:
        with console.progress_bar(arguments.count, label="collecting", unit="photo") as bar:
            show = _Show(bar)
            if arguments.source == "unsplash":
                summary = collect.collect_unsplash(
                    arguments.query, count=arguments.count, out=arguments.out, tell=show
                )
            elif arguments.source == "unsplash-lite":
                summary = collect.collect_lite(
                    arguments.table,
                    count=arguments.count,
                    width=arguments.width,
                    out=arguments.out,
                    tell=show,
                )
            else:
                summary = collect.collect_urls(
                    arguments.list,
                    count=arguments.count,
                    licence=arguments.licence,
                    out=arguments.out,
                    tell=show,
                )
    except KeyboardInterrupt:
        print("\nrefocus collect: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        parser.error(retries.say(error))
    for name, reason in summary.failed:
        print(f"refocus collect: {name}: {reason}", file=sys.stderr)
    print(
        f"{arguments.out}: {summary.collected} collected, {summary.there} were there, "
        f"{len(summary.failed)} failed"
    )
    return 1 if summary.failed else 0


class _Show:
    """Shows how far a collection is; how long it waits also where there is no bar."""

    def __init__(self, bar):
        self._bar = bar
        self._is_waiting = False

    def __call__(self, progress: collect.Progress) -> None:
        self._bar.total = progress.total
        self._bar.n = progress.done
        parts = []
        if progress.waits:
            parts.append(f"next request in {_span(progress.waits)}")
        if progress.left:
            parts.append(f"all in {_span(progress.left)}")
        if progress.waits and not self._is_waiting and self._bar.disable:
            print(
                f"refocus collect: {progress.done} of {progress.total}, {', '.join(parts)}",
                file=sys.stderr,
            )
        self._is_waiting = bool(progress.waits)
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
        self._bar.refresh()


def _span(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus collect",
        description="Collect photos, each with its source, photographer and licence.",
        epilog='Example: refocus collect unsplash "street at night" --count 300 --out photos/',
    )
    sources = parser.add_subparsers(
        dest="source", required=True, metavar="{unsplash,unsplash-lite,urls}"
    )
    unsplash = sources.add_parser(
        "unsplash",
        help="what a search on Unsplash finds",
        description="Collect what a search on Unsplash finds, within its limit of requests an "
        f"hour. The access key of your application is read from {collect.KEY_VARIABLE}.",
    )
    unsplash.add_argument("query", help="what is searched for")
    unsplash.add_argument(
        "--count", type=int, default=30, metavar="N", help="photos (default: %(default)s)"
    )
    lite = sources.add_parser(
        "unsplash-lite",
        help="photos of the data set that Unsplash releases for machine learning",
        description="Collect photos of the data set that Unsplash releases for machine learning "
        "(https://unsplash.com/data); it needs no key.",
    )
    lite.add_argument("table", help="photos.tsv000 of the data set")
    lite.add_argument("--count", type=int, metavar="N", help="photos (default: all)")
    lite.add_argument(
        "--width", type=int, metavar="PIXELS", help="width to ask for (default: the original)"
    )
    urls = sources.add_parser(
        "urls",
        help="a list of addresses",
        description="Collect the photos of a list of addresses, one a line; behind a tab may "
        "stand the licence of a photo.",
    )
    urls.add_argument("list", help="text file of addresses")
    urls.add_argument("--count", type=int, metavar="N", help="photos (default: all)")
    urls.add_argument(
        "--licence", default="not stated", metavar="TEXT", help="of photos without one of their own"
    )
    for source in (unsplash, lite, urls):
        source.add_argument(
            "--out", required=True, metavar="PLACE", help="folder or address of the photos"
        )
        source.add_argument("--verbose", action="store_true", help="say more on standard error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
