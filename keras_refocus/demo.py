"""Open the web page on this machine.

    refocus demo
    refocus demo --server localhost:8500
    refocus demo --host 0.0.0.0 --auth users.txt

Only this machine can reach the page unless `--host` or `--share` says otherwise.
"""

import argparse
import atexit
import contextlib
import errno
import ipaddress
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_refocus.engines import store
from keras_refocus.system import console, extras, memory

if TYPE_CHECKING:
    from keras_refocus.page.sessions import Sessions
    from keras_refocus.restoration.pipeline import Restorer

# Once it is told to stop, the process is gone after this time.
_LAST_SECONDS = 2.0


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        users = _users(arguments.auth)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    root_path = _root_path(parser, arguments.root_path)
    extras.require("app", "The page")
    if (refusal := _why_not(arguments.host, arguments.port)) is not None:
        print(f"refocus demo: {refusal}", file=sys.stderr)
        return 1
    console.start_logging(verbose=arguments.verbose)
    # All are read when Gradio is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "0" if arguments.share else "1"
    _reach_this_machine_directly(arguments.host)
    try:
        memory.keep_memory(large=False)
        console.import_tensorflow()
        from keras_refocus.page.sessions import Sessions
        from keras_refocus.restoration import pipeline

        address = arguments.server
        if address is not None and "://" not in address:
            address = f"grpc://{address}"
        restorer = pipeline.Restorer(address or arguments.models)
        sessions = Sessions(keep_seconds=60 * arguments.keep_minutes)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with (
        restorer,
        sessions,
        _temporary_files_in(sessions.folder),
        _stopped_by_signals(sessions) as stop,
    ):
        return _serve(arguments, users, root_path, restorer, sessions, stop)


def _serve(
    arguments: argparse.Namespace,
    users: list[tuple[str, str]] | None,
    root_path: str,
    restorer: "Restorer",
    sessions: "Sessions",
    stop: threading.Event,
) -> int:
    """Serve the page until it is to stop; returns the exit status."""
    from keras_refocus.page import decoding, layout
    from keras_refocus.page import server as page_server

    is_local = _is_local(arguments.host) and not arguments.share
    settings = layout.AppSettings(
        blur_faces=not is_local if arguments.blur_faces is None else arguments.blur_faces,
        max_pixels=round(arguments.max_megapixels * 1e6),
        max_upload=round(arguments.max_upload_mb * 1e6),
        max_seconds=60 * arguments.max_minutes,
        max_clip_seconds=arguments.max_clip_seconds,
        max_clip_upload=round(arguments.max_clip_mb * 1e6),
        max_clip_work=60 * arguments.max_clip_minutes,
        concurrency=arguments.concurrency,
        queue_size=arguments.queue_size,
        relayed=arguments.share,
    )
    page, actions = layout.build_app(restorer, sessions, settings)
    decoding.decoder().start()
    try:
        url = page_server.launch(
            page,
            actions,
            sessions,
            examples=layout.EXAMPLES,
            max_upload=settings.max_upload,
            max_clip=settings.max_clip_upload,
            relayed=arguments.share,
            root_path=root_path,
            server_name=arguments.host,
            server_port=arguments.port,
            auth=users,
            share=arguments.share,
            inbrowser=arguments.open,
        )
    except (OSError, ValueError) as error:
        print(f"refocus demo: {error}", file=sys.stderr)
        return 1
    try:
        shared = f" and {page.share_url}" if arguments.share else ""
        for line in _announced(url, arguments.host, arguments.port, shared):
            print(line, flush=True)
        if not is_local and users is None:
            who = "with the link" if arguments.share else "on the network"
            print(
                f"Anybody {who} can use the page: there is no password. Ask for one with "
                "--auth USER:PASSWORD.",
                file=sys.stderr,
                flush=True,
            )
        stop.wait()
        print("Stopping, and deleting the photos that are left…", flush=True)
    finally:
        page.close(verbose=False)
    return 0


def _end_soon(sessions: "Sessions") -> None:
    """End the process in a while, for it was told to stop: whatever is calculated or torn down.

    A large tile is not left half-way, and TensorFlow can take its time to go.
    """

    def leave():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def end():
        sessions.close()
        leave()

    timer = threading.Timer(_LAST_SECONDS, end)
    timer.daemon = True
    timer.start()
    # Once everything is tidied up: timers do not run any more while the interpreter is torn down.
    atexit.register(leave)


