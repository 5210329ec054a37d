//! Reads JUnit XML: what test runners of all languages write.
//!
//! The file was written by the code under test, so nothing of it is believed: counts come from the test cases and not from
//! attributes, a document type (the way to entity expansion) is refused, and size, depth and number are bounded.

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
    case: Option<Case>,
    result: JunitResult,
}

/// The test case that is being read.
#[derive(Debug)]
struct Case {
    depth: usize,
    name: String,
    verdict: Verdict,
    /// The depth of the element whose text is the message.
    message_depth: Option<usize>,
    message: String,
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
        match (name.as_str(), &mut self.case) {
            ("testcase", None) => self.case = Some(Case::new(depth, element)?),
            ("failure" | "error", Some(case)) if case.depth + 1 == depth => case.fail(depth, element)?,
            ("skipped" | "disabled", Some(case)) if case.depth + 1 == depth => {
                case.verdict = case.verdict.max(Verdict::Skipped);
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        let depth = self.path.len();
        self.path.pop();
        if let Some(case) = &mut self.case
            && case.message_depth == Some(depth)
        {
            case.message_depth = None;
        }
        if let Some(case) = self.case.take_if(|case| case.depth == depth) {
            self.count(case);
        }
    }

    fn count(&mut self, case: Case) {
        match case.verdict {
            Verdict::Passed => self.result.passed += 1,
            Verdict::Skipped => self.result.skipped += 1,
            Verdict::Failed => {
                self.result.failed += 1;
                if self.result.failures.len() < MAX_KEPT_FAILURES {
                    let message = bounded(case.message.trim(), MAX_FAILURE_MESSAGE);
                    self.result.failures.push(TestFailure { name: case.name, message });
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(case) = &mut self.case
            && case.message_depth == Some(self.path.len())
        {
            case.say(text);
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
        Ok(Self { depth, name, verdict: Verdict::Passed, message_depth: None, message: String::new() })
    }

    fn fail(&mut self, depth: usize, element: &BytesStart<'_>) -> Result<(), JunitError> {
        self.verdict = Verdict::Failed;
        self.message_depth = Some(depth);
        if !self.message.is_empty() {
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
        let room = (4 * MAX_FAILURE_MESSAGE).saturating_sub(self.message.len());
        self.message.push_str(&text[..text.floor_char_boundary(room)]);
    }
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
            <testsuites tests="99" failures="0"><testsuite name="a" failures="0">
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
