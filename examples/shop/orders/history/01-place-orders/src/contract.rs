//! Checks in tests that what is sent and answered is what contracts say, as far as the shop uses OpenAPI. What a
//! contract does not name is a mistake here. Patterns are not looked at: the standard library has no regular expressions.

use std::collections::BTreeMap;

/// A JSON document with whole numbers only.
#[derive(Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    pub fn read(text: &str) -> Self {
        let mut rest = text;
        let value = read(&mut rest).unwrap_or_else(|| panic!("no JSON at `{rest}` in {text}"));
        assert_eq!(rest.trim(), "", "JSON ends before this");
        value
    }

    /// Returns the value at the end of a path of names, if it is there.
    fn at<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        names.into_iter().try_fold(self, |value, name| match value {
            Self::Object(fields) => fields.get(name),
            _ => None,
        })
    }

    fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { panic!("{self:?} is no text") }
    }
}

fn read(rest: &mut &str) -> Option<Value> {
    *rest = rest.trim_start();
    match rest.chars().next()? {
        '{' => Some(Value::Object(members(rest, '}', |rest| {
            let name = string(rest)?;
            eat(rest, ':').then_some(())?;
            Some((name, read(rest)?))
        })?)),
        '[' => Some(Value::List(members(rest, ']', read)?)),
        '"' => string(rest).map(Value::Text),
        't' | 'f' => {
            let word = split(rest, |c| !c.is_ascii_alphabetic());
            word.parse().ok().map(Value::Bool)
        }
        _ => split(rest, |c| c != '-' && !c.is_ascii_digit()).parse().ok().map(Value::Number),
    }
}

/// Reads what stands between two brackets, with commas in between.
fn members<T, C: FromIterator<T>>(
    rest: &mut &str,
    end: char,
    member: impl Fn(&mut &str) -> Option<T>,
) -> Option<C> {
    *rest = &rest[1..];
    let mut found = Vec::new();
    while !eat(rest, end) {
        if !found.is_empty() && !eat(rest, ',') {
            return None;
        }
        found.push(member(rest)?);
    }
    Some(found.into_iter().collect())
}

fn string(rest: &mut &str) -> Option<String> {
    eat(rest, '"').then_some(())?;
    let mut text = split(rest, |c| c == '"' || c == '\\').to_owned();
    while let Some(escaped) = rest.strip_prefix('\\') {
        text.push(escaped.chars().next()?);
        *rest = escaped.get(1..)?;
        text += split(rest, |c| c == '"' || c == '\\');
    }
    eat(rest, '"').then_some(text)
}

fn eat(rest: &mut &str, wanted: char) -> bool {
    let after = rest.trim_start().strip_prefix(wanted);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn split<'a>(rest: &mut &'a str, is_end: impl Fn(char) -> bool) -> &'a str {
    let (before, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
    *rest = after;
    before
}

/// An OpenAPI document.
pub struct OpenApi(Value);

impl OpenApi {
    pub fn read(text: &str) -> Self {
        Self(Value::read(text))
    }

    /// Checks the body of a request.
    pub fn check_request(&self, method: &str, path: &str, body: &str) {
        let request = self.0.at(["paths", path, method, "requestBody"]);
        self.check_body(request.expect("no such request"), body);
    }

    /// Checks the body of an answer against that of its status, or of its class of statuses.
    pub fn check_answer(&self, method: &str, path: &str, status: u16, body: &str) {
        let (exact, class) = (status.to_string(), format!("{}XX", status / 100));
        let response = |status: &str| self.0.at(["paths", path, method, "responses", status]);
        self.check_body(response(&exact).or_else(|| response(&class)).expect("no such answer"), body);
    }

    fn check_body(&self, part: &Value, body: &str) {
        let schema = self.resolved(part).at(["content", "application/json", "schema"]);
        self.check(schema.expect("no such body"), &Value::read(body), "the body");
    }

    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part.at(["$ref"]) {
            Some(target) => self.0.at(target.text().split('/').skip(1)).expect("it leads somewhere"),
            None => part,
        }
    }

    fn check(&self, schema: &Value, value: &Value, place: &str) {
        let schema = self.resolved(schema);
        match (schema.at(["type"]).map(Value::text), value) {
            (Some("object"), Value::Object(fields)) => self.check_object(schema, fields, place),
            (Some("array"), Value::List(values)) => {
                let items = schema.at(["items"]).expect("items have a schema");
                values.iter().for_each(|value| self.check(items, value, place));
            }
            (Some("integer"), Value::Number(number)) => {
                let bound = |name| if let Some(Value::Number(bound)) = schema.at([name]) { *bound } else { *number };
                assert!((bound("minimum")..=bound("maximum")).contains(number), "{place}: {number}");
            }
            (Some("string"), Value::Text(_)) => {}
            (wanted, _) => panic!("{place}: {value:?} is no {wanted:?}"),
        }
    }

    fn check_object(&self, schema: &Value, fields: &BTreeMap<String, Value>, place: &str) {
        for (name, value) in fields {
            let named = schema.at(["properties", name]).unwrap_or_else(|| panic!("{place}: {name} is not named"));
            self.check(named, value, name);
        }
        if let Some(Value::List(required)) = schema.at(["required"]) {
            let missing = required.iter().find(|name| !fields.contains_key(name.text()));
            assert_eq!(missing, None, "{place}");
        }
    }
}
