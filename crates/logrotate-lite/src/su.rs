//! `su`: a stanza's files are worked on by a process of their user, which can never come back to root.
//!
//! ```text
//! parent, root                      child, the same program with --su-worker
//!   Order (stanza, state, time) ->    setgroups, setresgid, setresuid, proven by asking back
//!   runs scripts              <-      Said::Script, and waits for the answer
//!   says messages             <-      Said::Message
//!   keeps the state           <-      Said::Done
//! ```
//!
//! A line of JSON each. A child and not a lowered effective id, since that would leave root's groups and the way back to
//! every thread and every program that is run (THREATS G6, L5).

use crate::config::{Stanza, Su};
use crate::hook::Here;
use crate::message::{self, Level, shown, why};
use crate::run::{Begun, Host, How, Run};
use crate::stanza::{self, Result as Done};
use crate::state::{Entry, State};
use crate::{error, tell};
use anyhow::{Context as _, bail};
use common::interrupt::Registered;
use jiff::{Timestamp, Zoned};
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// What the child is to do.
#[derive(Serialize, Deserialize)]
struct Order {
    stanza: Stanza,
    how: How,
    now: i64,
    state: Vec<(OsString, jiff::civil::DateTime)>,
    owed: Vec<(OsString, u64)>,
    is_heard: bool,
}

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Said {
    Message(Level, String),
    Script { body: OsString, first: OsString, second: Option<OsString> },
    Begins(Vec<(OsString, u64)>),
    Done(Done),
}

/// What is known before a stanza is begun.
pub struct Known<'a> {
    /// The dates of the last rotations.
    pub state: &'a State,
    /// Logs whose scripts a killed run did not come to.
    pub owed: &'a HashMap<PathBuf, u64>,
}

/// Rotates a stanza, in a child where it has `su` and we are root.
pub fn rotate(run: &Run<'_>, here: &Here<'_>, known: &Known<'_>) -> Done {
    let Some(su) = run.stanza.rules.su else { return stanza::rotate(run, known.state, known.owed) };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // Root with another group is root; and who we are already we need not become.
    if su.uid == uid && (uid == 0 || su.gid == gid) {
        return stanza::rotate(run, known.state, known.owed);
    }
    if uid != 0 {
        let pid = std::process::id();
        error!(
            "error switching euid from {uid} to {} and egid from {gid} to {} (pid {pid}): Operation not permitted",
            su.uid, su.gid
        );
        return failed();
    }
    tell!("working as uid {} and gid {} in a process of its own", su.uid, su.gid);
    in_child(run, here, known).unwrap_or_else(|error| {
        error!("cannot work as uid {} for {}: {error:#}", su.uid, shown(&run.stanza.pattern));
        failed()
    })
}

fn failed() -> Done {
    Done { failed: true, errors: message::take_errors(), ..Done::default() }
}

