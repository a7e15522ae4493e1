//! How claude is started without a terminal: `claude -p --output-format stream-json --verbose`, the brief on standard
//! input.

use serde_json::{Map, Value, json};

use crate::adapter::AdapterKind;
use crate::launch::{
    HomeFile, LaunchError, LaunchPlan, LaunchRequest, McpBridge, Stdin, TranscriptFormat, TranscriptGlob,
    refuse_odd_bridge, refuse_options,
};

/// The bridge's file in the agent's home.
const BRIDGE_FILE: &str = "gantry-mcp.json";

pub(crate) fn plan_launch(program: &str, request: &LaunchRequest) -> Result<LaunchPlan, LaunchError> {
    refuse_options(request)?;
    refuse_odd_bridge(AdapterKind::Claude, request)?;
    if program.is_empty() {
        return Err(LaunchError::NoProgram {
            adapter: AdapterKind::Claude,
        });
    }
    // Without `--verbose` the stream is refused.
    let mut argv: Vec<String> = [program, "-p", "--output-format", "stream-json", "--verbose"]
        .map(str::to_owned)
        .to_vec();
    // The box is what holds the agent, and nobody is there to be asked.
    argv.extend(["--permission-mode", "bypassPermissions"].map(str::to_owned));
    let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
    if let Some(model) = &request.model {
        option("--model", model.clone());
    }
    if let Some(session) = &request.resume {
        option("--resume", session.clone());
    }
    if let Some(budget) = request.budget_micro_usd {
        option(
            "--max-budget-usd",
            format!("{}.{:06}", budget / 1_000_000, budget % 1_000_000),
        );
    }
    let mut home_files = Vec::new();
    if let Some(bridge) = &request.bridge {
        option("--mcp-config", format!("{}/{BRIDGE_FILE}", request.home));
        home_files.push(HomeFile::private(BRIDGE_FILE, bridge_file(bridge)?));
    }
    if let Some(text) = &request.instructions {
        home_files.push(HomeFile::private("CLAUDE.md", text.clone()));
    }
    argv.extend(request.extra_args.iter().cloned());
    let env = [
        ("CLAUDE_CONFIG_DIR", request.home.as_str()),
        // As root the permission mode above is refused unless this says that a sandbox is around.
        ("IS_SANDBOX", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
    ];
    Ok(LaunchPlan {
        argv,
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        folder: request.workspace.clone(),
        home_files,
        stdin: Stdin::of_brief(&request.brief),
        transcripts: transcripts(),
        enforces_budget: request.budget_micro_usd.is_some(),
    })
}

/// Where sessions are. Claude deletes them after thirty days without a word, so they are kept when the run ends.
fn transcripts() -> Vec<TranscriptGlob> {
    vec![
        TranscriptGlob::new("projects", "**/*.jsonl", TranscriptFormat::ClaudeSession),
        TranscriptGlob::new("projects", "*/*/tool-results/**", TranscriptFormat::Opaque),
        TranscriptGlob::new("", "history.jsonl", TranscriptFormat::Opaque),
    ]
}

/// Returns the file that names the bridge. Claude puts variables' values in for `${NAME}` wherever it stands.
fn bridge_file(bridge: &McpBridge) -> Result<Vec<u8>, LaunchError> {
    if bridge.argv.iter().any(|argument| argument.contains("${")) {
        return Err(LaunchError::Bridge {
            adapter: AdapterKind::Claude,
            name: bridge.name.clone(),
            problem: "${ in its argv would be read as a variable",
        });
    }
    let env: Map<String, Value> = bridge
        .env_names
        .iter()
        .map(|name| (name.clone(), Value::from(format!("${{{name}}}"))))
        .collect();
    let server = json!({"type": "stdio", "command": bridge.argv[0], "args": bridge.argv[1..], "env": env});
    let file = json!({"mcpServers": {bridge.name.as_str(): server}});
    Ok(format!("{file:#}\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Brief;

    fn request() -> LaunchRequest {
        LaunchRequest {
            bridge: Some(McpBridge {
                name: "gantry".to_owned(),
                argv: ["gantry", "mcp", "bridge"].map(str::to_owned).to_vec(),
                env_names: vec!["GANTRY_API_KEY".to_owned()],
            }),
            instructions: Some("# Rules\n".to_owned()),
            ..LaunchRequest::new(Brief::Text("Do it.".to_owned()), "/ws", "/home/agent")
        }
    }

    #[test]
    fn a_run_begins_with_the_brief_on_standard_input() {
        let plan = plan_launch(
            "claude",
            &LaunchRequest::new(Brief::Text("Do it.".to_owned()), "/ws", "/h"),
        )
        .unwrap();
        assert_eq!(
            plan.argv.join(" "),
            "claude -p --output-format stream-json --verbose --permission-mode bypassPermissions"
        );
        assert_eq!(plan.stdin, Stdin::Bytes(b"Do it.".to_vec()));
        assert_eq!(plan.env[0], ("CLAUDE_CONFIG_DIR".to_owned(), "/h".to_owned()));
        assert_eq!((plan.home_files.len(), plan.enforces_budget), (0, false));
    }

    #[test]
    fn session_model_budget_and_bridge_are_options() {
        let plan = plan_launch(
            "claude",
            &LaunchRequest {
                resume: Some("0394".to_owned()),
                model: Some("opus".to_owned()),
                budget_micro_usd: Some(12_050_000),
                extra_args: vec!["--strict-mcp-config".to_owned()],
                ..request()
            },
        )
        .unwrap();
        let end = "--model opus --resume 0394 --max-budget-usd 12.050000 --mcp-config /home/agent/gantry-mcp.json \
                   --strict-mcp-config";
        assert!(plan.argv.join(" ").ends_with(end), "{:?}", plan.argv);
        assert!(plan.enforces_budget);
        let file: Value = serde_json::from_slice(&plan.home_files[0].bytes).unwrap();
        let expected = json!({"mcpServers": {"gantry": {"type": "stdio", "command": "gantry",
            "args": ["mcp", "bridge"], "env": {"GANTRY_API_KEY": "${GANTRY_API_KEY}"}}}});
        assert_eq!(file, expected);
        assert_eq!(
            (plan.home_files[1].path.as_str(), plan.home_files[1].mode),
            ("CLAUDE.md", 0o600)
        );
    }

    #[test]
    fn a_bridge_that_would_be_rewritten_is_refused() {
        let mut request = request();
        request.bridge.as_mut().unwrap().argv.push("${HOME}".to_owned());
        assert_eq!(
            plan_launch("claude", &request).unwrap_err().to_string(),
            "the bridge \"gantry\" cannot be given to claude: ${ in its argv would be read as a variable"
        );
    }
}
