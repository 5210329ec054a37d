//! Reads letters as a mail program does, and refuses what is none of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_notify::Target;

/// A letter, read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) plain: String,
    pub(crate) html: String,
}

impl Read {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }
}

pub(crate) fn people() -> Target {
    toml::from_str("kind='mail'\nhost='127.0.0.1'\ntls='none'\nfrom='Lockstep <lockstep@example.org>'\nto=['ann@example.org', 'Bob <bob@example.org>']").unwrap()
}

/// The fields that a letter of ours has, each once.
const FIELDS: [&str; 11] = [
    "Auto-Submitted",
    "Content-Type",
    "Date",
    "From",
    "In-Reply-To",
    "MIME-Version",
    "Message-ID",
    "References",
    "Subject",
    "To",
    "X",
];
const TAGS: [&str; 8] = ["h3 style=", "/h3", "p", "/p", "b", "/b", "br", "a href="];

pub(crate) fn read(bytes: &[u8]) -> Result<Read, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    if !text.is_ascii() || text.replace("\r\n", "").contains(['\r', '\n']) {
        return Err("not ASCII in lines that end with CRLF".into());
    }
    if text.split("\r\n").any(|line| line.len() > 998) {
        return Err("a line is longer than 998 characters".into());
    }
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no body")?;
    let fields = fields(head);
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names != FIELDS[..10] {
        return Err(format!("fields {names:?}"));
    }
    let boundary = fields
        .iter()
        .find(|(name, _)| name == "Content-Type")
        .and_then(|(_, it)| it.split("boundary=\"").nth(1));
    let boundary = boundary.and_then(|it| it.split('"').next()).ok_or("no boundary")?;
    let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    let [_, plain, html, end] = parts[..] else { return Err(format!("{} parts", parts.len())) };
    if !end.starts_with("--") {
        return Err("no end".into());
    }
    let letter = Read { plain: decoded(plain)?, html: decoded(html)?, fields };
    check_html(&letter.html)?;
    Ok(letter)
}

fn fields(head: &str) -> Vec<(String, String)> {
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    unfolded
        .split("\r\n")
        .map(|line| {
            line.split_once(": ")
                .map_or((line.to_owned(), String::new()), |(name, it)| (name.to_owned(), it.to_owned()))
        })
        .collect()
}

fn decoded(part: &str) -> Result<String, String> {
    let (head, body) =
        part.trim_start_matches("\r\n").split_once("\r\n\r\n").ok_or("a part without a head")?;
    let encoding =
        fields(head).into_iter().find(|(name, _)| name == "Content-Transfer-Encoding").map(|(_, it)| it);
    match encoding.as_deref() {
        Some("7bit") | None => Ok(body.to_owned()),
        Some("quoted-printable") => quoted(body),
        Some("base64") => {
            String::from_utf8(STANDARD.decode(body.replace("\r\n", "")).map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())
        }
        Some(other) => Err(format!("encoding {other}")),
    }
}

fn quoted(body: &str) -> Result<String, String> {
    let joined = body.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'=').map(|it| std::str::from_utf8(it).unwrap());
        match hex {
            Some(hex) => {
                bytes.push(u8::from_str_radix(hex, 16).map_err(|error| error.to_string())?);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Nothing but our own tags, and one link.
fn check_html(html: &str) -> Result<(), String> {
    for part in html.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let is_ours = TAGS.iter().any(|it| {
            if it.ends_with('=') { tag.starts_with(it) && tag.matches('"').count() == 2 } else { *it == tag }
        });
        if !is_ours && tag != "code" && tag != "/code" && tag != "/a" {
            return Err(format!("a tag of others: {tag}"));
        }
    }
    if html.matches("<a ").count() > 1 || html.contains("://evil") {
        return Err("links of others".into());
    }
    Ok(())
}
