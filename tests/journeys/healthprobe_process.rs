//! THREATS H11: a process is known by its program, whatever it calls itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use harness::{Postgres, Ran, Sandbox, app_user, tool_path};

use crate::healthprobe::healthprobe;

/// Runs a script where only its own processes are seen; `as_app PROGRAM` becomes an unprivileged user.
fn alone(dir: &Sandbox, script: &str) -> Ran {
    let ((uid, gid), tool) = (app_user(), tool_path("healthprobe"));
    let script = format!(
        "as_app() {{ exec setpriv --reuid={uid} --regid={gid} --clear-groups \"$@\"; }}
         called() {{ until grep -qz \"$2\" /proc/$1/cmdline && [ \"$(cat /proc/$1/comm)\" = \"$3\" ]; do sleep 0.05; done; }}
         look() {{ {} --no-config \"$@\"; }}
         {script}",
        tool.display()
    );
    dir.program("unshare").args(["-p", "--fork", "--kill-child", "--mount-proc", "bash", "-c", &script]).run()
}

/// A program that an unprivileged user has called `postgres`, one that calls itself so, and one that was started as it.
const FAKES: &str = r#"
    as_app app/postgres 600.5 & called $! app/postgres postgres
    as_app bash -c 'exec -a postgres sleep 601.5' & called $! '^postgres$' sleep
    as_app python3 -c 'import ctypes, time; ctypes.CDLL(None).prctl(15, b"postgres", 0, 0, 0); time.sleep(600)' &
    called $! python3 postgres
"#;

fn with_fakes() -> Sandbox {
    let (dir, (uid, gid)) = (Sandbox::new(), app_user());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.join("app")).unwrap();
    fs::copy("/usr/bin/sleep", dir.join("app/postgres")).unwrap();
    for path in ["app/postgres", "app"] {
        chown(dir.join(path), Some(uid), Some(gid)).unwrap();
    }
    dir
}

#[test]
fn who_is_called_postgres_is_no_postgres() {
    let dir = with_fakes();

    alone(&dir, &format!("{FAKES} look process:postgres"))
        .stdout_is("CRITICAL postgres: no process runs it; count is below 1\n")
        .stderr_is("")
        .code(2);

    // The control: they are seen, each as the program that it is.
    let (uid, own) = (app_user().0, dir.join("app/postgres"));
    alone(&dir, &format!("{FAKES} look process:{} process:sleep 'process:python3 user={uid}'", own.display()))
        .stdout_has("/app/postgres: 1 process, ")
        .stdout_has("OK sleep: 1 process, ")
        .stdout_has(&format!("OK python3: 1 process of {uid}, "))
        .code(0);
}

/// The control of the other kind: a server of PostgreSQL is one, by its name and by its file.
#[test]
fn a_server_is_a_postgres() {
    let pg = Postgres::start();
    // Where it is not installed, what starts it is a script.
    let pid = fs::read_to_string(pg.data_dir().join("postmaster.pid")).unwrap();
    let program = fs::read_link(format!("/proc/{}/exe", pid.lines().next().unwrap())).unwrap();

    let target = format!("process:{} arguments~{}", program.display(), pg.data_dir().display());
    let ran = healthprobe(&Sandbox::new()).args(["process:postgres", &target]).run();

    ran.stdout_has("OK postgres: ").stdout_has("bin/postgres: 1 process, ").stderr_is("").code(0);
}

/// On Debian python3 is a link to python3.11.
#[test]
fn a_script_is_found_by_the_name_of_its_interpreter() {
    let dir = Sandbox::new();
    let script = "python3 -c 'import time; time.sleep(600)' app-server & called $! app-server python3";

    for target in ["process:python3 arguments~app-server", "process:/usr/bin/python3 arguments~app-server"] {
        alone(&dir, &format!("{script}; look '{target}'")).stdout_has(": 1 process, ").stderr_is("").code(0);
    }
    alone(&dir, &format!("{script}; look 'process:python3 arguments~other'")).code(2);
}
