//! Random schemas and migrations, from a seed; what versions that know them say is in `statements`.

mod beside;
mod statements;

pub(crate) use beside::Beside;
use lockstep_contract::SqlDialect;
pub(crate) use statements::{dump, insert, statement};

use super::schemas::Dice;
use SqlDialect::{MySql, PostgreSql};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Small,
    Int,
    Big,
    Short,
    Text,
    Flag,
    /// Of MySQL.
    Unsigned,
    Label,
    /// Of another collation.
    Binary,
}

impl Type {
    const ALL: [Self; 9] = [
        Self::Int,
        Self::Text,
        Self::Short,
        Self::Small,
        Self::Big,
        Self::Flag,
        Self::Unsigned,
        Self::Label,
        Self::Binary,
    ];

    /// The types that a dialect has.
    fn all(dialect: SqlDialect) -> &'static [Self] {
        if dialect == MySql { &Self::ALL } else { &Self::ALL[..6] }
    }

    const fn sql(self, dialect: SqlDialect) -> &'static str {
        match self {
            Self::Small => "smallint",
            Self::Int => "int",
            Self::Big => "bigint",
            Self::Short => "varchar(3)",
            // What is in an index must have a length in MySQL.
            Self::Text if matches!(dialect, MySql) => "varchar(20)",
            Self::Text => "text",
            Self::Flag => "boolean",
            Self::Unsigned => "int unsigned",
            Self::Label => "enum('a', 'b', 'x')",
            Self::Binary => "varchar(20) COLLATE utf8mb4_bin",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Small | Self::Int | Self::Big | Self::Unsigned)
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Short | Self::Text | Self::Binary)
    }

    /// A value that fits.
    fn value(self, dice: &mut Dice) -> String {
        match self {
            Self::Flag => (*dice.pick(&["true", "false"])).to_owned(),
            Self::Short => format!("'{}'", dice.pick(&["a", "b", "x", "", "ab"])),
            Self::Text | Self::Binary => {
                format!("'{}'", dice.pick(&["a", "b", "x", "", "abcd", "A", "none of these"]))
            }
            Self::Label => format!("'{}'", dice.pick(&["a", "b", "x"])),
            Self::Unsigned => dice.pick(&["0", "1", "2", "3", "7", "3000000000"]).to_string(),
            Self::Small => dice.pick(&["0", "1", "2", "3", "-1", "7", "20"]).to_string(),
            Self::Int => dice.pick(&["0", "1", "2", "3", "-1", "7", "40000"]).to_string(),
            Self::Big => dice.pick(&["0", "1", "2", "3", "-1", "7", "3000000000"]).to_string(),
        }
    }
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    of: Type,
    not_null: bool,
    default: Option<String>,
    computed: bool,
}

impl Column {
    fn definition(&self, dialect: SqlDialect) -> String {
        let not_null = if self.not_null { " NOT NULL" } else { "" };
        let default = self.default.as_ref().map(|value| format!(" DEFAULT {value}")).unwrap_or_default();
        format!("{} {}{default}{not_null}", self.name, self.of.sql(dialect))
    }

    fn random(dice: &mut Dice, dialect: SqlDialect, name: String) -> Self {
        let of = *dice.pick(Type::all(dialect));
        let default = dice.chance(30).then(|| of.value(dice));
        Self { name, of, not_null: dice.chance(35), default, computed: false }
    }
}

/// A table; its key is `id`.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    name: String,
    columns: Vec<Column>,
    /// What it demands, as it stands in the statement that makes it.
    demands: Vec<String>,
    /// The type of its key: what SQLite numbers is called `INTEGER`.
    key: &'static str,
}

impl Table {
    fn create(&self, dialect: SqlDialect) -> String {
        let columns = self.columns.iter().map(|column| column.definition(dialect));
        let parts: Vec<String> = columns.chain(self.demands.iter().cloned()).collect();
        format!("CREATE TABLE {} (id {} PRIMARY KEY, {})", self.name, self.key, parts.join(", "))
    }

