//! `mem`: how much memory programs could still get, of the machine or, in a container, of its limit.
//!
//! A container sees the memory of the whole machine in /proc/meminfo, but is killed at the limit of its control group. That is
//! the root of what it sees in /sys/fs/cgroup, and has files that the root of a machine does not have. Source: the kernel's
//! cgroup-v2.rst, "Memory Interface Files".

use super::{Context, proc};
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use common::units;
use std::path::Path;

/// The root of the control groups that are seen.
const GROUP: &str = "/sys/fs/cgroup";

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    used: Thresholds,
    available: Thresholds,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(address.is_empty(), "mem has no address");
        Ok(Self {
            used: options.main_thresholds("used", Unit::Percent, ">90%,97%"),
            available: options.thresholds("available", Unit::Bytes, ""),
        })
    }

    pub(crate) fn subject(&self) -> String {
        "mem".to_owned()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        proc::read("/proc/meminfo")
            .and_then(|text| self.judge(&text, Group::read(Path::new(GROUP))?))
            .unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    /// What counts on a machine is `MemAvailable`, which knows what of the cache can be given back. Source: proc_meminfo(5).
    fn judge(&self, text: &str, group: Option<Group>) -> Result<Found> {
        let machine = proc::kib(text, "MemTotal").context("/proc/meminfo has no MemTotal")?;
        // A limit above what there is says nothing; then others may take the memory, too.
        let (total, available, of_what) = match group.filter(|group| group.limit < machine) {
            None => {
                let available = proc::kib(text, "MemAvailable").context("/proc/meminfo has no MemAvailable")?;
                (machine, available.min(machine), units::size(machine))
            }
            Some(group) => {
                let available = group.limit.saturating_sub(group.used());
                (group.limit, available, format!("the limit of its control group ({})", units::size(group.limit)))
            }
        };
        let used = proc::percent(total - available, total);
        let said = format!("{} used of {of_what}, {} available", Unit::Percent.shown(used), units::size(available));
        Ok(Found::ok(said)
            .measure(Measure::new("used", used, Unit::Percent).of(100.0).judged(self.used))
            .measure(Measure::new("available", available as f64, Unit::Bytes).of(total as f64).judged(self.available)))
    }
}

/// A control group with a limit. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    limit: u64,
    current: u64,
    /// The cache of files that were not used of late: the kernel takes it back before it kills anybody.
    inactive_file: u64,
}

impl Group {
    /// `None` where there is no limit.
    fn read(dir: &Path) -> Result<Option<Self>> {
        let limit = dir.join("memory.max");
        if !limit.exists() {
            return Ok(None);
        }
        match proc::read(limit)?.trim() {
            "max" => Ok(None),
            limit => {
                Self::parse(limit, &proc::read(dir.join("memory.current"))?, &proc::read(dir.join("memory.stat"))?)
                    .map(Some)
            }
        }
    }

    fn parse(limit: &str, current: &str, stat: &str) -> Result<Self> {
        let bytes = |name: &str, text: &str| -> Result<u64> {
            text.trim().parse().with_context(|| format!("{name} of the control group is no number of bytes"))
        };
        let inactive_file = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
        Ok(Self {
            limit: bytes("memory.max", limit)?,
            current: bytes("memory.current", current)?,
            inactive_file: bytes("memory.stat", inactive_file.context("memory.stat has no inactive_file")?)?,
        })
    }

    fn used(self) -> u64 {
        self.current.saturating_sub(self.inactive_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe::parse("", &mut Options::new(Vec::new(), Origin::Operator), Origin::Operator).unwrap()
    }

    #[test]
    fn the_cache_is_not_used_memory() {
        let judged = |text| probe().judge(text, None);

        let full = judged("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 20 kB\n").unwrap();
        let cached = judged("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 800 kB\n").unwrap();

        assert_eq!((full.verdict(), cached.verdict()), (Status::Critical, Status::Ok));
        assert!(judged("MemTotal: 1000 kB\n").is_err());
    }

    #[test]
    fn in_a_container_its_limit_counts() {
        const MIB: u64 = 1 << 20;
        let machine = "MemTotal: 1048576 kB\nMemAvailable: 524288 kB\n";
        let judged = |limit, current, inactive_file| {
            probe().judge(machine, Some(Group { limit, current, inactive_file })).unwrap()
        };

        let full = judged(100 * MIB, 99 * MIB, MIB / 2);
        let cached = judged(100 * MIB, 99 * MIB, 49 * MIB);
        assert_eq!((full.verdict(), cached.verdict()), (Status::Critical, Status::Ok));
        assert_eq!(cached.message, "50 % used of the limit of its control group (100.0 MiB), 50.0 MiB available");
        // A limit above what there is, and one that was lowered below what is used.
        let wide = judged(4096 * MIB, 100 * MIB, 0);
        assert_eq!(wide.message, "50 % used of 1.0 GiB, 512.0 MiB available");
        assert_eq!(judged(100 * MIB, 200 * MIB, 0).verdict(), Status::Critical);
        // In the moment of reading more was given back than was counted.
        assert_eq!(judged(100 * MIB, MIB, 2 * MIB).verdict(), Status::Ok);
    }

    #[test]
    fn a_group_without_a_limit_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();

        assert_eq!(Group::read(dir.path()).unwrap(), None);
        write("memory.max", "max\n");
        assert_eq!(Group::read(dir.path()).unwrap(), None);
        write("memory.max", "1048576\n");
        assert!(Group::read(dir.path()).is_err());
        write("memory.current", "4096\n");
        write("memory.stat", "anon 1\nfile 2\ninactive_file 3\nactive_file 4\n");
        let group = Group { limit: 1_048_576, current: 4096, inactive_file: 3 };
        assert_eq!(Group::read(dir.path()).unwrap(), Some(group));
        write("memory.stat", "anon 1\n");
        assert!(Group::read(dir.path()).is_err());
    }
}
