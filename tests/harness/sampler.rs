//! Watches the command lines of all processes: what is in argv, every user of the machine can read.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(5);

/// A watch that is on. Ends with [`Sampler::stop`].
pub struct Sampler {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeSet<String>>>,
}

/// Starts to watch. What lives for less than 5 ms may be missed: make the program under test wait for something.
#[must_use]
pub fn sampler() -> Sampler {
    let over = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let over = Arc::clone(&over);
        move || watch(&over)
    });
    Sampler { over, thread: Some(thread) }
}

impl Sampler {
    /// Ends the watch: all distinct command lines seen, arguments parted by blanks, sorted.
    #[must_use]
    pub fn stop(mut self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only stop takes the thread");
        thread.join().expect("the sampler does not panic").into_iter().collect()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn watch(over: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    loop {
        // Looked at before the scan, so that there is a last one after stop() was called.
        let last = over.load(Ordering::Relaxed);
        scan(&mut seen);
        if last {
            return seen;
        }
        thread::sleep(EVERY);
    }
}

fn scan(seen: &mut BTreeSet<String>) {
    for process in fs::read_dir("/proc").expect("read /proc").flatten() {
        if !process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        // Gone meanwhile, or a kernel thread: nothing to see.
        let Ok(argv) = fs::read(process.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&argv).trim_end_matches('\0').replace('\0', " ");
        if !line.is_empty() {
            seen.insert(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    #[test]
    fn the_sampler_sees_an_argument_and_not_an_environment_variable() {
        let dir = Sandbox::new();
        let sampler = sampler();

        dir.program("sleep").arg("0.0611").env("HIDDEN", "CANARY-61").run().code(0);

        let seen = sampler.stop();
        assert!(seen.iter().any(|line| line.ends_with("sleep 0.0611")), "{seen:#?}");
        assert!(!seen.iter().any(|line| line.contains("CANARY-61")), "{seen:#?}");
    }
}
