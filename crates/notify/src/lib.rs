//! Brings one notice to one target, and says what became of it: chats, mail, pagers, an Alertmanager, webhooks.
//!
//! What is sent is made without a socket ([`render`]): the same notice, target and time give the same bytes. It decides nothing:
//! what is said when to whom, what is tried again and when is the caller's, with [`limits`] and [`Outcome`] as data to go by.
//! Invariants: whatever a notice holds, what is sent parses, is within the limits of its target, and calls nobody whom the target does
//! not name; no secret is in a text, an error or a log; nothing is sent to where a redirect leads, nor to the metadata of a cloud; every
//! wait and every answer has a bound. No proxy of the environment is used, as `reach` uses none.

mod address;
mod answer;
mod dial;
mod digest;
mod http;
mod limits;
mod message;
mod outcome;
mod render;
mod secret;
mod sign;
mod smtp;
mod story;
mod target;
mod text;

use std::sync::Arc;
use std::time::Duration;

use lockstep_monitor::Notice;
use lockstep_reach::Trust;
use rustls::ClientConfig;

pub use limits::{Limits, Rate, limits};
pub use message::{Letter, Message, Post, RenderError, render};
pub use outcome::Outcome;
pub use secret::Secret;
pub use target::{
    Alertmanager, Check, Dingtalk, Feishu, Kind, Mail, MailTls, Pagerduty, Problem, Slack, Target, Teams,
    Way, Webhook, Wecom, check,
};

use target::Place;

/// How long a target may take with a request once it is connected: chats answer within a second.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How long a mail server may take with a letter: some look at senders for a while before they answer.
const LETTER_LIMIT: Duration = Duration::from_secs(60);

/// Sends notices.
#[derive(Debug)]
pub struct Sender {
    system: Trust,
    answer_limit: Duration,
    letter_limit: Duration,
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

impl Sender {
    /// Makes a sender that believes the authorities of the system, where a target names none of its own.
    #[must_use]
    pub const fn new() -> Self {
        Self { system: Trust::in_system(), answer_limit: ANSWER_LIMIT, letter_limit: LETTER_LIMIT }
    }

    /// Waits for answers no longer than that.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { answer_limit: limit, letter_limit: limit, ..self }
    }

    /// Brings a notice to a target, in one try. Secrets of the target must be at hand ([`Target::with_secrets`]).
    pub async fn send(&self, notice: &Notice, target: &Target, now_ms: u64) -> Outcome {
        if let Some(fault) = check(target).faults.into_iter().next() {
            return Outcome::never(fault.to_string(), "mend the target");
        }
        let message = match render(notice, target, now_ms) {
            Ok(message) => message,
            Err(error) => return Outcome::never(error.to_string(), "mend the target"),
        };
        let outcome = match (&message, target) {
            (Message::Letter(letter), Target::Mail(mail)) => self.send_letter(letter, mail, target).await,
            (Message::Post(post), _) => self.send_post(post, target, now_ms).await,
            (Message::Letter(_), _) => Outcome::never("a letter goes to people alone", "mend the target"),
        };
        outcome.without(&target.secrets())
    }

    async fn send_post(&self, post: &Post, target: &Target, now_ms: u64) -> Outcome {
        let sent = async {
            let place = place(target)?;
            let config = if place.address.is_tls() { Some(self.config(target)?) } else { None };
            http::exchange(&place, post, config, self.answer_limit).await
        };
        match sent.await {
            Ok(answer) => answer::meaning(target.kind(), &answer, now_ms),
            Err(outcome) => outcome,
        }
    }

    async fn send_letter(&self, letter: &Letter, mail: &Mail, target: &Target) -> Outcome {
        let config = match mail.tls {
            MailTls::None => None,
            MailTls::Starttls | MailTls::Implicit => match self.config(target) {
                Ok(config) => Some(config),
                Err(outcome) => return outcome,
            },
        };
        let password = mail.password.as_ref().and_then(Secret::reveal);
        smtp::send(mail, password, letter, config, self.letter_limit).await
    }

    /// Returns how TLS is spoken with a target: with the authority that it names, or those of the system.
    fn config(&self, target: &Target) -> Result<Arc<ClientConfig>, Outcome> {
        let trusted = match &target.way().ca {
            Some(pem) => Trust::in_text(pem.clone()).config(),
            None => self.system.config(),
        };
        let todo =
            "write the certificate of the authority into the target as way.ca, or install ca-certificates";
        let config =
            trusted.map_err(|error| Outcome::never(format!("nobody can say who answers: {error}"), todo))?;
        if target.kind() != Kind::Mail {
            return Ok(config);
        }
        // Some mail servers refuse who offers HTTP.
        let mut config = (*config).clone();
        config.alpn_protocols.clear();
        Ok(Arc::new(config))
    }
}

/// Returns where requests to a target go.
fn place(target: &Target) -> Result<Place, Outcome> {
    let url = target.url().ok_or_else(|| Outcome::never("mail is sent by SMTP", "mend the target"))?;
    render::place(&url).map_err(|error| Outcome::never(error.to_string(), "mend the target"))
}