    fn random(dice: &mut Dice, name: &str, dialect: SqlDialect, others: &[Self]) -> Self {
        let columns = (0..1 + dice.below(3))
            .map(|at| Column::random(dice, dialect, ["a", "b", "c"][at].to_owned()))
            .collect();
        let key = if dialect == SqlDialect::Sqlite && dice.chance(30) { "INTEGER" } else { "int" };
        let mut table = Self { name: name.to_owned(), columns, demands: Vec::new(), key };
        for _ in 0..dice.below(3) {
            let demand = table.demand(dice, dialect, others);
            table.demands.push(demand);
        }
        table
    }

    /// A condition, a reference or uniqueness.
    fn demand(&self, dice: &mut Dice, dialect: SqlDialect, others: &[Self]) -> String {
        let column = dice.pick(&self.columns).name.clone();
        match dice.below(6) {
            0 => format!("UNIQUE ({column})"),
            1 if dialect == PostgreSql => format!("UNIQUE NULLS NOT DISTINCT ({column})"),
            2 if !others.is_empty() => {
                // MySQL refers between columns of one type only.
                let refers = |of: Type| if dialect == MySql { of == Type::Int } else { of.is_number() };
                let number = self.columns.iter().find(|column| refers(column.of));
                let action = dice.pick(&["", " ON DELETE CASCADE", " ON DELETE SET NULL", " MATCH FULL"]);
                let to = &dice.pick(others).name;
                number.map_or_else(
                    || format!("UNIQUE ({column})"),
                    |number| format!("FOREIGN KEY ({}) REFERENCES {to} (id){action}", number.name),
                )
            }
            3 if self.columns.len() > 1 => {
                let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
                format!("UNIQUE ({})", names.join(", "))
            }
            _ => {
                let before: Vec<&String> =
                    self.demands.iter().filter(|one| one.starts_with("CHECK")).collect();
                if !before.is_empty() && dice.chance(50) {
                    let known =
                        dice.pick(&before).trim_start_matches("CHECK (").trim_end_matches(" NOT VALID");
                    let known = known.strip_suffix(')').unwrap_or(known).to_owned();
                    return format!("CHECK ({})", beside::nearly(dice, &known));
                }
                format!("CHECK ({})", self.condition(dice, dialect))
            }
        }
    }

    fn condition(&self, dice: &mut Dice, dialect: SqlDialect) -> String {
        let Column { name, of, .. } = dice.pick(&self.columns);
        let other = &dice.pick(&self.columns).name;
        let postgres = dialect == PostgreSql;
        match dice.below(12) {
            0 => format!("{name} IS NOT NULL"),
            1 => format!("{name} IS NOT NULL OR {other} IS NOT NULL"),
            2 if postgres => format!("num_nonnulls({name}, {other}) >= 1"),
            3 if postgres => format!("{name} IS DISTINCT FROM NULL"),
            4 if of.is_number() => format!("coalesce({name}, 0) >= {}", dice.below(3)),
            5 if of.is_text() => format!("length({name}) > {}", dice.below(2)),
            6 if of.is_text() => format!("{name} <> 'x'"),
            7 if of.is_text() => format!("{name} IN ('a', 'b', '')"),
            8 if of.is_number() => format!("{name} BETWEEN 0 AND {}", 1 + dice.below(8)),
            9 if of.is_number() && postgres => format!("({name} > 1) IS NOT FALSE AND {other} IS NOT NULL"),
            10 => format!("CASE WHEN {name} IS NULL THEN {other} IS NOT NULL ELSE {name} IS NOT NULL END"),
            _ if of.is_number() => format!("{name} {} {}", dice.pick(&[">", "<", ">=", "<>"]), dice.below(4)),
            _ if of.is_text() => format!("{name} IS NULL OR {name} <> 'a'"),
            _ => format!("NOT ({name} IS NULL AND {other} IS NULL)"),
        }
    }
}

/// A schema, what makes it, and what changes it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) schema: Vec<String>,
    pub(crate) migration: Vec<String>,
    pub(crate) old: Vec<Table>,
    pub(crate) new: Vec<Table>,
    pub(crate) beside: Beside,
}

