//! Removes databases that were put aside, each after a backup of it.
//!
//! One that is put aside is closed to everybody. For its backup it is opened to superusers only, or where we are none, for
//! a few sessions of those who know its name; a record says so, and whatever happens it is closed again.

use crate::cli::Cli;
use crate::confirm;
use crate::database::{self, Identity};
use crate::safety;
use crate::side;
use crate::state::{Act, Aside, Held, Run, Step};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow};
use common::failpoint;
use common::hint::Hint as _;
use common::interrupt::Shield;
use common::pg::quote::{identifier, literal};
use common::pg::session::Session;
use common::report::{Item, Key, Value};
use common::status::Status;
use common::units::Stamp;
use std::path::Path;

const BACKUP: Key = Key::new("safety_backup", "The backup of the database that was removed");

/// Sessions that a backup needs where no superuser is at hand: questions, and pg_dump.
const SESSIONS: i32 = 4;

/// Removes what one database's restores have put aside long enough ago.
///
/// # Errors
///
/// Where nothing can be begun; trouble with one of them is an item.
pub fn run(cli: &Cli, target: &Target, held: &mut Held<'_>, now: Stamp) -> Result<Vec<Item>> {
    held.refuse_unfinished()?;
    target.wait_for_others()?;
    // Without an age all of them: a name that was taken puts the stamp of an undo a second ahead of the clock.
    let limit = cli.older_than.map(|age| now.saturating_sub(age));
    let is_old = |aside: &&Aside| limit.is_none_or(|limit| aside.since <= limit);
    let old: Vec<_> = held.state().aside.iter().filter(is_old).cloned().collect();
    let dir = match (&cli.dir, cli.no_safety_backup) {
        (Some(dir), false) => Some(dir.as_path()),
        (_, true) => None,
        (None, false) if old.is_empty() || cli.dry_run => None,
        (None, false) => {
            return Err(anyhow!("no directory for the backups of what is removed"))
                .hint("name one with --dir, or remove them without a backup by --no-safety-backup");
        }
    };
    let mut items = Vec::new();
    for aside in &old {
        let done = one(cli, target, held, aside, dir, now);
        items.push(done.unwrap_or_else(|error| Item::failed(&aside.identity.name, Status::Critical, &error)));
    }
    Ok(items)
}

fn one(cli: &Cli, target: &Target, held: &mut Held<'_>, aside: &Aside, dir: Option<&Path>, now: Stamp) -> Result<Item> {
    let identity = &aside.identity;
    let mut session = target.maintenance()?;
    if database::with_oid(&mut session, identity.oid)?.is_none() {
        forget(held, identity.oid)?;
        return Ok(Item::new(&identity.name, Status::Ok, "somebody has removed it already"));
    }
    database::require(&mut session, identity)?;
    let age = common::units::duration(now.since(aside.since));
    if cli.dry_run {
        return Ok(Item::new(&identity.name, Status::Ok, format!("would be removed: put aside {age} ago")));
    }
    confirm::ask(cli, &identity.name, &format!("{:?}, put aside {age} ago, would be removed", identity.name))?;
    let backup = match dir {
        Some(dir) => Some(back_up(cli, target, held, &mut session, identity, dir)?),
        None => None,
    };
    // Again, and closed: between the backup and now it was open.
    database::require(&mut session, identity)?;
    side::drop_database(target, identity)?;
    failpoint!("old-dropped")?;
    forget(held, identity.oid)?;
    let mut item = Item::new(&identity.name, Status::Ok, format!("removed; it was put aside {age} ago"));
    if let Some(backup) = backup {
        item.message += &format!("; its backup is {:?}", backup.path);
        item.result = Some(backup.path.clone());
        item = item.with(BACKUP, Value::Text(backup.path));
    }
    Ok(item)
}

fn back_up(
    cli: &Cli,
    target: &Target,
    held: &mut Held<'_>,
    session: &mut Session,
    identity: &Identity,
    dir: &Path,
) -> Result<safety::Backup> {
    let limit: i32 = session.ask(&format!(
        "SELECT pg_catalog.to_json(datconnlimit) FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) {}",
        literal(&identity.name)?
    ))?;
    let stamp = Stamp::from(std::time::SystemTime::now());
    let mut run = Run::new(stamp, Act::Drop, identity.clone(), String::new(), identity.clone(), String::new());
    (run.step, run.connection_limit) = (Step::Dropping, Some(limit));
    held.change(|state| state.run = Some(run))?;
    failpoint!("old-to-open")?;
    let backed_up = open(session, identity).and_then(|()| {
        failpoint!("old-opened")?;
        safety::back_up(cli, target, &identity.name, dir)
    });
    failpoint!("old-backed-up")?;
    // A signal has ended the backup; closing is still to be done.
    let _shield = Shield::new();
    // Our session may have gone with the same signal.
    let closed = give_up(held, &mut target.maintenance()?).with_context(|| format!("cannot close {:?}", identity.name));
    let backup = backed_up?;
    closed?;
    Ok(backup)
}

/// A superuser passes any limit, and nobody else passes 0.
fn open(session: &mut Session, identity: &Identity) -> Result<()> {
    let name = identifier(&identity.name)?;
    let is_superuser: bool = session.ask(
        "SELECT pg_catalog.to_json(rolsuper) FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER",
    )?;
    let limit = if is_superuser { 0 } else { SESSIONS };
    session.run(&format!(
        "BEGIN;\nALTER DATABASE {name} CONNECTION LIMIT {limit};\nALTER DATABASE {name} ALLOW_CONNECTIONS true;\nCOMMIT"
    ))
}

/// Closes the database that the run on record has opened, where it is still there, and ends the run.
///
/// # Errors
///
/// What the server says.
pub fn give_up(held: &mut Held<'_>, session: &mut Session) -> Result<()> {
    let run = held.run()?.clone();
    if database::named(session, &run.coming.name)?.as_ref() == Some(&run.coming) {
        let name = identifier(&run.coming.name)?;
        let limit = run.connection_limit.unwrap_or(-1);
        session.run(&format!(
            "BEGIN;\nALTER DATABASE {name} ALLOW_CONNECTIONS false;\nALTER DATABASE {name} CONNECTION LIMIT {limit};\nCOMMIT"
        ))?;
    }
    if database::with_oid(session, run.coming.oid)?.is_none() {
        forget(held, run.coming.oid)?;
    }
    held.abandon()
}

/// Strikes off the record what is no longer there: killed right behind a removal, a run could not.
///
/// # Errors
///
/// What the server says.
pub fn forget_gone(target: &Target, held: &mut Held<'_>) -> Result<Vec<String>> {
    let mut session = target.maintenance()?;
    let mut gone = Vec::new();
    for Aside { identity, .. } in held.state().aside.clone() {
        if database::with_oid(&mut session, identity.oid)?.is_none() {
            forget(held, identity.oid)?;
            gone.push(identity.name);
        }
    }
    Ok(gone)
}

fn forget(held: &mut Held<'_>, oid: u32) -> Result<()> {
    held.change(|state| state.aside.retain(|aside| aside.identity.oid != oid))
}
