//! What a tool listens to: configuration file < environment < arguments.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use harness::{Ran, Sandbox, Tool, app_user, is_root};

use crate::places::place;
use crate::rendered::tools;

/// `pgbackup --stdin x --config conf` with that text in the file.
fn configured(dir: &Sandbox, config: &str) -> Tool {
    fs::write(dir.join("conf"), config).unwrap();
    dir.tool("pgbackup").args(["--stdin", "x", "--config", "conf"]).stdin_bytes("data")
}

/// The directory that a backup went to.
fn went_to(ran: &Ran) -> String {
    ran.stdout_text().rsplit_once('/').map_or("", |(directory, _)| directory).to_owned()
}

fn directories(names: &[&str]) -> Sandbox {
    let dir = place();
    for name in names {
        fs::create_dir(dir.join(name)).unwrap();
    }
    dir
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn arguments_are_stronger_than_the_environment_and_that_than_the_file() {
    let dir = directories(&["file", "env", "argv"]);
    let with = |env: &str, args: &[&str]| {
        let ran = configured(&dir, "dir file\n").env("PGBACKUP_DIR", env).args(args).run().stderr_is("").code(0);
        went_to(&ran)
    };

    assert_eq!(with("", &[]), "file");
    assert_eq!(with("env", &[]), "env");
    assert_eq!(with("env", &["--dir", "argv"]), "argv");
    assert_eq!(with("", &["-D", "argv"]), "argv");
}

#[test]
fn the_file_is_read_line_by_line() {
    let dir = directories(&["with blank"]);

    let ran = configured(&dir, "\n# comment\n  dir \t with blank  \nquiet\nkeep-last 3").run().stderr_is("").code(0);

    assert_eq!(went_to(&ran), "with blank");
}

#[test]
fn a_stronger_layer_silences_all_lines_of_a_repeatable_option() {
    let dir = place();
    let config = "dir pg\nwrite sh:file1\nwrite sh:file2\n";
    let written = || {
        let files = dir.files().into_iter().filter(|name| ["file1", "file2", "env", "argv"].contains(&name.as_str()));
        files.inspect(|name| fs::remove_file(dir.join(name)).unwrap()).collect::<Vec<_>>()
    };

    configured(&dir, config).run().code(0);
    assert_eq!(written(), ["file1", "file2"]);
    configured(&dir, config).env("PGBACKUP_WRITE", "sh:env").run().code(0);
    assert_eq!(written(), ["env"]);
    configured(&dir, config).env("PGBACKUP_WRITE", "sh:env").args(["--write", "sh:argv"]).run().code(0);
    assert_eq!(written(), ["argv"]);
}

#[test]
fn a_stronger_layer_silences_what_cannot_stand_beside_it() {
    let dir = place();
    let pgbackup = |args: &[&str]| dir.tool("pgbackup").args(args).args(["--pg-bin", "nowhere"]);
    let is_usage = |tool: Tool| tool.run().stderr_text().contains("cannot be used with");

    // Who has these in a file or a profile still wants to say something else in a single run.
    fs::write(dir.join("conf"), "all\ndir pg\nno-globals\n").unwrap();
    assert!(!is_usage(pgbackup(&["--config", "conf", "app"])));
    assert!(!is_usage(pgbackup(&["--config", "conf", "--stdout", "app"])));
    assert!(!is_usage(pgbackup(&["--config", "conf", "--globals", "app"])));
    assert!(!is_usage(pgbackup(&["--dir", "pg", "app"]).env("PGBACKUP_ALL", "1")));
    assert!(!is_usage(pgbackup(&["--stdout", "app"]).env("PGBACKUP_DIR", "pg")));
    assert!(!is_usage(pgbackup(&["--config", "conf"]).env("PGBACKUP_GLOBALS", "1")));
    configured(&dir, "all\ndir pg\n").run().stderr_is("").code(0);
    dir.tool("pgbackup")
        .args(["--dir", "pg", "--stdin", "x"])
        .env("PGBACKUP_ALL", "1")
        .stdin_bytes("data")
        .run()
        .stderr_is("")
        .code(0);

    // In one layer it is a mistake.
    assert!(is_usage(pgbackup(&["--all", "app"])));
    assert!(is_usage(pgbackup(&["--stdout", "--dir", "pg", "app"])));
    fs::write(dir.join("conf"), "globals\nno-globals\n").unwrap();
    assert!(is_usage(pgbackup(&["--config", "conf", "app"])));
}

#[test]
fn no_config_reads_no_file() {
    let dir = place();

    dir.tool("pgbackup")
        .args(["--no-config", "--config", "conf"])
        .run()
        .stderr_has("the argument '--no-config' cannot be used with '--config <FILE>'")
        .code(3);
    dir.tool("pgbackup")
        .args(["--no-config", "--dir", "pg", "--stdin", "x"])
        .stdin_bytes("x")
        .run()
        .stderr_is("")
        .code(0);
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    let dir = place();
    for (config, line, message) in [
        ("dir pg\nkepe 3d\n", 2, "unknown option \"kepe\""),
        ("# x\n\n--dir pg\n", 3, "unknown option \"--dir\""),
        ("dir=pg\n", 1, "unknown option \"dir=pg\""),
        ("config other\n", 1, "unknown option \"config\""),
        ("no-config\n", 1, "unknown option \"no-config\""),
        ("help\n", 1, "unknown option \"help\""),
        ("dir\n", 1, "option \"dir\" needs a value"),
        ("all yes\n", 1, "option \"all\" takes no value"),
        ("dir pg\njobs many\n", 2, "invalid value 'many' for '--jobs <N>': invalid digit found in string"),
        ("dir pg\nkeep 3x\n", 2, "invalid value '3x' for '--keep <DURATION>'"),
    ] {
        let ran = configured(&dir, config).run().stdout_is("").code(3);

        let text = ran.stderr_text();
        assert!(text.starts_with(&format!("pgbackup: error: cannot use \"conf\" line {line}: {message}")), "{ran:?}");
        assert!(text.lines().count() == 2 && text.contains("pgbackup: hint: see pgbackup --help"), "{ran:?}");
    }
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let dir = place();

    let ran =
        dir.tool("pgbackup").args(["--config", "nosuch", "--dir", "pg", "--stdin", "x"]).run().stdout_is("").code(3);

    assert_eq!(ran.stderr_text(), "pgbackup: error: cannot open \"nosuch\": No such file or directory (os error 2)\n");
    dir.program("mkfifo").arg("fifo").run().code(0);
    for other in ["pg", "fifo", "/dev/zero"] {
        dir.tool("pgbackup").args(["--config", other]).run().stderr_has("is not a regular file").code(3);
    }
}

#[test]
fn a_file_that_others_can_write_gives_no_orders() {
    let dir = place();
    for mode in [0o620, 0o602, 0o666] {
        let tool = configured(&dir, "dir pg\n");
        chmod(dir.join("conf"), mode);

        let ran = tool.run().stdout_is("").code(3);

        assert_eq!(
            ran.stderr_text(),
            format!(
                "pgbackup: error: \"conf\" can be written by others (mode {mode:04o})\n\
                 pgbackup: hint: run: chmod go-w \"conf\"\n"
            )
        );
    }
    let tool = configured(&dir, "dir pg\n");
    chmod(dir.join("conf"), 0o644);
    tool.run().stderr_is("").code(0);
}

#[test]
fn a_file_of_somebody_else_gives_no_orders() {
    let (uid, gid) = app_user();
    let dir = place();
    let tool = configured(&dir, "dir pg\n");
    std::os::unix::fs::chown(dir.join("conf"), Some(uid), Some(gid)).unwrap();
    tool.run().stdout_is("").stderr_has(&format!("belongs to another user (uid {uid})")).code(3);

    fs::create_dir(dir.join("theirs")).unwrap();
    fs::write(dir.join("theirs/conf"), "dir pg\n").unwrap();
    std::os::unix::fs::chown(dir.join("theirs"), Some(uid), Some(gid)).unwrap();
    assert!(is_root());
    let ran = dir.tool("pgbackup").args(["--config", "theirs/conf", "--stdin", "x"]).run().stdout_is("").code(3);
    assert!(ran.stderr_text().contains("which others can change"), "{ran:?}");
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let dir = place();
    for (tool, command) in tools() {
        let variables: Vec<_> =
            command.get_arguments().filter_map(|arg| arg.get_env()).map(ToOwned::to_owned).collect();
        assert!(variables.len() > 3, "{tool}");
        let ran = dir.tool(tool).envs(variables.into_iter().map(|name| (name, ""))).arg("x").run();
        // The same as without any.
        let without = dir.tool(tool).arg("x").run();
        assert_eq!((ran.code, ran.stderr_text()), (without.code, without.stderr_text()), "{ran:?}");
    }
}

#[test]
fn a_switch_in_the_environment_is_on_or_off() {
    let dir = place();
    let is_on = |value: &str| {
        let tool = dir.tool("pgbackup").args(["--dir", "pg", "--stdin", "x"]).stdin_bytes("data");
        let ran = tool.env("PGBACKUP_DRY_RUN", value).run().stderr_is("").code(0);
        ran.stdout_text().starts_with("OK x: would be backed up")
    };

    for on in ["1", "true", "yes", "on", "TRUE"] {
        assert!(is_on(on), "{on}");
    }
    for off in ["", "0", "false", "no", "off", "False"] {
        assert!(!is_on(off), "{off}");
    }
    let all = |value: &str| dir.tool("pgbackup").args(["--dir", "pg"]).env("PGBACKUP_ALL", value).run().stderr_text();
    assert!(all("0").contains("no database to back up"), "{}", all("0"));
    assert!(!all("1").contains("no database to back up"), "{}", all("1"));
}

#[test]
fn lengths_of_time_have_units() {
    let dir = place();
    let with = |keep: &str| {
        let tool = dir.tool("pgbackup").args(["--dir", "pg", "--stdin", "x", "--dry-run", "--keep", keep]);
        tool.stdin_bytes("data").run().code
    };

    for good in ["500ms", "30s", "5m", "36h", "30d", "8w", "3months", "1y", "1.5h", "1h 30m"] {
        assert_eq!(with(good), Some(0), "{good}");
    }
    for bad in ["30", "1M", "d", "", "-1d", "3x"] {
        assert_eq!(with(bad), Some(3), "{bad}");
    }
}

#[test]
fn a_bad_variable_is_a_usage_error_that_names_the_option() {
    let dir = place();

    let ran = dir.tool("pgbackup").env("PGBACKUP_JOBS", "many").arg("app").run().stdout_is("").code(3);

    assert_eq!(
        ran.stderr_text(),
        "pgbackup: error: invalid value 'many' for '--jobs <N>': invalid digit found in string\n\
         pgbackup: hint: see pgbackup --help\n"
    );
}

#[test]
fn what_gives_up_a_safety_or_names_a_program_is_no_variable() {
    let never =
        ["accept-source", "client-prefix", "pg-bin", "run-as", "env-file", "stdin", "stdout", "config", "no-config"];
    for (tool, command) in tools() {
        for arg in command.get_arguments() {
            let long = arg.get_long().unwrap_or_default();
            assert!(!never.contains(&long) || arg.get_env().is_none(), "{tool} --{long}");
        }
    }

    let dir = place();
    let variables =
        ["ACCEPT_SOURCE", "CLIENT_PREFIX", "PG_BIN", "RUN_AS", "ENV_FILE", "STDIN", "STDOUT", "CONFIG", "NO_CONFIG"];
    let ran = dir
        .tool("pgbackup")
        .args(["--dir", "pg"])
        .envs(variables.map(|name| (format!("PGBACKUP_{name}"), "CANARY")))
        .run()
        .stderr_lacks("CANARY")
        .code(3);
    assert!(ran.stderr_text().starts_with("pgbackup: error: no database to back up\n"), "{ran:?}");
}
