//! Work on several connections side by side, where what is locked together is not worked on together.

use super::connection::{Connection, Context, Login};
use super::rows::{self, Block};
use anyhow::{Context as _, Result, ensure};
use common::backup::seek::Seekable;
use common::progress::Progress;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing to do on one connection.
#[derive(Debug)]
pub struct Task {
    /// What it does.
    pub work: Work,
    /// Tables that nobody else may lock meanwhile.
    pub alone: BTreeSet<String>,
    /// Tables that others may read meanwhile, but not take alone.
    pub shared: BTreeSet<String>,
    /// The larger is begun first.
    pub weight: u64,
}

/// What a task does.
#[derive(Debug)]
pub enum Work {
    /// Fills a table with a part of its rows.
    Rows {
        /// Which of the blocks.
        block: usize,
        /// Its part.
        part: Range<u64>,
        /// The COPY.
        head: Vec<u8>,
    },
    /// Carries out the statements of an entry, each with its line and context.
    Statements(Vec<(Vec<u8>, u64, Context)>),
}

/// What the tasks need.
pub struct Pool<'a> {
    /// How each connection logs in.
    pub login: &'a Login,
    /// How many there are.
    pub jobs: usize,
    /// Where rows come from.
    pub archive: &'a Seekable,
    /// The blocks that tasks name.
    pub blocks: &'a [Block],
    /// The encoding of the dump.
    pub encoding: &'a str,
    /// Bytes of rows that were sent, for the progress bar.
    pub sent: &'a AtomicU64,
}

struct State {
    waiting: Vec<Task>,
    alone: BTreeSet<String>,
    shared: Vec<String>,
    running: usize,
    counts: Vec<(usize, u64)>,
    failure: Option<anyhow::Error>,
}

impl Pool<'_> {
    /// Does all tasks; returns how many rows each block's tasks loaded.
    ///
    /// # Errors
    ///
    /// The first that went wrong; the others are stopped.
    pub fn run(
        &self,
        mut tasks: Vec<Task>,
        first: &mut Connection,
        progress: &mut Progress,
    ) -> Result<Vec<(usize, u64)>> {
        // The last is taken first.
        tasks.sort_by_key(|task| task.weight);
        let workers = self.jobs.min(tasks.len());
        let state = State {
            waiting: tasks,
            alone: BTreeSet::new(),
            shared: Vec::new(),
            running: 0,
            counts: Vec::new(),
            failure: None,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let others: Vec<Connection> = (1..workers).map(|_| Connection::open(self.login)).collect::<Result<_>>()?;
        let tokens: Vec<_> = others.iter().chain([&*first]).map(Connection::cancel_token).collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let tell = progress;
                while !is_over.load(Ordering::Relaxed) {
                    let has_failed = lock(&state).failure.is_some();
                    if has_failed || common::interrupt::requested().is_some() {
                        for token in &tokens {
                            token.cancel();
                        }
                    }
                    self.tell(tell);
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            });
            let workers: Vec<_> = others
                .into_iter()
                .map(|mut connection| {
                    let (state, changed) = (&state, &changed);
                    scope.spawn(move || self.work(&mut connection, state, changed))
                })
                .collect();
            self.work(first, &state, &changed);
            for worker in workers {
                if worker.join().is_err() {
                    lock(&state).failure.get_or_insert_with(|| anyhow::anyhow!("a worker panicked"));
                }
            }
            is_over.store(true, Ordering::Relaxed);
            watcher.thread().unpark();
        });
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        common::interrupt::check()?;
        match state.failure {
            Some(error) => Err(error),
            None => Ok(state.counts),
        }
    }

    /// The bar counts rows; how many have gone is known by their bytes.
    fn tell(&self, progress: &mut Progress) {
        let sent = self.sent.load(Ordering::Relaxed);
        let (rows, bytes) = self.blocks.iter().fold((0_u64, 0_u64), |(rows, bytes), block| {
            (rows.saturating_add(block.table.rows), bytes.saturating_add(block.table.bytes))
        });
        let share = sent as f64 / bytes.max(1) as f64;
        progress.update((rows as f64 * share) as u64, sent);
    }

    fn work(&self, connection: &mut Connection, state: &Mutex<State>, changed: &Condvar) {
        while let Some(task) = next(state, changed) {
            let done = self.task(connection, &task.work);
            let mut state = lock(state);
            state.running -= 1;
            for table in &task.alone {
                state.alone.remove(table);
            }
            for table in &task.shared {
                if let Some(at) = state.shared.iter().position(|shared| shared == table) {
                    state.shared.swap_remove(at);
                }
            }
            match done {
                Ok(count) => state.counts.extend(count),
                Err(error) => {
                    state.failure.get_or_insert(error);
                }
            }
            changed.notify_all();
        }
    }

    fn task(&self, connection: &mut Connection, work: &Work) -> Result<Option<(usize, u64)>> {
        common::interrupt::check()?;
        match work {
            Work::Rows { block, part, head } => {
                let place = &self.blocks[*block];
                let feed = |take: &mut dyn FnMut(&[u8]) -> Result<()>| {
                    rows::send(self.archive, &place.range, part, &mut |piece| {
                        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                        take(piece)
                    })
                };
                let rows = if *part == place.range && rows::is_large(part) {
                    connection.copy_fresh(head, self.encoding, feed)
                } else {
                    connection.copy(head, self.encoding, feed)
                };
                let rows = rows.with_context(|| format!("cannot fill table {}", rows::shown(&place.table)))?;
                common::failpoint!("rows-loaded")?;
                Ok(Some((*block, rows)))
            }
            Work::Statements(statements) => {
                for (text, line, context) in statements {
                    connection.run(text, self.encoding, context).with_context(|| super::at(*line, text))?;
                }
                Ok(None)
            }
        }
    }
}

/// The next task that may run beside those that do; waits for one to end where there is none.
fn next(state: &Mutex<State>, changed: &Condvar) -> Option<Task> {
    let mut state = lock(state);
    loop {
        if state.failure.is_some() || common::interrupt::requested().is_some() {
            return None;
        }
        let free = state.waiting.iter().rposition(|task| {
            task.alone.iter().all(|table| !state.alone.contains(table) && !state.shared.contains(table))
                && task.shared.iter().all(|table| !state.alone.contains(table))
        });
        if let Some(at) = free {
            let task = state.waiting.remove(at);
            state.alone.extend(task.alone.iter().cloned());
            state.shared.extend(task.shared.iter().cloned());
            state.running += 1;
            return Some(task);
        }
        if state.waiting.is_empty() || state.running == 0 {
            return None;
        }
        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that what was loaded is what was recorded.
///
/// # Errors
///
/// The first table with another number of rows.
pub fn compare(blocks: &[Block], counts: &[(usize, u64)]) -> Result<()> {
    let mut sums = vec![0_u64; blocks.len()];
    let mut is_loaded = vec![false; blocks.len()];
    for (block, rows) in counts {
        sums[*block] += rows;
        is_loaded[*block] = true;
    }
    for (number, block) in blocks.iter().enumerate().filter(|(number, _)| is_loaded[*number]) {
        ensure!(
            sums[number] == block.table.rows,
            "table {} took {} rows, but {} were recorded",
            rows::shown(&block.table),
            sums[number],
            block.table.rows
        );
    }
    Ok(())
}
