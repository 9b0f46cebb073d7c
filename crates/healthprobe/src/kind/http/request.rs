//! What is asked: URL, method, headers, body, and values of earlier lines in braces: `{csrf}`.

use super::session::Session;
use super::{Ours, checked_name};
use crate::net::Endpoint;
use crate::options::Options;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use base64::Engine as _;
use common::dirfd;
use common::secret::Secret;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The largest file that holds a secret or a body.
const FILE: u64 = 1024 * 1024;

/// A request as it is written, before values are filled in.
#[derive(Debug)]
pub(crate) struct Request {
    url: Url,
    method: String,
    headers: Vec<(String, String)>,
    body: Option<Body>,
    /// Names and files of secrets.
    secrets: Vec<(String, PathBuf)>,
    basic: Option<PathBuf>,
    /// The names in braces that are no secrets of its own.
    takes: Vec<String>,
}

#[derive(Debug)]
enum Body {
    Text(String),
    File(PathBuf),
}

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) endpoint: Endpoint,
    /// As it is written: with brackets, and without the usual port.
    pub(crate) authority: String,
    /// Path and query, with a slash at the beginning.
    pub(crate) path: String,
}

/// A request that can be sent.
#[derive(Clone)]
pub(crate) struct Filled {
    pub(crate) url: Url,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Url {
    /// Reads `http://host[:port][/path][?query]`; user and password are refused.
    ///
    /// # Errors
    ///
    /// What is no such URL.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (scheme, usual, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => ("http", 80, rest),
            (_, Some(rest)) => ("https", 443, rest),
            (None, None) => bail!("a URL is http://HOST/… or https://HOST/…"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            let error = anyhow!("a URL holds no user and password here, because everybody can see them");
            return Err(common::hint::with(error, "put USER:PASSWORD into a file for basic-file=FILE"));
        }
        let endpoint = Endpoint::parse(authority, Some(usual))?;
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let is_plain = path.chars().all(|c| c.is_ascii_graphic());
        ensure!(is_plain, "the path of a URL holds a blank or a letter that must be written as %XX");
        Ok(Self { scheme, endpoint, authority: authority.to_owned(), path })
    }

    /// The whole of it.
    pub(crate) fn text(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.path)
    }

    /// Whether it stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = &self.endpoint.host;
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Request {
    pub(crate) fn parse(address: &str, options: &mut Options) -> Result<Self> {
        let url = Url::parse(address)?;
        let headers = options.texts("send-header").iter().filter_map(|text| header(text, options)).collect();
        let text = options.text("data").map(Body::Text);
        let body = text.or_else(|| options.file("data-file").map(Body::File));
        let usual = if body.is_some() { "POST" } else { "GET" };
        let method = options.read("method", |text| {
            const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
            let known = METHODS.iter().find(|method| **method == text);
            known.map(|method| (*method).to_owned()).with_context(|| format!("it is one of {}", METHODS.join(", ")))
        });
        let method = method.unwrap_or_else(|| usual.to_owned());
        if body.is_some() && ["GET", "HEAD"].contains(&method.as_str()) {
            options.mistake(anyhow!("{method} sends no data"));
        }
        let secrets = secrets(options);
        let basic = options.file("basic-file");
        let mut request = Self { url, method, headers, body, secrets, basic, takes: Vec::new() };
        let own: Vec<&str> = request.secrets.iter().map(|(name, _)| name.as_str()).collect();
        let takes = request.templates().flat_map(names).filter(|name| !own.contains(&name.as_str()));
        request.takes = takes.collect();
        Ok(request)
    }

    fn templates(&self) -> impl Iterator<Item = &str> {
        let body = match &self.body {
            Some(Body::Text(text)) => Some(text.as_str()),
            Some(Body::File(_)) | None => None,
        };
        std::iter::once(self.url.path.as_str()).chain(self.headers.iter().map(|(_, value)| value.as_str())).chain(body)
    }

    /// The names of the values that earlier lines must have saved.
    pub(crate) fn takes(&self) -> impl Iterator<Item = &str> {
        self.takes.iter().map(String::as_str)
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        self.url.scheme
    }

    pub(crate) fn has_secrets(&self) -> bool {
        !self.secrets.is_empty() || self.basic.is_some()
    }

    /// Whether nobody on the way can read it.
    pub(crate) fn is_private(&self) -> bool {
        self.url.scheme == "https" || self.url.is_loopback()
    }

    /// Without the query, which may hold a key. Source: THREATS H10.
    pub(crate) fn shown(&self) -> String {
        let path = self.url.path.split('?').next().unwrap_or_default();
        let method = if self.method == "GET" { String::new() } else { format!("{} ", self.method) };
        format!("{method}{}://{}{path}", self.url.scheme, self.url.authority)
    }

    /// With values and secrets in their places.
    pub(crate) fn filled(&self, session: &Session) -> Result<Filled> {
        let mut values: BTreeMap<&str, String> = BTreeMap::new();
        for name in &self.takes {
            let value = session.value(name);
            let value =
                value.ok_or_else(|| Ours(format!("{{{name}}} is not known: the line that saves it did not find it")));
            values.insert(name, value?.to_owned());
        }
        for (name, path) in &self.secrets {
            values.insert(name, secret(path)?.expose().to_owned());
        }
        let path = fill(&self.url.path, &values, percent_encoded);
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.clone(), fill(value, &values, str::to_owned))).collect();
        if let Some(file) = &self.basic {
            let text = base64::engine::general_purpose::STANDARD.encode(secret(file)?.expose());
            headers.push(("authorization".to_owned(), format!("Basic {text}")));
        }
        let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let body = match &self.body {
            None => None,
            Some(Body::File(path)) => Some(secret(path)?.expose().as_bytes().to_vec()),
            // A form, unless a header says otherwise.
            Some(Body::Text(text)) if !has_type => Some(fill(text, &values, percent_encoded).into_bytes()),
            Some(Body::Text(text)) => Some(fill(text, &values, json_escaped).into_bytes()),
        };
        if body.is_some() && !has_type {
            headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        }
        let url = Url { path, ..self.url.clone() };
        Ok(Filled { url, method: self.method.clone(), headers, body })
    }
}

