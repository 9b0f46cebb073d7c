//! Mails a copy that is about to go, or that was just made.
//!
//! The mailer is called as `MAILER -s SUBJECT ADDRESS` and reads the plain text. In a stanza with `su` it runs as that
//! user, so that no file of somebody else is read by a process of root.

use crate::child;
use crate::compress::Method;
use crate::message::{Told, shown, why};
use crate::run::Run;
use crate::site::{Access, Dir};
use crate::{fail, tell};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Sends one copy; `log` is the log it is of.
pub fn send(run: &Run<'_>, dir: &Dir, name: &OsStr, log: &Path) -> Told {
    let rules = &run.stanza.rules;
    let Some(address) = &rules.mail else { return Ok(()) };
    let path = dir.join(name);
    let is_plain = !rules.compress || (rules.mailfirst && rules.delaycompress);
    // What was just compressed is known to its reader by the name of the log.
    let subject = if rules.mailfirst && !is_plain { log } else { path.as_path() };
    let subject = common::text::line(&common::text::bytes(subject.as_os_str().as_encoded_bytes()));
    tell!("mailing {} to {}", shown(&path), shown(address));
    if run.is_dry() {
        return Ok(());
    }
    let file = match dir.open_log(name, Access::Read, run.hardlinks()) {
        Ok((file, _)) => file,
        Err(error) => return fail!("failed to open {} for mailing: {}", shown(&path), why(&error)),
    };
    let Some(command) = child::program(&run.how.mailer) else {
        return fail!("cannot execute mail command: {} is not there", shown(&run.how.mailer));
    };
    let mut command = child::quiet(command);
    command.stderr(Stdio::inherit()).arg("-s").arg(subject).arg(address);
    let sent = if is_plain { plain(run, command, file) } else { unpacked(run, command, file) };
    sent.or_else(|why| fail!("mail command failed for {}: {why}", shown(&path)))
}

fn plain(run: &Run<'_>, mut command: Command, file: File) -> Result<(), String> {
    command.stdin(file);
    child::run(command, run.how.limit).map_err(|error| why(&error))?.result
}

/// Decompresses on the way: in process, or by `uncompresscmd`.
fn unpacked(run: &Run<'_>, mut command: Command, file: File) -> Result<(), String> {
    use std::os::unix::process::CommandExt as _;
    let compressor = &run.stanza.rules.compressor;
    let method = Method::of(compressor);
    let text: Box<dyn io::Read + Send> = match (&compressor.uncompress, method) {
        (None, Method::Gzip(_)) => Box::new(flate2::read::MultiGzDecoder::new(file)),
        (None, Method::Zstd(_)) => Box::new(zstd::Decoder::new(file).map_err(|error| why(&error))?),
        (program, _) => {
            let program = program.clone().unwrap_or_else(|| "gunzip".into());
            let unpack = child::program(&program).ok_or_else(|| format!("{} is not there", shown(&program)))?;
            return piped(run, child::quiet(unpack), command, file);
        }
    };
    crate::handles::restore(&mut command);
    let mut mailer = command.stdin(Stdio::piped()).process_group(0).spawn().map_err(|error| why(&error))?;
    let pipe = mailer.stdin.take();
    let feeder = std::thread::spawn(move || {
        let mut text = text;
        pipe.map_or(Ok(0), |mut pipe| io::copy(&mut text, &mut pipe))
    });
    let ended = child::wait(&mut mailer, run.how.limit).result;
    let fed = feeder.join().map_err(|_| "reading it panicked".to_owned())?;
    // A mailer that has read enough and is content is no failure.
    let fed = fed.map(drop).or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(why(&error)),
    });
    ended.and(fed)
}

fn piped(run: &Run<'_>, mut unpack: Command, mut command: Command, file: File) -> Result<(), String> {
    use std::os::unix::process::CommandExt as _;
    let (reader, writer) = io::pipe().map_err(|error| why(&error))?;
    unpack.stdin(file).stdout(writer).stderr(Stdio::inherit());
    crate::handles::restore(&mut unpack);
    let mut unpacker =
        unpack.process_group(0).spawn().map_err(|error| format!("uncompress command: {}", why(&error)))?;
    drop(unpack);
    command.stdin(reader);
    let mailed = child::run(command, run.how.limit).map_err(|error| why(&error))?.result;
    let unpacked = child::wait(&mut unpacker, run.how.limit).result;
    mailed.and(unpacked.map_err(|why| format!("uncompress command failed: {why}")))
}
