//! What comes next for a certificate that renews itself, and what each thing that happens makes of it.
//!
//! An order goes one way: placed, answering, told, and then it is over, by a certificate or by a failure. Whoever carries a step out
//! records what came of it before the next one, so a server that was killed repeats one request at most, and never places a second
//! order while it has one.

use super::timing::{Cost, has_come, pause_after_good_ms, pause_ms, renewal};
use super::{Automatic, ChallengeAnswer, ChallengeKind, Order, OrderStage, Progress, said};
use crate::certificate::CertificateFacts;
use crate::time::Timestamp;

/// How long an order may take in milliseconds. Authorities keep one for days; who has none after an hour has something to repair, and
/// hears of it.
pub const ORDER_LIMIT_MS: u64 = 60 * 60 * 1_000;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time of the wall clock.
    Wait {
        /// When.
        until: Timestamp,
    },
    /// An order is placed.
    Place,
    /// The order is asked how the authority will look.
    Ask,
    /// The gateways confirm that they answer.
    AwaitGateways,
    /// The authority is told to look.
    Tell,
    /// The order is followed until there is a certificate.
    Follow,
    /// The order takes too long.
    GiveUp,
}

/// Tells what comes next for a certificate, where `shown` is what is known of the one of its name that clients are shown now, and
/// `confirmed` whether every gateway that reports serves the answers.
#[must_use]
pub fn next(
    automatic: &Automatic,
    shown: Option<&CertificateFacts>,
    confirmed: bool,
    wall: Timestamp,
) -> Step {
    let Some(order) = &automatic.progress.order else {
        return begins(automatic, shown, wall).map_or(Step::Place, |until| Step::Wait { until });
    };
    if is_over_time(order, wall) {
        return Step::GiveUp;
    }
    match &order.stage {
        OrderStage::Placed => Step::Ask,
        OrderStage::Answering { .. } if confirmed => Step::Tell,
        OrderStage::Answering { .. } => Step::AwaitGateways,
        OrderStage::Told { .. } => Step::Follow,
    }
}

/// A clock that was set back by more than an order takes ends the order too: nobody would know when it began.
fn is_over_time(order: &Order, wall: Timestamp) -> bool {
    wall.since_ms(order.begun) > ORDER_LIMIT_MS || order.begun.since_ms(wall) > ORDER_LIMIT_MS
}

/// Tells when the next order begins; `None` when that is now. It begins when the certificate is renewed, at once where it is not one
/// that was got for these hosts, and not before a pause is over.
#[must_use]
pub fn begins(automatic: &Automatic, shown: Option<&CertificateFacts>, wall: Timestamp) -> Option<Timestamp> {
    let got = automatic.progress.got;
    let is_good = |facts: &&CertificateFacts| {
        got == Some(facts.digest) && automatic.request.hosts.iter().all(|host| facts.covers(host))
    };
    let due = shown.filter(is_good).map_or(Timestamp::default(), renewal);
    let pause = Some(automatic.progress.not_before).filter(|until| !has_come(*until, wall));
    Some(due.max(pause.unwrap_or_default())).filter(|at| *at > wall)
}

/// Tells in which order kinds of challenges are tried, the best first.
///
/// What was asked for alone counts. Otherwise it is what listens where authorities look: port 80 for plain HTTP, 443 for TLS; where
/// both or neither of these is known to listen, plain HTTP first. After a failure the other one has its turn, where there is https.
#[must_use]
pub fn kinds(
    asked: Option<ChallengeKind>,
    plain_port: u16,
    https_port: Option<u16>,
    failures: u32,
) -> Vec<ChallengeKind> {
    if let Some(kind) = asked {
        return vec![kind];
    }
    if https_port.is_none() {
        return vec![ChallengeKind::Http01];
    }
    let mut kinds = vec![ChallengeKind::Http01, ChallengeKind::TlsAlpn01];
    let is_tls_first = https_port == Some(443) && plain_port != 80;
    if is_tls_first != (failures % 2 == 1) {
        kinds.reverse();
    }
    kinds
}

impl Progress {
    /// An order was placed.
    #[must_use]
    pub fn placed(&self, url: String, key: String, wall: Timestamp) -> Self {
        let order = Order { url, key, begun: wall, stage: OrderStage::Placed };
        Self { order: Some(order), ..self.clone() }
    }

    /// The authority said how it will look. Where it need not look at all, because it has lately, gateways answer nothing.
    #[must_use]
    pub fn answering(&self, answers: Vec<ChallengeAnswer>) -> Self {
        self.at_stage(|_| match answers.is_empty() {
            true => OrderStage::Told { answers },
            false => OrderStage::Answering { answers },
        })
    }

    /// The authority was told to look.
    #[must_use]
    pub fn told(&self) -> Self {
        self.at_stage(|stage| match stage {
            OrderStage::Answering { answers } => OrderStage::Told { answers },
            stage => stage,
        })
    }

    fn at_stage(&self, change: impl FnOnce(OrderStage) -> OrderStage) -> Self {
        let order = self.order.clone().map(|order| Order { stage: change(order.stage.clone()), ..order });
        Self { order, ..self.clone() }
    }

