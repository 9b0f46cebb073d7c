//! Forty clients that reconnect at once: what they see of a swap, and for how long they see nothing.

use crate::swap_place::Swapped;
use harness::{PgBouncer, Postgres};
use postgres::{Client, NoTls, SimpleQueryMessage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many there are.
const CLIENTS: usize = 40;
/// What the swap may cost any of them.
const LIMIT: Duration = Duration::from_millis(500);
/// What it may cost them on a machine that is busy with other tests; a pool that was not paused costs 15 s.
const WORST: Duration = Duration::from_secs(4);

/// Clients that ask all the time which database they are in, and connect again as soon as they are cut off.
struct Clients {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<(Instant, String)>>>,
}

impl Clients {
    fn start(address: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let thread = |_| {
            let (over, address) = (Arc::clone(&over), address.to_owned());
            std::thread::spawn(move || ask_on(&address, &over))
        };
        Self { threads: (0..CLIENTS).map(thread).collect(), over }
    }

    /// Ends them; what each has seen, with the time of each answer.
    fn stop(self) -> Vec<Vec<(Instant, String)>> {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

fn ask_on(address: &str, over: &AtomicBool) -> Vec<(Instant, String)> {
    let mut seen = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(address, NoTls) else { continue };
        while let Ok(rows) = client.simple_query("BEGIN; SELECT which FROM which; SELECT pg_sleep(0.02); COMMIT") {
            let which = rows.iter().find_map(|row| match row {
                SimpleQueryMessage::Row(row) => row.get(0).filter(|text| !text.is_empty()).map(str::to_owned),
                _ => None,
            });
            seen.push((Instant::now(), which.unwrap()));
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    seen
}

/// Every client saw these databases in this order, and never a mix; returns the longest time between two answers.
#[track_caller]
fn judge(all: &[Vec<(Instant, String)>], phases: &[&str]) -> Duration {
    let mut longest = Duration::ZERO;
    for seen in all {
        let mut order: Vec<_> = seen.iter().map(|(_, which)| which.as_str()).collect();
        order.dedup();
        assert_eq!(order, phases, "a client saw a mix, or not all");
        let gaps = seen.windows(2).map(|pair| pair[1].0 - pair[0].0);
        longest = longest.max(gaps.max().unwrap());
    }
    longest
}

fn direct(place: &Swapped) -> String {
    let socket = place.pg.socket_dir();
    format!("host={} port={} user=owner dbname=app", socket.display(), place.pg.port())
}

/// The outage that the tool reports.
#[track_caller]
fn reported(line: &str) -> f64 {
    let line: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    line["outage_seconds"].as_f64().unwrap()
}

/// Three swaps under these clients; the shortest outage as reported, and the longest pause of any client. The first is
/// what the swap needs, the second also what a busy machine adds.
fn swap_under(place: &Swapped, address: &str, more: &[&str]) -> (f64, Duration) {
    let clients = Clients::start(address);
    let mut shortest = f64::MAX;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        let ran = place.undo().args(["--format", "json"]).args(more).run().code(0);
        shortest = shortest.min(reported(ran.stdout_text()));
    }
    std::thread::sleep(Duration::from_millis(700));
    (shortest, judge(&clients.stop(), &["new", "old", "new", "old"]))
}

#[test]
fn forty_clients_that_reconnect_at_once_cannot_stop_a_swap_and_see_no_mix() {
    let place = Swapped::with(Postgres::builder().conf("max_connections = 120").start());

    let (outage, longest) = swap_under(&place, &direct(&place), &[]);

    assert!(outage < LIMIT.as_secs_f64(), "{outage} s, as reported");
    assert!(longest < WORST, "{longest:?} for one of the clients");
}

#[test]
fn behind_a_pool_that_is_paused_no_client_is_even_cut_off() {
    for mode in ["transaction", "session"] {
        let place = Swapped::with(Postgres::builder().conf("max_connections = 120").start());
        let settings = [&format!("pool_mode = {mode}"), "default_pool_size = 50", "admin_users = postgres"];
        let pool = PgBouncer::start(&place.pg, &settings);
        let address = format!("host=127.0.0.1 port={} user=postgres dbname=app", pool.port());
        let console = format!("postgresql://postgres@127.0.0.1:{}/pgbouncer", pool.port());

        let (outage, longest) = swap_under(&place, &address, &["--pgbouncer", &console]);

        assert!(outage < LIMIT.as_secs_f64(), "{mode}: {outage} s, as reported\n{}", pool.log());
        assert!(longest < WORST, "{mode}: {longest:?} for one of the clients\n{}", pool.log());
        assert!(pool.log().contains("RESUME 'app' command issued"), "{}", pool.log());
    }
}

#[test]
fn a_transaction_that_does_not_end_stops_the_swap_and_the_pool_goes_on() {
    let place = Swapped::new();
    let pool = PgBouncer::start(&place.pg, &["pool_mode = transaction", "admin_users = postgres"]);
    let address = format!("host=127.0.0.1 port={} user=postgres dbname=app", pool.port());
    let console = format!("postgresql://postgres@127.0.0.1:{}/pgbouncer", pool.port());
    let mut client = Client::connect(&address, NoTls).unwrap();
    client.simple_query("BEGIN; SELECT 1").unwrap();

    let ran = place.undo().args(["--pgbouncer", &console]).run();

    ran.stdout_is("").stderr_has("cannot pause database \"app\" of PgBouncer").code(2);
    client.simple_query("SELECT which FROM which; COMMIT").unwrap();
    assert!(Client::connect(&address, NoTls).unwrap().simple_query("SELECT 1").is_ok());
    assert_eq!(place.live(), "new");
}

#[test]
fn a_console_that_cannot_be_used_stops_the_run_before_anything_is_touched() {
    let place = Swapped::new();
    let pool = PgBouncer::start(&place.pg, &["pool_mode = transaction"]);
    let console = format!("postgresql://postgres@127.0.0.1:{}/pgbouncer", pool.port());

    let undo = place.undo().args(["--pgbouncer", &console, "--stop", &place.note("stop"), "--start", "true"]);
    undo.run().stdout_is("").stderr_has("cannot ask PgBouncer").stderr_has("admin_users").code(3);

    assert_eq!((place.notes().len(), place.live().as_str()), (0, "new"));
}

#[test]
fn a_pool_that_a_killed_run_left_paused_is_resumed_by_recover() {
    for at in ["paused", "swap-uncommitted", "swap-committed"] {
        let place = Swapped::new();
        let pool = PgBouncer::start(&place.pg, &["pool_mode = transaction", "admin_users = postgres"]);
        let console = format!("postgresql://postgres@127.0.0.1:{}/pgbouncer", pool.port());
        let address = format!("host=127.0.0.1 port={} user=postgres dbname=app", pool.port());
        Client::connect(&address, NoTls).unwrap();
        place.at(place.undo().args(["--pgbouncer", &console]), at, "kill").run().signalled(9);

        place.tool().arg("--recover").run().stderr_is("").code(0);

        let log = pool.log();
        assert!(
            log.contains("PAUSE 'app' command issued") && log.contains("RESUME 'app' command issued"),
            "{at}: {log}"
        );
        Client::connect(&address, NoTls).unwrap().simple_query("SELECT which FROM which").unwrap();
    }
}

#[test]
fn a_pool_that_is_gone_does_not_keep_recover_from_the_rest() {
    let place = Swapped::new();
    let pool = PgBouncer::start(&place.pg, &["pool_mode = transaction", "admin_users = postgres"]);
    let console = format!("postgresql://postgres@127.0.0.1:{}/pgbouncer", pool.port());
    place.at(place.undo().args(["--pgbouncer", &console]), "paused", "kill").run().signalled(9);
    drop(pool);

    place.tool().arg("--recover").run().stderr_has("RESUME it by hand").code(0);

    assert_eq!((place.live().as_str(), &place.state()["run"]), ("new", &serde_json::Value::Null));
}
