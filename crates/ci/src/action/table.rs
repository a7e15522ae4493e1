//! The table of built-in actions. Owns which names and versions are built in; a name that is not in it is not, and a
//! version that means other behaviour is refused.

use std::collections::BTreeMap;

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, Inputs};
use super::{
    artifacts, cached, checkout, install_tool, rust_cache, rust_toolchain, setup_go, setup_java, setup_node,
    setup_pnpm, setup_python, setup_uv,
};

/// Which versions of an action are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// Majors from one to another; branches and commits are taken for the newest.
    Majors(u64, u64),
    /// What stands after `@` says what is asked for.
    Any,
}

/// A built-in action.
#[derive(Debug, Clone, Copy)]
pub struct NativeAction {
    /// `owner/name` or `owner/name/path`.
    pub name: &'static str,
    versions: Versions,
    /// Its inputs.
    pub inputs: &'static [InputSpec],
    run: fn(&mut ActionCall<'_>) -> Result<ActionOutcome, ActionError>,
}

/// Why a version of a built-in action is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}@{version} is not built in: {name}@v{from} to @v{to} are")]
pub struct VersionRefused {
    /// The action.
    pub name: &'static str,
    /// What stands after `@`.
    pub version: String,
    /// The oldest major that is built in.
    pub from: u64,
    /// The newest.
    pub to: u64,
}

macro_rules! action {
    ($name:literal, $versions:expr, $inputs:expr, $run:expr) => {
        NativeAction {
            name: $name,
            versions: $versions,
            inputs: $inputs,
            run: $run,
        }
    };
}

const TABLE: &[NativeAction] = &[
    action!(
        "Swatinem/rust-cache",
        Versions::Majors(1, 2),
        rust_cache::INPUTS,
        rust_cache::run
    ),
    action!(
        "actions-rs/toolchain",
        Versions::Majors(1, 1),
        rust_toolchain::OLD_INPUTS,
        rust_toolchain::run_old
    ),
    action!(
        "actions/cache",
        Versions::Majors(2, 5),
        cached::INPUTS,
        cached::run
    ),
    action!(
        "actions/cache/restore",
        Versions::Majors(3, 5),
        cached::RESTORE_INPUTS,
        cached::restore
    ),
    action!(
        "actions/cache/save",
        Versions::Majors(3, 5),
        cached::SAVE_INPUTS,
        cached::save
    ),
    action!(
        "actions/checkout",
        Versions::Majors(2, 6),
        checkout::INPUTS,
        checkout::run
    ),
    action!(
        "actions/download-artifact",
        Versions::Majors(4, 8),
        artifacts::DOWNLOAD_INPUTS,
        artifacts::down
    ),
    action!(
        "actions/setup-go",
        Versions::Majors(3, 6),
        setup_go::INPUTS,
        setup_go::run
    ),
    action!(
        "actions/setup-java",
        Versions::Majors(2, 5),
        setup_java::INPUTS,
        setup_java::run
    ),
    action!(
        "actions/setup-node",
        Versions::Majors(2, 6),
        setup_node::INPUTS,
        setup_node::run
    ),
    action!(
        "actions/setup-python",
        Versions::Majors(3, 6),
        setup_python::INPUTS,
        setup_python::run
    ),
    action!(
        "actions/upload-artifact",
        Versions::Majors(4, 7),
        artifacts::UPLOAD_INPUTS,
        artifacts::up
    ),
    action!(
        "actions/upload-artifact/merge",
        Versions::Majors(4, 7),
        artifacts::MERGE_INPUTS,
        artifacts::merged
    ),
    action!(
        "astral-sh/setup-uv",
        Versions::Majors(1, 7),
        setup_uv::INPUTS,
        setup_uv::run
    ),
    action!(
        "dtolnay/rust-toolchain",
        Versions::Any,
        rust_toolchain::INPUTS,
        rust_toolchain::run
    ),
    action!(
        "pnpm/action-setup",
        Versions::Majors(2, 4),
        setup_pnpm::INPUTS,
        setup_pnpm::run
    ),
    action!(
        "taiki-e/install-action",
        Versions::Any,
        install_tool::INPUTS,
        install_tool::run
    ),
];

/// Returns the names of all built-in actions, in order.
pub fn known_actions() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|action| action.name)
}

