//! Advice that travels with an error: `cannot open "x": …` says what, the hint says what to do.
//!
//! A hint is not part of the message. It is attached anywhere on the way up, and whoever prints the error
//! prints its hints on lines of their own.

use std::fmt;

/// Attaches advice to the error of a `Result`.
pub trait Hint<T> {
    /// Adds a sentence that says what to do; the message stays as it is.
    ///
    /// # Errors
    ///
    /// The error of `self`, carrying the hint.
    fn hint(self, text: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Hint<T> for Result<T, E> {
    fn hint(self, text: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| with(error.into(), text))
    }
}

/// The same error, carrying a hint.
pub fn with(error: impl Into<anyhow::Error>, text: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { hint: text.into(), error: error.into() })
}

/// All hints that an error carries, outermost first, each once.
pub fn of(error: &anyhow::Error) -> Vec<String> {
    let mut hints = Vec::new();
    collect(error, &mut hints);
    hints
}

/// The first cause of a type, also below a hint, where `chain` does not look.
pub fn find<T: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&T> {
    for cause in error.chain() {
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            return find(&hinted.error);
        }
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
    }
    None
}

fn collect(error: &anyhow::Error, hints: &mut Vec<String>) {
    for cause in error.chain() {
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            if !hints.contains(&hinted.hint) {
                hints.push(hinted.hint.clone());
            }
            // What `chain` sees below a Hinted skips the error it wraps, so look into that one by itself.
            return collect(&hinted.error, hints);
        }
    }
}

#[derive(Debug)]
struct Hinted {
    hint: String,
    error: anyhow::Error,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn a_hint_changes_no_word_of_the_message() {
        let error = Err::<(), _>(anyhow!("no such file"))
            .context("cannot open \"x\"")
            .hint("create it")
            .context("app")
            .unwrap_err();

        assert_eq!(format!("{error:#}"), "app: cannot open \"x\": no such file");
        assert_eq!(of(&error), ["create it"]);
    }

    #[test]
    fn a_hint_hides_no_cause() {
        let cause = std::io::Error::from(std::io::ErrorKind::NotFound);

        let error = Err::<(), _>(cause).hint("inner").context("cannot open").hint("outer").unwrap_err();

        assert_eq!(find::<std::io::Error>(&error).map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));
        assert!(find::<std::fmt::Error>(&error).is_none());
    }

    #[test]
    fn hints_from_every_level_are_found() {
        let error = Err::<(), _>(anyhow!("refused")).hint("inner").context("cannot connect").hint("outer").unwrap_err();

        assert_eq!(of(&error), ["outer", "inner"]);
        assert_eq!(format!("{error:#}"), "cannot connect: refused");
    }

    #[test]
    fn what_a_hint_is_wrapped_around_is_still_found() {
        let error = Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound))
            .hint("inner")
            .context("cannot open \"x\"")
            .hint("outer")
            .unwrap_err();

        assert!(find::<std::io::Error>(&error).is_some());
    }
}
