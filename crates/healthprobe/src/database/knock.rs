//! Logging in: at one server after the other, encrypted and in clear text in the order that `sslmode` has.

use super::login::{Binding, Endpoint, Host, Login, SslMode, Wanted};
use super::settings::Settings;
use super::tls;
use super::trouble::{self, Trouble};
use super::wire::{self, Wire};
use anyhow::{Result, anyhow};
use common::hint;
use common::process::User;
use std::future::Future;
use std::time::Instant;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use tokio_postgres::config::{ChannelBinding, SslMode as DriverMode, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What came of one try to log in.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) connection: JoinHandle<()>,
}

/// Logging in: everything that is needed for it.
pub(super) struct Knock<'a> {
    pub(super) login: &'a Login,
    pub(super) settings: &'a Settings,
    pub(super) run_as: Option<&'a User>,
    pub(super) deadline: Instant,
}

impl Knock<'_> {
    /// All servers of the address in turn; with `prefer-standby` once more, and then any will do.
    pub(super) async fn anywhere(&self) -> Result<(Opened, String), Trouble> {
        let wanted = match self.login.wanted {
            Wanted::PreferStandby => &[Wanted::Standby, Wanted::Any][..],
            ref wanted => std::slice::from_ref(wanted),
        };
        let mut troubles: Vec<Trouble> = Vec::new();
        for wanted in wanted {
            let count = self.login.endpoints.len();
            for (number, endpoint) in self.login.endpoints.iter().enumerate() {
                let left = self.deadline.saturating_duration_since(Instant::now());
                let share = left / u32::try_from(count - number).unwrap_or(1);
                let share = self.login.patience.map_or(share, |patience| patience.min(left));
                let until = Instant::now() + share;
                match self.timed(endpoint, *wanted, until).await {
                    Ok(opened) => return Ok((opened, endpoint.shown())),
                    Err(trouble) => troubles.push(trouble),
                }
            }
        }
        Err(worst(troubles))
    }

    async fn timed(&self, endpoint: &Endpoint, wanted: Wanted, until: Instant) -> Result<Opened, Trouble> {
        match timeout_at(until.into(), self.at(endpoint, wanted, until)).await {
            Ok(opened) => opened,
            Err(_) => Err(Trouble::theirs(hint::with(
                anyhow!("cannot connect to {}: it accepts connections, but gives no answer in time", endpoint.shown()),
                "is it overloaded or stopped by a signal? its log says more",
            ))),
        }
    }

    /// One server, in the order of ways that `sslmode` has.
    async fn at(&self, endpoint: &Endpoint, wanted: Wanted, until: Instant) -> Result<Opened, Trouble> {
        let is_socket = matches!(endpoint.host, Host::Socket(_));
        let ways: &[bool] = match self.login.sslmode {
            _ if is_socket => &[false],
            SslMode::Disable => &[false],
            SslMode::Allow => &[false, true],
            SslMode::Prefer => &[true, false],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[true],
        };
        let mut first: Option<Trouble> = None;
        for by_tls in ways {
            match self.by(endpoint, *by_tls, until).await {
                Ok(opened) => return self.check(opened, endpoint, wanted).await,
                // The second way is for a server that wants the other one, not for one that is not there.
                Err((trouble, Next::Stop)) => return Err(first.unwrap_or(trouble)),
                Err((trouble, Next::OtherWay)) => first = Some(first.unwrap_or(trouble)),
            }
        }
        Err(first.unwrap_or_else(|| Trouble::ours(anyhow!("sslmode leaves no way"))))
    }

    async fn by(&self, endpoint: &Endpoint, by_tls: bool, until: Instant) -> Result<Opened, (Trouble, Next)> {
        let act = format!("cannot connect to {}", endpoint.shown());
        let ours = |error: anyhow::Error| (Trouble::ours(error).context(act.clone()), Next::Stop);
        let config = self.config(endpoint, by_tls).map_err(ours)?;
        // Before anything is sent, as libpq does it: roots that are missing are no fault of the server.
        let tls = by_tls.then(|| tls::config(self.settings, self.login.sslmode, self.login.is_direct)).transpose();
        let tls = tls.map_err(ours)?;
        let wire = wire::dial(endpoint, self.run_as, until.into()).await;
        let wire = wire.map_err(|error| (Trouble::theirs(error), Next::Stop))?;
        self.check_peer(&wire).map_err(|error| (Trouble::theirs(error).context(act.clone()), Next::Stop))?;
        let refused = |error: &tokio_postgres::Error| {
            let next = if is_about_the_way(error) { Next::OtherWay } else { Next::Stop };
            let trouble = match trouble::lacks_password(error) {
                true => Trouble::ours(hint::with(
                    anyhow!("the server asks for a password, and none was found"),
                    self.login.advice_on_password(),
                )),
                false => Trouble::theirs(trouble::plain(error)),
            };
            (trouble.context(act.clone()), next)
        };
        let Some(tls) = tls else {
            let opened = config.connect_raw(wire, NoTls).await;
            return opened.map(|(client, connection)| opened_by(client, connection)).map_err(|error| refused(&error));
        };
        let name = match &endpoint.host {
            Host::Tcp(name, _) => name.as_str(),
            Host::Socket(_) => "localhost",
        };
        let mut maker = MakeRustlsConnect::new(tls);
        let connect = <MakeRustlsConnect as MakeTlsConnect<Wire>>::make_tls_connect(&mut maker, name);
        let connect = connect.map_err(|never| match never {})?;
        let opened = config.connect_raw(wire, connect).await;
        opened.map(|(client, connection)| opened_by(client, connection)).map_err(|error| refused(&error))
    }

    fn config(&self, endpoint: &Endpoint, by_tls: bool) -> Result<Config> {
        let login = self.login;
        let mut config = Config::new();
        config.user(&login.user).dbname(&login.database).application_name(&login.application);
        if let Some(options) = &login.options {
            config.options(options);
        }
        if let Some(password) = login.password(endpoint)? {
            config.password(password.expose());
        }
        // The driver would fall back to clear text by itself where the server has no TLS; with `prefer` so do we.
        config.ssl_mode(match (by_tls, login.sslmode) {
            (false, _) => DriverMode::Disable,
            (true, SslMode::Prefer) => DriverMode::Prefer,
            (true, _) => DriverMode::Require,
        });
        config.ssl_negotiation(if login.is_direct { SslNegotiation::Direct } else { SslNegotiation::Postgres });
        config.channel_binding(match login.binding {
            Binding::Disable => ChannelBinding::Disable,
            Binding::Prefer => ChannelBinding::Prefer,
            // On a socket nobody stands in between.
            Binding::Require if matches!(endpoint.host, Host::Socket(_)) => ChannelBinding::Prefer,
            Binding::Require => ChannelBinding::Require,
        });
        Ok(config)
    }

    /// `requirepeer`: the server's process must belong to that user.
    fn check_peer(&self, wire: &Wire) -> Result<()> {
        let (Some(wanted), Some(uid)) = (&self.login.peer, wire.peer()) else { return Ok(()) };
        let user = User::named(wanted)?;
        if user.uid != uid {
            return Err(anyhow!("the server belongs to user {uid}, not to {wanted:?} as requirepeer asks for"));
        }
        Ok(())
    }

    /// `target_session_attrs`: whether this server will do.
    async fn check(&self, opened: Opened, endpoint: &Endpoint, wanted: Wanted) -> Result<Opened, Trouble> {
        const ASK: &str = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";
        if matches!(wanted, Wanted::Any | Wanted::PreferStandby) {
            return Ok(opened);
        }
        let answer = opened.client.simple_query(ASK).await.map_err(|error| Trouble::theirs(trouble::plain(&error)))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0) == Some("t"), row.get(1) == Some("on"))),
            _ => None,
        });
        let (is_standby, is_read_only) = row.unwrap_or_default();
        let will_do = match wanted {
            Wanted::Any | Wanted::PreferStandby => true,
            Wanted::ReadWrite => !is_standby && !is_read_only,
            Wanted::ReadOnly => is_standby || is_read_only,
            Wanted::Primary => !is_standby,
            Wanted::Standby => is_standby,
        };
        if will_do {
            return Ok(opened);
        }
        let role = if is_standby { "a standby" } else { "a primary" };
        let error = anyhow!("cannot use {}: it is {role}, which target_session_attrs does not want", endpoint.shown());
        Err(Trouble::theirs(error))
    }
}

