//! A file looked through part by part, so that its size does not matter and nothing is missed where two parts meet.

use std::io::{self, Read};

use super::forms::{self, FORM_BYTES_MAX};

/// How much is looked at in one go.
const PART_BYTES: usize = 256 * 1024;
/// How much of the part before is seen again with the next: the longest named secret that is found for certain.
const OVERLAP_BYTES: usize = 64 * 1024;
/// How much of a file of credentials is read at most.
const CREDENTIALS_BYTES_MAX: usize = 1024 * 1024;

/// Returns the name of a secret that the bytes hold.
pub(super) type Named<'a> = &'a dyn Fn(&[u8]) -> Option<String>;

/// Returns the kinds of secrets in a file; each kind once.
pub(super) fn find(mut source: impl Read, path: &[u8], named: Named<'_>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut add = |kind: String| {
        if !found.contains(&kind) {
            found.push(kind);
        }
    };
    let credentials = forms::is_credential_path(path);
    let mut whole = Vec::new();
    let mut window: Vec<u8> = Vec::new();
    loop {
        let kept = window.len();
        let count = source.by_ref().take(PART_BYTES as u64).read_to_end(&mut window)?;
        let last = count < PART_BYTES;
        if credentials && whole.len() < CREDENTIALS_BYTES_MAX {
            whole.extend_from_slice(&window[kept..]);
        }
        if let Some(name) = named(&window) {
            add(format!("secret {name}"));
        }
        // What begins near the end is looked at with the next part, where its end is seen, too.
        let until = if last {
            window.len()
        } else {
            window.len() - FORM_BYTES_MAX
        };
        if let Some(kind) = forms::find(&window, until) {
            add(kind.to_owned());
        }
        if last {
            break;
        }
        let from = window.len() - OVERLAP_BYTES;
        window.drain(..from);
    }
    if let Some(kind) = forms::find_file(path, &whole) {
        add(kind.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let secret = b"the named secret";
        let token = ["ghp_", "a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8"].concat();
        let named = |bytes: &[u8]| {
            bytes
                .windows(secret.len())
                .any(|window| window == secret)
                .then(|| "DEPLOY".to_owned())
        };
        for at in [
            0,
            1,
            PART_BYTES - 8,
            PART_BYTES,
            PART_BYTES * 2 - 3,
            PART_BYTES * 3 - 20,
        ] {
            let mut bytes = vec![b' '; PART_BYTES * 3 + 100];
            bytes[at..at + secret.len()].copy_from_slice(secret);
            bytes[at + 20..at + 20 + token.len()].copy_from_slice(token.as_bytes());
            let found = find(bytes.as_slice(), b"f", &named).expect("memory");
            assert_eq!(found, ["secret DEPLOY", "GitHub token"], "at {at}");
        }
        assert_eq!(find(&b"nothing"[..], b"f", &named).expect("memory"), [""; 0]);
    }
}
