"""Serves the web page: its routes, its headers and its launch.

Pictures are fetched from a route of ours, by tokens that cannot be guessed; the browser is told to
keep none of them, and to ask no other host for anything. What Gradio could do beyond that, from
telemetry to a history of runs, is switched off.
"""

import inspect
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from keras_refocus.page import uploads, words
from keras_refocus.page.actions import PageActions
from keras_refocus.page.errors import say
from keras_refocus.page.sessions import Sessions
from keras_refocus.page.words import Words

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
_UPLOAD = "/gradio_api/upload"

# What every visitor gets alike may be kept by browsers; nothing else.
_PUBLIC = ("/assets/", "/static/", "/svelte/", "/examples/")


class PrivateHeaders:
    """ASGI middleware: headers that keep pictures here, and no errands for strangers.

    Gradio fetches other hosts' files on request, under `file=http...` and `proxy=`; here that is
    nobody's wish. Its page is given a title, a language and our scripts before anything else runs,
    the login too. What goes wrong inside is answered in a sentence and logged without its content.

    Args:
        app: What answers.
        sessions: Told of uploads of programs, and of what they have fetched.
        head: What to put into the head of a page.
    """

    def __init__(self, app: Callable, sessions: Sessions, head: str):
        self._app = app
        self._sessions = sessions
        self._head = head.encode()

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        if "/proxy=" in path or "file=http" in path or "file/http" in path:
            await PlainTextResponse("Not found", 404)(scope, receive, send)
            return
        answer = _Answer(send, path, self._head)
        if path.rstrip("/") == _UPLOAD and scope["method"] == "POST":
            with self._sessions.arriving() as arrived:
                await self._ask(scope, receive, answer)
                arrived(answer.uploaded())
            return
        await self._ask(scope, receive, answer)
        if scope["method"] == "GET" and path.startswith(_FILE):
            await run_in_threadpool(self._sessions.fetched, path.removeprefix(_FILE))

    async def _ask(self, scope: dict, receive: Callable, answer: "_Answer") -> None:
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:
            logger.error("a request went wrong: %s", type(error).__name__)
            if not answer.has_begun:
                response = PlainTextResponse("The request could not be answered.", 500)
                await response(scope, receive, answer.send)


class _Answer:
    """Passes an answer on with our headers, and with our head if it is a page."""

    def __init__(self, send: Callable, path: str, head: bytes):
        self._send = send
        self._path = path
        self._head = head
        self._start: dict | None = None
        self._body = b""
        self._keeps = False
        self.has_begun = False

    async def send(self, message: dict) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = dict(_HEADERS)
            if not self._path.startswith(_PUBLIC):
                headers[b"cache-control"] = b"no-store"
            kept = [(name, value) for name, value in message["headers"] if name not in headers]
            kind = dict(kept).get(b"content-type", b"")
            message["headers"] = [*kept, *headers.items()]
            self._keeps = self._path.rstrip("/") == _UPLOAD
            if kind.startswith(b"text/html"):
                self._start = message
                return
        elif message["type"] == "http.response.body":
            if self._keeps or self._start is not None:
                self._body += message.get("body", b"")
            if self._start is not None:
                if message.get("more_body"):
                    return
                await self._send_page()
                return
        await self._send(message)

    def uploaded(self) -> Iterable[str]:
        """Paths in an answer of Gradio's to an upload."""
        try:
            paths = json.loads(self._body)
        except ValueError:
            return []
        return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []

    async def _send_page(self) -> None:
        body = self._body.replace(b"<head>", b"<head>" + self._head, 1)
        start = self._start
        start["headers"] = [
            (name, str(len(body)).encode() if name == b"content-length" else value)
            for name, value in start["headers"]
        ]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def head(*, kept: float, relayed: bool) -> str:
    """Make what is put into the head of the page: title, sentences, what its parts share.

    Args:
        kept: Seconds that photos are kept.
        relayed: Whether visitors come through a relay, which the page then says.
    """
    sentences = words.for_browser(
        kept={language: Words(language).duration(kept) for language in words.LANGUAGES}
    )
    for of_language in sentences.values():
        if relayed:
            of_language["privacy"] += f" {of_language['relayed']}"
    script = (_PAGE / "page.js").read_text(encoding="utf-8")
    table = json.dumps(sentences, ensure_ascii=False).replace("<", "\\u003c")
    return f"<title>Refocus</title><script>{script.replace('WORDS', table, 1)}</script>"


