//! The rules of SQL migrations, as data.
//!
//! They speak of the version of the code that was built for the old schema and meets the new one: while the new
//! version is rolled out beside it, and again when it comes back.

use crate::rules::rules;

rules! { Sql, Storage;
    TABLE_DROPPED: "sql-table-dropped", Error, Major,
        "a table is gone",
        "The running version reads and writes it. Drop it only when no version that uses it can come back; its rows cannot.",
        "DROP TABLE notes;";
    TABLE_RENAMED: "sql-table-renamed", Error, Major,
        "a table has another name",
        "The running version asks for the old name. Create a view under the old name, or keep both until no old version runs.",
        "ALTER TABLE notes RENAME TO remarks;";
    TABLE_ADDED: "sql-table-added", Info, Minor,
        "a table was added",
        "The running version does not know it.",
        "CREATE TABLE notes (id bigint PRIMARY KEY);";
    COLUMN_DROPPED: "sql-column-dropped", Error, Major,
        "a column is gone",
        "Every statement of the running version that names it fails. Stop using it first, in a version of its own; its values cannot come back.",
        "ALTER TABLE notes DROP COLUMN author;";
    COLUMN_RENAMED: "sql-column-renamed", Error, Major,
        "a column has another name",
        "Every statement of the running version that names it fails. Add the new column, write both, and drop the old one later.",
        "ALTER TABLE notes RENAME COLUMN author TO writer;";
    COLUMN_ADDED: "sql-column-added", Info, Minor,
        "a column was added that rows may leave out",
        "The running version does not know it and need not.",
        "ALTER TABLE notes ADD COLUMN colour text;";
    COLUMN_REQUIRED: "sql-required-column-added", Error, Major,
        "a column was added that every row must give",
        "The running version does not give it, and its inserts fail. Give it a default, or let it be null until every writer gives it.",
        "ALTER TABLE notes ADD COLUMN colour text NOT NULL;";
    TYPE_NARROWED: "sql-column-type-narrowed", Error, Major,
        "a column holds less than before",
        "Values that the running version writes are refused or cut off, and rows that are too large may stop the migration.",
        "ALTER TABLE notes ALTER COLUMN title TYPE varchar(20);";
    TYPE_WIDENED: "sql-column-type-widened", Warning, Minor,
        "a column holds more than before",
        "What the running version writes fits. It may read a value that its own variables cannot hold.",
        "ALTER TABLE notes ALTER COLUMN id TYPE bigint;";
    TYPE_CHANGED: "sql-column-type-changed", Error, Major,
        "a column holds values of another kind",
        "The running version writes what is refused or converted, and reads what it does not expect. Add a new column instead.",
        "ALTER TABLE notes ALTER COLUMN id TYPE uuid USING gen_random_uuid();";
    AFFINITY_CHANGED: "sql-column-affinity-changed", Warning, Minor,
        "a column of SQLite prefers another kind of value",
        "SQLite stores any value in any column; what the running version writes may come back in another form.",
        "total INTEGER -> total TEXT";
    NOT_NULL_ADDED: "sql-not-null-added", Error, Major,
        "a column no longer takes null",
        "Rows of the running version with null, or without the column, are refused. Write the column in every row first.",
        "ALTER TABLE notes ALTER COLUMN author SET NOT NULL;";
    NOT_NULL_DROPPED: "sql-not-null-dropped", Warning, Minor,
        "a column may be null now",
        "What the running version writes fits. It may read a null that it never expected; once such rows exist, it cannot come back.",
        "ALTER TABLE notes ALTER COLUMN author DROP NOT NULL;";
    DEFAULT_REMOVED: "sql-default-removed", Error, Major,
        "a column that must not be null lost its default",
        "Inserts of the running version that leave the column out are refused.",
        "ALTER TABLE notes ALTER COLUMN colour DROP DEFAULT;";
    DEFAULT_CHANGED: "sql-default-changed", Warning, Minor,
        "the default of a column changed",
        "Rows that leave the column out mean something else than the running version supposes.",
        "ALTER TABLE notes ALTER COLUMN colour SET DEFAULT 'red';";
    NUMBERING_REMOVED: "sql-numbering-removed", Error, Major,
        "the database does not number the rows of a table any more",
        "Inserts of the running version that leave the number out leave null in its place, or all the same; what it then looks for by the number it was told, is another row or none. In SQLite only `INTEGER PRIMARY KEY`, written so, numbers.",
        "id INTEGER PRIMARY KEY -> id INT PRIMARY KEY";
    NUMBERING_ADDED: "sql-numbering-added", Error, Major,
        "the database numbers rows that give 0 or null",
        "In MySQL, a 0 that the running version writes into such a column becomes the next number, and it looks for its row in vain.",
        "ALTER TABLE notes MODIFY id int AUTO_INCREMENT;";
    ON_UPDATE_CHANGED: "sql-on-update-changed", Warning, Minor,
        "updates set a column that they do not name, or no longer do",
        "Rows that the running version updates come to hold something else than it supposes.",
        "seen timestamp NULL -> seen timestamp NULL ON UPDATE CURRENT_TIMESTAMP";
    COLLATION_CHANGED: "sql-collation-changed", Warning, Minor,
        "texts of a column are compared or written in another way",
        "Queries of the running version find other rows, in another order. Where texts must be unique, those that differed may be equal now; a smaller set of characters cannot hold them all: both break.",
        "ALTER TABLE notes MODIFY title varchar(40) COLLATE utf8mb4_bin;";
    COLUMN_COMPUTED: "sql-column-computed", Error, Major,
        "a column is computed by the database now",
        "The running version writes it and is refused.",
        "total numeric GENERATED ALWAYS AS (price * amount) STORED";
    UNIQUE_ADDED: "sql-unique-added", Error, Major,
        "rows must be unique in columns where they need not have been",
        "The running version may write equal values, and is refused; rows that are equal already stop the migration.",
        "ALTER TABLE notes ADD UNIQUE (title);";
    UNIQUE_REMOVED: "sql-unique-removed", Error, Major,
        "rows need no longer be unique in some columns",
        "An upsert of the running version that names these columns (ON CONFLICT) fails, and it may meet several rows where it expects one. In MySQL, whose upserts name no key, they insert a second row. A warning where another key answers in its place.",
        "ALTER TABLE notes DROP CONSTRAINT notes_title_key;";
    CHECK_ADDED: "sql-check-added", Error, Major,
        "rows must meet a condition that they need not have met",
        "The running version may write rows that are refused now.",
        "ALTER TABLE notes ADD CHECK (length(title) > 3);";
    CHECK_REMOVED: "sql-check-removed", Warning, Minor,
        "rows need no longer meet a condition",
        "What the running version writes fits. Once the new version has written rows that the condition refused, the running version reads what it never expected, and the condition cannot be put back; so it cannot come back.",
        "ALTER TABLE notes DROP CONSTRAINT notes_title_check;";
    FOREIGN_KEY_ADDED: "sql-foreign-key-added", Error, Major,
        "rows must refer to rows that exist",
        "The running version may write references to rows that are not there, or delete rows that others refer to.",
        "ALTER TABLE notes ADD FOREIGN KEY (author) REFERENCES people (id);";
    DELETE_REFUSED: "sql-delete-refused", Warning, Minor,
        "rows that were free to go are referred to by rows of the new version",
        "Once the new version has written such rows, the running version cannot delete those they refer to; so it cannot come back. Let them go with ON DELETE CASCADE or SET NULL, or leave the foreign key to a later version.",
        "CREATE TABLE comments (id bigint PRIMARY KEY, note bigint REFERENCES notes (id));";
    FOREIGN_KEY_REMOVED: "sql-foreign-key-removed", Warning, Minor,
        "rows may refer to rows that do not exist",
        "What the running version writes fits. Once rows refer to nothing, it reads what it never expected, and the reference cannot be put back; so it cannot come back.",
        "ALTER TABLE notes DROP CONSTRAINT notes_author_fkey;";
    PRIMARY_KEY_REMOVED: "sql-primary-key-removed", Error, Major,
        "a table has no longer the primary key it had",
        "An upsert of the running version that names the key (ON CONFLICT) fails, and it may meet several rows where it expects one. In MySQL, whose upserts name no key, they insert a second row. A warning where another key answers in its place.",
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey;";
    ENUM_VALUE_DROPPED: "sql-enum-value-dropped", Error, Major,
        "an enum lost a value",
        "The running version writes it and is refused.",
        "ALTER TYPE colour RENAME VALUE 'red' TO 'crimson';";
    ENUM_VALUE_ADDED: "sql-enum-value-added", Warning, Minor,
        "an enum has one more value",
        "The running version may read a value that it does not know; once such rows exist, it cannot come back.",
        "ALTER TYPE colour ADD VALUE 'green';";
    VIEW_DROPPED: "sql-view-dropped", Error, Major,
        "a view is gone",
        "The running version reads it.",
        "DROP VIEW recent_notes;";
    VIEW_COLUMN_DROPPED: "sql-view-column-dropped", Error, Major,
        "a view shows a column no more",
        "Queries of the running version that name it fail.",
        "CREATE OR REPLACE VIEW recent_notes AS SELECT id FROM notes;";
    VIEW_CHANGED: "sql-view-changed", Warning, Minor,
        "a view lets fewer of the same rows through, or shows one more column of them",
        "The running version reads fewer rows than it did. A view whose query changed in another way is not checked.",
        "CREATE OR REPLACE VIEW recent_notes AS SELECT id FROM notes WHERE old = 0;";
    VIEW_ADDED: "sql-view-added", Info, Minor,
        "a view was added",
        "The running version does not know it.",
        "CREATE VIEW recent_notes AS SELECT id FROM notes;";
    KEY_RENAMED: "sql-key-renamed", Error, Major,
        "a key has another name",
        "An upsert of the running version that names it (ON CONFLICT ON CONSTRAINT) fails. Keep the name: rename the new key once the old one is gone.",
        "ALTER TABLE notes RENAME CONSTRAINT notes_title_key TO unique_title;";
    INDEX_CHANGED: "sql-index-changed", Info, Patch,
        "an index that forbids nothing was added or dropped",
        "Only speed changes.",
        "CREATE INDEX notes_author ON notes (author);";
    DATA_CHANGED: "sql-data-changed", Warning, Minor,
        "a migration changes rows",
        "The running version may read values that it did not write. Where rows that were there are changed or removed, what they held is lost unless a backup has it: whether the running version can come back is not checked then.",
        "UPDATE notes SET colour = 'red' WHERE colour IS NULL;";
    VALUES_LOST: "sql-values-lost", Error, Major,
        "what a table or column held is lost on the way",
        "It looks as before and is empty, or holds less: it was dropped and made anew, or went through a type that could not hold everything. Nothing but a backup brings it back. Copy what it holds first.",
        "ALTER TABLE notes DROP COLUMN author; ALTER TABLE notes ADD COLUMN author int;";
    VALUES_EXCHANGED: "sql-values-exchanged", Error, Major,
        "a column holds what another column held",
        "The running version reads and writes it under the old name and means other values.",
        "ALTER TABLE notes RENAME title TO x; ALTER TABLE notes RENAME body TO title; ALTER TABLE notes RENAME x TO body;";
    VALUES_MOVED: "sql-values-moved", Warning, Minor,
        "what a table or column held stands elsewhere now",
        "The running version finds none of it under the old name; when it comes back, it misses what was there.",
        "ALTER TABLE notes RENAME TO old_notes; CREATE TABLE notes (id int);";
    ROWS_REMOVED: "sql-rows-removed", Warning, Minor,
        "all rows of a table were removed, or all values of a column overwritten",
        "The running version goes on without them. Going back does not bring them back.",
        "TRUNCATE notes;";
    DEFAULT_REFUSED: "sql-default-refused", Error, Major,
        "a column's default is refused by the table",
        "Inserts of the running version that leave the column out are refused.",
        "size int CHECK (size < 10); ALTER TABLE notes ALTER size SET DEFAULT 20;";
    LOCK_REWRITE: "sql-lock-rewrite", Warning, Patch,
        "a table is written anew, and the running version waits",
        "Every row is written again while nobody can use the table, or nobody can write it. On a large table that is an outage: do it in parts.",
        "ALTER TABLE notes ALTER COLUMN id TYPE bigint;";
    LOCK_SCAN: "sql-lock-scan", Warning, Patch,
        "all rows of a table are read, and the running version waits",
        "The statement holds the table until it has looked at every row. Where a demand can be added without a look (NOT VALID) and proved later, that takes no lock that hurts.",
        "ALTER TABLE notes ADD CHECK (length(title) > 3);";
    LOCK_INDEX: "sql-lock-index", Warning, Patch,
        "an index is built, and the running version waits",
        "Nobody can write the table until the index stands. Where the database can build it beside writers (CONCURRENTLY), let it.",
        "CREATE INDEX notes_author ON notes (author);";
    LOCK_TRANSACTION: "sql-lock-transaction", Warning, Patch,
        "a transaction keeps tables that nobody can use meanwhile",
        "What was taken shortly is held until the transaction ends: behind statements that go over many rows, or beside other tables, where it can deadlock. Commit in between.",
        "BEGIN; ALTER TABLE notes ADD COLUMN size int; UPDATE notes SET size = 0; COMMIT;";
    LOCK_UNBOUNDED: "sql-lock-unbounded", Warning, Patch,
        "a table that is held long is asked for without a bound on the waiting",
        "It is waited for as long as the longest query runs, and everybody else waits behind that. SET lock_timeout first, and try again; a timeout that the role or the tool sets is not seen here. Short changes wait in the same way, and are not told.",
        "SET lock_timeout = '2s'; ALTER TABLE notes ALTER COLUMN id TYPE bigint;";
    TRANSACTION_REFUSED: "sql-transaction-refused", Warning, Patch,
        "a statement cannot run inside a transaction",
        "The migration fails where it stands. Put it into a migration of its own, outside of any transaction.",
        "BEGIN; CREATE INDEX CONCURRENTLY notes_author ON notes (author); COMMIT;";
    HISTORY_ALTERED: "sql-history-altered", Error, Major,
        "a released migration has another text",
        "Databases that ran it will not run it again: they keep the old schema while new ones get the new one, and most tools refuse to start. Write a new migration.",
        "0001_notes.sql: CREATE TABLE notes (id int) -> CREATE TABLE notes (id bigint)";
    HISTORY_REMOVED: "sql-history-removed", Error, Major,
        "a released migration is gone",
        "Databases that ran it have what it made; new ones do not, and most tools refuse to start.",
        "0001_notes.sql -> (nothing)";
    HISTORY_OUT_OF_ORDER: "sql-history-out-of-order", Warning, Minor,
        "a new migration stands before released ones",
        "Databases that ran the later ones skip it, or run it in another order than new ones.",
        "0003_x.sql -> 0002_y.sql, 0003_x.sql";
}
