//! One stanza from its first log to its last: what is due, then scripts and steps in logrotate's order.
//!
//! Without `sharedscripts` each log goes its way by itself: prerotate, its steps, postrotate. With them all logs take each
//! step together, and one failure stops the rest. Compression comes when all logs have their new names, on all cores.

use crate::config::Keep;
use crate::message::{Failed, Told, shown};
use crate::run::Run;
use crate::state::{Entry, State};
use crate::work::{Copies, Work};
use crate::{error, rotate as one, tell};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// From how many logs in one directory on it is faster to read all names in it.
const LISTED_FROM: usize = 8;

/// What came of one log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The log.
    pub path: OsString,
    /// Whether it exists: then the state file keeps it.
    pub exists: bool,
    /// Whether the state file hears of it.
    pub known: bool,
    /// Whether it was due.
    pub due: bool,
    /// Whether its contents are in a copy now, and nothing needs to be tried again.
    pub rotated: bool,
    /// Why it was due or not.
    pub reason: String,
    /// Its size when it was decided on.
    pub size: Option<u64>,
    /// Whether anything failed.
    pub failed: bool,
    /// What was said with "error:"; some of it is no failure.
    pub errors: Vec<String>,
}

/// What came of a stanza.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Result {
    /// Each log.
    pub outcomes: Vec<Outcome>,
    /// Whether anything failed, also what belongs to no log.
    pub failed: bool,
    /// What failed and belongs to no log.
    pub errors: Vec<String>,
}

/// Rotates what is due in a stanza. `owed` are logs whose scripts a killed run did not come to.
pub fn rotate(run: &Run<'_>, state: &State, owed: &HashMap<PathBuf, u64>) -> Result {
    introduce(run);
    let mut result = Result::default();
    crate::message::take_errors();
    if run.stanza.rules.pruneorphans {
        result.failed |= crate::orphans::prune(run).is_err();
    }
    if run.stanza.files.is_empty() {
        tell!("No logs found. Rotation not needed.");
        result.errors = crate::message::take_errors();
        return result;
    }
    let mut logs: Vec<Work<'_>> = run.stanza.files.iter().map(|path| Work::new(path)).collect();
    let copies = Copies::of(run);
    list_large_directories(run);
    for log in &mut logs {
        let known = state.get(log.path);
        if log.consider(run, known, &copies).is_err() {
            log.failed = true;
            "failed".clone_into(&mut log.reason);
        }
        log.owe(owed.get(log.path).copied());
        if !log.due {
            // A thousand directories in which nothing is to be done need no handle.
            log.site = None;
        }
        log.errors.append(&mut crate::message::take_errors());
    }
    result.failed |= logs.iter().any(|log| log.failed);
    result.failed |= steps(run, &mut logs, result.failed).is_err();
    if !run.is_dry() && logs.iter().any(|log| log.due) {
        result.failed |= run.dirs.sync().is_err();
    }
    result.errors = crate::message::take_errors();
    result.failed |= logs.iter().any(|log| log.failed);
    result.outcomes = logs.into_iter().map(|log| outcome(run, log)).collect();
    result
}

/// Reads the names where several logs lie together, so that not every log asks for every copy it might have.
fn list_large_directories(run: &Run<'_>) {
    let parents = run.stanza.files.chunk_by(|one, other| one.parent() == other.parent());
    for parent in parents.filter(|files| files.len() >= LISTED_FROM).filter_map(|files| files[0].parent()) {
        // Where it cannot be opened, its logs will say so.
        if let Ok(dir) = run.dirs.open(parent) {
            dir.list();
        }
    }
}

fn outcome(run: &Run<'_>, log: Work<'_>) -> Outcome {
    Outcome {
        path: log.path.into(),
        exists: log.stat.is_some(),
        known: log.known,
        due: log.due,
        rotated: log.rotated && !run.is_dry(),
        reason: log.reason,
        size: log.stat.as_ref().map(crate::site::size),
        failed: log.failed,
        errors: log.errors,
    }
}

/// The state that a log has after this run.
pub fn entry(outcome: &Outcome, known: Option<Entry>, now: &jiff::Zoned) -> Entry {
    let today = now.datetime();
    let today = today.date().at(today.hour(), today.minute(), today.second(), 0);
    match known {
        _ if outcome.rotated => Entry { last: today, seen: true },
        Some(entry) => Entry { seen: entry.seen || outcome.exists, ..entry },
        // It counts from the hour in which it was asked for first, also where it is not there yet.
        None => Entry { last: today.date().at(today.hour(), 0, 0, 0), seen: outcome.exists },
    }
}

