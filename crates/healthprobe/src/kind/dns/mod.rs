//! `dns:NAME`: what a name stands for, by the resolver of the system, or by asking one server for one type.

mod message;
mod servers;

use super::Context;
use crate::found::Found;
use crate::judge::Operator;
use crate::net::{self, Endpoint, Until};
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use message::{Answer, Type};
use regex_lite::Regex;
use servers::Silence;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long a packet may be on its way before the question is sent again.
const AGAIN: Duration = Duration::from_secs(2);

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    name: String,
    kind: Option<Type>,
    server: Option<Endpoint>,
    expect: Vec<(Operator, String, Option<Regex>)>,
    latency: Thresholds,
    count: Thresholds,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(net::is_host(address), "{address:?} is no name");
        let expect = options.compared("answer").into_iter().filter_map(|(operator, value)| {
            test(operator, value).map_err(|error| options.mistake(error.context("answer"))).ok()
        });
        let expect = expect.collect();
        Ok(Self {
            name: address.trim_end_matches('.').to_owned(),
            kind: options.read("type", Type::parse),
            server: options.read("server", |text| Endpoint::parse(text, Some(53))),
            expect,
            latency: options.main_thresholds("latency", Unit::Seconds, ""),
            count: options.thresholds("count", Unit::Count, "<1"),
        })
    }

    pub(crate) fn subject(&self) -> String {
        let kind = self.kind.map_or_else(String::new, |kind| format!(" {}", kind.word()));
        let server = self.server.as_ref().map_or_else(String::new, |server| format!(" by {}", server.host));
        format!("dns {}{kind}{server}", self.name)
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        let began = Instant::now();
        match self.answers(context.deadline) {
            Err(error) => Found::failed(Status::Critical, &error),
            Ok((answers, instead)) => self.judge(&answers, instead.as_deref(), began.elapsed()),
        }
    }

    /// `instead` is who answered where that was not who was asked first, and why.
    fn judge(&self, answers: &[String], instead: Option<&str>, took: Duration) -> Found {
        let shown = if answers.is_empty() { "no answer of this type".to_owned() } else { answers.join(", ") };
        let instead = instead.map_or_else(String::new, |instead| format!("; {instead}"));
        let said = format!("{shown}, in {}{instead}", common::units::duration(took));
        let faults = self.expect.iter().filter_map(|(operator, value, pattern)| {
            let is_it = |answer: &String| match pattern {
                Some(pattern) => pattern.is_match(answer),
                None => answer.eq_ignore_ascii_case(value.trim_end_matches('.')),
            };
            let is_there = answers.iter().any(is_it);
            match operator {
                Operator::Is | Operator::Matches if !is_there => Some(format!("{value} is not among its answers")),
                Operator::IsNot | Operator::MatchesNot if is_there => Some(format!("{value} is among its answers")),
                _ => None,
            }
        });
        let faults: Vec<_> = faults.collect();
        let found =
            if faults.is_empty() { Found::ok(said) } else { Found::critical(format!("{}; {said}", faults.join("; "))) };
        found
            .measure(Measure::new("latency", took.as_secs_f64(), Unit::Seconds).judged(self.latency))
            .measure(Measure::new("count", answers.len() as f64, Unit::Count).judged(self.count))
    }

    fn answers(&self, deadline: Instant) -> Result<(Vec<String>, Option<String>)> {
        let kind = match (self.kind, &self.server) {
            (None, None) => {
                let addresses = net::addresses(&self.name, 0, deadline)?;
                let mut texts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                texts.dedup();
                return Ok((texts, None));
            }
            (kind, _) => kind.unwrap_or(Type::A),
        };
        let servers = match &self.server {
            Some(server) => vec![server.clone()],
            None => servers::configured()?,
        };
        servers::first_that_knows(&servers, deadline, |server, until| ask(server, &self.name, kind, until))
    }
}

fn test(operator: Operator, value: String) -> Result<(Operator, String, Option<Regex>)> {
    let pattern = match operator {
        Operator::Matches | Operator::MatchesNot => {
            Some(Regex::new(&value).map_err(|error| anyhow!("{value:?} is no pattern: {error}"))?)
        }
        Operator::Is | Operator::IsNot => None,
        _ => bail!("an answer is compared with = != ~ !~"),
    };
    Ok((operator, value, pattern))
}

