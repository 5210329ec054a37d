//! A witness as a person would write it: a request, an answer, an operation, statements.

use serde_json::{Map, Value};

/// Parts of a witness that are text of their own, shown as they are.
const TEXTS: [&str; 4] = ["statements", "operation", "call", "datum"];

/// Longest line that is shown: the rest of a huge value helps nobody.
const MAX_LINE: usize = 400;

/// Most lines of one value that are shown.
const MAX_LINES: usize = 24;

/// The lines of a witness.
pub(super) fn lines(witness: &Value) -> Vec<String> {
    let lines = match witness {
        Value::Object(parts) if parts.contains_key("method") && parts.contains_key("path") => http(parts),
        Value::Object(parts) if TEXTS.iter().any(|text| parts.contains_key(*text)) => texts(parts),
        value => json(value),
    };
    lines.into_iter().map(cut).collect()
}

/// `POST /charges -> 201`, what is told of it line by line, and the body.
fn http(parts: &Map<String, Value>) -> Vec<String> {
    let text = |key: &str| parts.get(key).map(plain).unwrap_or_default();
    let mut first = format!("{} {}", text("method"), text("path"));
    if parts.contains_key("status") {
        first.push_str(&format!(" -> {}", text("status")));
    }
    let mut lines = vec![first];
    if let (Some(place), Some(name)) = (parts.get("in"), parts.get("name")) {
        let value = parts.get("value").map(Value::to_string).unwrap_or_default();
        lines.push(format!("{} {} = {value}", plain(place), plain(name)));
    }
    if let (Some(name), Some(content)) = (parts.get("header"), parts.get("content")) {
        lines.push(format!("{}: {content}", plain(name)));
    }
    if parts.contains_key("content_type") {
        lines.push(format!("content-type: {}", text("content_type")));
    }
    const TOLD: [&str; 10] =
        ["method", "path", "status", "in", "name", "value", "header", "content", "content_type", "body"];
    lines.extend(rest(parts, &TOLD));
    lines.extend(parts.get("body").into_iter().flat_map(json));
    lines
}

/// Statements or an operation as they are sent, and what comes of them.
fn texts(parts: &Map<String, Value>) -> Vec<String> {
    let before = parts.get("rows").map(all_lines).unwrap_or_default();
    let mut lines: Vec<String> =
        before.into_iter().map(|row| format!("{row} -- before the migration")).collect();
    let sent = TEXTS.iter().filter_map(|key| parts.get(*key));
    lines.extend(sent.flat_map(all_lines));
    let answers = [("gave", parts.get("was")), ("gives", parts.get("is"))];
    lines.extend(answers.iter().filter_map(|(word, answer)| Some(format!("{word} {}", (*answer)?))));
    lines.extend(rest(parts, &[TEXTS.as_slice(), &["rows", "was", "is"]].concat()));
    lines
}

/// The parts that have no form of their own.
fn rest(parts: &Map<String, Value>, told: &[&str]) -> Vec<String> {
    let others = parts.iter().filter(|(key, _)| !told.contains(&key.as_str()));
    others.map(|(key, value)| format!("{}: {}", key.replace('_', " "), plain(value))).collect()
}

fn all_lines(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(all_lines).collect(),
        value => plain(value).lines().map(str::to_owned).collect(),
    }
}

/// A text without its quotes; anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Short values on a line, others over several.
fn json(value: &Value) -> Vec<String> {
    let line = value.to_string();
    if line.len() <= 100 {
        return vec![line];
    }
    let text = format!("{value:#}");
    let mut lines: Vec<String> = text.lines().take(MAX_LINES).map(str::to_owned).collect();
    if text.lines().nth(MAX_LINES).is_some() {
        lines.push("...".to_owned());
    }
    lines
}

fn cut(line: String) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn witnesses_read_like_what_is_sent() {
        let cases: [(Value, &[&str]); 8] = [
            (
                json!({"method": "POST", "path": "/charges", "content_type": "application/json", "body": {"n": 6}}),
                &["POST /charges", "content-type: application/json", "{\"n\":6}"],
            ),
            (json!({"method": "GET", "path": "/a", "status": "200", "body": [1]}), &["GET /a -> 200", "[1]"]),
            (
                json!({"method": "GET", "path": "/a", "in": "query", "name": "limit", "value": 51}),
                &["GET /a", "query limit = 51"],
            ),
            (
                json!({"method": "GET", "path": "/a", "credentials": {"token": []}}),
                &["GET /a", "credentials: {\"token\":[]}"],
            ),
            (
                json!({"statements": ["SELECT 1", "SELECT 2"], "outcome": "there is no such table"}),
                &["SELECT 1", "SELECT 2", "outcome: there is no such table"],
            ),
            (
                json!({"rows": ["INSERT 1"], "statements": ["SELECT a"], "was": [["a"]], "is": [], "outcome": "lost"}),
                &[
                    "INSERT 1 -- before the migration",
                    "SELECT a",
                    "gave [[\"a\"]]",
                    "gives []",
                    "outcome: lost",
                ],
            ),
            (
                json!({"call": "/a.B/C", "outcome": "it fails", "written_by": "old"}),
                &["/a.B/C", "outcome: it fails", "written by: old"],
            ),
            (json!({"state": "lost"}), &["{\"state\":\"lost\"}"]),
        ];
        for (witness, expected) in cases {
            assert_eq!(lines(&witness), expected, "{witness}");
        }
    }

    #[test]
    fn huge_witnesses_are_cut() {
        let long = lines(&json!("x".repeat(5_000)));
        assert_eq!(long.len(), 1);
        assert_eq!(long[0].chars().count(), MAX_LINE + 3);
        let many = lines(&json!((0..500).collect::<Vec<_>>()));
        assert_eq!((many.len(), many.last().map(String::as_str)), (MAX_LINES + 1, Some("...")));
    }
}
