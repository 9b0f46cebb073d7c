//! Goes through a dump in its order: carries out statements, and hands rows and what may run side by side to a pool.
//!
//! ```text
//! before the rows   one connection, in the order of the dump
//! rows              many connections, big tables in parts
//! behind the rows   runs of indexes and constraints on many connections; all else in the order of the dump
//! at the end        comments, owners, grants, event triggers
//! ```

use super::connection::{Connection, Context, Login};
use super::locks;
use super::pool::{self, Pool, Task, Work};
use super::rows::{self, Block};
use super::stream::Stream;
use super::{at, login::Rights};
use crate::gate::{self, Class};
use anyhow::{Context as _, Result, ensure};
use common::backup::scan::Header;
use common::backup::seek::Seekable;
use common::backup::statements::{Splitter, Then, Visitor};
use common::hint::Hint as _;
use common::pg::quote;
use common::pg::session::Session;
use common::progress::Progress;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of a table are no smaller, so that each COPY is worth its while.
const SMALLEST_PART: u64 = 16 << 20;

/// How a dump is loaded.
pub struct Plan<'a> {
    /// The rows that are in it.
    pub blocks: &'a [Block],
    /// How connections log in.
    pub login: &'a Login,
    /// Whose rights they have.
    pub rights: Rights,
    /// The archive and the number of connections, where rows can be read out of order.
    pub parallel: Option<(&'a Seekable, usize)>,
    /// Who owns what the dump gives no owner.
    pub owner: &'a str,
    /// What the bar is called, and how many rows there are.
    pub subject: &'a str,
}

/// What has statistics, the smallest first; a partitioned table gathers those of its partitions, too.
const ANALYZED: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c \
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,m}') AND NOT c.relispartition \
    AND pg_catalog.pg_has_role(c.relowner, 'USAGE') AND n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' \
    ORDER BY c.relkind OPERATOR(pg_catalog.=) 'p', pg_catalog.pg_relation_size(c.oid)";

/// The tables and sequences that extensions say are configuration.
const CONFIGURATION: &str = "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(\
        'schema', n.nspname, 'name', c.relname, 'is_sequence', c.relkind OPERATOR(pg_catalog.=) 'S')), '[]') \
    FROM pg_catalog.pg_extension AS e CROSS JOIN LATERAL pg_catalog.unnest(e.extconfig) AS config \
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) config \
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace";

/// A table or sequence that an extension says is configuration.
#[derive(Deserialize)]
struct Configuration {
    schema: String,
    name: String,
    is_sequence: bool,
}

/// What waits for the end.
#[derive(Default)]
struct Deferred {
    comments: Vec<(Vec<u8>, u64)>,
    owners: Vec<(Vec<u8>, u64)>,
    grants: Vec<(Vec<u8>, u64)>,
    last: Vec<(Vec<u8>, u64)>,
}

/// A load under way.
pub struct Walk<'a> {
    plan: &'a Plan<'a>,
    connection: &'a mut Connection,
    admin: &'a mut Session,
    encoding: String,
    context: Context,
    /// Counts entries, so that the statements of one stay together.
    entry: u64,
    kind: String,
    head: Vec<u8>,
    rows: Vec<Task>,
    /// Indexes and constraints, or foreign keys: what may be in one run.
    batch: Vec<(u64, Task)>,
    batch_kind: &'static str,
    deferred: Deferred,
    counts: Vec<(usize, u64)>,
    progress: Progress,
    done_rows: u64,
    sent: AtomicU64,
    weights: BTreeMap<String, u64>,
}

