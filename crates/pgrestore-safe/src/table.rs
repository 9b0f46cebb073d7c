//! `--table`: the rows of some tables into the existing, empty ones, straight from their place in the archive.
//!
//! All of them in one transaction: either every table has its rows, or none.

use crate::cli::Cli;
use crate::load;
use crate::select::{self, Source};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow};
use common::backup::index::Table;
use common::hint::Hint as _;
use common::pg::quote::identifier;
use common::report::{Item, Key, Value};
use common::status::Status;
use common::units::{self, Stamp};
use std::time::Instant;

const ROWS: Key = Key::new("rows", "Rows loaded");
const DURATION: Key = Key::new("duration_seconds", "How long it took");

/// Loads the rows of the tables that the options name.
///
/// # Errors
///
/// What stands against it before anything is touched.
pub fn run(cli: &Cli, now: Stamp) -> Result<Vec<Item>> {
    let began = Instant::now();
    let target = Target::of(cli)?;
    let source = match select::verify(select::select(cli, &target, now)?, &target) {
        Ok(source) => source,
        Err(error) => return Ok(vec![Item::failed(&target.name, Status::Critical, &error)]),
    };
    let _pinned = source.pin();
    let wanted = cli.table.iter().map(|name| find(&source, name)).collect::<Result<Vec<_>>>()?;
    if cli.dry_run {
        let would = |table: &Table| format!("{} would be loaded", units::things(table.rows, "row"));
        return Ok(wanted.iter().map(|table| Item::new(shown(table), Status::Ok, would(table))).collect());
    }
    let loaded = load::tables(&target, &source, &wanted, cli.as_superuser);
    Ok(wanted
        .iter()
        .map(|table| match &loaded {
            Ok(()) => {
                let message = format!(
                    "{} loaded from {} in {}",
                    units::things(table.rows, "row"),
                    source.shown(),
                    units::duration(began.elapsed())
                );
                Item::new(shown(table), Status::Ok, message)
                    .with(ROWS, Value::Count(table.rows))
                    .with(DURATION, Value::Seconds(began.elapsed()))
            }
            Err(error) => Item::failed(shown(table), Status::Critical, error),
        })
        .collect())
}

fn shown(table: &Table) -> String {
    format!("{}.{}", table.schema, table.name)
}

/// The table of that name in the backup; one without a schema where only one schema has it.
fn find(source: &Source, name: &str) -> Result<Table> {
    let exact = source.tables().iter().find(|table| shown(table) == name);
    let alike: Vec<_> = source.tables().iter().filter(|table| table.name == name).collect();
    match (exact, alike.as_slice()) {
        (Some(table), _) => Ok(table.clone()),
        (None, [table]) => Ok((*table).clone()),
        (None, []) => Err(anyhow!("the backup holds no rows of table {name:?}"))
            .hint("write SCHEMA.TABLE as the backup has it; the rows of a partitioned table are in its partitions"),
        (None, [..]) => Err(anyhow!("several schemas have a table {name:?}")).hint("write SCHEMA.TABLE"),
    }
}

/// A table in SQL.
///
/// # Errors
///
/// Where a name holds a NUL byte.
pub fn quoted(table: &Table) -> Result<String> {
    Ok(format!("{}.{}", identifier(&table.schema)?, identifier(&table.name)?))
}

/// The statement that takes the rows, made of the names in the index: nothing else of it reaches the server.
///
/// # Errors
///
/// A list of columns that pg_dump does not write.
pub fn copy(table: &Table) -> Result<String> {
    let columns = columns(&table.columns).with_context(|| format!("the columns of {} are damaged", shown(table)))?;
    let quoted = columns.iter().map(|name| identifier(name)).collect::<Result<Vec<_>>>()?.join(", ");
    let list = if columns.is_empty() { String::new() } else { format!(" ({quoted})") };
    Ok(format!("COPY {}{list} FROM stdin;", self::quoted(table)?))
}

/// Reads `(a, "b c")`.
fn columns(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut names = Vec::new();
    loop {
        let (name, after) = name(rest)?;
        names.push(name);
        match after.strip_prefix(", ") {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(names),
        }
    }
}

fn name(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if chars.next_if(|(_, next)| *next == '"').is_some() => name.push('"'),
            '"' => return Some((name, &quoted[at + 1..])),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_columns_is_read_and_written_anew() {
        assert_eq!(columns("(a, \"b \"\"c, d\", é1)").unwrap(), ["a", "b \"c, d", "é1"]);
        assert_eq!(columns("").unwrap(), Vec::<String>::new());
        for wrong in ["(a) FROM PROGRAM 'id'", "(a, )", "(\"a)", "a", "(a b)"] {
            assert_eq!(columns(wrong), None, "{wrong}");
        }
    }
}
