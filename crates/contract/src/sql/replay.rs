//! Runs migrations over an empty database, statement by statement.
//!
//! Only statements that shape tables, enums and views are parsed; what merely moves rows is noted, what only tunes
//! is passed over. A statement that cannot be parsed, or whose effect is not modelled, is an [`Effect::Unknown`] with its
//! reason, and never passed over in silence.

mod alter;
mod create;
mod harmless;
mod names;
mod rows;

pub(super) use create::enum_name;
pub(super) use rows::copied;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
};

use sqlparser::{
    ast::{AlterIndexOperation, ObjectName, ObjectType, Statement as Parsed},
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan},
};

use super::{
    dialect::{fold_name, parser_dialect},
    split::{Statement, bare_word},
    state::{Column, ConstraintRule, Database, EnumType, How, Loss, Position, Table, View},
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
    /// It changed rows: some, or all of its tables, which is told by what they held.
    Data(Rows),
    /// It was not understood, for this reason.
    Unknown(String),
}

/// How many rows a statement touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Some,
    All,
}

/// A database being built.
#[derive(Clone)]
pub(super) struct Replay {
    dialect: SqlDialect,
    pub(super) database: Database,
    /// How often a column of a name was made in a file.
    births: HashMap<String, usize>,
    /// What the file that runs is called on both sides of a comparison.
    key: Rc<str>,
    /// How often a statement stood in a file.
    said: HashMap<u64, u64>,
    /// Tables that only this session sees.
    temporary: BTreeSet<String>,
    /// Words of statements that were not understood: what they name may be there, or be something else.
    unread: BTreeSet<String>,
    /// The database that `USE` chose.
    used: Option<String>,
    references: References,
}

/// Whether SQLite follows references while the file runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum References {
    Perhaps,
    Ignored,
}

/// A reason why a statement has no effect here.
type Refusal = String;
type Outcome = Result<(), Refusal>;

impl Replay {
    pub(super) fn new(dialect: SqlDialect) -> Self {
        Self {
            dialect,
            database: Database::default(),
            births: HashMap::new(),
            key: "".into(),
            said: HashMap::new(),
            temporary: BTreeSet::new(),
            unread: BTreeSet::new(),
            used: None,
            references: References::Perhaps,
        }
    }

    /// Runs one statement.
    pub(super) fn run(&mut self, (file, key): (&Rc<str>, &Rc<str>), statement: &Statement) -> Effect {
        if self.key != *key {
            (self.key, self.references) = (key.clone(), References::Perhaps);
        }
        let position =
            Position { file: file.clone(), line: statement.line, statement: self.identify(statement) };
        let effect = self.run_at(&position, statement);
        if let Effect::Unknown(_) = effect {
            self.unread.extend(names::words(statement, MAX_TOKENS));
        }
        effect
    }

