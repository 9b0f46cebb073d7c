//! A password goes to libpq and nowhere else: not into arguments, messages, reports, journals, backups or core files.

use crate::place::{FAILPOINT, Place, chmod};
use crate::signals::{backend_of_dump, dumps_of, hold_table};
use harness::{Ran, Tool, sampler, stub, tool_path};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

/// With everything that has to be encoded in a URI, or means something there.
const PASSWORD: &str = "CANARY%/@#:";
const ENCODED: &str = "CANARY%25%2F%40%23%3A";
/// What may be found nowhere, however the rest of it is written.
const CANARY: &str = "CANARY";

/// A place whose role `app` needs the password, over TCP.
fn place() -> Place {
    let place = Place::new();
    place.pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO app"));
    place
}

fn url(place: &Place) -> String {
    format!("postgresql://app:{ENCODED}@127.0.0.1:{}/app", place.pg.port())
}

/// A file that holds a secret, readable by whoever client programs run as.
fn secret_file(place: &Place, name: &str, text: &str) {
    let path = place.dir.join(name);
    fs::write(&path, text).unwrap();
    chmod(&path, 0o600);
    if harness::is_root() {
        let user = ["postgres", "nobody"].iter().find_map(|name| nix::unistd::User::from_name(name).unwrap()).unwrap();
        chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// `pgbackup`, as loud as it can be, with everything that it can write to; the way to the server comes from the test.
fn loud(place: &Place) -> Tool {
    let tool = place.dir.tool("pgbackup").args(["--no-config", "--dir", "backups", "-vv", "--journal", "journal"]);
    let tool = tool.arg("--pg-bin").arg(place.pg.bin());
    ["text", "json", "sh", "nagios", "prometheus"]
        .iter()
        .fold(tool, |tool, format| tool.arg("--write").arg(format!("{format}:report.{format}")))
}

/// The password's ways to the server, all of which work.
fn ways(place: &Place) -> Vec<(&'static str, Tool)> {
    let port = place.pg.port().to_string();
    let server = [("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str()), ("PGUSER", "app"), ("PGDATABASE", "app")];
    secret_file(place, "env-url", &format!("DATABASE_URL={}\n", url(place)));
    secret_file(
        place,
        "env-parts",
        &format!("DB_HOST=127.0.0.1\nDB_PORT={port}\nDB_NAME=app\nDB_USER=app\nDB_PASSWORD='{PASSWORD}'\n"),
    );
    for name in ["env-url", "env-parts"] {
        // Ours, so that it may say what it likes.
        chown(place.dir.join(name), Some(nix::unistd::getuid().as_raw()), None).unwrap();
    }
    secret_file(place, "pgpass", &format!("*:*:*:app:{}\n", PASSWORD.replace(':', "\\:")));
    vec![
        ("DATABASE_URL", loud(place).env("DATABASE_URL", url(place))),
        ("--env-file with a URL", loud(place).args(["--env-file", "env-url"])),
        ("--env-file with parts", loud(place).args(["--env-file", "env-parts"])),
        ("PGPASSWORD", loud(place).envs(server).env("PGPASSWORD", PASSWORD)),
        ("pgpass", loud(place).envs(server).env("PGPASSFILE", place.dir.join("pgpass"))),
    ]
}

/// Neither stream holds the secret, nor any file but those that a test made to hold it.
#[track_caller]
fn tells_nothing(place: &Place, ran: &Ran) {
    for (name, bytes) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        assert!(!holds(bytes), "{name} holds the password\n{ran:?}");
    }
    for file in place.dir.files() {
        let planted = file.starts_with("env-") || file == "pgpass" || file.ends_with('/');
        assert!(planted || !holds(&fs::read(place.dir.join(&file)).unwrap()), "{file} holds the password\n{ran:?}");
    }
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

#[test]
fn whichever_way_a_password_comes_a_good_run_tells_nobody() {
    let place = place();
    let sampler = sampler();

    for (way, tool) in ways(&place) {
        let ran = tool.run();

        assert_eq!(ran.code, Some(0), "{way}\n{ran:?}");
        tells_nothing(&place, &ran);
    }

    let seen = sampler.stop();
    let socket = place.pg.port().to_string();
    assert!(seen.iter().any(|line| line.contains("/pg_dump ") && line.contains(&socket)), "no pg_dump was seen");
    assert!(!seen.iter().any(|line| line.contains(CANARY)), "{seen:#?}");
    place.is_sound();
}

#[test]
fn no_failure_tells_a_password() {
    let place = place();
    let port = place.pg.port();
    let closed = harness::free_port();
    let sampler = sampler();
    for (url, code, said) in [
        (format!("postgresql://app:{CANARY}-wrong@127.0.0.1:{port}/app"), 2, "password authentication failed"),
        (format!("postgresql://app:{ENCODED}@127.0.0.1:{closed}/app"), 2, "Connection refused"),
        (format!("postgresql://app:{ENCODED}@no-such-host.invalid/app"), 2, "could not translate host name"),
        (format!("postgresql://app:{ENCODED}@127.0.0.1:{port}/nosuch"), 2, "\"nosuch\" does not exist"),
        (format!("postgresql://app:{ENCODED}@127.0.0.1:port/app"), 3, "cannot use DATABASE_URL"),
        (format!("postgresql://app:{PASSWORD}@127.0.0.1:{port}/app"), 3, "cannot use DATABASE_URL"),
        (format!("mysql://app:{ENCODED}@127.0.0.1:{port}/app"), 3, "cannot use DATABASE_URL"),
        (format!("postgresql://app:{ENCODED}@127.0.0.1:{port}/app?nonsense={CANARY}"), 3, "cannot use DATABASE_URL"),
        (format!("host=127.0.0.1 password='{CANARY}"), 3, "cannot use DATABASE_URL"),
    ] {
        secret_file(&place, "env-bad", &format!("DATABASE_URL='{}'\n", url.replace('\'', "\"")));
        chown(place.dir.join("env-bad"), Some(nix::unistd::getuid().as_raw()), None).unwrap();

        let ran = loud(&place).env("DATABASE_URL", &url).run();
        let from_file = loud(&place).args(["--env-file", "env-bad"]).run();

        tells_nothing(&place, &ran);
        tells_nothing(&place, &from_file);
        assert_eq!(ran.code, Some(code), "{url}\n{ran:?}");
        assert!(ran.stderr_text().contains(said), "{url}: {said}\n{ran:?}");
        assert!(from_file.code.is_some_and(|code| code >= 2), "{url}\n{from_file:?}");
    }
    assert!(!sampler.stop().iter().any(|line| line.contains(CANARY)));
    assert_eq!(place.labels(), [] as [&str; 0]);
}

#[test]
fn a_password_in_an_argument_is_refused_without_repeating_it() {
    let place = place();

    let uri = place.pgbackup().arg(url(&place)).run();
    let keywords = place.pgbackup().arg(format!("host=127.0.0.1 password={CANARY} dbname=app")).run();
    let option = place.pgbackup().args(["app", "--", &format!("--dbname={}", url(&place))]).run();
    let journal = place.pgbackup().args(["--journal", "journal", &url(&place)]).run();

    for ran in [uri, keywords, journal] {
        tells_nothing(&place, &ran);
        let _ = ran
            .stdout_is("")
            .stderr_is(
                "pgbackup: error: a password in an argument can be read by every user of this machine\n\
                 pgbackup: hint: put it into ~/.pgpass (mode 0600), PGPASSWORD, or DATABASE_URL in a file for --env-file\n",
            )
            .code(3);
    }
    tells_nothing(&place, &option);
    let _ = option.stderr_has("pg_dump option \"--dbname\" cannot be handed on").code(3);
}

#[test]
fn help_and_usage_errors_show_no_value_of_the_environment() {
    let place = place();
    let secrets = [("DATABASE_URL", url(&place)), ("PGPASSWORD", PASSWORD.into()), ("PGBACKUP_NAME", PASSWORD.into())];

    for arguments in [["--help", "-vv"], ["-h", "-vv"], ["--version", "-vv"], ["--no-such-option", "-vv"]] {
        let ran = place.dir.tool("pgbackup").envs(secrets.clone()).args(arguments).run();
        tells_nothing(&place, &ran);
    }
}

#[test]
fn a_tool_that_crashes_leaves_no_core_file() {
    const SIGABRT: i32 = 6;
    const SIGSEGV: i32 = 11;
    let place = place();
    for signal in [SIGABRT, SIGSEGV] {
        let pgbackup = tool_path("pgbackup");
        // As generous a limit as there is: the tool itself has to forbid it.
        let script = "ulimit -c unlimited; exec \"$0\" --no-config --dir backups --pg-bin \"$1\"";
        let tool = place.dir.program("bash").args(["-c", script]).arg(pgbackup).arg(place.pg.bin());
        let run = tool.env("DATABASE_URL", url(&place)).env(FAILPOINT, "files-created=pause:never").spawn();
        place.dir.wait_for("never.reached");
        let limits = fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");

        // Rust's own handler of SIGSEGV, there for stack overflows, takes the first one for a fault that will come again.
        while run.is_running() {
            run.signal(signal);
            std::thread::sleep(Duration::from_millis(50));
        }

        let ran = run.wait().signalled(signal);
        tells_nothing(&place, &ran);
        assert!(!place.dir.files().iter().any(|file| file.contains("core")), "{ran:?}");
        fs::remove_file(place.dir.join("never.reached")).unwrap();
    }
}

/// What pg_dump may get of our environment. Source: THREATS G8.
const HANDED_ON: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/// What the wrapper of `scripts/postgres-for-tests` adds, where PostgreSQL is unpacked beside its libraries.
const OF_THE_WRAPPER: [&str; 2] = ["LD_LIBRARY_PATH", "PWD"];

#[test]
fn pg_dump_is_not_root_and_gets_nothing_that_it_does_not_need() {
    let place = place();
    let holder = hold_table(&place.pg);
    let foreign = ["AWS_SECRET_ACCESS_KEY", "SECRET_KEY", "PYTHONPATH", "PERL5LIB", "LD_LIBRARY_PATH", "BASH_ENV"];
    let tool = foreign.iter().fold(place.pgbackup(), |tool, name| tool.env(name, "CANARY-foreign"));
    let run =
        tool.args(["--journal", "journal"]).env("LC_TIME", "C").env("DATABASE_URL", url(&place)).arg("app").spawn();
    backend_of_dump(&place.pg);
    let [dump] = dumps_of(&place.pg)[..] else { panic!("one pg_dump") };
    let proc = Path::new("/proc").join(dump.to_string());

    let status = fs::read_to_string(proc.join("status")).unwrap();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    let environ = fs::read(proc.join("environ")).unwrap();
    let names: BTreeSet<_> = String::from_utf8_lossy(&environ)
        .split('\0')
        .filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()))
        .filter(|name| !HANDED_ON.contains(&name.as_str()) && !OF_THE_WRAPPER.contains(&name.as_str()))
        .filter(|name| !name.starts_with("LC_") && !name.starts_with("PG"))
        .collect();
    let open: Vec<_> =
        fs::read_dir(proc.join("fd")).unwrap().flatten().map(|fd| fs::read_link(fd.path()).unwrap()).collect();

    if harness::is_root() {
        let ids: Vec<_> = line("Uid:").split_whitespace().map(str::to_owned).collect();
        assert!(ids.len() == 4 && !ids.contains(&"0".to_owned()), "{ids:?}");
        assert_eq!(line("Groups:"), "");
        assert_eq!(line("CapEff:"), "0000000000000000");
        assert_eq!(line("CapPrm:"), "0000000000000000");
    }
    assert_eq!(names, BTreeSet::new());
    assert!(!String::from_utf8_lossy(&environ).contains("CANARY-foreign"));
    assert!(!holds(&environ), "an operand needs no password of DATABASE_URL");
    assert!(!open.iter().any(|path| path.starts_with(place.dir.path())), "{open:?}");
    drop(run);
    drop(holder);
}

#[test]
fn a_foreign_env_file_sends_nobodys_password_but_its_own() {
    let place = place();
    let (uid, gid) = harness::app_user();
    let attacker = stub::cleartext_password_asker();
    secret_file(&place, "pgpass", &format!("*:*:*:*:{CANARY}\n"));
    let env_file = place.dir.join("env-foreign");
    fs::write(&env_file, format!("DATABASE_URL=postgresql://app@127.0.0.1:{}/app\n", attacker.port())).unwrap();
    chown(&env_file, Some(uid), Some(gid)).unwrap();

    let ran = loud(&place)
        .env("PGPASSWORD", CANARY)
        .env("PGPASSFILE", place.dir.join("pgpass"))
        .args(["--env-file", "env-foreign"])
        .run();

    assert!(attacker.connections() > 0, "it must have asked\n{ran:?}");
    assert!(!holds(&attacker.received()), "{ran:?}");
    let _ = ran
        .stdout_is("")
        .stderr_has("no password supplied")
        .stderr_has("hint: another user can write the file that names this server, so only a password in it is sent")
        .code(2);
}