/// A random case.
pub(crate) fn case(dice: &mut Dice, dialect: SqlDialect) -> Case {
    let mut old: Vec<Table> = Vec::new();
    for name in ["t", "u", "v"].iter().take(1 + dice.below(3)) {
        let table = Table::random(dice, name, dialect, &old);
        old.push(table);
    }
    let beside = Beside::random(dice, dialect, &old);
    let schema = old.iter().map(|table| table.create(dialect)).chain(beside.create()).collect();
    let (mut new, mut migration) = (old.clone(), Vec::new());
    for _ in 0..1 + dice.below(3) {
        step(dice, dialect, &mut new, &mut migration);
        let others = beside.step(dice, dialect, &new);
        migration.extend(others.into_iter().filter(|one| !migration.contains(one)).collect::<Vec<_>>());
    }
    Case { schema, migration, old, new, beside }
}

fn step(dice: &mut Dice, dialect: SqlDialect, tables: &mut Vec<Table>, statements: &mut Vec<String>) {
    if tables.is_empty() {
        return;
    }
    let at = dice.below(tables.len());
    let others = tables.clone();
    let table = &mut tables[at];
    let name = table.name.clone();
    let postgres = dialect == PostgreSql;
    match dice.below(20) {
        0..=3 => {
            let fresh = format!("n{}", dice.below(3));
            if table.columns.iter().any(|column| column.name == fresh) {
                return;
            }
            let mut column = Column::random(dice, dialect, fresh);
            column.not_null &= dialect != SqlDialect::Sqlite || column.default.is_some();
            let alone =
                Table { name: name.clone(), columns: vec![column.clone()], demands: Vec::new(), key: "int" };
            let demand = if dice.chance(40) {
                format!(" CHECK ({})", alone.condition(dice, dialect))
            } else {
                String::new()
            };
            statements.push(format!("ALTER TABLE {name} ADD COLUMN {}{demand}", column.definition(dialect)));
            table.columns.push(column);
        }
        4 if table.columns.len() > 1 => {
            let column = table.columns.remove(dice.below(table.columns.len()));
            statements.push(format!("ALTER TABLE {name} DROP COLUMN {}", column.name));
            if dice.chance(50) {
                statements.push(format!(
                    "ALTER TABLE {name} ADD COLUMN {} {}",
                    column.name,
                    column.of.sql(dialect)
                ));
                table.columns.push(Column { not_null: false, default: None, ..column });
            }
        }
        5 => {
            let column = dice.below(table.columns.len());
            let former = std::mem::replace(&mut table.columns[column].name, "renamed".to_owned());
            if others[at].columns.iter().any(|column| column.name == "renamed") {
                table.columns[column].name = former;
                return;
            }
            statements.push(format!("ALTER TABLE {name} RENAME COLUMN {former} TO renamed"));
            if dice.chance(60) {
                statements.push(format!("ALTER TABLE {name} RENAME COLUMN renamed TO {former}"));
                table.columns[column].name = former;
            }
        }
        6 if dice.chance(40) => {
            statements.push(format!("DROP TABLE {name}{}", if postgres { " CASCADE" } else { "" }));
            if dice.chance(60) {
                table.demands.clear();
                statements.push(table.create(dialect));
            } else {
                tables.remove(at);
            }
        }
        7 if !others.iter().any(|table| table.name == "w") => {
            let table = Table::random(dice, "w", dialect, &others);
            statements.push(table.create(dialect));
            tables.push(table);
        }
        8 | 9 => {
            let column = dice.pick(&table.columns);
            let condition = table.condition(dice, dialect);
            statements.push(match dice.below(5) {
                0 => format!("CREATE UNIQUE INDEX i{} ON {name} ({})", statements.len(), column.name),
                1 if dialect != MySql => format!(
                    "CREATE UNIQUE INDEX i{} ON {name} ({}) WHERE {condition}",
                    statements.len(),
                    column.name
                ),
                2 if column.of.is_text() && dialect != MySql => {
                    format!(
                        "CREATE UNIQUE INDEX i{} ON {name} (coalesce({}, ''))",
                        statements.len(),
                        column.name
                    )
                }
                3 => {
                    let other = &dice.pick(&table.columns).name;
                    format!("CREATE UNIQUE INDEX i{} ON {name} ({}, {other})", statements.len(), column.name)
                }
                _ => format!("CREATE INDEX i{} ON {name} ({})", statements.len(), column.name),
            });
        }
        10 if dice.chance(60) => statements.push(beside::change_rows(dice, dialect, table)),
        10 => {
            let column = &dice.pick(&table.columns).name;
            statements.push(match dice.below(4) {
                0 => format!("DELETE FROM {name}"),
                1 => format!("DELETE FROM {name} WHERE id > 1"),
                2 => format!("UPDATE {name} SET {column} = {column}"),
                _ if postgres => format!("TRUNCATE {name} CASCADE"),
                _ => format!("UPDATE {name} SET {column} = NULL WHERE id = 1"),
            });
        }
        11 if postgres => {
            statements.extend(
                [
                    "BEGIN",
                    "SAVEPOINT s",
                    &format!("DROP TABLE {name} CASCADE"),
                    "ROLLBACK TO SAVEPOINT s",
                    "COMMIT",
                ]
                .map(str::to_owned),
            );
        }
        11 if dialect == MySql => {
            statements.extend(["BEGIN", &format!("DELETE FROM {name}"), "ROLLBACK"].map(str::to_owned));
        }
        12 if !postgres => {
            statements.extend(["BEGIN", &format!("DROP TABLE {name}"), "ROLLBACK"].map(str::to_owned));
            // What shapes the schema commits in MySQL.
            if dialect == MySql {
                tables.remove(at);
            }
        }
        13.. if postgres => alter(dice, table, &others, statements),
        13.. if dialect == MySql => modify(dice, table, &others, statements),
        13.. => rebuild(dice, dialect, table, &others, statements),
        _ => {}
    }
}

