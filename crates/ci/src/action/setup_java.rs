//! `actions/setup-java`: a JDK of the wanted maker that is in the box, in `JAVA_HOME` and on `PATH`.

use std::path::{Path, PathBuf};

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, default, input};
use super::matcher::JAVA;
use super::toolchain::Look;
use crate::version::{Tool, Version, Wanted};

pub(super) const INPUTS: &[InputSpec] = &[
    input("java-version"),
    input("java-version-file"),
    input("distribution"),
    default("java-package", "jdk"),
    input("architecture"),
    input("jdk-file"),
    input("jdkFile"),
    default("check-latest", "false"),
    default("force-download", "false"),
    default("set-default", "true"),
    default("verify-signature", "false"),
    input("verify-signature-public-key"),
    default("server-id", "github"),
    input("server-username-env-var"),
    input("server-username"),
    input("server-password-env-var"),
    input("server-password"),
    input("settings-path"),
    default("overwrite-settings", "true"),
    input("gpg-private-key"),
    input("gpg-passphrase-env-var"),
    input("gpg-passphrase"),
    input("cache"),
    input("cache-jdk"),
    input("cache-dependency-path"),
    input("cache-path"),
    default("cache-read-only", "false"),
    input("job-status"),
    input("token"),
    input("mvn-toolchain-id"),
    input("mvn-toolchain-vendor"),
    default("show-download-progress", "false"),
    default("problem-matcher", "true"),
];

/// Distributions, and what the `IMPLEMENTOR` in their `release` files begins with.
const MAKERS: &[(&str, &str)] = &[
    ("temurin", "Eclipse Adoptium"),
    ("adopt", "AdoptOpenJDK"),
    ("adopt-hotspot", "AdoptOpenJDK"),
    ("adopt-openj9", "AdoptOpenJDK"),
    ("zulu", "Azul"),
    ("liberica", "BellSoft"),
    ("microsoft", "Microsoft"),
    ("corretto", "Amazon"),
    ("semeru", "IBM"),
    ("oracle", "Oracle"),
    ("dragonwell", "Alibaba"),
    ("sapmachine", "SAP"),
    ("graalvm", "Oracle"),
    ("graalvm-community", "GraalVM Community"),
    ("jetbrains", "JetBrains"),
    ("kona", "Tencent"),
];

struct Jdk {
    version: Version,
    maker: String,
    home: PathBuf,
}

/// Reads `JAVA_VERSION` and `IMPLEMENTOR` of a `release` file.
fn release(text: &str) -> Option<(Version, String)> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            Some(
                line.strip_prefix(name)?
                    .strip_prefix('=')?
                    .trim()
                    .trim_matches('"')
                    .to_owned(),
            )
        })
    };
    let written = value("JAVA_VERSION")?;
    let numbers = match written.strip_prefix("1.8.0_") {
        Some(update) => format!("8.0.{update}"),
        None => written
            .split(['-', '+'])
            .next()?
            .split('.')
            .take(3)
            .collect::<Vec<_>>()
            .join("."),
    };
    let zeros = ["", ".0", ".0.0"]
        .iter()
        .rev()
        .find_map(|zeros| Version::parse(&format!("{numbers}{zeros}")));
    Some((zeros?, value("IMPLEMENTOR").unwrap_or_default()))
}

fn present(call: &ActionCall<'_>) -> Result<Vec<Jdk>, ActionError> {
    let mut places = vec![
        ("/usr/lib/jvm".into(), "*/bin/java"),
        (call.tool_cache(), "Java_*/*/*/bin/java"),
    ];
    if let Some(home) = call.home() {
        places.push((home.join(".sdkman/candidates/java"), "*/bin/java"));
        places.push((home.join(".jdks"), "*/bin/java"));
    }
    let mut jdks: Vec<Jdk> = Vec::new();
    for name in call
        .env
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("JAVA_HOME"))
    {
        places.extend(call.var(name).map(|value| (PathBuf::from(value), "bin/java")));
    }
    for (java, _) in call.look(&Look {
        programs: &["java"],
        places,
        ask: "-version",
    })? {
        let real = call.tell_in(&["readlink", "-f", &java.display().to_string()], call.workspace)?;
        let Some(home) = Path::new(&real).parent().and_then(Path::parent) else {
            continue;
        };
        if jdks.iter().any(|jdk| jdk.home == home) {
            continue;
        }
        if let Some((version, maker)) = call
            .read_file(&home.join("release"))?
            .as_deref()
            .and_then(release)
        {
            jdks.push(Jdk {
                version,
                maker,
                home: home.to_owned(),
            });
        }
    }
    Ok(jdks)
}

