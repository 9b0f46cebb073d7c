//! Looks at all targets at once, each within its own limit, all within that of the run.
//!
//! A look keeps to its deadline by itself. One that does not (a name server, a network mount, a bug) is left alone: its
//! thread goes on, its target is UNKNOWN, and the run ends in time.

use crate::found::Found;
use crate::kind::{Context, Shared};
use crate::target::Target;
use common::interrupt;
use common::status::Status;
use common::units::{self, Stamp};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much longer than its limit a look may take before it is left alone: its own deadline comes first.
const GRACE: Duration = Duration::from_millis(800);
/// How often the run looks whether it was asked to stop.
const TICK: Duration = Duration::from_millis(100);
/// What a look needs at most; only what is used takes memory.
const STACK: usize = 1024 * 1024;

/// How fast the run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// When it began.
    pub(crate) now: Stamp,
    /// When it must end.
    pub(crate) end: Instant,
    /// For one look, where a target says nothing else.
    pub(crate) each: Duration,
    /// How many looks at once.
    pub(crate) concurrency: usize,
}

/// What became of one target.
#[derive(Debug)]
pub(crate) struct Look {
    /// What was found.
    pub(crate) found: Found,
    /// How long the last look took.
    pub(crate) took: Duration,
    /// How many looks there were.
    pub(crate) count: u32,
    /// The target that is to blame.
    pub(crate) blocked_by: Option<String>,
}

impl Look {
    fn new(found: Found) -> Self {
        Self { found, took: Duration::ZERO, count: 0, blocked_by: None }
    }
}

/// What a thread tells.
enum News {
    /// It has begun to look at a target.
    Began(usize),
    /// It has seen enough of a target.
    Seen(usize, Look),
}

/// What all threads share.
struct Work {
    targets: Vec<Arc<Target>>,
    /// Targets by number; those of one entry are looked at one after the other.
    queue: Mutex<VecDeque<Vec<usize>>>,
    shared: Arc<Shared>,
    pace: Pace,
}

/// Looks at all targets; what was found is in their order.
pub(crate) fn look_at_all(targets: &[Arc<Target>], pace: &Pace) -> Vec<Look> {
    let queue: VecDeque<_> = crate::kind::chains(targets).into();
    let threads = pace.concurrency.min(queue.len());
    let shared = Arc::new(Shared::of(targets));
    let work = Arc::new(Work { targets: targets.to_vec(), queue: Mutex::new(queue), shared, pace: *pace });
    let (sender, receiver) = mpsc::channel();
    // What takes no time is done before there is a thread for each.
    (0..threads).take_while(|_| work.is_waiting()).for_each(|_| start(&work, &sender));
    let mut looks: Vec<Option<Look>> = targets.iter().map(|_| None).collect();
    let mut began: Vec<Option<Instant>> = vec![None; targets.len()];
    let (mut waiting, mut checked) = (targets.len(), Instant::now());
    while waiting > 0 && interrupt::requested().is_none() && Instant::now() <= pace.end + GRACE {
        match receiver.recv_timeout(TICK) {
            Ok(News::Began(number)) => began[number] = Some(Instant::now()),
            // One that was given up may still come.
            Ok(News::Seen(number, look)) if looks[number].is_none() => {
                looks[number] = Some(look);
                waiting -= 1;
            }
            Ok(News::Seen(..)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if checked.elapsed() < TICK {
            continue;
        }
        checked = Instant::now();
        for number in 0..targets.len() {
            let is_late = began[number].is_some_and(|began| began.elapsed() > work.patience(number));
            if is_late && looks[number].is_none() {
                looks[number] = Some(Look::new(Found::unknown("it gave no answer within its time limit")));
                waiting -= 1;
                // The thread is lost; somebody else has to do its work.
                start(&work, &sender);
            }
        }
    }
    let late = |number: usize| {
        let found = match began[number] {
            Some(_) => "it gave no answer within the time limit of the run",
            None => "it was not looked at within the time limit of the run",
        };
        Look::new(Found::unknown(found).hint("give the run more time with --timeout, or the targets less"))
    };
    looks.into_iter().enumerate().map(|(number, look)| look.unwrap_or_else(|| late(number))).collect()
}

fn start(work: &Arc<Work>, sender: &Sender<News>) {
    let (work, sender) = (Arc::clone(work), sender.clone());
    let run = move || {
        while let Some(chain) = work.next() {
            for number in chain {
                // Nobody listens any more once the run is over.
                if sender.send(News::Began(number)).is_err() {
                    return;
                }
                drop(sender.send(News::Seen(number, work.look(number))));
            }
        }
        // The end of the process takes all threads at once; each for itself it takes the time of a look.
        loop {
            std::thread::park();
        }
    };
    // A machine that gives no more threads does the work on fewer; with none at all, all is UNKNOWN in the end.
    if let Err(error) = std::thread::Builder::new().stack_size(STACK).spawn(run) {
        common::debug!("cannot start a thread: {error}");
    }
}

impl Work {
    fn next(&self) -> Option<Vec<usize>> {
        if interrupt::requested().is_some() {
            return None;
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether there is work that nobody does yet.
    fn is_waiting(&self) -> bool {
        !self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn limit(&self, target: &Target) -> Duration {
        target.timeout.unwrap_or(self.pace.each)
    }

    /// How long all looks at a target may take together before they are given up.
    fn patience(&self, number: usize) -> Duration {
        let target = &self.targets[number];
        (self.limit(target) + target.retry_after) * (target.retries + 1) + GRACE
    }

    /// Looks at a target until it is OK or all retries are used up.
    fn look(&self, number: usize) -> Look {
        let target = &self.targets[number];
        let mut count = 0;
        loop {
            let began = Instant::now();
            let deadline = (began + self.limit(target)).min(self.pace.end);
            let context = Context {
                deadline,
                now: self.pace.now,
                is_again: count > 0,
                shared: Arc::clone(&self.shared),
                group: target.group.clone(),
            };
            // A parser that panics costs one finding.
            let seen = catch_unwind(AssertUnwindSafe(|| target.kind.look(&context)));
            let found = seen.unwrap_or_else(|_| Found::unknown("it cannot be looked at: internal error"));
            let took = began.elapsed();
            count += 1;
            let has_time = Instant::now() + target.retry_after < self.pace.end;
            if found.verdict() == Status::Ok || count > target.retries || !has_time {
                return Look { found, took, count, blocked_by: None };
            }
            common::info!(
                "{}: {}; looking again in {}",
                target.subject,
                found.message,
                units::duration(target.retry_after)
            );
            std::thread::sleep(target.retry_after);
        }
    }
}
