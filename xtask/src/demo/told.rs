//! What a chat was told of a fault: once what is wrong, why, and what was changed before; and once that it is over.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::chat::Told;

use super::summary::time;

/// Longest cause that is shown: of more a person reads the beginning.
const MAX_CAUSE: usize = 110;

/// What was told of a fault, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Once {
    /// What is wrong.
    pub(super) what: String,
    /// Why, where that is more than the numbers in what is wrong.
    pub(super) why: Option<String>,
    /// The change before it.
    pub(super) change: String,
    /// How long after that it was told to be over.
    pub(super) over_after: Option<Duration>,
}

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n    because of {}", shortened(why))?;
        }
        write!(f, "\n    before it {}", shortened(&self.change))?;
        self.over_after.map_or(Ok(()), |after| write!(f, "\n    told to be over {} later", time(after)))
    }
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(MAX_CAUSE).collect();
    if short.len() < text.len() { format!("{short}...") } else { short }
}

/// A fault that was made, and what is to be told of it.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// What is wrong with one service, or one part, is told together.
    pub(super) group: &'static str,
    pub(super) rule: &'static str,
    /// Words of the line that says what is wrong.
    pub(super) summary: &'static str,
    /// Words of its cause; none where the line has all.
    pub(super) cause: &'static str,
    /// Words of the change before it.
    pub(super) change: String,
}

impl Fault {
    /// Returns the messages that tell that it is wrong.
    fn told_wrong<'a>(&self, told: &'a [Told]) -> Vec<&'a Told> {
        let says =
            |told: &&Told| told.text("kind") != "recovered" && alerts(told).any(|alert| self.is_about(alert));
        self.of_group(told).filter(says).collect()
    }

    fn is_about(&self, alert: &Value) -> bool {
        let summary = alert["summary"].as_str().unwrap_or_default();
        alert["rule"] == self.rule && summary.contains(self.summary)
    }

    fn of_group<'a>(&self, told: &'a [Told]) -> impl Iterator<Item = &'a Told> {
        let group = self.group;
        told.iter().filter(move |told| told.text("group") == group)
    }

    /// Tells whether it was told that it is wrong.
    pub(super) fn is_told(&self, told: &[Told]) -> bool {
        !self.told_wrong(told).is_empty()
    }

    /// Tells whether it was told that it is over.
    pub(super) fn is_told_over(&self, told: &[Told]) -> bool {
        let wrong = self.told_wrong(told);
        let over = |over: &Told| over.text("kind") == "recovered" && wrong.iter().all(|it| it.at < over.at);
        !wrong.is_empty() && self.of_group(told).any(over)
    }

    /// Checks that it was told once with its cause and the change before it, and returns what was told.
    pub(super) fn expect_told_once(&self, told: &[Told]) -> Result<Once> {
        let wrong = self.told_wrong(told);
        let count = wrong.len();
        let [told] = wrong[..] else { bail!("{count} messages instead of one tell {self:?}: {told:#?}") };
        let alert = alerts(told).find(|alert| self.is_about(alert)).context("the alert is gone")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (why, change) = (text(&alert["detail"]), text(&told.notice["change"]["what"]));
        ensure!(why.contains(self.cause), "{self:?} was told because of `{why}`");
        ensure!(change.contains(&self.change), "before {self:?} came `{change}`");
        let why = Some(why).filter(|why| !why.is_empty());
        Ok(Once { what: text(&alert["summary"]), why, change, over_after: None })
    }

    /// Checks that it was told once, and once that it is over, and returns what was told.
    pub(super) fn expect_over(&self, told: &[Told]) -> Result<Once> {
        let once = self.expect_told_once(told)?;
        let wrong = self.told_wrong(told)[0].at;
        let of_group: Vec<_> = self.of_group(told).collect();
        let kinds: Vec<_> = of_group.iter().map(|told| told.text("kind")).collect();
        // Another fault of the group may come when the first is over, and only then; that one may last.
        let is_turn = |pair: &[&str]| {
            matches!(pair, ["fault" | "changed", "recovered"]) || matches!(pair, ["fault" | "changed"])
        };
        let is_by_turns = kinds.chunks(2).all(is_turn);
        ensure!(
            is_by_turns,
            "of {} was told {kinds:?} and not by turns that it is wrong and over",
            self.group
        );
        let over = of_group.iter().find(|told| told.at > wrong && told.text("kind") == "recovered");
        let over = over.context("it was not told that it is over")?.at;
        Ok(Once { over_after: Some(over.duration_since(wrong)), ..once })
    }
}

