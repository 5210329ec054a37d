"""The table of mails that all versions of the mailer share: the file that DATABASE names."""

import os
import sqlite3
from pathlib import Path


class Post:
    def __init__(self, file=None):
        self.database = sqlite3.connect(file or os.environ["DATABASE"], timeout=10, isolation_level=None)

    def migrate(self):
        """Takes every step that adds something, each of which may be taken again."""
        for step in sorted(Path(__file__).parent.glob("migrations/*.sql")):
            try:
                self.database.executescript(step.read_text())
            except sqlite3.OperationalError as error:
                if "duplicate column" not in str(error):
                    raise

    def fill(self, count):
        rows = [(f"customer-{number}@shop.example",) for number in range(count)]
        self.database.execute("BEGIN IMMEDIATE")
        self.database.executemany("INSERT INTO mails (recipient) VALUES (?)", rows)
        self.database.execute("COMMIT")

    def next(self):
        """Returns a mail that is still to be sent."""
        return self.database.execute("SELECT id FROM mails WHERE sent_by IS NULL ORDER BY id LIMIT 1").fetchone()

    def sent(self, mail, version):
        self.database.execute("UPDATE mails SET sent_by = ?, times = times + 1 WHERE id = ?", (version, mail))

    def report(self):
        """Returns how many mails each version sent, and how many were sent more than once."""
        by = self.database.execute("SELECT sent_by, count(*) FROM mails GROUP BY sent_by ORDER BY sent_by").fetchall()
        twice = self.database.execute("SELECT count(*) FROM mails WHERE times > 1").fetchone()[0]
        return dict(by), twice
