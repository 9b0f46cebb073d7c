//! A bar on a terminal, nothing elsewhere.

use crate::units;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static BARS: OnceLock<MultiProgress> = OnceLock::new();
static QUIET: AtomicBool = AtomicBool::new(false);

/// Draws no bar, also on a terminal; called by `program` for `-q`.
pub fn hide() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Runs `f`, which writes to standard error, with the bars out of the way.
pub fn suspended(f: impl FnOnce()) {
    match BARS.get() {
        Some(bars) => bars.suspend(f),
        None => f(),
    }
}

/// The bar of one piece of work: rows, bytes, rate.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    drawn: Instant,
}

impl Progress {
    /// Starts a bar; `expected` is the number of steps that the whole is believed to have, 0 for unknown.
    pub fn start(subject: &str, expected: u64) -> Self {
        let now = Instant::now();
        let wanted = std::io::stderr().is_terminal() && !QUIET.load(Ordering::Relaxed);
        let bar = wanted.then(|| {
            let bars = BARS.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5)));
            let template = match expected {
                0 => "{prefix} {spinner} {msg} {elapsed}",
                _ => "{prefix} [{bar:24}] {percent:>3}% {msg} {elapsed}",
            };
            let style = ProgressStyle::with_template(template)
                .map(|style| style.progress_chars("=> "))
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(expected)).with_style(style).with_prefix(crate::text::line(subject))
        });
        Self { bar, started: now, drawn: now }
    }

    /// Says how far the work is; cheap enough to be called for every block.
    pub fn update(&mut self, rows: u64, bytes: u64) {
        let Some(bar) = &self.bar else { return };
        if self.drawn.elapsed() < Duration::from_millis(200) {
            return;
        }
        self.drawn = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = units::size((bytes as f64 / seconds) as u64);
        bar.set_message(format!("{} rows  {}  {rate}/s", units::count(rows), units::size(bytes)));
        // The estimate may be too low; a bar that is full but goes on is better than one that runs backwards.
        bar.set_position(rows.min(bar.length().unwrap_or(rows)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
