//! Traefik's acme.json: chains and keys as base64 of PEM inside of JSON.
//!
//! ```text
//! v2      {"RESOLVER": {"Certificates": [{"domain": {"main": …}, "certificate": …, "key": …}]}}
//! v1.7    {"Certificates": [{"Domain": {"Main": …}, "Certificate": …, "Key": …}]}
//! v1.0    {"DomainsCertificate": {"Certs": [{"Domains": {"Main": …}, "Certificate": {"PrivateKey": …, "Certificate": …}}]}}
//! ```
//!
//! No error quotes what it read: there are private keys in it. Source: THREATS C5, G12.

use crate::pem::{self, Sections};
use anyhow::{Context as _, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// One chain and its key.
#[derive(Debug)]
pub struct Entry {
    /// The name it was asked for.
    pub domain: String,
    /// Its certificates and its key, or what is wrong with them.
    pub sections: Result<Sections>,
}

/// Reads all entries.
///
/// # Errors
///
/// What is no JSON, or none of Traefik's.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
    let object = document.as_object().context("it is no acme.json: no object")?;
    let mut lists = Vec::new();
    collect(object, &mut lists);
    for resolver in object.values().filter_map(Value::as_object) {
        collect(resolver, &mut lists);
    }
    ensure!(!lists.is_empty(), "it is no acme.json: no resolver has a list of certificates");
    Ok(lists.into_iter().flatten().filter_map(Value::as_object).map(entry).collect())
}

/// A message with the place, and without what stands there.
fn broken(error: &serde_json::Error) -> anyhow::Error {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it is cut off",
        serde_json::error::Category::Syntax | serde_json::error::Category::Data => "it is no JSON",
        serde_json::error::Category::Io => "it cannot be read",
    };
    anyhow!("{what}, at line {} column {}", error.line(), error.column())
}

fn collect<'a>(object: &'a Map<String, Value>, lists: &mut Vec<&'a Vec<Value>>) {
    lists.extend(get(object, "certificates").and_then(Value::as_array));
    lists.extend(get(object, "certs").and_then(Value::as_array));
    // A resolver that has issued nothing yet holds null.
    if lists.is_empty() && get(object, "certificates").is_some_and(Value::is_null) {
        const NONE: &Vec<Value> = &Vec::new();
        lists.push(NONE);
    }
}

/// A value by its key; Traefik changed from capitals to small letters.
fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
}

fn entry(object: &Map<String, Value>) -> Entry {
    let domains = get(object, "domain").or_else(|| get(object, "domains")).and_then(Value::as_object);
    let domain = domains.and_then(|domains| get(domains, "main")).and_then(Value::as_str).unwrap_or("(no domain)");
    Entry { domain: domain.to_owned(), sections: sections(object) }
}

fn sections(object: &Map<String, Value>) -> Result<Sections> {
    let certificate = get(object, "certificate").context("it has no certificate")?;
    let (chain, key) = match certificate.as_object() {
        Some(old) => (get(old, "certificate"), get(old, "privatekey")),
        None => (Some(certificate), get(object, "key")),
    };
    let chain = decoded(chain.context("it has no certificate")?).context("its certificate is damaged")?;
    let mut sections = pem::sections(&chain).context("its certificate is damaged")?;
    if let Some(key) = key.filter(|key| key.as_str().is_some_and(|key| !key.is_empty())) {
        let mut text = decoded(key).context("its key is damaged")?;
        let keys = pem::sections(&text).context("its key is damaged");
        text.fill(0);
        sections.keys = keys?.keys;
    }
    ensure!(!sections.certs.is_empty(), "it has no certificate");
    Ok(sections)
}

fn decoded(value: &Value) -> Result<Vec<u8>> {
    let text = value.as_str().context("it is no text")?;
    STANDARD.decode(text.trim()).map_err(|_| anyhow!("it is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pem(word: &str) -> String {
        STANDARD.encode(format!("-----BEGIN {word}-----\nAAAA\n-----END {word}-----\n"))
    }

    fn domains(text: &str) -> Vec<String> {
        let entries = read(text.as_bytes()).unwrap();
        entries.iter().map(|it| format!("{} {}", it.domain, it.sections.as_ref().unwrap().keys.len())).collect()
    }

    #[test]
    fn all_layouts_are_read() {
        let (cert, key) = (pem("CERTIFICATE"), pem("RSA PRIVATE KEY"));
        let entry =
            format!(r#"{{"domain":{{"main":"a.test"}},"certificate":"{cert}","key":"{key}","Store":"default"}}"#);
        let v2 = format!(r#"{{"le":{{"Account":{{}},"Certificates":[{entry}]}},"empty":{{"Certificates":null}}}}"#);
        let v17 =
            format!(r#"{{"Certificates":[{{"Domain":{{"Main":"b.test"}},"Certificate":"{cert}","Key":"{key}"}}]}}"#);
        let v10 = format!(
            r#"{{"DomainsCertificate":{{"Certs":[{{"Domains":{{"Main":"c.test","SANs":null}},
                "Certificate":{{"Domain":"c.test","PrivateKey":"{key}","Certificate":"{cert}"}}}}]}}}}"#
        );

        assert_eq!(domains(&v2), ["a.test 1"]);
        assert_eq!(domains(&v17), ["b.test 1"]);
        assert_eq!(domains(&v10), ["c.test 1"]);
    }

    #[test]
    fn no_error_quotes_what_it_read() {
        for text in [
            r#"{"le":{"Certificates":[{"domain":{"main":"a"},"certificate":"CANARY","key":"CANARY"}]}}"#,
            r#"{"le":{"Certificates":[{"domain":{"main":"a"},"certificate":7,"key":"CANARY"}]}}"#,
            r#"{"key": "CANARY" CANARY"#,
            r#"{"a":"CANARY"}"#,
        ] {
            let said = match read(text.as_bytes()) {
                Err(error) => format!("{error:#}"),
                Ok(entries) => format!("{:#}", entries[0].sections.as_ref().unwrap_err()),
            };

            assert!(!said.contains("CANARY"), "{said}");
        }
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));

        assert!(read(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", number in any::<i64>()) {
            drop(read(text.as_bytes()));
            let value = serde_json::to_string(&text).unwrap();
            for certificate in [value.clone(), number.to_string(), format!("[{value}]"), "null".to_owned()] {
                drop(read(format!(r#"{{"r":{{"Certificates":[{{"certificate":{certificate},"domain":{value}}}]}}}}"#).as_bytes()));
            }
        }
    }
}
