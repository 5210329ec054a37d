//! How much and how often each target takes, as data. Pure.
//!
//! Rates are for whoever keeps notices to be sent; sizes are kept here when a body is made. Each number names its source.

use crate::target::Kind;

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many messages.
    pub count: u32,
    /// In how many milliseconds, any window of that length.
    pub window_ms: u64,
}

/// What a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All of them hold at once; of a target without a limit of its own, one that keeps us from being a nuisance.
    pub rates: &'static [Rate],
    /// Longest body in bytes; of WeCom the text of the message, of mail the whole letter.
    pub body_bytes: usize,
    /// How long a target stays closed that says "too fast" without saying for how long.
    pub pause_ms: u64,
    /// Where the numbers are from.
    pub source: &'static str,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

const fn rate(count: u32, window_ms: u64) -> Rate {
    Rate { count, window_ms }
}

/// One message a second and channel, more in bursts. Slack names no size of a body; with 50 blocks of 3,000 characters at
/// most it stays below this.
const SLACK: Limits = Limits {
    rates: &[rate(1, SECOND)],
    body_bytes: 200_000,
    pause_ms: 30 * SECOND,
    source: "https://docs.slack.dev/apis/web-api/rate-limits (incoming webhooks: 1 per second)",
};
/// Twenty a minute and robot, then none for ten minutes; 20,000 bytes.
const DINGTALK: Limits = Limits {
    rates: &[rate(20, MINUTE)],
    body_bytes: 20_000,
    pause_ms: 10 * MINUTE,
    source: "https://open.dingtalk.com/document/orgapp/custom-robot-access",
};
/// A hundred a minute and five a second, a body of 20 KB.
const FEISHU: Limits = Limits {
    rates: &[rate(5, SECOND), rate(100, MINUTE)],
    body_bytes: 20_000,
    pause_ms: MINUTE,
    source: "https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot",
};
/// Twenty a minute and robot, `markdown.content` of 4,096 bytes in UTF-8.
const WECOM: Limits = Limits {
    rates: &[rate(20, MINUTE)],
    body_bytes: 4_096,
    pause_ms: MINUTE,
    source: "https://developer.work.weixin.qq.com/document/path/91770",
};
/// Four requests a second, about 28 KB.
const TEAMS: Limits = Limits {
    rates: &[rate(4, SECOND)],
    body_bytes: 28_000,
    pause_ms: 30 * SECOND,
    source: "https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook",
};
/// No rate is written; "a backoff of a few minutes" after 429, and 512 KB.
const PAGERDUTY: Limits = Limits {
    rates: &[rate(60, MINUTE)],
    body_bytes: 512_000,
    pause_ms: 3 * MINUTE,
    source: "https://developer.pagerduty.com/docs/events-api-v2-overview",
};
/// Of one's own network; the numbers are ours.
const ALERTMANAGER: Limits = Limits {
    rates: &[rate(10, SECOND)],
    body_bytes: 512_000,
    pause_ms: 10 * SECOND,
    source: "https://prometheus.io/docs/alerting/latest/alerts_api (names no limit)",
};
/// What passes every intermediary of CloudEvents: 64 KiB.
const WEBHOOK: Limits = Limits {
    rates: &[rate(10, SECOND)],
    body_bytes: 64 * 1_024,
    pause_ms: 30 * SECOND,
    source: "https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#size-limits",
};
/// No number holds everywhere; thirty a minute is what small relays bear and more than anybody reads.
const MAIL: Limits = Limits {
    rates: &[rate(30, MINUTE)],
    body_bytes: 200_000,
    pause_ms: 5 * MINUTE,
    source: "https://www.rfc-editor.org/rfc/rfc5321 (a server must take 64 KB, and may limit what it likes)",
};

/// Returns what a kind of target takes.
#[must_use]
pub const fn limits(kind: Kind) -> &'static Limits {
    match kind {
        Kind::Slack => &SLACK,
        Kind::Dingtalk => &DINGTALK,
        Kind::Feishu => &FEISHU,
        Kind::Wecom => &WECOM,
        Kind::Teams => &TEAMS,
        Kind::Mail => &MAIL,
        Kind::Pagerduty => &PAGERDUTY,
        Kind::Alertmanager => &ALERTMANAGER,
        Kind::Webhook => &WEBHOOK,
    }
}
