//! WeCom, robots of groups with Markdown. Pure.
//!
//! Source: developer.work.weixin.qq.com/document/path/91770 (body; `markdown.content` of at most 4,096 bytes in UTF-8; 20 messages a
//! minute; headings, bold, links, code in a line, quotes, `<font color="warning">`; `<@userid>` calls somebody in Markdown, while
//! `mentioned_list` is of plain text alone).
//!
//! Texts of others go through [`wide`], which leaves no `<`, since no way to escape is documented.

use lockstep_monitor::Notice;
use serde_json::json;

use super::{bytes, calls, place};
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::story::{Look, Story, fitting};
use crate::target::{Kind, Wecom};
use crate::text::wide;

pub(crate) fn post(notice: &Notice, target: &Wecom) -> Result<Post, RenderError> {
    let who = if calls(notice) { target.mention.as_slice() } else { &[] };
    let most = limits(Kind::Wecom).body_bytes;
    let content = fitting(notice, |story| markdown(story, who), |content| content.len() <= most);
    let body = json!({ "msgtype": "markdown", "markdown": { "content": content } });
    Ok(Post::json(place(&target.url)?.path, bytes(&body)))
}

fn markdown(story: &Story, who: &[String]) -> String {
    let mut lines =
        vec![format!("### <font color=\"{}\">{}</font>", colour(story.look), wide(&story.headline()))];
    lines.extend(story.facts.iter().map(|(label, it)| format!("{label}: {}", wide(it))));
    for alert in &story.alerts {
        lines.push(format!("**{}**", wide(&alert.head)));
        lines.extend(alert.lines.iter().map(|it| format!("> {}", wide(it))));
        lines.extend(alert.command.iter().map(|it| format!("> run: `{}`", wide(it))));
    }
    lines.extend(story.left_out.clone());
    if let Some(change) = &story.change {
        lines.push(format!("**changed before:** {}", wide(&change.what)));
        lines.extend(change.undo.iter().map(|it| format!("> takes it back: `{}`", wide(it))));
    }
    lines.extend(story.link.iter().map(|it| format!("[Open in Lockstep]({it})")));
    let called: Vec<String> = who.iter().map(|it| format!("<@{it}>")).collect();
    lines.extend((!called.is_empty()).then(|| called.join(" ")));
    lines.join("\n")
}

/// There are three colours: green, grey and orange.
const fn colour(look: Look) -> &'static str {
    match look {
        Look::Bad | Look::Poor => "warning",
        Look::Plain => "comment",
        Look::Good => "info",
    }
}
