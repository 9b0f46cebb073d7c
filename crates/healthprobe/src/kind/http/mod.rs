//! `http://…` and `https://…`: one request, or several, and what the answer must be.
//!
//! ```text
//! request (url, headers, body) -> agent: send, before the deadline -> answer -> expect, save -> Found
//! ```
//!
//! Redirects are not followed, because credentials would go with them; `follow=` follows those to the same server.
//! Source: THREATS G15, H2.

mod agent;
mod answer;
mod expect;
mod request;
mod session;

pub(crate) use agent::Agents;
pub(crate) use session::{Session, Sessions};

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use agent::Way;
use answer::Answer;
use anyhow::{Result, anyhow, ensure};
use common::report::{Key, Measure, Unit, Value};
use common::status::Status;
use common::threshold::Thresholds;
use common::units;
use expect::{Expect, Statuses};
use request::Request;
use session::Save;
use std::time::{Duration, Instant};

const STATUS: Key = Key::new("http_status", "The status of the last answer");

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    request: Request,
    way: Way,
    expect: Expect,
    saves: Vec<Save>,
    /// How often the request is sent.
    repeat: u64,
    /// What the last answer must be, where it differs from the others.
    last: Option<Statuses>,
    follow: u64,
    keeps_cookies: bool,
    latency: Thresholds,
    size: Thresholds,
}

impl Probe {
    /// `address` is the whole URL.
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        let request = Request::parse(address, options)?;
        let way = Way::parse(options);
        let last = options.read("last", Statuses::parse);
        let repeat = options.number("repeat", 1..=10_000).unwrap_or(1);
        if last.is_some() && repeat < 2 {
            options.mistake(anyhow!("last= needs repeat=, to say which answer is the last"));
        }
        if request.has_secrets() && !request.is_private() {
            let error = anyhow!("a secret is sent by http:// only to this machine");
            options.mistake(common::hint::with(error, "use https://"));
        }
        Ok(Self {
            expect: Expect::parse(options),
            saves: options.texts("save").iter().filter_map(|text| Save::parse(text, options)).collect(),
            follow: options.number("follow", 0..=10).unwrap_or_default(),
            keeps_cookies: options.flag("cookies"),
            latency: options.main_thresholds("latency", Unit::Seconds, ""),
            size: options.thresholds("size", Unit::Bytes, ""),
            request,
            way,
            repeat,
            last,
        })
    }

    pub(crate) fn subject(&self) -> String {
        self.request.shown()
    }

    /// Whether it shares cookies and values with others of its group.
    pub(crate) fn is_of_session(&self) -> bool {
        self.keeps_cookies || !self.saves.is_empty() || self.request.takes().next().is_some()
    }

    /// The names of the values that it saves.
    pub(crate) fn gives(&self) -> impl Iterator<Item = &str> {
        self.saves.iter().map(|save| save.name.as_str())
    }

    /// The names of the values that it needs.
    pub(crate) fn takes(&self) -> impl Iterator<Item = &str> {
        self.request.takes()
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        let looked = match context.session() {
            Some(session) => {
                let mut session = session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                self.ask(context, &mut session)
            }
            None => self.ask(context, &mut Session::default()),
        };
        // What can be said of a server that does not answer is that it does not answer.
        looked.unwrap_or_else(|error| Found::failed(status_of(&error), &error))
    }

    fn ask(&self, context: &Context, session: &mut Session) -> Result<Found> {
        let agent = context.shared.agents.of(&self.way, self.request.scheme(), self.repeat > 1)?;
        let request = self.request.filled(session)?;
        let mut slowest = Duration::ZERO;
        let mut wrong = Vec::new();
        let mut last = None;
        for number in 1..=self.repeat {
            let began = Instant::now();
            let answer = self.followed(&agent, &request, session, context.deadline)?;
            slowest = slowest.max(began.elapsed());
            let is_last = number == self.repeat;
            let mut faults = match &self.last {
                Some(statuses) if is_last => statuses.fault(answer.status).into_iter().collect(),
                Some(_) | None if number == 1 => self.expect.faults(&answer),
                Some(_) | None => self.expect.status_fault(&answer).into_iter().collect::<Vec<_>>(),
            };
            if self.repeat > 1 {
                let which = format!("answer {number} of {}", self.repeat);
                faults.iter_mut().for_each(|fault| *fault = format!("{which}: {fault}"));
            }
            let is_over = !faults.is_empty();
            wrong.append(&mut faults);
            if is_last || is_over {
                last = Some(answer);
                break;
            }
        }
        let answer = last.ok_or_else(|| anyhow!("nothing was asked"))?;
        for save in &self.saves {
            match save.of(&answer, session) {
                Ok(value) => session.keep(&save.name, value),
                Err(error) => wrong.push(format!("{error:#}")),
            }
        }
        Ok(self.judged(&answer, slowest, &wrong))
    }

    fn judged(&self, answer: &Answer, took: Duration, wrong: &[String]) -> Found {
        let size = units::size(answer.body.len() as u64);
        let more = if answer.is_cut { " and more" } else { "" };
        let times =
            if self.repeat > 1 { format!("{} answers, the last ", units::count(self.repeat)) } else { String::new() };
        let said = format!("{times}{} in {}, {size}{more}", answer.status, units::duration(took));
        let found = match wrong {
            [] => Found::ok(said),
            wrong => Found::critical(format!("{}; {said}", wrong.join("; "))),
        };
        found
            .fact(STATUS, Value::Count(answer.status.into()))
            .measure(Measure::new("latency", took.as_secs_f64(), Unit::Seconds).judged(self.latency))
            .measure(Measure::new("size", answer.body.len() as f64, Unit::Bytes).judged(self.size))
    }

    /// Sends a request, and follows redirects to the same server as often as that is wanted.
    fn followed(
        &self,
        agent: &ureq::Agent,
        request: &request::Filled,
        session: &mut Session,
        deadline: Instant,
    ) -> Result<Answer> {
        let mut answer = self.send(agent, request, session, deadline)?;
        let mut request = request.clone();
        for _ in 0..self.follow {
            let Some(target) = answer.header("location").filter(|_| (300..400).contains(&answer.status)) else { break };
            request = request.redirected(target, answer.status)?;
            answer = self.send(agent, &request, session, deadline)?;
        }
        Ok(answer)
    }

    fn send(
        &self,
        agent: &ureq::Agent,
        request: &request::Filled,
        session: &mut Session,
        deadline: Instant,
    ) -> Result<Answer> {
        let answer = agent::send(agent, request, session.cookies_for(&request.url), deadline)?;
        session.take_cookies(&request.url, &answer);
        Ok(answer)
    }
}

/// A value that is missing, or a file of ours that cannot be read, is no fault of the server.
fn status_of(error: &anyhow::Error) -> Status {
    let is_ours = common::hint::find::<Ours>(error).is_some();
    if is_ours { Status::Unknown } else { Status::Critical }
}

/// The cause is on our side.
#[derive(Debug)]
pub(crate) struct Ours(pub(crate) String);

impl std::fmt::Display for Ours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Ours {}

/// Refuses names of values that could not be written in braces.
fn checked_name(name: &str) -> Result<()> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    ensure!(is_plain && name.starts_with(|c: char| c.is_ascii_lowercase()), "{name:?} is no name: write small letters");
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