def _announced(url: str, host: str, port: int, more: str = "") -> list[str]:
    """Lines that say where the page is."""
    if not _is_everywhere(host):
        return [f"The page is at {url}{more}. Press Ctrl+C to stop."]
    lines = [f"The page is at http://127.0.0.1:{port}/{more} and, for others, at"]
    lines += [f"  http://{address}:{port}/" for address in _addresses(host)]
    return [*lines, "Press Ctrl+C to stop."]


def _addresses(host: str) -> list[str]:
    """Addresses of this machine in its networks."""
    import psutil

    kinds = {socket.AF_INET} if host == "0.0.0.0" else {socket.AF_INET, socket.AF_INET6}
    found = []
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family in kinds:
                address = ipaddress.ip_address(entry.address.partition("%")[0])
                if not address.is_loopback and not address.is_link_local:
                    found.append(f"[{address}]" if address.version == 6 else str(address))
    return found or [socket.gethostname()]


def _why_not(host: str, port: int) -> str | None:
    """Say why nothing can listen there, before anything heavy is loaded."""
    if not 0 < port < 65536:
        return f"--port must be 1 to 65535. Received: {port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return f"--host must be an address of this machine. Received: {host}"
    family, kind, _, _, place = found[0]
    try:
        with socket.socket(family, kind) as probe:
            if os.name == "posix":  # As servers do; elsewhere it would share a taken port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except PermissionError:
        return f"port {port} is for administrators only. Choose another one: --port 7860"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} is taken by another program. Choose another one: --port {port + 1}"
        return f"--host must be an address of this machine. Received: {host} ({error.strerror})"
    return None


def _reach_this_machine_directly(host: str) -> None:
    """Let no proxy of the environment stand between this process and its own page.

    Gradio asks its own server whether it is up before it says where it is.
    """
    own = ["127.0.0.1", "localhost", "::1", *([] if _is_everywhere(host) else [host])]
    for name in ("NO_PROXY", "no_proxy"):
        listed = [part for part in os.environ.get(name, "").split(",") if part]
        os.environ[name] = ",".join(dict.fromkeys([*listed, *own]))


def _root_path(parser: argparse.ArgumentParser, path: str) -> str:
    """The path behind a proxy, as Gradio wants it."""
    path = path.rstrip("/")
    if path and not path.startswith("/"):
        parser.error(f"--root-path must begin with a slash, such as /refocus. Received: {path}")
    return path


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
def _stopped_by_signals(sessions: "Sessions") -> Iterator[threading.Event]:
    """Give an event that Ctrl+C and a polite kill set, so that the private folder is emptied.

    The process then ends soon, also where it is not waiting for the event.
    """
    stop = threading.Event()

    def told(*_):
        if not stop.is_set():
            stop.set()
            _end_soon(sessions)

    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):
        signals.append(signal.SIGHUP)
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, told) for number in signals}
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


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


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

    _add_network(parser.add_argument_group("who may use it"))
    _add_limits(parser.add_argument_group("limits"))
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


def _add_network(network: argparse._ArgumentGroup) -> None:
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
    network.add_argument(
        "--root-path",
        metavar="PATH",
        default="",
        help="where a proxy shows the page, such as /refocus (default: at the root)",
    )
    network.add_argument("--open", action="store_true", help="open a browser window too")


def _add_limits(limits: argparse._ArgumentGroup) -> None:
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
        "--max-minutes",
        type=float,
        default=10,
        help="give a photo up after this time (default: %(default)s)",
    )
    limits.add_argument(
        "--max-clip-seconds",
        type=float,
        default=120,
        help="refuse longer clips; 0: no Video tab (default: %(default)s)",
    )
    limits.add_argument(
        "--max-clip-mb",
        type=float,
        default=500,
        help="refuse larger files of clips (default: %(default)s)",
    )
    limits.add_argument(
        "--max-clip-minutes",
        type=float,
        default=120,
        help="give a clip up after this time (default: %(default)s)",
    )
    limits.add_argument(
        "--concurrency", type=int, default=1, help="photos at a time (default: %(default)s)"
    )
    limits.add_argument(
        "--queue-size", type=int, default=20, help="requests that may wait (default: %(default)s)"
    )


if __name__ == "__main__":
    sys.exit(main())
