//! Walks a parsed TOML document field by field and collects everything that is wrong with it.
//!
//! A method that returns `None` has reported why, or the optional field is not there. It knows TOML and nothing of
//! manifests; which fields there are is learned from what is asked for, so that it cannot differ from it.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use lockstep_domain::Timestamp;
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use crate::problem::{Lines, MAX_PROBLEMS, Problem};

/// What sort of problem it is; after a syntax error only some can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Syntax,
    Missing,
    Unknown,
    Value,
}

#[derive(Debug)]
struct Found {
    class: Class,
    offset: usize,
    field: String,
    message: String,
    hint: Option<String>,
}

/// Collects problems.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    found: RefCell<Vec<Found>>,
}

impl Sink {
    /// Reports what the TOML parser could not read.
    pub(crate) fn syntax(&self, error: &toml::de::Error) {
        let hint = error.message().contains("quoted").then(|| "write text as \"text\"".to_owned());
        let offset = error.span().map_or(0, |span| span.start);
        self.add(Class::Syntax, offset, String::new(), error.message().to_owned(), hint);
    }

    fn add(&self, class: Class, offset: usize, field: String, message: String, hint: Option<String>) {
        self.found.borrow_mut().push(Found { class, offset, field, message, hint });
    }

    /// Returns the problems in the order of the file.
    ///
    /// Where the syntax is broken, fields end up missing or in the wrong table; only wrong values elsewhere are
    /// reported with it, for what follows from the broken line would mislead.
    pub(crate) fn into_problems(self, file: &str, text: &str) -> Vec<Problem> {
        let lines = Lines::new(text);
        let mut found = self.found.into_inner();
        found.sort_by_key(|found| found.offset);
        let broken: Vec<usize> =
            found.iter().filter(|f| f.class == Class::Syntax).map(|f| lines.line(f.offset)).collect();
        found.retain(|f| {
            let sure = f.class == Class::Value && broken.binary_search(&lines.line(f.offset)).is_err();
            broken.is_empty() || f.class == Class::Syntax || sure
        });
        found.truncate(MAX_PROBLEMS);
        found.into_iter().map(|found| found.into_problem(file, &lines)).collect()
    }
}

impl Found {
    fn into_problem(self, file: &str, lines: &Lines<'_>) -> Problem {
        let (line, column) = lines.position(self.offset);
        let Self { field, message, hint, .. } = self;
        Problem { file: file.to_owned(), line, column, field, message, hint }
    }
}

