//! What the real services refuse, as functions of a body; and whom they would call, and which links they would show.

use std::collections::BTreeSet;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_notify::Kind;
use serde_json::Value;
use sha2::Sha256;

use super::fake::{Reply, Request, reply};

type Refusal = String;

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// What a body calls and shows.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) called: BTreeSet<String>,
    pub(crate) links: BTreeSet<String>,
}

impl Seen {
    /// Reads a text in which `<` begins markup, and addresses become links by themselves.
    fn marked(&mut self, text: &str) {
        for part in text.split('<').skip(1) {
            let tag = part.split('>').next().unwrap();
            if let Some(who) = tag
                .strip_prefix('@')
                .or(tag.strip_prefix('!'))
                .or(tag.strip_prefix("at id="))
                .or(tag.strip_prefix("at user_id="))
            {
                self.called.insert(who.split('|').next().unwrap().trim_matches('"').to_owned());
            }
        }
        self.linked(text);
    }

    fn linked(&mut self, text: &str) {
        for start in ["https://", "http://", "www."] {
            for (at, _) in text.match_indices(start) {
                let end =
                    text[at..].find([' ', ')', '>', '|', '"', '\n', '<']).map_or(text.len(), |it| at + it);
                self.links.insert(text[at..end].to_owned());
            }
        }
    }
}

