//! What the pages show is true: every command in them is run, every sample has the keys of the real thing.
//!
//! A block between `.EX` and `.EE` holds commands (behind `$ `, continued behind `> `) with what they print, or a sample.
//! Commands run below a sandbox in place of `/`, on a server of their own, one shell for each page.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::{Postgres, Sandbox, Tool, workspace};
use serde_json::Value;

/// The places that pages speak of.
const PLACES: [&str; 5] = ["/srv/pg", "/srv/app", "/srv", "/var/log", "/var/lib/prometheus/node-exporter"];
/// The time in every label of a page.
const STAMP: &str = "20261120T020000Z";

struct Block {
    /// Each with the lines that it prints.
    commands: Vec<(String, String)>,
    sample: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let source = fs::read_to_string(workspace().join("man").join(page)).unwrap();
    let blocks: Vec<_> = source.split(".EX\n").skip(1).map(|rest| block(rest.split_once(".EE\n").unwrap().0)).collect();
    assert!(!blocks.is_empty(), "{page} has no examples");
    blocks
}

fn block(source: &str) -> Block {
    let mut block = Block { commands: Vec::new(), sample: String::new() };
    for line in plain(source).lines() {
        let last = block.commands.last_mut();
        match (line.strip_prefix("$ "), line.strip_prefix("> "), last) {
            (Some(command), ..) => block.commands.push((command.to_owned(), String::new())),
            (None, Some(more), Some((command, _))) => *command = format!("{command}\n{more}"),
            (None, None, Some((_, output))) => *output += &format!("{line}\n"),
            (None, _, None) => block.sample += &format!("{line}\n"),
        }
    }
    block
}

/// The text of roff source that holds no macros.
fn plain(source: &str) -> String {
    let pairs = [
        ("\\fB", ""),
        ("\\fR", ""),
        ("\\&", ""),
        ("\\-", "-"),
        ("\\*(Aq", "'"),
        ("\\(aq", "'"),
        ("\\(ha", "^"),
        ("\\(ti", "~"),
        ("\\(ga", "`"),
        ("\\(rs", "\\"),
        ("\\e", "\\"),
        ("\\\\", "\\"),
    ];
    pairs.iter().fold(source.to_owned(), |text, (roff, plain)| text.replace(roff, plain))
}

/// A server with a database, and a sandbox with its backups, an application and logs.
struct World {
    dir: Sandbox,
    pg: Postgres,
}

impl World {
    fn new() -> Self {
        let (dir, pg) = (Sandbox::new(), Postgres::start());
        pg.sql("CREATE DATABASE app");
        pg.sql_in(
            "app",
            "CREATE TABLE orders (id serial, note text);
             INSERT INTO orders (note) VALUES ('a'), ('b'), ('c');
             SELECT lo_from_bytea(0, 'bytes');",
        );
        for place in PLACES {
            fs::create_dir_all(below(&dir, place)).unwrap();
        }
        for place in ["srv/uploads", "bin"] {
            fs::create_dir(dir.join(place)).unwrap();
        }
        fs::write(dir.join("srv/uploads/photo"), "pixels").unwrap();
        let url = format!(
            "DATABASE_URL='postgresql:///app?host={}&port={}&user=postgres'\n",
            pg.socket_dir().display(),
            pg.port()
        );
        fs::write(dir.join("srv/app/.env"), url).unwrap();
        fs::set_permissions(dir.join("srv/app/.env"), fs::Permissions::from_mode(0o600)).unwrap();
        program(&dir.join("bin/docker"), "#!/bin/sh\n[ \"$1 $2 $3\" = 'exec -i db' ] && shift 3 && exec \"$@\"\n");
        let world = Self { dir, pg };
        let journal = "--journal /var/log/nightshift.jsonl";
        let tar = "tar -C /srv -c uploads | pgbackup --dir /srv/pg --stdin uploads";
        for command in [
            format!("pgbackup --dir /srv/pg --globals {journal} app"),
            format!("{tar} --name web-1 {journal}"),
            tar.to_owned(),
            format!("! pgbackup --dir /srv/pg {journal} nosuchdatabase 2>/dev/null"),
        ] {
            world.shell(&command).run().stderr_is("").code(0);
        }
        world
    }

