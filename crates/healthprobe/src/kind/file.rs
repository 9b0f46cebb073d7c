//! `file:PATH`: whether it is there, its age, size, mode and owner. A pattern stands for the newest file that matches.

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, anyhow, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use common::units::{self, Stamp};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The most files that a pattern may match.
const MATCHES: usize = 100_000;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    pattern: String,
    must: Must,
    age: Thresholds,
    size: Thresholds,
    count: Thresholds,
    mode: Option<u32>,
    owner: Option<String>,
}

/// Whether the file should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    Exist,
    NotExist,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(address.starts_with('/'), "{address:?} is no absolute path");
        glob::Pattern::new(address).with_context(|| format!("{address:?} is no pattern"))?;
        Ok(Self {
            pattern: address.to_owned(),
            must: options.choice("exists", &[("yes", Must::Exist), ("no", Must::NotExist)]).unwrap_or(Must::Exist),
            age: options.main_thresholds("age", Unit::Seconds, ""),
            size: options.thresholds("size", Unit::Bytes, ""),
            count: options.thresholds("count", Unit::Count, ""),
            mode: options.read("mode", |text| {
                u32::from_str_radix(text, 8)
                    .ok()
                    .filter(|mode| *mode <= 0o7777)
                    .context("write it in octal digits: 0640")
            }),
            owner: options.text("owner"),
        })
    }

    pub(crate) fn subject(&self) -> String {
        self.pattern.clone()
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        self.all(context.now).unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    fn all(&self, now: Stamp) -> Result<Found> {
        let files = self.files()?;
        let newest = files.iter().max_by_key(|(_, stat)| stat.mtime());
        let found = match (newest, self.must) {
            (None, Must::NotExist) => Found::ok("it is not there, as it should be"),
            (None, Must::Exist) => Found::critical("it is not there"),
            (Some((path, _)), Must::NotExist) => Found::critical(format!("{} is there", path.display())),
            (Some((path, stat)), Must::Exist) => self.judge(path, stat, files.len(), now),
        };
        Ok(found.measure(Measure::new("count", files.len() as f64, Unit::Count).judged(self.count)))
    }

    /// The files that match. Nothing is opened, and a link is what it leads to.
    fn files(&self) -> Result<Vec<(PathBuf, Metadata)>> {
        let paths: Vec<PathBuf> = match self.pattern.contains(['*', '?', '[']) {
            true => glob::glob(&self.pattern)?.filter_map(Result::ok).take(MATCHES + 1).collect(),
            false => vec![PathBuf::from(&self.pattern)],
        };
        ensure!(paths.len() <= MATCHES, "more than {} files match", units::count(MATCHES as u64));
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            match std::fs::metadata(&path) {
                Ok(stat) => files.push((path, stat)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(anyhow!(error).context(format!("cannot read {path:?}"))),
            }
        }
        Ok(files)
    }

    fn judge(&self, path: &std::path::Path, stat: &Metadata, count: usize, now: Stamp) -> Found {
        let made = Stamp::from_seconds(stat.mtime()).unwrap_or(Stamp::MIN);
        let age = now.since(made);
        let named = if count > 1 { format!("{} of {count}: ", path.display()) } else { String::new() };
        let size = if stat.is_dir() { "a directory".to_owned() } else { units::size(stat.len()) };
        let mut found = Found::ok(format!("{named}{size}, changed {} ago", units::duration(age)));
        for wrong in [self.wrong_mode(stat), self.wrong_owner(stat)].into_iter().flatten() {
            found.status = Status::Critical;
            found.message = format!("{}; {wrong}", found.message);
        }
        if made > now.saturating_add(std::time::Duration::from_secs(3600)) {
            found.status = found.status.max(Status::Warning);
            found.message = format!("{}; its time {} is in the future", found.message, made.rfc3339());
        }
        found
            .measure(Measure::new("age", age.as_secs_f64(), Unit::Seconds).judged(self.age))
            .measure(Measure::new("size", stat.len() as f64, Unit::Bytes).judged(self.size))
    }

    fn wrong_mode(&self, stat: &Metadata) -> Option<String> {
        let (wanted, mode) = (self.mode?, stat.mode() & 0o7777);
        (mode != wanted).then(|| format!("its mode is {mode:04o}, not {wanted:04o}"))
    }

    fn wrong_owner(&self, stat: &Metadata) -> Option<String> {
        let wanted = self.owner.as_ref()?;
        let uid = wanted.parse().ok().or_else(|| Some(common::process::User::named(wanted).ok()?.uid));
        (uid != Some(stat.uid())).then(|| format!("it belongs to uid {}, not to {wanted}", stat.uid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn found(pattern: &str, line: &str) -> Found {
        let mut options = Options::new(common::words::list(line).unwrap(), Origin::Operator);
        let probe = Probe::parse(pattern, &mut options, Origin::Operator).unwrap();
        assert!(options.finish().is_empty());
        probe.all(Stamp::from(std::time::SystemTime::now())).unwrap()
    }

    #[test]
    fn presence_size_and_mode_are_judged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "12345").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let path = path.to_str().unwrap();
        let gone = dir.path().join("gone");
        let gone = gone.to_str().unwrap();

        for (path, line, status) in [
            (path, "mode=0640 age>1h size<1B", Status::Ok),
            (path, "mode=0600", Status::Critical),
            (path, "size<10B", Status::Critical),
            (path, "warning=size>4B", Status::Warning),
            (path, "exists=no", Status::Critical),
            (gone, "exists=no", Status::Ok),
            (gone, "", Status::Critical),
            (path, "owner=0", Status::Ok),
            (path, "owner=nobody", Status::Critical),
        ] {
            assert_eq!(found(path, line).verdict(), status, "{line}");
        }
    }

    #[test]
    fn a_pattern_stands_for_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        for (name, hours) in [("a.gz", 50), ("b.gz", 2)] {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600)).unwrap();
        }
        let pattern = dir.path().join("*.gz");
        let pattern = pattern.to_str().unwrap();

        assert_eq!(found(pattern, "age>26h").verdict(), Status::Ok);
        assert_eq!(found(pattern, "age>1h").verdict(), Status::Critical);
        assert_eq!(found(pattern, "count<3").verdict(), Status::Critical);
    }
}
