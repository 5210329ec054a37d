//! Why rules contradict each other, as a person would say it: what is certain, what follows from it, and where nothing follows, case by case.

use std::ops::Range;

use lockstep_solver::{Cause, Need, Rule, Versions};

use crate::question::Question;

/// More sentences than this help nobody.
const MOST: usize = 60;

/// Tells step by step why no versions keep the rules of all these causes.
pub(crate) fn derive(numbered: &Question, core: &[Cause]) -> Vec<String> {
    let rules = core.iter().flat_map(|&cause| numbered.rules_of(cause)).collect();
    let mut left: Left =
        numbered.problem.services.iter().map(|service| vec![true; service.versions as usize]).collect();
    let mut derivation = Derivation { numbered, rules, told: Vec::new() };
    if core.iter().all(|cause| derivation.begin(*cause, &mut left)) {
        derivation.follow(left, 0);
    }
    derivation.told
}

/// Which versions of each service are left.
type Left = Vec<Vec<bool>>;

struct Derivation<'a> {
    numbered: &'a Question,
    rules: Vec<&'a (Cause, Rule)>,
    told: Vec<String>,
}

impl Derivation<'_> {
    fn tell(&mut self, depth: usize, text: &str) {
        if self.told.len() < MOST {
            self.told.push(format!("{}{text}", "  ".repeat(depth)));
        } else if self.told.len() == MOST {
            self.told.push("and so on: every other case ends in the same way.".into());
        }
    }

    /// Takes away what a wish or a pin excludes, and tells that once; returns whether every service has something left.
    fn begin(&mut self, cause: Cause, left: &mut Left) -> bool {
        let bars = self.numbered.rules_of(cause).iter().filter_map(|(_, rule)| match rule {
            Rule::Bar(bar) => Some(bar),
            Rule::Need(_) | Rule::Never(_) => None,
        });
        let bars: Vec<_> = bars.collect();
        let Some(service) = bars.first().map(|bar| bar.service) else { return true };
        for (at, is_left) in (0_u32..).zip(&mut left[service]) {
            *is_left &= bars.iter().all(|bar| !bar.versions.contains(&at));
        }
        let is_left = left[service].contains(&true);
        let end = if is_left {
            String::new()
        } else {
            format!(": no version of {} is left", self.numbered.name(service))
        };
        self.tell(0, &format!("{}{end}.", self.numbered.told(cause)));
        is_left
    }

    /// Narrows what is left by one rule after the other until a service has nothing left, or nothing follows any more.
    fn follow(&mut self, mut left: Left, depth: usize) {
        loop {
            let mut narrowed = false;
            for (cause, rule) in self.rules.clone() {
                let Some(Narrowing { service, versions, inside }) = narrowing(rule, &left) else { continue };
                let kept =
                    (0_u32..).zip(&left[service]).map(|(at, is)| *is && versions.contains(at) == inside);
                let kept: Vec<bool> = kept.collect();
                if kept != left[service] {
                    left[service] = kept;
                    narrowed = true;
                    let told = self.step(*cause, service, &left);
                    self.tell(depth, &told);
                    if !left[service].contains(&true) || self.told.len() > MOST {
                        return;
                    }
                }
            }
            if !narrowed {
                return self.split(&left, depth);
            }
        }
    }

    /// A need, and what it leaves.
    fn step(&self, cause: Cause, service: usize, left: &Left) -> String {
        let (name, told) = (self.numbered.name(service), self.numbered.told(cause));
        let rest = self.rest(service, &left[service]);
        if rest.is_empty() {
            return format!("{told}: no version of {name} is left.");
        }
        format!("{told}: so {name} has to be {rest}.")
    }

    /// "at 1.0.0", "from 1.0.0 to 1.3.0", "at 1.0.0 or from 2.0.0 to 2.2.0".
    fn rest(&self, service: usize, left: &[bool]) -> String {
        let version = |at: u32| self.numbered.version(service, at);
        let part = |run: Range<u32>| match run.end - run.start {
            1 if self.numbered.is_absent(service, run.start) => "not there".to_owned(),
            1 => format!("at {}", version(run.start)),
            _ => format!("from {} to {}", version(run.start), version(run.end - 1)),
        };
        let real = [self.numbered.services[service].real()];
        let parts = runs(left).into_iter().flat_map(|run| cut(run, &real));
        parts.map(part).collect::<Vec<_>>().join(" or ")
    }

    /// Where nothing follows, looks at the parts of one service's versions that rules tell apart, one after the other.
    fn split(&mut self, left: &Left, depth: usize) {
        let cases = |service: usize| self.cases(service, &left[service]);
        let Some(service) =
            (0..left.len()).filter(|&it| cases(it).len() > 1).min_by_key(|&it| cases(it).len())
        else {
            return;
        };
        for case in self.cases(service, &left[service]) {
            let mut left = left.clone();
            left[service] = (0_u32..).zip(&left[service]).map(|(at, is)| *is && case.contains(&at)).collect();
            let told =
                format!("If {} is {}:", self.numbered.name(service), self.rest(service, &left[service]));
            self.tell(depth, &told);
            if self.told.len() > MOST {
                return;
            }
            self.follow(left, depth + 1);
        }
    }

    /// The versions that are left, cut where some need of the service begins or ends.
    fn cases(&self, service: usize, left: &[bool]) -> Vec<Range<u32>> {
        let ends = |need: &Need| {
            let own = [(need.consumer, &need.used), (need.provider, &need.offered)];
            let own =
                own.into_iter().filter(|(of, _)| *of == service).flat_map(|(_, it)| it.parts().to_vec());
            own.collect::<Vec<_>>()
        };
        let parts = |rule: &Rule| match rule {
            Rule::Need(need) => ends(need),
            Rule::Never(all) => {
                all.iter().filter(|bar| bar.service == service).map(|bar| bar.versions.clone()).collect()
            }
            Rule::Bar(_) => Vec::new(),
        };
        let parts = self.rules.iter().flat_map(|(_, rule)| parts(rule));
        let mut cuts: Vec<u32> = parts.flat_map(|part| [part.start, part.end]).collect();
        cuts.sort_unstable();
        runs(left).into_iter().flat_map(|run| cut(run, &cuts)).collect()
    }
}