    /// Text of a page with the labels of the newest backups here.
    fn with_labels(&self, text: &str) -> String {
        let files = self.dir.files();
        let labels = files.iter().filter_map(|file| file.strip_prefix("srv/pg/")?.strip_suffix(".manifest.json"));
        let newest: BTreeMap<_, _> = labels.filter_map(|label| label.rsplit_once('-')).collect();
        newest.iter().fold(text.to_owned(), |text, (name, stamp)| {
            text.replace(&format!("{name}-{STAMP}"), &format!("{name}-{stamp}"))
        })
    }

    /// A shell about to run the command of a page here.
    fn shell(&self, command: &str) -> Tool {
        let mut command = self.with_labels(command);
        for place in ["/srv", "/var/log", "/var/lib/prometheus"] {
            command = command.replace(place, below(&self.dir, place).to_str().unwrap());
        }
        let (stubs, tools) = (self.dir.join("bin"), harness::tool_path("pgbackup"));
        let path = [stubs.as_path(), self.pg.bin(), tools.parent().unwrap()].map(|path| path.to_str().unwrap());
        self.dir
            .program("bash")
            .args(["-e", "-o", "pipefail", "-c", &command])
            .envs(self.pg.env())
            .env("PATH", format!("{}:/usr/bin:/bin", path.join(":")))
    }

    fn json(&self, shape: &str) -> Value {
        serde_json::from_slice(&fs::read(self.dir.wait_for(shape)).unwrap()).unwrap()
    }
}

fn below(dir: &Sandbox, place: &str) -> std::path::PathBuf {
    dir.join(place.trim_start_matches('/'))
}

fn program(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The names of all keys, at any depth.
fn keys(value: &Value) -> Vec<String> {
    let Value::Object(object) = value else { return Vec::new() };
    let below = |(key, value): (&String, &Value)| {
        let mut names = vec![key.clone()];
        names.extend(keys(value).into_iter().map(|name| format!("{key}.{name}")));
        names
    };
    object.iter().flat_map(below).collect()
}

fn sample(page: &str, start: &str) -> String {
    let found = blocks(page).into_iter().find(|block| block.sample.starts_with(start));
    found.unwrap_or_else(|| panic!("{page} has no sample that starts with {start:?}")).sample
}

#[test]
fn every_command_of_the_pages_by_hand_does_what_they_say() {
    let world = World::new();
    for page in ["nightshift.7", "nightshift-backup.5", "nightshift-journal.5"] {
        let commands: Vec<_> = blocks(page).into_iter().flat_map(|block| block.commands).collect();
        assert!(commands.len() > 1, "{page} has no commands");
        // One shell for all, as a reader would have: a directory changed, a variable set.
        let mut script = String::new();
        for (number, (command, _)) in commands.iter().enumerate() {
            script += &format!("echo '== {number}'\n{command}\n");
        }
        let expected: Vec<_> = commands.iter().map(|(_, output)| world.with_labels(output)).collect();
        let ran = world.shell(&script).run().code(0);
        let mut outputs = ran.stdout_text().split("== ").skip(1);
        for (number, (command, output)) in commands.iter().enumerate() {
            let (head, printed) = outputs.next().unwrap().split_once('\n').unwrap();
            assert_eq!(head, number.to_string());
            assert!(output.is_empty() || printed == expected[number], "{page}: {command}\n{printed}\n{ran:?}");
        }
    }

    assert_eq!(world.pg.sql_in("app_restored", "SELECT count(*) FROM orders"), "3");
    assert_eq!(world.pg.dump_plain("app_restored").len(), world.pg.dump_plain("app").len());
    let table = fs::read_to_string(world.dir.wait_for("srv/pg/orders.sql")).unwrap();
    assert_eq!(table, "COPY public.orders (id, note) FROM stdin;\n1\ta\n2\tb\n3\tc\n\\.\n");
    assert!(fs::read_to_string(world.dir.join("var/log/backup-verify.json")).unwrap().contains("\"status\":\"OK\""));
}

#[test]
fn every_example_of_the_rendered_pages_works() {
    let world = World::new();
    for page in ["pgbackup.8", "backup-verify.8"] {
        for line in blocks(page).iter().flat_map(|block| block.sample.lines()) {
            // A line of a crontab.
            let command = line.split_once(" * * *  ").map_or(line, |(_, command)| command).trim_start_matches("* ");
            if command.contains("| psql") {
                world.pg.sql("DROP DATABASE app");
                world.pg.sql("CREATE DATABASE app TEMPLATE template0");
            }
            if command.contains("--against app_restored") {
                world.pg.sql("CREATE DATABASE app_restored TEMPLATE app");
            }
            if command.contains("--depth restored") && harness::is_root() {
                harness::verify_user();
            }
            let ran = world.shell(command).run().code(0);
            assert!(command.contains("psql") || ran.stderr_text().is_empty(), "{ran:?}");
        }
    }
    assert_eq!(world.pg.sql_in("app", "SELECT count(*) FROM orders"), "3");
}

#[test]
fn samples_have_the_keys_of_the_real_thing() {
    let world = World::new();
    let page = "nightshift-backup.5";
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e} in {text}"));

    world.shell("pgbackup --dir /srv/pg --name web-1 app").run().stderr_is("").code(0);
    let real = world.json("srv/pg/web-1-app-*.manifest.json");
    assert_eq!(keys(&parse(&sample(page, "{\n"))), keys(&real));

    let index = fs::read_to_string(world.dir.wait_for("srv/pg/web-1-app-*.index.jsonl")).unwrap();
    let sample_index = sample(page, "{\"entry\"");
    assert_eq!(sample_index.lines().count(), 5);
    for line in sample_index.lines() {
        let kind = line.split('"').nth(1).unwrap();
        let real = index.lines().find(|real| real.starts_with(&format!("{{\"{kind}\""))).unwrap();
        assert_eq!(keys(&parse(line)), keys(&parse(real)));
    }

    let journal = fs::read_to_string(world.dir.join("var/log/nightshift.jsonl")).unwrap();
    let sample_journal = sample("nightshift-journal.5", "{\"time\"");
    assert_eq!(keys(&parse(&sample_journal)), keys(&parse(journal.lines().next().unwrap())));
}

