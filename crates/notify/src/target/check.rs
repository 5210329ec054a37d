//! What is wrong with a target, all of it at once. Pure.
//!
//! Faults keep a target from being used. Warnings are what may well be meant, and is mostly a slip: the address of Slack under
//! `kind = "feishu"`.

use std::fmt;

use lettre::message::Mailbox;

use super::mention::{self, MAX_MENTIONS};
use super::{
    Alertmanager, Kind, Mail, MailTls, Pagerduty, Place, Target, Way, Webhook, feishu_who, slack_who,
};
use crate::{Secret, address, sign};

/// Most people that one letter goes to: more is a mailing list.
const MAX_RECIPIENTS: usize = 50;
/// Longest secret, name or word.
const MAX_TEXT: usize = 512;
/// Longest text of authorities.
const MAX_CA: usize = 256 * 1_024;

/// One thing that is wrong, or looks so. It never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In which field.
    pub field: &'static str,
    /// What, and what to write instead.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(field: &'static str, what: impl Into<String>) -> Self {
        Self { field, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// What keeps the target from being used.
    pub faults: Vec<Problem>,
    /// What is perhaps not meant.
    pub warnings: Vec<Problem>,
}

impl Check {
    fn fault(&mut self, field: &'static str, what: impl Into<String>) {
        self.faults.push(Problem::new(field, what));
    }

    fn warn(&mut self, field: &'static str, what: impl Into<String>) {
        self.warnings.push(Problem::new(field, what));
    }
}

/// Looks a target through. Of secrets that are only names nothing can be said: look again when they are at hand.
#[must_use]
pub fn check(target: &Target) -> Check {
    let mut found = Check::default();
    of_way(target.way(), &mut found);
    if let Some(url) = target.url() {
        of_url(target.kind(), &url, target.way(), &mut found);
    }
    of_called(target, &mut found);
    of_fields(target, &mut found);
    found
}

fn of_called(target: &Target, found: &mut Check) {
    match target {
        Target::Slack(it) => {
            let write = "an id (U… or S…), here, channel or everyone";
            of_mentions(&it.mention, |who| slack_who(who).is_some(), write, found);
        }
        Target::Dingtalk(it) => {
            of_mentions(&it.mention, mention::is_of_dingtalk, "the number of a mobile phone, or all", found);
        }
        Target::Feishu(it) => {
            let write = "an open id (ou_…), the id of a user, or all";
            of_mentions(&it.mention, |who| feishu_who(who).is_some(), write, found);
        }
        Target::Wecom(it) => of_mentions(&it.mention, mention::is_of_wecom, "the id of a user", found),
        Target::Teams(it) => {
            let write = "a user principal name, as ann@example.org";
            of_mentions(&it.mention, mention::is_of_teams, write, found);
        }
        Target::Mail(_) | Target::Pagerduty(_) | Target::Alertmanager(_) | Target::Webhook(_) => {}
    }
}

fn of_fields(target: &Target, found: &mut Check) {
    match target {
        Target::Dingtalk(it) => of_robot(it.secret.as_ref(), it.keyword.as_deref(), found),
        Target::Feishu(it) => of_robot(it.secret.as_ref(), it.keyword.as_deref(), found),
        Target::Mail(it) => of_mail(it, found),
        Target::Pagerduty(it) => of_pagerduty(it, found),
        Target::Alertmanager(it) => of_alertmanager(it, found),
        Target::Webhook(it) => of_webhook(it, found),
        Target::Slack(_) | Target::Wecom(_) | Target::Teams(_) => {}
    }
}

fn of_robot(secret: Option<&Secret>, keyword: Option<&str>, found: &mut Check) {
    of_key("secret", secret, found);
    if keyword.is_some_and(|it| it.trim().is_empty() || it.len() > 64 || it.chars().any(char::is_control)) {
        found.fault("keyword", "a keyword is one line of at most 64 bytes");
    }
}

