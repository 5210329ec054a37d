//! What comes before each start of a process.

use lockstep_domain::preparation::Preparation;

use crate::parse::parse;

fn read(rest: &str) -> Result<Option<Preparation>, String> {
    let text = format!("name = \"orders\"\n[requires]\npay = \"*\"\n{rest}\n");
    let problems =
        |all: Vec<crate::Problem>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    parse(&text, "f").map(|manifest| manifest.run.prepare).map_err(problems)
}

#[test]
fn it_is_a_command_in_every_form_of_one_with_a_time_limit_or_without() {
    let of = |line: &str| read(&format!("[run]\ncommand = \"./serve\"\n{line}")).unwrap();
    let prepared = |words: &[&str], timeout_ms| {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        Some(Preparation { command, timeout_ms })
    };
    assert_eq!(of(""), None);
    assert_eq!(
        of("prepare = \"./warm --port ${self.port}\""),
        prepared(&["./warm", "--port", "${self.port}"], 60_000)
    );
    assert_eq!(of("prepare = [\"sh\", \"-c\", \"a && b\"]"), prepared(&["sh", "-c", "a && b"], 60_000));
    let whole = "prepare = { command = \"./warm all\", timeout = \"2m\" }";
    assert_eq!(of(whole), prepared(&["./warm", "all"], 120_000));
}

#[test]
fn what_is_wrong_with_it_is_said_with_its_place_and_what_to_write() {
    let web = "[run]\ncommand = \"./serve\"\n";
    let worker = "[run]\nkind = \"worker\"\ncommand = \"./work\"\n";
    for (rest, words) in [
        (format!("{web}prepare = 5"), "f:6:11: run.prepare: "),
        (format!("{web}prepare = \"\""), "f:6:11: run.prepare: "),
        (format!("{web}prepare = \"a && b\""), "ask for a shell: [\"sh\", \"-c\", \"...\"]"),
        (format!("{web}prepare = {{ timeout = \"2m\" }}"), "add command = \"./bin/warm\""),
        (format!("{web}prepare = {{ command = \"./a\", timeout = \"soon\" }}"), "f:6:40: run.prepare.timeout: "),
        (format!("{web}prepare = {{ command = \"./a\", timeout = \"8d\" }}"), "run.prepare.timeout: "),
        (format!("{web}prepare = {{ command = \"./a\", folder = \"b\" }}"), "run.prepare.folder: unknown field"),
        (format!("{web}prepare = \"./a ${{self.prot}}\""), "`${self.prot}` is not known"),
        (format!("{web}prepare = \"./a ${{service.pay.url}}\""), "every user of the machine sees arguments"),
        (format!("{worker}prepare = \"./a ${{self.port}}\""), "a worker whose health is not asked on a port"),
        ("[run]\nkind = \"static\"\nprepare = \"./a\"".to_owned(), "served by Lockstep, and never change"),
        ("[run]\nkind = \"external\"\naddress = \"http://a\"\nprepare = \"./a\"".to_owned(), "somebody else runs it"),
        ("[run]\nkind = \"job\"\nprepare = \"./a\"\n[[job]]\nname = \"x\"\nwhen = \"by-hand\"\ncommand = \"./x\"".to_owned(), "only what runs all the time is prepared"),
        ("[run]\nprepare = \"./a\"\n[process.web]\ncommand = \"./b\"".to_owned(), "each [process] has its own"),
    ] {
        let said = read(&rest).unwrap_err();
        assert!(said.contains(words) && said.matches("run.prepare").count() <= 1, "{rest}: {said}");
    }
}
