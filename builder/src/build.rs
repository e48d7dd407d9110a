//! `pannier build`: from a project's folder to a signed release on disk.
//!
//! The table below is the operation. Every step works in one folder, made by the first and removed at the end or by its
//! undo; the last step moves the result out of it. So a build that fails, or is killed, leaves nothing that looks like a
//! release, and the next build removes what a killed one left.

use std::any::type_name;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use pannier_shared::archive::write::{self, Options};
use pannier_shared::digest::Digest;
use pannier_shared::event::Sink;
use pannier_shared::id::{AppName, Version};
use pannier_shared::report::human;
use pannier_shared::signature::SigningKey;
use pannier_shared::statement::{
    Artifact, Dependency, Description, Interpreter as DescribedInterpreter, InterpreterOrigin,
};
use pannier_shared::steps::{self, Done, NotUndone, Step, Undo};
use pannier_shared::sys::fs;
use pannier_shared::sys::lock::Lock;

use crate::environment::Ambient;
use crate::publish::{ARTIFACT_FILE, STATEMENT_FILE};
use crate::settings::{Settings, StaticFiles};
use crate::stages::django::Project;
use crate::stages::interpreter::Interpreter;
use crate::stages::requirements::{Ask, Choice};
use crate::stages::scratch::{Run, Scratch};
use crate::stages::source::{Patterns, Staged};
use crate::stages::tools::Tools;
use crate::stages::venv::Venv;
use crate::stages::wheels::{Folders, Vendored, Wheel};
use crate::stages::{
    bytecode, django, interpreter, pack, platform, requirements, scratch, sign, source, static_files, tools, venv,
    wheels,
};
use crate::tree::{Groups, Tree};
use crate::workshop;

/// The steps, in order.
pub const TABLE: &[Step<Build, Error>] = &[
    Step { name: "prepare", does: "make a folder to build in", run: prepare, undo: Undo::By(clear) },
    Step { name: "source", does: "take the app's files", run: take_source, undo: IN_WORK },
    Step { name: "interpreter", does: "ask the interpreter what it is", run: find_interpreter, undo: IN_WORK },
    Step { name: "tools", does: "find uv and pip", run: find_tools, undo: Undo::Nothing("the cache of tools is kept") },
    Step { name: "wheels", does: "fetch the dependencies as wheels", run: fetch_wheels, undo: IN_WORK },
    Step { name: "venv", does: "install the dependencies into an environment", run: make_venv, undo: IN_WORK },
    Step { name: "bytecode", does: "compile Python files", run: compile, undo: IN_WORK },
    Step { name: "django", does: "ask Django about the project", run: ask_django, undo: IN_WORK },
    Step { name: "static", does: "collect static files", run: collect_static, undo: IN_WORK },
    Step { name: "describe", does: "write down what is in the release", run: describe, undo: IN_WORK },
    Step { name: "pack", does: "pack the tree into an archive", run: pack_tree, undo: IN_WORK },
    Step { name: "sign", does: "sign the release's statement", run: sign_statement, undo: IN_WORK },
    Step { name: "deliver", does: "put the release where it was asked for", run: deliver, undo: Undo::By(take_back) },
];

/// Why most steps need no undo of their own.
const IN_WORK: Undo<Build, Error> = Undo::Nothing("it writes into the build's folder only, which `prepare` removes");

/// What to build.
#[derive(Debug)]
pub struct Request {
    /// The project's folder.
    pub project: PathBuf,
    /// The app's name.
    pub app: AppName,
    /// The release's version.
    pub version: Version,
    /// pannier.toml with the flags over it.
    pub settings: Settings,
    /// The folder that gets `<app>-<version>-<target>/`.
    pub out: PathBuf,
    /// The key that signs the release's statement.
    pub key: SigningKey,
    /// The caller's environment.
    pub env: Ambient,
}

/// A build under way: what was asked for, and what each step hands to those after it.
pub struct Build {
    request: Request,
    sink: Arc<dyn Sink>,
    project: PathBuf,
    work: PathBuf,
    held: Option<Lock>,
    staged: Slot<Staged>,
    python: Slot<Interpreter>,
    tools: Slot<Tools>,
    vendored: Slot<Vendored>,
    venv: Slot<Venv>,
    scratch: Slot<Scratch>,
    django: Slot<Project>,
    tree: Slot<Tree>,
    artifact: Slot<Artifact>,
    signed: Slot<Digest>,
    delivered: Option<PathBuf>,
}

/// What one step hands to later ones.
struct Slot<T>(Option<T>);

impl<T> Slot<T> {
    const EMPTY: Self = Self(None);

    fn fill(&mut self, value: T) -> &T {
        self.0.insert(value)
    }

