//! The reference page of all commands, as Markdown, from the commands themselves.

use std::fmt::Write as _;

use clap::{Arg, Command};

const HEADER: &str = "<!-- Written by `lockstep reference`; a test compares. -->

# The command line

Every command knows the global options below. Data goes to standard output, messages to standard error. With `--json`,
standard output carries one JSON document, or one a line for streams and watches: the shapes of the API, with points in
time as RFC 3339; an error is one JSON document on standard error. What the exit codes mean is in
[exit-codes.md](exit-codes.md).
";

/// Writes the page.
pub(crate) fn markdown(root: &Command) -> String {
    let mut root = root.clone();
    root.build();
    let mut text = format!("{HEADER}\n## Global options\n\n");
    root.get_arguments().filter(|arg| arg.is_global_set()).for_each(|arg| write_option(&mut text, arg));
    for command in visible(&root) {
        write_command(&mut text, command, "lockstep");
    }
    text
}

/// Goes through the commands below one that are shown.
fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn write_command(text: &mut String, command: &Command, parent: &str) {
    let name = format!("{parent} {}", command.get_name());
    let _ = writeln!(text, "\n## `{name}`\n");
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let _ = writeln!(text, "{}", about.unwrap_or_default().trim());
    if !command.has_subcommands() {
        let _ = writeln!(text, "\n```\n{}\n```", usage(command, &name));
    }
    let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help";
    let own: Vec<_> = command.get_arguments().filter(own).collect();
    if !own.is_empty() {
        text.push('\n');
        own.iter().for_each(|arg| write_option(text, arg));
    }
    if let Some(examples) = command.get_after_help().filter(|_| !command.has_subcommands()) {
        let examples = examples.to_string();
        let lines = examples.strip_prefix("Examples:\n").unwrap_or(&examples);
        let lines: Vec<_> = lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        let _ = writeln!(text, "\n```sh\n{}\n```", lines.join("\n"));
    }
    for command in visible(command) {
        write_command(text, command, &name);
    }
}

fn usage(command: &Command, name: &str) -> String {
    let positionals = command.get_positionals().map(|arg| {
        let value = value_name(arg);
        let many = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
        if arg.is_required_set() { format!(" <{value}>{many}") } else { format!(" [{value}]{many}") }
    });
    let required =
        command.get_opts().filter(|arg| arg.is_required_set()).map(|arg| format!(" {}", spelled(arg)));
    let has_optional = command.get_opts().any(|arg| !arg.is_required_set() && !arg.is_global_set());
    let optional = if has_optional { " [OPTIONS]" } else { "" };
    format!("{name}{}{}{optional}", positionals.collect::<String>(), required.collect::<String>())
}

fn write_option(text: &mut String, arg: &Arg) {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "- `{}`: {}", spelled(arg), help.trim_end_matches('.'));
    let values: Vec<_> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        let _ = write!(text, " (one of {})", values.join(", "));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let _ = write!(text, " (default `{}`)", defaults.join(","));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " (environment variable `{}`)", variable.to_string_lossy());
    }
    text.push_str(".\n");
}

fn spelled(arg: &Arg) -> String {
    let value = value_name(arg);
    match (arg.get_long(), arg.get_short(), arg.get_action().takes_values()) {
        (Some(long), _, true) => format!("--{long} {value}"),
        (Some(long), Some(short), false) => format!("-{short}, --{long}"),
        (Some(long), None, false) => format!("--{long}"),
        (None, Some(short), _) => format!("-{short}"),
        (None, None, _) => value,
    }
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::app::Cli;

    #[test]
    fn the_page_is_as_the_commands_are() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md"));
        assert!(
            page.unwrap_or_default() == markdown(&Cli::command()),
            "docs/reference/cli.md is old; run `cargo run -p lockstep-cli -- reference > docs/reference/cli.md`"
        );
    }

    fn for_each<'a>(command: &'a Command, path: &str, check: &mut impl FnMut(&str, &'a Command)) {
        let path = format!("{path} {}", command.get_name());
        check(&path, command);
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            for_each(command, &path, check);
        }
    }

    #[test]
    fn every_command_has_a_description_and_an_example_of_itself() {
        for_each(&Cli::command(), "", &mut |path, command| {
            let about =
                command.get_about().unwrap_or_else(|| panic!("{path} has no description")).to_string();
            assert!(about.len() > 10, "{path}: {about}");
            let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(command.is_hide_set() || long.len() > about.len() + 20, "{path} has no paragraph");
            let examples =
                command.get_after_help().unwrap_or_else(|| panic!("{path} has no example")).to_string();
            let wanted = format!("\n  {}", path.trim());
            assert!(examples.starts_with("Examples:") && examples.contains(&wanted), "{path}: {examples}");
        });
    }

    #[test]
    fn every_argument_says_what_it_is() {
        for_each(&Cli::command(), "", &mut |path, command| {
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path}: {} has no help", arg.get_id());
            }
        });
    }

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
