//! What a database needs over the weeks: vacuum, sound pages, a cache that is large enough, indexes that are of use.

use super::check::Check;
use super::facts::{Facts, Relation, Table};
use super::judge::{NAMED, told};
use super::limits::Limits;
use common::report::{Measure, Part, Unit};
use common::status::Status;
use common::text;

/// Where transaction numbers come round. Source: PostgreSQL documentation, "Preventing Transaction ID Wraparound Failures".
const ROUND: f64 = 2_147_483_648.0;
/// How many blocks have to be read before their cache can be judged.
const ENOUGH_BLOCKS: f64 = 1_000_000.0;
/// How old statistics have to be before "never used" means something.
const ENOUGH_TIME: f64 = 7.0 * 86_400.0;

/// How much of the transaction numbers the oldest database has used up.
pub(super) fn wraparound(facts: &Facts, limits: &Limits) -> Part {
    let Some(oldest) = &facts.oldest else { return unsaid(Check::Wraparound) };
    let age = oldest.transactions.max(oldest.multixacts);
    let what = if oldest.multixacts > oldest.transactions { "multixacts" } else { "transactions" };
    let message = format!("database {:?} is {} {what} old", text::line(&oldest.database), Unit::Count.shown(age));
    let measures = vec![limits.measure("wraparound", age * 100.0 / ROUND), Measure::new("age", age, Unit::Count)];
    told(Check::Wraparound, Status::Ok, message, measures)
}

/// Pages whose checksum was wrong when they were read.
pub(super) fn checksums(facts: &Facts, limits: &Limits) -> Part {
    let corrupt = facts.corrupt.as_deref().unwrap_or_default();
    let failures: f64 = corrupt.iter().map(|database| database.failures).sum();
    let names: Vec<_> =
        corrupt.iter().take(NAMED).map(|database| format!("{:?}", text::line(&database.database))).collect();
    let message = match names.as_slice() {
        [] => "no page was found damaged".to_owned(),
        names => format!("{} damaged pages were read in {}", Unit::Count.shown(failures), names.join(", ")),
    };
    told(Check::Checksums, Status::Ok, message, vec![limits.measure("corrupt", failures)])
}

/// Tables with many dead rows, and those that autovacuum does not get to.
pub(super) fn vacuum(facts: &Facts, limits: &Limits) -> Part {
    let Some(vacuum) = &facts.vacuum else { return unsaid(Check::Vacuum) };
    let tables = vacuum.tables.as_deref().unwrap_or_default();
    let share = |table: &Table| table.dead * 100.0 / (table.dead + table.live).max(1.0);
    let worst = tables.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
    let overdue = tables.iter().filter(|table| table.is_due).filter_map(|table| Some((table.vacuumed_seconds?, table)));
    let overdue = overdue.max_by(|a, b| a.0.total_cmp(&b.0));
    let mut texts = Vec::new();
    if !vacuum.is_on {
        texts.push("autovacuum is off".to_owned());
    }
    if let Some(table) = worst {
        let dead = Unit::Count.shown(table.dead);
        texts.push(format!("{} has {dead} dead rows, {}", table.shown(), Unit::Percent.shown(share(table))));
    }
    if let Some((seconds, table)) = overdue {
        texts.push(format!("{} is due and was vacuumed {} ago", table.shown(), Unit::Seconds.shown(seconds)));
    }
    if texts.is_empty() {
        texts.push("no table has many dead rows".to_owned());
    }
    let status = if vacuum.is_on { Status::Ok } else { Status::Warning };
    let dead = limits.measure("dead", worst.map_or(0.0, share));
    let overdue = limits.measure("overdue", overdue.map_or(0.0, |(seconds, _)| seconds));
    told(Check::Vacuum, status, texts.join("; "), vec![dead, overdue])
}

impl Table {
    fn shown(&self) -> String {
        text::line(&format!("{}.{}", self.schema, self.name))
    }
}

