//! The whole restore, in order. Up to the swap nothing is done to the live database but a backup of it.

use crate::cli::Cli;
use crate::database;
use crate::exchange::Exchange;
use crate::load::{self, Loaded, Order};
use crate::preflight::{self, Application, Needs};
use crate::prove::{self, Proof};
use crate::select::{self, Source};
use crate::side::{self, Facts};
use crate::state::{Held, Step};
use crate::target::Target;
use crate::{confirm, records, recover, safety};
use anyhow::{Context as _, Result};
use common::hint::Hint as _;
use common::lock;
use common::report::{Item, Key, Value};
use common::status::Status;
use common::units::{self, Stamp};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LABEL: Key = Key::new("label", "The backup that was restored");
const SAFETY: Key = Key::new("safety_backup", "The backup of the database as it was before");
const ROWS: Key = Key::new("rows", "Rows restored");
const TABLES: Key = Key::new("tables", "Tables restored");
const LOAD: Key = Key::new("load_seconds", "How long the load took");
const PROOF: Key = Key::new("proof_seconds", "How long the proof took");
const DURATION: Key = Key::new("duration_seconds", "How long all of it took");

/// Restores the backup that the options name over the database that they name.
///
/// # Errors
///
/// What stands against it before anything is done.
pub fn run(cli: &Cli, now: Stamp) -> Result<Vec<Item>> {
    let began = Instant::now();
    let target = Target::of(cli)?;
    let exchange = Exchange::of(cli, &target, "restore")?;
    let selected = select::select(cli, &target, now)?;
    let store = records::store(cli)?;
    let mut held = match store.take(&records::cluster(&target)?, &target.name, records::wait(cli)) {
        Err(error) if lock::is_held(&error) => return Ok(vec![Item::failed(&target.name, Status::Unknown, &error)]),
        held => held?,
    };
    target.wait_for_others()?;
    if !cli.dry_run {
        clear_leftover(&target, &mut held)?;
    }
    held.refuse_unfinished()?;
    let source = match select::verify(selected, &target) {
        Ok(source) => source,
        Err(error) => return Ok(vec![Item::failed(&target.name, Status::Critical, &error)]),
    };
    let facts = Facts::of(&mut target.maintenance()?, &target.name)?;
    let problems = preflight::check(&target, &facts, &needs(&source), application(&exchange))?;
    if !problems.is_empty() {
        return Ok(problems);
    }
    let restore = Restore { cli, target: &target, source: &source, facts: &facts, exchange, now, began };
    if cli.dry_run {
        return restore.rehearse();
    }
    let what =
        format!("this puts {} in the place of database {:?} at {}", source.shown(), target.name, target.access.shown());
    confirm::ask(cli, &target.name, &what)?;
    let _pinned = source.pin();
    let done = restore.carry_out(&mut held);
    Ok(vec![done.unwrap_or_else(|error| Item::failed(&target.name, Status::Critical, &error))])
}

/// What a killed run left before it came to the swap is only in the way; the rest is for `--recover` and its operator.
fn clear_leftover(target: &Target, held: &mut Held<'_>) -> Result<()> {
    let Some(run) = &held.state().run else { return Ok(()) };
    if run.step < Step::Swapping {
        common::warn!("a run of {} was cut off; what it left in {:?} goes first", run.stamp.rfc3339(), run.coming.name);
        recover::clear(target, held)?;
    }
    Ok(())
}

/// One restore.
struct Restore<'a> {
    cli: &'a Cli,
    target: &'a Target,
    source: &'a Source,
    facts: &'a Facts,
    exchange: Exchange<'a>,
    now: Stamp,
    began: Instant,
}