fn in_child(run: &Run<'_>, here: &Here<'_>, known: &Known<'_>) -> anyhow::Result<Done> {
    let mut command = Command::new("/proc/self/exe");
    crate::handles::restore(&mut command);
    let mut child = command
        .arg("--su-worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("cannot run ourselves")?;
    let _registered = Registered::new(rustix::process::Pid::from_child(&child));
    let (stdin, stdout) = (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
    let done = converse(run, here, known, stdin, stdout);
    end(&mut child, done)
}

fn end(child: &mut Child, done: anyhow::Result<Done>) -> anyhow::Result<Done> {
    if done.is_err() {
        // It may wait for an answer that will not come.
        drop(child.kill());
    }
    let status = child.wait().context("cannot wait for it")?;
    let done = done?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(done)
}

fn converse(
    run: &Run<'_>,
    here: &Here<'_>,
    known: &Known<'_>,
    mut stdin: ChildStdin,
    stdout: ChildStdout,
) -> anyhow::Result<Done> {
    send(&mut stdin, &order(run, known))?;
    for line in BufReader::new(stdout).lines() {
        match serde_json::from_str(&line.context("cannot read what it says")?).context("cannot read what it says")? {
            Said::Message(level, text) => message::say(level, &text),
            Said::Script { body, first, second } => {
                let is_ours = scripts(run.stanza).any(|script| *script == body);
                let answer = match is_ours {
                    true => here.script(&body, &first, second.as_deref()),
                    false => Err("it is no script of the configuration".to_owned()),
                };
                send(&mut stdin, &answer)?;
            }
            Said::Begins(logs) => {
                here.begins(&logs.iter().map(|(log, inode)| (Path::new(log), *inode)).collect::<Vec<_>>());
            }
            Said::Done(done) => {
                message::take_errors();
                return Ok(done);
            }
        }
    }
    bail!("it ended before its work")
}

/// The child is not trusted with more than what the configuration has root run for it.
fn scripts(stanza: &Stanza) -> impl Iterator<Item = &OsString> {
    let scripts = &stanza.rules.scripts;
    [&scripts.first, &scripts.pre, &scripts.post, &scripts.last, &scripts.preremove].into_iter().flatten()
}

fn order(run: &Run<'_>, known: &Known<'_>) -> Order {
    let here = std::env::current_dir().unwrap_or_default();
    let mut stanza = run.stanza.clone();
    let dates = stanza.files.iter().filter_map(|log| Some((here.join(log).into(), known.state.get(log)?.last)));
    let dates = dates.collect();
    let owed = known.owed.iter().map(|(log, inode)| (here.join(log).into(), *inode)).collect();
    // The child works in /, so that our directory need not be one that it may see.
    stanza.files = stanza.files.iter().map(|log| here.join(log)).collect();
    let how = How { mailer: absolute(&here, &run.how.mailer), ..run.how.clone() };
    let now = run.now.timestamp().as_second();
    Order { stanza, how, now, state: dates, owed, is_heard: message::is_heard() }
}

fn absolute(here: &Path, program: &Path) -> PathBuf {
    if program.components().count() > 1 { here.join(program) } else { program.to_owned() }
}

fn send(to: &mut impl io::Write, what: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(what).context("cannot say it")?;
    line.push(b'\n');
    to.write_all(&line).and_then(|()| to.flush()).context("cannot talk to it")
}

/// The child's work: everything a stanza needs but its scripts.
///
/// # Errors
///
/// Where the order cannot be read, or root cannot be given up for good.
pub fn work() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("cannot read the order")?;
    crate::handles::raise();
    let order: Order = serde_json::from_str(&line).context("cannot read the order")?;
    give_up(order.stanza.rules.su.context("an order without su")?)?;
    message::also(message::Also::Parent(tell_parent));
    if !order.is_heard {
        message::hear_errors_only();
    }
    let mut state = State::default();
    for (log, last) in order.state {
        state.set(log.into(), Entry { last, seen: true });
    }
    let now: Zoned = Timestamp::from_second(order.now)?.to_zoned(jiff::tz::TimeZone::system());
    let owed = order.owed.into_iter().map(|(log, inode)| (log.into(), inode)).collect();
    let run = Run::new(&order.stanza, &now, &Parent, &order.how);
    let done = stanza::rotate(&run, &state, &owed);
    say(&Said::Done(done))
}

/// Becomes the user for good: groups first, then all group ids, then all user ids.
fn give_up(su: Su) -> anyhow::Result<()> {
    let (uid, gid) = (Uid::from_raw(su.uid), Gid::from_raw(su.gid));
    let name = nix::unistd::User::from_uid(uid).ok().flatten().and_then(|user| CString::new(user.name).ok());
    match name {
        Some(name) => nix::unistd::initgroups(&name, gid),
        None => nix::unistd::setgroups(&[gid]),
    }
    .context("cannot set groups")?;
    nix::unistd::setresgid(gid, gid, gid).context("cannot set the group")?;
    nix::unistd::setresuid(uid, uid, uid).context("cannot set the user")?;
    let users = nix::unistd::getresuid().context("cannot ask for the user")?;
    let groups = nix::unistd::getresgid().context("cannot ask for the group")?;
    let is_done = [users.real, users.effective, users.saved].iter().all(|id| *id == uid)
        && [groups.real, groups.effective, groups.saved].iter().all(|id| *id == gid);
    if !is_done || nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        bail!("cannot become uid {} for good", su.uid);
    }
    std::env::set_current_dir("/").context("cannot go to /")
}

/// Scripts run in the parent.
struct Parent;

impl Host for Parent {
    fn script(&self, body: &OsStr, first: &OsStr, second: Option<&OsStr>) -> Result<(), String> {
        let said = Said::Script { body: body.into(), first: first.into(), second: second.map(Into::into) };
        say(&said).map_err(|error| format!("{error:#}"))?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(|error| why(&error))?;
        serde_json::from_str(&line).map_err(|_| "the parent gave no answer".to_owned())?
    }

    fn begins(&self, logs: &[Begun<'_>]) {
        // The parent is there, or the next line will find out.
        drop(say(&Said::Begins(logs.iter().map(|(log, inode)| ((*log).into(), *inode)).collect())));
    }
}

fn tell_parent(level: Level, text: &str) {
    drop(say(&Said::Message(level, text.to_owned())));
}

fn say(what: &Said) -> anyhow::Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    send(&mut io::stdout().lock(), what)
}
