"""Open the web page on this machine.

    refocus demo
    refocus demo --server localhost:8500
    refocus demo --host 0.0.0.0 --auth users.txt

Only this machine can reach the page unless `--host` or `--share` says otherwise.
"""

import argparse
import contextlib
import ipaddress
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_refocus.engines import store
from keras_refocus.system import console, extras


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        users = _users(arguments.auth)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    extras.require("app", "The page")
    console.start_logging(verbose=arguments.verbose)
    # All are read when Gradio is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "0" if arguments.share else "1"
    try:
        console.keep_memory(large=False)
        console.import_tensorflow()
        from keras_refocus.page import layout as app
        from keras_refocus.page import server as page_server
        from keras_refocus.page.sessions import Sessions
        from keras_refocus.restoration import pipeline

        address = arguments.server
        if address is not None and "://" not in address:
            address = f"grpc://{address}"
        restorer = pipeline.Restorer(address or arguments.models)
        sessions = Sessions(keep_seconds=60 * arguments.keep_minutes)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with restorer, sessions, _temporary_files_in(sessions.folder), _stopped_by_signals() as stop:
        is_local = _is_local(arguments.host) and not arguments.share
        settings = app.AppSettings(
            blur_faces=not is_local if arguments.blur_faces is None else arguments.blur_faces,
            max_pixels=round(arguments.max_megapixels * 1e6),
            concurrency=arguments.concurrency,
            queue_size=arguments.queue_size,
            relayed=arguments.share,
        )
        page = app.build_app(restorer, sessions, settings)
        try:
            url = page_server.launch(
                page,
                sessions,
                examples=app.EXAMPLES,
                max_upload=round(arguments.max_upload_mb * 1e6),
                server_name=arguments.host,
                server_port=arguments.port,
                auth=users,
                share=arguments.share,
                inbrowser=arguments.open,
            )
        except OSError as error:
            print(f"refocus demo: {error}", file=sys.stderr)
            return 1
        try:
            shared = f" and {page.share_url}" if arguments.share else ""
            print(f"The page is at {url}{shared}. Press Ctrl+C to stop.", flush=True)
            stop.wait()
        finally:
            page.close(verbose=False)
    return 0


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let everything in this process put its temporary files there, Gradio's uploads too."""
    names = {"GRADIO_TEMP_DIR": str(folder / "uploads"), "TMPDIR": str(folder)}
    before = {name: os.environ.get(name) for name in names}
    temporary, tempfile.tempdir = tempfile.tempdir, str(folder)
    os.environ.update(names)
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that Ctrl+C and a polite kill set, so that the private folder is emptied."""
    stop = threading.Event()
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):
        signals.append(signal.SIGHUP)
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _users(auth: str | None) -> list[tuple[str, str]] | None:
    """Read `user:password`, or a file of such lines."""
    if auth is None:
        return None
    path = Path(auth)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [auth]
    users = [tuple(line.strip().split(":", 1)) for line in lines if line.strip()]
    if not users or not all(len(user) == 2 and all(user) for user in users):
        # Not repeated here: it may be a password.
        raise ValueError(
            "--auth must be user:password, or a file with one such line for each user."
        )
    return users


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus demo",
        description="Open the web page on this machine.",
        epilog="example: refocus demo",
    )
    parser.add_argument("--verbose", action="store_true", help="say more")

    network = parser.add_argument_group("who may use it")
    network.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    network.add_argument("--port", type=int, default=7860, help="(default: %(default)s)")
    network.add_argument(
        "--auth", metavar="USER:PASSWORD", help="ask for these, or for those in a file of lines"
    )
    network.add_argument(
        "--share",
        action="store_true",
        help="let anyone who knows a link in, through a relay of Gradio's on the internet",
    )
    network.add_argument("--open", action="store_true", help="open a browser window too")

    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-upload-mb",
        type=float,
        default=250,
        help="refuse larger files (default: %(default)s)",
    )
    limits.add_argument(
        "--max-megapixels",
        type=float,
        default=120,
        help="refuse larger photos (default: %(default)s)",
    )
    limits.add_argument(
        "--concurrency", type=int, default=1, help="photos at a time (default: %(default)s)"
    )
    limits.add_argument(
        "--queue-size", type=int, default=20, help="requests that may wait (default: %(default)s)"
    )

    privacy = parser.add_argument_group("privacy")
    privacy.add_argument(
        "--keep-minutes",
        type=float,
        default=10,
        help="delete photos this long after the last action (default: %(default)s)",
    )
    privacy.add_argument(
        "--blur-faces",
        action=argparse.BooleanOptionalAction,
        help="blur faces unless the visitor says otherwise (default: if others may use the page)",
    )

    where = parser.add_argument_group("models").add_mutually_exclusive_group()
    where.add_argument(
        "--models",
        metavar="DIR",
        help=f"folder of models (default: ${store.MODELS_VARIABLE}, else those installed)",
    )
    where.add_argument(
        "--server", metavar="HOST:PORT", help="run the models on TensorFlow Serving instead"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