/// The fields of one table.
pub(crate) struct Table<'a> {
    sink: &'a Sink,
    path: String,
    offset: usize,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    /// Begins with a whole document.
    pub(crate) fn root(sink: &'a Sink, document: &'a Spanned<DeTable<'a>>) -> Self {
        Self::new(sink, String::new(), document.span().start, document.get_ref())
    }

    fn new(sink: &'a Sink, path: String, offset: usize, table: &'a DeTable<'a>) -> Self {
        Self { sink, path, offset, table, asked: RefCell::default() }
    }

    /// Returns a field if it is there. `example` shows how it is written.
    pub(crate) fn get(&self, name: &'static str, example: &'static str) -> Option<Field<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&name) {
            asked.push(name);
        }
        self.table.get_key_value(name).map(|(key, value)| self.field(key, value, example))
    }

    /// Returns a field, or reports that it is missing.
    pub(crate) fn require(&self, name: &'static str, example: &'static str) -> Option<Field<'a>> {
        let field = self.get(name, example);
        if field.is_none() {
            self.missing(name, &format!("`{name}` is missing"), example);
        }
        field
    }

    /// Returns the table of this name, if it is there.
    pub(crate) fn table(&self, name: &'static str, example: &'static str) -> Option<Table<'a>> {
        self.get(name, example).and_then(|field| field.table())
    }

    /// Returns where it begins, in bytes.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// Reports that something is missing from this table.
    pub(crate) fn missing(&self, name: &str, message: &str, example: &str) {
        let hint = Some(format!("add {example}"));
        self.sink.add(Class::Missing, self.offset, self.path_to(name), message.to_owned(), hint);
    }

    /// Reports that fields of this table contradict each other.
    pub(crate) fn contradicts(&self, message: impl Display) {
        self.sink.add(Class::Value, self.offset, self.path.clone(), message.to_string(), None);
    }

    /// Returns all fields of a table whose keys are free to choose.
    pub(crate) fn entries(&self, example: &'static str) -> Vec<(&'a str, Field<'a>)> {
        self.table.iter().map(|(key, value)| (&**key.get_ref(), self.field(key, value, example))).collect()
    }

    /// Reports every field that was never asked for.
    pub(crate) fn finish(self) {
        self.check_asked();
    }

    /// Reports every field that was not asked for until now.
    pub(crate) fn check_asked(&self) {
        let asked = self.asked.borrow();
        for (key, value) in self.table {
            let name = key.get_ref().as_ref();
            if !asked.contains(&name) {
                let hint = nearest(name, &asked).map_or_else(
                    || format!("known here: {}", asked.join(", ")),
                    |known| format!("did you mean `{known}`?"),
                );
                let field = self.field(key, value, "");
                self.sink.add(
                    Class::Unknown,
                    key.span().start,
                    field.path,
                    "unknown field".into(),
                    Some(hint),
                );
            }
        }
    }

    fn field(
        &self,
        key: &'a Spanned<toml::de::DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
        example: &'static str,
    ) -> Field<'a> {
        Field {
            sink: self.sink,
            path: self.path_to(key.get_ref()),
            key: key.span(),
            span: value.span(),
            value: value.get_ref(),
            example,
        }
    }

    fn path_to(&self, name: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = if !name.is_empty() && name.chars().all(bare) {
            name.to_owned()
        } else {
            format!("{:?}", name.chars().take(80).collect::<String>())
        };
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }
}

/// Finds the known name that was probably meant: at most a third of the letters differ.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    const LONGEST_TYPO: usize = 40;
    if name.len() > LONGEST_TYPO {
        return None;
    }
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let close = known.iter().map(|known| (distance(known), *known)).min()?;
    (close.0 <= close.1.len().div_ceil(3)).then_some(close.1)
}

/// One value with its place.
pub(crate) struct Field<'a> {
    sink: &'a Sink,
    path: String,
    key: Range<usize>,
    span: Range<usize>,
    value: &'a DeValue<'a>,
    example: &'static str,
}

impl<'a> Field<'a> {
    /// Returns where the value begins, in bytes.
    pub(crate) const fn offset(&self) -> usize {
        self.span.start
    }

    /// Reports that the value is wrong, with the field's example as the hint.
    pub(crate) fn wrong(&self, message: impl Display) {
        let hint = (!self.example.is_empty()).then(|| format!("for example {}", self.example));
        self.report(self.span.start, message, hint);
    }

    /// Reports that the value is wrong.
    pub(crate) fn wrong_because(&self, message: impl Display, hint: impl Into<String>) {
        self.report(self.span.start, message, Some(hint.into()));
    }

    /// Reports that the key is wrong.
    pub(crate) fn wrong_key(&self, message: impl Display) {
        let hint = (!self.example.is_empty()).then(|| format!("for example {}", self.example));
        self.report(self.key.start, message, hint);
    }

    fn report(&self, offset: usize, message: impl Display, hint: Option<String>) {
        self.sink.add(Class::Value, offset, self.path.clone(), message.to_string(), hint);
    }

