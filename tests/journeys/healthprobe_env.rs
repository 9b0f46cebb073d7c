//! healthprobe on `.env` files: what it objects to, and what it must never say or wait for.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Ran, Sandbox};

use crate::healthprobe_postgres::healthprobe;

const GOOD: &str = "# the shop\nNODE_ENV=production\nPORT=3000\nAPP_URL=https://shop.com\nADMIN_EMAIL=ops@shop.com\n\
    DATABASE_URL='postgresql://app:k3Jd9sQwXz@db.internal/app?sslmode=require'\nJWT_SECRET=f81d4fae7dec11d0a76500a0c91e6bf6\n";
const RULES: &str = "required=PORT,JWT_SECRET,DATABASE_URL format=PORT:port,*_URL:url,ADMIN_EMAIL:email 'oneof=NODE_ENV:production|staging' min-length=JWT_SECRET:32";

fn write(path: &Path, mode: u32, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn judged(text: &str, words: &str) -> Ran {
    let dir = Sandbox::new();
    write(&dir.join(".env"), 0o600, text);
    healthprobe(&dir).arg(format!("env:.env {words}")).run().stderr_is("")
}

#[test]
fn a_file_that_is_fit_for_production_is_ok() {
    judged(GOOD, RULES).stdout_is("OK env:.env: 6 variables, nothing to object to\n").code(0);
    judged(GOOD, &format!("strict {RULES}")).code(0);
}

#[test]
fn every_objection_names_line_and_variable() {
    let text = GOOD
        .replace("production", "development")
        .replace("3000", "eighty")
        .replace("https://shop.com", "http://shop.com")
        .replace("f81d4fae7dec11d0a76500a0c91e6bf6", "changeme");

    judged(&text, RULES)
        .stdout_has("CRITICAL env:.env: ")
        .stdout_has("line 2: NODE_ENV is none of production, staging; NODE_ENV does not say production")
        .stdout_has("line 3: PORT is no port (1 to 65535)")
        .stdout_has("line 4: APP_URL is not encrypted on its way")
        .stdout_has(
            "line 7: JWT_SECRET is shorter than the 32 characters that are asked for; JWT_SECRET is a placeholder",
        )
        .stdout_lacks("changeme")
        .stdout_lacks("eighty")
        .code(2);
    judged("DEBUG=true\n", "").stdout_is("WARNING env:.env: line 1: DEBUG is on, as in development\n  hint: ignore=NAME leaves a variable alone, readers=… names the programs that read the file\n").code(1);
    judged("DEBUG=true\n", "strict").stdout_is("CRITICAL env:.env: line 1: DEBUG is on, as in development\n").code(2);
    judged("A=1\n", "required=B,C").stdout_is("CRITICAL env:.env: required: B, C are missing\n").code(2);
}

#[test]
fn the_example_says_what_has_to_be_there() {
    let dir = Sandbox::new();
    write(&dir.join(".env.example"), 0o644, "PORT=1\nJWT_SECRET=f81d4fae7dec11d0a76500a0c91e6bf6\nSENTRY_DSN=\n");
    write(&dir.join(".env"), 0o600, "PORT=3000\nJWT_SECRET=f81d4fae7dec11d0a76500a0c91e6bf6\n");

    healthprobe(&dir)
        .arg("env:.env example=.env.example")
        .run()
        .stdout_is(
            "CRITICAL env:.env: required: SENTRY_DSN is missing; line 2: JWT_SECRET has the value of the example\n",
        )
        .code(2);
}

#[test]
fn a_mode_that_lets_others_in_is_told() {
    let dir = Sandbox::new();
    let at = |mode: u32| {
        write(&dir.join(".env"), mode, "A=1\n");
        healthprobe(&dir).arg("env:.env").run()
    };

    at(0o640).code(0);
    at(0o644)
        .stdout_has(
            "WARNING env:.env: mode: it is open to more users than it should be (mode 0644); run: chmod 0640 \".env\"",
        )
        .code(1);
    at(0o666)
        .stdout_has("CRITICAL env:.env: mode: others than its owner may write it (mode 0666); run: chmod go-w \".env\"")
        .code(2);
}

/// THREATS H9: nothing that is called `.env` can hold us, or make us read what we should not.
#[test]
fn what_is_no_ordinary_file_is_refused_in_time() {
    let dir = Sandbox::new();
    assert!(Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
    symlink("/etc/shadow", dir.join("link")).unwrap();
    File::create(dir.join("huge")).unwrap().set_len(1 << 30).unwrap();
    fs::create_dir(dir.join("directory")).unwrap();

    for (name, said) in [
        ("fifo", "is not a regular file"),
        ("link", "is a symbolic link"),
        ("huge", "is larger than 1 MiB"),
        ("directory", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
    ] {
        let ran = healthprobe(&dir).arg(format!("env:{name}")).run();
        assert!(ran.wall < Duration::from_secs(20), "{}", ran.picture());
        ran.stdout_has("UNKNOWN env:").stdout_has(said).code(3);
    }
    healthprobe(&dir).arg("env:gone").run().stdout_has("CRITICAL env:gone: cannot open \"gone\"").code(2);
    healthprobe(&dir)
        .arg("-")
        .stdin_bytes("env:/etc/passwd\n")
        .run()
        .stderr_has("env: is not taken from standard input")
        .code(3);
    healthprobe(&dir)
        .arg("env:.env format=A:nonsense min-length=B:x typo=1")
        .run()
        .stderr_has("there is no format")
        .stderr_has("is no length")
        .stderr_has("unknown option")
        .code(3);
}

/// THREATS H9: good values, malformed lines, lines that readers read differently, a key that lost its quotes.
#[test]
fn no_format_ever_tells_a_value() {
    const CANARY: &str = "CaNaRy7f3k9";
    let dir = Sandbox::new();
    let lines = [
        "A_SECRET=%",
        "B_SECRET='%",
        "C_TOKEN=\"%\" tail",
        "%",
        "%=x",
        "%: x",
        "export % = 1",
        "D=% # %",
        "E=x %",
        "F='%'%",
        "G=${%}",
        "H=p$%",
        "DATABASE_URL=postgres://u:%@h.shop.com/d?%=1",
        "DIRECT_URL=postgres://%:p/w@h/d",
        "U=http://%@a.shop.com/%",
        "PORT=%",
        "KEY=-----BEGIN PRIVATE KEY-----",
        "%%%==",
        "-----END PRIVATE KEY-----",
        "DB_USER=%",
        "DB_PASSWORD=%",
        "L=<%>",
        "M=changeme%",
    ];
    let text = lines.join("\n").replace('%', CANARY) + "\n";
    write(&dir.join(".env"), 0o644, &text);
    write(&dir.join("crlf.env"), 0o600, &format!("\u{feff}{}", text.replace('\n', "\r\n")));

    for format in ["text", "json", "nagios", "prometheus", "sh"] {
        for file in [".env", "crlf.env"] {
            let ran = healthprobe(&dir)
                .args(["-vv", "--format", format, "--journal", "journal", "--write", "json:out"])
                .arg(format!("env:{file} required=Z format=PORT:port min-length=*:999"))
                .run();
            assert_eq!(ran.code, Some(2), "{}", ran.picture());
            ran.stdout_lacks(CANARY).stderr_lacks(CANARY);
            assert!(!fs::read_to_string(dir.join("out")).unwrap().contains(CANARY));
        }
    }
    assert!(!fs::read_to_string(dir.join("journal")).unwrap().contains(CANARY));
}

/// A file of the measured differences: where six readers disagree is told, and only there.
#[test]
fn where_readers_disagree_is_told_with_its_line() {
    let vectors = include_str!("../fixtures/env-vectors.tsv");
    let dir = Sandbox::new();
    let mut count = 0;
    for line in vectors.lines().filter(|line| !line.starts_with('#') && !line.starts_with("id\t")) {
        let fields: Vec<_> = line.split('\t').collect();
        let text: String = serde_json::from_str(fields[1]).unwrap();
        write(&dir.join(".env"), 0o600, &text);

        let ran = healthprobe(&dir).arg("env:.env production=no").run();

        let is_told = ran.stdout_text().contains(" differently; ")
            || ran.stdout_text().contains("cannot be relied on")
            || ran.stdout_text().contains("refers to another variable");
        assert_eq!(is_told, fields[9] != "yes", "{}: {}", fields[0], ran.picture());
        count += 1;
    }
    assert!(count >= 30, "{count}");
}
