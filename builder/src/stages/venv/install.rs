//! Who makes an environment and installs into it: uv, or the pip of the interpreter. What is left afterwards is the same.

use std::process::Command;
use std::time::Duration;

use pannier_shared::sys::{fs, process};

use super::{Error, Places, Venv};
use crate::settings::Installer;
use crate::stages::interpreter::Interpreter;
use crate::stages::target::Cross;
use crate::stages::tools::Tools;

/// Unpacking some hundred wheels on a slow disk.
const LIMIT: Duration = Duration::from_secs(900);

/// Makes an empty environment on top of an interpreter.
pub fn create(venv: &Venv, python: &Interpreter, tools: &Tools) -> Result<(), Error> {
    let mut create = match tools.installer {
        Installer::Uv => {
            let mut uv = tools.uv_offline();
            uv.args(["venv", "--quiet", "--relocatable", "--no-project", "--python"]).arg(&python.executable);
            uv
        }
        Installer::Pip => {
            let mut own = tools.on_local_files(&python.executable);
            own.args(["-m", "venv", "--without-pip"]);
            own
        }
    };
    process::run(create.arg(&venv.root), LIMIT).map_err(Error::Make)?;
    if tools.installer == Installer::Pip {
        fs::if_there(fs::remove_file(&venv.python()))?;
        fs::symlink(&python.executable, &venv.python())?;
        // Empty; a wheel that has headers makes it anew.
        fs::remove_tree(&venv.root.join("include"))?;
    }
    Ok(())
}

/// Installs the list from the folder of wheels, and from nothing else.
pub fn install(venv: &Venv, places: &Places<'_>, tools: &Tools) -> Result<(), Error> {
    let mut install = match tools.installer {
        Installer::Uv => {
            let mut uv = tools.uv_offline();
            uv.args(["pip", "install", "--no-cache", "--link-mode", "copy", "--python"]).arg(venv.python());
            uv.args(for_platform(places.elsewhere));
            uv
        }
        Installer::Pip => {
            let mut pip = pip_in(venv, tools);
            pip.args(["install", "--no-cache-dir", "--no-compile", "--no-warn-script-location"]);
            pip
        }
    };
    install.args(["--quiet", "--no-index", "--no-deps", "--require-hashes", "--find-links"]).arg(places.wheels);
    install.arg("--requirement").arg(places.list);
    process::run(&mut install, LIMIT).map(drop).map_err(Error::Install)
}

/// One line for each requirement that no installed distribution meets.
pub fn unmet(venv: &Venv, elsewhere: Option<&Cross>, tools: &Tools) -> Vec<String> {
    let mut check = match tools.installer {
        Installer::Uv => {
            let mut uv = tools.uv_offline();
            uv.args(["pip", "check", "--python"]).arg(venv.python()).args(for_platform(elsewhere));
            uv
        }
        Installer::Pip => {
            let mut pip = pip_in(venv, tools);
            pip.arg("check");
            pip
        }
    };
    let Err(process::Error::Failed { output, .. }) = process::run(&mut check, LIMIT) else { return Vec::new() };
    let tells = |line: &&str| {
        line.starts_with("The package ") || line.contains(" requires ") || line.contains(" has requirement ")
    };
    output.lines().filter(tells).map(str::to_owned).collect()
}

/// pip at work on an environment that has none.
fn pip_in(venv: &Venv, tools: &Tools) -> Command {
    let mut pip = tools.pip_offline();
    pip.arg("--python").arg(venv.python());
    pip
}

fn for_platform(elsewhere: Option<&Cross>) -> Vec<String> {
    elsewhere.map(|cross| vec!["--python-platform".to_owned(), cross.installing()]).unwrap_or_default()
}
