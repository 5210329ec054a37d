//! DingTalk, custom robots with Markdown. Pure.
//!
//! Sources: open.dingtalk.com/document/orgapp/custom-robot-access (body, 20 a minute, mentions),
//! /document/orgapp/custom-robots-send-group-messages (Markdown: headings, quotes, bold, italics, links, pictures, lists),
//! /document/robots/customize-robot-security-settings (signature, one hour, keywords, addresses). The error "message too long, exceed
//! 20000 bytes" is how the size is known.
//!
//! Only numbers in `at.atMobiles` are called, and `isAtAll` only where the target says `all`: a text alone calls nobody. Texts of others
//! go through [`text::wide`], since no way to escape is documented.

use lockstep_monitor::Notice;
use serde_json::json;

use super::{bytes, calls, place, reveal};
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::sign;
use crate::story::{Story, fitting};
use crate::target::{Dingtalk, Kind};
use crate::text::{self, wide};

pub(crate) fn post(notice: &Notice, target: &Dingtalk, now_ms: u64) -> Result<Post, RenderError> {
    let who = if calls(notice) { target.mention.as_slice() } else { &[] };
    let most = limits(Kind::Dingtalk).body_bytes;
    let keyword = target.keyword.as_deref();
    let body = fitting(notice, |story| bytes(&body(story, who, keyword)), |body| body.len() <= most);
    let path = place(&target.url)?.path;
    let Some(secret) = &target.secret else { return Ok(Post::json(path, body)) };
    let sign = sign::dingtalk(reveal("secret", secret)?, now_ms);
    Ok(Post::json(format!("{}timestamp={now_ms}&sign={sign}", query_without_signature(&path)), body))
}

/// Returns path and query up to where a field can be added, without a signature that was copied along with the address.
fn query_without_signature(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_of_signature = |field: &&str| field.starts_with("timestamp=") || field.starts_with("sign=");
    let kept: String = query
        .split('&')
        .filter(|it| !it.is_empty() && !is_of_signature(it))
        .map(|it| format!("{it}&"))
        .collect();
    format!("{path}?{kept}")
}

fn body(story: &Story, who: &[String], keyword: Option<&str>) -> serde_json::Value {
    let numbers: Vec<&String> = who.iter().filter(|it| *it != "all").collect();
    json!({
        "msgtype": "markdown",
        "markdown": { "title": wide(&story.headline()), "text": markdown(story, &numbers, keyword) },
        "at": { "atMobiles": numbers, "isAtAll": who.iter().any(|it| it == "all") },
    })
}

fn markdown(story: &Story, numbers: &[&String], keyword: Option<&str>) -> String {
    let mut parts = vec![format!("### {}", wide(&story.headline()))];
    parts.extend(story.facts.iter().map(|(label, it)| format!("- {label}: {}", wide(it))));
    for alert in &story.alerts {
        parts.push(format!("**{}**", wide(&alert.head)));
        parts.extend(alert.lines.iter().map(|it| format!("> {}", wide(it))));
        parts.extend(alert.command.iter().map(|it| format!("> run: {}", wide(it))));
    }
    parts.extend(story.left_out.clone());
    if let Some(change) = &story.change {
        parts.push(format!("**changed before:** {}", wide(&change.what)));
        parts.extend(change.undo.iter().map(|it| format!("> takes it back: {}", wide(it))));
    }
    parts.extend(story.link.iter().map(|it| format!("[Open in Lockstep]({it})")));
    // It is the target's own, and has to be there as it is.
    parts.extend(keyword.map(|it| text::line(it, 64)));
    // A number is called when it is in the list, and seen to be called when it stands in the text.
    let called: Vec<String> = numbers.iter().map(|it| format!("@{it}")).collect();
    parts.extend((!called.is_empty()).then(|| called.join(" ")));
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_that_was_copied_along_goes() {
        assert_eq!(query_without_signature("/send?access_token=1"), "/send?access_token=1&");
        assert_eq!(
            query_without_signature("/send?timestamp=9&access_token=1&sign=x"),
            "/send?access_token=1&"
        );
        assert_eq!(query_without_signature("/send"), "/send?");
    }
}
