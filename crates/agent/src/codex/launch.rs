//! How codex is started without a terminal: `codex exec --json … [resume SESSION] -`, the brief on standard input.

use crate::adapter::AdapterKind;
use crate::launch::{
    HomeFile, LaunchError, LaunchPlan, LaunchRequest, McpBridge, Stdin, TranscriptFormat, TranscriptGlob,
    refuse_odd_bridge, refuse_options,
};

/// How long the bridge may take to start, and one of its tools to answer. Codex's own bounds of ten seconds and one
/// minute are too short for a loaded machine.
const BRIDGE_START_SECONDS: u32 = 60;
const BRIDGE_TOOL_SECONDS: u32 = 300;

pub(crate) fn plan_launch(program: &str, request: &LaunchRequest) -> Result<LaunchPlan, LaunchError> {
    refuse_options(request)?;
    refuse_odd_bridge(AdapterKind::Codex, request)?;
    if program.is_empty() {
        return Err(LaunchError::NoProgram {
            adapter: AdapterKind::Codex,
        });
    }
    let mut argv: Vec<String> = [program, "exec", "--json", "--skip-git-repo-check"]
        .map(str::to_owned)
        .to_vec();
    // The box is the sandbox: a second one inside needs rights it does not have, and nobody is there to be asked.
    argv.push("--dangerously-bypass-approvals-and-sandbox".to_owned());
    // Commands of the agent see the board's address and token only so: codex leaves out names that look like secrets.
    for setting in [
        "shell_environment_policy.inherit=\"all\"",
        "shell_environment_policy.ignore_default_excludes=true",
    ] {
        argv.extend(["-c".to_owned(), setting.to_owned()]);
    }
    // `-C` is `--cd`; `-c` is a setting.
    argv.extend(["--cd".to_owned(), request.workspace.clone()]);
    if let Some(model) = &request.model {
        argv.extend(["--model".to_owned(), model.clone()]);
    }
    argv.extend(request.extra_args.iter().cloned());
    if let Some(session) = &request.resume {
        argv.extend(["resume".to_owned(), session.clone()]);
    }
    argv.push("-".to_owned());
    Ok(LaunchPlan {
        argv,
        env: vec![("CODEX_HOME".to_owned(), request.home.clone())],
        folder: request.workspace.clone(),
        home_files: home_files(request)?,
        stdin: Stdin::of_brief(&request.brief),
        transcripts: transcripts(),
        enforces_budget: false,
    })
}

/// Where rollouts are: by day while they are open to be resumed, flat once archived, either may be compressed.
fn transcripts() -> Vec<TranscriptGlob> {
    [
        ("sessions", "**/*.jsonl"),
        ("sessions", "**/*.jsonl.zst"),
        ("archived_sessions", "*.jsonl"),
        ("archived_sessions", "*.jsonl.zst"),
    ]
    .map(|(folder, pattern)| TranscriptGlob::new(folder, pattern, TranscriptFormat::CodexRollout))
    .to_vec()
}

fn home_files(request: &LaunchRequest) -> Result<Vec<HomeFile>, LaunchError> {
    let mut files = Vec::new();
    if let Some(bridge) = &request.bridge {
        let image = request.home_config.as_deref().unwrap_or("");
        files.push(HomeFile::private("config.toml", config(image, bridge)?));
    }
    if let Some(text) = &request.instructions {
        files.push(HomeFile::private("AGENTS.md", text.clone()));
    }
    Ok(files)
}