fn of_way(way: &Way, found: &mut Check) {
    let Some(ca) = &way.ca else { return };
    if ca.len() > MAX_CA || !ca.contains("-----BEGIN CERTIFICATE-----") {
        found.fault("way.ca", "write the certificate of the authority as PEM (-----BEGIN CERTIFICATE-----)");
    }
}

fn of_url(kind: Kind, url: &Secret, way: &Way, found: &mut Check) {
    let Some(url) = url.reveal() else { return };
    let place = match Place::parse(url) {
        Ok(place) => place,
        Err(why) => return found.fault("url", why),
    };
    of_host(place.address.host(), found);
    if place.is_plain_abroad() && !way.plain {
        found.fault("url", "without TLS everybody on the way could read and change it: write https://, or way = { plain = true } where you know the network");
    }
    if let Some(usual) = usual_host(kind).filter(|_| !is_usual(kind, &place)) {
        found.warn("url", format!("{kind} is usually at {usual}, and this is {}", place.address.host()));
    }
}

fn of_host(host: &str, found: &mut Check) {
    let refusal = host.parse().ok().and_then(|ip| address::refusal(ip, address::is_loopback(host)));
    if let Some(why) = refusal {
        found.fault("url", format!("{host} {why}, and is not asked"));
    }
}

const fn usual_host(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Slack => Some("hooks.slack.com"),
        Kind::Dingtalk => Some("oapi.dingtalk.com"),
        Kind::Feishu => Some("open.feishu.cn or open.larksuite.com"),
        Kind::Wecom => Some("qyapi.weixin.qq.com"),
        Kind::Teams => Some("a host of logic.azure.com or api.powerplatform.com"),
        Kind::Pagerduty => Some("events.pagerduty.com or events.eu.pagerduty.com"),
        Kind::Mail | Kind::Alertmanager | Kind::Webhook => None,
    }
}

/// Tells whether an address looks like one of that service; this machine does, where tests and relays are.
fn is_usual(kind: Kind, place: &Place) -> bool {
    let host = place.address.host();
    let is_in = |domains: &[&str]| domains.iter().any(|it| host == *it || host.ends_with(&format!(".{it}")));
    place.is_loopback()
        || match kind {
            Kind::Slack => is_in(&["hooks.slack.com", "hooks.slack-gov.com"]),
            Kind::Dingtalk => is_in(&["oapi.dingtalk.com"]),
            Kind::Feishu => is_in(&["open.feishu.cn", "open.larksuite.com"]),
            Kind::Wecom => is_in(&["qyapi.weixin.qq.com"]),
            Kind::Teams => is_in(&["logic.azure.com", "api.powerplatform.com", "logic.azure.us"]),
            Kind::Pagerduty => is_in(&["events.pagerduty.com", "events.eu.pagerduty.com"]),
            Kind::Mail | Kind::Alertmanager | Kind::Webhook => true,
        }
}

fn of_mentions(who: &[String], is_known: impl Fn(&str) -> bool, write: &str, found: &mut Check) {
    if who.len() > MAX_MENTIONS {
        found.fault("mention", format!("at most {MAX_MENTIONS}, and these are {}: name a group", who.len()));
    }
    for wrong in who.iter().filter(|it| !is_known(it)) {
        let wrong: String = wrong.chars().filter(|it| !it.is_control()).take(64).collect();
        found.fault("mention", format!("`{wrong}` calls nobody there: write {write}"));
    }
}

fn of_key(field: &'static str, key: Option<&Secret>, found: &mut Check) {
    let Some(key) = key.and_then(Secret::reveal) else { return };
    if key.is_empty() || key.len() > MAX_TEXT || key.chars().any(|it| it.is_control() || it.is_whitespace()) {
        found.fault(field, format!("a key is one word of at most {MAX_TEXT} bytes"));
    }
}

fn of_mail(mail: &Mail, found: &mut Check) {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-._:".contains(it);
    if mail.host.is_empty() || mail.host.len() > 255 || !mail.host.chars().all(plain) {
        found.fault("host", "write the name or the address of a mail server");
    }
    of_host(&mail.host, found);
    if mail.tls == MailTls::None && !address::is_loopback(&mail.host) && !mail.way.plain {
        found.fault("tls", "without TLS everybody on the way could read it: write starttls or implicit, or way = { plain = true } where you know the network");
    }
    if mail.port == Some(0) {
        found.fault("port", "a port is a number from 1 to 65535");
    }
    of_login(mail, found);
    of_people(mail, found);
}

