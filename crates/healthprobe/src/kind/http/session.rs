//! What lines of one group share: cookies, and values saved from answers. A cookie goes back only to the host it came from.

use super::answer::Answer;
use super::request::Url;
use super::{Ours, checked_name};
use crate::options::Options;
use anyhow::{Context as _, Result, anyhow, bail};
use regex_lite::Regex;
use std::collections::HashMap;
use std::sync::Mutex;

/// The most cookies that are kept of one host, and the longest.
const COOKIES: usize = 100;
const LONGEST: usize = 8 * 1024;

/// Cookies and values of one group.
#[derive(Debug, Default)]
pub(crate) struct Session {
    cookies: Vec<Cookie>,
    values: HashMap<String, String>,
}

/// The sessions of a run, by the names of their groups.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<String, Mutex<Session>>);

impl Sessions {
    /// One for each of these groups.
    pub(crate) fn of<'a>(groups: impl Iterator<Item = &'a str>) -> Self {
        Self(groups.map(|group| (group.to_owned(), Mutex::default())).collect())
    }

    /// That of a group, if it has one.
    pub(crate) fn get(&self, group: &str) -> Option<&Mutex<Session>> {
        self.0.get(group)
    }
}

#[derive(Debug)]
struct Cookie {
    host: String,
    name: String,
    value: String,
    path: String,
    is_secure: bool,
}

impl Session {
    /// A value that an earlier line has saved.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Saves a value for later lines.
    pub(crate) fn keep(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), value);
    }

    /// The Cookie header for a URL.
    pub(crate) fn cookies_for(&self, url: &Url) -> Option<String> {
        let is_safe = url.scheme == "https" || url.is_loopback();
        let path = url.path.split('?').next().unwrap_or_default();
        let fits = |cookie: &&Cookie| {
            let below = path.strip_prefix(cookie.path.as_str());
            let is_below =
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie.path.ends_with('/'));
            cookie.host == url.endpoint.host && is_below && (is_safe || !cookie.is_secure)
        };
        let pairs: Vec<_> =
            self.cookies.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Keeps the cookies of an answer; one that is over is forgotten. Source: RFC 6265, 5.3.
    pub(crate) fn take_cookies(&mut self, url: &Url, answer: &Answer) {
        for text in answer.headers_of("set-cookie").filter(|text| text.len() <= LONGEST) {
            let Some(cookie) = Cookie::parse(text, &url.endpoint.host) else { continue };
            let is_same = |other: &Cookie| (&other.host, &other.name) == (&cookie.host, &cookie.name);
            self.cookies.retain(|other| !is_same(other));
            if !is_over(text) && self.cookies.len() < COOKIES {
                self.cookies.push(cookie);
            }
        }
    }

    /// The value of a cookie, whatever its host.
    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().rev().find(|cookie| cookie.name == name).map(|cookie| cookie.value.as_str())
    }
}

impl Cookie {
    fn parse(text: &str, host: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let is_plain = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if name.is_empty() || !is_plain(name) || !is_plain(value) {
            return None;
        }
        let attribute = |wanted: &str| {
            let pairs = text.split(';').skip(1).map(|part| part.split_once('=').unwrap_or((part, "")));
            pairs.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| key.eq_ignore_ascii_case(wanted))
        };
        let path = attribute("path").map(|(_, path)| path).filter(|path| path.starts_with('/')).unwrap_or("/");
        Some(Self {
            host: host.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            path: path.to_owned(),
            is_secure: attribute("secure").is_some(),
        })
    }
}

/// Whether a Set-Cookie takes the cookie away.
fn is_over(text: &str) -> bool {
    let age = text.split(';').skip(1).find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        key.eq_ignore_ascii_case("max-age").then(|| value.trim().parse::<i64>().ok())?
    });
    age.is_some_and(|age| age <= 0)
}

/// `save=NAME:FROM:WHAT`: a value for later lines.
#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) name: String,
    from: From,
}

#[derive(Debug)]
enum From {
    /// The first group of a pattern, or all that it matches.
    Body(Regex),
    /// A JSON pointer.
    Json(String),
    Header(String),
    Cookie(String),
}

