//! Files that say which version of a tool a project wants. Owns their forms; gets their text, and must never read a
//! disk.

use super::wanted::Tool;

/// Why a file says no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionFileError {
    /// It has none.
    #[error("{name} names no version of {tool}")]
    None {
        /// The file.
        name: String,
        /// Whose.
        tool: &'static str,
    },
    /// It cannot be read.
    #[error("{name} cannot be read: {why}")]
    Form {
        /// The file.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// Returns the version a file names, by the file's own form.
///
/// Errors: [`VersionFileError`].
pub fn version_in_file(tool: Tool, name: &str, text: &str) -> Result<String, VersionFileError> {
    let word = match tool {
        Tool::Node => "node",
        Tool::Python => "python",
        Tool::Go => "go",
        Tool::Java => "java",
        Tool::Other => "the tool",
    };
    let base = name.rsplit('/').next().unwrap_or(name);
    let found = match (base, tool) {
        (".tool-versions", _) => tool_versions(word, text),
        ("package.json", Tool::Node) => package_json(name, text)?,
        ("pyproject.toml", Tool::Python) => pyproject(name, text)?,
        ("Pipfile", Tool::Python) => pipfile(name, text)?,
        ("go.mod" | "go.work", Tool::Go) => go_mod(text),
        (".sdkmanrc", Tool::Java) => sdkmanrc(text),
        _ => plain(text),
    };
    found
        .filter(|version| !version.is_empty())
        .ok_or_else(|| VersionFileError::None {
            name: name.to_owned(),
            tool: word,
        })
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
}

fn plain(text: &str) -> Option<String> {
    let line = lines(text).next()?;
    let line = line
        .strip_prefix("nodejs ")
        .or_else(|| line.strip_prefix("node "))
        .unwrap_or(line);
    Some(line.trim().to_owned())
}

fn tool_versions(word: &str, text: &str) -> Option<String> {
    let names: &[&str] = match word {
        "node" => &["node", "nodejs"],
        "go" => &["go", "golang"],
        other => &[other],
    };
    lines(text).find_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let version = words.next()?;
        let version = version
            .rsplit_once('-')
            .filter(|_| word == "java")
            .map_or(version, |(_, version)| version);
        names.contains(&name).then(|| version.to_owned())
    })
}

fn package_json(name: &str, text: &str) -> Result<Option<String>, VersionFileError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| VersionFileError::Form {
        name: name.to_owned(),
        why: error.to_string(),
    })?;
    let engine = |at: &serde_json::Value| {
        let list = at.as_array().cloned().unwrap_or_else(|| vec![at.clone()]);
        list.iter()
            .find(|one| one["name"] == "node")
            .and_then(|one| one["version"].as_str())
            .map(str::to_owned)
    };
    let found = value["volta"]["node"].as_str().map(str::to_owned);
    let found = found.or_else(|| engine(&value["devEngines"]["runtime"]));
    Ok(found.or_else(|| value["engines"]["node"].as_str().map(str::to_owned)))
}

fn toml(name: &str, text: &str) -> Result<toml::Table, VersionFileError> {
    text.parse()
        .map_err(|error: toml::de::Error| VersionFileError::Form {
            name: name.to_owned(),
            why: error.message().to_owned(),
        })
}

fn pyproject(name: &str, text: &str) -> Result<Option<String>, VersionFileError> {
    let table = toml(name, text)?;
    let at = |path: &[&str]| {
        let mut value = table.get(path[0])?;
        for key in &path[1..] {
            value = value.get(*key)?;
        }
        value.as_str().map(str::to_owned)
    };
    let found = at(&["project", "requires-python"]);
    Ok(found
        .or_else(|| at(&["tool", "poetry", "dependencies", "python"]))
        .map(|text| text.replace("==", "=")))
}

fn pipfile(name: &str, text: &str) -> Result<Option<String>, VersionFileError> {
    let table = toml(name, text)?;
    let requires = table.get("requires");
    let at = |key: &str| {
        requires
            .and_then(|value| value.get(key))
            .and_then(|value| value.as_str())
    };
    Ok(at("python_full_version")
        .or_else(|| at("python_version"))
        .map(str::to_owned))
}

