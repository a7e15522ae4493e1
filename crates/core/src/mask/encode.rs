//! The forms in which a secret turns up in output. Pure functions from bytes to bytes; must never trim, split or
//! judge a value, which is the set's business.
//!
//! Lengths that a rule speaks of are in UTF-16 units, because the program whose rules these are counts so.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// A quoted secret has to be longer than this before the text between the quotes counts as one of its own.
const QUOTED_UNITS: usize = 8;
/// A part of a secret that PowerShell prints alone counts from this length on.
const AMPERSAND_UNITS_MIN: usize = 6;
/// The whole groups of a Base64 text count without its end from this length on: six bytes of the secret.
const BASE64_CORE_CHARS_MIN: usize = 8;

/// Returns every form of a value, the value itself first.
///
/// Shape: may hold duplicates and empty forms. Source: actions/runner, `ValueEncoders.cs` (the eleven encodings);
/// after them the Base64 texts without their last, incomplete group, which is another one as soon as anything,
/// a line end for one, was encoded behind the secret.
pub(super) fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let shifted = [base64(value), base64_shifted(value, 1), base64_shifted(value, 2)];
    let cores = [0, 1, 2].map(|shift| base64_core(value.get(shift..).unwrap_or(&[])));
    let mut all = vec![value.to_vec()];
    all.extend(shifted);
    all.extend([
        replace(value, |byte| (byte == b'"').then_some(b"\\\"".as_slice())),
        replace(value, |byte| (byte == b'\'').then_some(b"''".as_slice())),
        json(value),
        uri(value),
        replace(value, xml_entity),
        trim_double_quotes(value),
        before_ampersand(value),
        after_ampersand(value),
    ]);
    all.extend(cores);
    all
}

fn units(value: &[u8]) -> usize {
    let starts = value.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    starts + value.iter().filter(|byte| **byte >= 0xf0).count()
}

fn base64(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len().div_ceil(3) * 4);
    for group in value.chunks(3) {
        let mut word = 0_usize;
        for index in 0..3 {
            word = word << 8 | usize::from(group.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            out.push(if index <= group.len() {
                BASE64[word >> (18 - 6 * index) & 63]
            } else {
                b'='
            });
        }
    }
    out
}

/// A value too short to be shifted is encoded whole.
fn base64_shifted(value: &[u8], shift: usize) -> Vec<u8> {
    base64(if value.len() > shift {
        &value[shift..]
    } else {
        value
    })
}

fn base64_core(value: &[u8]) -> Vec<u8> {
    let core = base64(&value[..value.len() - value.len() % 3]);
    if core.len() < BASE64_CORE_CHARS_MIN {
        Vec::new()
    } else {
        core
    }
}

fn replace(value: &[u8], by: impl Fn(u8) -> Option<&'static [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match by(*byte) {
            Some(text) => out.extend_from_slice(text),
            None => out.push(*byte),
        }
    }
    out
}

fn xml_entity(byte: u8) -> Option<&'static [u8]> {
    Some(match byte {
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'"' => b"&quot;",
        b'\'' => b"&apos;",
        b'&' => b"&amp;",
        _ => return None,
    })
}

/// Escapes as Newtonsoft's writer does: control characters, quote, backslash, and the three line separators that
/// are not control characters.
fn json(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        let separator = [
            (b"\xc2\x85".as_slice(), b"\\u0085".as_slice()),
            (b"\xe2\x80\xa8", b"\\u2028"),
            (b"\xe2\x80\xa9", b"\\u2029"),
        ]
        .into_iter()
        .find(|(raw, _)| rest.starts_with(raw));
        if let Some((raw, escaped)) = separator {
            out.extend_from_slice(escaped);
            rest = &rest[raw.len()..];
            continue;
        }
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
        rest = after;
    }
    out
}

