//! Takes one backup that is proven while it is taken.
//!
//! ```text
//! source -> lock -> sweep -> pg_dump -> scan -> compress -> hash -> verdict -> publish -> lineage -> expire -> Item
//! ```
//!
//! Trouble with one database is an `Item`, and the others are still backed up. Only what stops the whole run (usage, no
//! directory, an env file that cannot be read, no list of databases for `--all`) is an `Err`.

mod advice;
pub mod cli;
mod dump;
mod expire;
mod lineage;
mod report;
pub mod retention;
mod server;
mod source;
mod stdin;

pub use cli::Cli;

use anyhow::{Context as _, Result, anyhow, bail};
use cli::Compress;
use common::backup::catalog::{self, Catalog};
use common::backup::label::{self, Label};
use common::backup::manifest::{self, Group, Kind, Manifest};
use common::cli::Tool as _;
use common::dirfd::Dir;
use common::failpoint;
use common::hint::Hint as _;
use common::lock::{self, Lock, Wait};
use common::pg::client::{Access, Client, Clients};
use common::pg::conninfo::Conninfo;
use common::pg::options::{self, Options};
use common::process::{self, Program};
use common::report::{Item, Report, Style};
use common::status::Status;
use common::units::Stamp;
use dump::{Input, Plan};
use source::Source;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Backs up what the options name.
///
/// # Errors
///
/// What stops the whole run before a database is touched.
pub fn run(cli: &Cli) -> Result<Report> {
    let options = options::check(&cli.pg_dump_options)?;
    let place = Place::open(cli)?;
    if cli.nice {
        be_nice();
    }
    let clients = source::clients(cli)?;
    let sources = source::sources(cli, &clients)?;
    if cli.stdout && sources.len() != 1 {
        bail!("--stdout takes exactly one database");
    }
    let style = if cli.dry_run { Style::Check } else { Style::Action };
    let mut report = Report::new(Cli::NAME, style, Stamp::from(SystemTime::now()));
    report.streamed = cli.stdout && !cli.dry_run;
    let run = Run { cli, options, place, clients };
    report.items = run.all(&sources);
    Ok(report)
}

/// Where backups go.
enum Place {
    Directory(Dir),
    Stdout,
}

impl Place {
    fn open(cli: &Cli) -> Result<Self> {
        if cli.stdout {
            return Ok(Self::Stdout);
        }
        let path = cli
            .dir
            .as_deref()
            .ok_or_else(|| anyhow!("no directory for backups"))
            .hint("name one with --dir or PGBACKUP_DIR, or use --stdout")?;
        let dir = Dir::open(path).map_err(advice::about_directory)?;
        if !cli.allow_shared_dir {
            dir.refuse_strangers().hint("in a container that has no other users: --allow-shared-dir")?;
        }
        Ok(Self::Directory(dir))
    }
}

/// One run over all sources.
struct Run<'a> {
    cli: &'a Cli,
    options: Options,
    place: Place,
    clients: Clients,
}