fn go_mod(text: &str) -> Option<String> {
    let directive = |word: &str| {
        text.lines()
            .map(|line| line.split("//").next().unwrap_or("").trim())
            .find_map(|line| {
                let rest = line.strip_prefix(word)?;
                rest.starts_with([' ', '\t'])
                    .then(|| rest.trim().trim_start_matches("go").to_owned())
            })
    };
    directive("toolchain")
        .filter(|version| version != "default")
        .or_else(|| directive("go"))
}

fn sdkmanrc(text: &str) -> Option<String> {
    let value = lines(text).find_map(|line| line.strip_prefix("java="))?;
    Some(value.split('-').next().unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_says_its_version_in_its_own_form() {
        let cases: &[(Tool, &str, &str, &str)] = &[
            (Tool::Node, ".nvmrc", "v20.1.0\n", "v20.1.0"),
            (Tool::Node, ".nvmrc", "# comment\nlts/*\n", "lts/*"),
            (Tool::Node, "a/.node-version", "20\n", "20"),
            (
                Tool::Node,
                ".tool-versions",
                "ruby 3\nnodejs 18.2.0 # x\n",
                "18.2.0",
            ),
            (
                Tool::Node,
                "package.json",
                "{\"engines\":{\"node\":\">=18\"}}",
                ">=18",
            ),
            (
                Tool::Node,
                "package.json",
                "{\"engines\":{\"node\":\"1\"},\"volta\":{\"node\":\"2\"}}",
                "2",
            ),
            (
                Tool::Node,
                "package.json",
                "{\"devEngines\":{\"runtime\":{\"name\":\"node\",\"version\":\"^20\"}}}",
                "^20",
            ),
            (Tool::Python, ".python-version", "3.11.2\n3.10\n", "3.11.2"),
            (
                Tool::Python,
                "pyproject.toml",
                "[project]\nrequires-python = \">=3.9,<3.12\"\n",
                ">=3.9,<3.12",
            ),
            (
                Tool::Python,
                "pyproject.toml",
                "[tool.poetry.dependencies]\npython = \"^3.9\"\n",
                "^3.9",
            ),
            (
                Tool::Python,
                "Pipfile",
                "[requires]\npython_version = \"3.9\"\n",
                "3.9",
            ),
            (Tool::Go, "go.mod", "module x\n\ngo 1.21 // y\n", "1.21"),
            (
                Tool::Go,
                "go.mod",
                "module x\ngo 1.21\ntoolchain go1.22.1\n",
                "1.22.1",
            ),
            (Tool::Go, "go.work", "go 1.20\nuse ./a\n", "1.20"),
            (Tool::Go, ".tool-versions", "golang 1.20.1", "1.20.1"),
            (Tool::Java, ".java-version", "17", "17"),
            (Tool::Java, ".sdkmanrc", "java=21.0.5-tem\n", "21.0.5"),
            (Tool::Java, ".tool-versions", "java temurin-21.0.5", "21.0.5"),
        ];
        for (tool, name, text, expected) in cases {
            assert_eq!(
                version_in_file(*tool, name, text).as_deref(),
                Ok(*expected),
                "{name}: {text}"
            );
        }
    }

    #[test]
    fn a_file_that_says_nothing_is_named() {
        for (tool, name, text) in [
            (Tool::Node, ".nvmrc", "\n"),
            (Tool::Go, "go.mod", "module golang\n"),
            (Tool::Node, "package.json", "{}"),
        ] {
            let error = version_in_file(tool, name, text).expect_err("it has none");
            assert!(matches!(error, VersionFileError::None { .. }), "{error}");
        }
        let error = version_in_file(Tool::Python, "pyproject.toml", "[").expect_err("it is broken");
        assert!(matches!(error, VersionFileError::Form { .. }));
    }
}
