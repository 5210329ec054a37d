//! Patterns of strings and names: compared as languages, never run without a bound.
//!
//! A pattern becomes a finite automaton within [`MAX_AUTOMATON_BYTES`]; inclusion, intersection and samples are walks over
//! automata. What an automaton cannot hold (look-around, back references) or what grows too large has no answer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, MatchKind, util::start, util::syntax};

/// The most memory for one automaton: real patterns need a few kilobytes, hostile ones would take gigabytes.
const MAX_AUTOMATON_BYTES: usize = 1 << 19;

/// The longest pattern that is looked at.
const MAX_PATTERN_BYTES: usize = 4096;

/// The most states visited in one walk over one or two automata.
const MAX_STEPS: usize = 1 << 14;

/// The most memory for all automata of one comparison.
const MAX_BUILT_BYTES: usize = 1 << 26;

/// The most states visited in all walks of one comparison.
const MAX_VISITED: usize = 1 << 20;

type Dfa = dense::DFA<Vec<u32>>;

/// The patterns met so far, compiled once.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    compiled: HashMap<Rc<str>, Option<Rc<Dfa>>>,
    included: HashMap<(Rc<str>, Rc<str>), Inclusion>,
    /// Bytes of automata built, and those given up.
    built: usize,
    /// States visited in all walks.
    visited: usize,
}

/// Whether every string of one pattern is one of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inclusion {
    Yes,
    /// The shortest string that only the first pattern allows.
    No(String),
    Unknown,
}

impl Patterns {
    /// Begins the work of another flow, with new bounds; what was given up is looked at again.
    pub(super) fn begin(&mut self) {
        if self.visited > MAX_VISITED || self.built > MAX_BUILT_BYTES {
            *self = Self::default();
        }
        self.visited = 0;
    }

    /// Whether `text` holds a match of `pattern`; `None` when the pattern cannot be run in bounded time.
    pub(super) fn matches(&mut self, pattern: &Rc<str>, text: &str) -> Option<bool> {
        let dfa = self.compile(pattern)?;
        let mut state = begin(&dfa)?;
        for byte in text.bytes() {
            state = dfa.next_state(state, byte);
        }
        Some(accepts(&dfa, state))
    }

    /// Whether every string that `narrow` matches is matched by `wide`.
    pub(super) fn include(&mut self, wide: &Rc<str>, narrow: &Rc<str>) -> Inclusion {
        if wide == narrow || matches_everything(wide) {
            return Inclusion::Yes;
        }
        let key = (Rc::clone(wide), Rc::clone(narrow));
        if let Some(known) = self.included.get(&key) {
            return known.clone();
        }
        let answer = match (self.compile(narrow), self.compile(wide)) {
            (Some(narrow), Some(wide)) => {
                match self.search(&[&narrow, &wide], |found| found[0] && !found[1], 0) {
                    Found::Text(text) => Inclusion::No(text),
                    Found::Nothing => Inclusion::Yes,
                    Found::TooMuch => Inclusion::Unknown,
                }
            }
            _ => Inclusion::Unknown,
        };
        self.included.insert(key, answer.clone());
        answer
    }

    /// Whether every string that all of `narrow` match is matched by `wide`.
    pub(super) fn include_all(&mut self, wide: &Rc<str>, narrow: &[Rc<str>]) -> Inclusion {
        let mut is_unknown = false;
        for pattern in narrow {
            match self.include(wide, pattern) {
                Inclusion::Yes => return Inclusion::Yes,
                Inclusion::No(text) if narrow.len() == 1 => return Inclusion::No(text),
                Inclusion::No(_) => {}
                Inclusion::Unknown => is_unknown = true,
            }
        }
        let automata: Option<Vec<Rc<Dfa>>> =
            narrow.iter().chain([wide]).map(|pattern| self.compile(pattern)).collect();
        let Some(automata) = automata.filter(|_| !is_unknown) else { return Inclusion::Unknown };
        let automata: Vec<&Dfa> = automata.iter().map(|dfa| &**dfa).collect();
        let count = narrow.len();
        let fits = |found: &[bool]| found[..count].iter().all(|found| *found) && !found[count];
        match self.search(&automata, fits, 0) {
            Found::Text(text) => Inclusion::No(text),
            Found::Nothing => Inclusion::Yes,
            Found::TooMuch => Inclusion::Unknown,
        }
    }