#[test]
fn the_configuration_of_the_page_is_taken() {
    let dir = Sandbox::new();
    fs::create_dir(dir.join("pg")).unwrap();
    let config = sample("nightshift.7", "# /etc/nightshift/pgbackup.conf");
    let config = config.replace("/srv/pg", "pg").replace("/var/log/", "");
    fs::write(dir.join("pgbackup.conf"), config).unwrap();

    let options = ["--config", "pgbackup.conf", "--stdin", "x"];
    if harness::is_root() {
        // Below /tmp, which is sticky.
        dir.tool("pgbackup").args(options).stdin_bytes("x").run().stderr_is("").code(0);
        assert!(dir.files().contains(&"nightshift.jsonl".to_owned()), "{:?}", dir.files());
    }
}

/// What a target file on a page or in scripts is judged as, line for line, without a look.
fn understood(dir: &Sandbox, text: &str) -> usize {
    fs::write(dir.join("targets"), text).unwrap();
    fs::set_permissions(dir.join("targets"), fs::Permissions::from_mode(0o600)).unwrap();
    let ran = dir
        .tool("healthprobe")
        .args(["--no-config", "--check-targets", "--targets", "targets"])
        .run()
        .stderr_is("")
        .code(0);
    ran.stdout_text().lines().count()
}

#[test]
fn every_target_on_a_page_is_understood() {
    let dir = Sandbox::new();
    let page: Vec<_> =
        blocks("healthprobe-targets.5").into_iter().map(|block| block.sample).filter(|text| !text.is_empty()).collect();
    assert!(page.len() >= 2, "{page:?}");
    for text in page {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count();
        assert_eq!(understood(&dir, &text), lines, "{text}");
    }

    let smoke = fs::read_to_string(workspace().join("scripts/smoke.targets")).unwrap();
    assert_eq!(understood(&dir, &smoke), 8);

    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("# /etc/nightshift/targets\n").unwrap();
    assert!(understood(&dir, rest.split_once("```").unwrap().0) > 8);
}

#[test]
fn the_commands_of_the_page_of_targets_work() {
    let world = World::new();
    for (command, _) in blocks("healthprobe-targets.5").into_iter().flat_map(|block| block.commands) {
        world.shell(&command).run().stderr_is("").code(0);
    }
}

