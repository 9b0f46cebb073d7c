//! Puts one database in the place of another while an application depends on it, or leaves everything as it was.
//!
//! ```text
//! stop the application -> pause the pool -> swap -> resume -> start -> check -> done, or all of it back
//! ```
//!
//! From the first of these to the last, a signal is noted and not obeyed: an application must not stay stopped, or a pool
//! paused, because somebody pressed Ctrl-C. Each step is on record before it is done.

use crate::app::{self, Application, Told};
use crate::database::Identity;
use crate::pool::Pool;
use crate::state::{Held, Step};
use crate::swap::Swap;
use crate::target::Target;
use anyhow::{Context as _, Error, Result, anyhow};
use common::failpoint;
use common::hint;
use common::interrupt::{self, Shield};
use common::report::{Item, Key, Value};
use common::status::Status;
use std::time::{Duration, Instant};

const LIVE_OID: Key = Key::new("database_oid", "OID of the database that the name leads to now");
const PUT_ASIDE: Key = Key::new("put_aside", "What the replaced database is called now");
const OUTAGE: Key = Key::new("outage_seconds", "How long the database could not be used by its name");
const STOPPED: Key = Key::new("stopped_seconds", "How long the application was stopped");

/// What is needed around the swap, checked before anything is touched.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The server.
    pub target: &'a Target,
    /// How the application is stopped and started.
    pub application: Option<Application>,
    /// The pool in front.
    pub pool: Option<Pool<'a>>,
    /// What asks whether the application is well.
    pub check: Option<Vec<String>>,
    /// What commands are told.
    pub told: Told,
}

/// How it went, where the names were swapped.
#[derive(Debug)]
pub struct Outcome {
    /// What the name leads to now.
    pub live: Identity,
    /// What was put aside.
    pub aside: Identity,
    /// From the pause of the pool, or the first session that was ended, until clients could come back; `None` where the run
    /// that swapped was killed.
    pub outage: Option<Duration>,
    /// From the stop of the application until its start came back.
    pub stopped: Option<Duration>,
    /// Why the names were swapped back.
    pub failed: Option<Error>,
    /// What else went wrong.
    pub warnings: Vec<Error>,
}

impl<'a> Exchange<'a> {
    /// Reads the options, and asks the pool's console.
    ///
    /// # Errors
    ///
    /// A program that cannot be found, a console that cannot be used.
    pub fn of(cli: &crate::Cli, target: &'a Target, act: &'static str) -> Result<Self> {
        Ok(Self {
            target,
            application: Application::of(cli)?,
            pool: cli.pgbouncer.as_deref().map(|address| Pool::open(address, target)).transpose()?,
            check: app::check_words(cli)?,
            told: Told { database: target.name.clone(), act },
        })
    }

    /// Carries out what the run on record says, and ends it on record.
    ///
    /// # Errors
    ///
    /// Where the name leads to what it led to before, with everything running again; the run on record is then back at
    /// [`Step::Loading`], for the caller to clear away. Where even that could not be reached, the record says so, and
    /// `--recover` goes on from there.
    pub fn carry_out(&self, held: &mut Held<'_>) -> Result<Outcome> {
        let _shield = Shield::new();
        held.change(|state| {
            if let Some(run) = &mut state.run {
                run.step = Step::Swapping;
                run.application.clone_from(&self.application);
                run.pool = self.pool.as_ref().map(|pool| pool.known.clone());
                run.check.clone_from(&self.check);
            }
        })?;
        let swap = held.run()?.swap();
        let began = Instant::now();
        let mut around = Around::default();
        let swapped = match self.forward(&swap, &mut around) {
            Ok(outage) => Ok(outage),
            Err(error) => self.settle(held, &swap, &mut around, error).map(|()| began.elapsed()),
        };
        let finished = swapped.and_then(|outage| {
            let finished = self.finish(held, &mut around, Some(outage));
            finished.map_err(|error| {
                let error = error.context("the names were swapped, but the run did not come to its end");
                hint::with(error, "run this again with --recover")
            })
        });
        finished.map_err(|error| self.released(&mut around, error))
    }