fn steps(run: &Run<'_>, logs: &mut [Work<'_>], failed: bool) -> Told {
    let scripts = &run.stanza.rules.scripts;
    let pattern = run.stanza.pattern.as_os_str();
    let active = logs.iter().any(Work::runs_scripts);
    let has_scripts =
        [&scripts.first, &scripts.pre, &scripts.post, &scripts.last].iter().any(|script| script.is_some());
    if active && has_scripts && !run.is_dry() {
        let begun = logs.iter().filter(|log| log.runs_scripts());
        run.host.begins(&begun.map(|log| (log.path, log.inode())).collect::<Vec<_>>());
    }
    let mut result = Ok(());
    if let Some(script) = scripts.first.as_ref().filter(|_| is_run("first action", active)) {
        tell!("running first action script");
        if let Err(why) = run.script(script, pattern, None) {
            error!("error running first action script for {}: {why}", shown(pattern));
            return Err(Failed);
        }
    }
    if run.stanza.rules.sharedscripts {
        result = result.and(together(run, logs, failed));
    } else {
        if scripts.pre.is_none() {
            compress_earlier(run, logs);
        }
        for log in logs.iter_mut() {
            // Once we are asked to stop no script runs any more, and no daemon would be told of a rotation.
            if let Err(stopped) = common::interrupt::check() {
                error!("{stopped:#}");
                result = Err(Failed);
                break;
            }
            result = result.and(alone(run, log));
        }
    }
    settle(run, logs, failed || result.is_err());
    if let Some(script) = scripts.last.as_ref().filter(|_| is_run("last action", active)) {
        tell!("running last action script");
        if let Err(why) = run.script(script, pattern, None) {
            error!("error running last action script for {}: {why}", shown(pattern));
            result = Err(Failed);
        }
    }
    result
}

fn is_run(which: &str, active: bool) -> bool {
    if !active {
        tell!("not running {which} script, since no logs will be rotated");
    }
    active
}

/// Compresses what the last run left plain.
fn compress_earlier(run: &Run<'_>, logs: &mut [Work<'_>]) {
    if !run.stanza.rules.compress {
        return;
    }
    let cores = run.how.cores;
    match run.stanza.rules.scripts.preremove {
        None => press(run, logs.iter_mut(), one::compress_earlier),
        Some(_) => logs.iter_mut().for_each(|log| log.step(|log| one::compress_earlier(run, log, cores))),
    }
}

/// One log with its own scripts.
fn alone(run: &Run<'_>, log: &mut Work<'_>) -> Told {
    if log.failed || !log.runs_scripts() {
        return Ok(());
    }
    let scripts = &run.stanza.rules.scripts;
    let (path, pattern) = (shown(log.path), shown(&run.stanza.pattern));
    if let Some(body) = &scripts.pre {
        tell!("running prerotate script");
        if let Err(why) = run.script(body, log.path.as_os_str(), None) {
            error!("error running non-shared prerotate script for {path} of '{pattern}': {why}");
            log.failed = true;
            return Err(Failed);
        }
    }
    if scripts.pre.is_some() {
        log.step(|log| one::compress_earlier(run, log, run.how.cores));
    }
    if !log.failed {
        log.step(|log| one::prepare(run, log));
    }
    if !log.failed {
        log.step(|log| one::place(run, log));
        one::tell_created(run, log);
    }
    if let Some(body) = scripts.post.as_ref().filter(|_| !log.failed) {
        let copy = log.site.as_ref().filter(|_| log.due).map(|site| site.old.join(&log.last_name));
        tell!("running postrotate script");
        if let Err(why) = run.script(body, log.path.as_os_str(), copy.as_ref().map(|copy| copy.as_os_str())) {
            error!("error running non-shared postrotate script for {path} of '{pattern}': {why}");
            log.failed = true;
            return Err(Failed);
        }
    }
    Ok(())
}

