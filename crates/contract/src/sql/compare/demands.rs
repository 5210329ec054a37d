//! Whether a row that an old statement leaves behind meets a demand.
//!
//! An old statement gives old columns and leaves new ones out, so those hold their default or null. A demand is met by every
//! such row, refused by one that can be shown, or open.

use super::Comparer;
use crate::{
    SqlDialect,
    sql::{
        evaluate::{Condition, Value},
        state::{Column, Constraint, ConstraintRule, NEXT_NUMBER, Nulls, Reference, Table},
        types::Family,
    },
};

/// Most rows that are tried against one condition.
const MAX_ROWS: usize = 2_000;
/// Columns may be computed from columns that are computed.
const MAX_DEPTH: usize = 8;

/// What old statements do to a demand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meeting {
    /// Every row meets it.
    Met,
    /// Some row does not; its values, where they were found.
    Refused(Vec<(String, String)>),
    /// It cannot be told, for this reason.
    Open(String),
}

/// A row of the old version in the new table.
struct OldRow<'a> {
    dialect: SqlDialect,
    before: &'a Table,
    after: &'a Table,
}

impl Comparer<'_> {
    /// Says whether rows of the old version meet a demand of the new table; `None` when nothing but the demand itself
    /// can tell, because it is about old columns.
    pub(super) fn meeting(&self, before: &Table, after: &Table, demand: &Constraint) -> Option<Meeting> {
        let row = OldRow { dialect: self.dialect, before, after };
        match &demand.rule {
            ConstraintRule::Index => Some(Meeting::Met),
            ConstraintRule::Check(condition) => row.check(condition, None),
            ConstraintRule::Unique { condition, nulls } => row.unique(demand, condition.as_deref(), *nulls),
            ConstraintRule::PrimaryKey => row.unique(demand, None, Nulls::Distinct),
            ConstraintRule::ForeignKey(to) => row.reference(demand, to, self.is_empty(&to.table)),
        }
    }

    /// Says what a condition that stays makes of a row that leaves a column with another default out.
    pub(super) fn meets_default(
        &self,
        (before, after): (&Table, &Table),
        column: &str,
        condition: &str,
    ) -> Option<Meeting> {
        OldRow { dialect: self.dialect, before, after }.check(condition, Some(column))
    }

    /// Says whether a table was made by the new version's migrations, and none of them wrote rows.
    fn is_empty(&self, table: &str) -> bool {
        !self.old.tables.contains_key(table) && !self.new.rows_moved
    }
}

