//! Gives one database the name of another, in one transaction, while clients reconnect all the time.
//!
//! ```text
//! holder: BEGIN, renames ----- waits, holding the lock that newcomers queue behind ----- verify -> COMMIT
//! ender:            ends the sessions of the old database, again and again
//! ```
//!
//! The rename itself holds the lock, so no closed state is ever committed: killed at any moment, the name leads to the
//! old database or to the new one. COMMIT is sent only after the OIDs were looked at; without it, the end of psql is a
//! rollback.

use crate::database::{self, Identity};
use crate::target::Target;
use anyhow::{Result, anyhow, ensure};
use common::failpoint;
use common::hint::{self, Hint as _};
use common::pg::quote::{identifier, literal};
use common::pg::session::Session;
use std::time::{Duration, Instant};

/// How long a rename may wait for its lock; for the sessions to end it waits 5 s by itself.
const LOCK_TIME: &str = "10s";
/// How often sessions are ended while the rename waits.
const EVERY: Duration = Duration::from_millis(5);
/// How often the whole is tried: a session may need longer than 5 s to end.
const TRIES: u32 = 3;

/// Two databases that change places.
#[derive(Clone, Debug)]
pub struct Swap {
    /// The one that has the name now.
    pub out: Identity,
    /// The name that it gets; it is closed to connections.
    pub out_name: String,
    /// The one that gets the name; it is opened.
    pub coming: Identity,
}

/// The two sessions of a swap.
#[derive(Debug)]
pub struct Connected {
    /// Renames, and holds the lock.
    holder: Session,
    /// Ends the sessions that the rename waits for.
    ender: Session,
}

impl Swap {
    /// Connects, and makes sure that nothing stands in the way: before a pool is paused, because it takes longer than the
    /// swap itself.
    ///
    /// # Errors
    ///
    /// Where a name leads to another database by now, or a session could not be ended.
    pub fn connect(&self, target: &Target) -> Result<Connected> {
        let mut ender = target.maintenance()?;
        let holder = target.maintenance()?;
        database::require(&mut ender, &self.out)?;
        database::require(&mut ender, &self.coming)?;
        self.refuse_hindrances(&mut ender)?;
        Ok(Connected { holder, ender })
    }

    /// Swaps, and returns how long nobody could use the name.
    ///
    /// # Errors
    ///
    /// What the server says. Whether the names were swapped all the same, when the answer to COMMIT did not come, only
    /// [`Swap::is_done`] can tell.
    pub fn carry_out(&self, target: &Target, connected: Connected) -> Result<Duration> {
        let Connected { mut holder, mut ender } = connected;
        let began = Instant::now();
        for attempt in 1.. {
            match self.rename(&mut holder, &mut ender) {
                Ok(()) => break,
                Err(error) if attempt == TRIES || self.sessions(&mut ender)?.is_empty() => {
                    return Err(self.explained(error, &mut ender));
                }
                Err(error) => common::debug!("swap, attempt {attempt}: {error:#}"),
            }
            holder = target.maintenance()?;
        }
        self.verify(&mut holder)?;
        failpoint!("swap-uncommitted")?;
        holder.run("COMMIT")?;
        let outage = began.elapsed();
        failpoint!("swap-committed")?;
        Ok(outage)
    }

    /// Whether the name leads to the one that was to come.
    ///
    /// # Errors
    ///
    /// What the server says; and where the name leads to neither, which no run of ours can have done.
    pub fn is_done(&self, session: &mut Session) -> Result<bool> {
        let found = database::named(session, &self.out.name)?;
        match found.map(|found| found.oid) {
            Some(oid) if oid == self.coming.oid => Ok(true),
            Some(oid) if oid == self.out.oid => Ok(false),
            _ => Err(anyhow!("the name {:?} leads to neither of the two databases on record", self.out.name))
                .hint("somebody renamed one since: see psql -l, and rename by hand"),
        }
    }

    /// The one that came, under the name it has after the swap.
    pub fn live(&self) -> Identity {
        Identity { name: self.out.name.clone(), ..self.coming.clone() }
    }

    /// The one that went, under the name it has after the swap.
    pub fn aside(&self) -> Identity {
        Identity { name: self.out_name.clone(), ..self.out.clone() }
    }

    /// The same two, the other way round; the one that leaves gets this name.
    pub fn back(&self, name_of_coming: &str) -> Self {
        Self { out: self.live(), out_name: name_of_coming.to_owned(), coming: self.aside() }
    }