/// How many blocks were found in the server's cache, since its statistics began.
pub(super) fn cache(facts: &Facts, limits: &Limits) -> Part {
    let Some(cache) = &facts.cache else { return unsaid(Check::Cache) };
    if cache.fetched < ENOUGH_BLOCKS {
        return told(Check::Cache, Status::Ok, "too little was read to judge it".to_owned(), Vec::new());
    }
    let share = cache.hit * 100.0 / cache.fetched;
    let message = format!("{} of all blocks were found in it", Unit::Percent.shown(share));
    told(Check::Cache, Status::Ok, message, vec![limits.measure("hit", share)])
}

/// Indexes that nobody uses, that are broken, and tables that seem to lack one.
pub(super) fn indexes(facts: &Facts, limits: &Limits) -> Part {
    let Some(indexes) = &facts.indexes else { return told(Check::Indexes, Status::Ok, "none".to_owned(), Vec::new()) };
    let is_known = indexes.since_seconds.is_some_and(|seconds| seconds >= ENOUGH_TIME);
    let [unused, invalid, missing] =
        [&indexes.unused, &indexes.invalid, &indexes.missing].map(|list| list.as_deref().unwrap_or_default());
    let mut texts = Vec::new();
    for (list, words) in [
        (invalid, "left invalid by a CREATE INDEX CONCURRENTLY that failed"),
        (unused, "used by no query"),
        (missing, "read from end to end again and again"),
    ] {
        if !list.is_empty() {
            texts.push(format!("{}: {}", words, named(list)));
        }
    }
    if texts.is_empty() {
        texts.push("nothing to improve was found".to_owned());
    }
    let status = if invalid.is_empty() { Status::Ok } else { Status::Warning };
    let count = |list: &[Relation]| list.len() as f64;
    let mut measures = vec![limits.measure("missing", count(missing))];
    if is_known {
        measures.push(limits.measure("unused", count(unused)));
    } else if !unused.is_empty() {
        texts.push("the statistics are younger than a week, so unused means little yet".to_owned());
    }
    told(Check::Indexes, status, texts.join("; "), measures)
}

fn named(relations: &[Relation]) -> String {
    let shown = |relation: &Relation| {
        format!(
            "{} ({})",
            text::line(&format!("{}.{}", relation.schema, relation.name)),
            Unit::Bytes.shown(relation.bytes)
        )
    };
    let mut names: Vec<_> = relations.iter().take(NAMED).map(shown).collect();
    if relations.len() > NAMED {
        names.push(format!("and {} more", relations.len() - NAMED));
    }
    names.join(", ")
}

/// The slowest statements by their mean time.
pub(super) fn statements(facts: &Facts, limits: &Limits) -> Part {
    let Some(statements) = &facts.statements else {
        let message = "the extension pg_stat_statements is not in this database";
        return told(Check::Statements, Status::Unknown, message.to_owned(), Vec::new());
    };
    let shown = statements.iter().map(|statement| {
        let name = match (&statement.text, &statement.id) {
            (Some(text), _) => format!("{:?}", text::line(&text.split_whitespace().collect::<Vec<_>>().join(" "))),
            (None, id) => format!("statement {}", text::line(id.as_deref().unwrap_or("?"))),
        };
        format!(
            "{name} takes {} ({} calls)",
            Unit::Seconds.shown(statement.seconds),
            Unit::Count.shown(statement.calls)
        )
    });
    let shown: Vec<String> = shown.collect();
    let slowest = statements.iter().map(|statement| statement.seconds).fold(0.0, f64::max);
    let message = if shown.is_empty() { "none was called ten times".to_owned() } else { shown.join("; ") };
    told(Check::Statements, Status::Ok, message, vec![limits.measure("slowest", slowest)])
}