    /// True when no string matches both patterns.
    pub(super) fn disjoint(&mut self, one: &Rc<str>, other: &Rc<str>) -> bool {
        let (Some(one), Some(other)) = (self.compile(one), self.compile(other)) else { return false };
        self.search(&[&one, &other], |found| found[0] && found[1], 0) == Found::Nothing
    }

    /// The shortest string of at least `min_length` characters that all of `wanted` match and `unwanted` does not.
    pub(super) fn sample(
        &mut self,
        wanted: &[Rc<str>],
        unwanted: Option<&Rc<str>>,
        min_length: u64,
    ) -> Option<String> {
        let min_length = usize::try_from(min_length).ok().filter(|length| *length <= MAX_STEPS)?;
        let mut automata = Vec::new();
        for pattern in wanted.iter().chain(unwanted) {
            automata.push(self.compile(pattern)?);
        }
        let automata: Vec<&Dfa> = automata.iter().map(|dfa| &**dfa).collect();
        let count = wanted.len();
        let fits = |found: &[bool]| {
            found[..count].iter().all(|found| *found) && !found[count..].iter().any(|found| *found)
        };
        match self.search(&automata, fits, min_length) {
            Found::Text(text) => Some(text),
            Found::Nothing | Found::TooMuch => None,
        }
    }

    /// Whether some string of at least `min_length` characters matches all patterns; `None` when it cannot be told.
    pub(super) fn reach(&mut self, patterns: &[Rc<str>], min_length: u64) -> Option<bool> {
        let min_length = usize::try_from(min_length).ok().filter(|length| *length <= MAX_STEPS)?;
        let automata: Vec<Rc<Dfa>> =
            patterns.iter().map(|pattern| self.compile(pattern)).collect::<Option<_>>()?;
        let automata: Vec<&Dfa> = automata.iter().map(|dfa| &**dfa).collect();
        match self.search(&automata, |found| found.iter().all(|found| *found), min_length) {
            Found::Text(_) => Some(true),
            Found::Nothing => Some(false),
            Found::TooMuch => None,
        }
    }

    /// A walk that counts what it visits.
    fn search(&mut self, automata: &[&Dfa], fits: impl Fn(&[bool]) -> bool, min_length: usize) -> Found {
        if self.visited > MAX_VISITED {
            return Found::TooMuch;
        }
        let (found, visited) = search(automata, fits, min_length);
        self.visited += visited;
        found
    }

    fn compile(&mut self, pattern: &Rc<str>) -> Option<Rc<Dfa>> {
        if let Some(known) = self.compiled.get(pattern) {
            return known.clone();
        }
        let built = if self.built > MAX_BUILT_BYTES { None } else { build(pattern).map(Rc::new) };
        self.built += built.as_ref().map_or(MAX_AUTOMATON_BYTES, |dfa| dfa.memory_usage());
        self.compiled.insert(Rc::clone(pattern), built.clone());
        built
    }
}

/// True for the usual ways to write a pattern that any string matches.
pub(super) fn matches_everything(pattern: &str) -> bool {
    matches!(
        pattern,
        "" | ".*" | "^" | "$" | "^.*" | ".*$" | "^.*$" | "(.*)" | "^(.*)$" | "[\\s\\S]*" | "^[\\s\\S]*$"
    )
}

fn build(pattern: &str) -> Option<Dfa> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return None;
    }
    let pattern = ecma_to_rust(pattern)?;
    let nfa = thompson::Config::new().nfa_size_limit(Some(MAX_AUTOMATON_BYTES)).shrink(false);
    let config = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Unanchored)
        .accelerate(false)
        .dfa_size_limit(Some(MAX_AUTOMATON_BYTES))
        .determinize_size_limit(Some(MAX_AUTOMATON_BYTES));
    // Everything after a match is free in a search, so the automaton stays accepting once it has matched.
    let searching = format!("(?:{pattern})(?s:.)*");
    let mut builder = dense::Builder::new();
    let builder = builder.configure(config).thompson(nfa).syntax(syntax::Config::new().nest_limit(64));
    builder.build(&searching).ok()
}

