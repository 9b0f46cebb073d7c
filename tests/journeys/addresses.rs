//! Where a database is, as people, frameworks and libpq write it down; and what must not get there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use harness::{PgBouncer, Postgres, Ran, Sandbox, Tool, app_user, is_root, sampler, stub};
use nix::unistd::User;

use crate::round_trip::{Backup, made, take, verify};

/// Characters that an address, a pgpass file or a shell could take for its own.
const PASSWORD: &str = "CANARY%/@#: p";
const ENCODED: &str = "CANARY%25%2F%40%23%3A%20p";

/// A server with a database `app` and a role of that name that needs its password over TCP.
fn with_password() -> Postgres {
    let pg = Postgres::start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    pg.sql_in("app", "SET ROLE app; CREATE TABLE t AS SELECT 1 AS a");
    pg
}

/// pgbackup that knows nothing of the server but its programs.
fn pgbackup(pg: &Postgres, dir: &Sandbox) -> Tool {
    dir.tool("pgbackup").args(["--dir", ".", "--pg-bin"]).arg(pg.bin())
}

/// A backup of `app`, made without a word.
#[track_caller]
fn is_app(dir: &Sandbox, ran: Ran) -> Backup {
    let backup = made(dir, ran.stderr_lacks("CANARY").stdout_lacks("CANARY"));
    assert_eq!(backup.manifest["subject"], "app");
    assert_eq!(backup.manifest["content"]["rows"], 1);
    backup
}