    /// A certificate came. Also one that would have to be renewed already is not ordered anew at once.
    #[must_use]
    pub fn done(facts: &CertificateFacts, wall: Timestamp) -> Self {
        let not_before = wall.plus_ms(pause_after_good_ms(facts));
        Self { got: Some(facts.digest), not_before, ..Self::default() }
    }

    /// It failed: the order is over, and another one is placed after a pause.
    #[must_use]
    pub fn failed(
        &self,
        why: &str,
        cost: Cost,
        asked_ms: Option<u64>,
        (wall, random): (Timestamp, u64),
    ) -> Self {
        let failures = self.failures.saturating_add(1);
        let not_before = wall.plus_ms(pause_ms(failures, cost, asked_ms, random));
        Self { got: self.got, order: None, failures, not_before, problem: Some(said(why)) }
    }

    /// Somebody does not want to wait for the pause.
    #[must_use]
    pub fn at_once(&self) -> Self {
        Self { got: None, not_before: Timestamp::default(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::acme::AcmeRequest;
    use crate::digest::Digest;

    fn automatic(progress: Progress) -> Automatic {
        let request = AcmeRequest {
            directory: super::super::LETS_ENCRYPT.into(),
            hosts: vec!["shop.test".into()],
            challenge: None,
            email: None,
            external_account: None,
            ca: None,
            account: "a".into(),
        };
        Automatic { progress, ..Automatic::begin(request, Timestamp(0), crate::name::Actor::lockstep()) }
    }

    fn facts(host: &str, from: u64) -> CertificateFacts {
        CertificateFacts {
            digest: Digest::from_bytes([0; 32]),
            names: vec![host.into()],
            issuer: "us".into(),
            key_kind: "ECDSA P-256".into(),
            valid_from: Timestamp(from),
            valid_until: Timestamp(from + 90 * DAY_MS),
        }
    }

    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    const NOW: Timestamp = Timestamp(1_000 * DAY_MS);

    fn answers() -> Vec<ChallengeAnswer> {
        vec![ChallengeAnswer {
            kind: ChallengeKind::Http01,
            host: "shop.test".into(),
            token: "t".into(),
            key_authorization: "t.k".into(),
        }]
    }

    #[test]
    fn an_order_goes_its_way_and_gateways_answer_from_before_the_authority_is_told_to_the_end() {
        let begun = automatic(Progress::default());
        assert_eq!(next(&begun, None, true, NOW), Step::Place);
        let placed = automatic(begun.progress.placed("u".into(), "k".into(), NOW));
        assert_eq!((next(&placed, None, true, NOW), placed.answers().len()), (Step::Ask, 0));
        let answering = automatic(placed.progress.answering(answers()));
        assert_eq!((next(&answering, None, false, NOW), answering.answers().len()), (Step::AwaitGateways, 1));
        assert_eq!(next(&answering, None, true, NOW), Step::Tell);
        let told = automatic(answering.progress.told());
        assert_eq!((next(&told, None, false, NOW), told.answers().len()), (Step::Follow, 1));
        let shown = facts("shop.test", NOW.0);
        let done = automatic(Progress::done(&shown, NOW));
        assert_eq!(done.answers(), []);
        let until = renewal(&shown);
        assert_eq!(next(&done, Some(&shown), true, NOW), Step::Wait { until });
        assert_eq!(next(&done, Some(&shown), true, until), Step::Place);
    }

    #[test]
    fn a_certificate_that_is_old_when_it_comes_is_not_ordered_anew_at_once() {
        let old = facts("shop.test", NOW.0 - 80 * DAY_MS);
        let done = automatic(Progress::done(&old, NOW));
        assert!(renewal(&old) < NOW);
        assert!(
            matches!(next(&done, Some(&old), true, NOW), Step::Wait { until } if until.since_ms(NOW) > DAY_MS)
        );
    }

    #[test]
    fn what_the_authority_looked_at_lately_needs_no_answer() {
        let placed = Progress::default().placed("u".into(), "k".into(), NOW);
        assert_eq!(next(&automatic(placed.answering(Vec::new())), None, false, NOW), Step::Follow);
    }

    #[test]
    fn a_certificate_of_other_hosts_or_from_elsewhere_is_renewed_at_once_but_not_within_a_pause() {
        let got = automatic(Progress { got: Some(Digest::from_bytes([0; 32])), ..Progress::default() });
        assert!(matches!(next(&got, Some(&facts("shop.test", NOW.0)), true, NOW), Step::Wait { .. }));
        assert_eq!(next(&got, Some(&facts("other.test", NOW.0)), true, NOW), Step::Place);
        let other = automatic(Progress { got: Some(Digest::from_bytes([1; 32])), ..Progress::default() });
        assert_eq!(next(&other, Some(&facts("shop.test", NOW.0)), true, NOW), Step::Place);
        let failed = automatic(other.progress.failed("no", Cost::Nothing, None, (NOW, 0)));
        assert!(matches!(next(&failed, None, true, NOW), Step::Wait { until } if until > NOW));
        assert_eq!(next(&automatic(failed.progress.at_once()), None, true, NOW), Step::Place);
    }

    #[test]
    fn kinds_follow_what_listens_and_take_turns_after_a_failure() {
        use ChallengeKind::{Http01, TlsAlpn01};
        assert_eq!(kinds(Some(TlsAlpn01), 80, None, 1), [TlsAlpn01]);
        assert_eq!(kinds(None, 8_500, None, 1), [Http01]);
        assert_eq!(kinds(None, 80, Some(443), 0), [Http01, TlsAlpn01]);
        assert_eq!(kinds(None, 80, Some(443), 1), [TlsAlpn01, Http01]);
        assert_eq!(kinds(None, 8_500, Some(443), 0), [TlsAlpn01, Http01]);
        assert_eq!(kinds(None, 8_500, Some(443), 1), [Http01, TlsAlpn01]);
        assert_eq!(kinds(None, 8_500, Some(8_443), 2), [Http01, TlsAlpn01]);
    }

    /// What can happen to a certificate that renews itself.
    #[derive(Debug, Clone)]
    enum Happens {
        Passes(u64),
        Confirmed,
        /// It goes well; a certificate is so many days old when it comes.
        Good(u64),
        Fails(bool),
        Restarted,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            (0..4 * DAY_MS).prop_map(Happens::Passes),
            (0..60_000_u64).prop_map(Happens::Passes),
            Just(Happens::Confirmed),
            (0..100_u64).prop_map(Happens::Good),
            Just(Happens::Good(0)),
            any::<bool>().prop_map(Happens::Fails),
            Just(Happens::Restarted),
        ]
    }

    proptest! {
        /// Whatever happens, and however often the server is started anew: an order is placed only when there is none, the authority is
        /// told only what every gateway answers, and no more orders are placed than the authority allows.
        #[test]
        fn orders_are_never_placed_twice_nor_more_often_than_is_allowed(all in prop::collection::vec(happens(), 0..200)) {
            let (mut it, mut shown, mut wall) = (automatic(Progress::default()), None::<CertificateFacts>, NOW);
            let (mut confirmed, mut placed, mut issued, mut serial) = (false, Vec::new(), Vec::new(), 0_u8);
            for one in all {
                let step = next(&it, shown.as_ref(), confirmed, wall);
                let progress = &it.progress;
                let after = match (&one, &step) {
                    (Happens::Passes(ms), _) => { wall = wall.plus_ms(*ms); None }
                    (Happens::Confirmed, _) => { confirmed = true; None }
                    // What is recorded is all that there is.
                    (Happens::Restarted, _) => {
                        confirmed = false;
                        let text = serde_json::to_string(&it).unwrap();
                        prop_assert_eq!(&serde_json::from_str::<Automatic>(&text).unwrap(), &it);
                        None
                    }
                    (_, Step::Wait { until }) => { prop_assert!(*until > wall); None }
                    (_, Step::AwaitGateways) => { prop_assert!(!confirmed); None }
                    (_, Step::GiveUp) => Some(progress.failed("late", Cost::Nothing, None, (wall, 0))),
                    (Happens::Fails(in_vain), step) => {
                        let cost = if *in_vain && *step == Step::Follow { Cost::Issued } else { Cost::Nothing };
                        if *step == Step::Place { placed.push(wall); }
                        if cost == Cost::Issued { issued.push(wall); }
                        Some(progress.failed("no", cost, None, (wall, 0)))
                    }
                    (Happens::Good(_), Step::Place) => {
                        prop_assert!(progress.order.is_none());
                        placed.push(wall);
                        confirmed = false;
                        Some(progress.placed("u".into(), "k".into(), wall))
                    }
                    (Happens::Good(_), Step::Ask) => { confirmed = false; Some(progress.answering(answers())) }
                    (Happens::Good(_), Step::Tell) => {
                        prop_assert!(confirmed && !it.answers().is_empty());
                        Some(progress.told())
                    }
                    (Happens::Good(age), Step::Follow) => {
                        serial += 1;
                        let from = wall.0 - age * DAY_MS;
                        let fresh = CertificateFacts { digest: Digest::from_bytes([serial; 32]), ..facts("shop.test", from) };
                        let after = Progress::done(&fresh, wall);
                        issued.push(wall);
                        shown = Some(fresh);
                        Some(after)
                    }
                };
                it.progress = after.unwrap_or(it.progress);
            }
            for (index, at) in placed.iter().enumerate() {
                let within = |ms: u64| placed[index..].iter().take_while(|it| it.since_ms(*at) < ms).count();
                prop_assert!(within(60 * 60 * 1_000) <= 5, "{placed:?}");
            }
            for (index, at) in issued.iter().enumerate() {
                let in_week = issued[index..].iter().take_while(|it| it.since_ms(*at) < 7 * DAY_MS).count();
                prop_assert!(in_week <= 5, "{issued:?}");
            }
        }
    }
}
