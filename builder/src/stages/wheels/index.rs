//! Which package index: what pip is configured with holds for uv too.
//!
//! pip reads pip.conf and `PIP_*`, uv reads neither. A machine set up for pip must not resolve against one index and
//! fetch from another, so pip is asked for its configuration and uv is given the same, unless uv has its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pannier_shared::sys::{fs, process};

use crate::stages::tools::Tools;

/// pip reads a few small files.
const LIMIT: Duration = Duration::from_secs(60);

/// pip's name of a setting, and the variable by which uv takes the same.
const SAME: &[(&str, &str)] = &[
    ("index-url", "UV_DEFAULT_INDEX"),
    ("extra-index-url", "UV_INDEX"),
    ("find-links", "UV_FIND_LINKS"),
    ("trusted-host", "UV_INSECURE_HOST"),
    ("cert", "SSL_CERT_FILE"),
];

/// uv with variables and options that say what pip's configuration says. Where a list names the first index itself
/// (`lines`), that one counts, as with pip.
pub fn uv_as_pip(tools: &Tools, lines: &[String]) -> Command {
    // A pip that cannot list its configuration has nothing to tell; then uv's own defaults hold.
    let printed = process::run(tools.pip().args(["config", "list"]), LIMIT);
    let printed = printed.map(|printed| String::from_utf8_lossy(&printed.stdout).into_owned()).unwrap_or_default();
    let mut settings = translate(&printed);
    let own_index = lines.iter().any(|line| line.starts_with("--index-url"));
    settings.retain(|name, _| !(tools.is_set(name) || own_index && *name == "UV_DEFAULT_INDEX"));
    let mut uv = tools.uv();
    uv.envs(settings).args(["pip", "compile"]);
    // There is no variable for this one.
    if printed.lines().any(has_no_index) {
        uv.arg("--no-index");
    }
    uv
}

fn has_no_index(line: &str) -> bool {
    let value = line.split_once(".no-index=").map(|(_, value)| value.trim_matches(['\'', '"']).to_ascii_lowercase());
    value.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "on" | "y" | "t"))
}

/// Reads lines such as `global.index-url='https://...'`; the environment's (`:env:.`) win over files'.
fn translate(printed: &str) -> BTreeMap<&'static str, String> {
    let mut found: BTreeMap<&'static str, (bool, String)> = BTreeMap::new();
    for (key, value) in printed.lines().filter_map(|line| line.split_once('=')) {
        let Some((section, name)) = key.rsplit_once('.') else { continue };
        let Some((_, variable)) = SAME.iter().find(|(setting, _)| *setting == name) else { continue };
        let (from_env, value) = (section == ":env:", values(variable, value));
        let beaten = found.get(variable).is_some_and(|(other, _)| *other && !from_env);
        if !beaten && !value.is_empty() {
            found.insert(variable, (from_env, value));
        }
    }
    found.into_iter().map(|(variable, (_, value))| (variable, value)).collect()
}

/// A quoted value; several are separated by blanks or line ends. uv refuses a folder of links that is not there.
fn values(variable: &str, quoted: &str) -> String {
    let text = quoted.trim().trim_matches(['\'', '"']).replace("\\n", " ");
    let usable = |word: &&str| variable != "UV_FIND_LINKS" || word.contains("://") || fs::exists(Path::new(word));
    let words: Vec<&str> = text.split_whitespace().filter(usable).collect();
    words.join(if variable == "UV_FIND_LINKS" { "," } else { " " })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pip_prints_becomes_what_uv_reads() {
        let printed = "global.index-url='https://a.example/simple'\nglobal.extra-index-url='\\nhttps://b.example\\nhttps://c.example'\n\
                       :env:.timeout='9'\n:env:.find-links='/nowhere/wheels'\n";
        let found = translate(printed);
        assert_eq!(found["UV_DEFAULT_INDEX"], "https://a.example/simple");
        assert_eq!(found["UV_INDEX"], "https://b.example https://c.example");
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn switching_the_index_off_is_understood() {
        assert!(has_no_index(":env:.no-index='1'") && has_no_index("global.no-index='true'"));
        assert!(!has_no_index("global.no-index='false'") && !has_no_index("global.index-url='1'"));
    }

    #[test]
    fn the_environment_wins_over_files_in_any_order() {
        let lines = [":env:.index-url='https://env.example'", "global.index-url='https://file.example'"];
        for printed in [lines.join("\n"), [lines[1], lines[0]].join("\n")] {
            assert_eq!(translate(&printed)["UV_DEFAULT_INDEX"], "https://env.example");
        }
    }
}
