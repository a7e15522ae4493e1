//! The hook that Git starts for a push to `refs/for/<target>/<topic>`: reads Git's packets, offers the changes to the
//! daemon, and answers Git. Source: githooks(5), "proc-receive"; gitprotocol-common(5), "pkt-line Format".

use std::io::{Read, Write};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::web::client::Client;
use crate::web::dto::OfferBody;

#[derive(Debug, Args)]
pub struct Hook {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Takes offers by push
    #[command(hide = true)]
    ProcReceive,
}

/// One ref somebody pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pushed {
    new: String,
    name: String,
}

impl Hook {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let Which::ProcReceive = self.which;
        let client = common.client()?;
        let repository = repository_name();
        let mut input = std::io::stdin().lock();
        let mut output = std::io::stdout().lock();
        let offered = packets(&mut input)?;
        let with_options = offered
            .iter()
            .any(|line| line.split(['\0', ' ']).any(|word| word == "push-options"));
        let answer = if with_options {
            "version=1\0push-options"
        } else {
            "version=1"
        };
        output.write_all(&packet(answer))?;
        output.write_all(b"0000")?;
        output.flush()?;
        let pushed = packets(&mut input)?
            .iter()
            .filter_map(|line| pushed(line))
            .collect::<Vec<_>>();
        let options = if with_options {
            packets(&mut input)?
        } else {
            Vec::new()
        };
        for one in &pushed {
            let line = match offer(&client, repository.as_deref(), one, &options) {
                Ok(text) => {
                    eprintln!("{}", show::harmless(&text));
                    format!("ok {}", one.name)
                }
                Err(text) => format!("ng {} {}", one.name, show::harmless(&text).replace('\n', " ")),
            };
            output.write_all(&packet(&line))?;
        }
        output.write_all(b"0000")?;
        output.flush()?;
        Ok(ExitCode::Done)
    }
}

/// The name of the repository Git runs the hook in.
fn repository_name() -> Option<String> {
    let folder = std::env::current_dir().ok()?;
    let name = folder.file_name()?.to_str()?;
    Some(name.strip_suffix(".git").unwrap_or(name).to_owned())
}

/// Reads packets up to the flush packet.
fn packets(input: &mut impl Read) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut head = [0; 4];
        input.read_exact(&mut head)?;
        let wrong = || std::io::Error::other("Git sent a packet that is none");
        let length = std::str::from_utf8(&head)
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok());
        match length.ok_or_else(wrong)? {
            0 => return Ok(lines),
            length @ 4.. => {
                let mut body = vec![0; length - 4];
                input.read_exact(&mut body)?;
                lines.push(String::from_utf8_lossy(&body).trim_end_matches('\n').to_owned());
            }
            _ => return Err(wrong()),
        }
    }
}

fn packet(text: &str) -> Vec<u8> {
    // A packet has at most 65,520 bytes; names and answers are far shorter, longer ones are cut.
    let mut end = text.len().min(65_000);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    format!("{:04x}{text}\n", text.len() + 5).into_bytes()
}

fn pushed(line: &str) -> Option<Pushed> {
    let mut words = line.splitn(3, ' ');
    let (_old, new, name) = (words.next()?, words.next()?, words.next()?);
    Some(Pushed {
        new: new.to_owned(),
        name: name.to_owned(),
    })
}

fn offer(
    client: &Client,
    repository: Option<&str>,
    pushed: &Pushed,
    options: &[String],
) -> Result<String, String> {
    let body = body(repository, pushed, options)?;
    let answer = client
        .get("/v1/repositories")
        .map_err(|coded| format!("{:#}", coded.error))?;
    let known = show::list(&answer, "repositories")
        .iter()
        .find(|known| Some(show::text(known, "name")) == repository);
    let target = known.map_or("", |known| show::text(known, "target"));
    let rest = pushed.name.strip_prefix("refs/for/").unwrap_or("");
    let topic = rest
        .strip_prefix(target)
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|topic| !topic.is_empty());
    let Some(topic) = topic.filter(|_| !target.is_empty()) else {
        return Err(format!(
            "push to refs/for/{target}/TOPIC: {target} is the branch that is protected here"
        ));
    };
    let body = OfferBody {
        branch: topic.to_owned(),
        ..body
    };
    let change: Value = client
        .post("/v1/changes", &body)
        .map_err(|coded| format!("{:#}", coded.error))?;
    Ok(format!(
        "{} {}: {}\nsee it with: gantry queue show {}",
        show::text(&change, "id"),
        show::text(&change, "state"),
        show::text(&change, "title"),
        show::text(&change, "id")
    ))
}

/// Reads the push options; one that is not known is refused, so that a typing error is not a silent default.
fn body(repository: Option<&str>, pushed: &Pushed, options: &[String]) -> Result<OfferBody, String> {
    if pushed.new.bytes().all(|byte| byte == b'0') {
        return Err("a topic cannot be deleted by push; use `gantry queue cancel`".to_owned());
    }
    let mut body = OfferBody {
        repository: repository.map(str::to_owned),
        source: Some("topic".to_owned()),
        sha: Some(pushed.new.clone()),
        ..OfferBody::default()
    };
    for option in options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "title" => body.title = Some(value.to_owned()),
            "author" => body.author = Some(value.to_owned()),
            "priority" => body.priority = Some(value.to_owned()),
            "solo" => body.solo = !matches!(value, "false" | "no" | "0"),
            "after" => body.after.extend(value.split(',').map(|id| id.trim().to_owned())),
            other => {
                return Err(format!(
                    "push option {other:?} is none of title, author, priority, solo, after"
                ));
            }
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_read_back_as_they_are_written() {
        let mut bytes = packet("version=1\0push-options");
        bytes.extend(packet("a b refs/for/main/x y"));
        bytes.extend(b"0000");
        let lines = packets(&mut bytes.as_slice()).expect("they read");
        assert_eq!(lines, ["version=1\0push-options", "a b refs/for/main/x y"]);
        let name = pushed(&lines[1]).expect("a command").name;
        assert_eq!(name, "refs/for/main/x y");
    }

    #[test]
    fn a_packet_that_is_none_is_refused() {
        assert!(packets(&mut b"00zz".as_slice()).is_err());
        assert!(packets(&mut b"0003".as_slice()).is_err());
        assert!(packets(&mut b"0010abc".as_slice()).is_err());
    }

    #[test]
    fn push_options_are_read_and_unknown_ones_refused() {
        let push = Pushed {
            new: "1".repeat(40),
            name: "refs/for/main/x".into(),
        };
        let options = [
            "title=A=b".to_owned(),
            "solo".to_owned(),
            "after=C1,C2".to_owned(),
        ];
        let read = body(Some("r"), &push, &options).expect("known options");
        assert_eq!(
            (read.title.as_deref(), read.solo, read.after),
            (Some("A=b"), true, vec!["C1".into(), "C2".into()])
        );
        assert!(body(None, &push, &["prio=high".to_owned()]).is_err());
        let deletion = Pushed {
            new: "0".repeat(40),
            ..push
        };
        assert!(body(None, &deletion, &[]).is_err());
    }
}
