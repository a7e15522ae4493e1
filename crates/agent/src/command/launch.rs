//! How any other program is started: by the lane's template.

use serde_json::json;

use crate::adapter::{AdapterKind, ProgramTemplate};
use crate::launch::{
    Brief, HomeFile, LaunchError, LaunchPlan, LaunchRequest, Stdin, Values, fill, refuse_odd_bridge,
    refuse_options,
};

/// The brief's file in the agent's home, where a template names it.
const BRIEF_FILE: &str = "brief.md";
/// The bridge's file there, in the shape most agents read.
const BRIDGE_FILE: &str = "gantry-mcp.json";

pub(crate) fn plan_launch(
    template: &ProgramTemplate,
    request: &LaunchRequest,
) -> Result<LaunchPlan, LaunchError> {
    let adapter = AdapterKind::Command;
    refuse_options(request)?;
    refuse_odd_bridge(adapter, request)?;
    let argv = match (&request.resume, &template.resume_argv) {
        (None, _) => &template.argv,
        (Some(_), Some(argv)) => argv,
        (Some(session), None) => {
            return Err(LaunchError::CannotResume {
                adapter,
                session: session.clone(),
            });
        }
    };
    if argv.is_empty() {
        return Err(LaunchError::NoProgram { adapter });
    }
    let texts = || argv.iter().chain(template.env.iter().map(|(_, value)| value));
    if let Some(model) = request
        .model
        .as_ref()
        .filter(|_| !texts().any(|text| text.contains("{model}")))
    {
        return Err(LaunchError::ModelUnused {
            adapter,
            model: model.clone(),
        });
    }
    let mut home_files = Vec::new();
    let (brief_path, stdin) = brief(
        request,
        texts().any(|text| text.contains("{brief}")),
        &mut home_files,
    );
    let values = Values {
        workspace: &request.workspace,
        home: &request.home,
        brief: brief_path.as_deref(),
        model: request.model.as_deref(),
        session: request.resume.as_deref(),
    };
    let mut filled = argv
        .iter()
        .map(|text| fill(text, &values))
        .collect::<Result<Vec<_>, _>>()?;
    filled.extend(request.extra_args.iter().cloned());
    let env = template
        .env
        .iter()
        .map(|(name, value)| Ok((name.clone(), fill(value, &values)?)));
    let mut env = env.collect::<Result<Vec<_>, LaunchError>>()?;
    env.push(("GANTRY_AGENT_HOME".to_owned(), request.home.clone()));
    if let Some(bridge) = &request.bridge {
        let server = json!({"command": bridge.argv[0], "args": bridge.argv[1..]});
        let file = json!({"mcpServers": {bridge.name.as_str(): server}});
        home_files.push(HomeFile::private(BRIDGE_FILE, format!("{file:#}\n")));
        env.push((
            "GANTRY_MCP_CONFIG".to_owned(),
            format!("{}/{BRIDGE_FILE}", request.home),
        ));
    }
    if let Some(text) = &request.instructions {
        home_files.push(HomeFile::private("AGENTS.md", text.clone()));
    }
    Ok(LaunchPlan {
        argv: filled,
        env,
        folder: request.workspace.clone(),
        home_files,
        stdin,
        transcripts: template.transcripts.clone(),
        enforces_budget: false,
    })
}

/// The brief is on standard input, unless the template names its file: then input is closed, as a program that is told
/// of a file would wait for nothing there.
fn brief(request: &LaunchRequest, named: bool, home_files: &mut Vec<HomeFile>) -> (Option<String>, Stdin) {
    match (&request.brief, named) {
        (brief, false) => (None, Stdin::of_brief(brief)),
        (Brief::File(path), true) => (Some(path.clone()), Stdin::Closed),
        (Brief::Text(text), true) => {
            home_files.push(HomeFile::private(BRIEF_FILE, text.clone()));
            (Some(format!("{}/{BRIEF_FILE}", request.home)), Stdin::Closed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::McpBridge;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn request() -> LaunchRequest {
        LaunchRequest::new(Brief::Text("Do it.".to_owned()), "/ws", "/h")
    }

    #[test]
    fn the_brief_is_on_standard_input_or_in_the_file_that_is_named() {
        let mut template = ProgramTemplate {
            argv: words("repair --in {workspace}"),
            env: vec![("AGENT_HOME".to_owned(), "{home}".to_owned())],
            ..ProgramTemplate::default()
        };
        let plan = plan_launch(&template, &request()).unwrap();
        assert_eq!(
            (plan.argv, plan.stdin),
            (words("repair --in /ws"), Stdin::Bytes(b"Do it.".to_vec()))
        );
        assert_eq!(plan.env[0], ("AGENT_HOME".to_owned(), "/h".to_owned()));
        template.argv = words("repair {brief}");
        let plan = plan_launch(&template, &request()).unwrap();
        assert_eq!(
            (plan.argv, plan.stdin),
            (words("repair /h/brief.md"), Stdin::Closed)
        );
        assert_eq!(plan.home_files, [HomeFile::private("brief.md", "Do it.")]);
        let mut file = request();
        file.brief = Brief::File("/run/b.md".to_owned());
        let plan = plan_launch(&template, &file).unwrap();
        assert_eq!(
            (plan.argv, plan.home_files),
            (words("repair /run/b.md"), Vec::new())
        );
    }

    #[test]
    fn the_bridge_is_a_file_whose_path_is_a_variable() {
        let template = ProgramTemplate {
            argv: words("agent"),
            ..ProgramTemplate::default()
        };
        let mut request = request();
        request.bridge = Some(McpBridge {
            name: "gantry".to_owned(),
            argv: words("gantry mcp"),
            env_names: Vec::new(),
        });
        let plan = plan_launch(&template, &request).unwrap();
        let path = ("GANTRY_MCP_CONFIG".to_owned(), "/h/gantry-mcp.json".to_owned());
        assert!(plan.env.contains(&path));
        let file: serde_json::Value = serde_json::from_slice(&plan.home_files[0].bytes).unwrap();
        assert_eq!(file["mcpServers"]["gantry"]["args"][0], "mcp");
    }

    #[test]
    fn a_session_needs_a_way_to_be_gone_on_with() {
        let mut template = ProgramTemplate {
            argv: words("agent"),
            ..ProgramTemplate::default()
        };
        let mut request = request();
        request.resume = Some("s1".to_owned());
        assert_eq!(
            plan_launch(&template, &request).unwrap_err().to_string(),
            "the command lane cannot resume session \"s1\": set its resume argv, or start anew"
        );
        template.resume_argv = Some(words("agent --session {session}"));
        assert_eq!(
            plan_launch(&template, &request).unwrap().argv,
            words("agent --session s1")
        );
        request.model = Some("m".to_owned());
        assert!(matches!(
            plan_launch(&template, &request),
            Err(LaunchError::ModelUnused { .. })
        ));
    }
}
