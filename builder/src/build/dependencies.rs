//! The steps that make the environment: interpreter, wheels, installing, byte code, and the proof that it can be moved.
//!
//! Where the release is for another kind of machine there are two environments: the release's, in which nothing can run
//! here, and one beside it of the same packages for this machine, in which the project's code runs and which is thrown
//! away.

use pannier_shared::event::{Event, Silent};
use pannier_shared::id::Target;
use pannier_shared::report::human;
use pannier_shared::steps::Done;
use pannier_shared::sys::fs;

use super::{Build, Error, digest_of};
use crate::settings::Installer;
use crate::stages::bundle::{self, Packed};
use crate::stages::bytecode::{self, Compiled, Sources};
use crate::stages::interpreter::{self, Choice as Chosen, Interpreter};
use crate::stages::libc::{self, Floor};
use crate::stages::platform::{self, Platform};
use crate::stages::proof::{self, Origin};
use crate::stages::requirements::{self, Ask, Choice, Required};
use crate::stages::target::Cross;
use crate::stages::tools;
use crate::stages::venv::{self, Link};
use crate::stages::wheels::{self, Folders};

/// The environment for this machine, below the build's folder.
const RUNNER: &str = "runner";

pub fn find_interpreter(build: &mut Build) -> Result<Done, Error> {
    let (python, made_for) = match Chosen::of(build.request.settings.python.as_deref()) {
        Chosen::System(wanted) => systems(build, wanted.as_deref())?,
        Chosen::Bundled(wanted) => bundled(build, wanted.as_deref())?,
    };
    let said = format!("Python {} at `{}`", python.version, python.executable.display());
    let cross = build.cross.as_ref().map(|cross| format!(", for {}", cross.target)).unwrap_or_default();
    build.python.fill(python);
    build.made_for.fill(made_for);
    Ok(Done::said(said + &cross))
}

/// An interpreter like the node's, and what it is on the target.
fn systems(build: &mut Build, wanted: Option<&str>) -> Result<(Interpreter, Interpreter), Error> {
    let python = interpreter::find(wanted, &build.project, &build.request.env)?;
    let target = build.request.settings.target.as_ref();
    build.cross = target.map(|target| Cross::to(target, &python)).transpose()?.flatten();
    let made_for = build.cross.as_ref().map_or_else(|| Ok(python.clone()), |cross| cross.interpreter(&python))?;
    Ok((python, made_for))
}

/// The interpreter that is packed. One for another kind of machine cannot run here: one of this machine's, of the same
/// feature version, stands in for it.
fn bundled(build: &mut Build, wanted: Option<&str>) -> Result<(Interpreter, Interpreter), Error> {
    let here = Target::host();
    let target = build.request.settings.target.clone().unwrap_or_else(|| here.clone());
    let prefix = bundle::locate(wanted, &build.project, &build.request.env, &target)?;
    if target == here {
        let plan = build.bundle.insert(bundle::plan(prefix, None)?);
        let program = plan.prefix.root.join(plan.prefix.program());
        let python = interpreter::find(Some(&program.to_string_lossy()), &build.project, &build.request.env)?;
        return Ok((python.clone(), python));
    }
    let (python, made_for) = systems(build, Some(&prefix.python))?;
    let made_for = Interpreter { version: prefix.full_version()?, ..made_for };
    build.bundle = Some(bundle::plan(prefix, build.cross.as_ref().map(|cross| (cross, made_for.abi.as_str())))?);
    Ok((python, made_for))
}

pub fn bundle_interpreter(build: &mut Build) -> Result<Done, Error> {
    let Some(plan) = build.bundle.take() else { return Ok(Done::said("the node brings it")) };
    let packed = bundle::bundle(plan, &build.tree_root(), build.cross.as_ref(), build.sink.as_ref())?;
    let packed = build.packed.insert(packed);
    Ok(Done::said(format!("as `{}`", packed.program())).moved(packed.bytes, packed.files.len() as u64))
}

pub fn find_tools(build: &mut Build) -> Result<Done, Error> {
    let installer = build.request.settings.build.installer.unwrap_or_default();
    if let Some(cross) = build.cross.as_ref().filter(|_| installer == Installer::Pip) {
        return Err(tools::Error::PipElsewhere(cross.target.clone()).into());
    }
    let tools = tools::find(build.python.get()?, installer, &build.request.env, build.sink.as_ref())?;
    Ok(Done::said(build.tools.fill(tools).describe()))
}

pub fn fetch_wheels(build: &mut Build) -> Result<Done, Error> {
    let (python, tools) = (build.made_for.get()?, build.tools.get()?);
    let platform = match &build.cross {
        None => platform::ask(tools),
        Some(cross) => platform::ask_about(cross, python, tools),
    };
    let platform = platform.map_err(wheels::Error::from)?;
    let required = read_requirements(build, python, &platform)?;
    let wheels = build.tree_root().join("wheels");
    let folders = Folders { project: &build.project, wheels: &wheels, work: &build.work, held: None };
    let vendored = wheels::vendor(&required, folders, python, &platform, tools, build.sink.as_ref())?;
    build.requirements.insert(required.file.clone(), digest_of(&build.project.join(&required.file))?);
    if let Some(list) = &vendored.resolved {
        fs::copy(list, &build.outbox().join("requirements.lock"))?;
        build.requirements.insert("requirements.lock".to_owned(), digest_of(list)?);
    }
    let vendored = build.vendored.fill(vendored);
    let bytes = vendored.wheels.iter().map(|wheel| wheel.size).sum();
    Ok(Done::said(format!("from `{}`", required.file)).moved(bytes, vendored.wheels.len() as u64))
}