impl Run<'_> {
    /// Works on `--jobs` sources side by side; the items are in the order of the sources.
    fn all(&self, sources: &[Source]) -> Vec<Item> {
        let next = AtomicUsize::new(0);
        let items = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..usize::from(self.cli.jobs).min(sources.len()) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(source) = sources.get(number) else { break };
                        let found = self.one(source);
                        items.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, found));
                    }
                });
            }
        });
        let mut items = items.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        items.sort_by_key(|(number, _)| *number);
        items.into_iter().flat_map(|(_, items)| items).collect()
    }

    fn one(&self, source: &Source) -> Vec<Item> {
        let began = Instant::now();
        let subject = source.subject();
        let done = common::interrupt::check().and_then(|()| self.prepare(source)).and_then(|job| {
            if self.cli.dry_run {
                return self.rehearse(&job);
            }
            self.back_up(job, began).map(|item| vec![item])
        });
        done.unwrap_or_else(|error| {
            let is_busy = lock::is_held(&error);
            let status = if is_busy { Status::Unknown } else { Status::Critical };
            vec![Item::failed(subject, status, &error)]
        })
    }

    /// Asks the server, chooses the program, and says what is to be done, without doing it.
    fn prepare(&self, source: &Source) -> Result<Job> {
        match source {
            Source::Stream(name) => Ok(Job {
                prefix: label::prefix(self.cli.name.as_deref(), name),
                plan: self.plan(Kind::Stream, name.clone(), None),
                program: None,
            }),
            Source::Database(access) => self.prepare_dump(access, Kind::Database),
            Source::Globals(access) => self.prepare_dump(access, Kind::Globals),
        }
    }

    fn prepare_dump(&self, access: &Access, kind: Kind) -> Result<Job> {
        let psql = source::newest(&self.clients, "psql")?;
        let facts = server::ask(&self.clients, &psql, access)?;
        let name = if kind == Kind::Globals { "pg_dumpall" } else { "pg_dump" };
        let client = self.clients.for_server(name, facts.version())?;
        let mut source = facts.source(access);
        let subject = match kind {
            Kind::Globals => "globals".to_owned(),
            Kind::Database | Kind::Stream => facts.database().to_owned(),
        };
        let mut plan = self.plan(kind, subject, None);
        let mut words = self.options.words.clone();
        if kind == Kind::Globals {
            source.database_oid = 0;
            source.size_bytes = 0;
            // pg_dumpall would take a name with `=` or `://` for an address, and go there.
            let database = Conninfo::database(facts.database()).to_keywords();
            words = vec!["--globals-only".to_owned(), format!("--database={database}")];
            if !facts.may_read_passwords {
                words.push("--no-role-passwords".to_owned());
                plan.notes.push("roles are without their passwords, which this role may not read".to_owned());
            }
        } else {
            plan.expected_rows = facts.rows;
            if self.options.is_partial {
                plan.notes.push(format!("not the whole database: pg_dump {}", words.join(" ")));
            }
        }
        // PGCLIENTENCODING, an address or ALTER DATABASE could ask for another one: the dump would differ or fail.
        words.push(format!("--encoding={}", facts.encoding()));
        if client.version.major > facts.version().major {
            plan.notes.push(format!(
                "{name} {} is newer than the server ({}), which may not know every setting in the dump",
                client.version,
                facts.version()
            ));
        }
        if let Some(safe) = client.version.safe_minor() {
            plan.warnings.push(format!("{name} {} has known holes; update it to {safe} or later", client.version));
        }
        let program = self.clients.command(&client, access, "pgbackup")?.args(&words);
        plan.client =
            Some(manifest::Client { program: name.to_owned(), version: client.version.to_string(), options: words });
        plan.source = Some(source);
        let prefix = label::prefix(self.cli.name.as_deref(), &plan.subject);
        Ok(Job { prefix, plan, program: Some((program, client)) })
    }

    fn plan(&self, kind: Kind, subject: String, source: Option<manifest::Source>) -> Plan {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.cli.threads.map_or(cores, usize::from);
        Plan {
            kind,
            subject,
            name: self.cli.name.clone(),
            source,
            client: None,
            compress: self.cli.compress,
            threads: (threads / usize::from(self.cli.jobs)).max(1),
            expected_rows: 0,
            notes: self.cli.note.clone(),
            warnings: Vec::new(),
        }
    }

    /// `--dry-run`: what would be dumped, and what retention would do with the backups there are.
    fn rehearse(&self, job: &Job) -> Result<Vec<Item>> {
        let with = job.program.as_ref().map_or_else(
            || "standard input".to_owned(),
            |(program, client)| format!("{} {} ({})", program.name(), client.version, client.path.display()),
        );
        let Place::Directory(dir) = &self.place else {
            return Ok(vec![Item::new(&job.plan.subject, Status::Ok, format!("would be streamed, by {with}"))]);
        };
        let message = format!("would be backed up to {:?}, by {with}", dir.join(&format!("{}-STAMP", job.prefix)));
        let mut items = vec![Item::new(&job.plan.subject, Status::Ok, message)];
        let catalog = Catalog::read_where(dir, |label| label.prefix == job.prefix)?;
        let now = Stamp::from(SystemTime::now());
        for decision in expire::decisions(&catalog, &job.prefix, &job.group(), &self.cli.keep_rules(), now) {
            let verb = if decision.keep { "is kept" } else { "would be removed" };
            items.push(Item::new(decision.label, Status::Ok, format!("{verb}: {}", decision.reasons.join(", "))));
        }
        Ok(items)
    }

    fn back_up(&self, job: Job, began: Instant) -> Result<Item> {
        match &self.place {
            Place::Stdout => {
                let subject = job.plan.subject.clone();
                let Compress { codec, .. } = job.plan.compress;
                let (plan, input) = job.start()?;
                dump::to_stdout(&plan, input)?;
                Ok(Item::new(subject, Status::Ok, format!("streamed as {}", format!("{codec:?}").to_lowercase())))
            }
            Place::Directory(dir) => self.store_in(dir, job, began).map_err(advice::about_directory),
        }
    }

    fn store_in(&self, dir: &Dir, job: Job, began: Instant) -> Result<Item> {
        let wait = self.cli.wait.map_or(Wait::No, Wait::Upto);
        let _lock = Lock::take(dir, &catalog::lock_name(&job.prefix), wait).map_err(|error| {
            let advice = "wait for it with --wait DURATION, or let this run be";
            if lock::is_held(&error) { common::hint::with(error, advice) } else { error }
        })?;
        failpoint!("locked")?;
        sweep(dir, &job.prefix)?;
        let prefix = job.prefix.clone();
        let group = job.group();
        let before = Catalog::read_where(dir, |label| label.prefix == prefix)?;
        let label = free_label(dir, &prefix)?;
        let (plan, input) = job.start()?;
        let warnings = plan.warnings.clone();
        let cluster = plan.source.as_ref().map(|source| source.system_identifier.clone());
        // What claims to come from the future is no measure for tonight's rows.
        let latest = label.stamp.saturating_add(catalog::CLOCK_SLACK);
        let manifest = dump::to_directory(dir, &label, plan, input, |pass| {
            let kin: Vec<_> = before
                .backups
                .iter()
                .filter(|backup| backup.label.stamp <= latest)
                .filter(|backup| backup.manifest.as_ref().is_ok_and(|manifest| manifest.kind == group.kind))
                .collect();
            let weight = lineage::weight(pass.content.as_ref(), pass.totals.plain_bytes);
            lineage::judge(&kin, &group, cluster.as_deref(), weight, self.cli.accept_source)
        })?;
        let expired = self.expire(dir, &prefix, &group, &manifest);
        Ok(report::item(dir, &manifest, &warnings, expired, began.elapsed()))
    }

    fn expire(&self, dir: &Dir, prefix: &str, group: &Group, manifest: &Manifest) -> Result<expire::Expired> {
        let keep = self.cli.keep_rules();
        if keep.is_unlimited() || !manifest.lineage.is_trusted() {
            return Ok(expire::Expired::default());
        }
        // A stop request that came after the commit: the backup is made, the rest can wait.
        common::interrupt::check()?;
        failpoint!("expiring")?;
        expire::run(dir, prefix, group, &keep, Stamp::from(SystemTime::now()))
    }
}