/// Rewrites what ECMA-262 and this crate read differently: `\d`, `\w` and `\s` are about ASCII there, `\/` and `\-` are escapes
/// of themselves, and control letters exist. `None` for what has no counterpart.
fn ecma_to_rust(pattern: &str) -> Option<String> {
    let mut rewritten = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => rewritten.push_str(&escape(characters.next()?, &mut characters, in_class)?),
            '[' if in_class => rewritten.push_str("\\["),
            '[' => {
                in_class = true;
                rewritten.push('[');
            }
            ']' => {
                in_class = false;
                rewritten.push(']');
            }
            '&' | '~' if in_class => rewritten.extend(['\\', character]),
            '.' if !in_class => rewritten.push_str("[^\\n\\r\\u{2028}\\u{2029}]"),
            character => rewritten.push(character),
        }
    }
    Some(rewritten)
}

fn escape(letter: char, rest: &mut std::str::Chars<'_>, in_class: bool) -> Option<String> {
    let brackets = |inner: &str| if in_class { inner.to_owned() } else { format!("[{inner}]") };
    match letter {
        'd' => Some(brackets("0-9")),
        'w' => Some(brackets("0-9A-Za-z_")),
        'D' if !in_class => Some("[^0-9]".to_owned()),
        'W' if !in_class => Some("[^0-9A-Za-z_]".to_owned()),
        'b' if in_class => Some("\\x08".to_owned()),
        'b' | 'B' | 'D' | 'W' | 'c' | 'k' | '1'..='9' => None,
        '0' => Some("\\x00".to_owned()),
        'u' => {
            let digits: String = rest.by_ref().take(4).collect();
            digits.chars().all(|digit| digit.is_ascii_hexdigit()).then(|| format!("\\u{{{digits}}}"))
        }
        'x' | 'p' | 'P' | 's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v' => Some(format!("\\{letter}")),
        letter if letter.is_ascii_alphanumeric() => None,
        letter if letter.is_ascii_punctuation() => Some(format!("\\{letter}")),
        letter => Some(letter.to_string()),
    }
}

fn begin(dfa: &Dfa) -> Option<StateID> {
    dfa.start_state(&start::Config::new().anchored(Anchored::No)).ok()
}

fn accepts(dfa: &Dfa, state: StateID) -> bool {
    dfa.is_match_state(dfa.next_eoi_state(state))
}

#[derive(PartialEq, Eq)]
enum Found {
    Text(String),
    Nothing,
    TooMuch,
}

/// Finds the shortest text, by characters of a small alphabet first, on which the automata accept as `fits` asks, and tells
/// how many states it visited.
fn search(automata: &[&Dfa], fits: impl Fn(&[bool]) -> bool, min_length: usize) -> (Found, usize) {
    let Some(start) = automata.iter().map(|dfa| begin(dfa)).collect::<Option<Vec<_>>>() else {
        return (Found::TooMuch, 0);
    };
    let mut nodes = vec![Visit { states: start.clone(), parent: usize::MAX, byte: 0, length: 0 }];
    let mut seen = HashSet::from([(start, 0_usize, 0_u8)]);
    let mut waiting = VecDeque::from([(0_usize, Utf8::START)]);
    while let Some((index, utf8)) = waiting.pop_front() {
        let visit = nodes[index].clone();
        if utf8 == Utf8::START && visit.length >= min_length {
            let found: Vec<bool> =
                automata.iter().zip(&visit.states).map(|(dfa, state)| accepts(dfa, *state)).collect();
            if fits(&found) {
                return (spell(&nodes, index), nodes.len());
            }
        }
        let mut last = None;
        for byte in preferred_bytes() {
            let Some(next) = utf8.after(byte) else { continue };
            let states: Vec<_> =
                automata.iter().zip(&visit.states).map(|(dfa, at)| dfa.next_state(*at, byte)).collect();
            if last.as_ref() == Some(&(states.clone(), next)) {
                continue;
            }
            last = Some((states.clone(), next));
            let length = if next == Utf8::START { visit.length + 1 } else { visit.length };
            if seen.insert((states.clone(), length.min(min_length), next.0)) {
                waiting.push_back((nodes.len(), next));
                nodes.push(Visit { states, parent: index, byte, length });
            }
        }
        if nodes.len() > MAX_STEPS {
            return (Found::TooMuch, nodes.len());
        }
    }
    (Found::Nothing, nodes.len())
}

