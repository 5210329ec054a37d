"""Sends mails until it is told to end: what it has begun it finishes."""

import os
import signal
import time
from pathlib import Path

from post import Post

ALIVE = Path("alive")
SECONDS_OF_A_MAIL = 0.02
going = True


def end(*_):
    global going
    going = False


def main():
    signal.signal(signal.SIGTERM, end)
    post, version = Post(), os.environ["LOCKSTEP_VERSION"]
    while going:
        ALIVE.touch()
        mail = post.next()
        time.sleep(SECONDS_OF_A_MAIL)
        if mail:
            post.sent(mail[0], version)


if __name__ == "__main__":
    main()