impl Filled {
    /// The request that a redirect to the same server asks for.
    ///
    /// # Errors
    ///
    /// Where it leads to another server.
    pub(crate) fn redirected(&self, location: &str, status: u16) -> Result<Self> {
        let url = match location.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => Url { path: location.to_owned(), ..self.url.clone() },
            _ => Url::parse(location).context("it redirects to what is no URL")?,
        };
        let is_same = url.scheme == self.url.scheme && url.endpoint == self.url.endpoint;
        ensure!(
            is_same,
            "it redirects to {}://{}, which is another server and is not followed",
            url.scheme,
            url.authority
        );
        // 307 and 308 keep method and body; after the others a browser asks with GET. Source: RFC 9110, 15.4.
        if [307, 308].contains(&status) || ["GET", "HEAD"].contains(&self.method.as_str()) {
            return Ok(Self { url, ..self.clone() });
        }
        let headers = self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        Ok(Self { url, method: "GET".to_owned(), headers: headers.cloned().collect(), body: None })
    }
}

fn header(text: &str, options: &mut Options) -> Option<(String, String)> {
    let parts = text.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    let is_token = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let valid = parts.filter(|(name, value)| is_token(name) && !value.contains(['\r', '\n']));
    if valid.is_none() {
        options.mistake(anyhow!("send-header= is NAME: VALUE, in quotes"));
    }
    valid
}

/// `secret=NAME:FILE`
fn secrets(options: &mut Options) -> Vec<(String, PathBuf)> {
    let texts = options.texts("secret");
    let mut secrets = Vec::new();
    for text in texts {
        let parsed = options.origin().may("secret=").and_then(|()| {
            let (name, path) = text.split_once(':').context("secret= is NAME:FILE")?;
            checked_name(name)?;
            ensure!(path.starts_with('/'), "secret={name}: {path:?} is no absolute path");
            Ok((name.to_owned(), PathBuf::from(path)))
        });
        match parsed {
            Ok(secret) => secrets.push(secret),
            Err(error) => options.mistake(error),
        }
    }
    secrets
}

/// The content of a file of ours, without the newline at its end. Source: THREATS G3, G12.
fn secret(path: &Path) -> Result<Secret> {
    let read = dirfd::read_orders(path, FILE).map_err(|error| {
        let hints = common::hint::of(&error);
        let ours = anyhow::Error::new(Ours(format!("{error:#}")));
        hints.into_iter().rev().fold(ours, common::hint::with)
    });
    let mut text = read?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(Secret::from(text))
}

/// The names in braces: `{csrf}`, and no brace of JSON or of a pattern.
fn names(template: &str) -> Vec<String> {
    let starts = template.match_indices('{').map(|(at, _)| &template[at + 1..]);
    let names = starts.filter_map(|rest| rest.split_once('}').map(|(name, _)| name.to_owned()));
    names.filter(|name| checked_name(name).is_ok()).collect()
}

fn fill(template: &str, values: &BTreeMap<&str, String>, encoded: impl Fn(&str) -> String) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    // Once from left to right, so that no value can bring a name in braces with it.
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let name = from[1..].split_once('}').map(|(name, _)| name);
        match name.and_then(|name| Some((name, values.get(name)?))) {
            Some((name, value)) => {
                filled.push_str(&encoded(value));
                rest = &from[name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
    }
    filled + rest
}

/// As in a query or a form. Source: RFC 3986, 2.3.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Within the quotes of a JSON string.
fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
