//! What works on the record of restores: `--undo`, `--recover`, `--drop-old`.

use crate::cli::Cli;
use crate::database;
use crate::drop_old;
use crate::recover;
use crate::state::{self, Held, Store};
use crate::target::Target;
use crate::undo;
use anyhow::{Error, Result};
use common::lock::{self, Wait};
use common::report::Item;
use common::status::Status;
use common::units::Stamp;
use std::path::PathBuf;

/// `--undo`, of the database that `--to` names.
///
/// # Errors
///
/// Where there is nothing to undo, or something stands against it.
pub fn undo(cli: &Cli, now: Stamp) -> Result<Item> {
    let target = Target::of(cli)?;
    let store = store(cli)?;
    let mut held = store.take(&cluster(&target)?, &target.name, wait(cli))?;
    undo::run(cli, &target, &mut held, now)
}

/// `--recover`, of one database or of all on record.
///
/// # Errors
///
/// Where the server or the record cannot be reached.
pub fn recover(cli: &Cli) -> Result<Vec<Item>> {
    each(cli, |target, held| Ok(vec![recover::run(cli, target, held)?]))
}

/// `--drop-old`, of one database or of all on record.
///
/// # Errors
///
/// Where the server or the record cannot be reached.
pub fn drop_old(cli: &Cli, now: Stamp) -> Result<Vec<Item>> {
    each(cli, |target, held| drop_old::run(cli, target, held, now))
}

/// Works on the record of the database that is named, or of every one of the server; trouble with one is an item.
fn each(cli: &Cli, work: impl Fn(&Target, &mut Held<'_>) -> Result<Vec<Item>>) -> Result<Vec<Item>> {
    let server = Target::server(cli)?;
    let cluster = cluster(&server)?;
    let store = store(cli)?;
    let is_named = cli.to.is_some() || cli.env_file.is_some();
    let names = if is_named { vec![server.name.clone()] } else { store.databases(&cluster)? };
    let mut items = Vec::new();
    for name in &names {
        let done = store.take(&cluster, name, wait(cli)).and_then(|mut held| work(&server.sibling(name), &mut held));
        items.extend(done.unwrap_or_else(|error| vec![Item::failed(name, status(&error), &error)]));
    }
    if items.is_empty() {
        items.push(Item::new(server.access.shown(), Status::Ok, "nothing to do"));
    }
    Ok(items)
}

fn status(error: &Error) -> Status {
    if lock::is_held(error) { Status::Unknown } else { Status::Critical }
}

/// The cluster that the target's server is.
///
/// # Errors
///
/// What the server says.
pub fn cluster(target: &Target) -> Result<String> {
    database::cluster(&mut target.maintenance()?, &target.access.shown())
}

/// How long another run is waited for.
pub fn wait(cli: &Cli) -> Wait {
    cli.wait.map_or(Wait::No, Wait::Upto)
}

/// The record of restores.
///
/// # Errors
///
/// Where it cannot be made, or others can write to it.
pub fn store(cli: &Cli) -> Result<Store> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    match &cli.state_dir {
        Some(dir) => Store::open(dir),
        None => Store::open(&state::default_dir(path("HOME"), path("XDG_STATE_HOME"))?),
    }
}
