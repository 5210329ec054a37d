import unittest

from payments import answer
from service import Refused, Request


def post(path, **body):
    return answer(Request("POST", path, {}, body))


class PaymentsTest(unittest.TestCase):
    def refused(self, status, path, **body):
        with self.assertRaises(Refused) as refused:
            post(path, **body)
        self.assertEqual(refused.exception.status, status)

    def test_charges_an_order(self):
        status, receipt = post("/charges", order="o-1", amount_cents=350)
        self.assertEqual((status, receipt["charged_cents"], receipt["currency"]), (201, 350, "EUR"))

    def test_refuses_what_is_no_charge(self):
        self.refused(400, "/charges", order="o-2", amount="3.50")
        self.refused(400, "/charges", amount_cents=350)
        self.refused(404, "/loans", order="o-2", amount_cents=350)

    def test_refunds_an_order(self):
        status, receipt = post("/refunds", order="o-3", amount_cents=350)
        self.assertEqual((status, receipt["refunded_cents"]), (201, 350))

    def test_charges_an_order_once(self):
        first = post("/charges", order="o-4", amount_cents=350)
        self.assertEqual(post("/charges", order="o-4", amount_cents=999), first)
