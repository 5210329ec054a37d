//! Microsoft Teams, a workflow that posts an Adaptive Card. Pure.
//!
//! Sources: learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using (the body around a card; 28 KB; four
//! requests a second; "Microsoft Teams endpoint returned HTTP error 429" in an answer of 200), support.microsoft.com "Create incoming
//! webhooks with Workflows" (what takes the place of the connectors that were retired), adaptivecards.io/explorer (`RichTextBlock` whose
//! `TextRun`s read no Markdown, while a `TextBlock` does), learn.microsoft.com "Format cards in Teams" (mentions are entities).

use lockstep_monitor::Notice;
use serde_json::{Value, json};

use super::{bytes, calls, place};
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::story::{Look, Story, fitting};
use crate::target::{Kind, Teams};
use crate::text::unlinked;

pub(crate) fn post(notice: &Notice, target: &Teams) -> Result<Post, RenderError> {
    let who = if calls(notice) { target.mention.as_slice() } else { &[] };
    let most = limits(Kind::Teams).body_bytes;
    let body = fitting(notice, |story| bytes(&body(story, who)), |body| body.len() <= most);
    Ok(Post::json(place(&target.url)?.path, body))
}

fn body(story: &Story, who: &[String]) -> Value {
    let card = json!({ "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card(story, who) });
    json!({ "type": "message", "attachments": [card] })
}

fn card(story: &Story, who: &[String]) -> Value {
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks(story, who),
        "msteams": { "width": "Full", "entities": who.iter().map(|it| entity(it)).collect::<Vec<_>>() },
    });
    if let Some(link) = &story.link {
        card["actions"] = json!([{ "type": "Action.OpenUrl", "title": "Open in Lockstep", "url": link }]);
    }
    card
}

fn blocks(story: &Story, who: &[String]) -> Vec<Value> {
    let head = json!({ "type": "TextRun", "text": unlinked(&story.headline()), "weight": "bolder", "size": "large", "color": colour(story.look) });
    let mut blocks = vec![json!({ "type": "RichTextBlock", "inlines": [head] })];
    blocks.extend(story.facts.iter().map(|(label, it)| rich(&format!("{label}: "), it)));
    for alert in &story.alerts {
        blocks.push(rich(&alert.head, ""));
        blocks.extend(alert.lines.iter().map(|it| rich("", it)));
        blocks.extend(alert.command.iter().map(|it| command(it)));
    }
    blocks.extend(story.left_out.iter().map(|it| rich("", it)));
    if let Some(change) = &story.change {
        blocks.push(rich("changed before: ", &change.what));
        blocks.extend(change.undo.iter().map(|it| command(it)));
    }
    let called: Vec<String> = who.iter().map(|it| at(it)).collect();
    blocks.extend(
        (!called.is_empty()).then(|| json!({ "type": "TextBlock", "wrap": true, "text": called.join(" ") })),
    );
    blocks
}

fn entity(who: &str) -> Value {
    json!({ "type": "mention", "text": at(who), "mentioned": { "id": who, "name": who } })
}

fn at(who: &str) -> String {
    format!("<at>{who}</at>")
}

const fn colour(look: Look) -> &'static str {
    match look {
        Look::Bad => "attention",
        Look::Poor => "warning",
        Look::Plain => "accent",
        Look::Good => "good",
    }
}

fn rich(bold: &str, text: &str) -> Value {
    let runs = [(bold, "bolder"), (text, "default")].into_iter().filter(|(text, _)| !text.is_empty());
    let runs =
        runs.map(|(text, weight)| json!({ "type": "TextRun", "text": unlinked(text), "weight": weight }));
    json!({ "type": "RichTextBlock", "inlines": runs.collect::<Vec<_>>() })
}

fn command(text: &str) -> Value {
    json!({ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": unlinked(text), "fontType": "monospace" }] })
}
