"""Makes the tables. Does no harm when it runs again."""

from database import sql

sql("CREATE TABLE IF NOT EXISTS orders (id text NOT NULL, booked_by text NOT NULL, at timestamptz NOT NULL DEFAULT now());")
