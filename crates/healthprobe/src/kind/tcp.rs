//! `tcp:HOST:PORT`: whether a server takes connections, how fast, and what it says first.

use super::Context;
use crate::found::Found;
use crate::net::{self, Endpoint};
use crate::options::{Options, Origin};
use anyhow::{Result, anyhow};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use std::io::{Read as _, Write as _};
use std::time::Instant;

/// The most that is read of what a server says.
const SAID: usize = 64 * 1024;
/// What is shown of it where it is not what was expected.
const SHOWN: usize = 100;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    endpoint: Endpoint,
    send: Option<String>,
    expect: Option<String>,
    latency: Thresholds,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        Ok(Self {
            endpoint: Endpoint::parse(address, None)?,
            send: options.text("send").map(|text| text.replace("\\r", "\r").replace("\\n", "\n")),
            expect: options.text("expect"),
            latency: options.main_thresholds("latency", Unit::Seconds, ""),
        })
    }

    pub(crate) fn subject(&self) -> String {
        let Endpoint { host, port } = &self.endpoint;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        let began = Instant::now();
        let talked = net::connect(&self.endpoint, context.deadline).and_then(|socket| {
            let latency = began.elapsed();
            self.talk(socket, context.deadline).map(|said| (latency, said))
        });
        match talked {
            Err(error) => Found::failed(Status::Critical, &error),
            Ok((latency, said)) => {
                let shown = common::units::duration(latency);
                let said = if said.is_empty() { String::new() } else { format!(", said {said:?}") };
                Found::ok(format!("connected in {shown}{said}"))
                    .measure(Measure::new("latency", latency.as_secs_f64(), Unit::Seconds).judged(self.latency))
            }
        }
    }

    /// Sends what is to be sent, and reads until what is expected has come.
    fn talk(&self, mut socket: std::net::TcpStream, deadline: Instant) -> Result<String> {
        if let Some(text) = &self.send {
            socket.set_write_timeout(Some(net::left(deadline)?))?;
            socket.write_all(text.as_bytes()).map_err(|error| anyhow!("cannot write: {}", net::why(&error)))?;
        }
        let Some(expected) = &self.expect else { return Ok(String::new()) };
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = net::left(deadline).and_then(|left| socket.set_read_timeout(Some(left)));
            let count = read.and_then(|()| socket.read(&mut buffer));
            let end = match count {
                Ok(0) => "and closed the connection",
                Err(error) if said.is_empty() => return Err(anyhow!("it said nothing: {}", net::why(&error))),
                Err(_) => "and no more in time",
                Ok(count) => {
                    said.extend_from_slice(&buffer[..count]);
                    let text = common::text::bytes(&said);
                    if text.contains(expected) {
                        return Ok(shown(&text));
                    }
                    if said.len() < SAID {
                        continue;
                    }
                    "and more"
                }
            };
            return Err(anyhow!("it said {:?} {end}, not {expected:?}", shown(&common::text::bytes(&said))));
        }
    }
}

/// The first line, cut.
fn shown(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(SHOWN).collect()
}
