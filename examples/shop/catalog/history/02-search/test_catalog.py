import unittest

from catalog import answer
from service import Refused, Request


def get(path, **query):
    return answer(Request("GET", path, query, {}))


class CatalogTest(unittest.TestCase):
    def test_lists_every_item_with_its_price(self):
        status, document = get("/items")
        self.assertEqual(status, 200)
        self.assertIn({"id": "tea", "price_cents": 350}, document["items"])
        self.assertEqual(len(document["items"]), 4)

    def test_shows_one_item(self):
        self.assertEqual(get("/items/honey"), (200, {"id": "honey", "price_cents": 720}))

    def test_refuses_unknown_items_and_changes(self):
        with self.assertRaises(Refused) as refused:
            get("/items/gold")
        self.assertEqual(refused.exception.status, 404)
        with self.assertRaises(Refused):
            answer(Request("POST", "/items", {}, {"id": "gold"}))

    def test_finds_items_by_a_part_of_their_name(self):
        found = [item["id"] for item in get("/items", q="ea")[1]["items"]]
        self.assertEqual(found, ["tea"])
        self.assertEqual(get("/items", q="gold")[1]["items"], [])
