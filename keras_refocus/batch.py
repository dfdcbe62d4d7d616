"""Restore very many photos on Apache Beam, in several processes or on a cluster.

    refocus batch photos/ --out restored/ --workers 2 --threads 1
    refocus batch s3://bucket/in --out s3://bucket/out --runner flink -- --flink_master=host:8081

What follows `--` are options of Beam and of the runner. A batch that was stopped goes on with the
same command: what is done is not done again.
"""

import argparse
import sys
from collections.abc import Sequence

from keras_refocus.cloud import beam_job, restoring, retries, storage, watch
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, extras


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Run a batch from the command line; returns 0, or 1 if a picture failed."""
    parser = _parser()
    given = list(sys.argv[1:] if argv is None else argv)
    options: list[str] = []
    if "--" in given:
        border = given.index("--")
        given, options = given[:border], given[border + 1 :]
    arguments = parser.parse_args(given)
    console.start_logging(verbose=arguments.verbose)
    try:
        batch = beam_job.Batch(
            source=arguments.source,
            out=arguments.out,
            settings=restoring.Settings(
                options=pipeline.RestoreOptions(mode=arguments.mode, strength=arguments.strength),
                format=arguments.format,
                quality=arguments.quality,
            ),
            models=arguments.models,
            threads=arguments.threads,
            shards=arguments.shards,
        )
        source = storage.open_source(arguments.source, recursive=True)
        watch.refuse_nesting(source.place, storage.open_place(arguments.out))
        if next(source.pictures(), None) is None:
            raise ValueError(
                f"The input must hold at least one picture. Received: {source.place.shown}. "
                "Check the address."
            )
        summary = beam_job.run(
            batch, runner=arguments.runner, workers=arguments.workers, options=options
        )
    except KeyboardInterrupt:
        print("\nrefocus batch: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        parser.error(retries.say(error))
    print(
        f"{arguments.out}: {summary.restored} restored, {summary.skipped} were done, "
        f"{summary.failed} failed"
    )
    if summary.failed:
        print(f"refocus batch: the reasons are in {beam_job.FAILED}", file=sys.stderr)
    return 1 if summary.failed else 0


def _parser() -> argparse.ArgumentParser:
    defaults = pipeline.RestoreOptions()
    parser = argparse.ArgumentParser(
        prog="refocus batch",
        description="Restore very many photos on Apache Beam. Options of Beam and of the runner "
        "follow after --.",
        epilog="Example: refocus batch photos/ --out restored/ --workers 2 --threads 1",
    )
    parser.add_argument("source", metavar="IN", help="folder, pattern, or address of the photos")
    parser.add_argument("--out", required=True, metavar="OUT", help="folder or address of results")
    parser.add_argument(
        "--runner",
        choices=beam_job.RUNNERS,
        default="direct",
        help="what runs the batch; direct: processes of this machine (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of --runner direct (default: 1)"
    )
    parser.add_argument(
        "--threads", type=int, help="processor threads of each process (default: all)"
    )
    parser.add_argument(
        "--shards", type=int, default=1, help="files of the manifest (default: %(default)s)"
    )
    parser.add_argument("--mode", choices=pipeline.MODES, default=defaults.mode)
    parser.add_argument("--strength", type=float, default=defaults.strength, help="0 to 1")
    parser.add_argument(
        "--format", choices=list(images.FORMATS), help="of the results (default: of each picture)"
    )
    parser.add_argument("--quality", type=int, default=95, help="of JPEG and WebP (default: 95)")
    parser.add_argument("--models", metavar="DIR", help="folder or address of models")
    parser.add_argument("--verbose", action="store_true", help="say more on standard error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
