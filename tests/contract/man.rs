//! `man/TOOL.8`, rendered from the definition of the options.
//!
//! ```text
//! clap::Command -> NAME SYNOPSIS DESCRIPTION OPTIONS
//! its last words -> EXAMPLES, EXIT STATUS
//! words::PAGES -> ENVIRONMENT FILES SEE ALSO
//! ```

mod words;

use clap::{Arg, ArgAction, Command};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use harness::{Sandbox, workspace};

use crate::rendered::{keep, tools};
use words::{PAGES, Page};

fn render(tool: &str, command: &Command) -> String {
    let page = PAGES.iter().find(|page| page.tool == tool);
    let page = page.unwrap_or_else(|| panic!("{tool} has no entry in PAGES of tests/contract/man/words.rs"));
    let mut roff = Roff::new();
    let version = format!("nightshift {}", command.get_version().expect("a tool has a version"));
    roff.control("TH", [tool.to_uppercase().as_str(), "8", "", &version, "nightshift"]);
    // A name that is broken at the end of a line cannot be searched for, and rags read better than rivers.
    roff.control("nr", ["HY", "0"]);
    roff.control("nh", []);
    roff.control("ad", ["l"]);
    name(&mut roff, tool, command);
    synopsis(&mut roff, tool, command);
    description(&mut roff, command);
    options(&mut roff, command);
    environment(&mut roff, page, command);
    let last_words = Sections::read(&command.get_after_long_help().expect("a tool has examples").to_string());
    last_words.exit_status(&mut roff);
    files(&mut roff, page);
    last_words.examples(&mut roff);
    see_also(&mut roff, page);
    format!(
        ".\\\" Rendered from the definition of the options: run `make man` and change nothing here.\n{}",
        roff.to_roff()
    )
}

fn name(roff: &mut Roff, tool: &str, command: &Command) {
    roff.control("SH", ["NAME"]);
    let about = command.get_about().expect("a tool says what it does").to_string();
    let mut letters = about.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    roff.text([roman(format!("{tool} - {}", first.into_iter().chain(letters).collect::<String>()))]);
}

fn synopsis(roff: &mut Roff, tool: &str, command: &Command) {
    roff.control("SH", ["SYNOPSIS"]);
    let usage = command.clone().render_usage().to_string();
    let words = usage.trim_start_matches("Usage:").trim().strip_prefix(tool).expect("the usage begins with the name");
    roff.text([bold(tool), roman(words)]);
}

fn description(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["DESCRIPTION"]);
    let long = command.get_long_about().expect("a tool describes itself").to_string();
    // The first paragraph is the line of NAME.
    paragraphs(roff, long.split("\n\n").skip(1));
}

fn options(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["OPTIONS"]);
    for operand in command.get_positionals() {
        let names = operand.get_value_names().unwrap_or_default().join(" ");
        let repeat = if matches!(operand.get_action(), ArgAction::Append) { "..." } else { "" };
        let front = if operand.is_last_set() { "-- " } else { "" };
        item(roff, vec![bold(front), italic(names), roman(repeat)]);
        option_text(roff, operand);
    }
    let mut groups: Vec<(Option<&str>, Vec<&Arg>)> = Vec::new();
    for option in command.get_arguments().filter(|arg| !arg.is_positional()) {
        let heading = option.get_help_heading();
        match groups.iter_mut().find(|(title, _)| *title == heading) {
            Some((_, group)) => group.push(option),
            None => groups.push((heading, vec![option])),
        }
    }
    // Those without a heading are the tool's own, with --help and --version last.
    groups.sort_by_key(|(heading, _)| heading.is_some());
    for (heading, mut group) in groups {
        if let Some(heading) = heading {
            roff.control("SS", [heading]);
        }
        group.sort_by_key(|option| ["help", "version"].contains(&option.get_id().as_str()));
        for option in group {
            item(roff, option_head(option));
            option_text(roff, option);
        }
    }
}

fn option_head(option: &Arg) -> Vec<Inline> {
    let mut head = Vec::new();
    if let Some(short) = option.get_short() {
        head.extend([bold(format!("-{short}")), roman(", ")]);
    }
    head.push(bold(format!("--{}", option.get_long().expect("an option has a long name"))));
    if option.get_action().takes_values() {
        head.extend([roman(" "), italic(option.get_value_names().unwrap_or_default().join(" "))]);
    }
    head
}

