//! Runs migrations over an empty database, statement by statement.
//!
//! Only statements that shape tables, enums and views are parsed; what merely moves rows is noted, what only tunes
//! is passed over. A statement that cannot be parsed, or whose effect is not modelled, is an [`Effect::Unknown`] with its
//! reason, and never passed over in silence.

mod alter;
mod create;

pub(super) use create::enum_name;

use std::{collections::BTreeMap, rc::Rc};

use sqlparser::{
    ast::{ObjectName, ObjectType, Statement as Parsed},
    parser::Parser,
};

use super::{
    dialect::{fold_name, parser_dialect},
    split::Statement,
    state::{Database, EnumType, Position, Table},
};
use crate::SqlDialect;

/// The longest statement that shapes a schema by hand is far below this; each operator may nest the parser's tree once.
const MAX_TOKENS: usize = 20_000;
/// Trees are dropped recursively: this many levels fit the smallest stack of a thread.
const MAX_OPERATORS: usize = 1_500;
/// The parser's own bound on how deep it recurses.
const MAX_RECURSION: usize = 60;

/// What one statement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// It shaped the schema, or nothing at all.
    Schema,
    /// It changed rows.
    Data,
    /// It was not understood, for this reason.
    Unknown(String),
}

/// A database being built.
pub(super) struct Replay {
    dialect: SqlDialect,
    pub(super) database: Database,
}

/// A reason why a statement has no effect here.
type Refusal = String;
type Outcome = Result<(), Refusal>;

impl Replay {
    pub(super) fn new(dialect: SqlDialect) -> Self {
        Self { dialect, database: Database::default() }
    }

    /// Runs one statement.
    pub(super) fn run(&mut self, file: &Rc<str>, statement: &Statement) -> Effect {
        let position = Position { file: file.clone(), line: statement.line };
        match statement.word(0).as_str() {
            "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "REPLACE" | "TRUNCATE" | "COPY" | "LOAD" | "WITH" => {
                Effect::Data
            }
            "SET" if moves_search_path(statement) => {
                Effect::Unknown("names without a schema mean other objects from here on".to_owned())
            }
            "SELECT" if is_setting(statement) => Effect::Schema,
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "SET" | "RESET"
            | "USE" | "PRAGMA" | "ANALYZE" | "VACUUM" | "COMMENT" | "GRANT" | "LOCK" | "UNLOCK"
            | "REINDEX" | "CLUSTER" | "OPTIMIZE" | "NOTIFY" | "SHOW" | "REFRESH" => Effect::Schema,
            // A query can call functions that do anything.
            "SELECT" | "VALUES" => {
                Effect::Unknown("a query may call functions that change anything".to_owned())
            }
            "CREATE" | "ALTER" | "DROP" | "RENAME" => match self.shape(&position, statement) {
                Ok(()) => Effect::Schema,
                Err(reason) => Effect::Unknown(reason),
            },
            word => Effect::Unknown(format!("what `{word}` does is not modelled")),
        }
    }

    fn shape(&mut self, position: &Position, statement: &Statement) -> Outcome {
        if is_tuning(statement) {
            return Ok(());
        }
        let operators = statement.tokens.iter().filter(|token| is_operator(&token.token)).count();
        if statement.tokens.len() > MAX_TOKENS || operators > MAX_OPERATORS {
            return Err(format!("the statement has {} tokens, more than are read", statement.tokens.len()));
        }
        let mut parser = Parser::new(parser_dialect(self.dialect))
            .with_recursion_limit(MAX_RECURSION)
            .with_tokens_with_locations(statement.tokens.clone());
        let parsed = parser.parse_statement().map_err(|error| format!("it cannot be parsed: {error}"))?;
        let rest = parser.peek_token();
        if rest.token != sqlparser::tokenizer::Token::EOF {
            return Err(format!("it cannot be parsed from `{}` on", rest.token));
        }
        self.apply(position, parsed)
    }

    fn apply(&mut self, position: &Position, parsed: Parsed) -> Outcome {
        match parsed {
            Parsed::CreateTable(create) => self.create_table(position, &create),
            Parsed::CreateIndex(create) => self.create_index(position, &create),
            Parsed::CreateView(create) => self.create_view(position, &create),
            Parsed::CreateType { name, representation } => self.create_type(position, &name, representation),
            Parsed::CreateDomain(_) => Err("domains are not modelled".to_owned()),
            Parsed::AlterTable(alter) => self.alter_table(position, alter),
            Parsed::AlterType(alter) => self.alter_type(position, alter),
            Parsed::Drop { object_type: ObjectType::Type, cascade: true, .. } => {
                Err("which columns fall with a type is not modelled".to_owned())
            }
            Parsed::Drop { object_type, if_exists, names, table, .. } => names
                .iter()
                .try_for_each(|name| self.drop_object(object_type, name, if_exists, table.as_ref())),
            Parsed::RenameTable(renames) => {
                renames.iter().try_for_each(|rename| self.rename_table(&rename.old_name, &rename.new_name))
            }
            Parsed::AlterIndex { .. } => Ok(()),
            Parsed::DropTrigger(_) | Parsed::CreateTrigger(_) => {
                Err("the effect of triggers is not modelled".to_owned())
            }
            Parsed::CreateFunction(_) | Parsed::CreateProcedure { .. } | Parsed::DropFunction(_) => {
                Err("the effect of functions is not modelled".to_owned())
            }
            _ => Err("the effect of this statement is not modelled".to_owned()),
        }
    }

    fn drop_object(
        &mut self,
        kind: ObjectType,
        name: &ObjectName,
        if_exists: bool,
        table: Option<&ObjectName>,
    ) -> Outcome {
        let name = fold_name(self.dialect, name);
        let known = match kind {
            ObjectType::Table => self.drop_table(&name),
            ObjectType::View | ObjectType::MaterializedView => self.database.views.remove(&name).is_some(),
            ObjectType::Type => self.database.enums.remove(&name).is_some(),
            ObjectType::Index => self.drop_index(&name, table),
            _ => return Err("the effect of dropping this is not modelled".to_owned()),
        };
        if known || if_exists { Ok(()) } else { Err(format!("`{name}` is not known")) }
    }

    fn drop_table(&mut self, name: &str) -> bool {
        for table in self.database.tables.values_mut() {
            table.constraints.retain(|one| !matches!(&one.rule, super::state::ConstraintRule::ForeignKey { table, .. } if table == name));
        }
        self.database.tables.remove(name).is_some()
    }

    fn drop_index(&mut self, name: &str, table: Option<&ObjectName>) -> bool {
        let only = table.map(|table| fold_name(self.dialect, table));
        let bare = name.rsplit('.').next().unwrap_or(name);
        let mut found = false;
        for (table_name, table) in &mut self.database.tables {
            if only.as_ref().is_none_or(|only| only == table_name) {
                let before = table.constraints.len();
                table.constraints.retain(|one| !one.is_called(table_name, bare));
                found |= table.constraints.len() != before;
            }
        }
        found
    }

    fn rename_table(&mut self, old: &ObjectName, new: &ObjectName) -> Outcome {
        let (old, new) = (fold_name(self.dialect, old), fold_name(self.dialect, new));
        let new = match old.rsplit_once('.') {
            Some((schema, _)) if !new.contains('.') => format!("{schema}.{new}"),
            _ => new,
        };
        let Some(table) = self.database.tables.remove(&old) else {
            if let Some(view) = self.database.views.remove(&old) {
                self.database.views.insert(new, view);
                return Ok(());
            }
            return Err(format!("table `{old}` is not known"));
        };
        for other in self.database.tables.values_mut() {
            for constraint in &mut other.constraints {
                if let super::state::ConstraintRule::ForeignKey { table, .. } = &mut constraint.rule
                    && *table == old
                {
                    table.clone_from(&new);
                }
            }
        }
        self.database.tables.insert(new.clone(), table);
        self.database.renamed.insert(old, new);
        Ok(())
    }

    fn table(&mut self, name: &str) -> Result<&mut Table, Refusal> {
        self.database.tables.get_mut(name).ok_or_else(|| format!("table `{name}` is not known"))
    }

    fn enums(&mut self) -> &mut BTreeMap<String, EnumType> {
        &mut self.database.enums
    }
}

