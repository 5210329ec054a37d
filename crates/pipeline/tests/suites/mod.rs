//! Test suites and the evidence that they become.

use lockstep_domain::evidence::Outcome;
use lockstep_pipeline::{BuildFault, Phase};

use crate::bench::Bench;

#[test]
fn a_green_suite_becomes_evidence_with_its_report() {
    let report = r#"<testsuites><testsuite><testcase name="a"/><testcase name="b"><skipped/></testcase></testsuite></testsuites>"#;
    let bench = Bench::suite(
        &format!("mkdir out; echo '{report}' > out/one.xml; cp out/one.xml out/two.xml"),
        "report = \"out/*.xml\"\n",
    );
    let (_, output) = bench.run().unwrap();
    let evidence = &output.suites[0].evidence;
    assert_eq!((evidence.kind.as_str(), evidence.outcome), ("unit", Outcome::Green));
    assert_eq!((evidence.tests.passed, evidence.tests.skipped, evidence.tests.failed), (2, 2, 0));
    let bytes = output.suites[0].report.as_ref().unwrap();
    assert!(evidence.report.is_some() && String::from_utf8_lossy(bytes).contains("<!-- out/two.xml -->"));
}

/// Runs a suite that must be red and returns its failures as text.
fn red(script: &str, settings: &str) -> String {
    let bench = Bench::suite(script, settings);
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::RedSuite { .. }), "{failure}");
    assert_eq!(failure.phase, Phase::Test);
    let evidence = &failure.suites[0].evidence;
    assert_eq!(evidence.outcome, Outcome::Red);
    let failures: Vec<String> =
        evidence.failures.iter().map(|f| format!("{}: {}", f.name, f.message)).collect();
    format!("{failure}\n{}", failures.join("\n"))
}

#[test]
fn exit_code_and_report_must_both_be_green() {
    let green = "echo '<testsuite><testcase name=\"a\"/></testsuite>' > r.xml";
    let text = red(&format!("{green}; exit 4"), "report = \"r.xml\"\n");
    assert!(text.contains("ended with exit code 4"), "{text}");
    let failing =
        "echo '<testsuite><testcase name=\"a\"><failure message=\"1 != 2\"/></testcase></testsuite>' > r.xml";
    let text = red(failing, "report = \"r.xml\"\n");
    assert!(text.contains("1 of 1 tests failed, first a: 1 != 2"), "{text}");
    assert!(red("exit 1", "").contains("ended with exit code 1"));
    assert_eq!(Bench::suite("true", "").run().unwrap().1.suites[0].evidence.outcome, Outcome::Green);
}

#[test]
fn a_report_that_was_not_written_by_this_run_does_not_count() {
    let bench = Bench::suite("true", "report = \"r.xml\"\n");
    bench.repository.write("r.xml", "<testsuite><testcase name=\"a\"/></testsuite>");
    bench.repository.commit("test: commit an old report");
    let text = bench.failure().to_string();
    assert!(text.contains("the suite wrote no report that matches `r.xml`"), "{text}");
}

#[test]
fn truncated_and_hostile_reports_are_red_with_a_reason() {
    let text = red("printf '<testsuite><testcase name=\"a\"/><testca' > r.xml", "report = \"r.xml\"\n");
    assert!(text.contains("`r.xml`: it ends inside `<testsuite>`"), "{text}");
    let laughs = "printf '<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><testsuite>&b;</testsuite>' > r.xml";
    assert!(red(laughs, "report = \"r.xml\"\n").contains("it declares a document type"));
    let huge = "printf '<testsuite>' > r.xml; head -c 80000000 /dev/zero | tr '\\\\0' ' ' >> r.xml";
    assert!(red(huge, "report = \"r.xml\"\n").contains("the reports are larger than 67108864 bytes"));
    let link = "ln -s /etc/passwd r.xml";
    assert!(red(link, "report = \"r.xml\"\n").contains("`r.xml`: "));
    let fifo = "mkfifo r.xml";
    assert!(red(fifo, "report = \"r.xml\"\n").contains("it is a pipe, not a file"));
}

#[test]
fn a_report_that_contradicts_itself_or_shows_nothing_is_red() {
    let report = |text: &str| red(&format!("echo '{text}' > r.xml"), "report = \"r.xml\"\n");
    let hidden = report(r#"<testsuite name="shop" failures="2"><testcase name="a"/></testsuite>"#);
    assert!(hidden.contains("shop: it says of itself that it has 2 failures and 0 errors"), "{hidden}");
    let empty = report("<testsuites/>");
    assert!(empty.contains("the test report: it lists no test"), "{empty}");
    let skipped = report("<testsuite><testcase><skipped/></testcase></testsuite>");
    assert!(skipped.contains("all 1 were skipped"), "{skipped}");
}

#[test]
fn a_suite_that_hangs_is_red_and_later_suites_do_not_run() {
    let text = red(
        "sleep 1000",
        "timeout = \"500ms\"\n[[test]]\nkind = \"stress\"\nrun = [\"touch\", \"/nowhere/else\"]\n",
    );
    assert!(text.contains("did not end within 500 ms and was killed"), "{text}");
}

#[test]
fn secrets_in_reports_are_masked() {
    let mut bench = Bench::suite(
        "printf '<testsuite><testcase name=\"a\"><failure>%s</failure></testcase></testsuite>' $API_TOKEN > r.xml",
        "report = \"r.xml\"\n[build]\nvariables = [\"API_TOKEN\"]\n",
    );
    bench.request.host = bench.request.host.clone().with("API_TOKEN", "very-secret");
    let failure = bench.failure();
    assert_eq!(failure.suites[0].evidence.failures[0].message, "***");
    assert!(!String::from_utf8_lossy(failure.suites[0].report.as_ref().unwrap()).contains("very-secret"));
}
