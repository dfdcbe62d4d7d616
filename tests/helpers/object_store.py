"""An S3 of its own process (moto's server), and a proxy in front of it that fails on demand."""

import contextlib
import dataclasses
import http.client
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid

import pytest

# What the tests look for in every log.
SECRET = "a-secret-of-the-tests-0123456789"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDTESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET + "-token",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def running(command, port):
    """Start a server as a process of its own; gives its address once it answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def running_server():
    """Start an S3; gives its address."""
    port = free_port()
    return running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port)


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next `times` requests of a kind."""

    method: str
    path: str  # a pattern, searched in path and query
    times: int
    status: int | None = None  # answered instead of asking the server
    cut: bool = False  # half of the body comes, then the connection ends
    slow: float = 0.0  # seconds before the second half of the body
    met: int = 0


class Proxy:
    """Passes requests on, counts them, and does to them what `faults` say."""

    def __init__(self, upstream):
        self.faults, self.requests = [], []
        host, port = upstream.removeprefix("http://").split(":")
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self):
                body = self._body()
                proxy.requests.append((self.command, self.path))
                fault = proxy.fault_of(self.command, self.path)
                if fault is not None and fault.status is not None:
                    self._answer(fault.status, [], b"<Error><Code>InternalError</Code></Error>")
                    return
                connection = http.client.HTTPConnection(host, int(port), timeout=60)
                skipped = ("transfer-encoding", "expect", "connection", "content-length")
                headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in skipped[:3]]
                self._answer(answer.status, kept, content, fault)
                connection.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request

            def _body(self):
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    # Clients ask whether a body is wanted before they send it.
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while length := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(length)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(self, status, headers, content, fault=None):
                self.send_response(status)
                headers = [(k, v) for k, v in headers if k.lower() not in ("server", "date")]
                if not any(k.lower() == "content-length" for k, _ in headers):
                    headers.append(("Content-Length", str(len(content))))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                half = len(content) // 2
                with contextlib.suppress(OSError):
                    if fault is None:
                        self.wfile.write(content)
                    else:
                        self.wfile.write(content[:half])
                        self.wfile.flush()
                        if fault.cut:
                            self.close_connection = True
                            self.connection.shutdown(socket.SHUT_RDWR)
                            return
                        time.sleep(fault.slow)
                        self.wfile.write(content[half:])

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):  # clients may leave
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._lock = threading.Lock()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def fault_of(self, method, path):
        with self._lock:
            for fault in self.faults:
                fits = fault.method == method and re.search(fault.path, path)
                if fits and fault.met < fault.times:
                    fault.met += 1
                    return fault
        return None

    def fail(self, method, path, times=1, **what):
        fault = Fault(method, path, times, **what)
        self.faults.append(fault)
        return fault

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def s3_server():
    with running_server() as address:
        yield address


class Store:
    """A bucket with nothing in it, and boto3, the other client, to look at it."""

    def __init__(self, address):
        import boto3

        self.address = address
        self.client = boto3.client("s3", endpoint_url=address)
        self.bucket = f"test-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=self.bucket)
        self.url = f"s3://{self.bucket}"

    def new(self):
        return Store(self.address)

    def put(self, key, content):
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def get(self, key):
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def head(self, key):
        return self.client.head_object(Bucket=self.bucket, Key=key)

    def keys(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        return [found["Key"] for page in pages for found in page.get("Contents", ())]


@pytest.fixture
def store(s3_server, monkeypatch):
    """A bucket of its own on the shared server, which is S3 for the test."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    _forget_connections()
    return Store(s3_server)


@pytest.fixture
def proxy(store, monkeypatch):
    """The proxy between what is tested and the server; boto3 still asks the server itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", (found := Proxy(store.address)).url)
    _forget_connections()
    yield found
    found.close()


def environment_for_processes():
    """What other processes need to use the same server."""
    return {**os.environ}


def _forget_connections():
    """fsspec keeps file systems by their arguments, which do not say which server it is."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
