//! Requests to one registry: tokens, redirects, time limits. Source: OCI distribution specification 1.1; Docker's "Token
//! Authentication Specification". Must never send credentials to what is not this machine without TLS.

use std::io::Read;
use std::sync::Arc;

use gantry_core::limits::{IMAGE_DOCUMENT_BYTES_MAX, REGISTRY_TIMEOUT};
use serde::Deserialize;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body};

use super::PullError;
use super::reference::{Reference, is_this_machine};
use crate::bounded::read_document;

/// Who pulls.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password or token; it is sent, and never shown.
    pub password: String,
}

/// Where hosts keep the certificates they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The most bytes of a bundle of certificates.
const BUNDLE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A registry, and what it gave us to be let in.
pub(super) struct Client<'a> {
    agent: Agent,
    reference: &'a Reference,
    credentials: Option<&'a Credentials>,
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a registry asks for before it answers.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    /// Where a token is to be had.
    Bearer(String),
}

impl<'a> Client<'a> {
    pub(super) fn new(reference: &'a Reference, credentials: Option<&'a Credentials>) -> Self {
        let local = is_this_machine(reference.origin.trim_start_matches("http://"));
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(!local)
            .user_agent("gantry")
            .timeout_connect(Some(REGISTRY_TIMEOUT))
            .timeout_recv_response(Some(REGISTRY_TIMEOUT))
            .timeout_per_read(Some(REGISTRY_TIMEOUT));
        if local {
            config = config.proxy(None);
        } else {
            config = config.tls_config(tls());
        }
        Self {
            agent: config.build().new_agent(),
            reference,
            credentials,
            authorization: None,
        }
    }

    /// Asks for something of the repository, from a byte on; gets a token first where one is asked for.
    pub(super) fn get(&mut self, what: &str, accept: &str, from: u64) -> Result<Response<Body>, PullError> {
        let url = format!(
            "{}/v2/{}/{what}",
            self.reference.origin, self.reference.repository
        );
        let mut answer = self.ask(&url, accept, from)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let challenge = answer
                .headers()
                .get("www-authenticate")
                .and_then(|value| value.to_str().ok());
            let challenge = challenge
                .and_then(parse_challenge)
                .ok_or_else(|| self.unauthorized())?;
            self.authorization = Some(self.authorize(&challenge)?);
            answer = self.ask(&url, accept, from)?;
        }
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorized()),
            StatusCode::NOT_FOUND => Err(PullError::Missing {
                host: self.reference.host.clone(),
                what: format!("{}/{what}", self.reference.repository),
            }),
            other => Err(PullError::Answer {
                host: self.reference.host.clone(),
                what: what.to_owned(),
                status: other.as_u16(),
            }),
        }
    }

    /// Asks for a document that is held in memory.
    pub(super) fn document(&mut self, what: &str, accept: &str) -> Result<Vec<u8>, PullError> {
        let answer = self.get(what, accept, 0)?;
        read_document(answer.into_body().into_reader(), IMAGE_DOCUMENT_BYTES_MAX).map_err(|source| {
            PullError::Cut {
                host: self.reference.host.clone(),
                what: what.to_owned(),
                source,
            }
        })
    }

    fn unauthorized(&self) -> PullError {
        PullError::Unauthorized {
            host: self.reference.host.clone(),
            repository: self.reference.repository.clone(),
        }
    }

    fn ask(&self, url: &str, accept: &str, from: u64) -> Result<Response<Body>, PullError> {
        let mut request = self.agent.get(url).header("accept", accept);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        request.call().map_err(|source| self.unreachable(source))
    }

    fn unreachable(&self, source: ureq::Error) -> PullError {
        PullError::Unreachable {
            host: self.reference.host.clone(),
            source: Box::new(source),
        }
    }

    fn authorize(&self, challenge: &Challenge) -> Result<String, PullError> {
        let basic = self.credentials.map(|one| {
            format!(
                "Basic {}",
                base64(format!("{}:{}", one.user, one.password).as_bytes())
            )
        });
        let url = match challenge {
            Challenge::Basic => return basic.ok_or_else(|| self.unauthorized()),
            Challenge::Bearer(url) => url,
        };
        // A registry may send us anywhere; credentials go only where nobody on the way can read them.
        let local = url.strip_prefix("http://").is_some_and(|rest| {
            is_this_machine(rest.split(['/', '?']).next().unwrap_or(rest))
                && self.reference.origin.starts_with("http://")
        });
        if !local && !url.starts_with("https://") {
            return Err(self.unauthorized());
        }
        let mut request = self.agent.get(url);
        if let Some(basic) = basic {
            request = request.header("authorization", basic);
        }
        let answer = request.call().map_err(|source| self.unreachable(source))?;
        if answer.status() != StatusCode::OK {
            return Err(self.unauthorized());
        }
        let mut body = Vec::new();
        let read = answer
            .into_body()
            .into_reader()
            .take(IMAGE_DOCUMENT_BYTES_MAX)
            .read_to_end(&mut body);
        read.map_err(|source| PullError::Cut {
            host: self.reference.host.clone(),
            what: "a token".to_owned(),
            source,
        })?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok(); // What is no token does not let us in.
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token
            .map(|token| format!("Bearer {token}"))
            .ok_or_else(|| self.unauthorized())
    }
}

fn tls() -> TlsConfig {
    let mut trusted: Vec<Certificate<'static>> = Vec::new();
    for bundle in BUNDLES {
        // A bundle that is not there or cannot be read is not trusted; without any, every registry is refused.
        let Ok(bytes) = std::fs::File::open(bundle).and_then(|file| read_document(file, BUNDLE_BYTES_MAX))
        else {
            continue;
        };
        trusted.extend(parse_pem(&bytes).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
        break;
    }
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&trusted))
        .build()
}

/// Reads `Bearer realm="…",service="…",scope="…"`.
fn parse_challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut realm = None;
    let mut query = Vec::new();
    let mut left = rest;
    while let Some((key, after)) = left.split_once("=\"") {
        let (value, after) = after.split_once('"')?;
        match key.trim_matches([',', ' ']) {
            "realm" => realm = Some(value),
            key @ ("service" | "scope") => query.push(format!("{key}={}", percent(value))),
            _ => {}
        }
        left = after;
    }
    let realm = realm?;
    let joint = if realm.contains('?') { '&' } else { '?' };
    Some(Challenge::Bearer(if query.is_empty() {
        realm.to_owned()
    } else {
        format!("{realm}{joint}{}", query.join("&"))
    }))
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group
            .iter()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[number >> (18 - 6 * place) & 63];
            text.push(if place <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_where_a_token_is_to_be_had() {
        let text =
            r#"Bearer realm="https://auth.example/token",service="a b",scope="repository:x/y:pull,push""#;
        let url = "https://auth.example/token?service=a%20b&scope=repository%3Ax%2Fy%3Apull%2Cpush";
        assert_eq!(parse_challenge(text), Some(Challenge::Bearer(url.to_owned())));
        assert_eq!(parse_challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse_challenge("Bearer service=\"x\""), None);
        assert_eq!(parse_challenge("Negotiate"), None);
    }

    #[test]
    fn credentials_are_encoded_as_the_rfc_shows() {
        let check = |text: &str, encoded: &str| assert_eq!(base64(text.as_bytes()), encoded);
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foobar", "Zm9vYmFy");
    }
}