fn of_login(mail: &Mail, found: &mut Check) {
    match (&mail.user, &mail.password) {
        (Some(_), None) => found.fault("password", "a user has a password"),
        (None, Some(_)) => found.fault("user", "a password belongs to a user"),
        (Some(user), Some(_))
            if user.is_empty() || user.len() > MAX_TEXT || user.chars().any(char::is_control) =>
        {
            found.fault("user", "a user is one line");
        }
        _ => {}
    }
    let password = mail.password.as_ref().and_then(Secret::reveal);
    if password.is_some_and(|it| it.is_empty() || it.len() > MAX_TEXT || it.chars().any(char::is_control)) {
        found.fault("password", format!("a password is one line of at most {MAX_TEXT} bytes"));
    }
}

fn of_people(mail: &Mail, found: &mut Check) {
    if !is_mailbox(&mail.from) {
        found.fault("from", "write lockstep@example.org or Lockstep <lockstep@example.org>");
    }
    if mail.to.is_empty() || mail.to.len() > MAX_RECIPIENTS {
        found.fault("to", format!("write 1 to {MAX_RECIPIENTS} addresses; a mailing list is one"));
    }
    for wrong in mail.to.iter().filter(|it| !is_mailbox(it)) {
        let wrong: String = wrong.chars().filter(|it| !it.is_control()).take(64).collect();
        found.fault("to", format!("`{wrong}` is no address of mail: write ann@example.org"));
    }
}

/// Addresses go into commands of SMTP as they are, and without SMTPUTF8 those are ASCII.
fn is_mailbox(text: &str) -> bool {
    let is_sound = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    is_sound && text.parse::<Mailbox>().is_ok_and(|it| it.email.to_string().is_ascii())
}

fn of_pagerduty(it: &Pagerduty, found: &mut Check) {
    let is_sound = |key: &str| key.len() == 32 && key.chars().all(|it| it.is_ascii_alphanumeric());
    if it.routing_key.reveal().is_some_and(|key| !is_sound(key)) {
        found.fault("routing_key", "an integration key of Events API v2 has 32 letters and digits");
    }
}

fn of_alertmanager(it: &Alertmanager, found: &mut Check) {
    of_key("bearer", it.bearer.as_ref(), found);
    let is_sound = |(name, value): &(&String, &String)| {
        let mut letters = name.chars();
        letters.next().is_some_and(|it| it.is_ascii_alphabetic() || it == '_')
            && letters.all(|it| it.is_ascii_alphanumeric() || it == '_')
            && !value.is_empty()
            && name.len() + value.len() <= MAX_TEXT
    };
    if it.labels.len() > 20 || !it.labels.iter().all(|label| is_sound(&label)) {
        found.fault(
            "labels",
            "at most 20 labels, whose names are letters, digits and _, and whose values are not empty",
        );
    }
}

fn of_webhook(it: &Webhook, found: &mut Check) {
    for (field, secret) in [("secret", &it.secret), ("previous", &it.previous)] {
        let value = secret.as_ref().and_then(Secret::reveal);
        if value.is_some_and(|value| sign::standard_key(value).is_none()) {
            found.fault(
                field,
                "write whsec_ and 24 to 64 bytes in Base64: echo whsec_$(openssl rand -base64 32)",
            );
        }
    }
    if it.secret.is_none() {
        found.warn("secret", "without a secret the receiver cannot know who sends");
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slack => "Slack",
            Self::Dingtalk => "DingTalk",
            Self::Feishu => "Feishu",
            Self::Wecom => "WeCom",
            Self::Teams => "Teams",
            Self::Mail => "the mail server",
            Self::Pagerduty => "PagerDuty",
            Self::Alertmanager => "Alertmanager",
            Self::Webhook => "the webhook",
        })
    }
}