/// Loads the whole of a stream.
///
/// # Errors
///
/// What the server or the archive says, a statement that does not pass, rows that are not as many as recorded.
pub fn load(
    plan: &Plan<'_>,
    mut stream: Stream<'_>,
    connection: &mut Connection,
    admin: &mut Session,
    analyze: bool,
) -> Result<()> {
    let total = plan.blocks.iter().map(|block| block.table.rows).sum();
    let mut walk = Walk {
        plan,
        connection,
        admin,
        encoding: "UTF8".to_owned(),
        context: Context::new(),
        entry: 0,
        kind: String::new(),
        head: Vec::new(),
        rows: Vec::new(),
        batch: Vec::new(),
        batch_kind: "",
        deferred: Deferred::default(),
        counts: Vec::new(),
        progress: Progress::start(plan.subject, total),
        done_rows: 0,
        sent: AtomicU64::new(0),
        weights: plan.blocks.iter().map(|block| (rows::shown(&block.table), block.table.bytes)).collect(),
    };
    let mut splitter = Splitter::new();
    let mut next = 0;
    loop {
        common::interrupt::check()?;
        if splitter.is_at_rows() {
            let block = plan.blocks.get(next).filter(|block| block.range.start == stream.offset());
            let block =
                block.with_context(|| format!("line {}: rows that the index does not know", splitter.line()))?;
            let bytes = block.range.end - block.range.start;
            walk.block(next, block, &mut stream)?;
            stream.rows_end()?;
            splitter.rows_passed(bytes + rows::END.len() as u64, block.table.rows + 1);
            next += 1;
            continue;
        }
        let piece = stream.fill()?;
        if piece.is_empty() {
            break;
        }
        let taken = splitter.feed(piece, &mut walk)?;
        stream.consume(taken);
    }
    splitter.finish(&mut walk)?;
    ensure!(
        next == plan.blocks.len(),
        "the dump holds the rows of {next} tables, the index those of {}",
        plan.blocks.len()
    );
    walk.flush_rows()?;
    walk.flush_batch()?;
    pool::compare(plan.blocks, &walk.counts)?;
    common::failpoint!("loaded")?;
    walk.end(analyze)
}

impl Visitor for Walk<'_> {
    fn header(&mut self, header: Header) -> Result<()> {
        self.entry += 1;
        self.kind = header.kind;
        Ok(())
    }

    fn statement(&mut self, text: &[u8], line: u64) -> Result<Then> {
        common::interrupt::check()?;
        let class = gate::class(text).with_context(|| format!("line {line}"))?;
        let kept = || (text.to_vec(), line);
        match class {
            Class::Settled => self.settled(text),
            Class::Context => self.remember(text)?,
            Class::Comment => self.deferred.comments.push(kept()),
            Class::Owner => self.deferred.owners.push(kept()),
            Class::Grant => self.deferred.grants.push(kept()),
            Class::Last => self.deferred.last.push(kept()),
            Class::Rows => {
                text.clone_into(&mut self.head);
                return Ok(Then::Rows);
            }
            Class::Value => self.run(text, line)?,
            Class::Load if self.joins_batch(text, line)? => {}
            Class::Load => {
                self.flush_rows()?;
                self.flush_batch()?;
                self.run(text, line)?;
            }
            Class::Admin => {
                self.flush_rows()?;
                self.flush_batch()?;
                self.as_admin(text, line)?;
            }
        }
        Ok(Then::Sql)
    }
}

