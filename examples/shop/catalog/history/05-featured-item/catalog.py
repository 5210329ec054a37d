"""The catalog: what the shop sells, and for how much."""

import itertools
import os

from service import Refused, serve

CURRENCY = os.environ.get("CURRENCY", "EUR")
PRICES_IN_CENTS = {"tea": 350, "coffee": 480, "honey": 720, "biscuits": 290}


def item(key):
    if key not in PRICES_IN_CENTS:
        raise Refused(404, f"there is no item `{key}`")
    return {"id": key, "price_cents": PRICES_IN_CENTS[key], "currency": CURRENCY}


ITEMS = [item(key) for key in PRICES_IN_CENTS]


# The item that is shown first changes with every look at the listing.
LOOKS = itertools.count()
FEATURED_ITEMS = 5


def featured():
    return ITEMS[next(LOOKS) % FEATURED_ITEMS]["id"]


def listing(part):
    items = [item for item in ITEMS if part in item["id"]] if part else ITEMS
    return {"items": items, "featured": featured()}


def answer(request):
    if request.method != "GET":
        raise Refused(405, "the catalog can only be read")
    if request.path == "/items":
        return 200, listing(request.query.get("q", ""))
    if request.path.startswith("/items/"):
        return 200, item(request.path.removeprefix("/items/"))
    raise Refused(404, f"there is nothing at {request.path}")


if __name__ == "__main__":
    serve("catalog", answer)
