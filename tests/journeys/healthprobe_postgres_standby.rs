//! healthprobe on a primary and the standby that follows it.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Postgres, Ran, Sandbox};
use postgres::NoTls;

use crate::healthprobe_postgres::{connect, healthprobe, look, socket, until};

/// All that is looked at by default; autovacuum is off in servers for tests.
const CHECKS: &str = "checks=default,-vacuum";

/// A primary, and a standby by the slot `away` that says often how far it is.
fn pair(major: u32) -> (Postgres, Postgres) {
    let primary = Postgres::version(major);
    let standby = Postgres::builder().standby_of(&primary, "away").conf("wal_receiver_status_interval = 1").start();
    until(&primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'");
    (primary, standby)
}

/// Waits until the standby has all that the primary has, and has said so.
fn catch_up(primary: &Postgres) {
    until(primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()");
}

fn write_much(primary: &Postgres) {
    primary.sql("DROP TABLE IF EXISTS much; CREATE TABLE much AS SELECT generate_series(1, 100000)");
}

/// Looks until it finds this: what is told of a standby is as old as its last answer.
#[track_caller]
fn look_until(pg: &Postgres, words: &str, said: &str) -> Ran {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ran = look(pg, words);
        if ran.stdout_text().contains(said) {
            return ran;
        }
        assert!(Instant::now() < deadline, "never said: {said}\n{}", ran.picture());
        thread::sleep(Duration::from_millis(100));
    }
}

/// What JSON says of it.
fn json(pg: &Postgres, words: &str) -> serde_json::Value {
    let target = format!("postgres:{} name=db {words}", socket(pg));
    let ran = healthprobe(&Sandbox::new()).args(["--format", "json"]).arg(target).run();
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn a_standby_that_follows_is_well_on_both_sides() {
    for major in [15, 18] {
        let (primary, standby) = pair(major);
        write_much(&primary);
        catch_up(&primary);

        look(&primary, CHECKS).stdout_has(&format!("OK db: PostgreSQL {major}.")).stdout_lacks("standby").code(0);
        look(&standby, CHECKS).stdout_has("OK db: PostgreSQL ").stdout_has(", a standby at ").code(0);
        look(&standby, "checks=all,-vacuum").stdout_has("OK db: ").code(0);
        look(&primary, "checks=reachable standbys<1 lag>1s lag-size>1MiB retained>64MiB").stdout_has("OK db: ").code(0);
        look(&standby, "checks=reachable lag>0s,1s lag-size>0B,1MiB").stdout_has("OK db: ").code(0);
        let (on_primary, on_standby) =
            (json(&primary, "checks=replication,slots"), json(&standby, "checks=replication"));
        assert_eq!((&on_primary["standby"], &on_standby["standby"]), (&false.into(), &true.into()));
        assert_eq!(on_primary["parts"][0]["message"], "\"away\" streaming, 0 B behind");
        assert_eq!(on_primary["parts"][0]["measures"]["standbys"], 1);
        assert_eq!(on_primary["parts"][1]["measures"]["inactive"], 0);
    }
}

#[test]
fn a_standby_whose_replay_is_paused_is_behind_on_both_sides() {
    for major in [15, 18] {
        let (primary, standby) = pair(major);
        catch_up(&primary);
        standby.sql("SELECT pg_wal_replay_pause()");
        until(&standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'");

        write_much(&primary);

        // Only by its own verdict, and with thresholds that it crosses.
        look(&standby, "checks=replication lag=~: lag-size=~:")
            .stdout_has("WARNING db: replication: a standby, ")
            .code(1);
        look_until(
            &standby,
            "checks=reachable lag>1s,1h lag-size>1MiB,1GiB",
            "lag is above 1s; lag-size is above 1.0 MiB",
        )
        .stdout_has("WARNING db: replication: a standby, ")
        .stdout_has("s behind, whose replay is paused; lag is above")
        .code(1);
        look_until(
            &primary,
            "checks=reachable lag>1s,1h lag-size>1MiB,1GiB",
            "lag is above 1s; lag-size is above 1.0 MiB",
        )
        .stdout_has("WARNING db: replication: \"away\" streaming, ")
        .stdout_has(" MiB and ")
        .stdout_has("s behind; lag is above")
        .code(1);
        look_until(&primary, "checks=reachable lag>0s,1s", "CRITICAL db: replication: ").code(2);

        standby.sql("SELECT pg_wal_replay_resume()");
        look_until(&primary, "checks=reachable lag>1s,1h lag-size>1MiB,1GiB", "OK db: ").code(0);
        look_until(&standby, "checks=reachable lag>1s,1h lag-size>1MiB,1GiB", "OK db: ").code(0);
    }
}

#[test]
fn a_standby_that_is_stopped_leaves_a_slot_that_keeps_what_is_written() {
    for major in [15, 18] {
        let (primary, standby) = pair(major);
        catch_up(&primary);

        standby.stop_fast();
        until(&primary, "SELECT NOT active FROM pg_replication_slots");
        write_much(&primary);

        look(&primary, "checks=slots retained>1MiB,1GiB")
            .stdout_has("WARNING db: slots: slot \"away\" keeps ")
            .stdout_has(" MiB, not in use; retained is above 1.0 MiB\n")
            .stdout_has("hint: a slot keeps all WAL until the disk is full: start its reader, or SELECT pg_drop")
            .code(1);
        look(&primary, "checks=slots retained>1KiB,1MiB").stdout_has("CRITICAL db: slots: ").code(2);
        look(&primary, "checks=reachable standbys<1")
            .stdout_has("CRITICAL db: replication: no standby is connected; standbys")
            .code(2);
        assert_eq!(json(&primary, "checks=slots")["parts"][0]["measures"]["inactive"], 1);
        // A gibibyte is a warning, and this is far less.
        look(&primary, CHECKS).stdout_has("OK db: ").code(0);

        standby.restart();
        look_until(&primary, "checks=reachable standbys<1 retained>1MiB lag-size>1MiB", "OK db: ").code(0);
    }
}

#[test]
fn a_slot_that_has_lost_its_log_is_critical() {
    let primary =
        Postgres::builder().major(18).conf("max_slot_wal_keep_size = 1MB").conf("min_wal_size = 32MB").start();
    let standby = Postgres::builder().standby_of(&primary, "away").start();
    standby.stop_fast();

    for _ in 0..4 {
        primary.sql("CREATE TABLE IF NOT EXISTS t (a int); INSERT INTO t VALUES (1); SELECT pg_switch_wal()");
    }
    primary.sql("CHECKPOINT");

    look(&primary, "checks=slots")
        .stdout_has("CRITICAL db: slots: slot \"away\" has lost what it needs (wal_removed)")
        .code(2);
}

#[test]
fn a_standby_whose_primary_is_gone_is_told() {
    for major in [15, 18] {
        let (primary, standby) = pair(major);
        write_much(&primary);
        catch_up(&primary);

        primary.stop_fast();

        look_until(&standby, "checks=replication", "receives nothing")
            .stdout_has("WARNING db: replication: a standby that receives nothing from its primary\n")
            .code(1);
        look(&standby, "checks=reachable lag>0s,1h")
            .stdout_has("receives nothing from its primary; lag is above 0")
            .code(1);
        look(&standby, "checks=reachable").stdout_has("OK db: ").code(0);
    }
}

/// Started again, a standby counts what it has received from the beginning of a segment, which it has replayed long ago.
#[test]
fn a_standby_that_was_started_again_is_not_behind() {
    let (primary, standby) = pair(18);
    write_much(&primary);
    catch_up(&primary);

    standby.restart();

    look_until(&standby, "checks=replication lag>0s,1h", "OK db: ").code(0);
    standby.sql("SELECT pg_wal_replay_pause()");
    look(&standby, "checks=reachable lag>0s,1s").stdout_has("WARNING db: replication: a standby, 0").code(1);
}

/// The last transaction is long ago then, and yet the standby follows: it replays what it receives.
#[test]
fn a_standby_that_follows_a_long_transaction_is_not_behind() {
    let (primary, standby) = pair(18);
    primary.sql("CREATE TABLE t (a text)");
    catch_up(&primary);
    let mut load = connect(&primary, "load");
    let cancel = load.cancel_token();
    let loads = thread::spawn(move || {
        load.batch_execute(
            "DO $$ BEGIN LOOP INSERT INTO t SELECT repeat('x', 100) FROM generate_series(1, 2000); \
             PERFORM pg_sleep(0.02); END LOOP; END $$",
        )
    });
    until(&primary, "SELECT now() - xact_start > interval '4 s' FROM pg_stat_activity WHERE application_name = 'load'");

    let looks: Vec<Ran> = (0..10).map(|_| look(&standby, "checks=reachable lag>3s")).collect();

    cancel.cancel_query(NoTls).unwrap();
    loads.join().unwrap().unwrap_err();
    // A busy machine may hold one up; without asking again nine of ten were behind.
    let well = looks.iter().filter(|ran| ran.code == Some(0)).count();
    assert!(well >= 8, "{well} of 10\n{}", looks[9].picture());
}

/// Who only writes what it receives is behind by what it has not written, and not by all that it never replays.
#[test]
fn a_receiver_that_replays_nothing_is_not_behind_for_ever() {
    for major in [15, 18] {
        let primary = Postgres::version(major);
        let mut receiver = receive(&primary);
        until(&primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'");
        primary.sql("CREATE TABLE t AS SELECT 1 AS a");
        // It says once a second how far it is; by the server's count it is further behind each time.
        until(&primary, "SELECT replay_lag > interval '3 s' FROM pg_stat_replication");

        let ran = look(&primary, "checks=reachable lag>2900ms,1h lag-size>1MiB standbys<1");

        receiver.kill().unwrap();
        receiver.wait().unwrap();
        ran.stdout_has("OK db: ").code(0);
    }
}

fn receive(pg: &Postgres) -> Child {
    let mut command = Command::new(pg.bin().join("pg_receivewal"));
    command.envs(pg.env()).args(["-s", "1", "-D", pg.socket_dir().to_str().unwrap()]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn an_address_with_both_chooses_by_what_it_wants() {
    for major in [15, 18] {
        let (primary, standby) = pair(major);
        let both = |servers: [&Postgres; 2], wanted: &str| {
            let hosts = servers.map(|pg| pg.socket_dir().display().to_string()).join(",");
            let ports = servers.map(|pg| pg.port().to_string()).join(",");
            let address =
                format!("'host={hosts} port={ports} user=postgres dbname=postgres target_session_attrs={wanted}'");
            healthprobe(&Sandbox::new()).arg(format!("postgres:{address} name=db checks=reachable")).run()
        };
        let is_standby = |ran: Ran| ran.code(0).stdout_text().contains(", a standby at ");

        for servers in [[&primary, &standby], [&standby, &primary]] {
            for (wanted, expected) in [
                ("primary", false),
                ("read-write", false),
                ("standby", true),
                ("read-only", true),
                ("prefer-standby", true),
                ("any", std::ptr::eq(servers[0], &standby)),
            ] {
                assert_eq!(is_standby(both(servers, wanted)), expected, "{wanted}");
            }
        }

        standby.stop_fast();
        assert!(!is_standby(both([&standby, &primary], "prefer-standby")));
        both([&primary, &standby], "standby")
            .stdout_has("CRITICAL db: cannot use /tmp/")
            .stdout_has(": it is a primary, which target_session_attrs does not want; cannot connect to /tmp/")
            .code(2);
        standby.restart();
        primary.stop_fast();
        both([&primary, &standby], "primary").stdout_has(": it is a standby, which ").code(2);
    }
}