    fn run_at(&mut self, position: &Position, statement: &Statement) -> Effect {
        match statement.word(0).as_str() {
            "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "REPLACE" | "TRUNCATE" | "COPY" | "LOAD" | "WITH" => {
                self.move_rows(position, statement)
            }
            "PRAGMA" => self.pragma(statement),
            _ if let Some(reason) = self.means_other(statement) => Effect::Unknown(reason),
            "SELECT" if is_setting(statement) => Effect::Schema,
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" | "SET"
            | "RESET" | "USE" | "ANALYZE" | "VACUUM" | "COMMENT" | "GRANT" | "LOCK" | "UNLOCK"
            | "REINDEX" | "CLUSTER" | "OPTIMIZE" | "NOTIFY" | "SHOW" | "REFRESH" => Effect::Schema,
            // A query can call functions that do anything.
            "SELECT" | "VALUES" => {
                Effect::Unknown("a query may call functions that change anything".to_owned())
            }
            "CREATE" | "ALTER" | "DROP" | "RENAME" => match self.shape(position, statement) {
                Ok(()) => Effect::Schema,
                Err(reason) => Effect::Unknown(reason),
            },
            word => Effect::Unknown(format!("what `{word}` does is not modelled")),
        }
    }

    /// Names a statement, the same on both sides of a comparison.
    fn identify(&mut self, statement: &Statement) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        statement.tokens.iter().for_each(|token| token.token.hash(&mut hasher));
        let count = self.said.entry(hasher.finish()).or_default();
        *count += 1;
        count.hash(&mut hasher);
        hasher.finish()
    }

    /// Follows what SQLite is told about references.
    fn pragma(&mut self, statement: &Statement) -> Effect {
        if statement.word(1) == "FOREIGN_KEYS" {
            let off = statement.tokens.last().is_some_and(|last| {
                matches!(last.token.to_string().to_ascii_uppercase().as_str(), "OFF" | "0" | "FALSE" | "NO")
            });
            self.references = if off { References::Ignored } else { References::Perhaps };
        }
        let writes = statement.word(1) == "WRITABLE_SCHEMA";
        if writes {
            Effect::Unknown("the schema is written by hand from here on".to_owned())
        } else {
            Effect::Schema
        }
    }

    fn shape(&mut self, position: &Position, statement: &Statement) -> Outcome {
        if is_tuning(statement) {
            return Ok(());
        }
        let tokens = harmless::without(statement);
        if tokens.is_empty() {
            return Ok(());
        }
        let says = |words: [&str; 3]| {
            (0..tokens.len()).any(|at| (0..3).all(|by| statement.word(at + by) == words[by]))
        };
        if self.dialect == SqlDialect::Sqlite && says(["PRIMARY", "KEY", "DESC"]) {
            return Err(
                "INTEGER PRIMARY KEY DESC is no number of a row in some versions of SQLite".to_owned()
            );
        }
        let parsed = self.parse(&tokens)?;
        let made = match &parsed {
            Parsed::CreateTable(create) => Some(fold_name(self.dialect, &create.name)),
            _ => None,
        };
        self.apply(position, parsed)?;
        if let Some(name) = made.filter(|_| self.dialect == SqlDialect::Sqlite) {
            let behind = tokens.rsplit(|token| token.token == Token::RParen).next().unwrap_or_default();
            let words: Vec<String> = behind.iter().filter_map(bare_word).collect();
            self.words_behind_columns(position, &name, &words);
        }
        Ok(())
    }

    /// Parses a statement as far as it touches rows.
    pub(super) fn parsed(&self, statement: &Statement) -> Option<Parsed> {
        let tokens = harmless::without(statement);
        let shapes = matches!(statement.word(0).as_str(), "CREATE" | "ALTER" | "DROP" | "INSERT");
        if shapes { self.parse(&tokens).ok() } else { None }
    }

    fn parse(&self, tokens: &[TokenWithSpan]) -> Result<Parsed, Refusal> {
        let operators = tokens.iter().filter(|token| is_operator(&token.token)).count();
        if tokens.len() > MAX_TOKENS || operators > MAX_OPERATORS {
            return Err(format!("the statement has {} tokens, more than are read", tokens.len()));
        }
        let mut parser = Parser::new(parser_dialect(self.dialect))
            .with_recursion_limit(MAX_RECURSION)
            .with_tokens_with_locations(tokens.to_vec());
        let parsed = match parser.parse_statement() {
            Ok(parsed) => parsed,
            Err(ParserError::RecursionLimitExceeded) => {
                return Err(format!("it nests deeper than {MAX_RECURSION} levels"));
            }
            Err(_) => return Err(not_understood(&parser.peek_token())),
        };
        match parser.peek_token() {
            rest if rest.token == Token::EOF => Ok(parsed),
            rest => Err(not_understood(&rest)),
        }
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
            Parsed::Drop { object_type, if_exists, cascade, names, table, .. } => {
                for name in &names {
                    self.drop_object(position, object_type, name, if_exists, table.as_ref())?;
                }
                if cascade { self.falls_alone(&names) } else { Ok(()) }
            }
            Parsed::RenameTable(renames) => {
                renames.iter().try_for_each(|rename| self.rename_table(&rename.old_name, &rename.new_name))
            }
            Parsed::AlterIndex { name, operation: AlterIndexOperation::RenameIndex { index_name } } => {
                self.rename_index(&name, &index_name)
            }
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
        position: &Position,
        kind: ObjectType,
        name: &ObjectName,
        if_exists: bool,
        table: Option<&ObjectName>,
    ) -> Outcome {
        let name = fold_name(self.dialect, name);
        let follows = self.follows_drop(&name).filter(|_| kind == ObjectType::Table);
        let bare = name.rsplit('.').next().unwrap_or(&name).to_lowercase();
        let falls = matches!(kind, ObjectType::Table | ObjectType::View) && self.unread.contains(&bare);
        let unread = falls.then(|| {
            format!(
                "what was not understood names `{name}`, and may fall with it, as a trigger or a policy does"
            )
        });
        let known = match kind {
            ObjectType::Table => self.drop_table(position, &name),
            ObjectType::View | ObjectType::MaterializedView => self.database.views.remove(&name).is_some(),
            ObjectType::Type => self.database.enums.remove(&name).is_some(),
            ObjectType::Index => self.drop_index(&name, table)?,
            _ => return Err("the effect of dropping this is not modelled".to_owned()),
        };
        if let Some(reason) = follows.or(unread) {
            return Err(reason);
        }
        let known = known || self.temporary.remove(&name);
        self.is_known_or_absent(&name, known, if_exists)
    }

    /// What SQLite drops it empties first, and rows that refer to those may go as well.
    fn follows_drop(&self, name: &str) -> Option<String> {
        if self.dialect != SqlDialect::Sqlite || self.references == References::Ignored {
            return None;
        }
        let (table, ..) = self
            .referring(name)
            .into_iter()
            .find(|(table, _, to)| table != name && to.on_delete != "RESTRICT")?;
        Some(format!(
            "where references are followed, rows of `{table}` that refer to `{name}` go with it, or forget it; PRAGMA foreign_keys = OFF before it, outside of a transaction, keeps them"
        ))
    }

    fn drop_table(&mut self, position: &Position, name: &str) -> bool {
        // Elsewhere references keep the name, and mean what is called so next.
        if self.dialect == SqlDialect::PostgreSql {
            for table in self.database.tables.values_mut() {
                table
                    .constraints
                    .retain(|one| !matches!(&one.rule, ConstraintRule::ForeignKey(to) if to.table == name));
            }
        }
        let Some(table) = self.database.tables.remove(name) else { return false };
        table.columns.values().for_each(|column| self.lose(column, position, How::Dropped));
        true
    }

    /// Notes where the values of a column went; whether others hold them still is asked at the end.
    fn lose(&mut self, column: &Column, position: &Position, how: How) {
        let loss = Loss { position: position.clone(), how };
        self.database.lost.insert(column.holds.origin.clone(), loss);
    }

    /// Refuses a `CASCADE` that takes views with it: which ones is not modelled.
    fn falls_alone(&self, names: &[ObjectName]) -> Outcome {
        let names: Vec<String> = names.iter().map(|name| fold_name(self.dialect, name)).collect();
        let shows = |view: &View| names.iter().any(|name| view.query.to_string().contains(name.as_str()));
        match self.database.views.iter().find(|(_, view)| shows(view)) {
            Some((view, _)) => Err(format!("whether view `{view}` falls with it is not modelled")),
            None => Ok(()),
        }
    }

    fn table(&mut self, name: &str) -> Result<&mut Table, Refusal> {
        self.database.tables.get_mut(name).ok_or_else(|| format!("table `{name}` is not known"))
    }

    fn enums(&mut self) -> &mut BTreeMap<String, EnumType> {
        &mut self.database.enums
    }
}

