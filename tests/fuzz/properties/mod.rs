//! What must hold for any bytes, one module a fuzz target: `check` panics where it does not.
//!
//! No random numbers, no clock, no files: the same bytes are always the same case. `fuzz_targets` hands in what libFuzzer
//! invents, `replay.rs` what it found worth keeping. A first byte chooses among cases where a target has several.

pub mod conninfo;
pub mod envfile;
pub mod manifest;
pub mod members;
pub mod scanner;

/// A word that only a secret holds: no name, keyword or scheme may have its `!`, so no message may ever show it.
const CANARY: &str = "s3cr3t!";

/// An error as a tool would show it, hints included.
fn shown(error: &anyhow::Error) -> String {
    format!("{error:#}\n{}", common::hint::of(error).join("\n"))
}

/// The first byte and the rest.
fn case(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

/// No line of what was printed can act on a terminal.
fn shows_nothing_that_acts(printed: &str) {
    let is_shown = |character: char| {
        character == '\n' || !character.is_control() && !"\u{202e}\u{2066}\u{2028}".contains(character)
    };
    assert!(printed.chars().all(is_shown), "{printed:?}");
}
