//! What names mean: objects under other names, names that may be of what was not understood, and statements after which names mean others.

use std::collections::BTreeSet;

use sqlparser::{
    ast::ObjectName,
    tokenizer::{Token, Word},
};

use super::{Outcome, Refusal, Replay};
use crate::{
    SqlDialect,
    sql::{dialect::fold_name, split::Statement, state::ConstraintRule},
};

impl Replay {
    /// Says why names, or rights, mean something else for the running version after a statement.
    pub(super) fn means_other(&mut self, statement: &Statement) -> Option<String> {
        let says = |wanted: &str| (1..statement.tokens.len()).any(|index| statement.word(index) == wanted);
        let subject = statement.word(1);
        match statement.word(0).as_str() {
            "SET" if moves_search_path(statement) => {
                Some("names without a schema mean other objects from here on".to_owned())
            }
            "SET"
                if self.dialect == SqlDialect::MySql && matches!(subject.as_str(), "GLOBAL" | "PERSIST") =>
            {
                Some("a setting of all sessions changes, those of the running version too".to_owned())
            }
            "SET" if subject == "PASSWORD" => Some("what those who connect may do changes".to_owned()),
            "ALTER" if subject == "DATABASE" && says("READ") => {
                Some("the database may take no rows any more".to_owned())
            }
            "ALTER"
                if matches!(subject.as_str(), "ROLE" | "USER" | "DATABASE")
                    && (says("SET") || says("RESET")) =>
            {
                let charset = self.dialect == SqlDialect::MySql;
                (!charset)
                    .then(|| "a setting of those who connect changes, of the running version too".to_owned())
            }
            "USE" => {
                let chosen = statement.tokens.get(1).map(|token| token.token.to_string().replace('`', ""));
                let other = self.used.is_some() && self.used != chosen;
                self.used = chosen;
                other.then(|| "names mean tables of another database from here on".to_owned())
            }
            _ => None,
        }
    }

    /// Refuses what is not known; where that is allowed, it must not be there under any name.
    pub(super) fn is_known_or_absent(&self, name: &str, known: bool, if_exists: bool) -> Outcome {
        match (known, if_exists) {
            (true, _) => Ok(()),
            (false, true) if self.may_be_there(name) => {
                Err(format!("whether `{name}` is there is not known"))
            }
            (false, true) => Ok(()),
            (false, false) => Err(format!("`{name}` is not known")),
        }
    }

    /// Says whether a name that nothing has may mean something: what was not understood names it, or another schema has it.
    pub(super) fn may_be_there(&self, name: &str) -> bool {
        let bare = |name: &str| name.rsplit('.').next().unwrap_or(name).to_lowercase();
        let wanted = bare(name);
        let database = &self.database;
        let known = database.tables.keys().chain(database.views.keys()).chain(database.enums.keys());
        self.unread.contains(&wanted) || known.into_iter().any(|other| bare(other) == wanted)
    }

    pub(super) fn rename_index(&mut self, old: &ObjectName, new: &ObjectName) -> Outcome {
        let bare = |name: &ObjectName| {
            let folded = fold_name(self.dialect, name);
            folded.rsplit('.').next().unwrap_or(&folded).to_owned()
        };
        let (old, new) = (bare(old), bare(new));
        let all = self.database.tables.iter_mut();
        let mut indexes =
            all.flat_map(|(table, one)| one.constraints.iter_mut().map(move |index| (table, index)));
        let index = indexes.find(|(table, index)| {
            (index.is_key() || index.rule == ConstraintRule::Index) && index.is_called(table, &old)
        });
        let (_, index) = index.ok_or_else(|| format!("index `{old}` is not known"))?;
        index.name = Some(new);
        Ok(())
    }

    pub(super) fn drop_index(&mut self, name: &str, table: Option<&ObjectName>) -> Result<bool, Refusal> {
        let only = table.map(|table| fold_name(self.dialect, table));
        let bare = name.rsplit('.').next().unwrap_or(name);
        let mut found = false;
        for (table_name, table) in &mut self.database.tables {
            if only.as_ref().is_none_or(|only| only == table_name) {
                found |= table.remove_constraint(table_name, bare)?;
            }
        }
        Ok(found)
    }

    pub(super) fn rename_table(&mut self, old: &ObjectName, new: &ObjectName) -> Outcome {
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
                if let ConstraintRule::ForeignKey(to) = &mut constraint.rule
                    && to.table == old
                {
                    to.table.clone_from(&new);
                }
            }
        }
        if self.temporary.remove(&old) {
            self.temporary.insert(new.clone());
        }
        self.database.tables.insert(new.clone(), table);
        self.database.renamed.insert(old, new);
        Ok(())
    }
}

/// Says whether names without a schema are looked up elsewhere from here on.
fn moves_search_path(statement: &Statement) -> bool {
    let usual = ["SEARCH_PATH", "TO", "PUBLIC", "PG_CATALOG", "LOCAL", "SESSION", ""];
    let words = || (1..statement.tokens.len()).map(|index| statement.word(index));
    let quoted = statement.tokens.iter().any(|token| match &token.token {
        Token::SingleQuotedString(text) => !text.is_empty() && text != "public",
        Token::Word(word) => word.quote_style.is_some() && !matches!(word.value.as_str(), "public" | "$user"),
        _ => false,
    });
    words().any(|word| word == "SEARCH_PATH")
        && (quoted || words().any(|word| !usual.contains(&word.as_str())))
}

/// The words among the first tokens of a statement, those of the texts in it too, as a function has its body in one.
pub(super) fn words(statement: &Statement, first: usize) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let texts = statement.tokens.iter().take(first).map(|token| match &token.token {
        Token::Word(Word { value, .. }) => value.clone(),
        other => other.to_string(),
    });
    let words = texts.flat_map(|text| {
        let parts = text.split(|letter: char| !is_part(letter)).map(str::to_lowercase);
        parts.filter(|word| !word.is_empty()).collect::<Vec<_>>()
    });
    words.collect()
}
