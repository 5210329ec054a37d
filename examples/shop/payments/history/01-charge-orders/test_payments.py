import tempfile
import unittest
from pathlib import Path

from contract import Broken, OpenApi
from ledger import Ledger
from payments import answer
from service import Refused, Request

API = OpenApi()


def post(path, **body):
    """Asks as another service does; what is taken and answered must be what the contract says."""
    status, document = answer(Request("POST", path, {}, body))
    API.check_request("POST", path, body)
    API.check_answer("POST", path, status, document)
    return status, document


class PaymentsTest(unittest.TestCase):
    def refused(self, status, path, **body):
        with self.assertRaises(Refused) as refused:
            post(path, **body)
        self.assertEqual(refused.exception.status, status)
        with self.assertRaises(Broken):
            API.check_request("POST", path, body)

    def test_charges_an_order(self):
        status, receipt = post("/charges", order="o-1", amount="3.50")
        self.assertEqual((status, receipt["charged_cents"], receipt["currency"]), (201, 350, "EUR"))

    def test_refuses_what_is_no_charge(self):
        self.refused(400, "/charges", order="o-2", amount="a lot")
        self.refused(400, "/charges", amount="3.50")
        self.refused(404, "/loans", order="o-2", amount="3.50")

    def test_shares_its_database_with_other_instances(self):
        with tempfile.TemporaryDirectory() as folder:
            one, other = (Ledger(Path(folder) / "payments.db") for _ in range(2))
            one.charge("o-1", 350, "EUR")
            other.charge("o-2", 480, "EUR")
            with one.transaction() as database:
                charges = database.execute("SELECT order_id, cents FROM charges ORDER BY id").fetchall()
        self.assertEqual(charges, [("o-1", 350), ("o-2", 480)])
