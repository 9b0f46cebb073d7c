//! The database beside the live one: made like it, given all that hangs on the live one, and dropped where it failed.
//!
//! ```text
//! facts -> plan (names on record) -> make (from template0) -> [load, prove] -> adopt (owner, grants, settings)
//! ```
//!
//! What hangs on a database follows its OID, not its name: a swap of names alone would lose owner, grants, settings,
//! comment and connection limit, and a revoked CONNECT would be open again.

mod attributes;
mod facts;

pub use facts::Facts;

use crate::database::{self, Identity};
use crate::names::{self, Part};
use crate::state::{Act, Held, Run, Step};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::failpoint;
use common::hint::Hint as _;
use common::interrupt::Shield;
use common::pg::quote::{identifier, literal};
use common::pg::session::Session;
use common::units::Stamp;
use std::time::Duration;

/// How long a database may take to be made or dropped; both copy or remove files.
const FILES_TIME: Duration = Duration::from_secs(900);

/// Puts on record what a restore of `live` will make, before it is made.
///
/// # Errors
///
/// Where no names are free, or the record cannot be written.
pub fn plan(held: &mut Held<'_>, session: &mut Session, live: &Identity, now: Stamp) -> Result<()> {
    let stamp = names::free_stamp(&live.name, now, &database::names(session)?)?;
    let coming = Identity { name: Part::Side.name(&live.name, stamp), oid: 0, owner: live.owner.clone() };
    let (before, failed) = (Part::Before.name(&live.name, stamp), Part::Failed.name(&live.name, stamp));
    let run = Run::new(stamp, Act::Restore, live.clone(), before, coming, failed);
    held.change(|state| state.run = Some(run))
}

/// Makes the planned side database like the live one, owned by `role` while it is loaded where one is given.
///
/// That it can be given all that hangs on the live one is tried now, in a transaction that is rolled back: not after
/// hours of loading.
///
/// # Errors
///
/// What the server says; the side database may then exist, see [`discard`].
pub fn make(held: &mut Held<'_>, target: &Target, facts: &Facts, role: Option<&str>) -> Result<Identity> {
    // A load that begins anew gets an empty one.
    remove(held, target)?;
    held.change(|state| {
        if let Some(run) = &mut state.run {
            run.role = role.map(str::to_owned);
            run.step = Step::Making;
            run.coming.oid = 0;
        }
    })?;
    failpoint!("side-planned")?;
    let name = held.run()?.coming.name.clone();
    let mut session = target.maintenance()?.patient(FILES_TIME);
    session
        .run(&facts.create(&name, role.unwrap_or(&facts.owner))?)
        .with_context(|| format!("cannot create database {name:?}"))?;
    failpoint!("side-made")?;
    let made = database::named(&mut session, &name)?.with_context(|| format!("database {name:?} is gone"))?;
    let is_ours = made.owner == role.unwrap_or(&facts.owner);
    ensure!(is_ours, "database {name:?} belongs to role {:?}, not to the one it was made for", made.owner);
    held.change(|state| {
        if let Some(run) = &mut state.run {
            run.coming = made.clone();
            run.step = Step::Loading;
        }
    })?;
    failpoint!("side-on-record")?;
    give(&mut session, &made, facts, End::Rollback)
        .with_context(|| format!("cannot give database {name:?} what hangs on the live one"))
        .hint("run as a superuser, or as a role that is a member of every role that has settings in the database")?;
    Ok(made)
}

/// Gives the side database all that hangs on the live one as it is now, and makes sure that it has arrived.
///
/// # Errors
///
/// What the server says, or what did not arrive; the live database is untouched.
pub fn adopt(held: &mut Held<'_>, target: &Target) -> Result<()> {
    let session = &mut target.maintenance()?;
    let (live, side) = (held.run()?.out.clone(), held.run()?.coming.clone());
    database::require(session, &live)?;
    let facts = Facts::of(session, &live.name)?;
    // A run killed right behind the transaction finds it on record as the owner's.
    held.change(|state| {
        if let Some(run) = &mut state.run {
            run.coming.owner.clone_from(&facts.owner);
            run.role = Some(side.owner.clone());
        }
    })?;
    failpoint!("adopting")?;
    give(session, &side, &facts, End::Commit)?;
    failpoint!("adopted")?;
    let arrived = Facts::of(session, &side.name)?;
    if let Some(difference) = facts.difference(&arrived) {
        bail!("the new database differs from {:?} in its {difference}", live.name);
    }
    Ok(())
}

