//! What belongs to development: debugging, the wrong environment, checks that are off, unencrypted ways.

use super::finding::{Finding, Weight};
use super::format::{self, Url};
use common::envfile::Var;
use std::net::IpAddr;

/// Variables that say which environment it is.
const ENVIRONMENTS: [&str; 13] = [
    "NODE_ENV",
    "APP_ENV",
    "ENVIRONMENT",
    "ENV",
    "RAILS_ENV",
    "RACK_ENV",
    "FLASK_ENV",
    "DJANGO_ENV",
    "ASPNETCORE_ENVIRONMENT",
    "DOTNET_ENVIRONMENT",
    "MIX_ENV",
    "DEPLOY_ENV",
    "SYMFONY_ENV",
];
/// Variables that are to be off, what their names end in.
const OFF: [&str; 9] = [
    "DEBUG",
    "APP_DEBUG",
    "FLASK_DEBUG",
    "DJANGO_DEBUG",
    "DEBUG_TOOLBAR",
    "DISABLE_AUTH",
    "SKIP_AUTH",
    "AUTH_DISABLED",
    "WERKZEUG_DEBUG",
];
/// Variables that are to be on.
const ON: [&str; 9] = [
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "PYTHONHTTPSVERIFY",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "COOKIE_SECURE",
    "SESSION_SECURE_COOKIE",
    "SSL_VERIFY",
    "VERIFY_SSL",
    "TLS_VERIFY",
];
/// Variables for which "everybody" is the wrong answer.
const NOT_ALL: [&str; 8] = [
    "ALLOWED_HOSTS",
    "CORS_ORIGIN",
    "CORS_ORIGINS",
    "CORS_ALLOWED_ORIGINS",
    "ALLOWED_ORIGINS",
    "TRUSTED_HOSTS",
    "TRUSTED_ORIGINS",
    "CORS_ALLOW_ORIGIN",
];
/// Variables that are shown to people outside, so this machine's own name is of no use in them.
const OUTSIDE: [&str; 13] = [
    "APP_URL",
    "SITE_URL",
    "BASE_URL",
    "PUBLIC_URL",
    "FRONTEND_URL",
    "NEXTAUTH_URL",
    "AUTH_URL",
    "CLIENT_URL",
    "WEB_URL",
    "CALLBACK_URL",
    "REDIRECT_URL",
    "SERVER_URL",
    "ROOT_URL",
];
/// Ends of names that are reached on a network of one's own.
const INSIDE: [&str; 9] = ["local", "localhost", "internal", "intern", "lan", "home", "svc", "test", "corp"];

/// What does not belong into production.
pub(super) fn judge(var: &Var) -> Option<Finding> {
    let value = var.value.expose().trim();
    let doubt = |text: String| Some(Finding::of(var, Weight::Doubt, text));
    let name = var.name.to_ascii_uppercase();
    let lower = value.to_ascii_lowercase();
    let is = |words: &[&str]| words.contains(&lower.as_str());
    let ends = |names: &[&str]| names.iter().any(|end| name == *end || name.ends_with(&format!("_{end}")));
    if ENVIRONMENTS.contains(&name.as_str()) && is(&["development", "dev", "local", "test", "testing", "debug"]) {
        return doubt("does not say production".to_owned());
    }
    if ends(&OFF) && is_on(&lower) {
        return doubt("is on, as in development".to_owned());
    }
    if ends(&ON) && is(&["0", "false", "no", "off"]) {
        return doubt("is off: what it protects is unprotected".to_owned());
    }
    if ends(&NOT_ALL) && lower.split([',', ' ']).any(|part| matches!(part.trim_matches(['[', ']', '"', '\'']), "*")) {
        return doubt("lets everybody in".to_owned());
    }
    if (ends(&["LOG_LEVEL", "LOGLEVEL"])) && is(&["debug", "trace", "silly", "verbose", "all"]) {
        return doubt("logs as in development, which may write secrets to the log".to_owned());
    }
    urls(value).find_map(|url| about_url(&url, &name)).and_then(|text| doubt(text.to_owned()))
}

/// `DEBUG=express:*` is Node's way to turn it on.
fn is_on(value: &str) -> bool {
    ["1", "true", "yes", "on"].contains(&value) || value == "*" || value.ends_with(":*")
}

fn urls(value: &str) -> impl Iterator<Item = Url<'_>> {
    value.split([',', ' ']).filter_map(format::url)
}

fn about_url(url: &Url<'_>, name: &str) -> Option<&'static str> {
    let is_outside = OUTSIDE.iter().any(|end| name == *end || name.ends_with(&format!("_{end}")))
        || name.starts_with("NEXT_PUBLIC_");
    let is_web = ["http", "https", "ws", "wss"].iter().any(|scheme| url.scheme.eq_ignore_ascii_case(scheme));
    if is_web && is_outside && is_this_machine(url.host) {
        return Some("leads people outside to their own machine");
    }
    let is_open = ["http", "ws", "ftp"].iter().any(|scheme| url.scheme.eq_ignore_ascii_case(scheme));
    (is_open && !is_inside(url.host)).then_some("is not encrypted on its way: http:// where https:// could be")
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Whether a host is reached on this machine or a network of one's own: an address of such, a name without a dot, as
/// containers have them, or one that ends as only those do.
pub(super) fn is_inside(host: &str) -> bool {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
            }
        };
    }
    let lower = host.trim_end_matches('.').to_ascii_lowercase();
    let last = lower.rsplit('.').next().unwrap_or_default();
    !lower.contains('.') || INSIDE.contains(&last) || lower.ends_with(".svc.cluster.local")
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn objects(text: &str) -> bool {
        judge(&file(text).vars[0]).is_some()
    }

    #[test]
    fn development_is_objected_to() {
        for text in [
            "NODE_ENV=development\n",
            "APP_ENV=local\n",
            "DEBUG=true\n",
            "APP_DEBUG=1\n",
            "DEBUG='express:*'\n",
            "NODE_TLS_REJECT_UNAUTHORIZED=0\n",
            "SESSION_COOKIE_SECURE=False\n",
            "ALLOWED_HOSTS='*'\n",
            "CORS_ORIGIN='a.test,*'\n",
            "LOG_LEVEL=debug\n",
            "API_URL=http://api.shop.com/v1\n",
            "CORS_ORIGINS=https://a.shop.com,http://b.shop.com\n",
            "NEXTAUTH_URL=http://localhost:3000\n",
            "NEXT_PUBLIC_API=https://127.0.0.1\n",
            "WS_URL=ws://live.shop.com\n",
        ] {
            assert!(objects(text), "{text}");
        }
    }

    #[test]
    fn production_and_ways_inside_are_not() {
        for text in [
            "NODE_ENV=production\n",
            "DEBUG=false\n",
            "DEBUG=\n",
            "APP_ENV=staging\n",
            "API_URL=https://api.shop.com\n",
            "BACKEND=http://backend:8000\n",
            "OLLAMA=http://10.0.0.5:11434\n",
            "X=http://db.svc.cluster.local\n",
            "Y=http://localhost:9000\n",
            "LOG_LEVEL=info\n",
            "NODE_TLS_REJECT_UNAUTHORIZED=1\n",
            "ALLOWED_HOSTS=shop.com\n",
        ] {
            assert!(!objects(text), "{text}");
        }
    }
}