    /// Leaves the transaction open, with both names changed in it.
    fn rename(&self, holder: &mut Session, ender: &mut Session) -> Result<()> {
        let statements = self.statements()?;
        let end = self.end_sessions();
        std::thread::scope(|scope| {
            let renames = scope.spawn(|| holder.run(&statements));
            while !renames.is_finished() {
                // One that may not be ended is told by the rename's own failure, with what stands in its way.
                if let Err(error) = ender.ask::<u64>(&end) {
                    common::debug!("cannot end sessions: {error:#}");
                    break;
                }
                std::thread::sleep(EVERY);
            }
            renames.join().map_err(|_| anyhow!("the renaming panicked"))?
        })
    }

    fn statements(&self) -> Result<String> {
        let (name, out_name) = (identifier(&self.out.name)?, identifier(&self.out_name)?);
        let coming = identifier(&self.coming.name)?;
        Ok(format!(
            "BEGIN;\nSET LOCAL lock_timeout TO '{LOCK_TIME}';\n\
             ALTER DATABASE {name} RENAME TO {out_name};\n\
             ALTER DATABASE {out_name} ALLOW_CONNECTIONS false;\n\
             ALTER DATABASE {coming} RENAME TO {name};\n\
             ALTER DATABASE {name} ALLOW_CONNECTIONS true"
        ))
    }

    /// Ends every session that we may end, in both databases, and counts them.
    fn end_sessions(&self) -> String {
        format!(
            "SELECT pg_catalog.to_json(pg_catalog.count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(a.pid))) {} \
             AND {MAY_END}",
            self.of_sessions()
        )
    }

    fn of_sessions(&self) -> String {
        format!(
            "FROM pg_catalog.pg_stat_activity AS a JOIN pg_catalog.pg_roles AS r \
             ON r.oid OPERATOR(pg_catalog.=) a.usesysid \
             WHERE a.datid IN ({}::pg_catalog.oid, {}::pg_catalog.oid) \
             AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()",
            self.out.oid, self.coming.oid
        )
    }

    /// The roles whose sessions are there now.
    fn sessions(&self, session: &mut Session) -> Result<Vec<String>> {
        session.ask(&format!("SELECT COALESCE(pg_catalog.json_agg(DISTINCT r.rolname), '[]') {}", self.of_sessions()))
    }

    /// The renames may have been committed under other names than we think only if somebody renamed one between the
    /// look at their OIDs and our lock.
    fn verify(&self, holder: &mut Session) -> Result<()> {
        let oid = |found: Option<Identity>| found.map(|found| found.oid);
        let live = oid(database::named(holder, &self.out.name)?);
        let put_aside = oid(database::named(holder, &self.out_name)?);
        let is_right = live == Some(self.coming.oid) && put_aside == Some(self.out.oid);
        ensure!(is_right, "another database was renamed to {:?} or {:?} meanwhile", self.out.name, self.coming.name);
        Ok(())
    }

    /// What a rename would wait for in vain, five seconds without service each time.
    fn refuse_hindrances(&self, session: &mut Session) -> Result<()> {
        let stuck: Vec<String> = session.ask(&format!(
            "SELECT COALESCE(pg_catalog.json_agg(DISTINCT r.rolname), '[]') {} AND {MAY_END} IS NOT TRUE",
            self.of_sessions()
        ))?;
        if !stuck.is_empty() {
            return Err(hint::with(anyhow!("sessions in {:?} cannot be ended", self.out.name), advice(&stuck)));
        }
        let prepared: Vec<String> = session.ask(&format!(
            "SELECT COALESCE(pg_catalog.json_agg(gid), '[]') FROM pg_catalog.pg_prepared_xacts \
             WHERE database OPERATOR(pg_catalog.=) {}",
            literal(&self.out.name)?
        ))?;
        if prepared.is_empty() {
            return Ok(());
        }
        Err(anyhow!("database {:?} has prepared transactions: {}", self.out.name, prepared.join(", ")))
            .hint("in it, run COMMIT PREPARED or ROLLBACK PREPARED for each: no session can be ended to be rid of them")
    }

    fn explained(&self, error: anyhow::Error, session: &mut Session) -> anyhow::Error {
        let roles = self.sessions(session).unwrap_or_default();
        let error = error.context(format!("cannot rename {:?}", self.out.name));
        if roles.is_empty() { error } else { hint::with(error, advice(&roles)) }
    }
}

fn advice(roles: &[String]) -> String {
    format!(
        "sessions of {} stay connected: end them, or GRANT pg_signal_backend to the role that restores; those of a \
         superuser only a superuser can end",
        roles.join(", ")
    )
}

/// Whether the session `a` of role `r` may be ended by us; for one that may not, pg_terminate_backend is an error.
pub const MAY_END: &str = "(CASE WHEN r.rolsuper \
    THEN (SELECT me.rolsuper FROM pg_catalog.pg_roles AS me WHERE me.rolname OPERATOR(pg_catalog.=) CURRENT_USER) \
    ELSE pg_catalog.pg_has_role(a.usesysid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') END)";
