//! The steps of a rotation, for one log.
//!
//! ```text
//! prepare   older copies move up, what falls out is noted        app.log.1 -> app.log.2
//! place     the log's contents get the first name                app.log   -> app.log.1
//! finish    compressed, mailed; what fell out goes               app.log.1 -> app.log.1.gz
//! ```
//!
//! With `create`, the new log is complete before the old one moves, and both change places in one instant: no writer ever
//! finds the log missing. A run that is killed between two steps leaves a hidden name that says how far it came
//! (`recover`).

use crate::compress::{self, Method, Press};
use crate::config::Keep;
use crate::expire::{self, Refused};
use crate::message::{Failed, Told, shown, why};
use crate::names::{Age, Names};
use crate::run::{self, Run};
use crate::site::{self, Acl, Dir};
use crate::work::{Site, Source, Work};
use crate::{error, fail, mail, tell, truncate, warn};
use common::failpoint;
use rustix::fs::Stat;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;

/// Moves older copies up and says what will go.
pub fn prepare(run: &Run<'_>, work: &mut Work<'_>) -> Told {
    let rules = &run.stanza.rules;
    let keep = match rules.keep {
        Keep::Forever => -1,
        Keep::Count(count) => i64::from(count),
    };
    let log = shown(work.path);
    tell!("rotating log {log}, log->rotateCount is {keep}");
    let Some(site) = work.site.clone() else { return Err(Failed) };
    let names = match Names::new(&site.name, rules, run.now) {
        Ok(names) => names,
        Err(why) => return fail!("log {log}: {why}"),
    };
    if let Some(date) = &names.date {
        tell!("dateext suffix '{}'", common::text::visible(&date.suffix));
        tell!("glob pattern '{}'", common::text::visible(&date.pattern));
    }
    if rules.delaycompress && !rules.compress {
        warn!("delayed compression for log file {log} ignored since compression is disabled");
    }
    match &names.date {
        Some(_) => by_date(run, work, &site, &names)?,
        None => by_number(run, work, &site, &names)?,
    }
    work.names = Some(names);
    Ok(())
}

/// Compresses what is plain: the last copy with `delaycompress`, else what a killed run did not come to.
pub fn compress_earlier(run: &Run<'_>, work: &mut Work<'_>, cores: usize) -> Told {
    let Some(site) = work.site.as_ref().filter(|_| run.stanza.rules.compress) else { return Ok(()) };
    // A name that cannot be made is said when the new copy needs one.
    let Ok(names) = &Names::new(&site.name, &run.stanza.rules, run.now) else { return Ok(()) };
    let dir = &*site.old;
    let plain: Vec<OsString> = match &names.date {
        None => vec![names.number(u64::from(names.start))],
        Some(_) => {
            listed(dir, names)?.into_iter().filter(|copy| !copy.found.compressed).map(|copy| copy.name).collect()
        }
    };
    for name in plain {
        match if dir.lacks(&name) { Ok(None) } else { dir.stat(&name) } {
            Ok(Some(stat)) if is_compressed_already(run, dir, &name, names, &stat) => {
                tell!("{} is compressed already: a killed run did not come to removing it", shown(&dir.join(&name)));
                if !run.is_dry() {
                    expire::dispose(run, dir, &name, None).map_err(|Refused(_)| Failed)?;
                }
            }
            Ok(Some(_)) => compress_one(run, dir, &name, names, cores)?,
            Ok(None) => tell!("previous log {} does not exist", shown(&dir.join(&name))),
            Err(error) => error!("cannot stat {}: {}", shown(&dir.join(&name)), why(&error)),
        }
    }
    Ok(())
}

fn is_compressed_already(run: &Run<'_>, dir: &Dir, name: &OsStr, names: &Names, plain: &Stat) -> bool {
    let open = |name: &OsStr| dir.open_log(name, site::Access::Read, run.hardlinks()).ok();
    let Some((compressed, stat)) = open(&names.compressed(name)) else { return false };
    // The times are kept to the nanosecond, so nothing else need be read.
    if (stat.st_mtime, stat.st_mtime_nsec) != (plain.st_mtime, plain.st_mtime_nsec) {
        return false;
    }
    let method = Method::of(&run.stanza.rules.compressor);
    open(name).is_some_and(|(plain, _)| compress::holds_the_same(compressed, plain, &method))
}