fn option_text(roff: &mut Roff, arg: &Arg) {
    let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help = arg.get_long_help().map_or(short, ToString::to_string);
    // clap's own words speak of the difference between -h and --help, which a page does not have.
    let help = if arg.get_id() == "help" { "Print help; -h prints a summary".to_owned() } else { help };
    let mut parts = help.split("\n\n");
    let first = parts.next().unwrap_or_default();
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let is_said = arg.is_hide_default_value_set() || !arg.get_action().takes_values() || default.is_empty();
    let default = if is_said { String::new() } else { format!(" [default: {default}]") };
    text(roff, &format!("{}{default}", first.trim_end_matches('.')));
    for part in parts {
        roff.control("IP", []);
        text(roff, part);
    }
    let values: Vec<_> = arg.get_possible_values().into_iter().filter(|value| value.get_help().is_some()).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        roff.control("RS", []);
        for value in values {
            item(roff, vec![bold(value.get_name().to_owned())]);
            text(roff, &value.get_help().map(ToString::to_string).unwrap_or_default());
        }
        roff.control("RE", []);
    }
}

fn environment(roff: &mut Roff, page: &Page, command: &Command) {
    roff.control("SH", ["ENVIRONMENT"]);
    let mut variables = Vec::new();
    let mut without = Vec::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
        let long = arg.get_long().expect("an option has a long name");
        match arg.get_env() {
            Some(variable) => variables.push(variable.to_string_lossy().into_owned()),
            None => without.push(format!("--{long}")),
        }
    }
    variables.sort();
    item(roff, vec![bold(variables.join(", "))]);
    text(
        roff,
        "Each stands for the option of its name. An argument is stronger, the configuration file is weaker. An empty \
         variable is one that is not set. An option without a value is switched off by 0, false, no and off, and on by \
         anything else.",
    );
    roff.control("IP", []);
    text(roff, &format!("These options have no variable: {}.", without.join(", ")));
    for (variable, meaning) in page.environment {
        item(roff, vec![bold(*variable)]);
        text(roff, meaning);
    }
    item(roff, vec![bold("NO_COLOR, CLICOLOR, TERM, JOURNAL_STREAM")]);
    text(roff, "See nightshift(7).");
}

fn files(roff: &mut Roff, page: &Page) {
    roff.control("SH", ["FILES"]);
    item(roff, vec![bold(format!("/etc/nightshift/{}.conf", page.tool))]);
    text(
        roff,
        "Options, one per line, without the dashes. It must belong to root or to the user who runs the tool, and nobody \
         else may be able to write it.",
    );
    for (file, meaning) in page.files {
        item(roff, vec![bold(*file)]);
        text(roff, meaning);
    }
}

fn see_also(roff: &mut Roff, page: &Page) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (number, (name, section)) in page.see_also.iter().enumerate() {
        line.push(roman(if number > 0 { ", " } else { "" }));
        line.extend([bold(*name), roman(format!("({section})"))]);
    }
    roff.text(line);
}

/// The last words of `--help`: captions with commands below them, codes with their meaning.
struct Sections {
    examples: Vec<(String, Vec<String>)>,
    codes: Vec<(String, String)>,
}

