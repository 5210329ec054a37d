//! What a view shows.
//!
//! A view that comes from the same tables in the same way shows the same columns of the same rows; a filter that lets through less
//! than it did shows fewer of them. Any other query may show anything, and is not checked. That is so for deploying and for coming
//! back alike: in both, the old version reads the new view.

use sqlparser::ast::{
    BinaryOperator as Binary, Expr, GroupByExpr, InTarget, Query, Select, SelectItem, SetExpr,
};

use super::Comparer;
use crate::{
    Bump, Level, NotChecked,
    sql::{
        evaluate::Condition,
        implication::{self, Meets},
        rules,
        state::View,
        witness,
    },
};

/// What another query does to what a view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// The same rows, with more columns perhaps.
    Same,
    /// Some of the rows.
    Fewer,
    /// Nobody knows.
    Unknown,
}

impl Comparer<'_> {
    pub(super) fn views(&mut self) {
        let (old, new) = (self.old, self.new);
        for (name, before) in &old.views {
            match new.views.get(name) {
                Some(after)
                    if after.query == before.query
                        && after.manner == before.manner
                        && after.columns == before.columns => {}
                Some(after) => self.view(name, before, after),
                None if new.tables.contains_key(name) => {
                    self.unknown_view(
                        name,
                        "the view is a table now; what it shows is not compared",
                        (before, None),
                    );
                }
                None => {
                    let shown = witness::select_from(self.dialect, name, "there is no such view");
                    let message = format!("view `{name}` is gone");
                    let at = (Some(&before.position), None);
                    self.report(&rules::VIEW_DROPPED, name, message, at, Some(shown));
                }
            }
        }
        for (name, after) in new.views.iter().filter(|(name, _)| !old.views.contains_key(*name)) {
            if !old.tables.contains_key(name) {
                let message = format!("view `{name}` was added");
                self.report(&rules::VIEW_ADDED, name, message, (None, Some(&after.position)), None);
            }
        }
    }

    fn view(&mut self, name: &str, before: &View, after: &View) {
        let (Some(was), Some(is)) = (&before.columns, &after.columns) else {
            let reason = "the query of the view changed, and its columns cannot be told from it";
            self.unknown_view(name, reason, (before, Some(after)));
            return;
        };
        let at = (Some(&before.position), Some(&after.position));
        let mut lost =
            was.iter().filter(|(column, _)| !is.iter().any(|(other, _)| other == column)).peekable();
        let loses = lost.peek().is_some();
        for (column, _) in lost {
            let place = format!("{name}.{column}");
            let shown = witness::select_column(self.dialect, name, column, "the view shows no such column");
            let message = format!("view `{name}` shows no `{column}` any more");
            self.report(&rules::VIEW_COLUMN_DROPPED, &place, message, at, shown);
        }
        match self.shows(before, after) {
            _ if loses => {}
            Shows::Unknown => {
                let reason = "the view has another query: which rows it shows, and what stands in them, is not compared";
                self.unknown_view(name, reason, (before, Some(after)));
            }
            Shows::Fewer => {
                let message = format!("view `{name}` lets fewer rows through than it did");
                self.report(&rules::VIEW_CHANGED, name, message, at, None);
            }
            Shows::Same if was.len() < is.len() => {
                let message = format!("view `{name}` shows more columns of the same rows");
                self.report(&rules::VIEW_CHANGED, name, message, at, None);
                if let Some(change) = self.findings.changes.last_mut() {
                    (change.level, change.bump) = (Level::Info, Bump::Minor);
                }
            }
            Shows::Same => {}
        }
    }

    fn shows(&self, before: &View, after: &View) -> Shows {
        let (Some(was), Some(is)) = (&before.columns, &after.columns) else { return Shows::Unknown };
        let (Some(old), Some(new)) = (plain(&before.query), plain(&after.query)) else {
            return Shows::Unknown;
        };
        let kept = was.iter().all(|column| is.contains(column));
        // A new column that calls something may fail, or make one row of all.
        let harmless = |text: &str| {
            Condition::read(self.dialect, text).is_some_and(|read| is_of_row(read.expr(), Calls::None))
        };
        let mut added = is.iter().filter(|column| !was.contains(column)).peekable();
        let grows = added.peek().is_some();
        let by_row = is_by_row(old) && is_by_row(new) && added.all(|(_, from)| harmless(from));
        if !kept || before.manner != after.manner || !comes_from_same(old, new) {
            return Shows::Unknown;
        }
        match (&old.selection, &new.selection) {
            (old, new) if old == new => {
                if by_row || !grows {
                    Shows::Same
                } else {
                    Shows::Unknown
                }
            }
            (old, Some(new)) if by_row => self.filters(old.as_ref(), new),
            _ => Shows::Unknown,
        }
    }

    /// Compares filters: none lets everything through.
    fn filters(&self, old: Option<&Expr>, new: &Expr) -> Shows {
        let of = |premise: &Expr, conclusion: &Expr| {
            let (premise, conclusion) = (premise.to_string(), conclusion.to_string());
            implication::follows(self.dialect, None, (&[&premise], &conclusion), Meets::True)
        };
        let known = old.map(implication::conjuncts).unwrap_or_default();
        let asked = implication::conjuncts(new);
        let stricter = known.iter().all(|one| asked.contains(one)) || old.is_some_and(|old| of(new, old));
        // What the old filter asks as well cannot fail now where it did not.
        let sure = asked.iter().all(|one| known.contains(one) || is_of_row(one, Calls::None));
        match old {
            _ if !stricter || !sure => Shows::Unknown,
            Some(old) if of(old, new) => Shows::Same,
            _ => Shows::Fewer,
        }
    }

    fn unknown_view(&mut self, name: &str, reason: &str, (before, after): (&View, Option<&View>)) {
        self.findings.not_checked.push(NotChecked {
            place: name.to_owned(),
            reason: reason.to_owned(),
            old: Some(before.position.location()),
            new: after.map(|view| view.position.location()),
        });
    }
}

