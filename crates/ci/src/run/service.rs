//! Services beside a job: what their options and ports mean for a box. Owns reading `docker` options; what a box cannot
//! hold is refused by name.

use std::time::Duration;

use gantry_workflow::expression::Value;

use super::shell::split_words;

/// When a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Health {
    /// Ends with 0 once it is; empty: at once.
    pub(super) command: Vec<String>,
    /// How long it may take, if the options say so.
    pub(super) ready_within: Option<Duration>,
}

/// Reads the health check of `options`.
///
/// Errors: an option that a box does not have, in a sentence.
pub(super) fn health(options: &str) -> Result<Health, String> {
    let mut health = Health::default();
    let (mut interval, mut retries, mut start) = (Duration::from_secs(30), 3_u32, Duration::ZERO);
    let mut timed = false;
    let mut words = split_words(options).into_iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let mut value = || {
            value
                .clone()
                .or_else(|| words.next())
                .ok_or(format!("the option {name} has no value"))
        };
        match name.as_str() {
            "--health-cmd" => {
                health.command = ["/bin/sh", "-c"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([value()?])
                    .collect()
            }
            "--health-interval" => (interval, timed) = (time(&value()?)?, true),
            "--health-retries" => {
                let text = value()?;
                retries = text
                    .parse()
                    .map_err(|_| format!("--health-retries is no number: {text}"))?;
                timed = true;
            }
            "--health-start-period" => (start, timed) = (time(&value()?)?, true),
            // One try's own limit; a try that hangs is ended by the time for all of them.
            "--health-timeout" => _ = time(&value()?)?,
            _ => {
                return Err(format!(
                    "the option {name} is not understood here; only --health-* are"
                ));
            }
        }
    }
    if timed {
        health.ready_within = Some(start + interval.saturating_mul(retries.saturating_add(1)));
    }
    Ok(health)
}

/// Reads a time as docker writes it: `1m30s`, `500ms`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no time such as 10s");
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let (unit_ms, length) = match rest {
            _ if rest.starts_with("ms") => (1, 2),
            _ if rest.starts_with('s') => (1_000, 1),
            _ if rest.starts_with('m') => (60_000, 1),
            _ if rest.starts_with('h') => (3_600_000, 1),
            _ => return Err(wrong()),
        };
        total = total.saturating_add(Duration::from_millis(number.saturating_mul(unit_ms)));
        rest = &rest[length..];
    }
    Ok(total)
}

/// Returns `job.services.<id>`: boxes share one network, so a port is reached where the service listens.
///
/// Errors: a port that is mapped to another one.
pub(super) fn context(name: &str, ports: &[String]) -> Result<Value, String> {
    let mut shown = Vec::new();
    for port in ports {
        let bare = port.split('/').next().unwrap_or(port);
        let inner = match bare.split_once(':') {
            Some((outer, inner)) if outer == inner => inner,
            Some(_) => {
                return Err(format!(
                    "the service '{name}' maps the port {port}, and services share the job's network here; use {name} and the service's own port"
                ));
            }
            None => bare,
        };
        if inner.parse::<u16>().is_err() {
            return Err(format!("the service '{name}' has the port {port}, which is none"));
        }
        shown.push((inner.to_owned(), Value::from(inner)));
    }
    let fields = [
        ("id", Value::from(name)),
        ("network", Value::from("job")),
        ("ports", Value::Object(shown.into_iter().collect())),
    ];
    Ok(Value::Object(fields.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_is_read_from_dockers_options() {
        let options =
            "--health-cmd \"pg_isready -U x\" --health-interval=10s --health-timeout 5s --health-retries 5";
        let health = health(options).expect("they are understood");
        assert_eq!(health.command, ["/bin/sh", "-c", "pg_isready -U x"]);
        assert_eq!(health.ready_within, Some(Duration::from_secs(60)));
        assert_eq!(super::health(""), Ok(Health::default()));
        for wrong in ["--privileged", "--health-interval x", "--health-cmd"] {
            assert!(super::health(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_is_the_services_own_and_another_is_refused() {
        let value = context("db", &["5432".into(), "6379:6379/tcp".into()]).expect("they are ports");
        assert!(
            value.to_json_text().contains("\"6379\": \"6379\""),
            "{}",
            value.to_json_text()
        );
        assert!(context("db", &["80:8080".into()]).is_err());
    }
}
