"""`refocus serve`: TensorFlow Serving's gRPC API for development, on this machine.

    refocus serve                                        the models that came with the installation
    refocus serve --models DIR                           every model in a folder
    refocus serve --config serving/models.config --models-root saved_models \
        --batching serving/batching.config               the files of a deployment

For production use TensorFlow Serving itself, with the files in `serving/`.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from keras_refocus.engines import store
from keras_refocus.engines.options import add_models
from keras_refocus.system import console, extras, memory, options

logger = logging.getLogger(__name__)

# What our client keeps under way: with that many requests each may have a processor to itself,
# which wastes less than sharing every operation among all of them.
_REQUESTS_AT_ONCE = 8


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus serve",
        description="Answer TensorFlow Serving's gRPC API from this process (for development).",
    )
    models = parser.add_argument_group("models")
    which = models.add_mutually_exclusive_group()
    add_models(which, "folder with one sub-folder per model")
    which.add_argument(
        "--config", metavar="FILE", help="a TensorFlow Serving models.config instead of a folder"
    )
    models.add_argument(
        "--models-root",
        metavar="DIR",
        help="folder that stands for the common parent of the base paths in --config",
    )
    models.add_argument(
        "--poll-seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="time between two looks for new versions; 0 looks only once (default: %(default)s)",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    network.add_argument(
        "--port", type=int, default=8500, help="0 takes a free one (default: %(default)s)"
    )
    network.add_argument(
        "--ssl-config", metavar="FILE", help="a TensorFlow Serving ssl.config; turns TLS on"
    )
    network.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="requests handled at the same time (default: four per processor)",
    )
    network.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="S",
        help="time to finish requests when stopped (default: %(default)s)",
    )
    parser.add_argument(
        "--batching",
        metavar="FILE",
        help="a TensorFlow Serving batching.config; joins requests into batches",
    )
    parser.add_argument(
        "--op-threads",
        type=int,
        default=max(1, (os.cpu_count() or 1) // _REQUESTS_AT_ONCE),
        metavar="N",
        help="threads that share one operation, TensorFlow Serving's "
        "--tensorflow_intra_op_parallelism: fewer serve more requests a second, more answer a lone "
        "one sooner (default here: %(default)s)",
    )
    options.add_verbose(parser, "log failed requests too")
    return parser


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> None:
    """Serves until interrupted or terminated, then finishes the requests under way."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.models_root and not args.config:
        parser.error("--models-root goes with --config; without one, use --models")
    if args.op_threads < 1:
        parser.error(f"--op-threads must be at least 1. Received: {args.op_threads}")
    extras.require("serving", "Serving")
    console.start_logging(verbose=args.verbose)
    if not args.verbose:
        logging.getLogger("keras_refocus").setLevel(logging.INFO)  # which versions come and go
    console.import_tensorflow()
    from keras_refocus.local_server import configuration, services

    try:
        if args.config:
            config = configuration.read_model_config(args.config, models_root=args.models_root)
        else:
            config = configuration.model_config_for(store.find_models(args.models))
        server = services.LocalServer(
            config,
            host=args.host,
            port=args.port,
            threads=args.threads,
            poll_seconds=args.poll_seconds,
            release_memory=memory.release_memory,
            batching=configuration.read_batching_parameters(args.batching)
            if args.batching
            else None,
            credentials=configuration.read_ssl_config(args.ssl_config) if args.ssl_config else None,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))

    services.set_operation_threads(args.op_threads)

    def stop(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        server.start()
        logger.info("%d thread(s) for one operation", services.operation_threads())
        logger.info("Serving on %s:%d; press Ctrl-C to stop", args.host, server.port)
        server.wait()
    except KeyboardInterrupt:
        logger.info("Stopping: no new requests, up to %g s for those under way", args.grace)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        server.stop(args.grace)


if __name__ == "__main__":
    sys.exit(main())
