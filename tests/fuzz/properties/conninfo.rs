//! Addresses of databases: no message shows any part that could be a secret, a password goes nowhere else, and what is
//! read can be handed to libpq and read again.

use super::CANARY;
use common::pg::conninfo::Conninfo;

/// The bytes are the address.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Conninfo::parse(text) {
        Err(error) => silent(&super::shown(&error)),
        Ok(info) => {
            silent(&info.notes().join("\n"));
            reads_back(&info);
            keeps_the_password(text, &info);
            restricts(info);
        }
    }
}

fn silent(told: &str) {
    assert!(!told.contains(CANARY), "a secret is in a message: {told}");
}

fn reads_back(info: &Conninfo) {
    let printed = info.to_keywords();
    if printed.is_empty() {
        return;
    }
    let again = Conninfo::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error:#}"));
    assert_eq!(again.to_keywords(), printed);
    assert_eq!(again.notes(), <[String; 0]>::default(), "{printed}");
    assert_eq!(again.is_local(), info.is_local());
}

fn keeps_the_password(text: &str, info: &Conninfo) {
    let shown = format!("{info:?} {}", info.display());
    assert!(!shown.contains(char::is_control), "{shown:?}");
    let holds = info.password().is_some_and(|password| password.expose().contains(CANARY));
    // Escaped, the same word could stand in the text a second time.
    if holds && text.matches(CANARY).count() == 1 && !text.contains(['\\', '%']) {
        silent(&format!("{shown} {} {:?}", info.to_keywords(), info.without_password()));
    }
    assert!(info.without_password().password().is_none());
    assert!(info.get("password").is_none());
}

fn restricts(mut info: Conninfo) {
    match info.restrict_to_foreign() {
        Err(error) => silent(&super::shown(&error)),
        Ok(()) => {
            silent(&info.notes().join("\n"));
            for key in ["passfile", "sslkey", "sslcert", "service", "options", "gsslib", "require_auth"] {
                assert!(info.get(key).is_none(), "{key} from a file of others");
            }
        }
    }
}
