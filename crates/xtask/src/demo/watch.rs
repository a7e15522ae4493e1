//! Follows the factory until every change is decided, and prints one line for each recorded fact.

use std::time::Duration;

use anyhow::{Context as _, bail};
use gantry_adapters::clock::Stopwatch;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::factory::Factory;

/// How long the drain may take before the demo gives up and says so.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How long builds that decide nothing may go on after that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two looks at them.
const IDLE_PAUSE: Duration = Duration::from_millis(200);

/// Prints facts until all that is queued is decided; returns how long that took.
///
/// Errors: the factory does not answer, or the time is up.
pub fn until_decided(factory: &Factory, watch: Stopwatch) -> anyhow::Result<Duration> {
    let mut printer = Printer::default();
    loop {
        let waited = factory.json(&["queue", "wait", "--timeout", "500ms"])?;
        let decided = waited["ended"] == json!(true);
        let took = watch.elapsed();
        printer.print_new(factory)?;
        if decided {
            until_idle(factory, &mut printer)?;
            return Ok(took);
        }
        if took > DRAIN_TIMEOUT {
            bail!("not everything was decided in {} s", DRAIN_TIMEOUT.as_secs());
        }
    }
}

/// Waits until no build runs: when all is decided, free slots still find out what a bounced change did not work with.
fn until_idle(factory: &Factory, printer: &mut Printer) -> anyhow::Result<()> {
    let watch = Stopwatch::start();
    while watch.elapsed() < IDLE_TIMEOUT {
        let status = factory.json(&["status"])?;
        let mut running = status["repositories"].as_array().into_iter().flatten();
        if running.all(|repository| repository["builds_running"] == json!(0)) {
            break;
        }
        std::thread::sleep(IDLE_PAUSE);
        printer.print_new(factory)?;
    }
    printer.print_new(factory)
}

/// Where printing has come to.
#[derive(Debug, Default)]
struct Printer {
    last: u64,
    first_at: Option<Timestamp>,
}

impl Printer {
    fn print_new(&mut self, factory: &Factory) -> anyhow::Result<()> {
        let seen = factory.json(&["events", "--after", &self.last.to_string()])?;
        for event in seen["events"].as_array().into_iter().flatten() {
            self.last = event["sequence"].as_u64().context("a fact without a number")?;
            let at: Timestamp = word(event, "at").parse().context("a fact without a time")?;
            let first = *self.first_at.get_or_insert(at);
            let about: Vec<&str> = ["change", "build"]
                .iter()
                .filter_map(|field| event[field].as_str())
                .collect();
            println!(
                "{:>6.1} s  {:<16} {:<8} {}",
                at.duration_since(first).as_secs_f64(),
                word(event, "kind"),
                about.join(" "),
                word(event, "text").replace('\n', " ")
            );
        }
        Ok(())
    }
}

fn word<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}