    /// Returns the text as it is when the value is a string; reports nothing otherwise.
    pub(crate) fn as_text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the elements when the value is an array; reports nothing otherwise.
    pub(crate) fn as_list(&self) -> Option<Vec<Field<'a>>> {
        let DeValue::Array(array) = self.value else { return None };
        Some(array.iter().enumerate().map(|(index, value)| self.element(index, value)).collect())
    }

    /// Returns the fields when the value is a table; reports nothing otherwise.
    pub(crate) fn as_table(&self) -> Option<Table<'a>> {
        let DeValue::Table(table) = self.value else { return None };
        Some(Table::new(self.sink, self.path.clone(), self.span.start, table))
    }

    fn element(&self, index: usize, value: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        Field {
            sink: self.sink,
            path: format!("{}[{index}]", self.path),
            key: value.span(),
            span: value.span(),
            value: value.get_ref(),
            example: self.example,
        }
    }

    /// Returns a string.
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.or_wrong(self.as_text(), "a string")
    }

    /// Returns a boolean.
    pub(crate) fn boolean(&self) -> Option<bool> {
        self.or_wrong(self.value.as_bool(), "true or false")
    }

    /// Returns a calendar day, as a date or as a string like `2027-01-31`.
    pub(crate) fn day(&self) -> Option<String> {
        let text = match self.value {
            DeValue::Datetime(date) => Some(date.to_string()),
            _ => self.as_text().map(str::to_owned),
        };
        let text = self.or_wrong(text, "a date")?;
        let date = text
            .parse::<toml::value::Datetime>()
            .ok()
            .filter(|date| date.date.is_some() && date.time.is_none() && date.offset.is_none());
        if date.is_none() {
            let shown: String = text.chars().take(80).collect();
            self.wrong(format_args!("`{shown}` is not a day"));
        }
        date.map(|date| date.to_string())
    }

    /// Returns a point in time, as a date with a time and an offset or as a string like `2027-01-31T10:00:00Z`.
    pub(crate) fn moment(&self) -> Option<Timestamp> {
        let text = match self.value {
            DeValue::Datetime(date) => Some(date.to_string()),
            _ => self.as_text().map(str::to_owned),
        };
        let text = self.or_wrong(text, "a point in time")?;
        let read = Timestamp::read(&text);
        if read.is_none() {
            let shown: String = text.chars().take(80).collect();
            let hint = "write a date, a time and an offset: 2027-01-31T10:00:00Z";
            self.wrong_because(format_args!("`{shown}` is not a point in time"), hint);
        }
        read
    }

    /// Returns an integer from `range`.
    pub(crate) fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        let integer = self.or_wrong(self.value.as_integer(), "an integer")?;
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|n| T::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            self.wrong(format_args!("`{integer}` is not between {} and {}", range.start(), range.end()));
        }
        number
    }

    /// Returns a number, with a fraction or without, as it is written in decimal digits.
    pub(crate) fn decimal(&self) -> Option<String> {
        let integer = self.value.as_integer().filter(|integer| integer.radix() == 10);
        let text = integer.map(DeInteger::as_str).or_else(|| self.value.as_float().map(DeFloat::as_str));
        self.or_wrong(text, "a number").map(|text| text.replace('_', ""))
    }

    /// Returns the elements of an array.
    pub(crate) fn list(&self) -> Option<Vec<Field<'a>>> {
        self.or_wrong(self.as_list(), "an array")
    }

    /// Returns the fields of a table.
    pub(crate) fn table(&self) -> Option<Table<'a>> {
        self.or_wrong(self.as_table(), "a table")
    }

    /// Reads a string as a value of its own kind.
    pub(crate) fn parse<T>(&self) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text()?.parse().map_err(|error| self.wrong(error)).ok()
    }

    /// Reads every element of an array of strings; elements that are wrong are left out.
    pub(crate) fn parse_all<T>(&self) -> Vec<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.list().unwrap_or_default().iter().filter_map(Field::parse).collect()
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type(&self, expected: &str) {
        let article = if self.value.type_str().starts_with(['a', 'i']) { "an" } else { "a" };
        self.wrong(format_args!("expected {expected}, found {article} {}", self.value.type_str()));
    }

    fn or_wrong<T>(&self, value: Option<T>, expected: &str) -> Option<T> {
        if value.is_none() {
            self.wrong_type(expected);
        }
        value
    }
}