fn refuse(call: &ActionCall<'_>) -> Result<(), ActionError> {
    for name in ["jdk-file", "jdkFile", "gpg-private-key"] {
        if !call.inputs.get(name).is_empty() {
            return Err(ActionError::Offline(format!(
                "{name} of actions/setup-java is not built in"
            )));
        }
    }
    if call.inputs.is("force-download")? {
        return Err(ActionError::Offline(
            "force-download cannot be done: nothing is downloaded".to_owned(),
        ));
    }
    match call.inputs.get("java-package") {
        "jdk" | "jre" => Ok(()),
        other => Err(ActionError::Offline(format!(
            "java-package '{other}' cannot be told apart in this box"
        ))),
    }
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    refuse(call)?;
    call.check_architecture()?;
    let unused = [
        "check-latest",
        "verify-signature",
        "verify-signature-public-key",
        "cache-jdk",
    ];
    call.without_effect(&unused, "only what is in the box is looked at");
    let mut wishes: Vec<String> = call.inputs.lines("java-version").map(str::to_owned).collect();
    if wishes.is_empty() {
        let text = call.version_input(Tool::Java, "java-version", "java-version-file")?;
        wishes.extend(text);
    }
    if wishes.is_empty() {
        return Err(ActionError::Failed(
            "java-version or java-version-file input expected".to_owned(),
        ));
    }
    let distribution = call.inputs.required("distribution")?.to_lowercase();
    let Some((_, maker)) = MAKERS.iter().find(|(name, _)| *name == distribution) else {
        return Err(ActionError::Failed(format!(
            "No supported distribution was found for input {distribution}"
        )));
    };
    let jdks = present(call)?;
    let of_maker: Vec<(Version, PathBuf)> = jdks
        .iter()
        .filter(|jdk| jdk.maker.starts_with(maker))
        .map(|jdk| (jdk.version.clone(), jdk.home.clone()))
        .collect();
    let mut outcome = ActionOutcome::default();
    let default = call.inputs.is("set-default")?;
    let mut homes = Vec::new();
    for text in &wishes {
        let wanted = Wanted::parse(Tool::Java, text, false).ok_or_else(|| {
            ActionError::Failed(format!("'{text}' is no version of Java that can be looked for"))
        })?;
        let Some((version, home)) = wanted.choose(&of_maker).cloned() else {
            return Err(ActionError::Missing {
                tool: format!("a JDK of {maker} ({distribution})"),
                wanted: text.clone(),
                present: jdks
                    .iter()
                    .map(|jdk| format!("{} of {} ({})", jdk.version, jdk.maker, jdk.home.display()))
                    .collect(),
            });
        };
        call.say(&format!("Java {version} of {maker}: {}", home.display()));
        let home = home.display().to_string();
        if default {
            outcome.set_env("JAVA_HOME", &*home);
            outcome.path.push(format!("{home}/bin"));
        }
        outcome.set_env(
            &format!("JAVA_HOME_{}_{}", version.major, call.arch().to_uppercase()),
            &*home,
        );
        outcome.output("distribution", &*distribution);
        outcome.output("version", version.to_string());
        outcome.output("path", &*home);
        homes.push((text.clone(), home));
    }
    settings(call)?;
    toolchains(call, &distribution, &homes)?;
    if !call.inputs.is("show-download-progress")? {
        let known = call.var("MAVEN_ARGS").unwrap_or_default();
        if !known.contains("-ntp") {
            outcome.set_env("MAVEN_ARGS", format!("{known} -ntp").trim());
        }
    }
    let manager = call.inputs.get("cache").to_owned();
    if !manager.is_empty() {
        let exact = dependencies(call, &mut outcome, &manager)?;
        outcome.output("cache-hit", exact.to_string());
    }
    if call.inputs.is("problem-matcher")? {
        outcome.matchers.push(JAVA);
    }
    Ok(outcome)
}

/// Writes Maven's settings, which read the name and the password from the environment.
fn settings(call: &ActionCall<'_>) -> Result<(), ActionError> {
    let Some(home) = call.home() else { return Ok(()) };
    let folder = match call.inputs.get("settings-path") {
        "" => home.join(".m2"),
        path => call.path(path),
    };
    let at = folder.join("settings.xml");
    if !call.inputs.is("overwrite-settings")? && call.read_file(&at)?.is_some() {
        return Ok(());
    }
    let named = |new: &str, old: &str, usual: &'static str| {
        [new, old]
            .map(|name| call.inputs.get(name))
            .into_iter()
            .find(|value| !value.is_empty())
            .unwrap_or(usual)
            .to_owned()
    };
    let name = named("server-username-env-var", "server-username", "GITHUB_ACTOR");
    let password = named("server-password-env-var", "server-password", "GITHUB_TOKEN");
    let text = format!(
        "<settings>\n  <interactiveMode>false</interactiveMode>\n  <servers>\n    <server>\n      <id>{}</id>\n      <username>${{env.{}}}</username>\n      <password>${{env.{}}}</password>\n    </server>\n  </servers>\n</settings>\n",
        escape(call.inputs.get("server-id")),
        escape(&name),
        escape(&password)
    );
    Ok(call.sandbox.put_file(&at, text.as_bytes(), 0o644)?)
}

