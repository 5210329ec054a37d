//! Reads JUnit XML: what test runners of all languages write.
//!
//! The file was written by the code under test, so nothing good of it is believed: counts come from the test cases, and
//! attributes can only make it worse. A suite that says of itself that tests failed or ran, and lists no such case, is a
//! failure. Attributes that are merely larger or smaller are not: several runners count assertions, or repetitions. A
//! document type (the way to entity expansion) is refused, and size, depth and number are bounded.

use std::io::BufRead;

use lockstep_domain::evidence::{MAX_FAILURE_MESSAGE, MAX_KEPT_FAILURES, TestFailure};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use thiserror::Error;

/// Largest report that is read, all files of a suite together: some hundred thousand test cases.
pub const MAX_REPORT_BYTES: u64 = 64 * 1024 * 1024;
/// Deepest nesting of elements; real reports have less than ten.
const MAX_DEPTH: usize = 100;
/// Longest name kept of a test.
const MAX_TEST_NAME: usize = 500;

/// Why a report cannot be believed.
#[derive(Debug, Error)]
pub enum JunitError {
    /// Not XML, or cut off.
    #[error("it is not well-formed XML at byte {offset}: {message}")]
    Malformed {
        /// Where reading stopped.
        offset: u64,
        /// What the reader found.
        message: String,
    },
    /// The end is missing.
    #[error("it ends inside `<{element}>`: the test run was probably cut off")]
    Truncated {
        /// The innermost open element.
        element: String,
    },
    /// It declares a document type, which a test report never needs.
    #[error("it declares a document type, which is refused because entities could be expanded without end")]
    DocumentType,
    /// It uses an entity that XML does not define by itself.
    #[error("it uses the undefined entity `&{name};`")]
    Entity {
        /// The entity.
        name: String,
    },
    /// Elements are nested deeper than any report nests them.
    #[error("its elements are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// It has no test suite.
    #[error(
        "it is not a JUnit report: the root is `<{root}>`, and `<testsuites>` or `<testsuite>` is expected"
    )]
    NotJunit {
        /// The name of the root element; empty when there is none.
        root: String,
    },
}

/// What the test cases of one or more reports say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JunitResult {
    /// Succeeded.
    pub passed: u64,
    /// Failed or ended in an error.
    pub failed: u64,
    /// Were not run.
    pub skipped: u64,
    /// The first [`MAX_KEPT_FAILURES`] failures.
    pub failures: Vec<TestFailure>,
}

impl JunitResult {
    /// Adds the result of another report.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        let room = MAX_KEPT_FAILURES.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }
}

/// Reads one report.
///
/// # Errors
/// When the file is not a whole, harmless JUnit report.
pub fn read(input: impl BufRead) -> Result<JunitResult, JunitError> {
    let mut reader = Reader::from_reader(input);
    let mut parser = Parser::default();
    let mut buffer = Vec::new();
    loop {
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) => return Err(parser.failed(reader.error_position(), &error)),
        };
        match event {
            Event::Start(element) => parser.open(&element)?,
            Event::Empty(element) => {
                parser.open(&element)?;
                parser.close();
            }
            Event::End(_) => parser.close(),
            Event::Text(text) => parser.text(&text),
            Event::CData(text) => parser.text(&text),
            Event::GeneralRef(reference) => parser.text(&resolve(&reference)?),
            Event::DocType(_) => return Err(JunitError::DocumentType),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return parser.finish(),
        }
        buffer.clear();
    }
}

#[derive(Debug, Default)]
struct Parser {
    path: Vec<String>,
    root: Option<String>,
    /// The suites that are open, the innermost last.
    suites: Vec<Suite>,
    /// The test cases that are open, the innermost last.
    cases: Vec<Case>,
    result: JunitResult,
}

/// A test suite that is being read, or the root of all.
#[derive(Debug)]
struct Suite {
    depth: usize,
    name: String,
    /// What it says of itself.
    claims: Claims,
    /// What was found in it so far, suites in it included.
    cases: u64,
    failed: u64,
    /// A failure of the suite itself, outside of any case: of its set-up, for example.
    own_failure: Option<Message>,
}

/// What a suite says of itself in attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Claims {
    tests: u64,
    failures: u64,
    errors: u64,
}

