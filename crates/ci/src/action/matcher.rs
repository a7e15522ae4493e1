//! The problem matchers that the official actions register. Owns their patterns, written for the output of the tools
//! named; must never match a line itself.

use super::call::Matcher;

/// `file.ts(1,2): error TS1: text`, and the form of `--pretty`.
pub(super) const TSC: Matcher = Matcher(
    r#"{"problemMatcher":[{"owner":"tsc","pattern":[{"regexp":"^(?:\\s+\\d+>)?([^\\s].*?)(?:\\((\\d+)(?:,(\\d+))?(?:,\\d+,\\d+)?\\)|:(\\d+):(\\d+))\\s*(?::|-)\\s+(error|warning|info)\\s+(TS\\d+)\\s*:\\s*(.*)$","file":1,"line":2,"column":3,"severity":6,"code":7,"message":8}]}]}"#,
);

/// `file:line:col: severity message [rule]`.
pub(super) const ESLINT_COMPACT: Matcher = Matcher(
    r#"{"problemMatcher":[{"owner":"eslint-compact","pattern":[{"regexp":"^(.+):\\sline\\s(\\d+),\\scol\\s(\\d+),\\s(Error|Warning|Info)\\s-\\s(.+)\\s\\((.+)\\)$","file":1,"line":2,"column":3,"severity":4,"message":5,"code":6}]}]}"#,
);

/// A file's name alone, then `  1:2  error  message  rule` for each problem.
pub(super) const ESLINT_STYLISH: Matcher = Matcher(
    r#"{"problemMatcher":[{"owner":"eslint-stylish","pattern":[{"regexp":"^([^\\s].*)$","file":1},{"regexp":"^\\s+(\\d+):(\\d+)\\s+(error|warning|info)\\s+(.*?)(?:\\s\\s+(.*))?$","line":1,"column":2,"severity":3,"message":4,"code":5,"loop":true}]}]}"#,
);

/// A Python traceback's last frame and the error below it.
pub(super) const PYTHON: Matcher = Matcher(
    r#"{"problemMatcher":[{"owner":"python","pattern":[{"regexp":"^\\s*File\\s\"(.*)\",\\sline\\s(\\d+),\\sin\\s(.*)$","file":1,"line":2},{"regexp":"^\\s*raise\\s(.*)\\((['\"])(.*)\\2\\)\\s*$","message":3}]}]}"#,
);

/// `file.go:1:2: text`, of the compiler and of vet.
pub(super) const GO: Matcher = Matcher(
    r#"{"problemMatcher":[{"owner":"go","pattern":[{"regexp":"^\\s*(?:\\./)?([^:\\s]+\\.go):(\\d+):(?:(\\d+):)?\\s+(.*)$","file":1,"line":2,"column":3,"message":4}]}]}"#,
);

/// `File.java:1: error: text`, and uncaught exceptions.
pub(super) const JAVA: Matcher = Matcher(
    r#"{"problemMatcher":[{"owner":"javac","pattern":[{"regexp":"^([^:\\s]+\\.java):(\\d+):\\s(error|warning):\\s(.*)$","file":1,"line":2,"severity":3,"message":4}]},{"owner":"java","pattern":[{"regexp":"^Exception in thread \"[^\"]*\"\\s(.*)$","message":1},{"regexp":"^\\s+at\\s.*\\((.+\\.java):(\\d+)\\)$","file":1,"line":2}]}]}"#,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_matcher_is_json_with_an_owner() {
        for matcher in [TSC, ESLINT_COMPACT, ESLINT_STYLISH, PYTHON, GO, JAVA] {
            let value: serde_json::Value = serde_json::from_str(matcher.0).expect("it is JSON");
            let list = value["problemMatcher"].as_array().expect("it is a list");
            assert!(
                list.iter()
                    .all(|one| one["owner"].is_string() && one["pattern"][0]["regexp"].is_string())
            );
        }
    }
}
