//! Secrets by their form: prefixes that their makers gave tokens so that they can be found, keys by their header, and
//! files that hold nothing else. Owns what counts as one; must never return a value.

/// A form by its beginning.
struct Form {
    kind: &'static str,
    start: &'static [u8],
    /// The fewest characters that have to follow.
    length: usize,
    may_follow: fn(u8) -> bool,
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

const fn form(kind: &'static str, start: &'static [u8], length: usize, may_follow: fn(u8) -> bool) -> Form {
    Form {
        kind,
        start,
        length,
        may_follow,
    }
}

/// Longer beginnings stand before shorter ones that they begin with.
const FORMS: [Form; 20] = [
    form("GitHub token", b"ghp_", 36, word),
    form("GitHub token", b"gho_", 36, word),
    form("GitHub token", b"ghu_", 36, word),
    form("GitHub token", b"ghs_", 36, word),
    form("GitHub token", b"ghr_", 36, word),
    form("GitHub token", b"github_pat_", 22, token),
    form("GitLab token", b"glpat-", 20, token),
    form("Slack token", b"xoxa-", 10, token),
    form("Slack token", b"xoxb-", 10, token),
    form("Slack token", b"xoxo-", 10, token),
    form("Slack token", b"xoxp-", 10, token),
    form("Slack token", b"xoxr-", 10, token),
    form("Slack token", b"xoxs-", 10, token),
    form("Anthropic key", b"sk-ant-", 20, token),
    form("OpenAI key", b"sk-proj-", 20, token),
    form("OpenAI key", b"sk-svcacct-", 20, token),
    form("OpenAI key", b"sk-", 32, word),
    form("AWS key", b"AKIA", 16, upper),
    form("npm token", b"npm_", 36, word),
    form("JSON web token", b"eyJ", 10, token),
];

/// The longest a secret of these forms is looked at.
pub(super) const FORM_BYTES_MAX: usize = 4096;
/// How many characters of base64 make a key of a header.
const KEY_BODY_CHARS_MIN: usize = 40;

/// Returns the kind of the first secret that begins in the bytes before `until`.
pub(super) fn find(bytes: &[u8], until: usize) -> Option<&'static str> {
    let mut before = 0;
    for (at, byte) in bytes.iter().enumerate().take(until) {
        let starts = matches!(byte, b'g' | b'x' | b's' | b'A' | b'n' | b'e' | b'-');
        if starts && !token_inside(before, *byte) {
            let rest = &bytes[at..bytes.len().min(at + FORM_BYTES_MAX)];
            if let Some(kind) = kind_at(rest) {
                return Some(kind);
            }
        }
        before = *byte;
    }
    None
}

/// A token does not begin inside of a word; the header of a key may follow anything but a dash.
fn token_inside(before: u8, byte: u8) -> bool {
    if byte == b'-' {
        before == b'-'
    } else {
        word(before) || before == b'_'
    }
}

fn kind_at(rest: &[u8]) -> Option<&'static str> {
    if rest[0] == b'-' {
        return is_private_key(rest).then_some("private key");
    }
    let form = FORMS.iter().find(|form| rest.starts_with(form.start))?;
    let body = &rest[form.start.len()..];
    let length = body.iter().take_while(|byte| (form.may_follow)(**byte)).count();
    if length < form.length {
        return None;
    }
    if form.start == b"eyJ" {
        return is_web_token(rest).then_some(form.kind);
    }
    // What a person writes for a key that is not one: xxxx…, or a name.
    let body = &body[..length];
    let varied = body.iter().any(u8::is_ascii_digit) && body.iter().any(u8::is_ascii_alphabetic);
    varied.then_some(form.kind)
}

/// Three parts with dots, of which the first two are JSON objects.
fn is_web_token(bytes: &[u8]) -> bool {
    let end = bytes
        .iter()
        .position(|byte| !token(*byte) && *byte != b'.')
        .unwrap_or(bytes.len());
    let parts: Vec<&[u8]> = bytes[..end].split(|byte| *byte == b'.').collect();
    matches!(parts.as_slice(), [head, body, proof, ..]
        if head.len() > 10 && body.starts_with(b"eyJ") && body.len() > 10 && proof.len() > 10)
}

/// A header alone is in many programs and manuals: only one with a key behind it counts.
fn is_private_key(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"-----BEGIN ") else {
        return false;
    };
    let Some(end) = rest.windows(5).position(|window| window == b"-----") else {
        return false;
    };
    if end > 40 || !rest[..end].windows(11).any(|window| window == b"PRIVATE KEY") {
        return false;
    }
    let mut body = &rest[end + 5..];
    // Some formats put lines like `Proc-Type: …` in front, and JSON writes line ends as `\n`.
    for _ in 0..6 {
        body = body.trim_ascii_start();
        body = body.strip_prefix(b"\\n").unwrap_or(body).trim_ascii_start();
        let line = &body[..body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len())];
        if !line.contains(&b':') {
            break;
        }
        body = &body[line.len()..];
    }
    let base64 = |byte: &&u8| word(**byte) || **byte == b'+' || **byte == b'/';
    body.iter().take_while(base64).count() >= KEY_BODY_CHARS_MIN
}