impl Restore<'_> {
    fn rehearse(&self) -> Result<Vec<Item>> {
        let content = &self.source.content;
        let mut steps = vec![format!(
            "{} would be loaded beside it: {} of {}",
            self.source.shown(),
            units::things(content.rows, "row"),
            units::things(content.tables, "table")
        )];
        if !self.cli.no_safety_backup {
            steps.insert(0, format!("it would be backed up to {:?}", self.safety_dir()?));
        }
        if self.source.survey.by_superuser > 0 {
            steps.push(format!(
                "{} by the operator's own session, because only a superuser may",
                units::things(self.source.survey.by_superuser, "statement")
            ));
        }
        steps.push("and compared with what was recorded; then the names would be swapped".to_owned());
        Ok(vec![Item::new(&self.target.name, Status::Ok, steps.join("; "))])
    }

    fn safety_dir(&self) -> Result<PathBuf> {
        Ok(match &self.cli.dir {
            Some(dir) => dir.clone(),
            None => self.source.path().parent().unwrap_or(Path::new(".")).to_owned(),
        })
    }

    fn carry_out(&self, held: &mut Held<'_>) -> Result<Item> {
        let safety = self.safety_backup()?;
        common::failpoint!("safety-made")?;
        let live = {
            let mut session = self.target.maintenance()?;
            let live = database::named(&mut session, &self.target.name)?.context("the database is gone")?;
            side::plan(held, &mut session, &live, self.now)?;
            live
        };
        let (loaded, load_time) = self.load(held)?;
        let prepared = self.prove(held).and_then(|proof| {
            side::adopt(held, self.target)?;
            common::failpoint!("proven")?;
            Ok(proof)
        });
        let (proof, proof_time) = match prepared {
            Ok(proven) => proven,
            Err(error) => return Err(self.discarded(held, error)),
        };
        let outcome = match self.exchange.carry_out(held) {
            Ok(mut outcome) => {
                if outcome.failed.is_none() {
                    outcome.warnings.extend(side::catch_up(self.target, &outcome.live, &outcome.aside).err());
                }
                outcome
            }
            Err(error) if held.run().is_ok_and(|run| run.step == Step::Loading) => {
                return Err(self.discarded(held, error));
            }
            Err(error) => return Err(error),
        };
        let label = self.source.shown();
        let did = format!("restored from {label}, {}", units::things(loaded.rows, "row"));
        let has_failed = outcome.failed.is_some();
        let mut item = outcome.item(&did);
        if let Proof::Doubtful(doubt) = proof {
            item.status = item.status.max(Status::Warning);
            item.message += &format!("; {doubt}");
        }
        if !has_failed {
            item.hints.push(format!("to go back: pgrestore-safe --undo --to {}", quoted(&live.name)));
            item.result = Some(live.name);
        }
        item = item
            .with(LABEL, Value::Text(label))
            .with(ROWS, Value::Count(loaded.rows))
            .with(TABLES, Value::Count(loaded.tables))
            .with(LOAD, Value::Seconds(load_time))
            .with(PROOF, Value::Seconds(proof_time))
            .with(DURATION, Value::Seconds(self.began.elapsed()));
        Ok(match safety {
            Some(path) => item.with(SAFETY, Value::Text(path)),
            None => item,
        })
    }

    fn safety_backup(&self) -> Result<Option<String>> {
        if self.cli.no_safety_backup {
            return Ok(None);
        }
        let backup = safety::back_up(self.cli, self.target, &self.target.name, &self.safety_dir()?)
            .hint("to restore without one: --no-safety-backup")?;
        common::info!("backed up as it is now: {}", backup.path);
        Ok(Some(backup.path))
    }

    fn load(&self, held: &mut Held<'_>) -> Result<(Loaded, Duration)> {
        let began = Instant::now();
        let name = held.run()?.coming.name.clone();
        let order = Order {
            target: self.target,
            source: self.source,
            database: &name,
            owner: &self.facts.owner,
            jobs: self.cli.jobs(),
            as_superuser: self.cli.as_superuser,
            analyze: true,
        };
        let held = RefCell::new(held);
        let loaded = load::run(
            &order,
            &mut |role| side::make(&mut held.borrow_mut(), self.target, self.facts, Some(role)).map(|_| ()),
            &mut || side::discard(&mut held.borrow_mut(), self.target),
        )?;
        Ok((loaded, began.elapsed()))
    }

    fn prove(&self, held: &Held<'_>) -> Result<(Proof, Duration)> {
        let began = Instant::now();
        let proof = prove::against(self.cli, self.target, self.source, &held.run()?.coming.name)?;
        Ok((proof, began.elapsed()))
    }

    /// The error, after the side database is gone; the live one was never touched.
    fn discarded(&self, held: &mut Held<'_>, error: anyhow::Error) -> anyhow::Error {
        match side::discard(held, self.target) {
            Ok(()) => error,
            Err(also) => error.context(format!("the side database stays ({also:#})")),
        }
    }
}

fn needs(source: &Source) -> Needs {
    let of = source.manifest().and_then(|manifest| manifest.source.as_ref());
    Needs {
        roles: source.needs.roles.clone(),
        extensions: source.needs.extensions.clone(),
        kinds: source.kinds().clone(),
        version_num: of.map_or(0, |of| of.version_num),
        size_bytes: of.map_or(0, |of| of.size_bytes),
    }
}

fn application(exchange: &Exchange<'_>) -> Application {
    let is_stopped = exchange.application.is_some() || exchange.pool.is_some();
    if is_stopped { Application::Stopped } else { Application::Running }
}

/// A name as a word of a shell.
fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_plain && !name.starts_with('-') { name.to_owned() } else { common::text::sh(name) }
}