fn check(is_fine: bool, why: &str) -> Result<(), Refusal> {
    if is_fine { Ok(()) } else { Err(why.to_owned()) }
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    value[field].as_str().ok_or_else(|| format!("`{field}` is no text in {value}"))
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Reads a body as its service does.
pub(crate) fn read(kind: Kind, body: &[u8]) -> Result<Seen, Refusal> {
    let json: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut seen = Seen::default();
    match kind {
        Kind::Slack => slack(&json, &mut seen)?,
        Kind::Dingtalk => dingtalk(&json, body.len(), &mut seen)?,
        Kind::Feishu => feishu(&json, body.len(), &mut seen)?,
        Kind::Wecom => wecom(&json, &mut seen)?,
        Kind::Teams => teams(&json, body.len(), &mut seen)?,
        Kind::Pagerduty => pagerduty(&json, body.len(), &mut seen)?,
        Kind::Alertmanager => alertmanager(&json, &mut seen)?,
        Kind::Webhook => event(&json, body.len())?,
        Kind::Mail => return Err("mail is no JSON".into()),
    }
    Ok(seen)
}

fn slack(json: &Value, seen: &mut Seen) -> Result<(), Refusal> {
    seen.marked(text(json, "text")?);
    check(chars(text(json, "text")?) <= 40_000, "text too long")?;
    let blocks = json["blocks"].as_array().ok_or("no blocks")?;
    check((1..=50).contains(&blocks.len()), "invalid_blocks: more than 50")?;
    for block in blocks {
        match text(block, "type")? {
            "header" => {
                check(block["text"]["type"] == "plain_text", "a header is plain")?;
                check((1..=150).contains(&chars(text(&block["text"], "text")?)), "invalid_blocks: header")?;
            }
            "rich_text" => {
                let mut length = 0;
                rich_of_slack(block, seen, &mut length)?;
                check((1..=3_000).contains(&length), "invalid_blocks: more than 3000 characters")?;
            }
            other => return Err(format!("invalid_blocks: {other}")),
        }
    }
    Ok(())
}

fn rich_of_slack(value: &Value, seen: &mut Seen, length: &mut usize) -> Result<(), Refusal> {
    let elements = value["elements"].as_array().ok_or("no elements")?;
    check(!elements.is_empty(), "invalid_blocks: nothing in it")?;
    for element in elements {
        match text(element, "type")? {
            "rich_text_section" | "rich_text_preformatted" => rich_of_slack(element, seen, length)?,
            "text" => {
                check(!text(element, "text")?.is_empty(), "invalid_blocks: empty text")?;
                *length += chars(text(element, "text")?);
            }
            "link" => {
                seen.links.insert(text(element, "url")?.to_owned());
                *length += 1;
            }
            "user" => _ = seen.called.insert(text(element, "user_id")?.to_owned()),
            "usergroup" => _ = seen.called.insert(text(element, "usergroup_id")?.to_owned()),
            "broadcast" => _ = seen.called.insert(text(element, "range")?.to_owned()),
            other => return Err(format!("invalid_blocks: {other}")),
        }
    }
    Ok(())
}

fn markdown(content: &str, seen: &mut Seen) -> Result<(), Refusal> {
    seen.marked(content);
    let ours = content.matches("](").count();
    check(ours <= 1 && !content.contains("!["), "links or pictures of others")?;
    check(!content.contains(['\r', '\u{0}', '\u{202e}']), "control characters")
}

fn dingtalk(json: &Value, length: usize, seen: &mut Seen) -> Result<(), Refusal> {
    check(json["msgtype"] == "markdown", "400105 unsupported msgtype")?;
    check(length <= 20_000, "message too long, exceed 20000 bytes")?;
    check(!text(&json["markdown"], "title")?.is_empty(), "empty title")?;
    markdown(text(&json["markdown"], "text")?, seen)?;
    let numbers = json["at"]["atMobiles"].as_array().ok_or("no list")?;
    seen.called.extend(numbers.iter().map(|it| it.as_str().unwrap().to_owned()));
    if json["at"]["isAtAll"].as_bool().ok_or("isAtAll is no bool")? {
        seen.called.insert("all".into());
    }
    Ok(())
}

fn feishu(json: &Value, length: usize, seen: &mut Seen) -> Result<(), Refusal> {
    check(json["msg_type"] == "interactive", "19002 params error, msg_type need")?;
    check(length <= 20_480, "19036 too long")?;
    check(
        ["red", "orange", "blue", "green"].contains(&text(&json["card"]["header"], "template")?),
        "template",
    )?;
    let elements = json["card"]["elements"].as_array().ok_or("no elements")?;
    let texts = elements.iter().filter(|it| it["tag"] != "hr").map(|it| &it["text"]);
    for it in texts.chain([&json["card"]["header"]["title"]]) {
        check(["plain_text", "lark_md"].contains(&text(it, "tag")?), "11246 tag")?;
        check(!text(it, "content")?.is_empty(), "11246 empty content")?;
        seen.marked(text(it, "content")?);
    }
    Ok(())
}

fn wecom(json: &Value, seen: &mut Seen) -> Result<(), Refusal> {
    check(json["msgtype"] == "markdown", "40008 invalid message type")?;
    let content = text(&json["markdown"], "content")?;
    check(content.len() <= 4_096, "40058 markdown.content exceed max length 4096")?;
    markdown(content, seen)?;
    let tags = content.matches('<').count();
    check(tags == 2 + content.matches("<@").count(), "tags of others")
}

fn teams(json: &Value, length: usize, seen: &mut Seen) -> Result<(), Refusal> {
    check(json["type"] == "message" && length <= 28_000, "413")?;
    let attachments = json["attachments"].as_array().ok_or("no attachments")?;
    check(
        attachments.len() == 1 && attachments[0]["contentType"] == "application/vnd.microsoft.card.adaptive",
        "no card",
    )?;
    let card = &attachments[0]["content"];
    check(card["type"] == "AdaptiveCard" && card["version"] == "1.4", "no card")?;
    let entities = card["msteams"]["entities"].as_array().ok_or("no entities")?;
    seen.called.extend(entities.iter().map(|it| it["mentioned"]["id"].as_str().unwrap().to_owned()));
    for action in card["actions"].as_array().into_iter().flatten() {
        seen.links.insert(text(action, "url")?.to_owned());
    }
    for block in card["body"].as_array().ok_or("no body")? {
        match text(block, "type")? {
            "RichTextBlock" => {
                let runs = block["inlines"].as_array().ok_or("no inlines")?;
                check(!runs.is_empty(), "an empty block")?;
                for run in runs {
                    check(run["type"] == "TextRun" && !text(run, "text")?.is_empty(), "a run without text")?;
                    seen.linked(text(run, "text")?);
                }
            }
            "TextBlock" => {
                let ours: Vec<&str> = entities.iter().map(|it| it["text"].as_str().unwrap()).collect();
                check(text(block, "text")? == ours.join(" "), "Markdown of others")?;
            }
            other => return Err(format!("block {other}")),
        }
    }
    Ok(())
}

fn pagerduty(json: &Value, length: usize, seen: &mut Seen) -> Result<(), Refusal> {
    check(length <= 512_000, "413")?;
    check(
        text(json, "routing_key")?.len() == 32,
        "Length of 'routing_key' is incorrect (should be 32 characters)",
    )?;
    if let Some(key) = json.get("dedup_key") {
        check((1..=255).contains(&chars(key.as_str().ok_or("dedup_key")?)), "'dedup_key' is too long")?;
    }
    if json["event_action"] == "resolve" {
        return check(json.get("dedup_key").is_some(), "'dedup_key' is missing");
    }
    let payload = &json["payload"];
    // What is shown to people: links in texts become links.
    seen.linked(&payload["custom_details"].to_string());
    seen.linked(payload["summary"].as_str().unwrap_or_default());
    check(
        (1..=1_024).contains(&chars(text(payload, "summary")?)),
        "'payload.summary' is missing, blank or too long",
    )?;
    check(!text(payload, "source")?.is_empty(), "'payload.source' is missing or blank")?;
    time(payload, "timestamp")?;
    if json["event_action"] == "trigger" {
        check(
            ["critical", "error", "warning", "info"].contains(&text(payload, "severity")?),
            "'payload.severity' is invalid",
        )?;
    }
    Ok(())
}

fn time(value: &Value, field: &str) -> Result<jiff::Timestamp, Refusal> {
    text(value, field)?.parse().map_err(|error: jiff::Error| format!("{field}: {error}"))
}

fn alertmanager(json: &Value, seen: &mut Seen) -> Result<(), Refusal> {
    let alerts = json.as_array().ok_or("alerts is a list")?;
    check(!alerts.is_empty(), "no alert")?;
    for alert in alerts {
        let labels = alert["labels"].as_object().ok_or("labels")?;
        check(labels.contains_key("alertname"), "at least one label pair required")?;
        for (name, value) in labels {
            let mut letters = name.chars();
            let is_name = letters.next().is_some_and(|it| it.is_ascii_alphabetic() || it == '_')
                && letters.all(|it| it.is_ascii_alphanumeric() || it == '_');
            check(is_name && !value.as_str().ok_or("label")?.is_empty(), "invalid label set")?;
        }
        let annotations = alert["annotations"].as_object().ok_or("annotations")?;
        for annotation in annotations.values() {
            // It goes into chats as it is.
            seen.marked(annotation.as_str().ok_or("annotations are texts")?);
        }
        check(time(alert, "startsAt")? <= time(alert, "endsAt")?, "start time must be before end time")?;
    }
    Ok(())
}

fn event(json: &Value, length: usize) -> Result<(), Refusal> {
    check(length <= 64 * 1_024, "larger than 64 KiB")?;
    check(json["specversion"] == "1.0", "specversion")?;
    for field in ["id", "source", "type"] {
        check(!text(json, field)?.is_empty(), field)?;
    }
    if json.get("subject").is_some() {
        check(!text(json, "subject")?.is_empty(), "subject")?;
    }
    time(json, "time")?;
    serde_json::from_value::<lockstep_monitor::Notice>(json["data"].clone())
        .map(drop)
        .map_err(|error| error.to_string())
}

/// A robot with its locks; its clock is an argument.
pub(crate) struct Robot {
    pub(crate) kind: Kind,
    pub(crate) secret: Option<&'static str>,
    pub(crate) keyword: Option<&'static str>,
    pub(crate) clock_ms: u64,
    came: Mutex<u32>,
}

impl Robot {
    pub(crate) fn new(
        kind: Kind,
        secret: Option<&'static str>,
        keyword: Option<&'static str>,
        clock_ms: u64,
    ) -> Self {
        Self { kind, secret, keyword, clock_ms, came: Mutex::default() }
    }

    /// Answers as the service does, in its own form.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        let (number, words) = match self.refusal(request) {
            Ok(()) => (0, "ok".to_owned()),
            Err(refused) => refused,
        };
        let body = match self.kind {
            Kind::Feishu if number == 0 => {
                r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#.to_owned()
            }
            Kind::Feishu => format!(r#"{{"code":{number},"data":{{}},"msg":"{words}"}}"#),
            _ => format!(r#"{{"errcode":{number},"errmsg":"{words}"}}"#),
        };
        let mut reply = reply(200, &body);
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(self.clock_ms);
        reply.fields.push(("date", httpdate::fmt_http_date(at)));
        reply
    }

    fn refusal(&self, request: &Request) -> Result<(), (i64, String)> {
        let is_json = request.field("content-type").is_some_and(|it| it.starts_with("application/json"));
        let (json, clock_s) = (request.json(), self.clock_ms / 1_000);
        match self.kind {
            Kind::Dingtalk => {
                self.count(20, (130_101, "send too fast, exceed 20 times per minute"))?;
                require(is_json, 43_004, "invalid content-type")?;
                require(
                    request.query("access_token").as_deref() == Some("right"),
                    300_005,
                    "token is not exist",
                )?;
                if let Some(secret) = self.secret {
                    let at = request.query("timestamp").unwrap_or_default();
                    let sign = hmac(secret.as_bytes(), format!("{at}\n{secret}").as_bytes());
                    let off = at.parse::<u64>().unwrap_or_default().abs_diff(self.clock_ms);
                    require(off <= 3_600_000, 310_000, "invalid timestamp")?;
                    require(request.query("sign") == Some(sign), 310_000, "sign not match")?;
                }
                require(self.has_keyword(request), 310_000, "keywords not in content")?;
            }
            Kind::Feishu => {
                self.count(
                    100,
                    (11_232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"),
                )?;
                require(
                    request.target == "/open-apis/bot/v2/hook/right",
                    19_001,
                    "param invalid: incoming webhook access token invalid",
                )?;
                if let Some(secret) = self.secret {
                    let at = json["timestamp"].as_str().unwrap_or_default().to_owned();
                    let off = at.parse::<u64>().unwrap_or_default().abs_diff(clock_s);
                    let sign = hmac(format!("{at}\n{secret}").as_bytes(), b"");
                    require(
                        off <= 3_600 && json["sign"] == sign.as_str(),
                        19_021,
                        "sign match fail or timestamp is not within one hour from current time",
                    )?;
                }
                require(self.has_keyword(request), 19_024, "Key Words Not Found")?;
            }
            _ => {
                self.count(20, (45_009, "api freq out of limit"))?;
                require(request.query("key").as_deref() == Some("right"), 93_000, "invalid webhook url")?;
            }
        }
        read(self.kind, &request.body).map(drop).map_err(|why| (40_058, why.replace('"', "'")))
    }

    fn has_keyword(&self, request: &Request) -> bool {
        self.keyword.is_none_or(|it| String::from_utf8_lossy(&request.body).contains(it))
    }

    fn count(&self, most: u32, refusal: (i64, &str)) -> Result<(), (i64, String)> {
        let mut came = self.came.lock().unwrap();
        *came += 1;
        require(*came <= most, refusal.0, refusal.1)
    }
}

fn require(is_fine: bool, number: i64, words: &str) -> Result<(), (i64, String)> {
    if is_fine { Ok(()) } else { Err((number, words.to_owned())) }
}
