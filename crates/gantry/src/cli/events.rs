//! `events`.

use clap::Args;
use serde_json::{Value, json};

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::web::client::encoded;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gantry events --follow\n  gantry events --after 120 --json")]
pub struct Events {
    /// Go on with what happens from now on; with --json one document a line
    #[arg(long)]
    follow: bool,
    /// Only facts after this number
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// Only facts about this change
    #[arg(long, conflicts_with = "follow")]
    change: Option<String>,
}

impl Events {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let client = common.client()?;
        if let Some(change) = &self.change {
            let value = client.get(&format!("/v1/events?change={}", encoded(change)))?;
            return finish(common, show::list(&value, "events"));
        }
        let mut after = self.after;
        let mut all = Vec::new();
        loop {
            let wait_ms = if self.follow && all.is_empty() { 20_000 } else { 0 };
            let value = client.get(&format!("/v1/events?after={after}&wait_ms={wait_ms}"))?;
            let events = show::list(&value, "events");
            if let Some(last) = events.last().and_then(|event| event["sequence"].as_u64()) {
                after = last;
            }
            if self.follow {
                for event in events {
                    if common.json() {
                        show::json_line(event)?
                    } else {
                        print(event)?
                    }
                }
                continue;
            }
            if events.is_empty() {
                return finish(common, &all);
            }
            all.extend_from_slice(events);
        }
    }
}

fn finish(common: &Common, events: &[Value]) -> Result<ExitCode, Coded> {
    if common.json() {
        show::json(&json!({"events": events}))?;
    } else {
        events.iter().try_for_each(print)?;
    }
    Ok(ExitCode::Done)
}

fn print(event: &Value) -> Result<(), Coded> {
    let about = [show::text(event, "change"), show::text(event, "build")];
    let about: Vec<&str> = about.into_iter().filter(|text| !text.is_empty()).collect();
    show::line(&format!(
        "{:>6}  {}  {:<18} {:<8} {}",
        event["sequence"],
        show::text(event, "at"),
        show::text(event, "kind"),
        about.join(" "),
        show::text(event, "text").replace('\n', " ")
    ))?;
    for line in show::list(event, "evidence") {
        show::line(&format!("        | {}", line.as_str().unwrap_or("")))?;
    }
    Ok(())
}