impl Sections {
    fn read(text: &str) -> Self {
        let mut sections = Self { examples: Vec::new(), codes: Vec::new() };
        let mut section = "";
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let indent = line.len() - line.trim_start().len();
            match (section, indent) {
                (_, 0) => section = line,
                ("EXAMPLES", 2) => sections.examples.push((line.trim().to_owned(), Vec::new())),
                ("EXAMPLES", _) => {
                    sections.examples.last_mut().expect("a command has a caption").1.push(line.trim().to_owned());
                }
                ("EXIT STATUS", _) => {
                    let (code, meaning) = line.trim().split_once(' ').expect("a code has a meaning");
                    sections.codes.push((code.to_owned(), meaning.trim().to_owned()));
                }
                (other, _) => panic!("{other:?} is no section that a page has"),
            }
        }
        assert!(!sections.examples.is_empty() && !sections.codes.is_empty(), "EXAMPLES or EXIT STATUS is missing");
        sections
    }

    fn examples(&self, roff: &mut Roff) {
        roff.control("SH", ["EXAMPLES"]);
        for (caption, commands) in &self.examples {
            roff.control("PP", []);
            roff.text([roman(caption.clone())]);
            roff.control("PP", []);
            roff.control("RS", ["4"]);
            roff.control("EX", []);
            for command in commands {
                roff.text([roman(command.clone())]);
            }
            roff.control("EE", []);
            roff.control("RE", []);
        }
    }

    fn exit_status(&self, roff: &mut Roff) {
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in &self.codes {
            item(roff, vec![bold(code.clone())]);
            text(roff, meaning);
        }
    }
}

fn item(roff: &mut Roff, head: Vec<Inline>) {
    roff.control("TP", []);
    roff.text(head);
}

fn paragraphs<'a>(roff: &mut Roff, parts: impl Iterator<Item = &'a str>) {
    for (number, part) in parts.enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        text(roff, part);
    }
}

/// A paragraph, a sentence a line, with what stands between backquotes in bold.
fn text(roff: &mut Roff, paragraph: &str) {
    for sentence in sentences(paragraph) {
        let parts = sentence.split('`').enumerate();
        roff.text(
            parts
                .filter(|(_, part)| !part.is_empty())
                .map(|(number, part)| if number % 2 == 1 { bold(part) } else { roman(part) })
                .collect::<Vec<_>>(),
        );
    }
}

fn sentences(paragraph: &str) -> Vec<String> {
    let joined = paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut sentences = vec![String::new()];
    let mut words = joined.split(' ').peekable();
    while let Some(word) = words.next() {
        let sentence = sentences.last_mut().expect("there is always one");
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        let starts = words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_uppercase()));
        // Backquotes that are still open would be closed by the line's end.
        if word.ends_with('.') && starts && sentence.matches('`').count().is_multiple_of(2) {
            sentences.push(String::new());
        }
    }
    sentences
}

/// What groff, and mandoc where it is installed, has to say against a page. Both know the column of a page by itself.
fn complaints(page: &str) -> String {
    let dir = Sandbox::new();
    let groff = dir.program("groff").args(["-man", "-ww", "-Tutf8", "-Kutf8", "-z"]).arg(workspace().join(page)).run();
    let mut complaints = String::from_utf8_lossy(&groff.code(0).stderr).into_owned();
    if std::path::Path::new("/usr/bin/mandoc").exists() {
        let mandoc = dir.program("mandoc").args(["-T", "lint", "-W", "warning"]).arg(workspace().join(page)).run();
        // Pages carry no date, so that rendering one twice gives the same bytes.
        let lines = mandoc.stdout_text().lines().filter(|line| !line.contains("missing date"));
        complaints.extend(lines.map(|line| format!("{line}\n")));
    }
    complaints
}

#[test]
fn every_tool_has_its_page() {
    for (tool, command) in tools() {
        keep(&format!("man/{tool}.8"), &render(tool, &command));
    }
}

#[test]
fn a_page_is_the_same_every_time() {
    for (tool, command) in tools() {
        assert_eq!(render(tool, &command), render(tool, &command.clone()));
    }
}

#[test]
fn no_page_makes_groff_complain() {
    let pages: Vec<_> = std::fs::read_dir(workspace().join("man"))
        .unwrap()
        .map(|entry| format!("man/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    assert!(pages.len() > 4, "{pages:?}");
    for page in pages {
        assert_eq!(complaints(&page), "", "{page}");
    }

    let bad = Sandbox::new();
    std::fs::write(bad.join("bad.8"), ".TH BAD 8\n.SH NAME\nbad \\- x\n.nosuchmacro\n").unwrap();
    assert!(complaints(bad.join("bad.8").to_str().unwrap()).contains("nosuchmacro"));
}

#[test]
fn sentences_get_a_line_each() {
    assert_eq!(sentences("One. Two `a. B` x.\nThree"), ["One.", "Two `a. B` x.", "Three"]);
}
