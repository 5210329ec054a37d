CREATE TABLE charges (
  id INTEGER PRIMARY KEY,
  order_id TEXT NOT NULL,
  cents INTEGER NOT NULL,
  currency TEXT NOT NULL
);