fn listed(dir: &Dir, names: &Names) -> Told<Vec<expire::Copy>> {
    expire::copies(dir, names).or_else(|error| fail!("cannot read {}: {}", shown(dir.path()), why(&error)))
}

/// With dates nothing moves; the oldest go so that the new one makes the count.
fn by_date(run: &Run<'_>, work: &mut Work<'_>, site: &Site, names: &Names) -> Told {
    let copies: Vec<_> =
        listed(&site.old, names)?.into_iter().filter(|copy| copy.found.compressed == names.compresses()).collect();
    let surplus = match run.stanza.rules.keep {
        Keep::Forever => 0,
        Keep::Count(count) => (copies.len() + 1).saturating_sub(usize::try_from(count.max(1)).unwrap_or(usize::MAX)),
    };
    let is_doomed = |(place, copy): &(usize, &expire::Copy)| *place < surplus || expire::is_too_old(run, &copy.stat);
    work.doomed = copies.iter().enumerate().filter(is_doomed).map(|(_, copy)| copy.name.clone()).collect();
    let Some(date) = &names.date else { return Ok(()) };
    let most = if run.stanza.rules.dateextunique { 10_000 } else { 1 };
    for again in 0..most {
        let name = names.dated(&date.suffix, again);
        if is_free(&site.old, &name)? && is_free(&site.old, &names.compressed(&name))? {
            work.last_name = name;
            return Ok(());
        }
    }
    let name = names.dated(&date.suffix, 0);
    let taken = if is_free(&site.old, &names.compressed(&name))? { name } else { names.compressed(&name) };
    fail!("destination {} already exists, skipping rotation", shown(&site.old.join(&taken)))
}

fn is_free(dir: &Dir, name: &OsStr) -> Told<bool> {
    dir.stat(name)
        .map(|stat| stat.is_none())
        .or_else(|error| fail!("cannot stat {}: {}", shown(&dir.join(name)), why(&error)))
}

/// With numbers every copy moves up by one, the last one first.
fn by_number(run: &Run<'_>, work: &mut Work<'_>, site: &Site, names: &Names) -> Told {
    let start = u64::from(names.start);
    let count = match run.stanza.rules.keep {
        Keep::Count(count) => u64::from(count.max(1)),
        Keep::Forever => last_number(&site.old, names)?.map_or(0, |last| (last + 1).saturating_sub(start)),
    };
    let copy = |number: u64| names.compressed(&names.number(number));
    for number in (start..start + count).rev() {
        let (old, new) = (copy(number), copy(number + 1));
        if site.old.lacks(&old) {
            tell!("old log {} does not exist", shown(&site.old.join(&old)));
            continue;
        }
        let (path, new_path) = (site.old.join(&old), site.old.join(&new));
        let (path, new_path) = (shown(&path), shown(&new_path));
        if run.stanza.rules.maxage_days > 0 && expired(run, work, &site.old, &old)? {
            continue;
        }
        tell!("renaming {path} to {new_path} (rotatecount {count}, logstart {start}, i {number}), ");
        if run.is_dry() {
            continue;
        }
        match site.old.rename(&old, &site.old, &new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => tell!("old log {path} does not exist"),
            Err(error) => return fail!("error renaming {path} to {new_path}: {}", why(&error)),
        }
    }
    failpoint!("copies-moved").or_else(|error| fail!("{error}"))?;
    let out = copy(start + count);
    if run.stanza.rules.keep != Keep::Forever {
        if !site.old.lacks(&out) && matches!(site.old.stat(&out), Ok(Some(_))) {
            work.doomed.push(out);
        } else {
            tell!("log {} doesn't exist -- won't try to dispose of it", shown(&site.old.join(&out)));
        }
    }
    work.last_name = names.number(start);
    Ok(())
}

fn last_number(dir: &Dir, names: &Names) -> Told<Option<u64>> {
    let numbers = listed(dir, names)?.into_iter().filter(|copy| copy.found.compressed == names.compresses());
    let numbers = numbers.filter_map(|copy| match copy.found.age {
        Age::Number(number) => Some(u64::from(number.0)),
        Age::Date(..) => None,
    });
    Ok(numbers.max())
}

