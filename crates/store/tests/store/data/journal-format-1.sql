-- A journal of format 1 as the first Lockstep wrote it. It must load for ever: add files for newer formats, never edit this one.
PRAGMA journal_mode = WAL;
CREATE TABLE record (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, event TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TRIGGER record_only_appends BEFORE INSERT ON record WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM record) BEGIN SELECT RAISE(ABORT, 'the journal only takes the next record'); END;
CREATE TRIGGER record_never_changes BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER record_never_goes BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, format INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL) STRICT;
PRAGMA user_version = 1;
INSERT INTO record VALUES (1, 1700000000000, 'ann',
  '{"type":"service-created","service":"orders"}',
  X'0000000000000000000000000000000000000000000000000000000000000000',
  X'c698c8dbf40a6e6f724b4284e9f61d04f9c323d1ebc33ce1377130228aed46bf');
INSERT INTO record VALUES (2, 1700000000500, 'lockstep',
  '{"type":"stage-changed","to":"测试 \"quoted\"","n":1.50}',
  X'c698c8dbf40a6e6f724b4284e9f61d04f9c323d1ebc33ce1377130228aed46bf',
  X'83a23a053c72a0fc5b02c6ecc8d8bc66255a7bc5449b119838419956c85926e2');
INSERT INTO record VALUES (3, 1699999999999, 'bob@example.org',
  '{"type":"operation","moves":[1,2,3]}',
  X'83a23a053c72a0fc5b02c6ecc8d8bc66255a7bc5449b119838419956c85926e2',
  X'4d5af05b266d28804f736f4e752aad9cc6cbe832cb17c5bb8db043313eb685de');
INSERT INTO snapshot VALUES (2, X'83a23a053c72a0fc5b02c6ecc8d8bc66255a7bc5449b119838419956c85926e2', 1, 7,
  X'28b52ffd045839000061207374617465e6ff53ee',
  X'3cdd32e8946f78994f9adce3dc2a92d62e0186f26d33947f1bd72a0aceaeeeb9');
