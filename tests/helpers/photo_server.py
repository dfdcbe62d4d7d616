"""Unsplash as documented, and a Web server with every kind of bad answer, on this machine."""

import contextlib
import http.server
import json
import threading
import urllib.parse

from tiny_pictures import encoded, scene


class PhotoServer:
    """Answers searches, announcements and pictures; remembers what was asked.

    Attributes:
        limit: Requests of the API until it refuses.
        remaining: How many are left.
        failures: `{path: [what is done instead, ...]}`, used up one by one: a status, `"cut"`, or
            content.
    """

    def __init__(self, photos=65, key="the-access-key"):
        self.photos, self.key = photos, key
        self.limit = self.remaining = 1000
        self.asked, self.failures = [], {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path, _, query = self.path.partition("?")
                outer.asked.append(self.path)
                waiting = outer.failures.get(path)
                failure = waiting.pop(0) if waiting else None
                if isinstance(failure, int):
                    self.answer(failure, b"no")
                elif isinstance(failure, bytes):
                    self.answer(200, failure)
                elif path.startswith("/file/"):
                    content = encoded(scene(hash(path) % 10_000), "JPEG")
                    self.answer(200, content, cut=failure == "cut")
                elif path.startswith("/picture/"):
                    number = int(path.rpartition("/")[2])
                    content = encoded(scene(number), "JPEG")
                    self.answer(200, content, cut=failure == "cut")
                else:
                    self.api(path, dict(urllib.parse.parse_qsl(query)))

            def api(self, path, query):
                if self.headers.get("Authorization") != f"Client-ID {outer.key}":
                    self.answer(401, b'{"errors": ["OAuth error: The access token is invalid"]}')
                    return
                if outer.remaining <= 0:
                    self.answer(403, b"Rate Limit Exceeded", limited=True)
                    return
                outer.remaining -= 1
                if path == "/search/photos":
                    page, size = int(query["page"]), int(query["per_page"])
                    first = (page - 1) * size
                    found = {
                        "total": outer.photos,
                        "total_pages": -(-outer.photos // size),
                        "results": [
                            outer.photo(n) for n in range(first, min(first + size, outer.photos))
                        ],
                    }
                else:
                    found = {"url": "https://images.example/1"}
                self.answer(200, json.dumps(found).encode(), limited=True)

            def answer(self, status, content, *, limited=False, cut=False):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if limited:
                    self.send_header("X-Ratelimit-Limit", str(outer.limit))
                    self.send_header("X-Ratelimit-Remaining", str(max(outer.remaining, 0)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(content[: len(content) // 2] if cut else content)
                if cut:
                    self.close_connection = True

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def photo(self, number):
        """One photo as the documentation of the API shows it, what is read of it."""
        name = f"id_{number:03}"
        return {
            "id": name,
            "width": 80,
            "height": 60,
            "description": None,
            "alt_description": f"picture {number}",
            "urls": {"full": f"{self.url}/picture/{number}?ixid=abc", "raw": "", "small": ""},
            "links": {
                "html": f"https://unsplash.com/photos/{name}",
                "download_location": f"{self.url}/photos/{name}/download?ixid=abc",
            },
            "user": {
                "name": f"Photographer {number}",
                "links": {"html": f"https://unsplash.com/@p{number}"},
            },
        }

    def asked_for(self, part):
        return [path for path in self.asked if part in path]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