/// What to do after a server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Stop,
    OtherWay,
}

/// Whether a server may let us in by the other way: it says so by its host-based authentication, or TLS itself failed.
fn is_about_the_way(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map(|code| code.code().to_owned());
    code.map_or_else(|| error.to_string().contains("TLS"), |code| code == "28000")
}

fn opened_by<S, T>(client: Client, connection: tokio_postgres::Connection<S, T>) -> Opened
where
    tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    let work = async move {
        if let Err(error) = connection.await {
            common::debug!("the connection ended: {:#}", trouble::plain(&error));
        }
    };
    Opened { client, connection: tokio::spawn(work) }
}

/// Of several servers all are told; the verdict is the worst.
fn worst(troubles: Vec<Trouble>) -> Trouble {
    let status = troubles.iter().map(|trouble| trouble.status).max();
    let mut texts: Vec<_> = troubles.iter().map(|trouble| format!("{:#}", trouble.error)).collect();
    texts.dedup();
    let several = texts.len() > 1;
    let mut troubles = troubles.into_iter();
    match (troubles.next(), status) {
        (Some(first), Some(status)) if several => {
            let hints = hint::of(&first.error);
            let error = anyhow!(texts.join("; "));
            let error = hints.into_iter().fold(error, hint::with);
            Trouble { status, error }
        }
        (Some(first), _) => first,
        (None, _) => Trouble::ours(anyhow!("the address names no server")),
    }
}