/// How large the database is, and its largest tables.
pub(super) fn size(facts: &Facts, limits: &Limits) -> Part {
    let Some(size) = &facts.size else { return unsaid(Check::Size) };
    let tables = size.tables.as_deref().unwrap_or_default();
    let largest = if tables.is_empty() { String::new() } else { format!(", its largest tables: {}", named(tables)) };
    let message = format!("{}{largest}", Unit::Bytes.shown(size.bytes));
    told(Check::Size, Status::Ok, message, vec![limits.measure("size", size.bytes)])
}

fn unsaid(check: Check) -> Part {
    told(check, Status::Ok, "the server said nothing of it".to_owned(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Cache, Indexes, Oldest, Vacuum};
    use super::*;

    fn status(part: &Part) -> Status {
        crate::found::of_part(part)
    }

    #[test]
    fn half_of_the_transaction_numbers_is_a_warning() {
        let judged = |transactions, multixacts| {
            let oldest = Oldest { database: "app".to_owned(), transactions, multixacts };
            wraparound(&Facts { oldest: Some(oldest), ..Facts::default() }, &Limits::default())
        };

        assert_eq!(status(&judged(2e8, 0.0)), Status::Ok);
        assert_eq!(status(&judged(1.1e9, 0.0)), Status::Warning);
        assert_eq!(status(&judged(1.0, 1.7e9)), Status::Critical);
        assert_eq!(judged(1.0, 1.7e9).message, "database \"app\" is 1,700,000,000 multixacts old");
    }

    fn table(name: &str, dead: f64, live: f64, vacuumed_seconds: Option<f64>) -> Table {
        Table { schema: "public".to_owned(), name: name.to_owned(), dead, live, is_due: true, vacuumed_seconds }
    }

    fn vacuumed(is_on: bool, tables: Vec<Table>) -> Part {
        let vacuum = Vacuum { is_on, tables: Some(tables) };
        vacuum_of(vacuum)
    }

    fn vacuum_of(vacuum: Vacuum) -> Part {
        super::vacuum(&Facts { vacuum: Some(vacuum), ..Facts::default() }, &Limits::default())
    }

    #[test]
    fn tables_that_autovacuum_does_not_get_to_are_told() {
        assert_eq!(status(&vacuumed(true, Vec::new())), Status::Ok);
        assert_eq!(status(&vacuumed(false, Vec::new())), Status::Warning);
        assert_eq!(status(&vacuumed(true, vec![table("a", 3e4, 7e4, Some(60.0))])), Status::Ok);
        let dead = vacuumed(true, vec![table("a", 3e4, 7e4, None), table("b", 6e4, 4e4, None)]);
        assert_eq!((status(&dead), dead.message.as_str()), (Status::Warning, "public.b has 60,000 dead rows, 60 %"));
        assert_eq!(status(&vacuumed(true, vec![table("a", 3e4, 7e4, Some(2e5))])), Status::Warning);
    }

    #[test]
    fn a_cache_is_judged_when_enough_was_read() {
        let judged = |hit, fetched| {
            status(&cache(&Facts { cache: Some(Cache { hit, fetched }), ..Facts::default() }, &Limits::default()))
        };

        assert_eq!(judged(0.0, 1000.0), Status::Ok);
        assert_eq!(judged(5e5, 1e6), Status::Warning);
        assert_eq!(judged(9.9e5, 1e6), Status::Ok);
    }

    #[test]
    fn unused_counts_when_the_statistics_are_a_week_old() {
        let judged = |since| {
            let unused = vec![Relation { schema: "s".to_owned(), name: "i".to_owned(), bytes: 2e7 }];
            let indexes = Indexes { since_seconds: Some(since), unused: Some(unused), invalid: None, missing: None };
            indexes_of(indexes)
        };

        assert_eq!((status(&judged(3600.0)), status(&judged(1e6))), (Status::Ok, Status::Warning));
        assert_eq!(judged(1e6).message, "used by no query: s.i (19.1 MiB)");
    }

    fn indexes_of(indexes: Indexes) -> Part {
        super::indexes(&Facts { indexes: Some(indexes), ..Facts::default() }, &Limits::default())
    }
}
