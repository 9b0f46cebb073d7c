//! A manager of systemd of the test's own: `systemd --user` in namespaces, in a control group of its own, touching nothing
//! outside. For root only.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::{Ran, Sandbox, tool_path};

/// Starts the manager, waits until it is ready, runs `inner` beside it, and takes all of it away again.
///
/// The manager moves into a control group below ours first: from the root group it would take all processes of the machine
/// along. Whatever runs in the namespace of processes ends with its first one.
const OUTER: &str = r#"
set -eu
if [ "${1:-}" != --inner ]; then
    root=/sys/fs/cgroup
    [ -e $root/cgroup.controllers ] || root=$root/unified
    group=$root/nightshift-test.$$
    mkdir "$group"
    code=0
    # Not as `exec`: this shell stays outside, to remove the group.
    bash -c 'echo $$ >"$1/cgroup.procs"; exec unshare -C -m -p --fork --kill-child --mount-proc bash "$2" --inner "$3"' \
        - "$group" "$0" "$1" || code=$?
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
    exit $code
fi
mount --make-rprivate /
mount -t tmpfs tmpfs /sys/fs/cgroup
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0/systemd/user
chmod 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/0/bus
cp ./*.service ./*.timer /run/user/0/systemd/user/ 2>/dev/null || true
/lib/systemd/systemd --user --log-target=console --log-level=warning 2>systemd.log &
ready=
for _ in $(seq 200); do
    if systemctl --user is-active -q basic.target 2>/dev/null; then ready=yes; break; fi
    sleep 0.05
done
[ -n "$ready" ] || { cat systemd.log >&2; exit 99; }
bash -e "$2"
"#;

/// Runs a script of bash beside a manager that knows the units of the sandbox (`*.service`, `*.timer`); the tools are in
/// its PATH, and `systemctl --user` asks the manager.
///
/// # Panics
///
/// Where it cannot be written down.
pub fn with_systemd(dir: &Sandbox, script: &str) -> Ran {
    fs::write(dir.join("outer"), OUTER).expect("write a script");
    fs::write(dir.join("inner"), script).expect("write a script");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open the sandbox");
    let tools = tool_path("healthprobe");
    let tools = tools.parent().expect("a directory").display();
    dir.program("bash").args(["outer", "inner"]).env("PATH", format!("{tools}:/usr/sbin:/usr/bin:/sbin:/bin")).run()
}
