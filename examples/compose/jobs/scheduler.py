"""Counts what is booked, every so often."""

import os
import signal
import threading

from database import sql
from resp import Redis

ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
redis = Redis(os.environ["REDIS_URL"])
while not ended.wait(float(os.environ["EVERY_SECONDS"])):
    orders, rows = sql("SELECT count(DISTINCT id), count(*) FROM orders;")[0].split("|")
    redis("SET", "orders_booked", orders)
    redis("SET", "rows_written", rows)
