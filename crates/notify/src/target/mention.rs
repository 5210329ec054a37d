//! Whom a target may call, by kind. Pure.
//!
//! Invariant: what passes here is put into a message as it is, so nothing passes that could be markup.

/// Most people that a target calls: more is a group.
pub(super) const MAX_MENTIONS: usize = 20;

/// Whom Slack calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlackWho<'a> {
    User(&'a str),
    Group(&'a str),
    Everybody(&'a str),
}

/// Reads a name of Slack: ids are letters and digits in upper case.
pub(crate) fn slack_who(text: &str) -> Option<SlackWho<'_>> {
    match text {
        "here" | "channel" | "everyone" => Some(SlackWho::Everybody(text)),
        _ if !is_word(text, |it| it.is_ascii_uppercase() || it.is_ascii_digit()) => None,
        _ if text.starts_with(['U', 'W']) => Some(SlackWho::User(text)),
        _ if text.starts_with('S') => Some(SlackWho::Group(text)),
        _ => None,
    }
}

/// Whom Feishu calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeishuWho<'a> {
    All,
    One(&'a str),
}

pub(crate) fn feishu_who(text: &str) -> Option<FeishuWho<'_>> {
    match text {
        "all" => Some(FeishuWho::All),
        _ => is_word(text, |it| it.is_ascii_alphanumeric() || it == '_' || it == '-')
            .then_some(FeishuWho::One(text)),
    }
}

/// Tells whether DingTalk can call that: a number of a mobile phone, with or without `+86-`, or all.
pub(super) fn is_of_dingtalk(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = is_word(digits, |it| it.is_ascii_digit() || it == '-') && digits.len() >= 5;
    text == "all" || is_number
}

/// Tells whether WeCom can call that: ids of users, as its administrators give them.
pub(super) fn is_of_wecom(text: &str) -> bool {
    is_word(text, |it| it.is_ascii_alphanumeric() || "_-.@".contains(it))
}

/// Tells whether Teams can call that: a user principal name.
pub(super) fn is_of_teams(text: &str) -> bool {
    let is_sound = is_word(text, |it| it.is_ascii_alphanumeric() || "_-.@".contains(it));
    is_sound && text.split('@').count() == 2 && !text.starts_with('@') && !text.ends_with('@')
}

fn is_word(text: &str, is_of_it: impl Fn(char) -> bool) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(is_of_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_that_could_be_markup() {
        for bad in ["", "<!channel>", "U1|x", "U1>", "u1", "@here", "U 1", &"U".repeat(65)] {
            assert_eq!(slack_who(bad), None, "{bad}");
        }
        assert_eq!(slack_who("S012"), Some(SlackWho::Group("S012")));
        assert!(
            feishu_who("ou_1></at><at id=all").is_none()
                && feishu_who("ou_1") == Some(FeishuWho::One("ou_1"))
        );
        assert!(
            is_of_dingtalk("+86-13800000000")
                && is_of_dingtalk("all")
                && !is_of_dingtalk("ann")
                && !is_of_dingtalk("----x")
        );
        assert!(is_of_wecom("zhang.san") && !is_of_wecom("a><@b"));
        assert!(is_of_teams("ann@example.org") && !is_of_teams("ann") && !is_of_teams("</at>@x"));
    }
}