fn write(path: &Path, mode: u32, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a file to the user that client programs run as.
fn give_to_clients(path: &Path) {
    if is_root() {
        let user = User::from_name("postgres").unwrap().or_else(|| User::from_name("nobody").unwrap()).unwrap();
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

#[test]
fn an_operand_is_a_name_a_uri_or_keywords() {
    let pg = with_password();
    let dir = Sandbox::new();
    let (socket, port) = (pg.socket_dir(), pg.port());
    let encoded = socket.to_str().unwrap().replace('/', "%2F");

    is_app(&dir, pgbackup(&pg, &dir).envs(pg.env()).arg("app").run());
    for operand in [
        format!("postgresql://postgres@{encoded}:{port}/app"),
        format!("postgres:///app?host={}&port={port}&user=postgres", socket.display()),
        format!("host={} port={port} user=postgres dbname=app", socket.display()),
        format!("dbname = 'app' host='{}'   port={port} user = postgres", socket.display()),
    ] {
        let backup = is_app(&dir, pgbackup(&pg, &dir).arg(&operand).run());
        assert_eq!(
            backup.manifest["source"]["database_oid"].to_string(),
            pg.sql("SELECT oid FROM pg_database WHERE datname = 'app'")
        );
    }
}

#[test]
fn a_password_in_an_argument_is_refused_and_never_shown() {
    let pg = with_password();
    let dir = Sandbox::new();

    for operand in [
        format!("postgresql://app:{ENCODED}@127.0.0.1:{}/app", pg.port()),
        format!("postgresql://127.0.0.1:{}/app?user=app&password={ENCODED}", pg.port()),
        format!("host=127.0.0.1 port={} user=app password='{PASSWORD}' dbname=app", pg.port()),
        format!("jdbc:postgresql://127.0.0.1:{}/app?user=app&password={ENCODED}", pg.port()),
    ] {
        for format in ["text", "json"] {
            pgbackup(&pg, &dir)
                .args(["--format", format, "--journal", "journal", &operand])
                .run()
                .stdout_lacks("CANARY")
                .stderr_is(
                    "pgbackup: error: a password in an argument can be read by every user of this machine\n\
                     pgbackup: hint: put it into ~/.pgpass (mode 0600), PGPASSWORD, or DATABASE_URL in a file for --env-file\n",
                )
                .code(3);
        }
    }
    assert_eq!(dir.files(), ["journal"]);
    assert!(!fs::read_to_string(dir.join("journal")).unwrap().contains("CANARY"));
}

#[test]
fn database_url_may_hold_the_password_and_nobody_sees_it() {
    let pg = with_password();
    let dir = Sandbox::new();
    let url = format!("postgresql://app:{ENCODED}@127.0.0.1:{}/app", pg.port());

    let watch = sampler();
    let ran = pgbackup(&pg, &dir).args(["-vv", "--journal", "journal", "--name", "web"]).env("DATABASE_URL", url).run();
    let seen = watch.stop();

    let ran = ran.stderr_lacks("CANARY").stdout_lacks("CANARY").code(0);
    let backup = Backup::read(dir.join(ran.stdout_text().trim_end()));
    verify(&dir, &backup);
    assert!(seen.iter().any(|line| line.contains("pg_dump") && line.contains("user=")), "pg_dump was not seen");
    assert!(!seen.iter().any(|line| line.contains("CANARY")), "{seen:#?}");
    for file in dir.files() {
        let bytes = fs::read(dir.join(&file)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("CANARY"), "{file}");
    }
}

#[test]
fn an_env_file_is_read_as_its_framework_writes_it() {
    let pg = with_password();
    let port = pg.port();
    let at = format!("app:{ENCODED}@127.0.0.1:{port}/app");
    for (framework, text) in [
        ("SQLAlchemy", format!("DATABASE_URL=postgresql+asyncpg://{at}\n")),
        ("SQLAlchemy", format!("SQLALCHEMY_DATABASE_URI='postgresql+psycopg2://{at}?sslmode=prefer'\n")),
        ("Prisma", format!("DATABASE_URL=\"postgresql://{at}?schema=public&connection_limit=5&pool_timeout=10\"\n")),
        (
            "Prisma",
            format!("DATABASE_URL='postgresql://x@pool.invalid/app?pgbouncer=true'\nDIRECT_URL='postgresql://{at}'\n"),
        ),
        ("Django", format!("DATABASE_URL=psql://{at}\n")),
        ("GeoDjango", format!("DATABASE_URL='postgis://{at}'\n")),
        ("Rails", format!("DATABASE_URL='postgres://{at}?pool=5&encoding=unicode&prepared_statements=false'\n")),
        (
            "Spring",
            format!(
                "SPRING_DATASOURCE_URL=jdbc:postgresql://127.0.0.1:{port}/app\nSPRING_DATASOURCE_USERNAME=app\nSPRING_DATASOURCE_PASSWORD='{PASSWORD}'\n"
            ),
        ),
        (
            "Laravel",
            format!(
                "APP_KEY=x\nDB_CONNECTION=pgsql\nDB_HOST=127.0.0.1\nDB_PORT={port}\nDB_DATABASE=app\nDB_USERNAME=app\nDB_PASSWORD='{PASSWORD}'\n"
            ),
        ),
        (
            "Django",
            format!(
                "DB_ENGINE=django.db.backends.postgresql\nDB_NAME=app\nDB_USER=app\nDB_PASSWORD='{PASSWORD}'\nDB_HOST=127.0.0.1\nDB_PORT={port}\n"
            ),
        ),
        (
            "container image",
            format!(
                "POSTGRES_DB=app\nPOSTGRES_USER=app\nPOSTGRES_PASSWORD='{PASSWORD}'\nPOSTGRES_HOST=127.0.0.1\nPOSTGRES_PORT={port}\n"
            ),
        ),
        ("libpq", format!("PGHOST=127.0.0.1\nPGPORT={port}\nPGDATABASE=app\nPGUSER=app\nPGPASSWORD='{PASSWORD}'\n")),
    ] {
        let dir = Sandbox::new();
        write(&dir.join(".env"), 0o600, &text);

        let ran = pgbackup(&pg, &dir).args(["--env-file", ".env"]).run();

        assert_eq!(ran.code, Some(0), "{framework}: {text}\n{}", ran.picture());
        is_app(&dir, ran);
    }
}

#[test]
fn an_env_file_that_names_no_postgres_is_told_with_its_line() {
    let pg = with_password();
    for (text, says) in [
        ("", "it names no database"),
        ("APP_KEY=CANARY\n", "it names no database"),
        (
            "DATABASE_URL=mysql://u:CANARY@h/db\n",
            "(line 1): cannot read the database address: it is not PostgreSQL but mysql",
        ),
        (
            "A=1\nDATABASE_URL=sqlite:///CANARY.db\n",
            "(line 2): cannot read the database address: it is not PostgreSQL but sqlite",
        ),
        (
            "DB_CONNECTION=mysql\nDB_HOST=h\nDB_PASSWORD=CANARY\n",
            "cannot use DB_CONNECTION of \".env\" (line 1): it does not say PostgreSQL",
        ),
        (
            "DATABASE_URL=changeme\n",
            "it is not the address of a database\npgbackup: hint: write it as postgresql://user@host:port/dbname, with :password behind the user\n",
        ),
        ("DATABASE_URL_FILE=/run/secrets/CANARY\n", "it names another file, which is not followed"),
    ] {
        let dir = Sandbox::new();
        write(&dir.join(".env"), 0o600, text);

        let ran = pgbackup(&pg, &dir).args(["--env-file", ".env"]).run();

        let ran = ran
            .stdout_is("")
            .stderr_has("pgbackup: error: cannot use ")
            .stderr_has(says)
            .stderr_lacks("CANARY")
            .code(3);
        assert_eq!(ran.stderr_text().lines().count(), 2, "an error and a hint\n{}", ran.picture());
        assert_eq!(dir.files(), [".env"]);
    }
    let dir = Sandbox::new();
    write(&dir.join(".env"), 0o600, "DATABASE_URL=${SECRET}\n");
    let ran = pgbackup(&pg, &dir).args(["--env-file", ".env"]).run();
    ran.stdout_is("")
        .stderr_has("its value refers to another variable, which is not followed\npgbackup: hint: ")
        .code(3);
    let ran = pgbackup(&pg, &dir).args(["--env-file", "missing"]).run();
    ran.stdout_is("")
        .stderr_is("pgbackup: error: cannot open \"missing\": No such file or directory (os error 2)\n")
        .code(3);
}

#[test]
fn an_env_file_that_others_can_read_is_used_with_a_warning() {
    let pg = with_password();
    let dir = Sandbox::new();
    write(&dir.join(".env"), 0o644, &format!("DATABASE_URL=postgresql://app:{ENCODED}@127.0.0.1:{}/app\n", pg.port()));

    let ran = pgbackup(&pg, &dir).args(["--env-file", ".env"]).run();

    ran.stderr_is(
        "pgbackup: warning: \".env\": others than its owner may read it (mode 0644); run: chmod 600 \".env\"\n",
    )
    .code(0);
}

#[test]
fn only_the_lines_of_an_env_file_that_lead_to_the_database_are_warned_about() {
    let pg = with_password();
    let dir = Sandbox::new();
    let url = format!("postgresql://app:{ENCODED}@127.0.0.1:{}/app", pg.port());
    let run = || pgbackup(&pg, &dir).args(["--env-file", ".env"]).run();

    write(&dir.join(".env"), 0o600, &format!("APP_NAME=My App\nexport X=a$b\nKEY = 1\n=\nDATABASE_URL='{url}'\n"));
    is_app(&dir, run());

    write(&dir.join(".env"), 0o600, &format!("APP_NAME=My App\nexport DATABASE_URL='{url}'\n"));
    run()
        .stderr_is("pgbackup: warning: \".env\" line 2: systemd reads this line differently; leave out export\n")
        .code(0);
}

#[test]
fn service_files_and_pgpass_are_libpqs_own() {
    let pg = with_password();
    let dir = Sandbox::new();
    write(
        &dir.join("services"),
        0o644,
        &format!("[nightly]\nhost=127.0.0.1\nport={}\nuser=app\ndbname=app\n", pg.port()),
    );
    write(&dir.join("pgpass"), 0o600, "*:*:app:app:CANARY%/@#\\: p\n");
    give_to_clients(&dir.join("pgpass"));
    let run = || pgbackup(&pg, &dir).env("PGSERVICEFILE", dir.join("services")).env("PGPASSFILE", dir.join("pgpass"));

    is_app(&dir, run().env("PGSERVICE", "nightly").run());
    is_app(&dir, run().arg("service=nightly").run());
    is_app(&dir, run().arg("postgresql:///?service=nightly").run());
}

#[test]
fn a_pgpass_file_of_ones_own_is_used() {
    let pg = with_password();
    let dir = Sandbox::new();
    write(&dir.join(".pgpass"), 0o600, "127.0.0.1:*:app:app:CANARY%/@#\\: p\n");
    let operand = format!("postgresql://app@127.0.0.1:{}/app", pg.port());
    let run_as: &[&str] = if is_root() { &["--run-as", "root"] } else { &[] };

    is_app(&dir, pgbackup(&pg, &dir).args(run_as).arg(&operand).run());

    if is_root() {
        // Client programs run as somebody else, who has a .pgpass of his own.
        let ran = pgbackup(&pg, &dir).args(["--run-as", "nobody"]).arg(&operand).run();
        let home = User::from_name("nobody").unwrap().unwrap().dir;
        ran.stdout_is("")
            .stderr_has(&format!(
                "no password supplied\npgbackup: hint: client programs run as user nobody: put the password into its {:?} \
                 (mode 0600) or PGPASSWORD\n",
                home.join(".pgpass")
            ))
            .code(2);
    }
}

/// An address in a file that others may write to; they choose the server.
fn foreign_files(dir: &Sandbox, text: &str) -> Vec<PathBuf> {
    let writable = dir.join("writable.env");
    write(&writable, 0o666, text);
    let mut files = vec![writable];
    if is_root() {
        let owned = dir.join("owned.env");
        write(&owned, 0o600, text);
        let (uid, gid) = app_user();
        chown(&owned, Some(uid), Some(gid)).unwrap();
        files.push(owned);
    }
    files
}

/// A run whose caller has passwords for every server there is.
fn rich_caller(pg: &Postgres, dir: &Sandbox, file: &Path) -> Tool {
    write(&dir.join(".pgpass"), 0o600, "*:*:*:*:CANARY-pgpass\n");
    write(&dir.join("passfile"), 0o600, "*:*:*:*:CANARY-passfile\n");
    give_to_clients(&dir.join("passfile"));
    write(&dir.join("services"), 0o644, "[mine]\npassword=CANARY-service\n");
    pgbackup(pg, dir)
        .env("PGPASSWORD", "CANARY-password")
        .env("PGPASSFILE", dir.join("passfile"))
        .env("PGSERVICEFILE", dir.join("services"))
        .env("PGSERVICE", "mine")
        .args(if is_root() { &["--run-as", "root"][..] } else { &[] })
        .args(["--env-file"])
        .arg(file)
}

#[test]
fn no_password_of_the_callers_goes_to_a_server_that_a_foreign_file_names() {
    let pg = with_password();
    let dir = Sandbox::new();
    let stub = stub::cleartext_password_asker();

    for file in foreign_files(&dir, &format!("DATABASE_URL=postgresql://app@127.0.0.1:{}/app\n", stub.port())) {
        let ran = rich_caller(&pg, &dir, &file).run();

        let hint =
            "another user can write the file that names this server, so only a password in it is sent; put it there";
        ran.stdout_is("")
            .stderr_has("no password supplied")
            .stderr_has(&format!("pgbackup: hint: {hint}\n"))
            .stderr_lacks("CANARY")
            .code(2);
    }

    assert!(stub.connections() > 0, "nobody came");
    assert_eq!(String::from_utf8_lossy(&stub.received()), "");
}

#[test]
fn a_foreign_files_own_password_is_sent_where_nobody_can_listen() {
    let pg = with_password();
    let dir = Sandbox::new();

    for file in foreign_files(&dir, &format!("DATABASE_URL=postgresql://app:{ENCODED}@127.0.0.1:{}/app\n", pg.port())) {
        let ran = rich_caller(&pg, &dir, &file).run();

        let ran = ran.stderr_lacks("CANARY").code(0);
        assert_eq!(Backup::read(dir.join(ran.stdout_text().trim_end())).manifest["subject"], "app");
    }
}

#[test]
fn a_foreign_file_may_not_choose_our_keys_and_files() {
    let pg = with_password();
    let dir = Sandbox::new();

    for keyword in
        ["passfile=/root/.pgpass", "service=mine", "sslkey=/root/key", "sslcert=/root/cert", "sslkeylogfile=/etc/x"]
    {
        let (key, value) = keyword.split_once('=').unwrap();
        let url = format!("DATABASE_URL=postgresql://app@127.0.0.1:1/app?{key}={}\n", value.replace('/', "%2F"));
        for file in foreign_files(&dir, &url) {
            let ran = pgbackup(&pg, &dir).arg("--env-file").arg(&file).run().stdout_is("").code(3);

            let says = format!("{key} is not accepted from a file that another user can write");
            ran.stderr_has(&says).stderr_has("pgbackup: hint: name the database in an option or a file of your own\n");
        }
    }
}

#[test]
fn a_pool_in_front_of_the_server_is_refused_with_the_way_around_it() {
    let pg = with_password();
    let dir = Sandbox::new();
    let refused = |pool: &PgBouncer, says: &str| {
        let ran = pgbackup(&pg, &dir).arg(format!("postgresql://postgres@127.0.0.1:{}/app", pool.port())).run();
        let ran = ran.stdout_is("").stderr_has(says).code(2);
        let hint = "pgbackup: hint: connect to the server itself, usually port 5432 on its own host, not to PgBouncer or a \
                    \"pooler\" address";
        let lines: Vec<_> = ran.stderr_text().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{}", ran.picture());
        assert!(lines[0].starts_with("pgbackup: error: app: "), "{}", ran.picture());
        assert_eq!(lines[1], hint, "{}", ran.picture());
    };
    let ignoring = "ignore_startup_parameters = options,extra_float_digits";

    for mode in ["session", "transaction", "statement"] {
        let mode = format!("pool_mode = {mode}");
        refused(&PgBouncer::start(&pg, &[&mode]), "unsupported startup parameter: options");
        refused(&PgBouncer::start(&pg, &[&mode, ignoring]), "something between here and the server drops settings");
    }
    // Even where the database itself happens to have the settings that the pool drops.
    for (name, value) in [("TimeZone", "UTC"), ("bytea_output", "hex"), ("lc_monetary", "C"), ("search_path", "")] {
        pg.sql(&format!("ALTER DATABASE app SET {name} = '{value}'"));
    }
    for size in ["default_pool_size = 1", "default_pool_size = 20", "server_round_robin = 1"] {
        let pool = PgBouncer::start(&pg, &["pool_mode = transaction", ignoring, size]);
        refused(&pool, "a connection pool in transaction mode stands in front of the server");
    }
    assert_eq!(dir.files(), Vec::<String>::new());
}

/// Words that clear the environment and run the rest where another PATH holds, as `docker exec` does.
fn as_in_a_container(pg: &Postgres) -> String {
    format!(
        "env -i PATH={}:/usr/bin:/bin PGHOST={} PGPORT={} PGUSER=postgres",
        pg.bin().display(),
        pg.socket_dir().display(),
        pg.port()
    )
}

#[test]
fn client_programs_may_run_behind_a_prefix() {
    let pg = with_password();
    let dir = Sandbox::new();
    let run = |prefix: &str| dir.tool("pgbackup").args(["--dir", ".", "--client-prefix", prefix]);

    let backup = is_app(&dir, run(&as_in_a_container(&pg)).arg("app").run());
    let all = run(&as_in_a_container(&pg)).arg("--all").run().stderr_is("").code(0);

    verify(&dir, &backup);
    assert_eq!(all.stdout_text().lines().count(), 3, "app, postgres, globals");
}

#[test]
fn a_prefix_that_does_not_work_is_told() {
    let pg = with_password();
    let dir = Sandbox::new();
    let run =
        |prefix: &str| dir.tool("pgbackup").args(["--dir", ".", "--client-prefix", prefix, "app"]).run().stdout_is("");

    run("no-such-docker exec db").code(2).stderr_is(
        "pgbackup: error: app: cannot find the program \"no-such-docker\" of --client-prefix\n\
         pgbackup: hint: name a program in PATH, or its absolute path\n",
    );
    run("").code(3).stderr_is("pgbackup: error: --client-prefix is empty\n");
    run("docker exec 'db").code(3).stderr_has("pgbackup: error: cannot use --client-prefix: ");
    run("env -i PATH=/nowhere")
        .code(2)
        .stderr_has("pgbackup: error: app: cannot ask \"psql\" for its version: env failed with exit code 127");
    // docker exec without -i: psql gets no question and ends without a word.
    write(&dir.join("deaf"), 0o755, "#!/bin/sh\nexec \"$@\" </dev/null\n");
    run(&format!("{} {}", dir.join("deaf").display(), as_in_a_container(&pg))).code(2).stderr_is(
        "pgbackup: error: app: psql ended without an answer\n\
         pgbackup: hint: do the words of --client-prefix hand on standard input, as docker exec -i does?\n",
    );
    assert_eq!(dir.files(), ["deaf"]);
}

/// A directory of client programs that say they are of another version.
fn programs_of_version(pg: &Postgres, dir: &Sandbox, version: &str) -> PathBuf {
    let bin = dir.join(format!("bin-{version}"));
    fs::create_dir(&bin).unwrap();
    for name in ["pg_dump", "pg_dumpall", "psql"] {
        let real = pg.bin().join(name);
        let script = format!(
            "#!/bin/sh\n[ \"$1\" != --version ] || {{ echo '{name} (PostgreSQL) {version}'; exit; }}\nexec {} \"$@\"\n",
            real.display()
        );
        write(&bin.join(name), 0o755, &script);
    }
    bin
}

#[test]
fn a_pg_dump_with_known_holes_is_used_with_a_warning() {
    let pg = with_password();
    let dir = Sandbox::new();
    let bin = programs_of_version(&pg, &dir, "15.13");

    let ran = dir.tool("pgbackup").envs(pg.env()).args(["--dir", ".", "app", "--pg-bin"]).arg(&bin).run().code(1);

    let backup = Backup::read(dir.join(ran.stdout_text().trim_end()));
    let note = "pg_dump 15.13 has known holes; update it to 15.20 or later";
    assert_eq!(backup.manifest["notes"][0], note);
    assert_eq!(backup.manifest["client"]["version"], "15.13");
    let ran = ran.stderr_has("pgbackup: warning: app: backed up 1 row").stderr_has(note);
    assert_eq!(ran.stderr_text().lines().count(), 1, "{}", ran.picture());
}

#[test]
fn a_pg_dump_that_is_older_than_the_server_is_refused() {
    let pg = with_password();
    let dir = Sandbox::new();
    let bin = programs_of_version(&pg, &dir, "14.25");
    let major = pg.major();

    let ran = dir.tool("pgbackup").envs(pg.env()).args(["--dir", ".", "app", "--pg-bin"]).arg(&bin).run();

    let server = pg.sql("SHOW server_version");
    let server = server.split(' ').next().unwrap();
    ran.stdout_is("")
        .stderr_is(&format!(
            "pgbackup: error: app: pg_dump 14.25 is older than the server ({server})\n\
             pgbackup: hint: install postgresql-client-{major}, or name its directory with --pg-bin\n"
        ))
        .code(2);

    let ran = dir.tool("pgbackup").envs(pg.env()).args(["--dir", ".", "app", "--pg-bin"]).arg(dir.path()).run();
    ran.stdout_is("")
        .stderr_is(
            "pgbackup: error: app: cannot find the program psql\n\
             pgbackup: hint: install postgresql-client, or name the directory it is in with --pg-bin\n",
        )
        .code(2);
}

#[test]
fn of_several_client_versions_the_servers_own_is_taken() {
    let pg = with_password();
    let dir = Sandbox::new();
    let versions = ["14.25", "15.90", "15.91", "16.95", "17.96"];
    let path: Vec<_> = versions.map(|version| programs_of_version(&pg, &dir, version).display().to_string()).into();
    fs::create_dir(dir.join("store")).unwrap();
    let run = |path: &[String]| {
        let path = path.join(":");
        dir.tool("pgbackup")
            .envs(pg.env())
            .env("PATH", path)
            .args(["--dir", "store", "app"])
            .run()
            .stderr_is("")
            .code(0)
    };
    let version = |ran: Ran| Backup::read(dir.join(ran.stdout_text().trim_end())).manifest["client"]["version"].clone();
    assert_eq!(pg.major(), 15, "the versions above are made for a server of 15");

    let own_major = version(run(&path));

    assert_eq!(own_major, "15.91", "the newest minor of the server's major");
}

#[test]
fn the_environment_alone_says_which_database_or_none() {
    let pg = with_password();
    let dir = Sandbox::new();

    is_app(&dir, pgbackup(&pg, &dir).envs(pg.env()).env("PGDATABASE", "app").run());
    take(&pg, &dir, &[], "app");
    pgbackup(&pg, &dir)
        .envs(pg.env())
        .run()
        .stdout_is("")
        .stderr_is(
            "pgbackup: error: no database to back up\n\
             pgbackup: hint: name one, or use --all, --env-file, --stdin, or set DATABASE_URL\n",
        )
        .code(3);
}