    fn get(&self) -> Result<&T, Error> {
        self.0.as_ref().ok_or(Error::TooEarly(type_name::<T>()))
    }

    fn take(self) -> Result<T, Error> {
        self.0.ok_or(Error::TooEarly(type_name::<T>()))
    }
}

/// A build that failed; which step it was, the runner of the table says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The app's files.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The interpreter.
    #[error(transparent)]
    Interpreter(#[from] interpreter::Error),
    /// uv and pip.
    #[error(transparent)]
    Tools(#[from] tools::Error),
    /// The dependencies.
    #[error(transparent)]
    Wheels(#[from] wheels::Error),
    /// The environment.
    #[error(transparent)]
    Venv(#[from] venv::Error),
    /// Byte code.
    #[error(transparent)]
    Bytecode(#[from] bytecode::Error),
    /// The scratch copy.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// Django and the project's settings.
    #[error(transparent)]
    Django(#[from] django::Error),
    /// Static files.
    #[error(transparent)]
    Static(#[from] static_files::Error),
    /// The description cannot be written.
    #[error("failed to write the release's description")]
    Description(#[source] serde_json::Error),
    /// The archive.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// The signature.
    #[error(transparent)]
    Sign(#[from] sign::Error),
    /// A step ran before the one whose result it needs: a bug in the table.
    #[error("the steps of the build are in a wrong order: there is no {0} yet")]
    TooEarly(&'static str),
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Interpreter(error) => error.hint(),
            Self::Tools(error) => error.hint(),
            Self::Wheels(error) => error.hint(),
            Self::Django(error) => error.hint(),
            Self::Static(error) => error.hint(),
            Self::Fs(_)
            | Self::Venv(_)
            | Self::Bytecode(_)
            | Self::Scratch(_)
            | Self::Description(_)
            | Self::Pack(_)
            | Self::Sign(_)
            | Self::TooEarly(_) => None,
        }
    }
}

/// A release on disk, ready to be published.
#[derive(Debug)]
pub struct Built {
    /// The folder that holds its files.
    pub folder: PathBuf,
    /// What it says of itself.
    pub description: Description,
    /// Its archive.
    pub artifact: Artifact,
    /// SHA-256 of the signed statement: what a channel names.
    pub statement: Digest,
}

/// A build that failed, and what of it could not be taken back.
#[derive(Debug, thiserror::Error)]
#[error("failed to {does}")]
pub struct Failed {
    /// The folder that the build was to write into.
    pub out: PathBuf,
    /// What the step that failed does.
    pub does: &'static str,
    /// Why.
    pub source: Error,
    /// What is left behind; empty when nothing is.
    pub left: Vec<NotUndone<Error>>,
}

/// Builds a release.
pub fn build(request: Request, sink: &Arc<dyn Sink>) -> Result<Built, Box<Failed>> {
    let out = request.out.clone();
    let mut build = Build::new(request, sink);
    steps::run(TABLE, &mut build, sink.as_ref()).map_err(|failure| {
        let does = TABLE.iter().find(|step| step.name == failure.step).map_or("build", |step| step.does);
        Box::new(Failed { out: out.clone(), does, source: failure.error, left: failure.left })
    })?;
    build.finish().map_err(|source| Box::new(Failed { out: out.clone(), does: "build", source, left: Vec::new() }))
}

impl Build {
    /// A build that has not begun; [`TABLE`] runs on it.
    pub fn new(request: Request, sink: &Arc<dyn Sink>) -> Self {
        let work = request.out.join(workshop::name());
        Self {
            project: request.project.clone(),
            request,
            sink: Arc::clone(sink),
            work,
            held: None,
            staged: Slot::EMPTY,
            python: Slot::EMPTY,
            tools: Slot::EMPTY,
            vendored: Slot::EMPTY,
            venv: Slot::EMPTY,
            scratch: Slot::EMPTY,
            django: Slot::EMPTY,
            tree: Slot::EMPTY,
            artifact: Slot::EMPTY,
            signed: Slot::EMPTY,
            delivered: None,
        }
    }

    /// The finished tree, once it was described.
    pub fn tree(&self) -> Result<&Tree, Error> {
        self.tree.get()
    }

    fn finish(self) -> Result<Built, Error> {
        Ok(Built {
            folder: self.delivered.ok_or(Error::TooEarly("release"))?,
            description: self.tree.take()?.description,
            artifact: self.artifact.take()?,
            statement: self.signed.take()?,
        })
    }

    /// The tree that becomes the archive.
    fn tree_root(&self) -> PathBuf {
        self.work.join("tree")
    }

    /// What will be delivered.
    fn outbox(&self) -> PathBuf {
        self.work.join("out")
    }
}

fn prepare(build: &mut Build) -> Result<Done, Error> {
    if !fs::stat(&build.request.project).is_ok_and(|meta| meta.is_dir()) {
        return Err(source::Error::NoProject(build.request.project.clone()).into());
    }
    build.project = fs::canonical(&build.request.project)?;
    build.held = workshop::enter(&build.work, build.sink.as_ref())?;
    build.work = fs::canonical(&build.work)?;
    fs::create_dir(&build.tree_root())?;
    fs::create_dir(&build.outbox())?;
    Ok(Done::default())
}

fn clear(build: &mut Build) -> Result<(), Error> {
    // Where it could not even be made, removing it would fail for the same reason.
    if fs::exists(&build.work) {
        fs::remove_tree(&build.work)?;
    }
    build.held = None;
    Ok(())
}

fn take_source(build: &mut Build) -> Result<Done, Error> {
    let settings = &build.request.settings;
    let out = build.work.parent().unwrap_or(&build.work);
    let request = source::Request {
        project: &build.project,
        manage: settings.manage.as_deref(),
        exclude: &Patterns::new(&settings.exclude),
        allow: &Patterns::new(&settings.allow),
        own_folders: &[build.work.clone(), out.to_owned()],
    };
    let app = build.tree_root().join("app");
    let staged = source::stage(&request, &app, &build.request.env, build.sink.as_ref())?;
    let staged = build.staged.fill(staged);
    Ok(Done::said(format!("manage.py is `{}`", staged.manage)).moved(staged.bytes, staged.files))
}

fn find_interpreter(build: &mut Build) -> Result<Done, Error> {
    let wanted = build.request.settings.python.as_deref();
    let python = build.python.fill(interpreter::find(wanted, &build.project, &build.request.env)?);
    Ok(Done::said(format!("Python {} at `{}`", python.version, python.executable.display())))
}

fn find_tools(build: &mut Build) -> Result<Done, Error> {
    let tools = tools::find(build.python.get()?, &build.request.env, build.sink.as_ref())?;
    Ok(Done::said(build.tools.fill(tools).describe()))
}

fn fetch_wheels(build: &mut Build) -> Result<Done, Error> {
    let (settings, staged) = (&build.request.settings, build.staged.get()?);
    let (python, tools) = (build.python.get()?, build.tools.get()?);
    let platform = platform::ask(tools).map_err(wheels::Error::from)?;
    let found = requirements::find(&build.project, staged.folder(), settings.requirements.as_deref());
    let found = found.map_err(wheels::Error::from)?;
    let choice = Choice { extras: settings.extras.clone(), groups: settings.groups.clone(), index: settings.index };
    let ask = Ask {
        project: &build.project,
        folder: staged.folder(),
        file: &found.file,
        choice: &choice,
        python,
        platform: &platform,
        tools,
    };
    let required = found.read(&ask).map_err(wheels::Error::from)?;
    let folders = Folders { project: &build.project, wheels: &build.tree_root().join("wheels"), work: &build.work };
    let vendored = wheels::vendor(&required, folders, python, &platform, tools, build.sink.as_ref())?;
    if let Some(list) = &vendored.resolved {
        fs::copy(list, &build.outbox().join("requirements.lock"))?;
    }
    let vendored = build.vendored.fill(vendored);
    let bytes = vendored.wheels.iter().map(|wheel| wheel.size).sum();
    Ok(Done::said(format!("from `{}`", required.file)).moved(bytes, vendored.wheels.len() as u64))
}

fn make_venv(build: &mut Build) -> Result<Done, Error> {
    let (tree, list) = (build.tree_root(), &build.vendored.get()?.list);
    let (python, tools) = (build.python.get()?, build.tools.get()?);
    let venv = venv::make(&tree.join("venv"), &tree.join("wheels"), list, python, tools, build.sink.as_ref())?;
    build.venv.fill(venv);
    Ok(Done::default())
}

fn compile(build: &mut Build) -> Result<Done, Error> {
    let venv = build.venv.get()?;
    let folders = [format!("venv/{}", venv.site), "app".to_owned()];
    bytecode::compile(&build.tree_root(), &folders, venv, &build.request.env, build.sink.as_ref())?;
    Ok(Done::default())
}

fn ask_django(build: &mut Build) -> Result<Done, Error> {
    let staged = build.staged.get()?;
    let settings = &build.request.settings;
    let run = Run { manage: &staged.manage, settings: settings.settings.as_deref(), placeholders: &settings.build.env };
    let (app, root) = (build.tree_root().join("app"), build.work.join("scratch"));
    let scratch = Scratch::copy_of(&app, &root, build.venv.get()?, run)?;
    let project = django::describe(&scratch, staged.folder(), build.sink.as_ref())?;
    build.scratch.fill(scratch);
    let project = build.django.fill(project);
    Ok(Done::said(format!("settings are `{}`", project.django.settings)))
}

fn collect_static(build: &mut Build) -> Result<Done, Error> {
    if build.request.settings.static_files == Some(StaticFiles::None) {
        return Ok(Done::said("left alone, as configured"));
    }
    let (project, scratch) = (build.django.get()?, build.scratch.get()?);
    let collected = static_files::collect(project, scratch, &build.tree_root(), build.sink.as_ref())?;
    Ok(Done::default().moved(collected.bytes, collected.files))
}

fn describe(build: &mut Build) -> Result<Done, Error> {
    let description = description(build)?;
    let root = build.tree_root();
    let groups = groups(build.venv.get()?, &build.vendored.get()?.wheels)?;
    venv::seal(build.venv.get()?)?;
    let mut text = serde_json::to_vec_pretty(&description).map_err(Error::Description)?;
    text.push(b'\n');
    fs::create_dir(&root.join(".pannier"))?;
    fs::write(&root.join(".pannier/release.json"), &text)?;
    build.tree.fill(Tree { root, description, groups });
    Ok(Done::default())
}

fn description(build: &Build) -> Result<Description, Error> {
    let (python, wheels) = (build.python.get()?, &build.vendored.get()?.wheels);
    Ok(Description {
        app: build.request.app.clone(),
        version: build.request.version.clone(),
        target: python.target.clone(),
        source: build.staged.get()?.source.clone(),
        interpreter: DescribedInterpreter {
            origin: InterpreterOrigin::System,
            implementation: interpreter::IMPLEMENTATION.to_owned(),
            python: python.python.clone(),
            version: python.version.clone(),
            abi: python.abi.clone(),
            cache_tag: python.cache_tag.clone(),
            link: "venv/bin/python".to_owned(),
        },
        libc_floor: wheels::libc_floor(wheels, python.glibc.as_deref()).map(|floor| floor.to_string()),
        dependencies: wheels.iter().map(dependency).collect(),
        django: build.django.get()?.django.clone(),
        built_by: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn dependency(wheel: &Wheel) -> Dependency {
    Dependency {
        name: wheel.name.name.clone(),
        version: wheel.name.version.clone(),
        wheel: wheel.file.clone(),
        sha256: wheel.sha256,
    }
}

fn groups(venv: &Venv, wheels: &[Wheel]) -> Result<Groups, Error> {
    let mut groups = Groups::default();
    for wheel in wheels {
        groups.own(format!("wheels/{}", wheel.file), &wheel.name.name);
    }
    for (name, files) in venv::distributions(venv)? {
        for file in files {
            groups.own(format!("venv/{file}"), &name);
        }
    }
    Ok(groups)
}

fn pack_tree(build: &mut Build) -> Result<Done, Error> {
    let tree = build.tree.get()?;
    let members = pack::members(&tree.root, |path| tree.groups.of(path))?;
    let options = Options { level: write::LEVEL, workers: available_parallelism().map_or(1, NonZero::get) };
    let artifact = pack::pack(members, options, &build.outbox().join(ARTIFACT_FILE), build.sink.as_ref())?;
    let artifact = build.artifact.fill(artifact);
    Ok(Done::said(format!("from {}", human::bytes(artifact.unpacked))).moved(artifact.size, artifact.entries))
}

fn sign_statement(build: &mut Build) -> Result<Done, Error> {
    let (description, artifact) = (build.tree.get()?.description.clone(), build.artifact.get()?.clone());
    let digest = sign::write(description, artifact, &build.request.key, &build.outbox().join(STATEMENT_FILE))?;
    build.signed.fill(digest);
    Ok(Done::said(format!("sha256 {digest}")))
}

fn deliver(build: &mut Build) -> Result<Done, Error> {
    let description = &build.tree.get()?.description;
    let name = format!("{}-{}-{}", description.app, description.version, description.target);
    let to = build.work.parent().unwrap_or(Path::new(".")).join(name);
    // A release of that name is an earlier build of the same version: what counts is what is published.
    fs::remove_tree(&to)?;
    fs::rename(&build.outbox(), &to)?;
    build.delivered = Some(to.clone());
    clear(build)?;
    Ok(Done::said(format!("`{}`", to.display())))
}

fn take_back(build: &mut Build) -> Result<(), Error> {
    if let Some(to) = build.delivered.take() {
        fs::remove_tree(&to)?;
    }
    Ok(())
}
