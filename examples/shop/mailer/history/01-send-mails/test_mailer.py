import tempfile
import unittest
from pathlib import Path

from post import Post


class PostTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.post = Post(str(Path(folder.name) / "mails.db"))
        self.addCleanup(self.post.database.close)
        self.post.migrate()

    def test_each_mail_is_sent_once(self):
        self.post.fill(3)
        while mail := self.post.next():
            self.post.sent(mail[0], "1.0.0")
        self.assertEqual(self.post.report(), ({"1.0.0": 3}, 0))

    def test_migrations_can_run_again(self):
        self.post.fill(1)
        self.post.migrate()
        self.assertIsNotNone(self.post.next())


if __name__ == "__main__":
    unittest.main()
