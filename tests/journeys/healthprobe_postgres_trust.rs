//! healthprobe and whom it trusts on the way to a database: certificates, and where a password may go.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use harness::{Authority, Postgres, Sandbox, Serving, app_user, sampler, stub};

use crate::healthprobe_postgres::{ENCODED, PASSWORD, healthprobe, until, write};

/// Gives a server its files and lets it speak TLS.
fn speak_tls(pg: &Postgres, files: &[(&Path, &str)]) {
    let owner = fs::metadata(pg.data_dir()).unwrap().uid();
    for (from, name) in files {
        let to = pg.data_dir().join(name);
        fs::copy(from, &to).unwrap();
        std::os::unix::fs::chown(&to, Some(owner), None).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    }
    pg.sql("ALTER SYSTEM SET ssl = on");
    pg.sql("SELECT pg_reload_conf()");
    until(pg, "SELECT current_setting('ssl') = 'on'");
}

#[test]
fn tls_is_as_strict_as_sslmode_says() {
    let dir = Sandbox::new();
    let files = Authority::shared().leaf("localhost").names(["DNS:localhost"]).write(dir.path(), "pg");
    let stranger = Authority::new("a stranger");
    let pg = Postgres::builder()
        .hba("hostssl all app 127.0.0.1/32 scram-sha-256")
        .hba("host all app 127.0.0.1/32 reject")
        .start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    speak_tls(&pg, &[(&files.chain, "server.crt"), (&files.key, "server.key")]);
    let look = |host: &str, words: &str| {
        let target = format!("'postgres://app@{host}:{}/app?{words}' name=db checks=connections", pg.port());
        healthprobe(&dir).arg(target).env("PGPASSWORD", PASSWORD).run().stderr_is("").stdout_lacks("CANARY")
    };
    let root = format!("sslrootcert={}", Authority::shared().root().display());
    let wrong = format!("sslrootcert={}", stranger.root().display());

    for words in ["sslmode=prefer", "sslmode=require", "sslmode=allow", "sslmode=require&channel_binding=require", ""] {
        look("127.0.0.1", words).stdout_has("OK db: ").code(0);
    }
    look("localhost", &format!("sslmode=verify-full&{root}")).stdout_has("OK db: ").code(0);
    look("127.0.0.1", &format!("sslmode=verify-ca&{root}")).stdout_has("OK db: ").code(0);
    look("127.0.0.1", &format!("sslmode=verify-full&{root}"))
        .stdout_has("CRITICAL db: ")
        .stdout_has("not valid for name")
        .code(2);
    for mode in ["verify-full", "verify-ca", "require"] {
        look("localhost", &format!("sslmode={mode}&{wrong}"))
            .stdout_has("CRITICAL db: ")
            .stdout_has("UnknownIssuer")
            .code(2);
    }
    look("127.0.0.1", "sslmode=disable").stdout_has("CRITICAL db: ").stdout_has("pg_hba.conf").code(2);
    look("127.0.0.1", "sslmode=require&ssl_min_protocol_version=TLSv1.3").stdout_has("OK db: ").code(0);
}

