//! What PostgreSQL holds, measured on a real one by `tests/sql_oracle/locks.rs`.

use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation as Operation, ColumnDef, ColumnOption, CreateIndex,
    Expr, GeneratedAs, GeneratedExpressionMode, ObjectType, RenameTableNameKind, Statement as Parsed,
    TableConstraint,
};

use super::{Hold, Kind, Scene};
use crate::{
    SqlDialect,
    sql::{
        dialect::{fold, fold_name},
        replay::copied,
        state::ConstraintRule,
        types::{ColumnType, Family},
    },
};

const DIALECT: SqlDialect = SqlDialect::PostgreSql;

pub(super) fn holds(scene: &Scene<'_>) -> Vec<Hold> {
    match scene.word(0).as_str() {
        "VACUUM" if scene.has("FULL") => all(scene, Kind::Rewrite, "VACUUM FULL writes the table anew"),
        "CLUSTER" => all(scene, Kind::Rewrite, "CLUSTER writes the table anew"),
        "REINDEX" if !scene.has("CONCURRENTLY") => reindex(scene),
        "TRUNCATE" => named(scene).iter().map(|table| Hold::short(table)).collect(),
        "LOCK" if scene.word(1) == "TABLE" => named(scene).iter().map(|table| Hold::short(table)).collect(),
        _ => parsed(scene),
    }
}