/// Returns the built-in action of a name, if there is one; names are not told apart by their case.
///
/// Errors: [`VersionRefused`] if there is one, and not of this version.
pub fn find_action(name: &str, version: &str) -> Result<Option<&'static NativeAction>, VersionRefused> {
    let Some(action) = TABLE.iter().find(|action| action.name.eq_ignore_ascii_case(name)) else {
        return Ok(None);
    };
    let Versions::Majors(from, to) = action.versions else {
        return Ok(Some(action));
    };
    let major = version
        .strip_prefix('v')
        .unwrap_or(version)
        .split('.')
        .next()
        .unwrap_or("");
    match major.parse::<u64>() {
        // A commit of digits alone would be far above every major.
        Ok(major) if major < 1000 && !(from..=to).contains(&major) => Err(VersionRefused {
            name: action.name,
            version: version.to_owned(),
            from,
            to,
        }),
        _ => Ok(Some(action)),
    }
}

impl NativeAction {
    /// Completes the inputs of a step and says what GitHub would warn of.
    #[must_use]
    pub fn inputs_of(&self, given: &BTreeMap<String, String>) -> (Inputs, Option<String>) {
        let (inputs, unknown) = Inputs::new(self.inputs, given);
        let quoted = |names: &mut dyn Iterator<Item = &str>| {
            names
                .map(|name| format!("'{name}'"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let warning = (!unknown.is_empty()).then(|| {
            format!(
                "Unexpected input(s) {}, valid inputs are [{}]",
                quoted(&mut unknown.iter().map(String::as_str)),
                quoted(&mut self.inputs.iter().map(|input| input.name))
            )
        });
        (inputs, warning)
    }
}

/// Runs the main part of a built-in action; the call's inputs come from [`NativeAction::inputs_of`].
///
/// Errors: [`ActionError`]; then the step has failed.
pub fn run_action(action: &NativeAction, call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    (action.run)(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_built_in_in_some_versions() {
        let found = |name, version| find_action(name, version).map(|action| action.map(|action| action.name));
        assert_eq!(found("Actions/Checkout", "v4"), Ok(Some("actions/checkout")));
        assert_eq!(found("actions/checkout", "v4.2.2"), Ok(Some("actions/checkout")));
        assert_eq!(found("actions/checkout", "main"), Ok(Some("actions/checkout")));
        let commit = "1".repeat(40);
        assert_eq!(found("actions/checkout", &commit), Ok(Some("actions/checkout")));
        assert_eq!(found("actions/github-script", "v7"), Ok(None));
        assert_eq!(
            found("dtolnay/rust-toolchain", "1.80.0"),
            Ok(Some("dtolnay/rust-toolchain"))
        );
        let refused = found("actions/upload-artifact", "v3")
            .expect_err("it works otherwise")
            .to_string();
        assert_eq!(
            refused,
            "actions/upload-artifact@v3 is not built in: actions/upload-artifact@v4 to @v7 are"
        );
    }

    #[test]
    fn the_table_is_in_order_and_each_name_once() {
        let names: Vec<_> = known_actions().collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    }

    #[test]
    fn an_unknown_input_is_warned_of() {
        let action = find_action("actions/cache/save", "v4")
            .expect("a version")
            .expect("it is there");
        let given = [("pth".to_owned(), "x".to_owned())].into();
        let warning = action.inputs_of(&given).1.expect("it is warned of");
        assert!(
            warning.starts_with("Unexpected input(s) 'pth', valid inputs are ['path', 'key'"),
            "{warning}"
        );
    }
}