/// The test case that is being read.
#[derive(Debug)]
struct Case {
    depth: usize,
    name: String,
    verdict: Verdict,
    message: Message,
}

/// The text of a failure, bounded while it is read.
#[derive(Debug, Default)]
struct Message {
    text: String,
    /// The depth of the element whose text it is, while that is open.
    depth: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Passed,
    Skipped,
    Failed,
}

impl Parser {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), JunitError> {
        if self.path.len() >= MAX_DEPTH {
            return Err(JunitError::TooDeep);
        }
        let name = bounded(element.local_name().as_ref(), MAX_TEST_NAME);
        self.path.push(name);
        let depth = self.path.len();
        let name = &self.path[depth - 1];
        self.root.get_or_insert_with(|| name.clone());
        let parent = depth - 1;
        let case = self.cases.last_mut().filter(|case| case.depth == parent);
        let suite = self.suites.last_mut().filter(|suite| suite.depth == parent);
        match name.as_str() {
            "testcase" => self.cases.push(Case::new(depth, element)?),
            "testsuite" | "testsuites" => self.suites.push(Suite::new(depth, element)?),
            // A repetition is only written down when the test had failed before; one that passed then says `flaky...`.
            "failure" | "error" | "rerunFailure" | "rerunError" => match (case, suite) {
                (Some(case), _) => {
                    case.verdict = Verdict::Failed;
                    case.message.begin(depth, element)?;
                }
                (None, Some(suite)) => {
                    suite.own_failure.get_or_insert_default().begin(depth, element)?;
                }
                (None, None) => {}
            },
            "skipped" | "disabled" => {
                if let Some(case) = case {
                    case.verdict = case.verdict.max(Verdict::Skipped);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        let depth = self.path.len();
        self.path.pop();
        if let Some(message) = self.message_at(depth) {
            message.depth = None;
        }
        if let Some(case) = self.cases.pop_if(|case| case.depth == depth) {
            self.count(case);
        }
        if let Some(suite) = self.suites.pop_if(|suite| suite.depth == depth) {
            self.close_suite(suite);
        }
    }

    /// Finds the message whose text an element at this depth holds.
    fn message_at(&mut self, depth: usize) -> Option<&mut Message> {
        let of_case = self.cases.last_mut().map(|case| &mut case.message);
        let of_suite = self.suites.last_mut().and_then(|suite| suite.own_failure.as_mut());
        of_case.into_iter().chain(of_suite).find(|message| message.depth == Some(depth))
    }

    fn count(&mut self, case: Case) {
        if let Some(suite) = self.suites.last_mut() {
            suite.cases += 1;
        }
        match case.verdict {
            Verdict::Passed => self.result.passed += 1,
            Verdict::Skipped => self.result.skipped += 1,
            Verdict::Failed => self.fail(case.name, &case.message.text),
        }
    }

    fn close_suite(&mut self, suite: Suite) {
        let Suite { name, claims, mut cases, mut failed, own_failure, .. } = suite;
        if let Some(message) = own_failure {
            self.result.fail(name.clone(), &message.text);
            failed += 1;
        }
        if let Some(contradiction) = claims.contradiction(cases, failed) {
            self.result.fail(name, &contradiction);
            failed += 1;
            // Said once: the suites around it say the same of themselves.
            cases = cases.max(1);
        }
        if let Some(around) = self.suites.last_mut() {
            around.cases += cases;
            around.failed += failed;
        }
    }

    fn fail(&mut self, name: String, message: &str) {
        if let Some(suite) = self.suites.last_mut() {
            suite.failed += 1;
        }
        self.result.fail(name, message);
    }

    fn text(&mut self, text: &str) {
        let depth = self.path.len();
        if let Some(message) = self.message_at(depth) {
            message.say(text);
        }
    }

    fn finish(mut self) -> Result<JunitResult, JunitError> {
        if let Some(element) = self.path.pop() {
            return Err(JunitError::Truncated { element });
        }
        match self.root.as_deref() {
            Some("testsuites" | "testsuite") => Ok(self.result),
            root => Err(JunitError::NotJunit { root: root.unwrap_or_default().to_owned() }),
        }
    }

    /// A syntax error at the very end of the input is what a cut-off file looks like; both are told.
    fn failed(&mut self, offset: u64, error: &quick_xml::Error) -> JunitError {
        match (error, self.path.pop()) {
            (quick_xml::Error::Syntax(_), Some(element)) => JunitError::Truncated { element },
            _ => JunitError::Malformed { offset, message: error.to_string() },
        }
    }
}

impl JunitResult {
    fn fail(&mut self, name: String, message: &str) {
        self.failed += 1;
        if self.failures.len() < MAX_KEPT_FAILURES {
            let message = bounded(message.trim(), MAX_FAILURE_MESSAGE);
            self.failures.push(TestFailure { name, message });
        }
    }
}

impl Suite {
    fn new(depth: usize, element: &BytesStart<'_>) -> Result<Self, JunitError> {
        let name = attribute(element, "name")?.filter(|name| !name.is_empty());
        let name = bounded(name.as_deref().unwrap_or("a suite without a name"), MAX_TEST_NAME);
        let claims = Claims {
            tests: number(element, "tests")?,
            failures: number(element, "failures")?,
            errors: number(element, "errors")?,
        };
        Ok(Self { depth, name, claims, cases: 0, failed: 0, own_failure: None })
    }
}

impl Claims {
    /// Says what a suite says of itself and does not show.
    fn contradiction(self, cases: u64, failed: u64) -> Option<String> {
        let Self { tests, failures, errors } = self;
        if failures.saturating_add(errors) > 0 && failed == 0 {
            return Some(format!(
                "it says of itself that it has {failures} failures and {errors} errors, and lists no case that failed"
            ));
        }
        let shows_none = tests > 0 && cases == 0 && failed == 0;
        shows_none.then(|| format!("it says of itself that it has {tests} tests, and lists none"))
    }
}

impl Case {
    fn new(depth: usize, element: &BytesStart<'_>) -> Result<Self, JunitError> {
        let class = attribute(element, "classname")?.unwrap_or_default();
        let test = attribute(element, "name")?.unwrap_or_default();
        let name = match (class.as_str(), test.as_str()) {
            ("", "") => "a test without a name".to_owned(),
            ("", one) | (one, "") => one.to_owned(),
            (class, test) if test.starts_with(class) => test.to_owned(),
            (class, test) => format!("{class}.{test}"),
        };
        let name = bounded(&name, MAX_TEST_NAME);
        let status = attribute(element, "status")?.unwrap_or_default();
        Ok(Self { depth, name, verdict: Verdict::of_status(&status), message: Message::default() })
    }
}

impl Verdict {
    /// Some runners say in an attribute alone that a test did not run, or that it failed.
    fn of_status(status: &str) -> Self {
        match status.to_ascii_lowercase().as_str() {
            "fail" | "failed" | "failure" | "error" | "errored" | "broken" => Self::Failed,
            "notrun" | "disabled" | "skipped" | "skip" | "ignored" | "pending" => Self::Skipped,
            _ => Self::Passed,
        }
    }
}

impl Message {
    fn begin(&mut self, depth: usize, element: &BytesStart<'_>) -> Result<(), JunitError> {
        self.depth = Some(depth);
        if !self.text.is_empty() {
            self.say("\n");
        }
        if let Some(message) = attribute(element, "message")? {
            self.say(&message);
            self.say("\n");
        }
        Ok(())
    }

    /// Keeps a few more bytes than characters are shown, so that a huge text costs no memory.
    fn say(&mut self, text: &str) {
        let room = (4 * MAX_FAILURE_MESSAGE).saturating_sub(self.text.len());
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
    }
}

/// Reads a number of tests, perhaps written as `2.0`; what is none says nothing.
fn number(element: &BytesStart<'_>, name: &str) -> Result<u64, JunitError> {
    let value = attribute(element, name)?.unwrap_or_default();
    let digits: String = value.trim().chars().take_while(char::is_ascii_digit).collect();
    Ok(if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) })
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, JunitError> {
    let malformed = |message: String| JunitError::Malformed { offset: 0, message };
    let mut attributes = element.attributes();
    // The check for duplicates compares each with each: a hostile element with a million attributes would take hours.
    attributes.with_checks(false);
    for attribute in attributes {
        let attribute = attribute.map_err(|error| malformed(error.to_string()))?;
        if attribute.key.as_ref() == name {
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            return value.map(|value| Some(value.into_owned())).map_err(|error| malformed(error.to_string()));
        }
    }
    Ok(None)
}

/// Resolves characters by number and the five entities that XML defines by itself; there are no others.
fn resolve(reference: &BytesRef<'_>) -> Result<String, JunitError> {
    let unknown = || JunitError::Entity { name: bounded(reference, 80) };
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.to_string()),
        Ok(None) => {
            quick_xml::escape::resolve_predefined_entity(reference).map(str::to_owned).ok_or_else(unknown)
        }
        Err(_) => Err(unknown()),
    }
}