/// A query that shows each row of its tables by itself, or not at all.
fn plain(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let whole = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.order_by.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.named_window.is_empty();
    let short = query.to_string().len() <= implication::MAX_LENGTH;
    (ungrouped && whole && short).then_some(select)
}

/// Says whether two queries differ in nothing but what they show and what they let through.
fn comes_from_same(old: &Select, new: &Select) -> bool {
    let bare = |select: &Select| {
        let mut bare = select.clone();
        bare.projection.clear();
        bare.selection = None;
        bare
    };
    bare(old) == bare(new)
}

/// Says whether what is shown of a row does not depend on other rows.
fn is_by_row(select: &Select) -> bool {
    select.projection.iter().all(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            is_of_row(expr, Calls::Steady)
        }
        _ => false,
    })
}

/// Whether an expression may call functions that give the same for the same values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    None,
    Steady,
}

/// Says whether an expression is about one row only; without calls, it fails for no row.
fn is_of_row(expr: &Expr, calls: Calls) -> bool {
    let one = |expr: &Expr| is_of_row(expr, calls);
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => true,
        Expr::Nested(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner)
        | Expr::UnaryOp { expr: inner, .. } => one(inner),
        Expr::BinaryOp { left, op, right } => {
            let compares = matches!(
                op,
                Binary::And
                    | Binary::Or
                    | Binary::Eq
                    | Binary::NotEq
                    | Binary::Lt
                    | Binary::LtEq
                    | Binary::Gt
                    | Binary::GtEq
            );
            (compares || calls == Calls::Steady) && one(left) && one(right)
        }
        Expr::Between { expr, low, high, .. } => one(expr) && one(low) && one(high),
        Expr::In { expr, target: InTarget::List(list), .. } => one(expr) && list.iter().all(one),
        Expr::Cast { expr, .. } => calls == Calls::Steady && one(expr),
        Expr::Function(_) => calls == Calls::Steady && implication::is_steady(&expr.to_string()),
        _ => false,
    }
}
