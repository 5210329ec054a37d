"""Payments: charges and refunds orders. Only other services call it."""

import os
import re
from collections import OrderedDict
from threading import Lock

from service import Refused, serve

CURRENCY = os.environ.get("CURRENCY", "EUR")
# Receipts of the newest orders, so that an order that is sent again is not charged again.
MAX_RECEIPTS = 10_000
RECEIPTS = OrderedDict()
LOCK = Lock()


def cents(body):
    amount = body.get("amount")
    if not isinstance(amount, str) or not re.fullmatch(r"[0-9]{1,6}[.][0-9]{2}", amount):
        raise Refused(400, 'an amount is written like "3.50"')
    return int(amount.replace(".", ""))


def order(body):
    if not isinstance(body.get("order"), str):
        raise Refused(400, "an order is missing")
    return body["order"]


def charge(body):
    receipt = {"order": order(body), "charged_cents": cents(body), "currency": CURRENCY}
    with LOCK:
        receipt = RECEIPTS.setdefault(receipt["order"], receipt)
        if len(RECEIPTS) > MAX_RECEIPTS:
            RECEIPTS.popitem(last=False)
    return receipt


def refund(body):
    return {"order": order(body), "refunded_cents": cents(body), "currency": CURRENCY}


def answer(request):
    if request.method != "POST":
        raise Refused(405, "payments are made with POST")
    if request.path == "/charges":
        return 201, charge(request.body)
    if request.path == "/refunds":
        return 201, refund(request.body)
    raise Refused(404, f"there is nothing at {request.path}")


if __name__ == "__main__":
    serve("payments", answer)