impl Walk<'_> {
    fn settled(&mut self, text: &[u8]) {
        if let Some(encoding) = text.strip_prefix(b"SET client_encoding = '")
            && let Some(encoding) = encoding.strip_suffix(b"';")
        {
            self.encoding = common::text::bytes(encoding);
        }
    }

    fn remember(&mut self, text: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(text);
        let Some((name, value)) = text.trim_start_matches("SET ").trim_end_matches(';').split_once(" = ") else {
            return Ok(());
        };
        let before = self.context.insert(name.to_owned(), value.to_owned());
        let is_new = before.as_deref() != Some(value) && value != "''";
        if name == "default_tablespace" && is_new && self.plan.rights == Rights::Temporary {
            let role = quote::identifier(&self.plan.login.user)?;
            ensure!(gate::is_identifier(value.as_bytes()), "the dump names a strange tablespace: {value:?}");
            let grant = format!("GRANT CREATE ON TABLESPACE {value} TO {role}");
            self.admin.run_verbatim(grant.as_bytes(), &self.encoding)?;
        }
        Ok(())
    }

    fn run(&mut self, text: &[u8], line: u64) -> Result<()> {
        self.connection
            .run(text, &self.encoding, &self.context)
            .with_context(|| at(line, text))
            .map_err(needs_superuser)
    }

    /// By the operator's own session, where the role that loads may not.
    fn as_admin(&mut self, text: &[u8], line: u64) -> Result<()> {
        match self.plan.rights {
            Rights::Temporary => {
                self.admin.run_verbatim(text, &self.encoding).with_context(|| at(line, text))?;
                if text.starts_with(b"CREATE EXTENSION") {
                    self.admit().with_context(|| at(line, text))?;
                }
                Ok(())
            }
            Rights::Own | Rights::Superuser => self.run(text, line),
        }
    }

    /// Lets the role that loads fill what an extension says is configuration: those tables belong to whoever made the
    /// extension, and a dump holds the rows that users have added. Taken away with `DROP OWNED` at the end.
    fn admit(&mut self) -> Result<()> {
        let role = quote::identifier(&self.plan.login.user)?;
        let all: Vec<Configuration> = self.admin.ask(CONFIGURATION)?;
        for Configuration { schema, name, is_sequence } in all {
            let (schema, name) = (quote::identifier(&schema)?, quote::identifier(&name)?);
            let right = if is_sequence { "SELECT, UPDATE ON SEQUENCE" } else { "SELECT, INSERT ON TABLE" };
            self.admin
                .run(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT {right} {schema}.{name} TO {role}"))?;
        }
        Ok(())
    }

    /// Rows: now, or with all others.
    fn block(&mut self, number: usize, block: &Block, stream: &mut Stream<'_>) -> Result<()> {
        let Some((archive, jobs)) = self.plan.parallel else { return self.copy(number, block, stream) };
        let bytes: u64 = self.plan.blocks.iter().map(|block| block.table.bytes).sum();
        // One part a connection: parts of a table come to lie side by side on disk, so there should be few.
        let size = (bytes / jobs as u64).max(SMALLEST_PART);
        let parts = if jobs > 1 { rows::cut(archive, block, size) } else { vec![block.range.clone()] };
        for part in parts {
            let weight = part.end - part.start;
            let head = self.head.clone();
            let work = Work::Rows { block: number, part, head };
            self.rows.push(Task { work, alone: BTreeSet::new(), shared: BTreeSet::new(), weight });
        }
        stream.skip(block.range.end - block.range.start)
    }

    fn copy(&mut self, number: usize, block: &Block, stream: &mut Stream<'_>) -> Result<()> {
        let bytes = block.range.end - block.range.start;
        let (progress, sent, done) = (&mut self.progress, &self.sent, self.done_rows);
        let feed = |take: &mut dyn FnMut(&[u8]) -> Result<()>| {
            stream.pass(bytes, &mut |piece| {
                let sent = sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                progress.update(done, sent);
                take(piece)
            })
        };
        let rows = if rows::is_large(&block.range) {
            self.connection.copy_fresh(&self.head, &self.encoding, feed)
        } else {
            self.connection.copy(&self.head, &self.encoding, feed)
        };
        let rows = rows.with_context(|| format!("cannot fill table {}", rows::shown(&block.table)))?;
        common::failpoint!("rows-loaded")?;
        self.done_rows += rows;
        self.counts.push((number, rows));
        Ok(())
    }

    fn flush_rows(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        common::failpoint!("rows-begin")?;
        let tasks = std::mem::take(&mut self.rows);
        let counts = self.pool(tasks)?;
        self.counts.extend(counts);
        Ok(())
    }

    fn flush_batch(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let tasks = std::mem::take(&mut self.batch).into_iter().map(|(_, task)| task).collect();
        self.pool(tasks).map(|_| ()).map_err(needs_superuser)
    }

    fn pool(&mut self, tasks: Vec<Task>) -> Result<Vec<(usize, u64)>> {
        let (archive, jobs) = self.plan.parallel.context("no pool")?;
        let pool = Pool {
            login: self.plan.login,
            jobs,
            archive,
            blocks: self.plan.blocks,
            encoding: &self.encoding,
            sent: &self.sent,
        };
        pool.run(tasks, self.connection, &mut self.progress)
    }

    /// Whether a statement can wait and run beside others of its kind.
    fn joins_batch(&mut self, text: &[u8], line: u64) -> Result<bool> {
        let kind = match self.kind.as_str() {
            "INDEX" | "CONSTRAINT" => "INDEX",
            "FK CONSTRAINT" => "FK",
            _ => return Ok(false),
        };
        let Some(locks) = self.plan.parallel.and_then(|_| locks::locked(text)) else { return Ok(false) };
        self.flush_rows()?;
        if self.batch_kind != kind {
            self.flush_batch()?;
            self.batch_kind = kind;
        }
        let weigh = |names: &BTreeSet<String>| names.iter().filter_map(|name| self.weights.get(name)).sum::<u64>();
        let weight = weigh(&locks.alone) + weigh(&locks.shared);
        let statement = (text.to_vec(), line, self.context.clone());
        match self.batch.last_mut() {
            Some((entry, task)) if *entry == self.entry => {
                task.alone.extend(locks.alone);
                // What was made for readers must be alone with what follows.
                task.alone.extend(std::mem::take(&mut task.shared));
                if let Work::Statements(statements) = &mut task.work {
                    statements.push(statement);
                }
            }
            _ => {
                let work = Work::Statements(vec![statement]);
                self.batch.push((self.entry, Task { work, alone: locks.alone, shared: locks.shared, weight }));
            }
        }
        Ok(true)
    }

    /// What waited for the end. Owners change before rights are granted, because a grant says who gave it.
    fn end(&mut self, analyze: bool) -> Result<()> {
        let deferred = std::mem::take(&mut self.deferred);
        self.all(&deferred.comments)?;
        if analyze {
            self.analyze().context("cannot analyze the new database")?;
        }
        self.all(&deferred.owners)?;
        if self.plan.rights == Rights::Temporary {
            let (from, to) = (
                common::pg::quote::identifier(&self.plan.login.user)?,
                common::pg::quote::identifier(self.plan.owner)?,
            );
            self.admin
                .run(&format!("REASSIGN OWNED BY {from} TO {to}; DROP OWNED BY {from}"))
                .context("cannot hand over what the dump gives no owner")?;
        }
        self.all(&deferred.grants)?;
        self.all(&deferred.last)
    }

    /// Gathers statistics, of many tables side by side.
    fn analyze(&mut self) -> Result<()> {
        if self.plan.parallel.is_none() {
            return self.connection.execute("ANALYZE");
        }
        let tables = self.connection.texts(ANALYZED)?;
        let task = |(number, table): (usize, String)| Task {
            work: Work::Statements(vec![(format!("ANALYZE {table}").into_bytes(), 0, self.context.clone())]),
            alone: BTreeSet::new(),
            shared: BTreeSet::new(),
            weight: number as u64,
        };
        let tasks = tables.into_iter().enumerate().map(task).collect();
        self.pool(tasks).map(|_| ())
    }

    fn all(&mut self, statements: &[(Vec<u8>, u64)]) -> Result<()> {
        for (text, line) in statements {
            common::interrupt::check()?;
            self.as_admin(text, *line)?;
        }
        Ok(())
    }
}

/// What only a superuser may do, and we leave undone without being asked.
fn needs_superuser(error: anyhow::Error) -> anyhow::Error {
    // An aggregate of functions in C is the one refusal with a code of its own.
    let is_aggregate = format!("{error:#}").contains("transition data type cannot be internal");
    if super::connection::code(&error) != Some("42501") && !is_aggregate {
        return error;
    }
    Err::<(), _>(error)
        .hint("only a superuser may do this; if you trust whoever wrote the dump as much as the server's owner: --as-superuser")
        .expect_err("it is an error")
}
