"""A small service with a fault of a kind. Usage: service.py PORT FAULT

What fails is decided by the number of the request, so the same requests fail however often and wherever they are asked.
"""

import hashlib
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, FAULT = int(sys.argv[1]), sys.argv[2]
USUAL_S = 0.003
LEAKED_A_REQUEST = 1_000_000
# What the host would give it: then it is killed, as by a system without memory.
MEMORY = 40_000_000

leaked = []


def percent_of(number):
    """A number from 0 to 100 that is drawn once for each request."""
    return int.from_bytes(hashlib.sha256(number.encode()).digest()[:4], "big") / 2**32 * 100


def status_of(path, number):
    if FAULT.startswith("errors-"):
        return 500 if percent_of(number) < float(FAULT.removeprefix("errors-")) else 200
    if FAULT == "route":
        return 500 if path.startswith("/pay/") else 200
    if FAULT == "lost":
        return 404
    return 200


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        time.sleep(USUAL_S * (40 if FAULT == "slow" else 1))
        if FAULT == "leak":
            leaked.append(bytearray(LEAKED_A_REQUEST))
            if len(leaked) * LEAKED_A_REQUEST > MEMORY:
                os.kill(os.getpid(), 9)
        body = b'{"id": 1}' if FAULT == "body" else b'{"id": 1, "total": 2}'
        self.send_response(status_of(self.path, self.headers["x-lockstep-key"]))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if FAULT == "crash":
    sys.exit("cannot read its configuration")
if FAULT == "late":
    time.sleep(1.5)
server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
server.serve_forever()
