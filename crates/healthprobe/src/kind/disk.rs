//! `disk`: space and inodes of what is mounted. Without a path: real block devices and network mounts that can be written.

use super::{Context, proc};
use crate::found::Found;
use crate::mounts::{self, Mount};
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, anyhow, bail};
use common::report::{Measure, Part, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use common::units;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    /// `None` for all of the machine.
    path: Option<PathBuf>,
    used: Thresholds,
    free: Thresholds,
    inodes: Thresholds,
}

/// The space of one file system.
#[derive(Clone, Copy, Debug)]
struct Space {
    /// In bytes, as `df` counts: what only root may still take counts neither as used nor as free.
    used: u64,
    free: u64,
    inodes: u64,
    inodes_free: u64,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        let path = Some(address).filter(|address| !address.is_empty()).map(PathBuf::from);
        if path.as_ref().is_some_and(|path| !path.is_absolute()) {
            bail!("{address:?} is no absolute path");
        }
        Ok(Self {
            path,
            used: options.main_thresholds("used", Unit::Percent, ">85%,95%"),
            free: options.thresholds("free", Unit::Bytes, ""),
            inodes: options.thresholds("inodes", Unit::Percent, ">85%,95%"),
        })
    }

    pub(crate) fn subject(&self) -> String {
        self.path.as_ref().map_or_else(|| "disk".to_owned(), |path| format!("disk {}", path.display()))
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        match &self.path {
            Some(path) => match within(path, context.left()) {
                Ok(space) => self.measures(&space).into_iter().fold(Found::ok(space.sentence()), Found::measure),
                Err(error) => Found::failed(Status::Unknown, &error),
            },
            None => self.all(context).unwrap_or_else(|error| Found::failed(Status::Unknown, &error)),
        }
    }

    fn all(&self, context: &Context) -> Result<Found> {
        let mounts = mounts::real(&mounts::parse(&proc::read("/proc/self/mountinfo")?));
        // What hangs (a network mount whose server is gone) must not hide the others: each gets an equal share of the time.
        let share = context.left() / u32::try_from(mounts.len().max(1)).unwrap_or(1);
        let parts: Vec<Part> = mounts.iter().map(|mount| self.part(mount, share)).collect();
        let fullest = mounts.iter().zip(&parts).filter_map(|(mount, part)| Some((mount, part.measures.first()?)));
        let fullest = fullest.max_by(|(_, one), (_, other)| one.value.total_cmp(&other.value));
        let said = match fullest {
            Some((mount, used)) if mounts.len() > 1 => {
                let count = units::things(mounts.len() as u64, "file system");
                format!("{count}, the fullest is {} with {}", mount.path.display(), Unit::Percent.shown(used.value))
            }
            _ => parts.first().map_or_else(String::new, |part| format!("{}: {}", part.name, part.message)),
        };
        Ok(parts.into_iter().fold(Found::ok(said), Found::part))
    }

    fn part(&self, mount: &Mount, time: Duration) -> Part {
        let name = mount.path.display().to_string();
        match within(&mount.path, time) {
            Ok(space) => Part { name, status: Status::Ok, message: space.sentence(), measures: self.measures(&space) },
            Err(error) => Part { name, status: Status::Critical, message: format!("{error:#}"), measures: Vec::new() },
        }
    }

    fn measures(&self, space: &Space) -> Vec<Measure> {
        let total = space.used.saturating_add(space.free);
        let mut measures = vec![
            Measure::new("used", proc::percent(space.used, total), Unit::Percent).of(100.0).judged(self.used),
            Measure::new("free", space.free as f64, Unit::Bytes).of(total as f64).judged(self.free),
        ];
        // Some file systems, such as btrfs, have no fixed number of inodes.
        if space.inodes > 0 {
            let used = proc::percent(space.inodes - space.inodes_free.min(space.inodes), space.inodes);
            measures.push(Measure::new("inodes", used, Unit::Percent).of(100.0).judged(self.inodes));
        }
        measures
    }
}

impl Space {
    fn of(path: &Path) -> Result<Self> {
        let stat = rustix::fs::statvfs(path).map_err(std::io::Error::from);
        let stat = stat.with_context(|| format!("cannot read the space of {path:?}"))?;
        Ok(Self {
            used: stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            inodes: stat.f_files,
            inodes_free: stat.f_ffree,
        })
    }

    fn sentence(&self) -> String {
        let total = self.used.saturating_add(self.free);
        let used = Unit::Percent.shown(proc::percent(self.used, total));
        format!("{used} used of {}, {} free", units::size(total), units::size(self.free))
    }
}

/// The space of a path. A mount whose server is gone never answers, so the question is left alone when its time is over.
fn within(path: &Path, time: Duration) -> Result<Space> {
    let (sender, receiver) = mpsc::channel();
    let asked = path.to_owned();
    let ask = move || drop(sender.send(Space::of(&asked)));
    std::thread::Builder::new().stack_size(128 * 1024).spawn(ask).context("cannot start a thread")?;
    receiver.recv_timeout(time).unwrap_or_else(|_| Err(anyhow!("it does not answer; is its server gone?")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn probe(line: &str) -> Probe {
        let mut options = Options::new(common::words::list(line).unwrap(), Origin::Operator);
        Probe::parse("/", &mut options, Origin::Operator).unwrap()
    }

    fn verdict(line: &str, space: Space) -> Status {
        probe(line).measures(&space).iter().map(Measure::status).max().unwrap()
    }

    #[test]
    fn space_and_inodes_are_judged() {
        let space = |free, inodes_free| Space { used: 100 - free, free, inodes: 100, inodes_free };

        assert_eq!(verdict("", space(50, 50)), Status::Ok);
        assert_eq!(verdict("", space(10, 50)), Status::Warning);
        assert_eq!(verdict("", space(50, 2)), Status::Critical);
        assert_eq!(verdict("free<60B", space(50, 50)), Status::Critical);
        assert_eq!(verdict("used>99% inodes>99%", space(2, 2)), Status::Ok);
    }

    #[test]
    fn a_file_system_without_inodes_has_none_to_run_out_of() {
        assert_eq!(verdict("", Space { used: 1, free: 99, inodes: 0, inodes_free: 0 }), Status::Ok);
    }

    #[test]
    fn what_is_not_there_is_no_verdict() {
        assert!(within(Path::new("/nowhere/at/all"), Duration::from_secs(10)).is_err());
    }
}
