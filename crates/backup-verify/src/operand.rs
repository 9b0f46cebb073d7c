//! What the operands and the lines of standard input stand for.

use anyhow::{Context as _, Result, bail, ensure};
use common::backup::foreign;
use common::report::Item;
use common::status::Status;
use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

/// The longest line that is read from standard input.
const LINE: u64 = 64 * 1024;

/// One thing to check.
#[derive(Debug)]
pub enum Operand {
    /// A backup.
    Backup {
        /// Any file of it, or its label.
        path: PathBuf,
        /// What the tool that made it had to say beside OK.
        remark: Option<Item>,
    },
    /// A directory of backups.
    Place(PathBuf),
    /// What could not be made, as another tool reported it.
    Failed(Item),
}

/// All operands in their order; `-` stands for the lines of standard input.
///
/// # Errors
///
/// A line that is too long or no text; no line at all, because then the tool in front of the pipe has failed.
pub fn all(paths: &[PathBuf], stdin: impl BufRead) -> Result<Vec<Operand>> {
    let mut operands = Vec::new();
    let mut stdin = Some(stdin);
    for path in paths {
        if path != Path::new("-") {
            operands.push(of(path.clone()));
            continue;
        }
        let Some(stdin) = stdin.take() else { bail!("- can be given only once") };
        let before = operands.len();
        lines(stdin, &mut operands)?;
        ensure!(operands.len() > before, "standard input names no backup");
    }
    Ok(operands)
}

fn of(path: PathBuf) -> Operand {
    if path.is_dir() && !foreign::is_directory_format(&path) {
        Operand::Place(path)
    } else {
        Operand::Backup { path, remark: None }
    }
}

fn lines(mut input: impl BufRead, operands: &mut Vec<Operand>) -> Result<()> {
    for number in 1.. {
        let mut line = String::new();
        let act = || format!("cannot read line {number} of standard input");
        let count = (&mut input).take(LINE).read_line(&mut line).with_context(act)?;
        if count == 0 {
            break;
        }
        ensure!(line.ends_with('\n') || (count as u64) < LINE, "{}: it is too long", act());
        let line = line.trim_end_matches('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        operands.push(if line.starts_with('{') { reported(line).with_context(act)? } else { of(PathBuf::from(line)) });
    }
    Ok(())
}

/// An item that pgbackup printed with `--format json`.
fn reported(line: &str) -> Result<Operand> {
    let object: serde_json::Value = serde_json::from_str(line)?;
    let text = |key: &str| object.get(key).and_then(serde_json::Value::as_str);
    let (tool, subject) = (text("tool").context("no tool")?, text("subject").context("no subject")?);
    let status = text("status").and_then(Status::from_word).context("no status")?;
    let message = format!("{tool}: {}", text("message").unwrap_or_default());
    let mut item = Item::new(subject, status, message);
    let hints = object.get("hints").and_then(serde_json::Value::as_array).into_iter().flatten();
    item.hints = hints.filter_map(serde_json::Value::as_str).map(str::to_owned).collect();
    Ok(match text("path") {
        Some(path) => Operand::Backup { path: path.into(), remark: (status != Status::Ok).then_some(item) },
        None if status == Status::Ok => bail!("no path"),
        None => Operand::Failed(item),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Result<Vec<String>> {
        let operands = all(&["-".into()], input.as_bytes())?;
        Ok(operands
            .iter()
            .map(|operand| match operand {
                Operand::Backup { path, remark } => {
                    format!("{} {:?}", path.display(), remark.as_ref().map(|item| item.status))
                }
                Operand::Place(path) => format!("{}/", path.display()),
                Operand::Failed(item) => format!("{} {} {}", item.status.word(), item.subject, item.message),
            })
            .collect())
    }

    #[test]
    fn lines_are_paths_directories_or_reports() {
        let input = "# comment\n\n/srv/a.sql.gz\n/tmp\n\
            {\"tool\":\"pgbackup\",\"subject\":\"b\",\"status\":\"WARNING\",\"message\":\"m\",\"path\":\"/srv/b.sql.gz\"}\n\
            {\"tool\":\"pgbackup\",\"subject\":\"c\",\"status\":\"CRITICAL\",\"message\":\"gone\"}";

        assert_eq!(
            read(input).unwrap(),
            ["/srv/a.sql.gz None", "/tmp/", "/srv/b.sql.gz Some(Warning)", "CRITICAL c pgbackup: gone"]
        );
    }

    #[test]
    fn an_empty_input_is_an_error_because_nothing_was_checked() {
        assert_eq!(read("").unwrap_err().to_string(), "standard input names no backup");
    }

    #[test]
    fn a_line_that_is_no_report_is_named() {
        let error = read("/a\n{\"tool\":1}\n").unwrap_err();

        assert!(format!("{error:#}").starts_with("cannot read line 2 of standard input"), "{error:#}");
    }

    #[test]
    fn an_endless_line_is_refused() {
        assert!(read(&"x".repeat(100_000)).is_err());
    }
}
