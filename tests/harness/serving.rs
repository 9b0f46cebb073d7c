//! Servers of others that serve a certificate: openssl's, nginx, and whatever takes a port.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::authority::Files;
use crate::{Running, Sandbox, Tool, free_port};

const PATIENCE: Duration = Duration::from_secs(20);
/// Where Debian puts the module (libnginx-mod-stream).
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A server that listens on a port of 127.0.0.1, and ends when dropped.
pub struct Serving {
    running: Running,
    port: u16,
}

impl Serving {
    /// Starts a program that takes a port, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it ends first, or takes too long.
    #[must_use]
    pub fn start(program: impl Fn(u16) -> Tool) -> Self {
        // Somebody else may take a free port first.
        for _ in 0..5 {
            let port = free_port();
            let running = program(port).timeout(Duration::from_secs(600)).spawn();
            let deadline = Instant::now() + PATIENCE;
            while running.is_running() && Instant::now() < deadline {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Serving { running, port };
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("the server does not listen: {}", program(0).run().picture());
    }

    /// `openssl s_server` with a leaf and what it sends beside it.
    #[must_use]
    pub fn openssl(dir: &Sandbox, files: &Files, more: &[&str]) -> Self {
        Self::openssl_with(dir, &files.cert, Some(&files.above).filter(|path| holds_something(path)), &files.key, more)
    }

    /// `openssl s_server` with any certificate, chain and key.
    #[must_use]
    pub fn openssl_with(dir: &Sandbox, cert: &Path, above: Option<&PathBuf>, key: &Path, more: &[&str]) -> Self {
        Self::start(|port| {
            let server = dir.program("openssl").args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
            let server = server.arg("-cert").arg(cert).arg("-key").arg(key).args(more);
            match above {
                Some(above) => server.arg("-cert_chain").arg(above),
                None => server,
            }
        })
    }

    /// nginx with these lines in its `http` block; `PORT` in them is the port.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn nginx(dir: &Sandbox, http: &str) -> Self {
        let block = format!(
            "http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n\
             scgi_temp_path t5; {http} }}"
        );
        Self::nginx_with(dir, "", &block)
    }

    /// nginx with these lines in its `stream` block, which hands on bytes; `PORT` in them is the port.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn nginx_stream(dir: &Sandbox, stream: &str) -> Self {
        Self::nginx_with(dir, &format!("load_module {STREAM};"), &format!("stream {{ {stream} }}"))
    }

    fn nginx_with(dir: &Sandbox, module: &str, block: &str) -> Self {
        Self::start(|port| {
            let block = block.replace("PORT", &port.to_string());
            let config = format!(
                "{module} daemon off; master_process off; pid nginx.pid; error_log stderr crit; worker_rlimit_nofile 4096;\n\
                 events {{ worker_connections 2048; }}\n{block}\n"
            );
            std::fs::write(dir.join("nginx.conf"), config).expect("write a configuration");
            dir.program("nginx").arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"])
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }
}

fn holds_something(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|stat| stat.len() > 0)
}