impl OldRow<'_> {
    fn is_new(&self, name: &str) -> bool {
        !self.before.columns.contains_key(name)
    }

    /// What is known of a column of a row that an old statement wrote; `given` are columns whose value is chosen.
    fn value(&self, name: &str, given: &[(&str, Value)], depth: usize) -> Value {
        if let Some((_, value)) = given.iter().find(|(column, _)| *column == name) {
            return value.clone();
        }
        let Some(column) = self.after.columns.get(name) else { return Value::Any };
        if let Some(from) = column.computed.as_deref().filter(|from| *from != NEXT_NUMBER) {
            let computed = Condition::read(self.dialect, from).filter(|_| depth < MAX_DEPTH);
            return computed
                .map_or(Value::Any, |computed| computed.value(&|name| self.value(name, given, depth + 1)));
        }
        match self.before.columns.get(name) {
            None => self.left_out(column),
            // What leaves it out meets another default than it did, which may be null.
            Some(old) if old.may_be_left_out() && old.default != column.default && old.not_null => {
                Value::Present.or(&self.left_out(column))
            }
            Some(old) if old.not_null => Value::Present,
            Some(_) => Value::Any,
        }
    }

    fn left_out(&self, column: &Column) -> Value {
        match column.default.as_deref() {
            None if column.not_null => Value::Present,
            None => Value::Null,
            Some(NEXT_NUMBER) => Value::Present,
            Some(text) => Condition::read(self.dialect, text)
                .map_or(Value::Any, |default| default.value(&|_| Value::Any)),
        }
    }

    /// A condition over new columns, or with an old one of which only the default changed.
    fn check(&self, text: &str, omitted: Option<&str>) -> Option<Meeting> {
        let open = || Meeting::Open("what it makes of rows of the running version cannot be told".to_owned());
        let Some(condition) = Condition::read(self.dialect, text) else { return Some(open()) };
        let named = self.sources(&condition);
        let default = omitted.and_then(|name| Some((name, self.left_out(self.after.columns.get(name)?))));
        let fixed: Vec<_> = default.into_iter().collect();
        if !condition.value(&|name| self.value(name, &fixed, 0)).truth().no {
            return Some(Meeting::Met);
        }
        if let Some(row) = self.refused_row(&condition, &named, &fixed) {
            return Some(Meeting::Refused(row));
        }
        let involved = omitted.is_some() || named.iter().any(|name| self.is_new(name));
        involved.then(open)
    }

    /// The columns that a condition is about, with those that computed ones are computed from.
    fn sources(&self, condition: &Condition) -> Vec<&String> {
        let mut named = condition.columns(self.after.columns.keys());
        let mut at = 0;
        while let Some(name) = named.get(at).copied() {
            let from = self.after.columns.get(name).and_then(|column| column.computed.as_deref());
            let from = from.and_then(|from| Condition::read(self.dialect, from));
            for source in from.iter().flat_map(|from| from.columns(self.after.columns.keys())) {
                if !named.contains(&source) {
                    named.push(source);
                }
            }
            at += 1;
        }
        named
    }

    /// Looks for a row that the old table takes and a condition refuses.
    fn refused_row(
        &self,
        condition: &Condition,
        named: &[&String],
        fixed: &[(&str, Value)],
    ) -> Option<Vec<(String, String)>> {
        let chosen: Vec<(&str, Vec<Value>)> = named
            .iter()
            .filter(|name| !self.is_new(name) && !fixed.iter().any(|(fixed, _)| *fixed == name.as_str()))
            .filter_map(|name| Some((name.as_str(), samples(self.before.columns.get(*name)?, condition))))
            .collect();
        let rows = chosen.iter().map(|(_, values)| values.len()).product::<usize>().min(MAX_ROWS);
        (0..rows).find_map(|mut number| {
            let mut row: Vec<(&str, Value)> = fixed.to_vec();
            for (name, values) in &chosen {
                row.push((name, values[number % values.len()].clone()));
                number /= values.len();
            }
            let outcome = condition.value(&|name| self.value(name, &row, 0)).truth();
            let refused =
                outcome.no && !outcome.yes && !outcome.unknown && self.old_takes(&row[fixed.len()..]);
            refused.then(|| row.iter().skip(fixed.len()).filter_map(written).collect())
        })
    }

    /// Says whether the old table surely takes such a row, as far as its conditions go.
    fn old_takes(&self, row: &[(&str, Value)]) -> bool {
        let old = OldRow { dialect: self.dialect, before: self.before, after: self.before };
        self.before.constraints.iter().all(|one| {
            let ConstraintRule::Check(text) = &one.rule else { return true };
            if !row.iter().any(|(name, _)| one.columns.iter().any(|column| column == name)) {
                return true;
            }
            let condition = Condition::read(self.dialect, text);
            condition.is_some_and(|condition| !condition.value(&|name| old.value(name, row, 0)).truth().no)
        })
    }

    fn unique(&self, demand: &Constraint, condition: Option<&str>, nulls: Nulls) -> Option<Meeting> {
        if let Some(text) = condition
            && let Some(condition) = Condition::read(self.dialect, text)
            && !condition.value(&|name| self.value(name, &[], 0)).truth().yes
        {
            return Some(Meeting::Met);
        }
        let apart = demand.columns.iter().any(|indexed| match self.after.columns.get(indexed) {
            Some(column) if self.is_new(indexed) => {
                column.default.as_deref().is_some_and(is_another_each_time)
                    || nulls == Nulls::Distinct && self.value(indexed, &[], 0) == Value::Null
            }
            Some(_) => false,
            None => {
                let value = Condition::read(self.dialect, indexed)
                    .map(|indexed| indexed.value(&|name| self.value(name, &[], 0)));
                nulls == Nulls::Distinct && value == Some(Value::Null)
            }
        });
        apart.then_some(Meeting::Met)
    }

    fn reference(&self, demand: &Constraint, to: &Reference, empty: bool) -> Option<Meeting> {
        if !demand.columns.iter().any(|name| self.is_new(name)) {
            return None;
        }
        let values: Vec<_> = demand.columns.iter().map(|name| self.value(name, &[], 0)).collect();
        let parts: Vec<_> = values.iter().map(Value::null_or_present).collect();
        let all_null = parts.iter().all(|(_, present)| !present);
        let some_null = values.contains(&Value::Null);
        if all_null || some_null && !to.whole {
            return Some(Meeting::Met);
        }
        // An old column that holds a value beside a new one that is null.
        if some_null {
            return Some(Meeting::Refused(Vec::new()));
        }
        if empty && !self.before.columns.keys().any(|name| demand.columns.contains(name)) {
            return Some(Meeting::Refused(Vec::new()));
        }
        let columns = demand.columns.join(", ");
        Some(Meeting::Open(format!(
            "whether `{}` has the row that ({columns}) refers to by default is not known",
            to.table
        )))
    }
}

