//! Columns whose texts are written or compared in another way.
//!
//! What differed under the old collation may be equal under the new one, or fail a condition it met.

use super::Comparer;
use crate::{
    Bump, Level, NotChecked, SqlDialect,
    sql::{
        rules,
        state::{Collation, Column, Constraint, ConstraintRule, Table},
        types::Family,
    },
};

impl Comparer<'_> {
    pub(super) fn collation(
        &mut self,
        name: &str,
        column: &str,
        after: &Table,
        (old, new): (&Column, &Column),
    ) {
        let texts = matches!(new.of.family, Family::Text { .. } | Family::Labels(_) | Family::Named(_));
        if old.collation == new.collation || !texts {
            return;
        }
        let place = format!("{name}.{column}");
        let at = (Some(&old.position), Some(&new.position));
        let (was, is) = (written(&old.collation), written(&new.collation));
        let message = format!("texts of `{place}` are written and compared by {is} instead of {was}");
        let about = |one: &&Constraint| one.columns.iter().any(|own| own == column);
        let may_be_equal = !self.tells_apart(&new.collation)
            && after.constraints.iter().filter(about).any(Constraint::is_key);
        self.report(&rules::COLLATION_CHANGED, &place, message, at, None);
        if (may_be_equal || holds_less(&old.collation, &new.collation))
            && let Some(change) = self.findings.changes.last_mut()
        {
            (change.level, change.bump) = (Level::Error, Bump::Major);
        }
        let reason = format!("what a demand makes, under {is}, of texts");
        self.doubt((&place, column), after, new, &reason, &|one| !one.is_key());
    }

    /// Files demands on a column as not checked: its values are kept in another way, and may be told apart or ordered in another.
    pub(super) fn doubt(
        &mut self,
        (place, column): (&str, &str),
        after: &Table,
        new: &Column,
        what: &str,
        counts: &dyn Fn(&Constraint) -> bool,
    ) {
        let about = |one: &&Constraint| one.columns.iter().any(|own| own == column);
        let demands = after.constraints.iter().filter(|one| one.rule != ConstraintRule::Index);
        for demand in demands.filter(about).filter(|one| counts(one)) {
            self.findings.not_checked.push(NotChecked {
                place: place.to_owned(),
                reason: format!("{what} of `{place}` cannot be told"),
                old: Some(demand.position.location()),
                new: Some(new.position.location()),
            });
        }
    }

    /// Says whether texts that differ in any way are never equal.
    fn tells_apart(&self, collation: &Collation) -> bool {
        let order = collation.order.as_deref();
        match self.dialect {
            // A collation that is not would have to be made, which is not checked.
            SqlDialect::PostgreSql => true,
            SqlDialect::Sqlite => order.is_none_or(|order| order == "binary"),
            SqlDialect::MySql => order.is_some_and(|order| order == "binary" || order.ends_with("_bin")),
        }
    }
}

/// Says whether characters that could be written may not be any more.
fn holds_less(old: &Collation, new: &Collation) -> bool {
    let charset = |one: &Collation| {
        let of_order =
            one.order.as_deref().and_then(|order| order.split('_').next().filter(|_| order.contains('_')));
        one.charset.clone().or_else(|| of_order.map(str::to_owned))
    };
    let (was, is) = (charset(old), charset(new));
    was != is && is.is_some_and(|is| is != "utf8mb4")
}

fn written(collation: &Collation) -> String {
    let parts = [&collation.charset, &collation.order];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    if parts.is_empty() { "the usual collation".to_owned() } else { format!("`{}`", parts.join(" ")) }
}