/// What a rule leaves of a service: nothing but some versions, or all but some.
struct Narrowing {
    service: usize,
    versions: Versions,
    inside: bool,
}

/// What follows from a rule; `None` when nothing does yet.
fn narrowing(rule: &Rule, left: &Left) -> Option<Narrowing> {
    let all = |service: usize, versions: &Versions, inside: bool| {
        (0_u32..).zip(&left[service]).all(|(at, is)| !is || versions.contains(at) == inside)
    };
    match rule {
        Rule::Bar(_) => None,
        Rule::Need(need) if all(need.consumer, &need.used, true) => {
            Some(Narrowing { service: need.provider, versions: need.offered.clone(), inside: true })
        }
        Rule::Need(need) => all(need.provider, &need.offered, false).then(|| Narrowing {
            service: need.consumer,
            versions: need.used.clone(),
            inside: false,
        }),
        // All of it but one is so in any case, so that one is not.
        Rule::Never(bars) => {
            let open = bars.iter().filter(|bar| !all(bar.service, &bar.versions.clone().into(), true));
            let open: Vec<_> = open.collect();
            let last = match open.as_slice() {
                [] => bars.first()?,
                [one] => one,
                _ => return None,
            };
            let versions = last.versions.clone().into();
            Some(Narrowing { service: last.service, versions, inside: false })
        }
    }
}

/// The unbroken parts of what is left.
fn runs(left: &[bool]) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for at in (0_u32..).zip(left).filter_map(|(at, is)| is.then_some(at)) {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// A range in pieces, cut at sorted places.
fn cut(range: Range<u32>, cuts: &[u32]) -> Vec<Range<u32>> {
    let inner = cuts.iter().copied().filter(|at| range.start < *at && *at < range.end);
    let mut places: Vec<u32> = [range.start].into_iter().chain(inner).chain([range.end]).collect();
    places.dedup();
    places.windows(2).map(|pair| pair[0]..pair[1]).collect()
}
