//! Programs that are asked: within a time, with what they print cut at a size, and nothing left behind.

use anyhow::{Result, anyhow};
use common::process::{Input, Program};
use std::io::Read as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a program may take to end when its time is over.
const GRACE: Duration = Duration::from_millis(300);
/// How long its last output may take once it has ended: only a descendant that has left its group can hold the pipe.
const LATE: Duration = Duration::from_millis(100);

/// How a program ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    /// Bytes that are no UTF-8 are shown as `\xNN`.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// It printed more than was kept.
    pub(crate) is_cut: bool,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    is_cut: bool,
}

/// Runs a program for at most `time`, and keeps the first `limit` bytes of what it prints; the rest is read and dropped.
///
/// # Errors
///
/// "cannot run …", "… gave no answer within …".
pub(crate) fn run(program: Program, time: Duration, limit: usize) -> Result<Ran> {
    let mut running = program.grace(GRACE).leaves_nothing().start(Input::None)?;
    let mut stdout = running.stdout()?;
    let kept = Arc::new(Mutex::new(Kept::default()));
    let shared = Arc::clone(&kept);
    let reader = move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let room = limit.saturating_sub(kept.bytes.len()).min(count);
            kept.bytes.extend_from_slice(&buffer[..room]);
            kept.is_cut |= room < count;
        }
    };
    let reader = std::thread::Builder::new().stack_size(128 * 1024).spawn(reader);
    let reader = reader.map_err(|error| anyhow!("cannot read from a program: {error}"))?;
    let finished = running.finish(Some(time))?;
    let ended = Instant::now();
    while !reader.is_finished() && ended.elapsed() < LATE {
        std::thread::sleep(Duration::from_micros(200));
    }
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    let stdout = common::text::bytes(&kept.bytes);
    Ok(Ran { status: finished.status, stdout, stderr: finished.stderr, is_cut: kept.is_cut })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn sh(script: &str, time: Duration) -> Result<Ran> {
        run(Program::new(Path::new("/bin/sh")).arg("-c").arg(script), time, 1000)
    }

    #[test]
    fn a_gigabyte_is_read_and_cut() {
        let ran = sh("head -c 100000000 /dev/zero; exit 1", Duration::from_secs(30)).unwrap();

        assert!(ran.is_cut);
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(1), 1000));
    }

    #[test]
    fn what_was_forked_is_not_waited_for() {
        let began = Instant::now();

        // One stays in the group, the other leaves it and keeps the pipes.
        let ran = sh("sleep 31 & setsid sleep 32 & echo said", Duration::from_secs(30)).unwrap();

        assert_eq!(ran.stdout, "said\n");
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_hangs_costs_its_time_and_little_more() {
        let began = Instant::now();

        let error = sh("trap '' TERM; sleep 60", Duration::from_millis(200)).unwrap_err();

        assert!(error.to_string().contains("gave no answer within"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
