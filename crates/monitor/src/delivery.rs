//! DORA's five figures of how software is delivered, from what was deployed and taken back, each with its definition beside it.
//!
//! The definitions are those of DORA since 2024 (`dora.dev/guides/dora-metrics`, *Accelerate State of DevOps* 2024 and *State of AI-assisted
//! Software Development* 2025): three of throughput (change lead time, deployment frequency, failed deployment recovery time) and two of
//! instability (change fail rate, deployment rework rate). What we count for each is said in [`Figure::definition`].
//!
//! Invariant: where there is nothing to count there is no number, and never 0.

use serde::{Deserialize, Serialize};

/// What is taken back later than this did not need somebody at once, so its deployment did not fail.
pub const AT_ONCE_MS: u64 = 24 * 3_600_000;
const DAY_MS: f64 = 86_400_000.0;

/// A version that went forward into production, whether it stayed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The service.
    pub service: String,
    /// The version.
    pub version: String,
    /// When commits that are new in it were made, in milliseconds since 1970; empty where that is not known.
    #[serde(default)]
    pub commits_ms: Vec<u64>,
    /// When the first requests were led to it, in milliseconds since 1970.
    pub deployed_ms: u64,
    /// When requests were taken from it because something was wrong, in milliseconds since 1970.
    #[serde(default)]
    pub taken_back_ms: Option<u64>,
    /// By whom: a person, or what decided it by itself.
    #[serde(default)]
    pub taken_back_by: Option<String>,
    /// The fault that it was made for, when it was not planned: a version that mends something in production.
    #[serde(default)]
    pub mends: Option<String>,
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, as DORA calls it.
    pub name: &'static str,
    /// What is counted, in one sentence.
    pub definition: &'static str,
    /// The number; none where there is nothing to count.
    pub amount: Option<Amount>,
    /// Out of how many it is made.
    pub counted: usize,
    /// How many could not be counted because something of them is not known.
    pub left_out: usize,
}

/// A number with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// So many a day.
    PerDay(f64),
    /// The median of times, in milliseconds.
    MedianMs(u64),
    /// A part of a whole, from 0 to 1.
    Share(f64),
}

/// Returns the five figures of deliveries that were deployed from `from_ms` until before `until_ms`.
#[must_use]
pub fn figures(deliveries: &[Delivery], from_ms: u64, until_ms: u64) -> [Figure; 5] {
    let in_time = |delivery: &&Delivery| (from_ms..until_ms).contains(&delivery.deployed_ms);
    let counted: Vec<&Delivery> = deliveries.iter().filter(in_time).collect();
    [
        lead_time(&counted),
        frequency(&counted, until_ms.saturating_sub(from_ms)),
        recovery_time(&counted, deliveries),
        fail_rate(&counted),
        rework_rate(&counted),
    ]
}

fn lead_time(counted: &[&Delivery]) -> Figure {
    // A commit after its deployment has the time of a wrong clock.
    let of = |delivery: &&Delivery| {
        let deployed_ms = delivery.deployed_ms;
        delivery.commits_ms.iter().filter_map(move |ms| deployed_ms.checked_sub(*ms)).collect::<Vec<u64>>()
    };
    let times: Vec<Vec<u64>> = counted.iter().map(of).collect();
    let left_out = times.iter().filter(|times| times.is_empty()).count();
    let times: Vec<u64> = times.into_iter().flatten().collect();
    Figure {
        name: "change lead time",
        definition: "the median time from a commit until requests are led to a version of the environment that has it",
        counted: times.len(),
        left_out,
        amount: median(times).map(Amount::MedianMs),
    }
}

fn frequency(counted: &[&Delivery], period_ms: u64) -> Figure {
    // Two versions in the first hour of a server are two a day so far, and not 48.
    let per_day = counted.len() as f64 * DAY_MS / (period_ms as f64).max(DAY_MS);
    Figure {
        name: "deployment frequency",
        definition: "versions a day that went forward into production and to which requests are led; going back is none",
        amount: (!counted.is_empty() && period_ms > 0).then_some(Amount::PerDay(per_day)),
        counted: counted.len(),
        left_out: 0,
    }
}

/// A failed deployment is over when requests are taken from it, or when a version that mends it is there, whichever comes first.
fn recovery_time(counted: &[&Delivery], all: &[Delivery]) -> Figure {
    let failed: Vec<&&Delivery> = counted.iter().filter(|delivery| delivery.failed()).collect();
    let times: Vec<u64> = failed.iter().filter_map(|delivery| delivery.recovered_in_ms(all)).collect();
    Figure {
        name: "failed deployment recovery time",
        definition: "the median time from when requests are led to a version that failed until they are taken from it, or are \
                     led to a version that mends it",
        counted: times.len(),
        left_out: failed.len() - times.len(),
        amount: median(times).map(Amount::MedianMs),
    }
}

fn fail_rate(counted: &[&Delivery]) -> Figure {
    Figure {
        name: "change fail rate",
        definition: "the share of deployments from which requests were taken within a day because something was wrong, by a person \
                     or by itself",
        amount: share(counted, Delivery::failed),
        counted: counted.len(),
        left_out: 0,
    }
}

fn rework_rate(counted: &[&Delivery]) -> Figure {
    Figure {
        name: "deployment rework rate",
        definition: "the share of deployments that mend a fault in the environment: cut from a branch hotfix/..., or the next one of a \
                     service after one that failed",
        amount: share(counted, |delivery| delivery.mends.is_some()),
        counted: counted.len(),
        left_out: 0,
    }
}