class PageRoutes:
    """The routes of uploads, pictures and examples.

    Args:
        actions: What is done with uploads, and makes downloads.
        sessions: Where pictures are found by their tokens.
        examples: Folder of the examples.
        max_upload: Bytes of the largest photo that is accepted.
        max_clip: Bytes of the largest clip; 0: none are taken.
    """

    def __init__(
        self,
        actions: PageActions,
        sessions: Sessions,
        examples: Path,
        *,
        max_upload: int,
        max_clip: int = 0,
    ):
        self._actions = actions
        self._sessions = sessions
        self._examples = examples
        self._max_upload = max_upload
        self._max_clip = max_clip

    def routes(self) -> list[Route]:
        """List them."""
        return [
            Route("/uploads/{door}", _for_users(self.upload), methods=["POST"]),
            *(
                [Route("/clips/{door}", _for_users(self.clip), methods=["POST"])]
                * bool(self._max_clip)
            ),
            Route("/standing/{door}", _for_users(self.standing), methods=["GET", "POST"]),
            Route("/suggestions/{door}", _for_users(self.suggestions), methods=["GET"]),
            Route("/closeups/{door}", _for_users(self.closeup), methods=["GET"]),
            Route("/pictures/{token}", _for_users(self.picture), methods=["GET"]),
            Route("/examples/{name}", self.example, methods=["GET"]),
        ]

    async def upload(self, request: Request) -> Response:
        """Take one photo; its name comes in the header `x-name`."""
        return await self._take(request, self._actions.receive, self._max_upload, "--max-upload-mb")

    async def clip(self, request: Request) -> Response:
        """Take a clip in the same way."""
        receive = self._actions.clips.receive
        return await self._take(request, receive, self._max_clip, "--max-clip-mb")

    async def _take(
        self, request: Request, take: Callable[..., dict], most: int, flag: str
    ) -> Response:
        said = Words.of(request)
        door = request.path_params["door"]
        visitor = self._sessions.behind(door)
        if visitor is None:
            return JSONResponse({"error": said.say("gone")}, 404)
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isdecimal() else None
        if announced is not None and announced > most:
            refusal = uploads.too_heavy(most, announced, said, flag=flag)
            return JSONResponse({"error": refusal}, 413, headers={"connection": "close"})
        name = unquote(request.headers.get("x-name", "photo"))
        path = self._sessions.of(visitor).reserve()
        try:
            await self._receive(request, path, said, most, flag)
            answer = await run_in_threadpool(take, door, path, name, said)
            return JSONResponse(answer)
        except uploads.Unwanted as error:
            path.unlink(missing_ok=True)
            return JSONResponse({"error": str(error)}, 415)
        except ClientDisconnect:
            path.unlink(missing_ok=True)
            return Response(status_code=400)
        except OSError as error:
            path.unlink(missing_ok=True)
            reason = error.strerror or type(error).__name__
            return JSONResponse({"error": said.say("unreadable", reason=reason)}, 500)

    async def _receive(
        self, request: Request, path: Path, said: Words, most: int, flag: str
    ) -> None:
        received = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > most:
                    raise uploads.Unwanted(uploads.too_heavy(most, None, said, flag=flag))
                await run_in_threadpool(file.write, chunk)

    def standing(self, request: Request) -> Response:
        """Say how things stand with a visitor's photos; POST gives them more time."""
        visitor = self._sessions.behind(request.path_params["door"])
        session = None if visitor is None else self._sessions.existing(visitor)
        if session is None:
            return JSONResponse({"left": None, "working": False, "pictures": {}})
        if request.method == "POST":
            session.touch()
        session.come_back()
        return JSONResponse(self._actions.standing(session))

    def suggestions(self, request: Request) -> Response:
        """Give the likeliest colours at a point (x, y) of a photo."""
        visitor = self._sessions.behind(request.path_params["door"])
        session = None if visitor is None else self._sessions.existing(visitor)
        asked = request.query_params
        try:
            point = float(asked["x"]), float(asked["y"])
        except (KeyError, ValueError):
            point = None
        if session is None or point is None:
            return JSONResponse({"colors": []}, 404)
        try:
            found = self._actions.suggest(session, asked.get("picture", ""), point)
        except Exception as error:
            return JSONResponse({"colors": [], "error": say(error, Words.of(request))}, 500)
        return JSONResponse({"colors": found})

    def closeup(self, request: Request) -> Response:
        """Give a place of a photo in full: `picture`, `side`, `box` and `width` say which."""
        visitor = self._sessions.behind(request.path_params["door"])
        session = None if visitor is None else self._sessions.existing(visitor)
        asked = request.query_params
        try:
            left, top, width, height = map(int, asked["box"].split(","))
            shown = int(asked["width"])
        except (KeyError, ValueError):
            return PlainTextResponse("Not found", 404)
        if session is None:
            return PlainTextResponse("Not found", 404)
        session.touch()
        try:
            content = self._actions.closeup(
                session,
                asked.get("picture", ""),
                (left, top, width, height),
                before=asked.get("side") == "before",
                width=shown,
            )
        except (FileNotFoundError, ValueError):
            return PlainTextResponse("Not found", 404)
        except Exception as error:
            return PlainTextResponse(say(error, Words.of(request)), 500)
        if content is None:
            return Response(status_code=204)
        return Response(content, media_type="image/png")

    def picture(self, request: Request) -> Response:
        """Give a preview, or a download, which may have to be made first."""
        token = request.path_params["token"]
        found = self._sessions.find(token)
        if found is None:
            return PlainTextResponse("Not found", 404)
        session, shared = found
        session.touch()
        if shared.name is None:
            if not shared.path.is_file():
                return PlainTextResponse("Not found", 404)
            return FileResponse(shared.path)
        if request.method != "GET":  # Only asked about, not fetched.
            return Response()
        try:
            self._actions.prepare(session, token, Words.of(request))
        except FileNotFoundError:
            return PlainTextResponse("Not found", 404)
        except RuntimeError as error:
            return PlainTextResponse(str(error), 500)
        return FileResponse(
            shared.path,
            filename=shared.name,
            background=BackgroundTask(self._sessions.downloaded, session, shared),
        )

    def example(self, request: Request) -> Response:
        """Give one of the page's own photos."""
        path = self._examples / Path(request.path_params["name"]).name
        if not path.is_file():
            return PlainTextResponse("Not found", 404)
        return FileResponse(path)