fn alerts(told: &Told) -> impl Iterator<Item = &Value> {
    told.notice["alerts"].as_array().into_iter().flatten()
}

/// Checks that no message came twice.
pub(super) fn expect_none_twice(told: &[Told]) -> Result<()> {
    let ids: BTreeSet<_> = told.iter().map(|told| told.text("id")).collect();
    ensure!(ids.len() == told.len(), "a message came twice: {told:#?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    fn fault() -> Fault {
        let change = "promote".to_owned();
        Fault {
            group: "production/catalog",
            rule: "canary-failed",
            summary: "catalog@1.3.0",
            cause: "500s",
            change,
        }
    }

    /// A message that came so many seconds after the first.
    fn message(kind: &str, version: &str, seconds: u64) -> Told {
        let alert = json!({ "rule": "canary-failed", "summary": format!("catalog@{version} failed"), "detail": "500s" });
        let notice = json!({
            "id": format!("{kind}{seconds}"), "kind": kind, "group": "production/catalog", "alerts": [alert],
            "change": { "what": "operation 9: promote from staging" },
        });
        static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        Told { at: *BEGAN.get_or_init(Instant::now) + Duration::from_secs(seconds), notice }
    }

    #[test]
    fn what_was_told_once_and_is_over_is_said_with_its_cause() {
        let mut told = vec![message("fault", "1.3.0", 0)];
        assert!(fault().is_told(&told) && !fault().is_told_over(&told));
        assert!(fault().expect_told_once(&told).is_ok() && fault().expect_over(&told).is_err());
        told.push(message("recovered", "1.3.0", 61));
        assert!(fault().is_told_over(&told));
        let once = fault().expect_over(&told).unwrap();
        let expected = "catalog@1.3.0 failed\n    because of 500s\n    before it operation 9: promote from staging\n    \
                        told to be over 1 min 1 s later";
        assert_eq!(once.to_string(), expected);
        told.extend([message("fault", "1.4.0", 70), message("recovered", "1.4.0", 140)]);
        assert_eq!(fault().expect_over(&told).unwrap(), once, "another version failed later");
        told.push(message("fault", "1.5.0", 150));
        assert_eq!(fault().expect_over(&told).unwrap(), once, "and a third, which is not over");
    }

    #[test]
    fn what_was_told_twice_or_never_or_with_another_change_is_wrong() {
        let good = [message("fault", "1.3.0", 0), message("recovered", "1.3.0", 61)];
        for told in [
            vec![],
            vec![message("fault", "1.4.0", 0), good[1].clone()],
            vec![good[0].clone(), message("changed", "1.3.0", 9), good[1].clone()],
            vec![good[0].clone(), good[1].clone(), message("recovered", "1.3.0", 62)],
        ] {
            assert!(fault().expect_over(&told).is_err(), "{told:?}");
        }
        for other in [Fault { change: "scale".to_owned(), ..fault() }, Fault { cause: "a signal", ..fault() }]
        {
            assert!(other.expect_over(&good).is_err(), "{other:?}");
        }
        assert!(expect_none_twice(&good).is_ok());
        assert!(expect_none_twice(&[good[0].clone(), good[0].clone()]).is_err());
    }
}
