//! Where the server is, what it asks for, and what is asked of it.

use std::{fmt, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Several servers of one cluster are separated by commas.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) urls: String,
    pub(crate) token: Option<String>,
    /// Whom to believe that the server is the right one, beside those whom the system believes.
    pub(crate) authorities: Option<PathBuf>,
    /// What this program shows in its turn: certificate and key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// Whether others on the way may read and change what is sent.
    pub(crate) is_plain: bool,
}

impl Address {
    pub(crate) fn new(urls: impl Into<String>) -> Self {
        Self { urls: urls.into(), ..Self::default() }
    }

    /// Each server's.
    pub(crate) fn urls(&self) -> Vec<&str> {
        self.urls.split(',').map(str::trim).filter(|url| !url.is_empty()).collect()
    }

    /// The user and the password that a URL names, as they are written there; a user alone is a token.
    pub(crate) fn user(&self) -> Option<(&str, Option<&str>)> {
        let named = self.urls().into_iter().find_map(|url| {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            Some(rest.rsplit_once('@')?.0)
        })?;
        Some(named.split_once(':').map_or((named, None), |(user, password)| (user, Some(password))))
    }

    /// Whether to speak to none but by TLS: where that was asked for, and wherever the way leads out of this machine.
    pub(crate) fn requires_tls(&self) -> bool {
        let is_wanted = self.authorities.is_some() || self.certificate.is_some();
        is_wanted || !self.is_plain && !self.urls().into_iter().all(is_loopback)
    }
}

/// For people: without token and passwords.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<&str> =
            self.urls().into_iter().map(|url| url.rsplit_once('@').map_or(url, |(_, host)| host)).collect();
        f.write_str(&shown.join(", "))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, _)) => host,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What is said to an agent and to a pool alike of how to reach the server, for builders with an `address` and a `patience`.
macro_rules! server_settings {
    ($Builder:ident) => {
        impl $Builder {
            /// What the server wants to be told.
            pub fn token(mut self, token: impl Into<String>) -> Self {
                self.address.token = Some(token.into());
                self
            }

            /// A file of certificates (PEM) by whose holders the server may be vouched for, beside those that the system
            /// trusts. With it, TLS is required.
            #[doc(alias = "ca")]
            pub fn authorities(mut self, file: impl Into<std::path::PathBuf>) -> Self {
                self.address.authorities = Some(file.into());
                self
            }

            /// The files (PEM) of the certificate and the key that this side shows in its turn. With them, TLS is required.
            #[doc(alias = "mtls")]
            pub fn certificate(
                mut self,
                certificate: impl Into<std::path::PathBuf>,
                key: impl Into<std::path::PathBuf>,
            ) -> Self {
                self.address.certificate = Some((certificate.into(), key.into()));
                self
            }

            /// Whether to speak without TLS to a server on another machine, so that others on the way can read and change
            /// all that is sent; by default not.
            pub fn allow_plain(mut self, allowed: bool) -> Self {
                self.address.is_plain = allowed;
                self
            }

            /// How long the server may take to be there, at the start; by default 10 seconds.
            pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.patience = timeout;
                self
            }
        }
    };
}

pub(crate) use server_settings;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine_unless_asked_for() {
        for here in
            ["nats://127.0.0.1:4222", "localhost", "nats://me:word@[::1]:4222", "nats://127.0.0.1,nats://localhost:1"]
        {
            assert!(!Address::new(here).requires_tls(), "{here}");
        }
        let away =
            ["nats://10.0.0.1:4222", "host", "nats://127.0.0.1@host", "nats://127.0.0.1,nats://host", "127.0.0.1.host"];
        for away in away {
            assert!(Address::new(away).requires_tls(), "{away}");
            assert!(!Address { is_plain: true, ..Address::new(away) }.requires_tls(), "{away}");
        }
        let asked = Address { authorities: Some("ca.pem".into()), is_plain: true, ..Address::new("localhost") };
        assert!(asked.requires_tls());
    }

    #[test]
    fn users_are_read_from_urls() {
        let user = |urls: &'static str| Address::new(urls).user().map(|(user, word)| format!("{user} {word:?}"));
        assert_eq!(user("nats://me:a@b@host:1").unwrap(), "me Some(\"a@b\")");
        assert_eq!(user("nats://host, nats://token@other").unwrap(), "token None");
        assert_eq!(user("nats://host:1"), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let address = Address { token: Some("secret".into()), ..Address::new("nats://me:secret@a:1,nats://b:2") };
        assert_eq!(format!("{address} {address:?}"), "a:1, nats://b:2 Address(a:1, nats://b:2)");
    }
}