#[derive(Clone)]
struct Visit {
    states: Vec<StateID>,
    parent: usize,
    byte: u8,
    length: usize,
}

fn spell(nodes: &[Visit], mut index: usize) -> Found {
    let mut bytes = Vec::new();
    while nodes[index].parent != usize::MAX {
        bytes.push(nodes[index].byte);
        index = nodes[index].parent;
    }
    bytes.reverse();
    String::from_utf8(bytes).map_or(Found::TooMuch, Found::Text)
}

/// How many continuation bytes are still due, with the range of the next one: strings are UTF-8, so walks stay in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Utf8(u8);

impl Utf8 {
    const START: Self = Self(0);

    /// States: 0 start; 1, 2, 3 continuation bytes due; 4 after E0, 5 after ED, 6 after F0, 7 after F4.
    fn after(self, byte: u8) -> Option<Self> {
        let next = match (self.0, byte) {
            (0, 0x00..=0x7f) | (1, 0x80..=0xbf) => 0,
            (0, 0xc2..=0xdf) | (2, 0x80..=0xbf) | (4, 0xa0..=0xbf) | (5, 0x80..=0x9f) => 1,
            (0, 0xe0) => 4,
            (0, 0xed) => 5,
            (0, 0xe1..=0xef) | (3, 0x80..=0xbf) | (6, 0x90..=0xbf) | (7, 0x80..=0x8f) => 2,
            (0, 0xf0) => 6,
            (0, 0xf4) => 7,
            (0, 0xf1..=0xf3) => 3,
            _ => return None,
        };
        Some(Self(next))
    }
}

/// All bytes, letters and digits first, so that samples read well.
fn preferred_bytes() -> impl Iterator<Item = u8> {
    let letters = (b'a'..=b'z').chain(b'0'..=b'9').chain(b'A'..=b'Z');
    letters.chain((0x20..=0xff_u8).filter(|byte| !byte.is_ascii_alphanumeric())).chain(0..0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn include(wide: &str, narrow: &str) -> Inclusion {
        Patterns::default().include(&wide.into(), &narrow.into())
    }

    #[test]
    fn inclusion_is_decided_with_the_shortest_counter_example() {
        assert_eq!(include("^[a-z]+$", "^[a-c]{2}$"), Inclusion::Yes);
        assert_eq!(include("^[a-c]+$", "^[a-d]+$"), Inclusion::No("d".into()));
        assert_eq!(include("b", "abc"), Inclusion::Yes);
        assert_eq!(include("^\\w+$", "^\\d+$"), Inclusion::Yes);
        assert_eq!(include("^.$", "^\\u00e9$"), Inclusion::Yes);
        assert_eq!(include("^[^a]*$", "^[\\s\\S]$"), Inclusion::No("a".into()));
    }

    #[test]
    fn what_no_automaton_can_hold_is_unknown() {
        for hard in ["^(?!a)b$", "(a)\\1", "\\bword\\b", "(((a{1,900}){1,900}){1,900}){1,900}", "("] {
            assert_eq!(include(hard, "^x$"), Inclusion::Unknown, "{hard}");
        }
        assert_eq!(include("(?!a)", "(?!a)"), Inclusion::Yes, "a pattern includes itself");
    }

    #[test]
    fn samples_match_and_are_long_enough() {
        let mut patterns = Patterns::default();
        let sample = patterns.sample(&["^[A-Z]+-[0-9]+$".into()], None, 6).expect("sample");
        assert_eq!(sample.len(), 6);
        assert_eq!(patterns.matches(&"^[A-Z]+-[0-9]+$".into(), &sample), Some(true));
        assert_eq!(patterns.sample(&["^a$".into()], Some(&"a".into()), 0), None);
    }

    #[test]
    fn patterns_without_a_common_string_are_disjoint() {
        assert!(Patterns::default().disjoint(&"^x-".into(), &"^[a-w]".into()));
        assert!(!Patterns::default().disjoint(&"^x-".into(), &"a$".into()));
    }
}
