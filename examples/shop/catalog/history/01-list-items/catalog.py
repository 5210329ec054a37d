"""The catalog: what the shop sells, and for how much. Customers read /items, other services call an RPC."""

from service import Refused, serve

PRICES_IN_CENTS = {"tea": 350, "coffee": 480, "honey": 720, "biscuits": 290}
# The RPC of proto/catalog.proto, at the path that Twirp gives it.
GET_ITEM = "/twirp/shop.catalog.v1.Catalog/GetItem"


def item(key):
    if key not in PRICES_IN_CENTS:
        raise Refused(404, f"there is no item `{key}`")
    return {"id": key, "price_cents": PRICES_IN_CENTS[key]}


def get_item(message):
    """Answers the RPC, with the names that Protobuf gives fields in JSON, and with the errors of Twirp."""
    key = message.get("id", "")
    if not isinstance(key, str):
        return 400, {"code": "malformed", "msg": "an id is a text"}
    if key not in PRICES_IN_CENTS:
        return 404, {"code": "not_found", "msg": f"there is no item `{key}`"}
    return 200, {"id": key, "priceCents": PRICES_IN_CENTS[key]}


def answer(request):
    if (request.method, request.path) == ("POST", GET_ITEM):
        return get_item(request.body)
    if request.method != "GET":
        raise Refused(405, "items can only be read")
    if request.path == "/items":
        return 200, {"items": [item(key) for key in PRICES_IN_CENTS]}
    if request.path.startswith("/items/"):
        return 200, item(request.path.removeprefix("/items/"))
    raise Refused(404, f"there is nothing at {request.path}")


if __name__ == "__main__":
    serve("catalog", answer)
