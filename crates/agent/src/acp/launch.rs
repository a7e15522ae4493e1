//! How a program that speaks the protocol is started. The brief, the session and the bridge go by the protocol; the
//! lane's template says the rest.

use crate::adapter::{AdapterKind, ProgramTemplate};
use crate::launch::{
    HomeFile, LaunchError, LaunchPlan, LaunchRequest, Stdin, Values, fill, refuse_odd_bridge, refuse_options,
};

pub(crate) fn plan_launch(
    template: &ProgramTemplate,
    request: &LaunchRequest,
) -> Result<LaunchPlan, LaunchError> {
    let adapter = AdapterKind::Acp;
    refuse_options(request)?;
    refuse_odd_bridge(adapter, request)?;
    if template.argv.is_empty() {
        return Err(LaunchError::NoProgram { adapter });
    }
    if let Some(bridge) = request
        .bridge
        .as_ref()
        .filter(|bridge| !bridge.env_names.is_empty())
    {
        return Err(LaunchError::Bridge {
            adapter,
            name: bridge.name.clone(),
            problem: "the protocol hands no variables on, name a socket or a file in its argv instead",
        });
    }
    let values = Values {
        workspace: &request.workspace,
        home: &request.home,
        brief: None,
        model: request.model.as_deref(),
        session: request.resume.as_deref(),
    };
    let argv = match (&template.resume_argv, &request.resume) {
        (Some(argv), Some(_)) => argv,
        _ => &template.argv,
    };
    if let Some(model) = &request.model {
        let mut texts = argv.iter().chain(template.env.iter().map(|(_, value)| value));
        if !texts.any(|text| text.contains("{model}")) {
            return Err(LaunchError::ModelUnused {
                adapter,
                model: model.clone(),
            });
        }
    }
    let mut filled = argv
        .iter()
        .map(|text| fill(text, &values))
        .collect::<Result<Vec<_>, _>>()?;
    filled.extend(request.extra_args.iter().cloned());
    let env = template
        .env
        .iter()
        .map(|(name, value)| Ok((name.clone(), fill(value, &values)?)));
    let instructions = request.instructions.iter();
    Ok(LaunchPlan {
        argv: filled,
        env: env.collect::<Result<Vec<_>, LaunchError>>()?,
        folder: request.workspace.clone(),
        home_files: instructions
            .map(|text| HomeFile::private("AGENTS.md", text.clone()))
            .collect(),
        stdin: Stdin::Replies,
        transcripts: template.transcripts.clone(),
        enforces_budget: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{Brief, McpBridge};

    fn template() -> ProgramTemplate {
        ProgramTemplate {
            argv: vec!["codex-acp".to_owned()],
            env: vec![("CODEX_HOME".to_owned(), "{home}".to_owned())],
            ..ProgramTemplate::default()
        }
    }

    fn request() -> LaunchRequest {
        LaunchRequest {
            extra_args: vec!["--quiet".to_owned()],
            ..LaunchRequest::new(Brief::Text("Do it.".to_owned()), "/ws", "/h")
        }
    }

    #[test]
    fn the_program_is_answered_on_its_standard_input() {
        let plan = plan_launch(&template(), &request()).unwrap();
        assert_eq!(plan.argv, ["codex-acp", "--quiet"]);
        assert_eq!(plan.env, [("CODEX_HOME".to_owned(), "/h".to_owned())]);
        assert_eq!(plan.stdin, Stdin::Replies);
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        let mut model = request();
        model.model = Some("m".to_owned());
        assert_eq!(
            plan_launch(&template(), &model).unwrap_err().to_string(),
            "the acp lane has nowhere to say model \"m\": write {model} in its argv or its variables"
        );
        let mut named = template();
        named.argv.push("--model={model}".to_owned());
        let plan = plan_launch(&named, &model).unwrap();
        assert_eq!(plan.argv, ["codex-acp", "--model=m", "--quiet"]);
        let mut bridge = request();
        bridge.bridge = Some(McpBridge {
            name: "gantry".to_owned(),
            argv: vec!["gantry".to_owned()],
            env_names: vec!["KEY".to_owned()],
        });
        assert!(matches!(
            plan_launch(&template(), &bridge),
            Err(LaunchError::Bridge { .. })
        ));
        assert!(plan_launch(&ProgramTemplate::default(), &request()).is_err());
    }
}