fn is_operator(token: &sqlparser::tokenizer::Token) -> bool {
    use sqlparser::tokenizer::Token;
    match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && matches!(word.value.to_ascii_uppercase().as_str(), "AND" | "OR" | "XOR" | "IS" | "NOT")
        }
        Token::Comma
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::LParen
        | Token::RParen
        | Token::Period => false,
        Token::Whitespace(_) | Token::SemiColon | Token::EOF => false,
        _ => true,
    }
}

/// Says whether names without a schema are looked up elsewhere from here on.
fn moves_search_path(statement: &Statement) -> bool {
    let usual = ["SEARCH_PATH", "TO", "PUBLIC", "PG_CATALOG", "LOCAL", "SESSION", ""];
    let words = || (1..statement.tokens.len()).map(|index| statement.word(index));
    words().any(|word| word == "SEARCH_PATH") && words().any(|word| !usual.contains(&word.as_str()))
}

/// Says whether a query only sets a sequence or a parameter, as dumps do.
fn is_setting(statement: &Statement) -> bool {
    let name = if statement.word(1) == "PG_CATALOG" { statement.word(3) } else { statement.word(1) };
    matches!(name.as_str(), "SETVAL" | "SET_CONFIG")
}

/// Says whether a statement makes or tunes what no reader or writer of rows meets.
fn is_tuning(statement: &Statement) -> bool {
    const TUNED: [&str; 8] =
        ["EXTENSION", "SEQUENCE", "DATABASE", "COLLATION", "STATISTICS", "ROLE", "USER", "PUBLICATION"];
    let second = statement.word(1);
    let tuned = TUNED.contains(&second.as_str());
    match statement.word(0).as_str() {
        "CREATE" => tuned || matches!(second.as_str(), "SCHEMA" | "TABLESPACE"),
        "ALTER" => tuned,
        "DROP" => second == "STATISTICS",
        _ => false,
    }
}
