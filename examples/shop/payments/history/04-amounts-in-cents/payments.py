"""Payments: charges and refunds orders. Only other services call it."""

import os
from collections import OrderedDict
from threading import Lock

from service import Refused, serve

CURRENCY = os.environ.get("CURRENCY", "EUR")
# Receipts of the newest orders, so that an order that is sent again is not charged again.
MAX_RECEIPTS = 10_000
RECEIPTS = OrderedDict()
LOCK = Lock()


def cents(body):
    amount = body.get("amount_cents")
    if type(amount) is not int or not 0 < amount < 100_000_000:
        raise Refused(400, "amount_cents is a whole number of cents, such as 350")
    return amount


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
