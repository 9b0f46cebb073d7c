//! What a server answered.

use anyhow::{Result, anyhow};
use serde_json::Value;
use std::borrow::Cow;

/// An answer, read to its end or to its limit.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    /// At most 1 MiB.
    pub(crate) body: Vec<u8>,
    /// There was more.
    pub(crate) is_cut: bool,
}

impl Answer {
    /// The first header of a name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All headers of a name in small letters.
    pub(crate) fn headers_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON. Its own error would quote the body.
    ///
    /// # Errors
    ///
    /// Where it is none, or was cut.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|_| anyhow!("the body is no JSON"))
    }
}
