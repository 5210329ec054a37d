"""What every Python service of the shop needs: JSON over HTTP/1.1 with keep-alive, and a graceful stop.

A service is a function `answer(request) -> (status, dict)`. It is called on many threads at once.
"""

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

# After SIGTERM answers say `Connection: close` for this long; then idle connections are closed.
DRAIN_SECONDS = 0.3
# A body that is larger is refused.
MAX_BODY_BYTES = 64 * 1024
# A client that says nothing for this long is sent away.
IDLE_SECONDS = 75

Request = namedtuple("Request", "method path query body")


class Refused(Exception):
    """The request cannot be answered; it is the client's mistake."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    timeout = 10  # a request that stalls half-way is given up

    def handle(self):
        self.close_connection = False
        while not self.close_connection and self.wait_for_request():
            self.handle_one_request()

    def wait_for_request(self):
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        for _ in range(IDLE_SECONDS * 10):
            if self.server.drained:
                return False
            if poller.poll(100):
                return True
        return False

    def do_GET(self):
        try:
            status, document = self.server.answer(self.read_request())
        except Refused as refused:
            status, document = refused.status, {"error": str(refused)}
        except Exception as error:
            traceback.print_exc()
            status, document = 500, {"error": f"{type(error).__name__}: {error}"}
        self.send(status, document)

    do_POST = do_GET

    def read_request(self):
        url = urlsplit(self.path)
        return Request(self.command, url.path, dict(parse_qsl(url.query)), self.read_body())

    def read_body(self):
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise Refused(413, f"a body has a Content-Length of at most {MAX_BODY_BYTES}")
        try:
            body = json.loads(self.rfile.read(int(length)) or "{}")
        except ValueError as error:
            raise Refused(400, f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise Refused(400, "the body is not a JSON object")
        return body

    def send(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Served-By", self.server.served_by)
        if self.server.draining or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if self.path != "/health":
            sys.stderr.write(f"{self.command} {self.path} {int(code)}\n")


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    draining = False
    drained = False

    def drain(self):
        self.draining = True
        time.sleep(DRAIN_SECONDS)
        self.drained = True
        self.shutdown()


def serve(name, answer):
    """Serves until SIGTERM or SIGINT, then finishes the requests under way and returns."""

    def routed(request):
        return (200, {"status": "ok"}) if request.path == "/health" else answer(request)

    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]))
    with Server(address, Handler) as server:
        server.answer = routed
        server.served_by = f"{name}@{os.environ.get('LOCKSTEP_VERSION', 'unreleased')}"
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.drain).start())
        sys.stderr.write(f"{server.served_by} listens on {address[0]}:{address[1]}\n")
        server.serve_forever(poll_interval=0.05)