fn parsed(scene: &Scene<'_>) -> Vec<Hold> {
    match &scene.parsed {
        Some(Parsed::CreateIndex(create)) => index(create),
        Some(Parsed::AlterTable(alter)) => table(scene, alter),
        Some(Parsed::Drop { object_type: ObjectType::Table, names, .. }) => {
            names.iter().map(|name| Hold::short(&fold_name(DIALECT, name))).collect()
        }
        // Nothing but parts that touch no row, or that cannot be parsed.
        _ if scene.word(0) == "ALTER" && scene.word(1) == "TABLE" => rewritten(scene).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Says whether a statement fails inside a transaction.
pub(super) fn is_refused_in_transactions(scene: &Scene<'_>) -> bool {
    let first = scene.word(0);
    let concurrently = matches!(first.as_str(), "CREATE" | "DROP" | "REINDEX") && scene.has("CONCURRENTLY")
        || first == "ALTER" && scene.says(&["DETACH", "PARTITION"]) && scene.has("CONCURRENTLY");
    concurrently
        || first == "VACUUM"
        || first == "ALTER" && scene.word(1) == "SYSTEM"
        || matches!(first.as_str(), "CREATE" | "DROP")
            && matches!(scene.word(1).as_str(), "DATABASE" | "TABLESPACE")
        || first == "ALTER"
            && scene.word(1) == "TYPE"
            && scene.says(&["ADD", "VALUE"])
            && scene.is_before(12, 0)
}

/// The names of constraints that are added without a look at the rows that are there.
pub(super) fn added_without_proof(
    operations: &[Operation],
    dialect: SqlDialect,
) -> impl Iterator<Item = String> {
    operations.iter().filter_map(move |operation| match operation {
        Operation::AddConstraint { constraint: TableConstraint::Check(check), not_valid: true } => {
            Some(check.name.as_ref().map(|name| fold(dialect, name)).unwrap_or_default())
        }
        _ => None,
    })
}

/// The new name of a table.
pub(super) fn renamed(operations: &[Operation], dialect: SqlDialect) -> Option<String> {
    operations.iter().find_map(|operation| match operation {
        Operation::RenameTable {
            table_name: RenameTableNameKind::As(new) | RenameTableNameKind::To(new),
        } => Some(fold_name(dialect, new)),
        _ => None,
    })
}

/// The known tables that stand in a statement.
fn named(scene: &Scene<'_>) -> Vec<String> {
    let words = scene.statement.tokens.iter().skip(1).map(|token| token.token.to_string());
    let folded = words.map(|word| match word.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').to_owned(),
        None => word.to_ascii_lowercase(),
    });
    folded.filter(|word| scene.database.tables.contains_key(word)).collect()
}

/// A statement that is about the tables it names, or all.
fn all(scene: &Scene<'_>, kind: Kind, why: &str) -> Vec<Hold> {
    let named = named(scene);
    let tables = if named.is_empty() { scene.database.tables.keys().cloned().collect() } else { named };
    tables.iter().map(|table| Hold::exclusive(table, kind, why)).collect()
}

fn reindex(scene: &Scene<'_>) -> Vec<Hold> {
    let why = "an index is built; REINDEX ... CONCURRENTLY lets it be written (from version 12 on)";
    let name = scene.statement.tokens.last().map(|token| token.token.to_string().to_ascii_lowercase());
    if !scene.has("INDEX") {
        return named(scene).iter().map(|table| Hold::writes(table, Kind::Build, why)).collect();
    }
    let owner = scene.database.tables.iter().find(|(table, one)| {
        one.constraints.iter().any(|index| name.as_deref().is_some_and(|name| index.is_called(table, name)))
    });
    owner.map(|(table, _)| Hold::writes(table, Kind::Build, why)).into_iter().collect()
}

fn index(create: &CreateIndex) -> Vec<Hold> {
    if create.concurrently {
        return Vec::new();
    }
    let table = fold_name(DIALECT, &create.table_name);
    vec![Hold::writes(&table, Kind::Build, "an index is built; CREATE INDEX CONCURRENTLY lets it be written")]
}

/// The parts of `ALTER TABLE` that are taken out before it is parsed, and write the table anew.
fn rewritten(scene: &Scene<'_>) -> Option<Hold> {
    let table = named(scene).into_iter().next()?;
    let moves = [
        (["SET", "TABLESPACE", ""], "is copied to another tablespace"),
        (["SET", "LOGGED", ""], "is written to the log"),
        (["SET", "UNLOGGED", ""], "is written anew"),
        (["SET", "ACCESS", "METHOD"], "is written anew"),
    ];
    let says = |words: &[&str; 3]| {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        scene.says(&words)
    };
    let (_, what) = moves.iter().find(|(words, _)| says(words))?;
    Some(Hold::exclusive(&table, Kind::Rewrite, format!("the table {what}")))
}

fn table(scene: &Scene<'_>, alter: &AlterTable) -> Vec<Hold> {
    let name = fold_name(DIALECT, &alter.name);
    let mut holds: Vec<Hold> = rewritten(scene).into_iter().collect();
    holds.extend(alter.operations.iter().flat_map(|operation| one(scene, &name, operation)));
    holds
}

fn one(scene: &Scene<'_>, table: &str, operation: &Operation) -> Vec<Hold> {
    match operation {
        Operation::AddColumn { column_def, .. } => added(scene, table, column_def),
        Operation::AlterColumn { column_name, op } => altered(scene, table, &fold(DIALECT, column_name), op),
        Operation::AddConstraint { constraint, not_valid } => demanded(table, constraint, *not_valid),
        Operation::ValidateConstraint { .. }
        | Operation::ReplicaIdentity { .. }
        | Operation::OwnerTo { .. } => Vec::new(),
        _ => vec![Hold::short(table)],
    }
}

fn demanded(table: &str, constraint: &TableConstraint, not_valid: bool) -> Vec<Hold> {
    let build = |what: &str| {
        Hold::exclusive(
            table,
            Kind::Build,
            format!(
                "the index of {what} is built; build it with CREATE UNIQUE INDEX CONCURRENTLY, then ADD ... USING INDEX"
            ),
        )
    };
    match constraint {
        TableConstraint::ForeignKey(_) if not_valid => vec![Hold::writes(table, Kind::Short, "")],
        TableConstraint::Check(_) if not_valid => vec![Hold::short(table)],
        TableConstraint::Check(_) => vec![Hold::exclusive(
            table,
            Kind::Scan,
            "all rows are checked; add it NOT VALID, and VALIDATE CONSTRAINT in a statement of its own",
        )],
        TableConstraint::ForeignKey(key) => {
            let why = "all references are checked; add it NOT VALID, and VALIDATE CONSTRAINT in a statement of its own";
            let parent = fold_name(DIALECT, &key.foreign_table);
            vec![Hold::writes(table, Kind::Scan, why), Hold::writes(&parent, Kind::Scan, why)]
        }
        TableConstraint::PrimaryKey(_) => vec![build("the primary key")],
        TableConstraint::Unique(_) => vec![build("the unique constraint")],
        TableConstraint::Exclude(_) => {
            vec![Hold::exclusive(table, Kind::Build, "the index of the exclusion constraint is built")]
        }
        _ => vec![Hold::short(table)],
    }
}

fn added(scene: &Scene<'_>, table: &str, column: &ColumnDef) -> Vec<Hold> {
    let of = ColumnType::new(DIALECT, &column.data_type);
    let options = || column.options.iter().map(|one| &one.option);
    let rewrite = |why: &str| Hold::exclusive(table, Kind::Rewrite, why);
    let mut holds = vec![Hold::short(table)];
    let numbered = options().any(|option| {
        matches!(option, ColumnOption::Identity(_))
            || matches!(option, ColumnOption::Generated { generation_expr: None, generated_as, .. }
                if matches!(generated_as, GeneratedAs::Always | GeneratedAs::ByDefault))
    });
    if of.is_serial() || numbered {
        holds.push(rewrite("every row gets a number; add the column without, and fill it in parts"));
    }
    for option in options() {
        match option {
            ColumnOption::Default(value) if is_never_written(value) => {}
            ColumnOption::Default(_) if scene.is_before(11, 0) => {
                holds.push(rewrite("every row gets the default (before version 11); add the column without, and fill it in parts"));
            }
            ColumnOption::Default(value) if may_be_volatile(value) => {
                holds.push(rewrite("every row gets a default of its own; add the column without, and fill it in parts"));
            }
            ColumnOption::Generated { generation_expr: Some(_), generation_expr_mode, .. }
                if *generation_expr_mode != Some(GeneratedExpressionMode::Virtual) =>
            {
                holds.push(rewrite("the column is computed for every row"));
            }
            ColumnOption::Unique(_) | ColumnOption::PrimaryKey(_) => holds.push(Hold::exclusive(
                table,
                Kind::Build,
                "the index of the new column is built; build it with CREATE UNIQUE INDEX CONCURRENTLY",
            )),
            ColumnOption::Check(_) => holds.push(Hold::exclusive(
                table,
                Kind::Scan,
                "all rows are checked; add the condition NOT VALID, and VALIDATE CONSTRAINT in a statement of its own",
            )),
            _ => {}
        }
    }
    holds
}

fn is_never_written(value: &Expr) -> bool {
    value.to_string().eq_ignore_ascii_case("null")
}

/// Says whether an expression may give every row another value: it calls what is not known to stand still in a statement.
fn may_be_volatile(value: &Expr) -> bool {
    const STABLE: [&str; 14] = [
        "now",
        "current_timestamp",
        "current_date",
        "current_time",
        "localtimestamp",
        "localtime",
        "transaction_timestamp",
        "statement_timestamp",
        "current_user",
        "session_user",
        "lower",
        "upper",
        "coalesce",
        "to_timestamp",
    ];
    let text = value.to_string().to_ascii_lowercase();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('(') {
        let name = rest[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        // A type may have a length, and a bracket may hold nothing but an expression.
        let is_type = matches!(
            name,
            "" | "varchar"
                | "numeric"
                | "decimal"
                | "char"
                | "varying"
                | "timestamp"
                | "timestamptz"
                | "bit"
                | "cast"
        );
        if !is_type && !STABLE.contains(&name) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

fn altered(scene: &Scene<'_>, table: &str, column: &str, op: &AlterColumnOperation) -> Vec<Hold> {
    let known = scene.database.tables.get(table);
    match op {
        AlterColumnOperation::SetNotNull => {
            let proved = !scene.is_before(12, 0) && proves_not_null(scene, table, column);
            let already =
                known.and_then(|known| known.columns.get(column)).is_some_and(|column| column.not_null);
            if proved || already {
                return vec![Hold::short(table)];
            }
            vec![Hold::exclusive(
                table,
                Kind::Scan,
                format!(
                    "all rows are looked at; first add CHECK ({column} IS NOT NULL) NOT VALID and validate it (from version 12 on that is proof enough)"
                ),
            )]
        }
        AlterColumnOperation::SetDataType { data_type, using, .. } => {
            let Some(old) = known.and_then(|known| known.columns.get(column)) else { return Vec::new() };
            let new = ColumnType::new(DIALECT, data_type);
            let converts = using.as_ref().is_some_and(|using| copied(using).is_none());
            if converts || !stays_as_written(&old.of, &new) {
                let why = format!(
                    "every row is written anew for {}; add a new column instead, and fill it in parts",
                    new.text
                );
                return vec![Hold::exclusive(table, Kind::Rewrite, why)];
            }
            vec![Hold::short(table)]
        }
        AlterColumnOperation::AddGenerated { .. }
        | AlterColumnOperation::DropNotNull
        | AlterColumnOperation::SetDefault { .. }
        | AlterColumnOperation::DropDefault
        | AlterColumnOperation::GenericOptions { .. } => vec![Hold::short(table)],
    }
}

/// Says whether a condition that holds for all rows says that a column is never null.
fn proves_not_null(scene: &Scene<'_>, table: &str, column: &str) -> bool {
    let Some(known) = scene.database.tables.get(table) else { return false };
    let says = |text: &str| {
        let plain = text.trim_matches(['(', ')']).replace('"', "").to_ascii_lowercase();
        plain == format!("{column} is not null")
    };
    known.constraints.iter().any(|one| {
        let name = one.name.clone().unwrap_or_default();
        let proved = !scene.unproved.contains(&(table.to_owned(), name));
        proved && matches!(&one.rule, ConstraintRule::Check(text) if says(text))
    })
}

/// Says whether values of one type are those of another as they are written.
fn stays_as_written(old: &ColumnType, new: &ColumnType) -> bool {
    let reaches =
        |new: Option<u64>, old: Option<u64>| new.is_none_or(|new| old.is_some_and(|old| new >= old));
    match (&old.family, &new.family) {
        _ if old.is_padded() || new.is_padded() => old.text.eq_ignore_ascii_case(&new.text),
        (Family::Text { longest }, Family::Text { longest: new }) => reaches(*new, *longest),
        (Family::Decimal { after: was, before }, Family::Decimal { after: is, before: new }) => {
            is.is_none() || was == is && reaches(*new, *before)
        }
        (Family::Time { name: was, digits }, Family::Time { name: is, digits: new }) => {
            was == is && new >= digits
        }
        (old, new) => old == new,
    }
}