/// All logs with shared scripts.
fn together(run: &Run<'_>, logs: &mut [Work<'_>], mut failed: bool) -> Told {
    let scripts = &run.stanza.rules.scripts;
    let pattern = run.stanza.pattern.as_os_str();
    let active = logs.iter().any(Work::runs_scripts);
    let script = |which: &str, body: &Option<OsString>, failed: &mut bool| {
        let Some(body) = body.as_ref().filter(|_| !*failed && is_run(which, active)) else { return };
        tell!("running {which} script");
        if let Err(why) = run.script(body, pattern, None) {
            error!("error running shared {which} script for '{}': {why}", shown(pattern));
            *failed = true;
        }
    };
    if let Err(stopped) = common::interrupt::check() {
        error!("{stopped:#}");
        return Err(Failed);
    }
    script("prerotate", &scripts.pre, &mut failed);
    if !failed {
        compress_earlier(run, logs);
    }
    failed |= logs.iter().any(|log| log.failed);
    for step in [one::prepare as fn(&Run<'_>, &mut Work<'_>) -> Told, one::place] {
        for log in logs.iter_mut() {
            if !failed {
                log.step(|log| step(run, log));
                failed |= log.failed;
            }
        }
    }
    logs.iter().filter(|log| log.rotated).for_each(|log| one::tell_created(run, log));
    script("postrotate", &scripts.post, &mut failed);
    if failed { Err(Failed) } else { Ok(()) }
}

/// Compression, mail and removal, when every log has its new name.
fn settle(run: &Run<'_>, logs: &mut [Work<'_>], failed: bool) {
    let is_stopped = failed && run.stanza.rules.sharedscripts;
    let mut todo: Vec<&mut Work<'_>> =
        logs.iter_mut().filter(|log| log.rotated && !log.failed && !is_stopped).collect();
    for log in &mut todo {
        log.step(|log| one::copy_renamed(run, log));
    }
    todo.retain(|log| !log.failed);
    if one::is_compressed_now(run) {
        press(run, todo.iter_mut().map(|log| &mut **log), one::compress_new);
        // Only what is compressed may go; one after the other, because a script may have a say in it.
        todo.retain(|log| !log.failed);
        todo.iter_mut().for_each(|log| log.step(|log| one::remove_new(run, log)));
    }
    for log in todo.into_iter().filter(|log| !log.failed) {
        log.step(|log| one::finish(run, log));
    }
}

/// Compresses files of many logs: several at once, and where there are fewer than cores, each on several.
fn press<'a: 'b, 'b>(
    run: &Run<'_>,
    logs: impl ExactSizeIterator<Item = &'b mut Work<'a>> + Send,
    step: impl Fn(&Run<'_>, &mut Work<'_>, usize) -> Told + Sync,
) {
    let threads = run.how.cores.min(logs.len()).max(1);
    let logs = Mutex::new(logs);
    let next = || logs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(log) = next() {
            log.step(|log| step(run, log, run.how.cores / threads));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

/// What the stanza is about, in logrotate's words.
fn introduce(run: &Run<'_>) {
    if !crate::message::is_heard() {
        return;
    }
    let rules = &run.stanza.rules;
    let mut line = format!("\nrotating pattern: {} ", shown(&run.stanza.pattern));
    line.push_str(&match (run.how.force, rules.every) {
        (crate::decide::Force::Yes, _) => "forced from command line ".to_owned(),
        (_, crate::config::Every::Minutes(minutes)) => format!("after {minutes} minutes "),
        (_, crate::config::Every::Day) => "after 1 days ".to_owned(),
        (_, crate::config::Every::Size(bytes)) => format!("{bytes} bytes "),
        (_, every) => format!("{} ", every.keyword()),
    });
    if let Some(olddir) = &rules.olddir {
        line.push_str(&format!("olddir is {}, ", shown(olddir)));
    }
    line.push_str(if rules.ifempty { "empty log files are rotated, " } else { "empty log files are not rotated, " });
    if rules.minsize > 0 {
        line.push_str(&format!("only log files >= {} bytes are rotated, ", rules.minsize));
    }
    if rules.maxsize > 0 {
        line.push_str(&format!("log files >= {} are rotated earlier, ", rules.maxsize));
    }
    if rules.minage_days > 0 {
        line.push_str(&format!("only log files older than {} days are rotated, ", rules.minage_days));
    }
    if let Some(address) = &rules.mail {
        line.push_str(&format!("old logs mailed to {}, ", shown(address)));
    }
    line.push_str(&match rules.keep {
        Keep::Forever if rules.maxage_days == 0 => "old logs are kept forever".to_owned(),
        Keep::Forever => "(unlimited rotations), old logs are removed".to_owned(),
        Keep::Count(0) => "no old logs will be kept".to_owned(),
        Keep::Count(count) => format!("({count} rotations), old logs are removed"),
    });
    if rules.maxage_days > 0 && rules.keep != Keep::Count(0) {
        line.push_str(&format!(" after {} days", rules.maxage_days));
    }
    let (blank, line) = line.split_at(1);
    tell!("{}", blank.trim_end_matches('\n'));
    tell!("{line}");
}