/// What PostgreSQL changes in place.
fn alter(dice: &mut Dice, table: &mut Table, others: &[Table], statements: &mut Vec<String>) {
    let name = table.name.clone();
    let column = dice.below(table.columns.len());
    let own = table.columns[column].name.clone();
    let mut say = |what: String| statements.push(format!("ALTER TABLE {name} {what}"));
    match dice.below(13) {
        11 => {
            let key = beside::key_name(dice, table);
            say(format!("RENAME CONSTRAINT {key} TO other"));
            if dice.chance(40) {
                say(format!("RENAME CONSTRAINT other TO {key}"));
            }
        }
        12 => {
            let demand = table.demand(dice, PostgreSql, others);
            say(format!("DROP CONSTRAINT IF EXISTS {name}_{own}_check"));
            say(format!("ADD CONSTRAINT {name}_{own}_check {demand}"));
        }
        0 => {
            say(format!("ALTER COLUMN {own} SET NOT NULL"));
            table.columns[column].not_null = true;
        }
        1 => {
            say(format!("ALTER COLUMN {own} DROP NOT NULL"));
            table.columns[column].not_null = false;
        }
        2 => {
            let value = table.columns[column].of.value(dice);
            say(format!("ALTER COLUMN {own} SET DEFAULT {value}"));
            table.columns[column].default = Some(value);
        }
        3 => {
            say(format!("ALTER COLUMN {own} DROP DEFAULT"));
            table.columns[column].default = None;
        }
        4 | 5 => {
            let of = *dice.pick(&[Type::Small, Type::Int, Type::Big, Type::Text, Type::Short]);
            let back = table.columns[column].of;
            say(format!("ALTER COLUMN {own} TYPE {0} USING {own}::{0}", of.sql(PostgreSql)));
            if dice.chance(50) {
                say(format!("ALTER COLUMN {own} TYPE {0} USING {own}::{0}", back.sql(PostgreSql)));
            } else {
                table.columns[column].of = of;
            }
        }
        6 => say(format!("ADD COLUMN g int GENERATED ALWAYS AS (length({own}::text)) STORED")),
        7 => {
            say("ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY".to_owned());
        }
        8 => {
            let first = &dice.pick(&table.columns).name;
            say(format!("DROP CONSTRAINT IF EXISTS {name}_{first}_key"));
        }
        9 => {
            let demand = table.demand(dice, PostgreSql, others);
            let not_valid = if demand.starts_with("CHECK") { " NOT VALID" } else { "" };
            say(format!("ADD {demand}{not_valid}"));
        }
        _ => {
            let demand = table.demand(dice, PostgreSql, others);
            say(format!("ADD {demand}"));
        }
    }
}