/// Whether a copy is gone, or goes now because it is older than `maxage`.
fn expired(run: &Run<'_>, work: &Work<'_>, dir: &Dir, name: &OsStr) -> Told<bool> {
    match dir.stat(name) {
        Ok(None) => {
            tell!("old log {} does not exist", shown(&dir.join(name)));
            Ok(true)
        }
        Ok(Some(stat)) if expire::is_too_old(run, &stat) => {
            mail::send(run, dir, name, work.path)?;
            expire::remove(run, dir, name).map(|()| true)
        }
        Ok(Some(_)) => Ok(false),
        Err(error) => fail!("cannot stat {}: {}", shown(&dir.join(name)), why(&error)),
    }
}

/// Gives the log's contents their first name.
pub fn place(run: &Run<'_>, work: &mut Work<'_>) -> Told {
    let rules = &run.stanza.rules;
    let Some(site) = work.site.clone() else { return Err(Failed) };
    if !(rules.copytruncate || rules.copy) || work.source == Source::TakenAway {
        let temporary = temporary(&site.name);
        let target = if rules.renamecopy { &temporary } else { &work.last_name };
        let to = if rules.renamecopy { &site.dir } else { &site.old };
        tell!("renaming {} to {}", shown(work.path), shown(&to.join(target)));
        if !run.is_dry() {
            move_away(run, work, &site, (to, target)).or_else(|error| {
                fail!("failed to rename {} to {}: {}", shown(work.path), shown(&to.join(target)), why(&error))
            })?;
        }
        if rules.keep == Keep::Count(0) {
            work.doomed.clear();
        }
    } else if rules.copies() {
        let skip = rules.keep == Keep::Count(0) && rules.mail.is_none();
        truncate::copy(run, work, &site, if skip { truncate::Copying::Skip } else { truncate::Copying::Do })?;
    }
    work.rotated = true;
    failpoint!("log-placed").or_else(|error| fail!("{error}"))
}

/// The log's name while `renamecopy` waits for its scripts.
fn temporary(name: &OsStr) -> OsString {
    let mut temporary = name.to_owned();
    temporary.push(".tmp");
    temporary
}

/// Moves the log to its first copy's name; with `create` a new log is in its place at once.
fn move_away(run: &Run<'_>, work: &Work<'_>, site: &Site, (to, target): (&Dir, &OsStr)) -> io::Result<()> {
    let rules = &run.stanza.rules;
    let give_name = |from: &OsStr| match rules.renamecopy {
        true => site.dir.rename(from, to, target),
        false => run::place(run.now, (&site.dir, from), to, target),
    };
    let hidden = site.hidden("rotating");
    if work.source == Source::TakenAway {
        return give_name(&hidden);
    }
    if !rules.create || rules.copytruncate || rules.copy {
        return give_name(&site.name);
    }
    // A run that is killed in between leaves an empty copy. Where copies have numbers it moves up with the others; but a
    // date would be taken for this day.
    let is_direct = !rules.dateext && !rules.renamecopy;
    let staged = if is_direct { (to, target) } else { (&*site.dir, &*hidden) };
    new_log(run, work, site, staged)?;
    failpoint!("new-log-made")?;
    match site.dir.exchange(&site.name, staged.0, staged.1) {
        Ok(()) => {
            failpoint!("logs-exchanged")?;
            if is_direct { Ok(()) } else { give_name(&hidden) }
        }
        // Not every file system can: then the log is missing for an instant, as it is with logrotate.
        Err(error) if matches!(error.raw_os_error(), Some(22 | 38 | 95)) => {
            if is_direct {
                to.rename(target, &site.dir, &hidden)?;
            }
            give_name(&site.name)?;
            site.dir.rename(&hidden, &site.dir, &site.name)
        }
        Err(error) => {
            drop(staged.0.remove(staged.1));
            Err(error)
        }
    }
}

/// Makes the log that comes after this one, complete with owner, mode and ACL.
fn new_log(run: &Run<'_>, work: &Work<'_>, site: &Site, (dir, name): (&Dir, &OsStr)) -> io::Result<()> {
    let rules = &run.stanza.rules;
    let Some(mut like) = work.stat else { return Err(io::ErrorKind::NotFound.into()) };
    like.st_uid = rules.create_ownership.uid.unwrap_or(like.st_uid);
    like.st_gid = rules.create_ownership.gid.unwrap_or(like.st_gid);
    like.st_mode = rules.create_ownership.mode.unwrap_or(like.st_mode & 0o777);
    let file = match dir.create(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            run::make_room(run.now, dir, name)?;
            dir.create(name)?
        }
        made => made?,
    };
    let acl = if rules.create_ownership.mode.is_some() { Acl::Dropped } else { Acl::Kept };
    // What cannot be read, a FIFO perhaps, can be moved away all the same.
    let log = site.dir.open_log(&site.name, site::Access::Read, run.hardlinks()).ok();
    let given = site::give(&file, &like, log.as_ref().map(|(log, _)| log), acl);
    given.inspect_err(|_| drop(dir.remove(name)))
}