fn read_requirements(build: &Build, python: &Interpreter, platform: &Platform) -> Result<Required, Error> {
    let (settings, staged) = (&build.request.settings, build.staged.get()?);
    let found = requirements::find(&build.project, staged.folder(), settings.requirements.as_deref());
    let found = found.map_err(wheels::Error::from)?;
    let choice = Choice { extras: settings.extras.clone(), groups: settings.groups.clone(), index: settings.index };
    let ask = Ask {
        project: &build.project,
        folder: staged.folder(),
        file: &found.file,
        choice: &choice,
        python,
        platform,
        tools: build.tools.get()?,
    };
    Ok(found.read(&ask).map_err(wheels::Error::from)?)
}

pub fn make_venv(build: &mut Build) -> Result<Done, Error> {
    let (tree, list) = (build.tree_root(), &build.vendored.get()?.list);
    let (python, tools) = (build.python.get()?, build.tools.get()?);
    let link = build.packed.as_ref().map_or(Link::Node, |packed| Link::Inside(bundle::link(packed)));
    let elsewhere = build.cross.as_ref();
    let places = venv::Places { root: &tree.join("venv"), wheels: &tree.join("wheels"), list, link, elsewhere };
    let made = venv::make(places, python, tools, build.sink.as_ref())?;
    let (wheels, target) = (&build.vendored.get()?.wheels, &build.made_for.get()?.target);
    build.floor = libc::floor(wheels, &made, build.packed.as_ref(), target)?;
    build.venv.fill(made.venv);
    let kind = if target.as_str().ends_with("musl") { "musl" } else { "glibc" };
    let said = |floor: &Floor| format!("needs {kind} {} ({})", floor.version, floor.file);
    Ok(Done::said(build.floor.as_ref().map(said).unwrap_or_default()))
}

pub fn make_runner(build: &mut Build) -> Result<Done, Error> {
    if build.cross.is_none() {
        let own = build.venv.get()?.clone();
        build.runner.fill(own);
        return Ok(Done::said("the release's own does"));
    }
    let (python, tools, folder) = (build.python.get()?, build.tools.get()?, build.work.join(RUNNER));
    let platform = platform::ask(tools).map_err(wheels::Error::from)?;
    // What there is to say of the requirements was said when the release's were read.
    let required = Required { notes: Vec::new(), ..read_requirements(build, python, &platform)? };
    let (wheels, held) = (folder.join("wheels"), folder.join("held.txt"));
    fs::create_dir_all(&folder)?;
    fs::write(&held, build.vendored.get()?.versions().as_bytes())?;
    let folders = Folders { project: &build.project, wheels: &wheels, work: &folder, held: Some(&held) };
    let vendored = wheels::vendor(&required, folders, python, &platform, tools, &Silent)?;
    let (root, list) = (folder.join("venv"), &vendored.list);
    let places = venv::Places { root: &root, wheels: &wheels, list, link: Link::Node, elsewhere: None };
    let runner = venv::make(places, python, tools, &Silent)?;
    build.runner.fill(runner.venv);
    build.sink.emit(Event::Note { text: runs_here(build)? });
    Ok(Done::said("for the project's commands; it is not packed"))
}

fn runs_here(build: &Build) -> Result<String, Error> {
    let (here, there) = (&build.python.get()?.target, &build.made_for.get()?.target);
    Ok(format!("the project's code runs here on {here}; nothing that the release has for {there} was run"))
}

pub fn compile(build: &mut Build) -> Result<Done, Error> {
    let mut folders = vec![format!("venv/{}", build.venv.get()?.site), "app".to_owned()];
    folders.extend(build.packed.as_ref().map(Packed::library));
    let sources = Sources { tree: &build.tree_root(), folders: &folders, work: &build.work };
    let (runner, env) = (build.runner.get()?, &build.request.env);
    let Compiled { files, taken } = bytecode::compile(sources, runner, env, &build.shelf, build.sink.as_ref())?;
    Ok(Done::said(format!("{} of them taken from the cache", human::number(taken as u64))).moved(0, files as u64))
}

pub fn prove(build: &mut Build) -> Result<Done, Error> {
    let Some(packed) = &build.packed else { return Ok(Done::said("the node brings it")) };
    if let Some(cross) = &build.cross {
        return Ok(Done::said(format!("not done: it is for {}", cross.target)));
    }
    let version = &build.python.get()?.version;
    Ok(Done::said(match proof::prove(&build.tree_root(), &build.work, packed, version)? {
        Origin::Hidden => "in two places, with its origin hidden",
        Origin::Seen => "in two places; its origin cannot be hidden here, so what it loads was looked at",
    }))
}