/// Says whether all rows that leave a column out hold the same in it, and not null.
pub(super) fn is_equal_when_left_out(column: &Column) -> bool {
    column.default.as_deref().is_some_and(|default| !is_another_each_time(default))
}

/// Says whether a default gives every row another value.
fn is_another_each_time(default: &str) -> bool {
    const FUNCTIONS: [&str; 7] = [
        "gen_random_uuid()",
        "uuid_generate_v4()",
        "uuid_generate_v1()",
        "uuidv4()",
        "uuidv7()",
        "uuid()",
        "(uuid())",
    ];
    let lower = default.to_ascii_lowercase();
    let bare = lower.rsplit('.').next().unwrap_or(&lower);
    default == NEXT_NUMBER || FUNCTIONS.contains(&bare) || lower.starts_with("nextval(")
}

/// Values that a column may well hold, with those around what stands in a condition.
fn samples(column: &Column, condition: &Condition) -> Vec<Value> {
    let literals = condition.literals();
    let mut values = Vec::new();
    match &column.of.family {
        Family::Integer { low, high } => {
            let around = literals.iter().filter_map(|one| match one {
                Value::Number(number) => Some([number - 1.0, *number, number + 1.0]),
                _ => None,
            });
            let (low, high) = (*low as f64, *high as f64);
            let fits = |number: &f64| *number >= low && *number <= high && number.fract() == 0.0;
            values
                .extend([0.0, 1.0, -1.0].into_iter().chain(around.flatten()).filter(fits).map(Value::Number));
        }
        Family::Decimal { before: None, .. } | Family::Float { .. } => {
            values.extend([0.0, 1.0, -1.0].map(Value::Number));
            values.extend(literals.into_iter().filter(|one| matches!(one, Value::Number(_))));
        }
        Family::Text { longest } => {
            let fits = |text: &str| longest.is_none_or(|longest| text.len() as u64 <= longest);
            let texts = literals.into_iter().filter(|one| matches!(one, Value::Text(text) if fits(text)));
            values.extend(texts);
            values.extend(
                ["a", "", "none of these"]
                    .into_iter()
                    .filter(|text| fits(text))
                    .map(|text| Value::Text(text.to_owned())),
            );
        }
        Family::Labels(labels) => values.extend(labels.iter().cloned().map(Value::Text)),
        Family::Named(name) if name == "BOOLEAN" => values.extend([Value::YES, Value::NO]),
        Family::Decimal { .. } | Family::Bytes { .. } | Family::Named(_) | Family::Time { .. } => {
            values.push(Value::Present);
        }
    }
    if !column.not_null {
        values.push(Value::Null);
    }
    values.dedup();
    values
}

/// Writes a chosen value as SQL.
fn written((name, value): &(&str, Value)) -> Option<(String, String)> {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        value if *value == Value::YES => "true".to_owned(),
        value if *value == Value::NO => "false".to_owned(),
        _ => return None,
    };
    Some(((*name).to_owned(), text))
}
