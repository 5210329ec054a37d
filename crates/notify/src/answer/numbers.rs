//! What DingTalk, Feishu and WeCom answer: 200, and a number. Pure.
//!
//! Sources: open.dingtalk.com/document/orgapp/custom-robot-access and the tables of error codes of DingTalk (310000 in three meanings that
//! only its words tell apart; 130101 and 410100 too fast; 300001, 300005, 400101, 400102, 400106, 400013 gone);
//! open.feishu.cn/document/client-docs/bot-v3/add-custom-bot (9499, 19001, 19021, 19022, 19024) and answers that were reported (11232
//! "frequency limited psm", 9499 "too many request", 19036 too long);
//! developer.work.weixin.qq.com/document/path/90313 (45009 too fast, 93000 no such robot, 40058 with "exceed max length").
//! 660026 of DingTalk is taken for too fast on hearsay: no document with it was found.

use serde_json::Value;

use super::{Answer, MAX_SAID, later, too_fast};
use crate::outcome::Outcome;
use crate::target::Kind;
use crate::text::line;

const FAULT_OF_OURS: &str = "it does not take the message: this is a fault of Lockstep, please report it";

/// A number with its words.
struct Said {
    number: i64,
    words: String,
}

impl Said {
    fn has(&self, all: &[&str]) -> bool {
        let words = self.words.to_lowercase();
        all.iter().any(|it| words.contains(it))
    }

    fn is_about_rate(&self) -> bool {
        self.has(&[
            "too fast",
            "too many",
            "frequency",
            "freq out of limit",
            "rate limit",
            "发送速度太快",
            "限流",
        ])
    }
}

/// Tells whether a body has a number at all.
pub(super) fn has_number(answer: &Answer) -> bool {
    read(answer).is_some()
}

fn read(answer: &Answer) -> Option<Said> {
    let json: Value = serde_json::from_slice(&answer.body).ok()?;
    let number = ["errcode", "code", "StatusCode"].iter().find_map(|it| json.get(it)?.as_i64())?;
    let words = ["errmsg", "msg", "StatusMessage"].iter().find_map(|it| json.get(it)?.as_str());
    Some(Said { number, words: line(words.unwrap_or_default(), MAX_SAID) })
}

pub(super) fn meaning(kind: Kind, answer: &Answer, now_ms: u64) -> Outcome {
    let Some(said) = read(answer) else { return nothing_said(kind, answer, now_ms) };
    if said.number == 0 {
        return Outcome::Sent { note: None };
    }
    let why = format!("{kind} answered {} ({})", said.number, said.words);
    match kind {
        Kind::Dingtalk => dingtalk(&said, why, answer, now_ms),
        Kind::Feishu => feishu(&said, why, answer, now_ms),
        _ => wecom(&said, why, answer, now_ms),
    }
}

/// What is neither yes nor no: a page of somebody between, or an answer that broke off.
fn nothing_said(kind: Kind, answer: &Answer, now_ms: u64) -> Outcome {
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    // What protects the entry of DingTalk from too many requests answers in its own form, with seconds.
    let punished = json.filter(|it| it.get("punish").is_some()).and_then(|it| it["wait"].as_u64());
    match (punished, answer.is_whole) {
        (Some(wait), _) => {
            let pause = answer.pause_ms.or(Some(wait.saturating_mul(1_000).clamp(1_000, 3_600_000)));
            too_fast(
                kind,
                &Answer { pause_ms: pause, ..answer.clone() },
                now_ms,
                format!("{kind} keeps requests off"),
            )
        }
        (None, false) => {
            Outcome::unknown(format!("{kind} answered {}, and the answer broke off", answer.status))
        }
        (None, true) => later(
            format!("{} came in another form than {kind} answers in; is the address right?", answer.status),
            answer,
            now_ms,
        ),
    }
}

fn dingtalk(said: &Said, why: String, answer: &Answer, now_ms: u64) -> Outcome {
    match said.number {
        130_101 | 410_100 | 660_026 => too_fast(Kind::Dingtalk, answer, now_ms, why),
        _ if said.is_about_rate() => too_fast(Kind::Dingtalk, answer, now_ms, why),
        -1 => later(why, answer, now_ms),
        310_000 => security_of_dingtalk(said, why, answer, now_ms),
        300_001 | 300_005 | 400_101 | 400_106 | 400_013 | 400_102 => Outcome::never(
            why,
            "the robot was removed or stopped, or its group is gone: make one, and write its address into the target",
        ),
        _ => Outcome::never(why, FAULT_OF_OURS),
    }
}

/// One number for three locks, each with its own key.
fn security_of_dingtalk(said: &Said, why: String, answer: &Answer, now_ms: u64) -> Outcome {
    if said.has(&["timestamp", "过期"]) && !said.has(&["不匹配", "not match"]) {
        return wrong_time(&why, answer, now_ms);
    }
    if said.has(&["keyword", "关键词"]) {
        return Outcome::never(
            why,
            "the robot wants a word in each message: write it into the target as keyword = \"…\"",
        );
    }
    if said.has(&["whitelist", "白名单"]) {
        return Outcome::never(
            why,
            "the robot takes messages of certain addresses alone: add that of this machine, or sign instead",
        );
    }
    wrong_signature(why, answer, now_ms)
}

fn feishu(said: &Said, why: String, answer: &Answer, now_ms: u64) -> Outcome {
    match said.number {
        11_232 => too_fast(Kind::Feishu, answer, now_ms, why),
        _ if said.is_about_rate() => too_fast(Kind::Feishu, answer, now_ms, why),
        19_021 => wrong_signature(why, answer, now_ms),
        19_022 => Outcome::never(
            why,
            "the bot takes messages of certain addresses alone: add that of this machine, or sign instead",
        ),
        19_024 => Outcome::never(
            why,
            "the bot wants a word in each message: write it into the target as keyword = \"…\"",
        ),
        19_001 | 19_003 | 19_007 => Outcome::never(
            why,
            "the bot was removed or stopped: make one, and write its address into the target",
        ),
        _ => Outcome::never(why, FAULT_OF_OURS),
    }
}

fn wecom(said: &Said, why: String, answer: &Answer, now_ms: u64) -> Outcome {
    match said.number {
        45_009 | 45_033 => too_fast(Kind::Wecom, answer, now_ms, why),
        _ if said.is_about_rate() => too_fast(Kind::Wecom, answer, now_ms, why),
        -1 => later(why, answer, now_ms),
        93_000 | 93_008 => Outcome::never(
            why,
            "the robot was removed from its group: make one, and write its address into the target",
        ),
        _ => Outcome::never(why, FAULT_OF_OURS),
    }
}

/// A wrong time passes once the clock is set, so it is tried again.
fn wrong_time(why: &str, answer: &Answer, now_ms: u64) -> Outcome {
    let clock = answer.wrong_clock(now_ms);
    let clock = clock.unwrap_or_else(|| "the clock of this machine is more than an hour off".to_owned());
    Outcome::later(format!("{why}; {clock}: set it (timedatectl)"))
}

/// A signature may be wrong by its secret or by its time; the date of the answer tells which.
fn wrong_signature(why: String, answer: &Answer, now_ms: u64) -> Outcome {
    match answer.wrong_clock(now_ms) {
        Some(clock) => {
            Outcome::later(format!("{why}; {clock}, and a signature holds for an hour: set it (timedatectl)"))
        }
        None => Outcome::never(
            why,
            "the signature is wrong: copy the secret of the robot into the target again, and see that the clock of this machine is right (timedatectl)",
        ),
    }
}
