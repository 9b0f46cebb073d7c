//! What to do about a backup directory that cannot be used: advice by the kind of an error.

use common::hint;
use std::io::ErrorKind;

/// The same error, with advice where its cause calls for some and it has none yet.
pub fn about_directory(error: anyhow::Error) -> anyhow::Error {
    if !hint::of(&error).is_empty() {
        return error;
    }
    let kind = hint::find::<std::io::Error>(&error);
    match kind.map(std::io::Error::kind).and_then(advice) {
        Some(advice) => hint::with(error, advice),
        None => error,
    }
}

fn advice(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound => Some("is its file system mounted? to create the directory: install -d -m 0700 DIR"),
        ErrorKind::PermissionDenied => Some("run as the user that owns the backup directory"),
        ErrorKind::ReadOnlyFilesystem => Some("the kernel makes a disk with errors read-only; dmesg tells"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Some("free space there, or keep fewer backups; this run left no file behind")
        }
        // Said well enough by the error itself.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn hints(kind: ErrorKind) -> Vec<String> {
        let error = Err::<(), _>(std::io::Error::from(kind)).context("cannot write \"x\"").unwrap_err();
        hint::of(&about_directory(error))
    }

    #[test]
    fn a_full_disk_wants_space() {
        assert!(hints(ErrorKind::StorageFull)[0].starts_with("free space there"));
        assert!(hints(ErrorKind::QuotaExceeded)[0].starts_with("free space there"));
    }

    #[test]
    fn advice_that_is_there_already_is_not_talked_over() {
        let error = hint::with(std::io::Error::from(ErrorKind::PermissionDenied), "pay the bill");

        assert_eq!(hint::of(&about_directory(error)), ["pay the bill"]);
    }

    #[test]
    fn where_nothing_is_known_nothing_is_said() {
        assert_eq!(hints(ErrorKind::NotADirectory), [] as [&str; 0]);
    }
}