/// A file that is there to hold credentials: the end of its path, and what in it makes it one.
const FILES: [(&str, &str, &[&str]); 12] = [
    (".netrc", "password of .netrc", &["password "]),
    (".git-credentials", "Git credentials", &["://"]),
    (
        ".docker/config.json",
        "registry credentials",
        &["\"auth\":", "\"identitytoken\":"],
    ),
    (".dockercfg", "registry credentials", &["\"auth\":"]),
    (
        ".npmrc",
        "npm credentials",
        &["_authToken=", "_password=", "_auth="],
    ),
    (".yarnrc.yml", "npm credentials", &["npmAuthToken:"]),
    (".pypirc", "Python index credentials", &["password"]),
    (".aws/credentials", "AWS credentials", &["aws_secret_access_key"]),
    (".cargo/credentials.toml", "cargo credentials", &["token"]),
    (".config/gh/hosts.yml", "GitHub credentials", &["oauth_token:"]),
    (".claude/.credentials.json", "Claude credentials", &["Token\":"]),
    (
        ".codex/auth.json",
        "Codex credentials",
        &["_token\":", "API_KEY\": \""],
    ),
];
/// Names of files with keys that may be encrypted and then have no form.
const KEY_NAMES: [&str; 5] = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ed25519_sk"];

/// Returns the kind of credentials that a file with this path and content holds.
pub(super) fn find_file(path: &[u8], content: &[u8]) -> Option<&'static str> {
    let path = String::from_utf8_lossy(path);
    let name = path.rsplit('/').next().unwrap_or(&path);
    if KEY_NAMES.contains(&name) && content.windows(11).any(|window| window == b"PRIVATE KEY") {
        return Some("private key");
    }
    let at = |end: &str| {
        path.strip_suffix(end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    let (_, kind, words) = FILES.iter().find(|(end, ..)| at(end))?;
    let text = String::from_utf8_lossy(content);
    text.lines()
        .any(|line| words.iter().any(|word| has_value(line, word)))
        .then_some(*kind)
}

/// Says whether something follows the word that is not left to a variable.
fn has_value(line: &str, word: &str) -> bool {
    let line = line.trim();
    if line.starts_with('#') || line.starts_with(';') {
        return false;
    }
    let Some((_, after)) = line.split_once(word) else {
        return false;
    };
    let value = after.trim_matches(|next: char| next.is_whitespace() || "=:\"',{}".contains(next));
    let credentials = word != "://" || value.split('@').next().is_some_and(|user| user.contains(':'));
    !value.is_empty() && !value.starts_with('$') && credentials
}

/// Says whether a path is one that [`find_file`] looks into.
pub(super) fn is_credential_path(path: &[u8]) -> bool {
    let path = String::from_utf8_lossy(path);
    let name = path.rsplit('/').next().unwrap_or(&path);
    KEY_NAMES.contains(&name) || FILES.iter().any(|(end, ..)| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a token together, so that this file holds none.
    fn made(parts: &[&str]) -> String {
        parts.concat()
    }

    #[test]
    fn tokens_are_known_by_their_form() {
        let body = "a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0";
        let check =
            |text: &str, kind: Option<&str>| assert_eq!(find(text.as_bytes(), text.len()), kind, "{text}");
        for (start, kind) in [
            ("ghp_", "GitHub token"),
            ("github_pat_", "GitHub token"),
            ("glpat-", "GitLab token"),
            ("xoxb-", "Slack token"),
            ("sk-ant-", "Anthropic key"),
            ("sk-", "OpenAI key"),
            ("npm_", "npm token"),
        ] {
            check(&made(&["token=", start, body, "\n"]), Some(kind));
            check(&made(&["X", start, body]), None);
            check(&made(&[start, &body[..8]]), None);
            check(&made(&[start, &"x".repeat(40)]), None);
        }
        check(&made(&["AKIA", "ABCDEFGHIJ234567"]), Some("AWS key"));
        let part = "eyJhbGciOiJIUzI1NiJ9";
        check(&made(&[part, ".", part, ".", body]), Some("JSON web token"));
        check(&made(&[part, ".", part]), None);
        let header = made(&["-----BEGIN RSA PRIVATE", " KEY-----"]);
        check(&made(&[&header, "\n", body, "\n"]), Some("private key"));
        check(&made(&[&header, "\\n", body]), Some("private key"));
        check(
            &made(&[&header, "\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n", body]),
            Some("private key"),
        );
        check(&made(&["const char *header = \"", &header, "\";"]), None);
    }

    #[test]
    fn files_of_credentials_are_known_by_path_and_content() {
        let check = |path: &str, content: &str, found: bool| {
            assert_eq!(
                find_file(path.as_bytes(), content.as_bytes()).is_some(),
                found,
                "{path}: {content}"
            );
            assert!(!found || is_credential_path(path.as_bytes()));
        };
        check("root/.netrc", "machine a login b password c", true);
        check("root/.git-credentials", "https://me:pw@host", true);
        check("root/.git-credentials", "https://host", false);
        check(
            "home/x/.docker/config.json",
            "{\"auths\":{\"r\":{\"auth\":\"eDp5\"}}}",
            true,
        );
        check("home/x/.docker/config.json", "{\"auths\":{}}", false);
        check("root/.npmrc", "//r/:_authToken=${NPM_TOKEN}", false);
        check("root/.npmrc", "//r/:_authToken=abc", true);
        check("root/.ssh/id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----", true);
        check("usr/share/doc/netrc", "password x", false);
    }
}
