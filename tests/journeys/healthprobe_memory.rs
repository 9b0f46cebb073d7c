//! healthprobe in a container: the limit of its control group is the memory that it has.

use harness::{Ran, Sandbox, tool_path};

/// In a namespace of its own, files as the kernel shows them in a container.
fn in_container(max: &str, current: &str, inactive_file: &str, words: &str) -> Ran {
    let script = format!(
        "mount -t tmpfs tmpfs /sys/fs/cgroup && cd /sys/fs/cgroup && echo {max} >memory.max && echo {current} >memory.current
         printf 'anon 1\ninactive_file {inactive_file}\nactive_file 2\n' >memory.stat
         exec {} --no-config 'mem {words}'",
        tool_path("healthprobe").display()
    );
    Sandbox::new().program("unshare").args(["-m", "bash", "-ec", &script]).run().stderr_is("")
}

#[test]
fn the_limit_of_a_container_counts() {
    in_container("104857600", "52428800", "10485760", "")
        .stdout_is("OK mem: 40 % used of the limit of its control group (100.0 MiB), 60.0 MiB available\n")
        .code(0);
    in_container("104857600", "103809024", "0", "")
        .stdout_is(
            "CRITICAL mem: 99 % used of the limit of its control group (100.0 MiB), 1.0 MiB available; used is above 97 %\n",
        )
        .code(2);
    in_container("max", "103809024", "0", "").stdout_lacks("control group").code(0);
    in_container("104857600", "nothing", "0", "")
        .stdout_is(
            "UNKNOWN mem: memory.current of the control group is no number of bytes: invalid digit found in string\n",
        )
        .code(3);
}

/// Makes a control group below ours with 256 MiB, enters it, and looks from namespaces that begin there, as a container does.
/// The kernel has to count memory by groups of version 2, and ours to hand that on to groups below.
const REAL: &str = r#"
set -eu
root=/sys/fs/cgroup
[ -e $root/cgroup.controllers ] || root=$root/unified
grep -sw memory $root/cgroup.subtree_control >/dev/null || { echo "memory is not counted by cgroup v2 here" >&2; exit 99; }
group=$root/nightshift-test.$$
mkdir "$group"
trap 'for _ in 1 2 3 4 5 6 7 8 9 10; do rmdir "$group" 2>/dev/null && break; sleep 0.1; done' EXIT
echo $((256 << 20)) >"$group/memory.max"
[ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"
# Not as `exec`: this shell stays outside, to remove the group.
bash -ec 'echo $$ >"$1/cgroup.procs"; exec unshare -C -m -p --fork --kill-child --mount-proc bash -ec "$2" - "$3"' \
    - "$group" '
    mount --make-rprivate /
    mount -t tmpfs tmpfs /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    "$1" --no-config "mem name=little"
    python3 -c "x = b\"x\" * (150 << 20); open(\"grown\", \"w\").close(); import time; time.sleep(600)" &
    until [ -e grown ]; do sleep 0.05; done
    "$1" --no-config "mem name=much used>50%,100%"' "$1"
"#;

#[test]
#[ignore = "needs a kernel that counts memory by cgroup v2: make campaign"]
fn campaign_a_real_control_group_with_a_limit_counts() {
    let dir = Sandbox::new();

    let ran = dir.program("bash").args(["-c", REAL, "-"]).arg(tool_path("healthprobe")).run();

    ran.stdout_has("OK little: ")
        .stdout_has(" used of the limit of its control group (256.0 MiB), ")
        .stdout_has("WARNING much: ")
        .code(1);
}
