import unittest

from catalog import answer
from contract import OpenApi, Proto
from service import Refused, Request

API = OpenApi()
RPC = Proto("proto/catalog.proto")


def get(path, **query):
    """Asks as a customer does; what is asked and answered must be in the contract."""
    API.check_query("GET", path, query)
    status, document = answer(Request("GET", path, query, {}))
    API.check_answer("GET", path, status, document)
    return status, document


def call(rpc, **message):
    return answer(Request("POST", RPC.path(rpc), {}, message))


class CatalogTest(unittest.TestCase):
    def test_lists_every_item_with_its_price(self):
        status, document = get("/items")
        self.assertEqual(status, 200)
        self.assertIn({"id": "tea", "price_cents": 350}, document["items"])
        self.assertEqual(len(document["items"]), 4)

    def test_shows_one_item(self):
        self.assertEqual(get("/items/honey"), (200, {"id": "honey", "price_cents": 720}))

    def test_tells_other_services_about_an_item(self):
        status, document = call("GetItem", id="honey")
        RPC.check("Item", document)
        self.assertEqual((status, document["priceCents"]), (200, 720))
        for status, message in ((404, {"id": "gold"}), (404, {}), (400, {"id": ["tea"]})):
            answered, document = call("GetItem", **message)
            self.assertEqual((answered, document.keys()), (status, {"code", "msg"}), message)

    def test_refuses_unknown_items_and_changes(self):
        with self.assertRaises(Refused) as refused:
            get("/items/gold")
        API.check_answer("GET", "/items/gold", refused.exception.status, {"error": str(refused.exception)})
        self.assertEqual(refused.exception.status, 404)
        with self.assertRaises(Refused):
            answer(Request("POST", "/items", {}, {"id": "gold"}))