/// A role that logs in by a certificate, as libpq would show it.
#[test]
fn a_certificate_of_ours_is_shown_where_it_is_asked_for() {
    let dir = Sandbox::new();
    let authority = Authority::shared();
    let server = authority.leaf("localhost").names(["DNS:localhost"]).write(dir.path(), "pg");
    let client =
        authority.leaf("app").common_name("app").extensions("extendedKeyUsage=clientAuth\n").write(dir.path(), "app");
    let pg = Postgres::builder().hba("hostssl all app 127.0.0.1/32 cert").start();
    pg.sql("CREATE ROLE app LOGIN; CREATE DATABASE app OWNER app");
    pg.sql("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    speak_tls(&pg, &[(&server.chain, "server.crt"), (&server.key, "server.key"), (&authority.root(), "root.crt")]);
    let look = |words: &str| {
        let target =
            format!("'postgres://app@127.0.0.1:{}/app?sslmode=require{words}' name=db checks=connections", pg.port());
        healthprobe(&dir).arg(target).run().stderr_is("")
    };
    let key = dir.join("client.key");
    fs::copy(&client.key, &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = format!("&sslcert={}&sslkey={}", client.chain.display(), key.display());

    look(&shown).stdout_has("OK db: ").code(0);
    look("").stdout_has("CRITICAL db: ").stdout_has("certificate").code(2);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    look(&shown)
        .stdout_has("UNKNOWN db: ")
        .stdout_has("can be read by others")
        .stdout_has("hint: run: chmod 600")
        .code(3);
    // A file of others may name what never ends.
    look("&sslrootcert=/dev/zero").stdout_has("UNKNOWN db: ").stdout_has("is not a regular file").code(3);
}

/// The recipe of PostgreSQL's documentation: a certificate that signs itself, its name in the common name only.
#[test]
fn a_self_signed_certificate_can_be_its_own_root() {
    let dir = Sandbox::new();
    let pg = Postgres::builder().hba("hostssl all app 127.0.0.1/32 scram-sha-256").start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    let (cert, key) = (dir.join("root.crt"), dir.join("root.key"));
    let made = Command::new("openssl")
        .args(["req", "-new", "-x509", "-days", "30", "-nodes", "-subj", "/CN=localhost", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    speak_tls(&pg, &[(&cert, "server.crt"), (&key, "server.key")]);
    let look = |host: &str, mode: &str| {
        let words = format!("sslmode={mode}&sslrootcert={}", cert.display());
        let target = format!("'postgres://app@{host}:{}/app?{words}' name=db checks=connections", pg.port());
        healthprobe(&dir).arg(target).env("PGPASSWORD", PASSWORD).run()
    };

    look("localhost", "verify-full").stdout_has("OK db: ").code(0);
    look("127.0.0.1", "verify-ca").stdout_has("OK db: ").code(0);
    look("127.0.0.1", "verify-full").stdout_has("CRITICAL db: ").code(2);
}

/// PostgreSQL 17 and later begin with TLS where they are asked to, and so does a proxy in front of any server.
#[test]
fn tls_without_asking_first_reaches_a_proxy_and_is_judged_as_strictly() {
    let dir = Sandbox::new();
    let files = Authority::shared().leaf("localhost").names(["DNS:localhost"]).write(dir.path(), "proxy");
    let pg = Postgres::version(18);
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    let proxy = Serving::nginx_stream(
        &dir,
        &format!(
            "server {{ listen 127.0.0.1:PORT ssl; ssl_alpn postgresql; ssl_certificate {}; ssl_certificate_key {};\n\
             proxy_pass 127.0.0.1:{}; }}",
            files.chain.display(),
            files.key.display(),
            pg.port()
        ),
    );
    let look = |host: &str, words: &str| {
        let target = format!("'postgres://app@{host}:{}/app?{words}' name=db checks=connections", proxy.port());
        healthprobe(&dir).arg(target).env("PGPASSWORD", PASSWORD).run().stderr_is("").stdout_lacks("CANARY")
    };
    let root = format!("sslrootcert={}", Authority::shared().root().display());
    let stranger = Authority::new("a stranger");
    let direct = format!("sslnegotiation=direct&{root}");

    look("localhost", &format!("sslmode=verify-full&{direct}")).stdout_has("OK db: PostgreSQL 18.").code(0);
    look("127.0.0.1", &format!("sslmode=verify-ca&{direct}")).stdout_has("OK db: ").code(0);
    look("127.0.0.1", &format!("sslmode=verify-full&{direct}"))
        .stdout_has("CRITICAL db: cannot connect to 127.0.0.1:")
        .stdout_has("not valid for name")
        .code(2);
    look("localhost", &format!("sslmode=verify-full&sslnegotiation=direct&sslrootcert={}", stranger.root().display()))
        .stdout_has("UnknownIssuer")
        .code(2);
    // Who is asked whether he speaks TLS, and not by TLS, does not understand.
    look("localhost", &format!("sslmode=verify-full&{root}"))
        .stdout_has("CRITICAL db: cannot connect to localhost:")
        .stdout_has("the server closed the connection")
        .code(2);
    // The server behind does not begin with TLS, and neither would libpq in clear text.
    let past = format!("'postgres://app@127.0.0.1:{}/app?sslmode=require&sslnegotiation=direct' name=db", pg.port());
    healthprobe(&dir).arg(past).env("PGPASSWORD", PASSWORD).run().stdout_has("CRITICAL db: cannot connect to ").code(2);
    look("localhost", &direct)
        .stdout_has("UNKNOWN db: ")
        .stdout_has("sslnegotiation=direct needs TLS, which this sslmode can do without")
        .code(3);
}

/// THREATS G10: the address of a file that somebody else writes gets nothing of ours.
#[test]
fn a_foreign_env_file_gets_no_password_of_ours() {
    let asker = stub::cleartext_password_asker();
    let (uid, gid) = app_user();
    let dir = Sandbox::new();
    write(&dir.join(".pgpass"), 0o600, "*:*:*:*:CANARY\n");
    write(&dir.join(".env"), 0o644, &format!("DATABASE_URL=postgres://app@127.0.0.1:{}/app\n", asker.port()));
    std::os::unix::fs::chown(dir.join(".env"), Some(uid), Some(gid)).unwrap();

    healthprobe(&dir)
        .arg("postgres: env-file=.env name=db run-as=root")
        .env("PGPASSWORD", "CANARY")
        .run()
        .stdout_has("UNKNOWN db: ")
        .stdout_has("none was found")
        .code(3);
    assert!(!String::from_utf8_lossy(&asker.received()).contains("CANARY"));

    // Of our own it is sent: the stub does listen.
    let own = format!("'postgres://app@127.0.0.1:{}/app' name=db", asker.port());
    healthprobe(&dir).arg(own).env("PGPASSWORD", "CANARY").run().stdout_lacks("CANARY").code(2);
    assert!(String::from_utf8_lossy(&asker.received()).contains("CANARY"));
}

/// THREATS G3: who writes lines to our standard input chooses a server, and gets nothing of ours there.
#[test]
fn a_line_of_standard_input_gets_no_password_of_ours() {
    let asker = stub::cleartext_password_asker();
    let dir = Sandbox::new();
    write(&dir.join(".pgpass"), 0o600, "*:*:*:*:CANARY\n");
    let from_pipe = |line: String| {
        healthprobe(&dir)
            .arg("-")
            .stdin_bytes(line)
            .env("PGPASSWORD", "CANARY")
            .env("PGPASSFILE", dir.join(".pgpass"))
            .run()
    };

    from_pipe(format!("postgres://app@127.0.0.1:{}/app name=db\n", asker.port())).stdout_has("none was found").code(3);
    assert!(!String::from_utf8_lossy(&asker.received()).contains("CANARY"));
    for line in [
        "postgres: env-file=.env",
        "postgres: service=x",
        "postgres:app run-as=root",
        "'postgres://h/app?passfile=/etc/shadow'",
    ] {
        from_pipe(format!("{line}\n")).stderr_has("not ").code(3);
    }
}

#[test]
fn no_password_is_seen_anywhere() {
    let pg = Postgres::start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    let dir = Sandbox::new();
    let url = format!("postgresql://app:{ENCODED}@127.0.0.1:{}/app", pg.port());
    write(&dir.join(".env"), 0o600, &format!("DATABASE_URL={url}\n"));
    write(&dir.join("wrong.env"), 0o600, &format!("DATABASE_URL={}\n", url.replace("p@127", "q@127")));

    let watch = sampler();
    for format in ["text", "json", "nagios", "prometheus", "sh"] {
        for file in [".env", "wrong.env"] {
            healthprobe(&dir)
                .args(["-vv", "--journal", "journal", "--format", format, "--write", "prometheus:out.prom"])
                .arg(format!("postgres: env-file={file}"))
                .run()
                .stdout_lacks("CANARY")
                .stderr_lacks("CANARY");
        }
    }
    let seen = watch.stop();

    assert!(!seen.iter().any(|line| line.contains("CANARY")), "{seen:#?}");
    for file in ["journal", "out.prom"] {
        assert!(!fs::read_to_string(dir.join(file)).unwrap().contains("CANARY"), "{file}");
    }
}
