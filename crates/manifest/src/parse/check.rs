//! Reads `[[check]]`: requests that gateways make by themselves.

use std::collections::BTreeSet;

use lockstep_domain::check::{Check, CheckRequest, EVERY_MS, Expect, MAX_CHECKS, MAX_TEXT, WITHIN_MS};
use lockstep_domain::request_host::normalize_route_host;

use super::field::duration;
use crate::reader::{Field, Table};

/// How it is written.
pub(super) const EXAMPLE: &str = "[[check]]";
const REQUEST: &str = "request = \"GET /orders/health\"";
const EVERY: &str = "every = \"30s\"";
const EXPECT: &str = "expect = { status = 200, within = \"300ms\" }";

pub(super) fn checks(field: &Field<'_>) -> Vec<Check> {
    let elements = field.list().unwrap_or_default();
    if elements.len() > MAX_CHECKS {
        field
            .wrong(format_args!("a version has at most {MAX_CHECKS} checks: each gateway makes all of them"));
    }
    let mut taken = BTreeSet::new();
    let mut read = |element: &Field<'_>| {
        let check = check(&element.table()?)?;
        if !taken.insert(check.name.clone()) {
            let message = format_args!("there is a check of the name `{}` above", check.name);
            element.wrong_because(message, "name = \"another\"");
        }
        Some(check)
    };
    elements.iter().filter_map(&mut read).collect()
}

fn check(table: &Table<'_>) -> Option<Check> {
    let name = table.get("name", "name = \"customers\"");
    let name = name.map(|field| text(&field));
    let request = table.require("request", REQUEST).and_then(|field| field.parse::<CheckRequest>());
    let host = table.get("host", "host = \"shop.example\"").map(|field| host(&field));
    let every_ms = limited(table, "every", EVERY, EVERY_MS);
    let expect = table.table("expect", EXPECT);
    let expect = expect.map_or_else(|| Some(expecting_nothing_more()), |table| self::expect(&table));
    if let (Some(request), Some(Expect { contains: Some(_), .. })) = (&request, &expect)
        && request.method() == "HEAD"
    {
        table.contradicts("the answer to HEAD has no body in which `contains` could be");
        return None;
    }
    table.check_asked();
    let request = request?;
    Some(Check {
        name: name.unwrap_or_else(|| Some(request.to_string().chars().take(MAX_TEXT).collect()))?,
        request,
        host: host.map_or(Some(None), |host| host.map(Some))?,
        every_ms: every_ms?,
        expect: expect?,
    })
}

const fn expecting_nothing_more() -> Expect {
    Expect { status: None, within_ms: WITHIN_MS.2, contains: None }
}

fn expect(table: &Table<'_>) -> Option<Expect> {
    let status = table.get("status", "status = 200").map(|field| field.integer(200..=599));
    let within_ms = limited(table, "within", "within = \"300ms\"", WITHIN_MS);
    let contains = table.get("contains", "contains = \"ok\"").map(|field| text(&field));
    table.check_asked();
    Some(Expect {
        status: status.map_or(Some(None), |status| status.map(Some))?,
        within_ms: within_ms?,
        contains: contains.map_or(Some(None), |text| text.map(Some))?,
    })
}

fn text(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.trim().is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        field.wrong(format_args!("it has from 1 to {MAX_TEXT} printable characters"));
        return None;
    }
    Some(text.to_owned())
}

fn host(field: &Field<'_>) -> Option<String> {
    let host = normalize_route_host(field.text()?).ok().filter(|host| !host.starts_with('*'));
    if host.is_none() {
        field.wrong_because("it is no host that can be asked for", "host = \"shop.example\"");
    }
    host
}

/// Reads a duration within bounds; the usual one where there is none.
fn limited(
    table: &Table<'_>,
    name: &'static str,
    example: &'static str,
    (least, most, usual): (u64, u64, u64),
) -> Option<u64> {
    let Some(field) = table.get(name, example) else { return Some(usual) };
    let ms = duration(table, name, example)?;
    if !(least..=most).contains(&ms) {
        let (least, most) = (crate::value::write_duration(least), crate::value::write_duration(most));
        field.wrong(format_args!("it is from {least} to {most}"));
        return None;
    }
    Some(ms)
}