    /// Goes on after a swap that is committed; `around` says what has to be let go.
    fn finish(&self, held: &mut Held<'_>, around: &mut Around, outage: Option<Duration>) -> Result<Outcome> {
        let run = held.run()?.clone();
        let swap = run.swap();
        let mut warnings: Vec<_> = self.resume(around).err().into_iter().collect();
        let outage = outage.map(|outage| around.paused.map_or(outage, |paused| paused.elapsed()));
        held.step(Step::Checking)?;
        failpoint!("swapped")?;
        let verdict = self.start(around).and_then(|()| self.ask());
        failpoint!("checked")?;
        let mut outcome = match verdict {
            Ok(()) => {
                let aside = swap.aside();
                held.end(swap.live(), Some(run.put_aside(&aside)))?;
                Outcome { live: swap.live(), aside, outage, stopped: None, failed: None, warnings: Vec::new() }
            }
            Err(error) => self.back(held, &mut warnings, error, outage)?,
        };
        outcome.stopped = around.was_stopped;
        outcome.warnings.append(&mut warnings);
        Ok(outcome)
    }

    /// Takes up a run that was killed at or behind the swap.
    ///
    /// # Errors
    ///
    /// As [`Exchange::carry_out`].
    pub fn take_up(&self, held: &mut Held<'_>) -> Result<Option<Outcome>> {
        let _shield = Shield::new();
        let run = held.run()?.clone();
        let mut around = Around {
            stopped: self.application.as_ref().map(|_| Instant::now()),
            paused: self.pool.as_ref().map(|_| Instant::now()),
            ..Around::default()
        };
        // Clients come first. A pool that is out of reach does not keep the rest from being put right.
        if let Err(error) = self.resume(&mut around) {
            common::warn!("{error:#}; where it is still paused, RESUME it by hand on its console");
        }
        let is_done = run.swap().is_done(&mut self.target.maintenance()?)?;
        let outcome = match (run.step, is_done) {
            (Step::SwappingBack, true) => {
                let why = anyhow!("the application failed its check before the run was killed");
                self.back(held, &mut Vec::new(), why, None).map(Some)
            }
            (Step::SwappingBack, false) => {
                let back = run.swap().back(&run.failed_name);
                held.end(back.live(), Some(run.put_aside(&back.aside()))).map(|()| None)
            }
            (_, true) => self.finish(held, &mut around, None).map(Some),
            (_, false) => self.release(&mut around).and_then(|()| held.step(Step::Loading)).map(|()| None),
        };
        match outcome {
            Ok(outcome) => self.release(&mut around).map(|()| outcome),
            Err(error) => Err(self.released(&mut around, error)),
        }
    }

    /// The error, after all that was stopped runs again.
    fn released(&self, around: &mut Around, error: Error) -> Error {
        match self.release(around) {
            Ok(()) => error,
            Err(unreleased) => {
                let error = error.context(format!("{unreleased:#}; before that"));
                hint::with(error, "start what is stopped, then run this again with --recover")
            }
        }
    }

    /// Up to the commit of the swap.
    fn forward(&self, swap: &Swap, around: &mut Around) -> Result<Duration> {
        failpoint!("stopping")?;
        if let Some(application) = &self.application {
            around.stopped = Some(Instant::now());
            application.stop(&self.told)?;
        }
        failpoint!("stopped")?;
        let connected = swap.connect(self.target)?;
        if let Some(pool) = &self.pool {
            around.paused = Some(Instant::now());
            pool.pause()?;
        }
        failpoint!("paused")?;
        if let Some(signal) = interrupt::requested() {
            return Err(anyhow!("stopped by signal {signal} before anything was swapped"));
        }
        swap.carry_out(self.target, connected)
    }

