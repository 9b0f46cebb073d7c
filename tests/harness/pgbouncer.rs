//! A connection pool in front of a cluster.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::postgres::pgbouncer;
use crate::users::server_user;
use crate::{Postgres, Running, Sandbox, free_port};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running PgBouncer that lets `postgres` in without a password; gone when dropped.
pub struct PgBouncer {
    port: u16,
    running: Running,
    // Dropped last: the configuration lies in it.
    _dir: Sandbox,
}

impl PgBouncer {
    /// Starts one; `settings` are lines of its section `[pgbouncer]`.
    ///
    /// # Panics
    ///
    /// If it takes no connections after ten seconds.
    #[must_use]
    pub fn start(pg: &Postgres, settings: &[&str]) -> Self {
        let (dir, port) = (Sandbox::new(), free_port());
        fs::write(dir.join("users.txt"), "\"postgres\" \"\"\n").expect("write users.txt");
        let conf = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\n{}\n",
            pg.socket_dir().display(),
            pg.port(),
            dir.join("users.txt").display(),
            settings.join("\n"),
        );
        fs::write(dir.join("pgbouncer.ini"), conf).expect("write pgbouncer.ini");
        let mut tool = dir.program(pgbouncer()).arg(dir.join("pgbouncer.ini"));
        if let Some(ids) = server_user() {
            tool = tool.as_user(ids.uid, ids.gid);
        }
        let running = tool.spawn();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let said = || String::from_utf8_lossy(&running.stderr_so_far()).into_owned();
            assert!(running.is_running() && Instant::now() < deadline, "PgBouncer does not listen\n{}", said());
            thread::sleep(Duration::from_millis(5));
        }
        PgBouncer { port, running, _dir: dir }
    }

    /// The port of 127.0.0.1 it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.running.stderr_so_far()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_leads_to_its_cluster() {
        let pg = Postgres::start();
        let pool = PgBouncer::start(&pg, &["pool_mode = session"]);

        let uri = format!("postgresql://postgres@127.0.0.1:{}/postgres", pool.port());
        let psql = Sandbox::new().program(pg.bin().join("psql")).args(["-XAtw", "-c", "SHOW port", &uri]).run();

        psql.stdout_is(&format!("{}\n", pg.port())).code(0);
        assert!(pool.log().contains("login attempt"), "{}", pool.log());
    }
}
