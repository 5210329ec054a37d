//! Texts of others made fit to be shown: one line, no tricks, not too long. Pure.
//!
//! A notice holds what a hostile service may have written: its error messages, the names of its instances. Invariant: nothing
//! that leaves here has a line break, a control character, or a character that reverses or hides what stands beside it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Makes one line of a text, and says how much it leaves out when it is longer than so many characters.
pub(crate) fn line(text: &str, most: usize) -> String {
    // Whatever a service sends, no more of it is looked at than could be shown.
    let mut rest = text.chars();
    let head: String = rest.by_ref().take(most.saturating_mul(4)).collect();
    let unread = rest.count();
    let line = spaced(&head);
    let length = line.chars().count();
    if length <= most && unread == 0 {
        return line;
    }
    let word = |out: usize| format!(" … ({out} more characters)");
    // Its own length depends on a number that is not known yet; the largest that it can be is.
    let kept = most.saturating_sub(word(length + unread).chars().count());
    let shown: String = line.chars().take(kept).collect();
    let out = length - shown.chars().count() + unread;
    if kept == 0 { line.chars().take(most).collect() } else { format!("{}{}", shown.trim_end(), word(out)) }
}

fn spaced(text: &str) -> String {
    let plain: String =
        text.chars().map(|it| if is_break(it) { ' ' } else { it }).filter(|it| !is_trick(*it)).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_break(it: char) -> bool {
    it.is_control() || it.is_whitespace() || matches!(it, '\u{2028}' | '\u{2029}')
}

/// Characters that are not seen, or change the direction of those that are (Unicode's `Bidi_Control`, zero widths, tags).
fn is_trick(it: char) -> bool {
    matches!(it,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The end of the year 9998: years of more than four digits are no dates to anybody.
const LAST_MS: u64 = 253_370_764_799_999;

/// Writes a moment as people read it.
pub(crate) fn moment(at_ms: u64) -> String {
    match at_ms {
        0..=LAST_MS => timestamp(at_ms).strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        _ => "an unknown time".to_owned(),
    }
}

/// Writes a moment as programs read it (RFC 3339).
pub(crate) fn rfc3339(at_ms: u64) -> String {
    timestamp(at_ms).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Returns a moment for heads of letters.
pub(crate) fn system_time(at_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at_ms.min(LAST_MS))
}

fn timestamp(at_ms: u64) -> Timestamp {
    let at_ms = i64::try_from(at_ms.min(LAST_MS)).unwrap_or(0);
    Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Writes how long something took.
pub(crate) fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        (1..48, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} days", hours / 24),
    }
}

/// Returns a link that can stand in any markup, or none: an address of the web without a character that ends one somewhere.
pub(crate) fn link(text: &str) -> Option<&str> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-._~:/?#@!$&+,;=%".contains(it);
    (is_web && text.len() <= 1_000 && text.chars().all(is_plain)).then_some(text)
}

/// Replaces what begins markup, mentions or links in the Markdown of chats by characters that look alike: what each of them
/// reads is documented in part, and ways to escape are not.
pub(crate) fn wide(text: &str) -> String {
    let wide = |it: char| match it {
        '<' => '＜',
        '>' => '＞',
        '[' => '［',
        ']' => '］',
        '*' => '＊',
        '~' => '～',
        '|' => '｜',
        '\\' => '＼',
        '#' => '＃',
        '`' => '＇',
        '&' => '＆',
        other => other,
    };
    unlinked(&text.replace("->", "→").chars().map(wide).collect::<String>())
}

/// Takes from an address what makes chats turn it into a link.
pub(crate) fn unlinked(text: &str) -> String {
    text.replace("://", ":／／").replace("www.", "www．").replace("WWW.", "WWW．")
}

/// Escapes for HTML, texts and attributes.
pub(crate) fn html(text: &str) -> String {
    let escaped = |it: char| match it {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Escapes for `mrkdwn` of Slack: with these three no mention, channel or link can begin
/// (docs.slack.dev/messaging/formatting-message-text#escaping).
pub(crate) fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_text_says_how_much_is_left_out() {
        assert_eq!(line("a\r\nb\tc  d", 20), "a b c d");
        let cut = line(&"x".repeat(1_000), 50);
        assert!((45..=50).contains(&cut.chars().count()), "{cut}");
        let (shown, word) = cut.split_once(" … (").unwrap();
        let out: usize = word.trim_end_matches(" more characters)").parse().unwrap();
        assert_eq!(shown.len() + out, 1_000, "{cut}");
        assert_eq!(line("abcdefgh", 4), "abcd", "there is no room for the word");
    }

    #[test]
    fn what_hides_or_reverses_goes() {
        assert_eq!(line("ok\u{202e}gpj.exe\u{200b}\u{feff}", 50), "okgpj.exe");
        assert_eq!(line("a\u{2028}b\u{85}c\u{0}d", 50), "a b c d");
    }

    #[test]
    fn a_link_is_one_or_none() {
        assert_eq!(
            link("https://lockstep.example.org/alerts/1?x=%20"),
            Some("https://lockstep.example.org/alerts/1?x=%20")
        );
        for bad in [
            "javascript:alert(1)",
            "https://a/)[x](",
            "https://a/ b",
            "https://a/\"><b>",
            "//a",
            "https://a|b",
            "https://ä",
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_and_spans_are_written_for_people() {
        assert_eq!(moment(1_764_560_000_123), "2025-12-01 03:33:20 UTC");
        assert_eq!(rfc3339(1_764_560_000_123), "2025-12-01T03:33:20.123Z");
        assert_eq!((moment(u64::MAX).as_str(), rfc3339(u64::MAX).len()), ("an unknown time", 24));
        assert!(rfc3339(u64::MAX) > rfc3339(1_764_560_000_123), "what is later stays later");
        let spans = [500, 61_000, 3_661_000, 400_000_000].map(span);
        assert_eq!(spans, ["0 s", "1 min 1 s", "1 h 1 min", "4 days"]);
    }

    proptest! {
        #[test]
        fn a_line_is_one_and_not_longer(text in "\\PC*|(?s).*", most in 0_usize..200) {
            let line = line(&text, most);
            prop_assert!(line.chars().count() <= most);
            prop_assert!(!line.chars().any(|it| it.is_control() || is_trick(it)));
        }
    }
}