fn uri(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

fn trim_double_quotes(value: &[u8]) -> Vec<u8> {
    match value {
        [b'"', inner @ .., b'"'] if units(value) > QUOTED_UNITS => inner.to_vec(),
        _ => Vec::new(),
    }
}

fn find(value: &[u8], part: &[u8]) -> Option<usize> {
    value.windows(part.len()).position(|window| window == part)
}

fn long_enough(part: &[u8]) -> Vec<u8> {
    if units(part) >= AMPERSAND_UNITS_MIN {
        part.to_vec()
    } else {
        Vec::new()
    }
}

/// PowerShell prints a failed command in parts: up to `&+`, where the error's mark stands, or up to the last `&`.
fn before_ampersand(value: &[u8]) -> Vec<u8> {
    match (find(value, b"&+"), value.iter().rposition(|byte| *byte == b'&')) {
        (Some(at), _) => long_enough(&value[..at + 2]),
        (None, Some(at)) => long_enough(&value[..=at]),
        (None, None) => Vec::new(),
    }
}

/// The rest of what [`before_ampersand`] gives; behind `&+` without the one character that is coloured.
fn after_ampersand(value: &[u8]) -> Vec<u8> {
    match (find(value, b"&+"), value.iter().rposition(|byte| *byte == b'&')) {
        (Some(at), _) => {
            let rest = &value[at + 2..];
            let next = (1..rest.len()).find(|index| rest[*index] & 0xc0 != 0x80);
            next.map_or_else(Vec::new, |next| long_enough(&rest[next..]))
        }
        (None, Some(at)) => long_enough(&value[at + 1..]),
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encode: impl Fn(&[u8]) -> Vec<u8>, cases: &[(&str, &str)]) {
        for (value, expected) in cases {
            let encoded = encode(value.as_bytes());
            assert_eq!(String::from_utf8_lossy(&encoded), *expected, "of {value:?}");
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        check(
            base64,
            &[
                ("", ""),
                ("f", "Zg=="),
                ("fo", "Zm8="),
                ("foo", "Zm9v"),
                ("foob", "Zm9vYg=="),
                ("fooba", "Zm9vYmE="),
                ("foobar", "Zm9vYmFy"),
                ("\u{ff}\u{fe}~?", "w7/Dvn4/"),
            ],
        );
    }

    #[test]
    fn a_shift_drops_bytes_and_a_value_too_short_for_it_stays_whole() {
        check(
            |value| base64_shifted(value, 1),
            &[("xfoo", "Zm9v"), ("f", "Zg==")],
        );
        check(
            |value| base64_shifted(value, 2),
            &[("xxfoo", "Zm9v"), ("fo", "Zm8=")],
        );
    }

    #[test]
    fn the_core_of_a_base64_text_does_not_hang_on_what_follows() {
        check(
            base64_core,
            &[
                ("foobarx", "Zm9vYmFy"),
                ("foobar", "Zm9vYmFy"),
                ("fooba", ""),
                ("", ""),
            ],
        );
    }

    #[test]
    fn quotes_are_doubled_or_escaped() {
        let command_line = |value: &[u8]| forms(value)[4].clone();
        check(command_line, &[(r#"a"b"#, r#"a\"b"#), (r"a\b", r"a\b")]);
        let expression = |value: &[u8]| forms(value)[5].clone();
        check(expression, &[("it's", "it''s"), (r#"""#, r#"""#)]);
    }

    #[test]
    fn json_escapes_what_newtonsoft_escapes() {
        check(
            json,
            &[
                ("a\"b\\c/d", "a\\\"b\\\\c/d"),
                (
                    "\t\n\r\u{c}\u{8}\u{1f}\0\u{7f}",
                    "\\t\\n\\r\\f\\b\\u001f\\u0000\u{7f}",
                ),
                ("é\u{85}\u{2028}\u{2029}<'", "é\\u0085\\u2028\\u2029<'"),
            ],
        );
    }

    #[test]
    fn a_uri_keeps_unreserved_characters_only() {
        check(
            uri,
            &[
                ("aZ09-._~", "aZ09-._~"),
                ("a b+c/é!*'()", "a%20b%2Bc%2F%C3%A9%21%2A%27%28%29"),
            ],
        );
    }

    #[test]
    fn xml_has_five_entities() {
        check(
            |value| replace(value, xml_entity),
            &[("<a b=\"c\">'&", "&lt;a b=&quot;c&quot;&gt;&apos;&amp;")],
        );
    }

    #[test]
    fn quotes_around_a_secret_are_dropped_from_nine_units_on() {
        check(
            trim_double_quotes,
            &[
                ("\"1234567\"", "1234567"),
                ("\"123456\"", ""),
                ("\"1234567", ""),
                ("\"é34567é\"", "é34567é"),
            ],
        );
    }

    #[test]
    fn powershell_prints_a_secret_in_two_parts() {
        check(
            before_ampersand,
            &[
                ("secret1&secret2&secret3", "secret1&secret2&"),
                ("secret1&+secret2&secret3", "secret1&+"),
                ("abcde&x", "abcde&"),
                ("abcd&x", ""),
                ("none", ""),
            ],
        );
        check(
            after_ampersand,
            &[
                ("secret1&secret2&secret3", "secret3"),
                ("secret1&+secret2&secret3", "ecret2&secret3"),
                ("secret1&+éecret2", "ecret2"),
                ("a&12345", ""),
                ("a&+", ""),
                ("a&+x", ""),
            ],
        );
    }
}
