"""Asks the database by the client that comes with it."""

import os
import subprocess
import urllib.parse


def environment():
    """The address has a password, which a command line would show to everybody."""
    address = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    return {
        **os.environ,
        "PGHOST": address.hostname,
        "PGPORT": str(address.port or 5432),
        "PGUSER": urllib.parse.unquote(address.username),
        "PGPASSWORD": urllib.parse.unquote(address.password),
        "PGDATABASE": address.path.lstrip("/"),
        "PGCONNECT_TIMEOUT": "10",
    }


def sql(text, **values):
    """Runs one statement; `:'name'` in it is a value. Returns what it answers, a line each."""
    variables = [f"--set={name}={value}" for name, value in values.items()]
    command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", *variables]
    done = subprocess.run(command, input=text, env=environment(), text=True, capture_output=True, start_new_session=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.split()
