"""Carries frames between two interfaces, later than they came and not all of them.

usage: wire.py --machine=NAME ONE OTHER DELAY_MS LOSS

The delay and the loss (a share between 0 and 1) are those of one direction. The kernel could do this (`tc netem`) where it was
built with it; many, and those of small virtual machines above all, were not.
"""

import collections
import random
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
EVERY_PROTOCOL = 3
LARGEST_FRAME = 1 << 17
# Both directions together; what comes while it is full waits in the sockets, and is dropped there.
LONGEST_QUEUE = 20_000
SOCKET_BYTES = 8 << 20


def opened(interface):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    # With this header a frame keeps what the kernel has still to do with it: checksums, and cutting large segments up.
    end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    end.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    end.bind((interface, EVERY_PROTOCOL))
    end.setblocking(False)
    return end


def take(end, to, queue, due, loss):
    while len(queue) < LONGEST_QUEUE:
        try:
            frame = end.recv(LARGEST_FRAME)
        except BlockingIOError:
            return
        if random.random() >= loss:
            queue.append((due, to, frame))


def give(queue):
    while queue and queue[0][0] <= time.monotonic():
        _, end, frame = queue.popleft()
        try:
            end.send(frame)
        except (BlockingIOError, OSError):
            # A full or closed line loses frames.
            pass


def main():
    _, one, other, delay_ms, loss = sys.argv[1:]
    one, other = opened(one), opened(other)
    delay, loss = float(delay_ms) / 1000, float(loss)
    queue = collections.deque()
    print("ready", flush=True)
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        ready = [] if len(queue) >= LONGEST_QUEUE else [one, other]
        for end in select.select(ready, [], [], wait)[0]:
            take(end, other if end is one else one, queue, time.monotonic() + delay, loss)
        give(queue)


main()
