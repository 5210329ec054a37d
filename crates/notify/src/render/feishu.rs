//! Feishu and Lark, custom bots with a card. Pure.
//!
//! Sources: open.feishu.cn/document/client-docs/bot-v3/add-custom-bot (body, signature, 20 KB, 100 a minute and 5 a second, codes 9499
//! and 19001 to 19024), /document/feishu-cards/card-json-v1-structure (cards), where `plain_text` reads no markup and `lark_md` reads
//! `<at id=…></at>`.
//!
//! Texts of others are `plain_text`; `lark_md` holds whom the target names, and the link, which were looked at before.

use lockstep_monitor::Notice;
use serde_json::{Value, json};

use super::{bytes, calls, place, reveal};
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::sign;
use crate::story::{Look, Story, fitting};
use crate::target::{Feishu, FeishuWho, Kind, feishu_who};
use crate::text::{line, unlinked};

pub(crate) fn post(notice: &Notice, target: &Feishu, now_ms: u64) -> Result<Post, RenderError> {
    let who = if calls(notice) { target.mention.as_slice() } else { &[] };
    let signature = signature(target, now_ms / 1_000)?;
    let most = limits(Kind::Feishu).body_bytes;
    let make = |story: &Story| {
        let mut body =
            json!({ "msg_type": "interactive", "card": card(story, who, target.keyword.as_deref()) });
        if let Some((at, sign)) = &signature {
            body["timestamp"] = json!(at);
            body["sign"] = json!(sign);
        }
        bytes(&body)
    };
    Ok(Post::json(place(&target.url)?.path, fitting(notice, make, |body| body.len() <= most)))
}

fn signature(target: &Feishu, at_s: u64) -> Result<Option<(String, String)>, RenderError> {
    let Some(secret) = &target.secret else { return Ok(None) };
    Ok(Some((at_s.to_string(), sign::feishu(reveal("secret", secret)?, at_s))))
}

fn card(story: &Story, who: &[String], keyword: Option<&str>) -> Value {
    let mut elements =
        vec![plain(&story.facts.iter().map(|(label, it)| format!("{label}: {it}")).collect::<Vec<_>>())];
    for alert in &story.alerts {
        elements.push(json!({ "tag": "hr" }));
        let command = alert.command.iter().map(|it| format!("run: {it}"));
        elements.push(plain(
            &[alert.head.clone()].into_iter().chain(alert.lines.clone()).chain(command).collect::<Vec<_>>(),
        ));
    }
    elements.extend(story.left_out.iter().map(|it| plain(std::slice::from_ref(it))));
    if let Some(change) = &story.change {
        let undo = change.undo.iter().map(|it| format!("takes it back: {it}"));
        elements.push(json!({ "tag": "hr" }));
        elements.push(plain(
            &[format!("changed before: {}", change.what)].into_iter().chain(undo).collect::<Vec<_>>(),
        ));
    }
    // It is the target's own, and has to be there as it is.
    elements.extend(
        keyword.map(|it| json!({ "tag": "div", "text": { "tag": "plain_text", "content": line(it, 64) } })),
    );
    elements.extend(story.link.iter().map(|it| marked(&format!("[Open in Lockstep]({it})"))));
    elements.extend(mentions(who).map(|it| marked(&it)));
    let title = json!({ "tag": "plain_text", "content": safe(&story.headline()) });
    json!({
        "config": { "wide_screen_mode": true },
        "header": { "template": colour(story.look), "title": title },
        "elements": elements,
    })
}

fn mentions(who: &[String]) -> Option<String> {
    let called = who.iter().filter_map(|it| feishu_who(it)).map(|who| match who {
        FeishuWho::All => "<at id=all></at>".to_owned(),
        FeishuWho::One(id) => format!("<at id={id}></at>"),
    });
    Some(called.collect::<Vec<_>>().join(" ")).filter(|it| !it.is_empty())
}

const fn colour(look: Look) -> &'static str {
    match look {
        Look::Bad => "red",
        Look::Poor => "orange",
        Look::Plain => "blue",
        Look::Good => "green",
    }
}

fn plain(lines: &[String]) -> Value {
    json!({ "tag": "div", "text": { "tag": "plain_text", "content": safe(&lines.join("\n")) } })
}

/// Plain text needs no escaping; that nothing in it looks like a mention holds whatever a client makes of it.
fn safe(text: &str) -> String {
    unlinked(&text.replace('<', "＜"))
}

fn marked(text: &str) -> Value {
    json!({ "tag": "div", "text": { "tag": "lark_md", "content": text } })
}