/// Says in our words where a statement stops being understood.
fn not_understood(at: &TokenWithSpan) -> Refusal {
    match &at.token {
        Token::EOF => {
            "it ends before it is complete, or is written in a way that is not known here".to_owned()
        }
        token => format!("it is not understood from `{token}` on"),
    }
}

fn is_operator(token: &Token) -> bool {
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

/// Says whether a query only sets a sequence or a parameter, as dumps do.
fn is_setting(statement: &Statement) -> bool {
    let name = if statement.word(1) == "PG_CATALOG" { statement.word(3) } else { statement.word(1) };
    matches!(name.as_str(), "SETVAL" | "SET_CONFIG")
}

/// Says whether a statement makes or tunes what no reader or writer of rows meets.
fn is_tuning(statement: &Statement) -> bool {
    const MADE: [&str; 8] =
        ["EXTENSION", "SEQUENCE", "DATABASE", "COLLATION", "STATISTICS", "ROLE", "USER", "PUBLICATION"];
    // What those who connect may do, and what an extension does, is not tuned but changed.
    const TUNED: [&str; 5] = ["SEQUENCE", "DATABASE", "COLLATION", "STATISTICS", "PUBLICATION"];
    let second = statement.word(1);
    let counts = || {
        const COUNTING: [&str; 8] =
            ["RESTART", "INCREMENT", "MAXVALUE", "MINVALUE", "RENAME", "SCHEMA", "AS", "CYCLE"];
        (2..statement.tokens.len()).any(|index| COUNTING.contains(&statement.word(index).as_str()))
    };
    if statement.word(0) == "ALTER" && second == "SEQUENCE" && counts() {
        return false;
    }
    let tuned = TUNED.contains(&second.as_str());
    match statement.word(0).as_str() {
        "CREATE" => MADE.contains(&second.as_str()) || matches!(second.as_str(), "SCHEMA" | "TABLESPACE"),
        "ALTER" => tuned,
        "DROP" => second == "STATISTICS",
        _ => false,
    }
}
