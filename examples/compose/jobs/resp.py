"""As much of a client of Redis as the shop needs, without a package from elsewhere."""

import socket
import urllib.parse


class Redis:
    """One connection. Errors of the server are raised; a broken connection is the caller's to close."""

    def __init__(self, url):
        address = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port or 6379), timeout=10)
        self.lines = self.socket.makefile("rb")
        if address.password:
            user = [urllib.parse.unquote(address.username)] if address.username else []
            self("AUTH", *user, urllib.parse.unquote(address.password))

    def __call__(self, *words):
        data = [str(word).encode() for word in words]
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in data)
        self.socket.sendall(b"*%d\r\n%s" % (len(data), parts))
        return self.answer()

    def answer(self):
        line = self.lines.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server hung up")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if rest == b"-1":
            return None
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return self.lines.read(int(rest) + 2)[:-2].decode()

    def close(self):
        self.lines.close()
        self.socket.close()