impl Delivery {
    /// Tells whether somebody, or something, had to take it back at once.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.taken_back_ms.is_some_and(|ms| ms.saturating_sub(self.deployed_ms) <= AT_ONCE_MS)
    }

    fn recovered_in_ms(&self, all: &[Delivery]) -> Option<u64> {
        let mended = all.iter().filter(|other| other.service == self.service && other.mends.is_some());
        let ends = mended.map(|other| other.deployed_ms).chain(self.taken_back_ms);
        ends.filter_map(|end_ms| end_ms.checked_sub(self.deployed_ms)).filter(|ms| *ms > 0).min()
    }
}

fn share(counted: &[&Delivery], is: impl Fn(&Delivery) -> bool) -> Option<Amount> {
    let part = counted.iter().filter(|delivery| is(delivery)).count();
    (!counted.is_empty()).then(|| Amount::Share(part as f64 / counted.len() as f64))
}

/// The middle one; of two in the middle, what lies between.
fn median(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    let upper = *times.get(times.len() / 2)?;
    let lower = if times.len().is_multiple_of(2) { times[times.len() / 2 - 1] } else { upper };
    Some(lower + (upper - lower) / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn delivery(deployed_hour: u64) -> Delivery {
        Delivery {
            service: "orders".into(),
            version: format!("1.{deployed_hour}.0"),
            commits_ms: Vec::new(),
            deployed_ms: deployed_hour * HOUR,
            taken_back_ms: None,
            taken_back_by: None,
            mends: None,
        }
    }

    fn amounts(deliveries: &[Delivery], hours: u64) -> [Option<Amount>; 5] {
        figures(deliveries, 0, hours * HOUR).map(|figure| figure.amount)
    }

    #[test]
    fn where_there_is_nothing_to_count_there_is_no_number() {
        assert_eq!(amounts(&[], 24), [None; 5]);
        let [lead, frequency, recovery, fails, rework] = amounts(&[delivery(1)], 48);
        assert_eq!((lead, recovery), (None, None), "no commit and no failure is known");
        assert_eq!(frequency, Some(Amount::PerDay(0.5)));
        assert_eq!((fails, rework), (Some(Amount::Share(0.0)), Some(Amount::Share(0.0))));
    }

    #[test]
    fn what_was_delivered_in_an_hour_is_not_taken_for_a_day_of_it() {
        let [_, frequency, ..] = amounts(&[delivery(0), delivery(0)], 1);
        assert_eq!(frequency, Some(Amount::PerDay(2.0)));
    }

    #[test]
    fn the_five_figures_of_a_day() {
        let deliveries = [
            Delivery { commits_ms: vec![HOUR, 3 * HOUR], ..delivery(5) },
            Delivery {
                taken_back_ms: Some(7 * HOUR),
                taken_back_by: Some("the judge".into()),
                ..delivery(6)
            },
            Delivery {
                commits_ms: vec![7 * HOUR, 900 * HOUR],
                mends: Some("orders fails".into()),
                ..delivery(8)
            },
            Delivery { taken_back_ms: Some(90 * HOUR), ..delivery(9) },
            delivery(25),
        ];
        let [lead, frequency, recovery, fails, rework] = amounts(&deliveries, 24);
        assert_eq!(lead, Some(Amount::MedianMs(2 * HOUR)));
        assert_eq!(frequency, Some(Amount::PerDay(4.0)));
        assert_eq!(recovery, Some(Amount::MedianMs(HOUR)));
        assert_eq!(fails, Some(Amount::Share(0.25)), "what is taken back days later did not fail");
        assert_eq!(rework, Some(Amount::Share(0.25)));
        assert_eq!(figures(&deliveries, 0, 24 * HOUR)[0].left_out, 2, "two of which no commit is known");
    }

    #[test]
    fn each_number_has_its_definition_beside_it() {
        assert!(
            figures(&[], 0, 1)
                .iter()
                .all(|figure| figure.definition.len() > 40 && !figure.definition.contains("  "))
        );
    }

    proptest! {
        #[test]
        fn shares_are_shares_and_the_order_does_not_matter(
            hours in prop::collection::vec((0_u64..200, prop::option::of(0_u64..400), any::<bool>()), 0..30), from in 0_u64..100, lasts in 0_u64..200,
        ) {
            let make = |(deployed, back, mends): (u64, Option<u64>, bool)| Delivery {
                taken_back_ms: back.map(|hour| hour * HOUR),
                mends: mends.then(|| "a fault".into()),
                commits_ms: back.into_iter().map(|hour| hour * HOUR).collect(),
                ..delivery(deployed)
            };
            let mut deliveries: Vec<Delivery> = hours.into_iter().map(make).collect();
            let found = figures(&deliveries, from * HOUR, (from + lasts) * HOUR);
            deliveries.reverse();
            prop_assert_eq!(&found, &figures(&deliveries, from * HOUR, (from + lasts) * HOUR));
            for figure in found {
                prop_assert_eq!(figure.amount.is_some(), figure.counted > 0, "{:?}", figure);
                if let Some(Amount::Share(share)) = figure.amount {
                    prop_assert!((0.0..=1.0).contains(&share));
                }
            }
        }
    }
}