/// What MySQL changes in place; it states a whole column anew.
fn modify(dice: &mut Dice, table: &mut Table, others: &[Table], statements: &mut Vec<String>) {
    let name = table.name.clone();
    let column = dice.below(table.columns.len());
    let own = table.columns[column].name.clone();
    let mut say = |what: String| statements.push(format!("ALTER TABLE {name} {what}"));
    match dice.below(14) {
        0..=3 => {
            let mut anew = Column::random(dice, MySql, own);
            if dice.chance(50) {
                anew.of = table.columns[column].of;
            }
            say(format!("MODIFY COLUMN {}", anew.definition(MySql)));
            let former = std::mem::replace(&mut table.columns[column], anew);
            if dice.chance(25) {
                say(format!("MODIFY COLUMN {}", former.definition(MySql)));
                table.columns[column] = former;
            }
        }
        4 if !others.iter().any(|table| table.columns.iter().any(|column| column.name == "renamed")) => {
            let mut anew = Column::random(dice, MySql, "renamed".to_owned());
            say(format!("CHANGE COLUMN {own} {}", anew.definition(MySql)));
            if dice.chance(60) {
                anew.name = own;
                say(format!("CHANGE COLUMN renamed {}", anew.definition(MySql)));
            }
            table.columns[column] = anew;
        }
        5 => {
            let value = table.columns[column].of.value(dice);
            say(format!("ALTER COLUMN {own} SET DEFAULT {value}"));
            table.columns[column].default = Some(value);
        }
        6 => {
            say(format!("ALTER COLUMN {own} DROP DEFAULT"));
            table.columns[column].default = None;
        }
        7 => say(format!(
            "ADD COLUMN g int GENERATED ALWAYS AS (char_length({own})) {}",
            dice.pick(&["STORED", "VIRTUAL"])
        )),
        8 => say("MODIFY id int AUTO_INCREMENT".to_owned()),
        9 => say(format!("DROP INDEX IF EXISTS {own}")),
        10 => say(format!(
            "ADD COLUMN ts {}",
            dice.pick(&[
                "timestamp NOT NULL",
                "timestamp NULL ON UPDATE current_timestamp",
                "datetime NOT NULL",
                "timestamp NOT NULL DEFAULT current_timestamp"
            ])
        )),
        11 => {
            let mut anew = Column::random(dice, MySql, "late".to_owned());
            if table.columns.iter().any(|column| column.name == "late") {
                return;
            }
            anew.not_null &= dice.chance(50);
            say(format!("ADD COLUMN {} {}", anew.definition(MySql), dice.pick(&["FIRST", "AFTER id"])));
            table.columns.push(anew);
        }
        _ => {
            let demand = table.demand(dice, MySql, others);
            say(format!("ADD {demand}"));
        }
    }
}

/// What SQLite needs a new table for.
fn rebuild(
    dice: &mut Dice,
    dialect: SqlDialect,
    table: &mut Table,
    others: &[Table],
    statements: &mut Vec<String>,
) {
    let mut anew = Table { name: "anew".to_owned(), ..table.clone() };
    let column = dice.below(anew.columns.len());
    match dice.below(9) {
        7 => anew.key = if anew.key == "int" { "INTEGER" } else { "int" },
        8 => {
            drop(anew.demands.pop());
            let demand = table.demand(dice, dialect, others);
            anew.demands.push(demand);
        }
        0 => anew.columns[column].not_null = !anew.columns[column].not_null,
        1 => anew.columns[column].default = Some(anew.columns[column].of.value(dice)),
        2 => anew.columns[column].default = None,
        3 => anew.columns[column].of = *dice.pick(Type::all(dialect)),
        4 => drop(anew.demands.pop()),
        5 => anew.columns.reverse(),
        _ => {
            let demand = anew.demand(dice, dialect, others);
            anew.demands.push(demand);
        }
    }
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let copy = match dice.below(4) {
        0 => format!("INSERT INTO anew SELECT * FROM {}", table.name),
        1 if names.len() > 1 => {
            format!("INSERT INTO anew (id, {0}) SELECT id, {0} FROM {1}", names[1..].join(", "), table.name)
        }
        _ => format!("INSERT INTO anew (id, {0}) SELECT id, {0} FROM {1}", names.join(", "), table.name),
    };
    let name = table.name.clone();
    statements.extend([
        anew.create(dialect),
        copy,
        format!("DROP TABLE {name}"),
        format!("ALTER TABLE anew RENAME TO {name}"),
    ]);
    *table = Table { name, ..anew };
}