impl Save {
    pub(crate) fn parse(text: &str, options: &mut Options) -> Option<Self> {
        Self::read(text).map_err(|error| options.mistake(error.context(format!("save={text}")))).ok()
    }

    fn read(text: &str) -> Result<Self> {
        const FORM: &str = "write NAME:body:REGEX, NAME:json:/POINTER, NAME:header:HEADER or NAME:cookie:COOKIE";
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(from), Some(what)) = (parts.next(), parts.next(), parts.next()) else { bail!(FORM) };
        checked_name(name)?;
        let from = match from {
            "body" => From::Body(Regex::new(what).map_err(|error| anyhow!("{what:?} is no pattern: {error}"))?),
            "json" if what.starts_with('/') => From::Json(what.to_owned()),
            "header" => From::Header(what.to_ascii_lowercase()),
            "cookie" => From::Cookie(what.to_owned()),
            _ => bail!(FORM),
        };
        Ok(Self { name: name.to_owned(), from })
    }

    /// The value in an answer. It is never told: it may be a token.
    pub(crate) fn of(&self, answer: &Answer, session: &Session) -> Result<String> {
        let found = match &self.from {
            From::Body(pattern) => {
                let body = answer.text();
                pattern.captures(&body).and_then(|found| {
                    let value = found.get(1).or_else(|| found.get(0))?;
                    Some(value.as_str().to_owned())
                })
            }
            From::Json(pointer) => answer.json()?.pointer(pointer).map(super::expect::plain),
            From::Header(name) => answer.header(name).map(str::to_owned),
            From::Cookie(name) => session.cookie(name).map(str::to_owned),
        };
        let value = found
            .filter(|value| !value.is_empty())
            .with_context(|| format!("it has no value for {{{}}}", self.name))?;
        if value.contains(['\r', '\n']) {
            return Err(Ours(format!("the value for {{{}}} has several lines", self.name)).into());
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status: 200, headers, body: body.into(), is_cut: false }
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_below_its_path_only() {
        let mut session = Session::default();
        let url = |text| Url::parse(text).unwrap();
        let cookies =
            [("set-cookie", "a=1; Path=/app"), ("set-cookie", "b=2; Secure; HttpOnly"), ("set-cookie", "bad")];
        session.take_cookies(&url("https://one.test/"), &answer(&cookies, ""));

        assert_eq!(session.cookies_for(&url("https://one.test/app/x?y")).as_deref(), Some("a=1; b=2"));
        assert_eq!(session.cookies_for(&url("https://one.test/apple")).as_deref(), Some("b=2"));
        assert_eq!(session.cookies_for(&url("http://one.test/app")).as_deref(), Some("a=1"));
        assert_eq!(session.cookies_for(&url("https://two.test/app")), None);

        session.take_cookies(&url("https://one.test/"), &answer(&[("set-cookie", "a=; Max-Age=0")], ""));
        assert_eq!(session.cookies_for(&url("https://one.test/app")).as_deref(), Some("b=2"));
    }

    #[test]
    fn values_come_from_body_json_header_and_cookie() {
        let answer = answer(&[("x-token", "t1"), ("set-cookie", "c=c1")], r#"{"a":{"b":7}} name="csrf" value="v1""#);
        let mut session = Session::default();
        session.take_cookies(&Url::parse("http://h/").unwrap(), &answer);
        let of = |text: &str| Save::read(text).unwrap().of(&answer, &session).ok();

        assert_eq!(of(r#"x:body:value="([^"]+)""#).as_deref(), Some("v1"));
        assert_eq!(of("x:header:X-Token").as_deref(), Some("t1"));
        assert_eq!(of("x:cookie:c").as_deref(), Some("c1"));
        assert_eq!(of("x:body:nowhere"), None);
        for bad in ["x", "x:body", "X:body:a", "x:body:(", "x:json:a", "x:where:a"] {
            assert!(Save::read(bad).is_err(), "{bad}");
        }
    }
}
