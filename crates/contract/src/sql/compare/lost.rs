//! What became on the way of the values that the old version had written, whatever the end looks like.
//!
//! Every column knows where its values come from. A column that looks as it did and holds other values than it did has lost
//! them, or they stand elsewhere now.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Comparer, Purpose};
use crate::{
    Change, NotChecked,
    sql::{
        rules,
        state::{Column, Database, How, Loss, Position, Table},
        types::Relation,
        witness::Left,
    },
};

/// What became of the values of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Lost(Loss),
    /// Another column of the old schema is the source of what stands here now.
    Exchanged(String),
    /// They stand in this column now.
    Moved(String),
    /// They went through a type that could not hold them all.
    Worn(Position),
    /// Some of them are others, perhaps.
    Touched(Position),
}

/// Which column of a schema holds the values of an origin.
pub(super) struct Holders<'a>(BTreeMap<&'a str, (&'a str, &'a str)>);

impl<'a> Holders<'a> {
    fn of(database: &'a Database) -> Self {
        let tables = database.tables.iter();
        let all = tables.flat_map(|(table, one)| {
            one.columns
                .iter()
                .map(move |(name, column)| (&*column.holds.origin, (table.as_str(), name.as_str())))
        });
        Self(all.collect())
    }

    fn find(&self, column: &Column) -> Option<(&'a str, &'a str)> {
        self.0.get(&*column.holds.origin).copied()
    }
}

impl Comparer<'_> {
    /// Reports what happened to values of columns that both schemas have.
    pub(super) fn values(&mut self) {
        let (old, new) = (self.old, self.new);
        let (before, after) = (Holders::of(old), Holders::of(new));
        for (name, table) in &old.tables {
            let Some(now) = new.tables.get(name) else { continue };
            let fates: Vec<_> = table
                .columns
                .iter()
                .filter_map(|(column, was)| {
                    let is = now.columns.get(column)?;
                    Some((column.as_str(), is, fate(was, is, (&before, &after), new)?))
                })
                .collect();
            self.tell(name, (table, now), &fates);
        }
    }

    /// One cause over a whole table is one change.
    fn tell(&mut self, name: &str, (was, is): (&Table, &Table), fates: &[(&str, &Column, Fate)]) {
        let Some((_, _, cause)) = fates.first() else { return };
        let common = was.columns.keys().filter(|column| is.columns.contains_key(*column)).count();
        let table_of = |fate: &Fate| match fate {
            Fate::Moved(to) => {
                Fate::Moved(to.rsplit_once('.').map_or(to.as_str(), |(table, _)| table).to_owned())
            }
            other => other.clone(),
        };
        let one_cause = fates.iter().all(|(_, _, fate)| table_of(fate) == table_of(cause));
        let touched = matches!(cause, Fate::Touched(_));
        let removed = matches!(cause, Fate::Lost(Loss { how: How::Removed, .. }));
        let made_anew = was.position != is.position && matches!(cause, Fate::Lost(_) | Fate::Moved(_));
        if fates.len() == common && one_cause && (removed || made_anew || touched) {
            let shown = match cause {
                Fate::Touched(_) => None,
                _ => self.rows(name, was).all_gone(if is.filled { Left::Unknown } else { Left::Nothing }),
            };
            self.tell_fate(name, "rows", (&is.position, shown), &table_of(cause));
        } else {
            for (column, now, fate) in fates {
                let shown = self.shown((name, was), (column, now), fate);
                self.tell_fate(&format!("{name}.{column}"), "values", (&now.position, shown), fate);
            }
        }
    }

    /// A row that is there before, and what is asked of it before and after.
    fn shown(
        &self,
        (name, was): (&str, &Table),
        (column, now): (&str, &Column),
        fate: &Fate,
    ) -> Option<Value> {
        let rows = self.rows(name, was);
        match fate {
            Fate::Lost(Loss { how: How::Overwritten, .. }) | Fate::Touched(_) => None,
            Fate::Lost(_) | Fate::Moved(_) if now.holds.fresh => rows.value_gone(column, now),
            Fate::Lost(_) | Fate::Moved(_) => None,
            Fate::Worn(_) => {
                let (_, narrow) = now.holds.known.as_ref()?;
                rows.value_worn(column, (&was.columns.get(column)?.of, narrow))
            }
            Fate::Exchanged(source) => {
                let (table, other) = source.rsplit_once('.')?;
                if table == name { rows.values_exchanged(column, other) } else { None }
            }
        }
    }

    fn tell_fate(&mut self, place: &str, what: &str, (now, shown): (&Position, Option<Value>), fate: &Fate) {
        match fate {
            Fate::Lost(Loss { position, how: How::Dropped }) => {
                let message = format!("`{place}` was dropped and made anew: its {what} are lost");
                self.report(&rules::VALUES_LOST, place, message, (None, Some(position)), shown);
            }
            Fate::Lost(Loss { position, how }) => {
                let how = if *how == How::Removed { "removed" } else { "overwritten" };
                let message = format!("all {what} of `{place}` were {how}");
                self.report_read(&rules::ROWS_REMOVED, place, message, (None, Some(position)), shown);
            }
            Fate::Worn(position) => {
                let message =
                    format!("the {what} of `{place}` were converted on the way, and may have lost something");
                self.report(&rules::VALUES_LOST, place, message, (None, Some(position)), shown);
            }
            Fate::Exchanged(from) => {
                let message = format!("`{place}` holds what `{from}` held");
                self.report(&rules::VALUES_EXCHANGED, place, message, (None, Some(now)), shown);
            }
            Fate::Moved(to) => {
                let message = format!("the {what} of `{place}` stand in `{to}` now");
                self.report_read(&rules::VALUES_MOVED, place, message, (None, Some(now)), shown);
            }
            // While both run, it is told as a change of rows.
            Fate::Touched(position) if self.purpose == Purpose::RollBack => {
                let at = position.location();
                let reason = format!(
                    "{at} may have changed or removed some {what}: which, and what they held, is not known"
                );
                self.findings.not_checked.push(NotChecked {
                    place: place.to_owned(),
                    reason,
                    old: None,
                    new: Some(at),
                });
            }
            Fate::Touched(_) => {}
        }
    }

    /// Where the values of a column went that is gone.
    pub(super) fn gone_at(&self, column: &Column) -> Option<&Position> {
        self.new.lost.get(&column.holds.origin).map(|loss| &loss.position)
    }
}

