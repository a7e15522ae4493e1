//! Which registry, repository and manifest a reference means. Source: Docker's reference grammar; `docker.io` is the
//! registry of a reference that names none.

use crate::digest::Digest;
use crate::name::{ImageName, NameError};

/// A reference taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The host, with its port, as errors name it.
    pub(super) host: String,
    /// `https://HOST`, or `http://HOST` for this machine.
    pub(super) origin: String,
    pub(super) repository: String,
    pub(super) name: ImageName,
    pub(super) digest: Option<Digest>,
}

/// A text that is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its digest.
    #[error(transparent)]
    Digest(#[from] crate::digest::DigestError),
}

impl Reference {
    pub(super) fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest.parse()?)),
            None => (text, None),
        };
        let name: ImageName = named.parse()?;
        let whole = name.repository();
        let (host, repository) = match whole.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => {
                (first, rest.to_owned())
            }
            Some(_) => ("docker.io", whole.to_owned()),
            None => ("docker.io", format!("library/{whole}")),
        };
        let address = if host == "docker.io" {
            "registry-1.docker.io"
        } else {
            host
        };
        let scheme = if is_this_machine(address) { "http" } else { "https" };
        Ok(Self {
            host: host.to_owned(),
            origin: format!("{scheme}://{address}"),
            repository,
            digest,
            name,
        })
    }

    /// Returns what the manifest is asked for by.
    pub(super) fn wanted(&self) -> String {
        self.digest
            .map_or_else(|| self.name.tag().to_owned(), |digest| digest.to_string())
    }
}

/// Says whether a host, with or without a port, is the loopback: only there is plain HTTP spoken.
pub(super) fn is_this_machine(host: &str) -> bool {
    let plain = host.rsplit_once(':').map_or(host, |(plain, _)| plain);
    plain == "localhost"
        || plain
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry() {
        let check = |text: &str, origin: &str, repository: &str, wanted: &str| {
            let found = Reference::parse(text).expect(text);
            assert_eq!(
                (
                    found.origin.as_str(),
                    found.repository.as_str(),
                    found.wanted().as_str()
                ),
                (origin, repository, wanted)
            );
        };
        check(
            "debian",
            "https://registry-1.docker.io",
            "library/debian",
            "latest",
        );
        check("me/app:1", "https://registry-1.docker.io", "me/app", "1");
        check("ghcr.io/me/app:1", "https://ghcr.io", "me/app", "1");
        check("127.0.0.1:5000/a:1", "http://127.0.0.1:5000", "a", "1");
        check("localhost:5000/a", "http://localhost:5000", "a", "latest");
        check(
            "127.0.0.1.example.org/a",
            "https://127.0.0.1.example.org",
            "a",
            "latest",
        );
        let digest = Digest::of(b"").to_string();
        check(
            &format!("debian:12@{digest}"),
            "https://registry-1.docker.io",
            "library/debian",
            &digest,
        );
        assert!(Reference::parse("debian@sha256:1").is_err());
    }
}