def _for_users(answer: Callable) -> Callable:
    """Let nobody in who should have logged in."""

    async def guarded(request: Request) -> Response:
        app = request.app
        if app.auth is not None:
            name = f"access-token-{app.cookie_id}"
            unsecure = f"access-token-unsecure-{app.cookie_id}"
            token = request.cookies.get(name) or request.cookies.get(unsecure)
            if app.tokens.get(token) is None:
                return PlainTextResponse("Not authenticated", 401)
        if inspect.iscoroutinefunction(answer):
            return await answer(request)
        return await run_in_threadpool(answer, request)

    return guarded


def launch(
    page: gr.Blocks,
    actions: PageActions,
    sessions: Sessions,
    *,
    examples: Path,
    max_upload: int,
    max_clip: int = 0,
    relayed: bool = False,
    **options: Any,
) -> str:
    """Serve the page in threads of its own.

    Args:
        page: What `layout.build_app` has built.
        actions: What came with it.
        sessions: Where its visitors' pictures are kept.
        examples: Folder of the examples.
        max_upload: Bytes of the largest photo that is accepted.
        max_clip: Bytes of the largest clip; 0: none are taken.
        relayed: Whether visitors come through a relay, which the page then says.
        **options: Of `gradio.Blocks.launch`: address, port, users, sharing, path behind a proxy.

    Returns:
        The address of the page on this machine.
    """
    in_head = head(kept=sessions.keep_seconds, relayed=relayed)
    if not actions.clips.is_offered:
        max_clip = 0
    _, address, _ = page.launch(
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        max_file_size=max_upload,
        theme=theme(),
        css=(_PAGE / "page.css").read_text(encoding="utf-8"),
        i18n=gr.I18n(**words.for_gradio()),
        auth_message="Refocus",
        app_kwargs={
            "routes": PageRoutes(
                actions, sessions, examples, max_upload=max_upload, max_clip=max_clip
            ).routes(),
            "middleware": [Middleware(PrivateHeaders, sessions=sessions, head=in_head)],
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
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )
