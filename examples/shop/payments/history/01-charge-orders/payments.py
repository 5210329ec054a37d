"""Payments: charges orders. Only other services call it."""

import os
import re

from ledger import Ledger
from service import Refused, serve

CURRENCY = os.environ.get("CURRENCY", "EUR")
LEDGER = Ledger()


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
    return LEDGER.charge(order(body), cents(body), CURRENCY)


def answer(request):
    if request.method != "POST":
        raise Refused(405, "payments are made with POST")
    if request.path == "/charges":
        return 201, charge(request.body)
    raise Refused(404, f"there is nothing at {request.path}")


if __name__ == "__main__":
    serve("payments", answer)
