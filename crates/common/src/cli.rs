//! The options every tool has, and the layers they come from: configuration file < environment < arguments.
//!
//! The configuration file is options, one per line, turned into arguments before the others, so there is one parser and
//! one vocabulary. A stronger layer that names an option silences the weaker ones, also where an option may be repeated,
//! and it silences what cannot stand beside that option: who has `dir` in the file can still say `--stdout`.

use crate::dirfd;
use crate::hint::Hint as _;
use crate::report::{Format, Style};
use crate::status::Code;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::builder::{FalseyValueParser, Resettable};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Parser};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What `program` needs to know about a tool.
pub trait Tool: Parser {
    /// The program's name.
    const NAME: &'static str;
    /// How its text format reads.
    const STYLE: Style;
    /// Options that never come from the environment, because it may have been loaded from an application's file.
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str];
    /// What its children inherit of what we change for ourselves.
    const CHILDREN: Children = Children::Private;
    /// The options every tool has.
    fn common(&self) -> &CommonArgs;
    /// The exit status for a code; another one only where the tool takes the place of a program that has its own.
    fn exit_status(code: Code) -> u8 {
        code as u8
    }
    /// The exit status for arguments that make no sense; see [`BadArgument`].
    fn bad_argument_status() -> u8 {
        Self::exit_status(Code::Unknown)
    }
}

/// An argument that no option stands for, or a value that is none. (An argument that is missing, or that cannot stand
/// beside another one, is no such thing.)
#[derive(Debug)]
pub struct BadArgument(String);

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadArgument {}

/// What child programs inherit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// Umask 077 and no core dumps, as for ourselves.
    Private,
    /// Umask and limits as we were started with: they are scripts of the admin, and start services. The tool gives a mode
    /// to every file that it makes, and holds no secrets.
    AsWeWereStarted,
}

/// The options every tool has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output and configuration")]
pub struct CommonArgs {
    /// Print the report in this format
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,

    /// Also write the report to a file, as FORMAT:FILE; may be repeated
    ///
    /// The file is replaced as a whole, with mode 0644, so that a collector never reads half of it:
    /// --write prometheus:/var/lib/prometheus/node-exporter/NAME.prom
    #[arg(long, value_name = "FORMAT:FILE", value_parser = parse_write)]
    pub write: Vec<Write>,

    /// Read options from this file instead of /etc/nightshift/TOOL.conf
    ///
    /// One option per line, without the dashes: "dir /srv/pg". Empty lines and lines that start with # are skipped. The
    /// environment (TOOL_OPTION) is stronger than the file, and arguments are stronger than both.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Read no configuration file
    #[arg(long, conflicts_with = "config")]
    pub no_config: bool,

    /// Show only what is not OK
    ///
    /// Silent when all is well, which is what cron's mail wants. The path of what was made is still printed.
    #[arg(long, short)]
    pub quiet: bool,

    /// Say more on standard error; twice for debugging
    #[arg(long, short, action = ArgAction::Count)]
    pub verbose: u8,

    /// Append one JSON line about this run to a file
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// One `--write FORMAT:FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The format.
    pub format: Format,
    /// The file that is replaced.
    pub path: PathBuf,
}

fn parse_write(text: &str) -> Result<Write, String> {
    let (format, path) = text
        .split_once(':')
        .filter(|(_, path)| !path.is_empty())
        .ok_or("write it as FORMAT:FILE, for example json:/var/tmp/report.json")?;
    let format = <Format as clap::ValueEnum>::from_str(format, false)
        .map_err(|_| "the format is one of text, json, sh, nagios, prometheus".to_owned())?;
    Ok(Write { format, path: path.into() })
}

/// What the arguments came to.
#[derive(Debug)]
pub enum Parsed<C> {
    /// Options to run with.
    Run(Box<C>),
    /// `--help` or `--version`: text for standard output.
    Show(String),
}

/// The clap definition of a tool with its environment variables.
pub fn command<C: Tool>() -> Command {
    let mut command = C::command().name(C::NAME).hide_possible_values(false);
    let names: Vec<_> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
    for name in names {
        command = command.mut_arg(name, |arg| from_environment::<C>(arg));
    }
    command.mut_arg("config", |arg| {
        let named = |text: String| text.replace("TOOL.conf", &format!("{}.conf", C::NAME));
        let named = |text: String| named(text).replace("TOOL_OPTION", &variable::<C>("option"));
        let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let long = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
        arg.help(named(short)).long_help(named(long))
    })
}

/// The environment variable of an option.
fn variable<C: Tool>(long: &str) -> String {
    format!("{}_{long}", C::NAME).replace('-', "_").to_uppercase()
}