    /// After a failure: what the server says decides whether the names were swapped.
    fn settle(&self, held: &mut Held<'_>, swap: &Swap, around: &mut Around, error: Error) -> Result<()> {
        match self.target.maintenance().and_then(|mut session| swap.is_done(&mut session)) {
            Ok(true) => {
                common::warn!("the names are swapped, but not as usual: {error:#}");
                Ok(())
            }
            Ok(false) => {
                // On record as untouched only once everything runs again: else --recover has something to do.
                if let Err(unreleased) = self.release(around) {
                    let error = error.context(format!("{unreleased:#}; before that"));
                    return Err(hint::with(error, "run this again with --recover"));
                }
                held.step(Step::Loading)?;
                Err(error)
            }
            Err(unclear) => {
                let error = error.context(format!("cannot tell whether the names were swapped: {unclear:#}"));
                Err(hint::with(error, "run this again with --recover"))
            }
        }
    }

    fn back(
        &self,
        held: &mut Held<'_>,
        warnings: &mut Vec<Error>,
        why: Error,
        outage: Option<Duration>,
    ) -> Result<Outcome> {
        let run = held.run()?.clone();
        held.step(Step::SwappingBack)?;
        failpoint!("swapping-back")?;
        let back = run.swap().back(&run.failed_name);
        let mut around = Around::default();
        let swapped = self.forward(&back, &mut around);
        warnings.extend(self.release(&mut around).err());
        let again = swapped.map_err(|error| {
            let error = error.context(format!("cannot swap back, after {why:#}"));
            hint::with(error, "the name leads to the new database; run this again with --recover")
        })?;
        failpoint!("swapped-back")?;
        held.end(back.live(), Some(run.put_aside(&back.aside())))?;
        Ok(Outcome {
            live: back.live(),
            aside: back.aside(),
            outage: outage.map(|outage| outage + again),
            stopped: None,
            failed: Some(why),
            warnings: Vec::new(),
        })
    }

    /// Both, whatever happens to the first.
    fn release(&self, around: &mut Around) -> Result<()> {
        let resumed = self.resume(around);
        let started = self.start(around);
        match (resumed, started) {
            (Err(resumed), Err(started)) => Err(started.context(format!("{resumed:#}"))),
            (resumed, started) => resumed.and(started),
        }
    }

    fn resume(&self, around: &mut Around) -> Result<()> {
        match (&self.pool, around.is_resumed) {
            (Some(pool), false) if around.paused.is_some() => {
                around.is_resumed = true;
                pool.resume()
            }
            _ => Ok(()),
        }
    }

    fn start(&self, around: &mut Around) -> Result<()> {
        match &self.application {
            Some(application) => {
                let Some(since) = around.stopped.take() else { return Ok(()) };
                let started = application.start(&self.told);
                around.was_stopped = Some(since.elapsed());
                started
            }
            None => Ok(()),
        }
    }

    fn ask(&self) -> Result<()> {
        match &self.check {
            Some(words) => app::run(words, &self.told).context("the check of the application failed"),
            None => Ok(()),
        }
    }
}

/// What has to be let go after the swap.
#[derive(Default)]
struct Around {
    stopped: Option<Instant>,
    was_stopped: Option<Duration>,
    paused: Option<Instant>,
    is_resumed: bool,
}

impl Outcome {
    /// One item: `did` says what the good end is, "restored …".
    pub fn item(self, did: &str) -> Item {
        let name = &self.live.name;
        let mut item = match &self.failed {
            Some(error) => Item::failed(name, Status::Critical, error),
            None => Item::new(name, Status::Ok, did),
        };
        if let (None, Some(outage)) = (&self.failed, self.outage) {
            item.message += &format!(", out of reach for {}", common::units::duration(outage));
        }
        if self.failed.is_some() {
            item.message +=
                &format!("; {name:?} leads to the old database again, {:?} keeps the other", self.aside.name);
        }
        for warning in &self.warnings {
            item.status = item.status.max(Status::Warning);
            item.message += &format!("; {warning:#}");
            item.hints.extend(hint::of(warning));
        }
        item = item
            .with(LIVE_OID, Value::Count(u64::from(self.live.oid)))
            .with(PUT_ASIDE, Value::Text(self.aside.name.clone()));
        for (key, time) in [(OUTAGE, self.outage), (STOPPED, self.stopped)] {
            item = time.into_iter().fold(item, |item, time| item.with(key, Value::Seconds(time)));
        }
        item
    }
}
