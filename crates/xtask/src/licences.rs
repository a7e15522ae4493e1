//! `cargo xtask licences`: every dependency's licence is one this project may be shipped with. Reads what cargo has
//! on the disk; never asks the network.

use anyhow::bail;
use serde_json::Value;

use crate::shown;

/// Licences that ask for no more than their text.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages under another licence, and why that is all right.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "uluru",
    "MPL-2.0",
    "binds the files of that package only, which are used unchanged",
)];

/// Prints every dependency whose licence is not allowed.
///
/// Errors: there is one, or cargo cannot say.
pub fn run() -> anyhow::Result<()> {
    let version = shown::answer(shown::program("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default();
    let words = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        host,
    ];
    let metadata: Value = serde_json::from_str(&shown::answer(&mut shown::cargo(words))?)?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let refused: Vec<String> = packages.iter().filter_map(problem).collect();
    refused.iter().for_each(|text| println!("{text}"));
    if packages.is_empty() || !refused.is_empty() {
        bail!(
            "{} of {} packages have a licence that is not allowed",
            refused.len(),
            packages.len()
        );
    }
    println!("xtask: the licences of {} packages are allowed", packages.len());
    Ok(())
}

fn problem(package: &Value) -> Option<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some(licence) = package["license"].as_str() else {
        return Some(format!("{name}: its manifest names no licence"));
    };
    let excepted = EXCEPTIONS
        .iter()
        .any(|(package, other, _)| *package == name && *other == licence);
    (!excepted && !is_allowed(licence)).then(|| format!("{name}: {licence}"))
}

/// Says whether an SPDX expression can be met with allowed licences alone. Old manifests write `/` for `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any(&words, &mut at) && at == words.len()
}

fn any(words: &[&str], at: &mut usize) -> bool {
    let mut met = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at);
    }
    met
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut met = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at);
    }
    met
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += usize::from(closed);
        return met && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let with = words.get(*at + 1).unwrap_or(&"");
        *at += 2;
        return ALLOWED.contains(&format!("{word} WITH {with}").as_str());
    }
    ALLOWED.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_if_allowed_licences_meet_it() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT",
            "",
            "MIT WITH a-twist",
            "MIT GPL-3.0",
        ] {
            assert!(!is_allowed(refused), "{refused}");
        }
    }
}
