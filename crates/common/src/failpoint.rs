//! Places where a test may kill, pause or fail a run, between two stages.
//!
//! They exist only with the cargo feature `failpoints`, which no shipped build has; a test looks for their names in the
//! release binaries. `NIGHTSHIFT_FAILPOINT=NAME=ACTION`, where ACTION is `kill` (SIGKILL to ourselves), `error` (the
//! stage fails), `panic` or `pause:FILE` (creates FILE.reached, goes on when FILE exists).

#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub fn hit(name: &str) -> std::io::Result<()> {
    let Ok(wanted) = std::env::var("NIGHTSHIFT_FAILPOINT") else {
        return Ok(());
    };
    let Some(action) = wanted.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) else {
        return Ok(());
    };
    match action {
        "kill" => {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
            Ok(())
        }
        "panic" => panic!("failpoint {name}"),
        "error" => Err(std::io::Error::other(format!("failpoint {name}"))),
        _ => {
            let Some(file) = action.strip_prefix("pause:") else {
                return Err(std::io::Error::other("unknown failpoint action"));
            };
            std::fs::write(format!("{file}.reached"), name)?;
            while !std::path::Path::new(file).exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Ok(())
        }
    }
}

/// Marks a place between two stages; an `io::Result<()>` that is `Ok` in every shipped build.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::hit($name)
    };
}

/// Marks a place between two stages; an `io::Result<()>` that is `Ok` in every shipped build.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        Ok::<(), std::io::Error>(())
    };
}