/// One backup to be made.
struct Job {
    prefix: String,
    plan: Plan,
    program: Option<(Program, Client)>,
}

impl Job {
    fn start(self) -> Result<(Plan, Input)> {
        let input = match self.program {
            None => Input::Stdin,
            Some((program, _)) => Input::Child(program.start(process::Input::None)?),
        };
        Ok((self.plan, input))
    }

    fn group(&self) -> Group {
        let plan = &self.plan;
        Group::new(plan.name.as_deref(), plan.source.as_ref(), plan.kind, &plan.subject)
    }
}

/// Sweeps what killed runs left: of this database, and of those that nobody backs up any more or right now.
fn sweep(dir: &Dir, own: &str) -> Result<()> {
    for label in catalog::sweep(dir, own)? {
        common::info!("swept what a killed run left of {label}");
    }
    for prefix in catalog::leftover_prefixes(dir)? {
        if prefix == own {
            continue;
        }
        if let Ok(_lock) = Lock::take(dir, &catalog::lock_name(&prefix), Wait::No) {
            catalog::sweep(dir, &prefix)?;
        }
    }
    Ok(())
}

/// The label of this second, or of the next one where a backup or a file of somebody else has it.
fn free_label(dir: &Dir, prefix: &str) -> Result<Label> {
    loop {
        let label = Label { prefix: prefix.to_owned(), stamp: Stamp::from(SystemTime::now()) };
        let start = format!("{label}.");
        let names = dir.names().with_context(|| format!("cannot read directory {:?}", dir.path()))?;
        if !names.iter().any(|name| name.starts_with(&start)) {
            return Ok(label);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lowest priority for cpu and disk. It helps or it does not; a backup is made either way.
fn be_nice() {
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        common::warn!("cannot lower the cpu priority: {error}");
    }
    let pid = std::process::id().to_string();
    let lowered = process::find("ionice")
        .context("cannot find the program ionice")
        .and_then(|ionice| Program::new(&ionice).args(["-c", "3", "-p", &pid]).output(Duration::from_secs(10), 4096));
    if let Err(error) = lowered {
        common::warn!("cannot lower the disk priority: {error:#}");
    }
}
