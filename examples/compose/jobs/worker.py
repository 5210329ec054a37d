"""Books orders, one after the other. What it has begun it finishes before it ends."""

import os
import signal

from database import sql
from resp import Redis

WORDS = "one"
going = True


def end(*_):
    global going
    going = False


signal.signal(signal.SIGTERM, end)
redis = Redis(os.environ["REDIS_URL"])
# What was begun by one that was killed is done first.
while redis("RPOPLPUSH", "begun", "orders"):
    pass
while going:
    order = redis("BRPOPLPUSH", "orders", "begun", 1)
    if order:
        sql("INSERT INTO orders (id, booked_by) VALUES (:'id', :'words');", id=order, words=WORDS)
        redis("LREM", "begun", 1, order)