fn fate(
    was: &Column,
    is: &Column,
    (before, after): (&Holders<'_>, &Holders<'_>),
    new: &Database,
) -> Option<Fate> {
    if was.computed.is_some() && was.default.is_none() {
        return None;
    }
    let written = |(table, column): (&str, &str)| format!("{table}.{column}");
    if was.holds.origin == is.holds.origin {
        let worn = is.holds.worn.as_ref().filter(|worn| was.holds.worn.as_ref() != Some(*worn));
        // What a narrower or other type does is told by the type.
        let told =
            !matches!(is.of.since(&was.of), Relation::Same | Relation::Wider) || is.not_null && !was.not_null;
        let touched =
            is.holds.touched.as_ref().filter(|touched| was.holds.touched.as_ref() != Some(*touched));
        let worn = worn.filter(|_| !told).cloned().map(Fate::Worn);
        return worn.or_else(|| touched.cloned().map(Fate::Touched));
    }
    let lost = new.lost.get(&was.holds.origin);
    let overwritten = lost.is_some_and(|loss| loss.how == How::Overwritten);
    if let Some(source) = before.find(is).filter(|_| !overwritten) {
        return Some(Fate::Exchanged(written(source)));
    }
    if let Some(holder) = after.find(was) {
        return Some(Fate::Moved(written(holder)));
    }
    lost.cloned().map(Fate::Lost)
}

/// What going back does not bring back, of a change that was found.
pub(in crate::sql) fn does_not_come_back(change: &Change) -> Option<String> {
    let Change { rule, place, .. } = change;
    let of = |what: &str, done: &str| Some(format!("{what} of `{place}`, {done}"));
    let what = if place.rsplit_once('.').is_some() { "values" } else { "rows" };
    match rule.id {
        id if id == rules::TABLE_DROPPED.id => of("the rows", "dropped"),
        id if id == rules::COLUMN_DROPPED.id => of("the values", "dropped"),
        id if id == rules::VALUES_LOST.id => of(&format!("the {what}"), "lost"),
        id if id == rules::ROWS_REMOVED.id => {
            let how = if change.message.ends_with("overwritten") { "overwritten" } else { "removed" };
            of(&format!("the {what}"), how)
        }
        id if id == rules::VALUES_MOVED.id => of(&format!("the {what}"), "moved"),
        id if id == rules::VALUES_EXCHANGED.id => of("the values", "replaced"),
        id if id == rules::TYPE_NARROWED.id || id == rules::TYPE_CHANGED.id => {
            of("the former values", "converted")
        }
        _ => None,
    }
}