/// Writes Maven's list of JDKs, unless there is one.
fn toolchains(
    call: &mut ActionCall<'_>,
    distribution: &str,
    homes: &[(String, String)],
) -> Result<(), ActionError> {
    let Some(home) = call.home() else { return Ok(()) };
    let folder = match call.inputs.get("settings-path") {
        "" => home.join(".m2"),
        path => call.path(path),
    };
    let at = folder.join("toolchains.xml");
    if call.read_file(&at)?.is_some() {
        call.warn(&format!("{} is there already and stays as it is", at.display()));
        return Ok(());
    }
    let vendor = Some(call.inputs.get("mvn-toolchain-vendor"))
        .filter(|text| !text.is_empty())
        .unwrap_or(distribution);
    let ids: Vec<&str> = call.inputs.lines("mvn-toolchain-id").collect();
    if !ids.is_empty() && ids.len() != homes.len() {
        return Err(ActionError::Failed(
            "mvn-toolchain-id has to name as many as java-version does".to_owned(),
        ));
    }
    let mut text = "<toolchains>\n".to_owned();
    for (index, (version, jdk)) in homes.iter().enumerate() {
        let id = ids
            .get(index)
            .map_or_else(|| format!("{vendor}_{version}"), |id| (*id).to_owned());
        text.push_str(&format!(
            "  <toolchain>\n    <type>jdk</type>\n    <provides><version>{}</version><vendor>{}</vendor><id>{}</id></provides>\n    <configuration><jdkHome>{}</jdkHome></configuration>\n  </toolchain>\n",
            escape(version), escape(vendor), escape(&id), escape(jdk)
        ));
    }
    text.push_str("</toolchains>\n");
    Ok(call.sandbox.put_file(&at, text.as_bytes(), 0o644)?)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn dependencies(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    manager: &str,
) -> Result<bool, ActionError> {
    let (paths, locks) = match manager {
        "maven" => ("~/.m2/repository", "**/pom.xml"),
        "gradle" => (
            "~/.gradle/caches\n~/.gradle/wrapper",
            "**/*.gradle*\n**/gradle-wrapper.properties\nbuildSrc/**/Versions.kt\nbuildSrc/**/Dependencies.kt\ngradle/*.versions.toml\n**/versions.properties",
        ),
        "sbt" => (
            "~/.ivy2/cache\n~/.sbt\n~/.cache/coursier",
            "**/*.sbt\n**/project/build.properties\n**/project/**.scala\n**/project/**.sbt",
        ),
        other => {
            return Err(ActionError::Failed(format!(
                "unknown package manager specified: {other}"
            )));
        }
    };
    let or = |name: &str, usual: &str| {
        Some(call.inputs.get(name))
            .filter(|text| !text.is_empty())
            .unwrap_or(usual)
            .to_owned()
    };
    let (paths, locks) = (or("cache-path", paths), or("cache-dependency-path", locks));
    let Some(hash) = call.hash_files(&locks)? else {
        return Err(ActionError::Failed(format!(
            "No file in {} matched to [{}], make sure you have checked out the target repository",
            call.workspace.display(),
            locks.replace('\n', ",")
        )));
    };
    let key = format!("setup-java-Linux-{}-{manager}-{hash}", call.arch());
    outcome.output("cache-primary-key", &*key);
    let exact = call.restore_dependencies(outcome, &paths, &key, &[])?;
    if call.inputs.is("cache-read-only")? {
        outcome.post = None;
    }
    Ok(exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_file_says_version_and_maker() {
        let check = |text: &str, version: &str, maker: &str| {
            let (found, by) = release(text).expect("it says so");
            assert_eq!((found.to_string().as_str(), by.as_str()), (version, maker));
        };
        check(
            "IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_VERSION=\"17.0.12\"\n",
            "17.0.12",
            "Eclipse Adoptium",
        );
        check("JAVA_VERSION=\"21\"\n", "21.0.0", "");
        check(
            "JAVA_VERSION=\"1.8.0_302\"\nIMPLEMENTOR=\"Azul Systems, Inc.\"",
            "8.0.302",
            "Azul Systems, Inc.",
        );
        check("JAVA_VERSION=\"11.0.13.4\"\n", "11.0.13", "");
        assert!(release("X=1").is_none());
    }
}