fn from_environment<C: Tool>(arg: Arg) -> Arg {
    let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
    if ["config", "no-config", "help", "version"].contains(&long.as_str())
        || C::NEVER_FROM_ENVIRONMENT.contains(&long.as_str())
    {
        return arg;
    }
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(FalseyValueParser::new()),
        ArgAction::Count => return arg,
        _ => arg,
    };
    let variable = variable::<C>(&long);
    // An empty variable is how a unit file or a wrapper says "not set".
    if std::env::var_os(&variable).is_some_and(|value| value.is_empty()) {
        return arg;
    }
    arg.env(variable).hide_env_values(true)
}

/// Reads the layers.
///
/// # Errors
///
/// Usage and configuration errors, with a hint.
pub fn parse<C: Tool>(argv: &[OsString]) -> Result<Parsed<C>> {
    let definition = without_silenced(command::<C>(), argv);
    let strong = match definition.clone().try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) => return shown::<C>(&error),
    };
    let mut layered: Vec<OsString> = argv.iter().take(1).cloned().collect();
    layered.extend(from_file::<C>(&definition, &strong)?);
    layered.extend(argv.iter().skip(1).cloned());
    match definition.try_get_matches_from(layered).and_then(|matches| C::from_arg_matches(&matches)) {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        Err(error) => shown::<C>(&error),
    }
}

/// Takes the variables away that stand for an option which cannot stand beside one of the arguments.
fn without_silenced(mut definition: Command, argv: &[OsString]) -> Command {
    let Ok(typed) = definition.clone().ignore_errors(true).try_get_matches_from(argv) else {
        return definition;
    };
    let is_typed = |arg: &Arg| typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let from_environment = definition.get_arguments().filter(|arg| arg.get_env().is_some() && !is_typed(arg));
    let silenced = from_environment.filter(|arg| excluded(&definition, arg, is_typed));
    let silenced: Vec<_> = silenced.map(|arg| arg.get_id().clone()).collect();
    for id in silenced {
        definition = definition.mut_arg(id, |arg| arg.env(Resettable::Reset));
    }
    definition
}

/// Whether the argument cannot stand beside one of those that are given.
fn excluded(definition: &Command, arg: &Arg, is_given: impl Fn(&Arg) -> bool) -> bool {
    let excludes = |one: &Arg, other: &Arg| {
        definition.get_arg_conflicts_with(one).iter().any(|conflict| conflict.get_id() == other.get_id())
    };
    definition.get_arguments().filter(|given| is_given(given)).any(|given| excludes(arg, given) || excludes(given, arg))
}

fn shown<C: Tool>(error: &clap::Error) -> Result<Parsed<C>> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Ok(Parsed::Show(error.render().to_string()));
    }
    let (message, mut advice) = message(error);
    advice.push(format!("see {} --help", C::NAME));
    let error = match error.kind() {
        ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict => anyhow!(message),
        _ => BadArgument(message).into(),
    };
    Err(error).hint(advice.join("; "))
}

/// What clap has to say in one line, and its advice.
fn message(error: &clap::Error) -> (String, Vec<String>) {
    let text = error.render().to_string();
    // clap prints a paragraph of its own shape; ours is one line and a hint.
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let mut advice = Vec::new();
    for line in lines {
        match line.strip_prefix("tip: ") {
            Some(tip) => advice.push(tip.to_owned()),
            None if line.starts_with("Usage:") || line.starts_with("For more information") => {}
            None => {
                message.push(' ');
                message.push_str(line);
            }
        }
    }
    (message, advice)
}