/// Returns the image's configuration with the bridge behind it. A table may follow anything in TOML, so the image's
/// text is kept byte for byte and need not be understood.
fn config(image: &str, bridge: &McpBridge) -> Result<String, LaunchError> {
    let header = format!("[mcp_servers.{}]", bridge.name);
    let names = [header.clone(), format!("[mcp_servers.\"{}\"]", bridge.name)];
    let same = |line: &str| {
        let bare: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        names.iter().any(|name| bare.starts_with(name.as_str()))
    };
    if image.lines().any(same) {
        return Err(LaunchError::ConfigTaken {
            file: "config.toml",
            entry: header,
        });
    }
    let gap = if image.is_empty() || image.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let list = |items: &[String]| {
        items
            .iter()
            .map(|item| quoted(item))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Ok(format!(
        "{image}{gap}{header}\ncommand = {}\nargs = [{}]\nenv_vars = [{}]\nstartup_timeout_sec = {BRIDGE_START_SECONDS}\n\
         tool_timeout_sec = {BRIDGE_TOOL_SECONDS}\n",
        quoted(&bridge.argv[0]),
        list(&bridge.argv[1..]),
        list(&bridge.env_names),
    ))
}

/// Returns a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Brief;

    fn request() -> LaunchRequest {
        LaunchRequest {
            bridge: Some(McpBridge {
                name: "gantry".to_owned(),
                argv: vec!["/usr/bin/gantry".to_owned(), "a \"b\"\n\\".to_owned()],
                env_names: vec!["GANTRY_API_KEY".to_owned()],
            }),
            instructions: Some("# Rules\n".to_owned()),
            home_config: Some("model_provider = \"x\"\n[features]\na = true".to_owned()),
            ..LaunchRequest::new(Brief::Text("Do it.".to_owned()), "/ws", "/home/agent")
        }
    }

    #[test]
    fn a_run_begins_with_the_brief_on_standard_input() {
        let plan = plan_launch("codex", &request()).unwrap();
        assert_eq!(
            plan.argv.join(" "),
            "codex exec --json --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox \
             -c shell_environment_policy.inherit=\"all\" -c shell_environment_policy.ignore_default_excludes=true \
             --cd /ws -"
        );
        assert_eq!(plan.stdin, Stdin::Bytes(b"Do it.".to_vec()));
        assert_eq!(plan.env, [("CODEX_HOME".to_owned(), "/home/agent".to_owned())]);
        assert_eq!((plan.folder.as_str(), plan.enforces_budget), ("/ws", false));
    }

    #[test]
    fn a_session_is_gone_on_with_under_its_name() {
        let plan = plan_launch(
            "codex",
            &LaunchRequest {
                resume: Some("01a2".to_owned()),
                model: Some("gpt-5.1-codex".to_owned()),
                extra_args: vec!["--output-schema".to_owned(), "s.json".to_owned()],
                brief: Brief::File("/run/brief.md".to_owned()),
                ..request()
            },
        )
        .unwrap();
        let end = "--cd /ws --model gpt-5.1-codex --output-schema s.json resume 01a2 -";
        assert!(plan.argv.join(" ").ends_with(end), "{:?}", plan.argv);
        assert_eq!(plan.stdin, Stdin::File("/run/brief.md".to_owned()));
    }

    #[test]
    fn the_bridge_is_added_to_the_images_configuration() {
        let files = plan_launch("codex", &request()).unwrap().home_files;
        let paths: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.mode)).collect();
        assert_eq!(paths, [("config.toml", 0o600), ("AGENTS.md", 0o600)]);
        let text = String::from_utf8(files[0].bytes.clone()).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["features"]["a"].as_bool(), Some(true));
        let server = &table["mcp_servers"]["gantry"];
        assert_eq!(server["command"].as_str(), Some("/usr/bin/gantry"));
        assert_eq!(server["args"][0].as_str(), Some("a \"b\"\n\\"));
        assert_eq!(server["env_vars"][0].as_str(), Some("GANTRY_API_KEY"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_mend() {
        let mut taken = request();
        taken.home_config = Some("[mcp_servers . \"gantry\"] # ours\n".to_owned());
        let mut option = request();
        option.model = Some("--yolo".to_owned());
        let mut bridge = request();
        bridge.bridge.as_mut().unwrap().name = "a.b".to_owned();
        for (request, text) in [
            (
                taken,
                "the image's config.toml has [mcp_servers.gantry] already: take it out, gantry writes it for each run",
            ),
            (
                option,
                "model \"--yolo\" begins with a dash and would be read as an option",
            ),
            (
                bridge,
                "the bridge \"a.b\" cannot be given to codex: its name may hold letters, digits, - and _ only",
            ),
        ] {
            assert_eq!(plan_launch("codex", &request).unwrap_err().to_string(), text);
        }
        assert!(plan_launch("", &request()).is_err());
    }
}
