"""Serves the web page: its routes, its headers and its launch.

Pictures are fetched from a route of ours, by tokens that cannot be guessed; the browser is told to
keep none of them, and to ask no other host for anything. What Gradio could do beyond that, from
telemetry to a history of runs, is switched off.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from keras_refocus.page.sessions import Sessions

logger = logging.getLogger(__name__)

_PAGE = Path(__file__).parent / "static"

# Gradio's scripts are built at run time, hence the unsafe ones; every address is our own.
_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "connect-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    ]
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}

_FILE = "/gradio_api/file="

# Whose answers hold pictures, or words about them.
_PRIVATE = ("/pictures/", "/gradio_api/file", "/gradio_api/queue", "/gradio_api/upload")


class PrivateHeaders:
    """ASGI middleware: headers that keep pictures here, and no errands for strangers.

    Gradio fetches other hosts' files on request, under `file=http...` and `proxy=`; here that is
    nobody's wish.
    """

    def __init__(self, app: Callable, sessions: Sessions):
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if "/proxy=" in path or "file=http" in path or "file/http" in path:
            await PlainTextResponse("Not found", 404)(scope, receive, send)
            return

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                headers = dict(_HEADERS)
                if path.startswith(_PRIVATE):
                    headers[b"cache-control"] = b"no-store"
                kept = [(name, value) for name, value in message["headers"] if name not in headers]
                message["headers"] = [*kept, *headers.items()]
            await send(message)

        await self._app(scope, receive, send_with_headers)
        if scope["method"] == "GET" and path.startswith(_FILE):
            await run_in_threadpool(self._sessions.fetched, path.removeprefix(_FILE))


def routes(sessions: Sessions, examples: Path) -> list[Route]:
    """Make the routes of pictures and examples.

    Args:
        sessions: Where pictures are found by their tokens.
        examples: Folder of the examples.
    """

    def picture(request: Request) -> Response:
        found = sessions.find(request.path_params["token"])
        if found is None or not found[1].path.is_file():
            return PlainTextResponse("Not found", 404)
        session, shared = found
        session.touch()
        if shared.name is None:
            return FileResponse(shared.path)
        if request.method != "GET":  # Only asked about, not fetched.
            return FileResponse(shared.path, filename=shared.name)
        return FileResponse(
            shared.path,
            filename=shared.name,
            background=BackgroundTask(sessions.downloaded, session, shared),
        )

    def example(request: Request) -> Response:
        path = examples / Path(request.path_params["name"]).name
        if not path.is_file():
            return PlainTextResponse("Not found", 404)
        return FileResponse(path)

    return [
        Route("/pictures/{token}", picture, methods=["GET"]),
        Route("/examples/{name}", example, methods=["GET"]),
    ]


def launch(
    page: gr.Blocks, sessions: Sessions, *, examples: Path, max_upload: int, **options: Any
) -> str:
    """Serve the page in threads of its own.

    Args:
        page: What `app.build_app` has built.
        sessions: Where its visitors' pictures are kept.
        examples: Folder of the examples.
        max_upload: Bytes of the largest file that is accepted.
        **options: Of `gradio.Blocks.launch`: address, port, users, sharing.

    Returns:
        The address of the page on this machine.
    """
    _, address, _ = page.launch(
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        max_file_size=max_upload,
        theme=theme(),
        css=(_PAGE / "page.css").read_text(encoding="utf-8"),
        js=(_PAGE / "page.js").read_text(encoding="utf-8"),
        app_kwargs={
            "routes": routes(sessions, examples),
            "middleware": [Middleware(PrivateHeaders, sessions=sessions)],
            "docs_url": None,
            "redoc_url": None,
        },
        # None of these: each would keep or send something.
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        **options,
    )
    return address


def theme() -> gr.themes.Base:
    """Make a theme of the system's own fonts, with contrast enough to read."""
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )
