//! Slack, incoming webhooks with Block Kit. Pure.
//!
//! Sources: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (body, errors), /reference/block-kit/blocks (50 blocks a
//! message; header of 150 characters of plain text; text of a section 3,000), /reference/block-kit/blocks/rich-text-block,
//! /messaging/formatting-message-text (escaping, `<!channel>`), /apis/web-api/rate-limits.
//!
//! Texts of others are elements of `rich_text`, which reads no markup at all, so there is nothing to escape but the `text` that
//! notifications of phones show. A block of rich text is held to the 3,000 characters of a section, since no number is written for it.

use lockstep_monitor::Notice;
use serde_json::{Value, json};

use super::{bytes, calls, place};
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::story::{Change, Item, Story, fitting};
use crate::target::{Kind, Slack, SlackWho, slack_who};
use crate::text;

pub(crate) fn post(notice: &Notice, target: &Slack) -> Result<Post, RenderError> {
    let who = if calls(notice) { target.mention.as_slice() } else { &[] };
    let most = limits(Kind::Slack).body_bytes;
    let body = fitting(notice, |story| bytes(&body(story, who)), |body| body.len() <= most);
    Ok(Post::json(place(&target.url)?.path, body))
}

fn body(story: &Story, who: &[String]) -> Value {
    let headline = story.headline();
    let mut blocks =
        vec![json!({ "type": "header", "text": { "type": "plain_text", "text": headline, "emoji": false } })];
    blocks.push(rich(&facts(story, who)));
    blocks.extend(story.alerts.iter().map(alert));
    blocks.extend(story.left_out.iter().map(|words| rich(&[section(&[plain(words)])])));
    blocks.extend(story.change.iter().map(change));
    blocks.extend(
        story.link.iter().map(|link| {
            rich(&[section(&[json!({ "type": "link", "url": link, "text": "Open in Lockstep" })])])
        }),
    );
    json!({ "text": text::slack(&text::unlinked(&headline)), "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
}

fn facts(story: &Story, who: &[String]) -> Vec<Value> {
    let mut elements = Vec::new();
    for who in who.iter().filter_map(|it| slack_who(it)) {
        elements.extend([mention(who), plain(" ")]);
    }
    let words: Vec<String> = story.facts.iter().map(|(label, it)| format!("{label}: {it}")).collect();
    elements.push(plain(&words.join("   ")));
    vec![section(&elements)]
}

fn mention(who: SlackWho<'_>) -> Value {
    match who {
        SlackWho::User(id) => json!({ "type": "user", "user_id": id }),
        SlackWho::Group(id) => json!({ "type": "usergroup", "usergroup_id": id }),
        SlackWho::Everybody(range) => json!({ "type": "broadcast", "range": range }),
    }
}

fn alert(item: &Item) -> Value {
    let mut elements = vec![bold(&item.head)];
    elements.extend(item.lines.iter().map(|line| plain(&format!("\n{line}"))));
    let mut parts = vec![section(&elements)];
    parts.extend(item.command.iter().map(|it| preformatted(it)));
    rich(&parts)
}

fn change(change: &Change) -> Value {
    let mut parts = vec![section(&[bold("Changed before: "), plain(&change.what)])];
    if let Some(undo) = &change.undo {
        parts.push(section(&[plain("What takes it back:")]));
        parts.push(preformatted(undo));
    }
    rich(&parts)
}

fn rich(elements: &[Value]) -> Value {
    json!({ "type": "rich_text", "elements": elements })
}

fn section(elements: &[Value]) -> Value {
    json!({ "type": "rich_text_section", "elements": elements })
}

fn preformatted(text: &str) -> Value {
    json!({ "type": "rich_text_preformatted", "elements": [plain(text)] })
}

fn plain(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn bold(text: &str) -> Value {
    json!({ "type": "text", "text": text, "style": { "bold": true } })
}