/// The arguments that the configuration file stands for, less what a stronger layer named.
fn from_file<C: Tool>(definition: &Command, strong: &ArgMatches) -> Result<Vec<OsString>> {
    if strong.get_flag("no_config") {
        return Ok(Vec::new());
    }
    let given = strong.get_one::<PathBuf>("config");
    let default = PathBuf::from(format!("/etc/nightshift/{}.conf", C::NAME));
    let path = given.unwrap_or(&default);
    let text = match dirfd::read_orders(path, 1 << 20) {
        Ok(text) => text,
        Err(error) if given.is_none() && is_not_found(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut arguments = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let argument = line_to_argument(definition, strong, line)
            .with_context(|| format!("cannot use {path:?} line {}", number + 1))
            .hint(format!("see {} --help for the options; write them without dashes, one per line", C::NAME))?;
        arguments.extend(argument);
    }
    Ok(arguments)
}

fn is_not_found(error: &anyhow::Error) -> bool {
    crate::hint::find::<std::io::Error>(error).is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}

fn line_to_argument(definition: &Command, strong: &ArgMatches, line: &str) -> Result<Option<OsString>> {
    let (key, value) = match line.split_once(char::is_whitespace) {
        Some((key, value)) => (key, Some(value.trim())),
        None => (line, None),
    };
    let Some(arg) = definition
        .get_arguments()
        .find(|arg| arg.get_long() == Some(key))
        .filter(|_| !["config", "no-config", "help", "version"].contains(&key))
    else {
        bail!("unknown option {key:?}");
    };
    let argument = match (arg.get_action().takes_values(), value) {
        (true, Some(value)) => format!("--{key}={value}"),
        (true, None) => bail!("option {key:?} needs a value"),
        (false, None) => format!("--{key}"),
        (false, Some(_)) => bail!("option {key:?} takes no value"),
    };
    // Parsed by itself first, since nobody finds a bad value in a file by the name of an option alone.
    if let Err(error) = definition.clone().try_get_matches_from([definition.get_name(), &argument])
        && matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
    {
        bail!(message(&error).0);
    }
    let is_given = |arg: &Arg| {
        let source = strong.value_source(arg.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let is_silenced = is_given(arg) || excluded(definition, arg, is_given);
    Ok((!is_silenced).then(|| argument.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Demo {
        #[arg(long)]
        dir: Option<String>,
        #[arg(long)]
        tag: Vec<String>,
        #[arg(long)]
        fast: bool,
        #[command(flatten)]
        common: CommonArgs,
    }

    impl Tool for Demo {
        const NAME: &'static str = "demo-tool-for-tests";
        const STYLE: Style = Style::Action;
        const NEVER_FROM_ENVIRONMENT: &'static [&'static str] = &["fast"];
        fn common(&self) -> &CommonArgs {
            &self.common
        }
    }

    fn with_config(config: &str, argv: &[&str]) -> Result<Demo> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("demo.conf");
        std::fs::write(&path, config).unwrap();
        let mut all = vec!["demo".to_owned(), format!("--config={}", path.display())];
        all.extend(argv.iter().map(|arg| (*arg).to_owned()));
        let all: Vec<OsString> = all.into_iter().map(OsString::from).collect();
        match parse::<Demo>(&all)? {
            Parsed::Run(cli) => Ok(*cli),
            Parsed::Show(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_file_speaks_where_nobody_else_does() {
        let cli = with_config("# where\n\ndir /srv/my files\nfast\n", &[]).unwrap();

        assert_eq!(cli.dir.as_deref(), Some("/srv/my files"));
        assert!(cli.fast);
    }

    #[test]
    fn an_argument_silences_every_line_of_the_file_for_that_option() {
        let cli = with_config("tag a\ntag b\ndir /x\n", &["--tag", "c"]).unwrap();

        assert_eq!(cli.tag, ["c"]);
        assert_eq!(cli.dir.as_deref(), Some("/x"));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_file_and_line() {
        let error = with_config("dir /x\ndri /y\n", &[]).unwrap_err();

        assert!(format!("{error:#}").ends_with("demo.conf\" line 2: unknown option \"dri\""), "{error:#}");
    }

    #[test]
    fn a_bad_argument_is_told_from_a_missing_one() {
        let is_bad = |argv: &[&str]| {
            let argv: Vec<OsString> = [&["demo", "--no-config"], argv].concat().iter().map(OsString::from).collect();
            crate::hint::find::<BadArgument>(&parse::<Demo>(&argv).unwrap_err()).is_some()
        };

        assert!(is_bad(&["--dirr"]) && is_bad(&["--format", "x"]) && is_bad(&["operand"]) && is_bad(&["--dir"]));
        assert!(!is_bad(&["--config", "/x"]), "it cannot stand beside --no-config");
    }

    #[test]
    fn usage_errors_are_one_line_with_a_hint() {
        let error = with_config("", &["--dirr", "x"]).unwrap_err();

        assert_eq!(error.to_string(), "unexpected argument '--dirr' found");
        assert!(crate::hint::of(&error)[0].contains("--dir"), "{:?}", crate::hint::of(&error));
    }

    #[test]
    fn options_that_destroy_have_no_environment_variable() {
        let command = command::<Demo>();
        let variable = |id: &str| {
            let arg = command.get_arguments().find(|arg| arg.get_id() == id).unwrap();
            arg.get_env().map(|name| name.to_owned())
        };

        assert_eq!(variable("dir"), Some("DEMO_TOOL_FOR_TESTS_DIR".into()));
        assert_eq!(variable("fast"), None);
        assert_eq!(variable("config"), None);
    }
}
