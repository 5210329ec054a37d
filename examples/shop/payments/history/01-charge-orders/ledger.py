"""The database of payments: a file that all instances of an environment share, whatever their versions."""

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

# Without a file, payments are forgotten with the process.
DATABASE = os.environ.get("DATABASE", ":memory:")
MIGRATIONS = Path(__file__).parent / "migrations"
# How long an instance waits for another one that is writing.
PATIENCE_SECONDS = 10


class Ledger:
    def __init__(self, database=DATABASE):
        self.lock = Lock()
        # Transactions are begun by hand, so that a change of the schema is part of one as well.
        self.connection = sqlite3.connect(
            database, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
        )
        self.migrate()

    @contextmanager
    def transaction(self):
        """Gives the connection to one thread, and the database to this process."""
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            with self.connection:
                yield self.connection

    def migrate(self):
        """Runs the migrations that this database has not seen, all of them or none."""
        with self.transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY)")
            seen = {name for (name,) in database.execute("SELECT name FROM migrations")}
            for file in sorted(MIGRATIONS.glob("*.sql")):
                if file.name not in seen:
                    for statement in statements(file.read_text()):
                        database.execute(statement)
                    database.execute("INSERT INTO migrations (name) VALUES (?)", (file.name,))

    def charge(self, order, cents, currency):
        with self.transaction() as database:
            values = (order, cents, currency)
            database.execute("INSERT INTO charges (order_id, cents, currency) VALUES (?, ?, ?)", values)
        return {"order": order, "charged_cents": cents, "currency": currency}


def statements(text):
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