#[test]
fn every_kind_has_its_section() {
    let dir = Sandbox::new();
    let ran = dir.tool("healthprobe").args(["--no-config", "nosuchkind:x"]).run().code(3);
    let told = ran.stderr_text();
    let (_, kinds) = told.split_once("kinds: ").unwrap();
    let page = fs::read_to_string(workspace().join("man/healthprobe-targets.5")).unwrap();
    for kind in kinds.lines().next().unwrap().split(", ") {
        let has = page.lines().any(|line| line.strip_prefix(".SS ").is_some_and(|head| head.starts_with(kind)));
        assert!(has, "{kind} has no .SS in man/healthprobe-targets.5");
    }
}

#[test]
fn every_tool_has_its_line_in_the_page_of_all() {
    let page = fs::read_to_string(workspace().join("man/nightshift.7")).unwrap();
    for (tool, _) in crate::rendered::tools() {
        let name = format!(".BR {} (8)", tool.replace('-', "\\-"));
        assert_eq!(page.matches(&name).count(), 2, "{name} in DESCRIPTION and SEE ALSO");
    }
}

#[test]
fn a_page_can_be_copied_from() {
    for page in [
        "nightshift.7",
        "nightshift-backup.5",
        "nightshift-journal.5",
        "logrotate-lite.conf.5",
        "healthprobe-targets.5",
    ] {
        let source = fs::read_to_string(workspace().join("man").join(page)).unwrap();
        for block in source.split(".EX\n").skip(1).map(|rest| rest.split_once(".EE\n").unwrap().0) {
            // groff may set these as typographic ones, which no shell takes.
            let bare = block.replace("\\-", "");
            let wrong: String = bare.chars().filter(|c| "-'^~`".contains(*c)).collect();
            assert_eq!(wrong, "", "{page}: write \\- \\(aq \\(ha \\(ti \\(ga\n{block}");
        }
    }
}

/// Every directive of logrotate with a value that it takes, and our own three.
const DIRECTIVES: &str = "rotate 3|olddir .|noolddir|createolddir 0700|nocreateolddir|su root root|hourly|daily|weekly 7|monthly 1|\
    yearly|minutes 90|size 1M|minsize 1k|maxsize=1G|minage 1|maxage 9|missingok|nomissingok|ifempty|notifempty|ignoreduplicates|\
    allowhardlink|noallowhardlink|include /etc/nosuch|tabooext + .x|taboopat + x*|create 0640 root root|nocreate|copy|nocopy|\
    copytruncate|nocopytruncate|renamecopy|norenamecopy|shred|noshred|shredcycles 3|compress|nocompress|delaycompress|\
    nodelaycompress|compresscmd /bin/xz|uncompresscmd /bin/unxz|compressext .xz|compressoptions -9|dateext|nodateext|\
    dateformat -%Y|dateyesterday|nodateyesterday|datehourago|nodatehourago|extension .log|addextension .old|start 1|\
    mail root@localhost|nomail|mailfirst|maillast|firstaction|prerotate|postrotate|lastaction|preremove|sharedscripts|\
    nosharedscripts|errors root|dateext|dateextunique|maxtotal 1G|pruneorphans";

#[test]
fn every_directive_is_understood_and_has_its_place_in_the_page() {
    let page = fs::read_to_string(workspace().join("man/logrotate-lite.conf.5")).unwrap();
    let dir = Sandbox::new();
    let mut config = String::new();
    for directive in DIRECTIVES.split('|') {
        let keyword = directive.split([' ', '=']).next().unwrap();
        let is_word = |text: &str| text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == keyword);
        assert!(page.lines().filter(|line| line.starts_with(".B ")).any(is_word), "{keyword}");
        let is_script =
            keyword.ends_with("action") || keyword.ends_with("rotate") && keyword != "rotate" || keyword == "preremove";
        let end = if is_script { "\n true\nendscript" } else { "" };
        config.push_str(&format!("{directive}{end}\n"));
    }
    fs::write(dir.join("conf"), format!("{config}/nosuch/x.log {{\n missingok\n}}\n")).unwrap();

    let ran = dir.tool("logrotate-lite").args(["--check", "conf"]).run().code(1);

    let errors: Vec<_> =
        ran.stderr_text().lines().filter(|line| line.starts_with("error:")).map(str::to_owned).collect();
    assert_eq!(errors, ["error: cannot stat /etc/nosuch: No such file or directory"], "{ran:?}");
    ran.stderr_lacks("unknown option");
}