/// Says which new log is made.
pub fn tell_created(run: &Run<'_>, work: &Work<'_>) {
    let rules = &run.stanza.rules;
    if !rules.create || rules.copytruncate || rules.copy {
        return;
    }
    let Some(stat) = work.stat else { return };
    tell!(
        "creating new {} mode = 0{:o} uid = {} gid = {}",
        shown(work.path),
        rules.create_ownership.mode.unwrap_or(stat.st_mode & 0o777),
        rules.create_ownership.uid.unwrap_or(stat.st_uid),
        rules.create_ownership.gid.unwrap_or(stat.st_gid)
    );
}

/// What `renamecopy` left for after the scripts.
pub fn copy_renamed(run: &Run<'_>, work: &mut Work<'_>) -> Told {
    if !run.stanza.rules.renamecopy {
        return Ok(());
    }
    let Some(site) = work.site.clone() else { return Err(Failed) };
    let temporary = temporary(&site.name);
    truncate::plain_copy(run, &site, &temporary, &work.last_name)?;
    tell!("removing tmp log {}", shown(&site.dir.join(&temporary)));
    if !run.is_dry() {
        // It has been copied and synced; what cannot be removed now is overwritten next time.
        drop(site.dir.remove(&temporary));
    }
    Ok(())
}

/// Whether there is a new copy to compress.
pub fn is_compressed_now(run: &Run<'_>) -> bool {
    let rules = &run.stanza.rules;
    let skipped = rules.copies() && rules.keep == Keep::Count(0) && rules.mail.is_none();
    rules.compress && !rules.delaycompress && !skipped
}

/// Compresses the new copy, which is left to [`remove_new`].
pub fn compress_new(run: &Run<'_>, work: &mut Work<'_>, cores: usize) -> Told {
    let (Some(site), Some(names)) = (&work.site, &work.names) else { return Err(Failed) };
    let target = names.compressed(&work.last_name);
    work.plain = compress::compress(&Press::of(run), &site.old, &work.last_name, &target, cores)?;
    Ok(())
}

/// Removes the new copy, which is compressed.
pub fn remove_new(run: &Run<'_>, work: &mut Work<'_>) -> Told {
    let Some(site) = work.site.clone() else { return Err(Failed) };
    remove_plain(run, &site.old, &work.last_name, work.plain.take())
}

/// Compresses one plain copy and removes it.
fn compress_one(run: &Run<'_>, dir: &Dir, name: &OsStr, names: &Names, cores: usize) -> Told {
    let open = compress::compress(&Press::of(run), dir, name, &names.compressed(name), cores)?;
    remove_plain(run, dir, name, open)
}

/// Removes what has been compressed.
fn remove_plain(run: &Run<'_>, dir: &Dir, name: &OsStr, open: Option<File>) -> Told {
    if run.is_dry() {
        return Ok(());
    }
    expire::dispose(run, dir, name, open).or_else(|Refused(why)| {
        // The script has said why; another cause has not been said.
        fail!("cannot remove {}: {why}", shown(&dir.join(name)))
    })
}

/// Mails, and removes what fell out.
pub fn finish(run: &Run<'_>, work: &mut Work<'_>) -> Told {
    let rules = &run.stanza.rules;
    let (Some(site), Some(names)) = (work.site.clone(), work.names.clone()) else { return Err(Failed) };
    let newest =
        if rules.compress && !rules.delaycompress { names.compressed(&work.last_name) } else { work.last_name.clone() };
    if rules.keep == Keep::Count(0) && !rules.copies() {
        tell!("disposeName will be {}", shown(&site.old.join(&newest)));
        work.doomed = vec![newest.clone()];
    }
    if rules.mailfirst {
        mail::send(run, &site.old, &newest, work.path)?;
    }
    for name in std::mem::take(&mut work.doomed) {
        if !rules.mailfirst {
            mail::send(run, &site.old, &name, work.path)?;
        }
        expire::remove(run, &site.old, &name)?;
    }
    expire::limit_total(run, &site.old, &names)
}
