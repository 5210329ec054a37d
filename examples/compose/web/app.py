"""Takes orders and puts them into a queue; says what was counted."""

import argparse
import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from resp import Redis

WORDS = "one"


def redis(*words):
    connection = Redis(os.environ["REDIS_URL"])
    try:
        return connection(*words)
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            redis("PING")
            return self.reply(200, {"ok": True})
        if self.path == "/counted":
            numbers = {name: int(redis("GET", name) or 0) for name in ("orders_booked", "rows_written")}
            return self.reply(200, numbers)
        return self.reply(200, {"greeting": os.environ["GREETING"], "words": WORDS})

    def do_POST(self):
        order = self.path.rsplit("/", 1)[-1]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        redis("LPUSH", "orders", order)
        self.reply(202, {"order": order, "words": WORDS})

    def reply(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # More than a burst of clients that connect at once.
    request_queue_size = 256


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    server = Server((arguments.host, arguments.port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
