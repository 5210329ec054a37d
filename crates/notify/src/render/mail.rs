//! Mail: one letter with a part in plain text and one in HTML. Pure.
//!
//! Sources: RFC 5322 (3.6.4: `Message-ID`, `In-Reply-To`, `References`), RFC 2046 (5.1.4: alternatives), RFC 3834 (5: `Auto-Submitted`,
//! so that nobody's absence note answers).
//!
//! A letter is named by its notice, so a second copy can be dropped. All letters of a group refer to a name that is the group's, so
//! fault and recovery are one thread, although no letter has that name. `lettre` writes heads and parts; what goes into a head is one line
//! before it comes there.

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart};
use lockstep_monitor::Notice;

use crate::digest;
use crate::limits::limits;
use crate::message::{Letter, RenderError};
use crate::story::{Look, Story, fitting};
use crate::target::{Kind, Mail};
use crate::text::{html, system_time, unlinked};

pub(crate) fn letter(notice: &Notice, target: &Mail, now_ms: u64) -> Result<Letter, RenderError> {
    let head = head(notice, target, now_ms)?;
    let most = limits(Kind::Mail).body_bytes;
    let make = |story: &Story| whole(head.clone(), notice, story);
    let bytes = fitting(notice, make, |made| made.as_ref().is_ok_and(|bytes| bytes.len() <= most))?;
    let to: Result<Vec<Mailbox>, _> = target.to.iter().map(|it| mailbox("to", it)).collect();
    let to = to?.iter().map(|it| it.email.to_string()).collect();
    Ok(Letter { from: mailbox("from", &target.from)?.email.to_string(), to, bytes })
}

fn head(notice: &Notice, target: &Mail, now_ms: u64) -> Result<MessageBuilder, RenderError> {
    let from = mailbox("from", &target.from)?;
    let domain = from.email.domain().to_owned();
    let thread = format!("<group-{}@{domain}>", digest::hex(&notice.group));
    let mut head = Message::builder().from(from).date(system_time(now_ms));
    for to in &target.to {
        head = head.to(mailbox("to", to)?);
    }
    let automatic =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    Ok(head
        .message_id(Some(format!("<notice-{}@{domain}>", digest::hex(&notice.id))))
        .in_reply_to(thread.clone())
        .references(thread)
        .raw_header(automatic))
}

fn mailbox(field: &'static str, text: &str) -> Result<Mailbox, RenderError> {
    text.parse().map_err(|_| RenderError::Target { field, why: "write ann@example.org".to_owned() })
}

fn whole(head: MessageBuilder, notice: &Notice, story: &Story) -> Result<Vec<u8>, RenderError> {
    let parts = MultiPart::alternative()
        .boundary(format!("part-{}", digest::hex(&format!("boundary of {}", notice.id))));
    let parts = parts.singlepart(SinglePart::plain(plain(story))).singlepart(SinglePart::html(page(story)));
    // What looks like an encoded word would be decoded.
    let letter = head.subject(unlinked(&story.headline()).replace("=?", "= ?")).multipart(parts);
    letter
        .map(|it| it.formatted())
        .map_err(|error| RenderError::Target { field: "to", why: error.to_string() })
}

fn plain(story: &Story) -> String {
    let mut lines = vec![story.headline(), String::new()];
    lines.extend(story.facts.iter().map(|(label, it)| format!("{label}: {it}")));
    for alert in &story.alerts {
        lines.extend([String::new(), alert.head.clone()]);
        lines.extend(alert.lines.iter().map(|it| format!("  {it}")));
        lines.extend(alert.command.iter().map(|it| format!("  run: {it}")));
    }
    lines.extend(story.left_out.iter().flat_map(|it| [String::new(), it.clone()]));
    if let Some(change) = &story.change {
        lines.extend([String::new(), format!("Changed before: {}", change.what)]);
        lines.extend(change.undo.iter().map(|it| format!("  takes it back: {it}")));
    }
    let text = unlinked(&lines.join("\r\n"));
    let link = story.link.iter().map(|it| format!("\r\n\r\n{it}")).collect::<String>();
    format!("{text}{link}\r\n")
}

fn page(story: &Story) -> String {
    let safe = |it: &str| html(&unlinked(it));
    let mut page =
        format!("<h3 style=\"color:{}\">{}</h3>\r\n<p>", colour(story.look), safe(&story.headline()));
    page.extend(story.facts.iter().map(|(label, it)| format!("{label}: {}<br>\r\n", safe(it))));
    page.push_str("</p>\r\n");
    for alert in &story.alerts {
        page.push_str(&format!("<p><b>{}</b><br>\r\n", safe(&alert.head)));
        page.extend(alert.lines.iter().map(|it| format!("{}<br>\r\n", safe(it))));
        page.extend(alert.command.iter().map(|it| format!("run: <code>{}</code>\r\n", safe(it))));
        page.push_str("</p>\r\n");
    }
    page.extend(story.left_out.iter().map(|it| format!("<p>{}</p>\r\n", safe(it))));
    if let Some(change) = &story.change {
        page.push_str(&format!("<p><b>Changed before:</b> {}", safe(&change.what)));
        page.extend(change.undo.iter().map(|it| format!("<br>\r\ntakes it back: <code>{}</code>", safe(it))));
        page.push_str("</p>\r\n");
    }
    page.extend(
        story.link.iter().map(|it| format!("<p><a href=\"{}\">Open in Lockstep</a></p>\r\n", html(it))),
    );
    page
}

const fn colour(look: Look) -> &'static str {
    match look {
        Look::Bad => "#c0392b",
        Look::Poor => "#b9770e",
        Look::Plain => "#2e86c1",
        Look::Good => "#1e8449",
    }
}
