//! `clock`: whether the kernel says that the clock is synchronised; `clock:SERVER`: how far it is from that of a server.

use super::Context;
use crate::found::Found;
use crate::kernel_clock;
use crate::net::{self, Endpoint};
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use std::net::UdpSocket;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    server: Option<Endpoint>,
    offset: Thresholds,
}

/// Seconds from 1900, where NTP begins, to 1970. Source: RFC 5905, 6.
const ERA: f64 = 2_208_988_800.0;

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        let server = Some(address).filter(|address| !address.is_empty());
        Ok(Self {
            server: server.map(|address| Endpoint::parse(address, Some(123))).transpose()?,
            offset: options.main_thresholds("offset", Unit::Seconds, ">500ms,5s"),
        })
    }

    pub(crate) fn subject(&self) -> String {
        self.server.as_ref().map_or_else(|| "clock".to_owned(), |server| format!("clock {}", server.host))
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        match &self.server {
            None => self.kernel(),
            Some(server) => match offset(server, context.deadline) {
                Ok(offset) => self.judge(offset, format!("{} from {}", shown(offset), server.host)),
                // Who does not answer says nothing about our clock.
                Err(error) => Found::failed(Status::Unknown, &error),
            },
        }
    }

    fn kernel(&self) -> Found {
        match kernel_clock::state() {
            Err(error) => Found::unknown(format!("cannot ask the kernel: {error}")),
            Ok(state) if state.is_synchronised => {
                self.judge(state.offset, format!("synchronised, {} off", shown(state.offset)))
            }
            Ok(_) => Found::warning("the kernel says that nothing keeps it right").hint(
                "run systemd-timesyncd, chrony or ntpd; in a container or where the host keeps it, use clock:SERVER",
            ),
        }
    }

    /// Early and late are judged alike.
    fn judge(&self, offset: f64, said: String) -> Found {
        Found::ok(said).measure(Measure::new("offset", offset.abs(), Unit::Seconds).judged(self.offset))
    }
}

fn shown(offset: f64) -> String {
    format!("{:.3} s", offset.abs())
}

/// How far a server's clock is ahead of ours, in seconds, by one question of SNTP. Source: RFC 5905, 8.
fn offset(server: &Endpoint, deadline: Instant) -> Result<f64> {
    let address = *net::addresses(&server.host, server.port, deadline)?.first().context("it has no address")?;
    let act = || format!("cannot ask {address}");
    let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).with_context(act)?;
    socket.connect(address).with_context(act)?;
    // Version 4, client; the time is sent to know our question again in the answer.
    let mut question = [0; 48];
    question[0] = 0b00_100_011;
    let sent = now();
    question[40..48].copy_from_slice(&stamp(sent));
    socket.send(&question).with_context(act)?;
    let mut answer = [0; 48];
    socket.set_read_timeout(Some(net::left(deadline)?))?;
    let count = socket.recv(&mut answer).map_err(|error| anyhow::anyhow!("{}: {}", act(), net::why(&error)))?;
    let came = now();
    ensure!(count == 48 && answer[24..32] == question[40..48], "{}: its answer is to no question of ours", act());
    ensure!(answer[0] & 0b111 == 4 && (1..16).contains(&answer[1]), "{}: it has no time to give", act());
    let (received, replied) = (seconds(&answer[32..40]), seconds(&answer[40..48]));
    Ok(((received - sent) + (replied - came)) / 2.0)
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// 32 bits of seconds since 1900 and 32 of their fraction; it begins anew in 2036.
fn stamp(seconds: f64) -> [u8; 8] {
    let fixed = ((seconds + ERA) * 4_294_967_296.0) as u128;
    ((fixed & u128::from(u64::MAX)) as u64).to_be_bytes()
}

fn seconds(bytes: &[u8]) -> f64 {
    let fixed = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // Before 2036 the first bit is set; after that the count has begun anew.
    let era = if fixed >> 63 == 1 { 0.0 } else { 4_294_967_296.0 };
    fixed as f64 / 4_294_967_296.0 + era - ERA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_ntp_leads_back_to_itself_also_after_2036() {
        for time in [1_795_000_000.25, 2_200_000_000.5] {
            assert!((seconds(&stamp(time)) - time).abs() < 1e-5, "{time}");
        }
    }

    #[test]
    fn the_offset_from_a_server_is_half_of_the_way() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let answering = std::thread::spawn(move || {
            let mut question = [0; 48];
            let (_, client) = server.recv_from(&mut question).unwrap();
            let mut answer = [0; 48];
            (answer[0], answer[1]) = (0b00_100_100, 2);
            answer[24..32].copy_from_slice(&question[40..48]);
            answer[32..40].copy_from_slice(&stamp(now() + 100.0));
            answer[40..48].copy_from_slice(&stamp(now() + 100.0));
            server.send_to(&answer, client).unwrap();
        });

        let endpoint = Endpoint { host: "127.0.0.1".into(), port };
        let ahead = offset(&endpoint, Instant::now() + std::time::Duration::from_secs(10)).unwrap();
        answering.join().unwrap();

        assert!((ahead - 100.0).abs() < 5.0, "{ahead}");
    }
}