fn bounded(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<JunitResult, JunitError> {
        read(text.as_bytes())
    }

    #[test]
    fn counts_come_from_the_cases_of_nested_suites() {
        let result = parse(
            r#"<?xml version="1.0"?>
            <testsuites tests="9" failures="0"><testsuite name="a" failures="0">
              <testcase classname="shop.Cart" name="adds"/>
              <testcase classname="shop.Cart" name="pays"><failure message="1 &lt; 2"><![CDATA[at <x>]]> &amp; so on</failure></testcase>
              <testsuite name="inner"><testcase name="breaks"><error/></testcase>
                <testcase name="later"><skipped/></testcase></testsuite>
              <system-out>noise <b/> &#65;</system-out>
            </testsuite></testsuites>"#,
        )
        .unwrap();
        assert_eq!((result.passed, result.failed, result.skipped), (1, 2, 1));
        assert_eq!(result.failures[0].name, "shop.Cart.pays");
        assert_eq!(result.failures[0].message, "1 < 2\nat <x> & so on");
        assert_eq!(result.failures[1].name, "breaks");
    }

    /// Parses a report and returns how many tests failed, with the first reason.
    fn failed(text: &str) -> (u64, String) {
        let result = parse(text).unwrap();
        let first = result.failures.first().map(|test| format!("{}: {}", test.name, test.message));
        (result.failed, first.unwrap_or_default())
    }

    #[test]
    fn a_suite_that_says_worse_of_itself_than_its_cases_show_has_failed() {
        let hidden =
            |count: &str| format!("s: it says of itself that it has {count}, and lists no case that failed");
        for (attributes, counts) in [
            ("failures='3'", "3 failures and 0 errors"),
            ("errors='1' tests='1'", "0 failures and 1 errors"),
            ("failures=' 2 ' errors='x'", "2 failures and 0 errors"),
            ("failures='2.0'", "2 failures and 0 errors"),
            ("errors='99999999999999999999999'", "0 failures and 18446744073709551615 errors"),
        ] {
            let suite = format!("<testsuite name='s' {attributes}><testcase name='a'/></testsuite>");
            assert_eq!(failed(&suite), (1, hidden(counts)), "{attributes}");
            // Said once, also when the suites around it repeat it.
            let around =
                format!("<testsuites {attributes}><testsuite {attributes}>{suite}</testsuite></testsuites>");
            assert_eq!(failed(&around).0, 1, "{around}");
        }
        let totals = "<testsuites name='all' failures='1'><testsuite name='s' failures='0'><testcase/></testsuite></testsuites>";
        assert!(failed(totals).1.starts_with("all: it says of itself"), "{totals}");
        let empty = "<testsuites><testsuite name='s' tests='12'/><testsuite name='t'><testcase/></testsuite></testsuites>";
        assert_eq!(failed(empty), (1, "s: it says of itself that it has 12 tests, and lists none".into()));
    }

    #[test]
    fn attributes_of_honest_runners_that_count_in_their_own_way_are_no_failure() {
        for (runner, report) in [
            (
                "Catch2 counts assertions",
                "<testsuite tests='40' failures='0'><testcase name='a'/></testsuite>",
            ),
            (
                "Node counts suites as tests",
                "<testsuites><testsuite tests='1' failures='0'><testsuite tests='2'>\
              <testcase/><testcase/></testsuite></testsuite></testsuites>",
            ),
            (
                "GoogleTest lists what it did not run",
                "<testsuites tests='1' disabled='1'><testsuite tests='1'>\
              <testcase status='run'/><testcase status='notrun'/></testsuite></testsuites>",
            ),
            (
                "Surefire repeats",
                "<testsuite tests='1' errors='0' failures='0' flakes='1'><testcase name='a'>\
              <flakyFailure message='once'>at x</flakyFailure></testcase><testcase name='b'/></testsuite>",
            ),
            ("no attributes", "<testsuite><testcase/></testsuite>"),
            ("words", "<testsuite failures='' errors='none'><testcase/></testsuite>"),
        ] {
            assert_eq!(failed(report), (0, String::new()), "{runner}");
        }
    }

    #[test]
    fn a_failure_counts_wherever_it_stands() {
        for report in [
            "<testsuite name='s'><error message='set-up'/><testcase/></testsuite>",
            "<testsuites name='s'><failure message='set-up'/></testsuites>",
            "<testsuite><testcase name='s'><testcase name='s'><failure message='set-up'/></testcase></testcase></testsuite>",
            "<testsuite><testcase name='s'><rerunFailure message='set-up'/></testcase></testsuite>",
            "<testsuite failures='1'><testcase name='s'><failure message='set-up'/><rerunFailure/></testcase></testsuite>",
        ] {
            assert_eq!(failed(report), (1, "s: set-up".into()), "{report}");
        }
        assert_eq!(failed("<testsuite><testcase name='s' status='failed'/></testsuite>").0, 1);
        let output =
            "<testsuite><testcase><system-out><failure/><error/></system-out></testcase></testsuite>";
        assert_eq!(failed(output).0, 0);
    }

    #[test]
    fn a_failed_test_that_was_also_skipped_has_failed() {
        let result =
            parse("<testsuite><testcase name='x'><failure/><skipped/></testcase></testsuite>").unwrap();
        assert_eq!((result.failed, result.skipped), (1, 0));
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = r#"<testsuites><testsuite><testcase name="a"><failure message="m">text</failure></testcase></testsuite></testsuites>"#;
        assert!(parse(whole).is_ok());
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{}", &whole[..length]);
        }
        assert!(matches!(parse(&whole[..45]), Err(JunitError::Truncated { .. })));
    }

    #[test]
    fn entity_expansion_is_refused() {
        let laughs = r#"<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]>
            <testsuite><testcase name="&lol2;"/></testsuite>"#;
        assert!(matches!(parse(laughs), Err(JunitError::DocumentType)));
        let unknown = "<testsuite><testcase name='a'><failure>&lol;</failure></testcase></testsuite>";
        assert!(matches!(parse(unknown), Err(JunitError::Entity { name }) if name == "lol"));
        let external = r#"<!DOCTYPE t SYSTEM "file:///etc/passwd"><testsuite/>"#;
        assert!(matches!(parse(external), Err(JunitError::DocumentType)));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "<testsuite>".repeat(100_000);
        assert!(matches!(parse(&deep), Err(JunitError::TooDeep)));
    }

    #[test]
    fn many_and_long_failures_are_bounded_but_counted() {
        let mut text = String::from("<testsuite>");
        for number in 0..200 {
            let message = "é".repeat(10_000);
            write!(text, "<testcase name='{number}'><failure>{message}</failure></testcase>").unwrap();
        }
        text.push_str("</testsuite>");
        let result = parse(&text).unwrap();
        assert_eq!((result.failed, result.failures.len()), (200, MAX_KEPT_FAILURES));
        assert_eq!(result.failures[0].message.chars().count(), MAX_FAILURE_MESSAGE);
    }

    #[test]
    fn other_xml_is_not_a_report() {
        assert!(matches!(parse("<html/>"), Err(JunitError::NotJunit { root }) if root == "html"));
        assert!(matches!(parse(""), Err(JunitError::NotJunit { .. })));
        assert!(parse("<testsuite></testcase>").is_err());
        assert!(parse("just text").is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "[<>/a-c&;!\\[\\] ='\"]{0,80}") {
            drop(parse(&text));
            drop(parse(&format!("<testsuite><testcase>{text}</testcase></testsuite>")));
        }
    }
}