/// Asks one server, first by UDP, and again by TCP where the answer was cut.
fn ask(server: &Endpoint, name: &str, kind: Type, deadline: Instant) -> Result<Vec<String>, Silence> {
    let address = net::addresses(&server.host, server.port, deadline).map_err(Silence::AskAnother)?;
    let address = *address.first().context("the server has no address").map_err(Silence::AskAnother)?;
    match answer(address, name, kind, deadline).with_context(|| format!("cannot ask {address}")) {
        Ok(Answer::Records(records)) => Ok(records),
        Ok(Answer::Refused(why)) => Err(Silence::Final(anyhow!("{address} says {why} of {name}"))),
        Ok(Answer::Unable(why)) => Err(Silence::AskAnother(anyhow!("{address} says {why} of {name}"))),
        Ok(Answer::Cut) => Err(Silence::AskAnother(anyhow!("cannot ask {address}: its answer is cut by TCP, too"))),
        Err(error) => Err(Silence::AskAnother(error)),
    }
}

fn answer(server: SocketAddr, name: &str, kind: Type, deadline: Instant) -> Result<Answer> {
    // What cannot be guessed keeps forged answers out; the kernel has chosen the port as well.
    let id = fresh_id();
    let question = message::question(id, name, kind);
    match by_udp(server, &question, (id, kind), deadline)? {
        Answer::Cut => message::read(&by_tcp(server, &question, deadline)?, id, kind),
        whole => Ok(whole),
    }
}

fn fresh_id() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    // Seeded by the system, and another one each time.
    RandomState::new().hash_one(0) as u16
}

fn by_udp(server: SocketAddr, question: &[u8], (id, kind): (u16, Type), deadline: Instant) -> Result<Answer> {
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    let mut buffer = [0; 4096];
    loop {
        socket.send(question)?;
        let until = deadline.min(Instant::now() + AGAIN);
        while let Ok(left) = net::left(until) {
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buffer) {
                // What is no answer to this question is somebody else's, and the right one may still come.
                Ok(count) if buffer[..count].get(..2) != question.get(..2) => {}
                Ok(count) => return message::read(&buffer[..count], id, kind),
                Err(error) if net::is_late(&error) => break,
                Err(error) => bail!("{}", net::why(&error)),
            }
        }
        if net::left(deadline).is_err() {
            bail!("no answer in time");
        }
    }
}

fn by_tcp(server: SocketAddr, question: &[u8], deadline: Instant) -> Result<Vec<u8>> {
    let socket = TcpStream::connect_timeout(&server, net::left(deadline)?)?;
    let mut socket = Until::new(socket, deadline);
    let length = u16::try_from(question.len())?.to_be_bytes();
    socket.socket.set_write_timeout(Some(net::left(deadline)?))?;
    socket.socket.write_all(&[&length[..], question].concat())?;
    let mut length = [0; 2];
    socket.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    socket.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_never_answers_costs_its_time() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let began = Instant::now();

        let server = Endpoint { host: "127.0.0.1".to_owned(), port: silent.local_addr().unwrap().port() };

        let Err(Silence::AskAnother(error)) = ask(&server, "a.test", Type::A, began + Duration::from_millis(300))
        else {
            panic!("it said something");
        };

        assert!(format!("{error:#}").ends_with("no answer in time"), "{error:#}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn answers_are_compared() {
        let verdict = |line: &str| {
            let mut options = Options::new(common::words::list(line).unwrap(), Origin::Operator);
            let probe = Probe::parse("a.test", &mut options, Origin::Operator).unwrap();
            assert!(options.finish().is_empty());
            probe.judge(&["192.0.2.1".to_owned()], None, Duration::from_millis(5)).verdict()
        };

        assert_eq!(verdict("answer=192.0.2.1 answer!=192.0.2.9 answer~^192"), Status::Ok);
        assert_eq!(verdict("answer=192.0.2.2"), Status::Critical);
        assert_eq!(verdict("answer!~192"), Status::Critical);
        assert_eq!(verdict("count<2"), Status::Critical);
    }
}
