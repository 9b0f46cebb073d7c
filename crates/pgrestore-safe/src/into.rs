//! `--into`: a backup into a database that does not exist yet, and nothing else. backup-verify proves with it.

use crate::cli::Cli;
use crate::load::{self, Order};
use crate::select::{self, Source};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow};
use common::hint::Hint as _;
use common::pg::quote;
use common::report::{Item, Key, Value};
use common::status::Status;
use common::units::{self, Stamp};
use std::time::Instant;

/// Loads the backup that the options name.
///
/// # Errors
///
/// What stands against it before the database is made.
pub fn run(cli: &Cli, now: Stamp) -> Result<Item> {
    let began = Instant::now();
    let target = Target::of(cli)?;
    let source = match select::verify(select::select(cli, &target, now)?, &target) {
        Ok(source) => source,
        Err(error) => return Ok(Item::failed(&target.name, Status::Critical, &error)),
    };
    let _pinned = source.pin();
    let owner = refuse_existing(&target)?;
    let order = Order {
        target: &target,
        source: &source,
        database: &target.name,
        owner: &owner,
        jobs: cli.jobs(),
        as_superuser: cli.as_superuser,
        analyze: !cli.no_analyze,
    };
    let item = match load::run(&order, &mut |loader| create(&target, &source, loader), &mut || drop_database(&target)) {
        Ok(loaded) => {
            let message = format!(
                "{} of {} loaded from {} in {}",
                units::things(loaded.rows, "row"),
                units::things(loaded.tables, "table"),
                source.shown(),
                units::duration(began.elapsed())
            );
            let mut item = Item::new(&target.name, Status::Ok, message);
            item.result = Some(target.name.clone());
            item
        }
        Err(error) => Item::failed(&target.name, Status::Critical, &error),
    };
    Ok(item.with(DURATION, Value::Seconds(began.elapsed())))
}

/// How long it took.
const DURATION: Key = Key::new("duration_seconds", "How long the load took");

/// The operator's role, who gets the database; there must be none of that name.
fn refuse_existing(target: &Target) -> Result<String> {
    let mut session = target.maintenance()?;
    let is_there: bool = session.ask(&format!(
        "SELECT pg_catalog.to_json(EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) {}))",
        quote::literal(&target.name)?
    ))?;
    if is_there {
        return Err(anyhow!("database {:?} exists", target.name))
            .hint("name one that does not, or restore over it with --to");
    }
    session.ask("SELECT pg_catalog.to_json(CURRENT_USER)")
}

/// Makes the database, also a second time.
fn create(target: &Target, source: &Source, owner: &str) -> Result<()> {
    drop_database(target)?;
    let encoding = source.encoding();
    let create = |locale: &str| -> Result<String> {
        Ok(format!(
            "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {}{locale}",
            quote::identifier(&target.name)?,
            quote::identifier(owner)?,
            quote::literal(encoding)?
        ))
    };
    let act = || format!("cannot create database {:?}", target.name);
    // The locale of the server may not go with the encoding; C goes with all.
    match target.maintenance()?.run(&create("")?) {
        Err(error) if format!("{error:#}").contains("encoding") => {
            target.maintenance()?.run(&create(" LC_COLLATE 'C' LC_CTYPE 'C'")?).with_context(act)
        }
        made => made.with_context(act),
    }
}

fn drop_database(target: &Target) -> Result<()> {
    let name = quote::identifier(&target.name)?;
    target.maintenance()?.run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
}
