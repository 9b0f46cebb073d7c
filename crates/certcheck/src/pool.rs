//! All targets at once, on so many threads; what comes out is in the order of what went in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does the work for every element; `None` where it panicked, or was not begun because we were asked to stop.
///
/// A certificate that makes a parser panic costs one finding, not the run. Source: THREATS C4.
pub fn each<T: Sync, R: Send>(all: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<R>>> = Mutex::new(all.iter().map(|_| None).collect());
    let run = || {
        while common::interrupt::requested().is_none() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(index) else { break };
            let result = catch_unwind(AssertUnwindSafe(|| work(one))).ok();
            done.lock().unwrap_or_else(PoisonError::into_inner)[index] = result;
        }
    };
    std::thread::scope(|scope| {
        // This thread works, too, so that one target needs no other.
        let helpers = threads.min(all.len()).saturating_sub(1);
        for _ in 0..helpers {
            // A machine that gives no more threads does the work on fewer.
            if std::thread::Builder::new().stack_size(1024 * 1024).spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_work() {
        let all: Vec<u64> = (0..50).collect();

        let done = each(&all, 8, |number| {
            std::thread::sleep(std::time::Duration::from_millis(50 - number));
            number * 2
        });

        assert_eq!(done, (0..50).map(|number| Some(number * 2)).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_costs_one_result() {
        let done = each(&[1, 2, 3], 2, |number| if *number == 2 { panic!("hostile") } else { *number });

        assert_eq!(done, [Some(1), None, Some(3)]);
    }
}