/// Gives the restored database what was changed on the old one while the application was stopped and the names were
/// swapped; nobody can change the one that was put aside by its old name any more.
///
/// # Errors
///
/// What did not arrive.
pub fn catch_up(target: &Target, live: &Identity, aside: &Identity) -> Result<()> {
    let act = || format!("what was changed on {:?} during the swap is with {:?}", live.name, aside.name);
    let session = &mut target.maintenance()?;
    let facts = Facts::of(session, &aside.name)?;
    if facts.difference(&Facts::of(session, &live.name)?).is_none() {
        return Ok(());
    }
    common::info!("what was changed on {:?} at the last moment is given to the restored one", live.name);
    give(session, live, &facts, End::Commit).with_context(act)?;
    match facts.difference(&Facts::of(session, &live.name)?) {
        None => Ok(()),
        Some(difference) => Err(anyhow!("its {difference} did not arrive")).with_context(act),
    }
}

/// Whether the transaction is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
}

fn give(session: &mut Session, side: &Identity, facts: &Facts, end: End) -> Result<()> {
    let mut statements = vec!["BEGIN".to_owned()];
    statements.extend(attributes::statements(facts, &side.name)?);
    statements.push(if end == End::Commit { "COMMIT" } else { "ROLLBACK" }.to_owned());
    session.run(&statements.join(";\n"))
}

/// Drops what a run that did not get to the swap has made, and ends the run on record.
///
/// # Errors
///
/// Where a database of that name is not the one on record, or cannot be dropped.
pub fn discard(held: &mut Held<'_>, target: &Target) -> Result<()> {
    let _shield = Shield::new();
    remove(held, target)?;
    failpoint!("side-dropped")?;
    held.abandon()
}

fn remove(held: &Held<'_>, target: &Target) -> Result<()> {
    let run = held.run()?;
    let Some(found) = database::named(&mut target.maintenance()?, &run.coming.name)? else { return Ok(()) };
    // At the end of a load it goes from the role that loads to the owner of the live one.
    let owners = [Some(&run.coming.owner), run.role.as_ref(), Some(&run.out.owner)];
    let has_known_owner = owners.contains(&Some(&found.owner));
    // Killed right behind CREATE DATABASE, a run knows no OID; but then it has put nothing into it either.
    let is_ours = match run.coming.oid {
        0 => is_empty(&mut target.session(&found.name)?)?,
        oid => oid == found.oid,
    };
    if !(has_known_owner && is_ours) {
        return Err(anyhow!("database {:?} is not the one that the run on record made", found.name))
            .hint("somebody made or changed it since: look at it, drop it by hand, then run --recover again");
    }
    detach(target, &found)?;
    drop_database(target, &found)
}

/// Drops the subscriptions that a load has made: a database with one cannot be dropped. They were never enabled, and the
/// slot that they name is the old database's, so nobody is asked for it.
fn detach(target: &Target, database: &Identity) -> Result<()> {
    let names: Vec<String> = target.maintenance()?.ask(&format!(
        "SELECT COALESCE(pg_catalog.json_agg(subname), '[]') FROM pg_catalog.pg_subscription \
         WHERE subdbid OPERATOR(pg_catalog.=) {}::pg_catalog.oid AND NOT subenabled",
        database.oid
    ))?;
    if names.is_empty() {
        return Ok(());
    }
    let mut session = target.session(&database.name)?;
    for name in names {
        let subscription = identifier(&name)?;
        session
            .run(&format!("ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)"))
            .and_then(|()| session.run(&format!("DROP SUBSCRIPTION {subscription}")))
            .with_context(|| format!("cannot remove subscription {name:?} of database {:?}", database.name))?;
    }
    Ok(())
}

/// Drops a database that the caller has found to be the one on record.
///
/// # Errors
///
/// What the server says.
pub fn drop_database(target: &Target, database: &Identity) -> Result<()> {
    let mut session = target.maintenance()?.patient(FILES_TIME);
    session
        .run(&format!("DROP DATABASE {} WITH (FORCE)", identifier(&database.name)?))
        .with_context(|| format!("cannot remove database {:?}", database.name))
}

/// Whether a database holds nothing that a user made: what is left of a run killed right behind CREATE DATABASE.
///
/// # Errors
///
/// What the server says.
fn is_empty(session: &mut Session) -> Result<bool> {
    session.ask(
        "SELECT pg_catalog.to_json(NOT EXISTS (SELECT FROM pg_catalog.pg_class \
         WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid) AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc \
         WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid))",
    )
}

impl Facts {
    /// Asks for all that hangs on a database.
    ///
    /// # Errors
    ///
    /// Where there is no such database.
    pub fn of(session: &mut Session, name: &str) -> Result<Self> {
        let question =
            format!("{} WHERE d.datname OPERATOR(pg_catalog.=) {}), 'null')", facts::QUESTION, literal(name)?);
        session
            .ask::<Option<Self>>(&question)?
            .ok_or_else(|| anyhow!("there is no database {name:?}"))
            .hint("list the databases with: psql -l; to load into a new one: --into")
    }
}
