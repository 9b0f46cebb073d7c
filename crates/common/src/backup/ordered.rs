//! Work on many cores, results in order, memory bounded.

use anyhow::{Result, anyhow};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Where the producer puts its pieces of work.
pub struct Feeder<T, U> {
    jobs: SyncSender<Job<T, U>>,
    order: SyncSender<Receiver<Result<U>>>,
}

type Job<T, U> = (T, SyncSender<Result<U>>);

impl<T, U> Feeder<T, U> {
    /// Hands over one piece; waits while enough are under way.
    ///
    /// # Errors
    ///
    /// When the consumer has failed; its own error is what [`run`] returns.
    pub fn push(&self, piece: T) -> Result<()> {
        let (sender, receiver) = sync_channel(1);
        self.order.send(receiver).map_err(|_| stopped())?;
        self.jobs.send((piece, sender)).map_err(|_| stopped())
    }
}

fn stopped() -> anyhow::Error {
    anyhow!("stopped, because a later stage failed")
}

/// Runs `produce` here, `threads` workers, and `consume` on a thread of its own, which sees the results in the order in
/// which the pieces were pushed. At most `2 * threads + 2` pieces are under way.
///
/// # Errors
///
/// The consumer's or a worker's error before the producer's, because those stop the producer.
pub fn run<T, U, P, C, W>(
    threads: usize,
    worker: impl Fn() -> W + Sync,
    produce: impl FnOnce(&Feeder<T, U>) -> Result<P>,
    consume: impl FnOnce(&mut dyn FnMut() -> Option<Result<U>>) -> Result<C> + Send,
) -> Result<(P, C)>
where
    T: Send,
    U: Send,
    C: Send,
    W: FnMut(T) -> Result<U>,
{
    let threads = threads.max(1);
    let (jobs, work) = sync_channel::<Job<T, U>>(threads);
    let (order, results) = sync_channel::<Receiver<Result<U>>>(2 * threads + 1);
    let work = Mutex::new(work);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut worker = worker();
                loop {
                    let job = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((piece, sender)) = job else { break };
                    // The consumer may have gone after an error.
                    drop(sender.send(worker(piece)));
                }
            });
        }
        let consumer = scope.spawn(move || {
            let mut next = || {
                let result = results.recv().ok()?;
                Some(result.recv().unwrap_or_else(|_| Err(anyhow!("a worker ended without a result"))))
            };
            consume(&mut next)
        });
        let feeder = Feeder { jobs, order };
        let produced = produce(&feeder);
        drop(feeder);
        let consumed = consumer.join().unwrap_or_else(|_| Err(anyhow!("a stage panicked")));
        // A consumer that failed is the reason why the producer could not go on.
        match (produced, consumed) {
            (Ok(produced), Ok(consumed)) => Ok((produced, consumed)),
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
        }
    })
}

/// Buffers that are used again, so that a long stream allocates only what is under way.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    /// An empty buffer, new or used before.
    pub fn get(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubled(numbers: std::ops::Range<u64>, threads: usize) -> Vec<u64> {
        let ((), all) = run(
            threads,
            || |number: u64| Ok(number * 2),
            |feeder| numbers.clone().try_for_each(|number| feeder.push(number)),
            |next| std::iter::from_fn(next).collect::<Result<Vec<u64>>>(),
        )
        .unwrap();
        all
    }

    #[test]
    fn results_come_in_the_order_of_the_pieces() {
        let expected: Vec<_> = (0..1000).map(|number| number * 2).collect();

        assert_eq!(doubled(0..1000, 4), expected);
        assert_eq!(doubled(0..1000, 1), expected);
    }

    #[test]
    fn a_consumer_that_fails_stops_the_producer_and_its_error_counts() {
        let error = run(
            2,
            || |number: u64| Ok(number),
            |feeder| {
                loop {
                    feeder.push(1)?;
                }
                #[expect(unreachable_code, reason = "gives the closure its type")]
                Ok(())
            },
            |next| {
                next();
                Err::<(), _>(anyhow!("disk full"))
            },
        )
        .unwrap_err();

        assert_eq!(error.to_string(), "disk full");
    }

    #[test]
    fn a_worker_that_fails_reaches_the_caller() {
        let error = run(
            2,
            || |number: u64| if number == 3 { Err(anyhow!("bad piece")) } else { Ok(number) },
            |feeder| (0..10).try_for_each(|number| feeder.push(number)),
            |next| std::iter::from_fn(next).collect::<Result<Vec<u64>>>(),
        )
        .unwrap_err();

        assert_eq!(error.to_string(), "bad piece");
    }
}
