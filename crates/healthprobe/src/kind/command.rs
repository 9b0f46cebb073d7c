//! `command:PROGRAM ARGUMENTS`: any Monitoring Plugin; its status, text and performance data are kept.

use super::Context;
use crate::child;
use crate::found::Found;
use crate::options::{Options, Origin};
use crate::perfdata;
use anyhow::{Context as _, Result, ensure};
use common::hint::Hint as _;
use common::process::{self, Program};
use common::status::Status;
use common::words;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

/// What is kept of the output of a plugin.
const OUTPUT: usize = 64 * 1024;
/// Where distributions put plugins; looked at after PATH.
const PLUGINS: [&str; 3] = ["/usr/lib/nagios/plugins", "/usr/lib64/nagios/plugins", "/usr/lib/monitoring-plugins"];

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    program: String,
    arguments: Vec<String>,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        origin.may("command:")?;
        let mut words = options.rest();
        if words.is_empty() && address.contains(' ') {
            // All of it in one pair of quotes.
            words = words::split(address)?;
        } else if !address.is_empty() {
            words.insert(0, address.to_owned());
        }
        ensure!(!words.is_empty(), "command: names no program");
        let program = words.remove(0);
        ensure!(!program.starts_with('-'), "{program:?} is no program");
        Ok(Self { program, arguments: words })
    }

    pub(crate) fn subject(&self) -> String {
        let name = self.program.rsplit('/').next().unwrap_or(&self.program);
        std::iter::once(name).chain(self.arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        self.run(context).unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    fn run(&self, context: &Context) -> Result<Found> {
        let program = Program::new(&self.find()?).args(&self.arguments);
        let ran = child::run(program, context.left(), OUTPUT)?;
        Ok(judge(ran.status.code(), ran.status.signal(), &ran.stdout, &ran.stderr))
    }

    fn find(&self) -> Result<PathBuf> {
        if self.program.contains('/') {
            let path = PathBuf::from(&self.program);
            ensure!(path.is_absolute(), "{path:?} is no absolute path");
            return Ok(path);
        }
        let plugin = || {
            let dirs = PLUGINS.iter().map(PathBuf::from).filter(|dir| common::dirfd::is_trusted_program_dir(dir));
            dirs.map(|dir| dir.join(&self.program)).find(|path| process::is_executable(path))
        };
        process::find(&self.program)
            .or_else(plugin)
            .with_context(|| format!("cannot find the program {:?}", self.program))
            .hint("name it by its whole path, or install it: apt-get install monitoring-plugins")
    }
}

/// Exit status 0 to 3 is the verdict; the first line up to a bar is the text. Source: Monitoring Plugins guidelines.
fn judge(code: Option<i32>, signal: Option<i32>, stdout: &str, stderr: &str) -> Found {
    let output = perfdata::Output::parse(stdout);
    let said = |text: &str| if text.is_empty() { first_line(stderr) } else { text.to_owned() };
    let text = said(&output.text);
    let status = match code {
        Some(0) => Status::Ok,
        Some(1) => Status::Warning,
        Some(2) => Status::Critical,
        Some(3) => Status::Unknown,
        Some(other) => {
            let found = Found::unknown(format!("it ended with exit status {other}, which is none of a plugin: {text}"));
            return match other {
                126 | 127 => found.hint("a shell says so of a program that it cannot find or run"),
                _ => found,
            };
        }
        None => return Found::unknown(format!("it was killed by signal {}: {text}", signal.unwrap_or_default())),
    };
    let text = if text.is_empty() { "it said nothing".to_owned() } else { text };
    let mut found = Found::new(status, text);
    found.measures = output.measures;
    found
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_keeps_its_status_text_and_numbers() {
        let found = judge(Some(1), None, "DISK WARNING - low | /=12MB;20;30;0;40\nmore\n", "noise");

        assert_eq!((found.verdict(), found.message.as_str()), (Status::Warning, "DISK WARNING - low"));
        assert_eq!(found.measures[0].value, 12.0 * 1024.0 * 1024.0);
    }

    #[test]
    fn what_no_plugin_does_is_unknown() {
        assert_eq!(judge(Some(127), None, "", "sh: x: not found\n").verdict(), Status::Unknown);
        let killed = judge(None, Some(9), "", "");
        assert_eq!((killed.verdict(), killed.message.as_str()), (Status::Unknown, "it was killed by signal 9: "));
    }

    #[test]
    fn a_command_is_its_words() {
        let parse = |line: &str| {
            let mut words = words::list(line).unwrap();
            let address = words.remove(0);
            let mut options = Options::new(words, Origin::Operator);
            let probe = Probe::parse(address.strip_prefix("command:").unwrap(), &mut options, Origin::Operator);
            probe.map(|probe| (probe.program, probe.arguments)).map_err(|error| error.to_string())
        };
        let expected = Ok(("check_x".to_owned(), vec!["-w".to_owned(), "a b".to_owned()]));

        assert_eq!(parse("command:check_x -w 'a b'"), expected);
        assert_eq!(parse("command: check_x -w 'a b'"), expected);
        assert_eq!(parse("'command:check_x -w \"a b\"'"), expected);
        assert!(parse("'command:a | b'").is_err());
        assert!(parse("command:").is_err());
    }

    #[test]
    fn a_pipe_runs_nothing() {
        let mut options = Options::new(Vec::new(), Origin::Pipe);

        assert!(Probe::parse("id", &mut options, Origin::Pipe).is_err());
    }
}
