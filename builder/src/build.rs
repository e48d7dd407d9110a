//! `pannier build`: from a project's folder to a signed release on disk.
//!
//! The table below is the operation. Every step works in one folder, made by the first and removed at the end or by its
//! undo; the last step moves the result out of it. So a build that fails, or is killed, leaves nothing that looks like a
//! release, and the next build removes what a killed one left.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use pannier_shared::archive::write::{self, Options};
use pannier_shared::digest::{self, Digest};
use pannier_shared::event::Sink;
use pannier_shared::id::{AppName, DocumentName, Version};
use pannier_shared::report::human;
use pannier_shared::signature::SigningKey;
use pannier_shared::statement::{Artifact, Attached};
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::sys::fs;
use pannier_shared::sys::lock::Lock;

mod dependencies;
mod describe;
mod error;
mod outcome;
mod rebuild;
mod slot;

pub use error::Error;
pub use outcome::{Built, Failed};
pub use rebuild::{Rebuilt, rebuild};
use slot::Slot;

use crate::environment::Ambient;
use crate::publish::{ARTIFACT_FILE, STATEMENT_FILE};
use crate::settings::{Encoding, LARGEST_FILE, Settings, StaticFiles};
use crate::shelf::Shelf;
use crate::stages::bundle::Packed;
use crate::stages::django::Project;
use crate::stages::interpreter::Interpreter;
use crate::stages::libc::Floor;
use crate::stages::scratch::{Run, Scratch};
use crate::stages::source::{Patterns, Staged, State};
use crate::stages::target::Cross;
use crate::stages::tools::Tools;
use crate::stages::venv::Venv;
use crate::stages::wheels::Vendored;
use crate::stages::{bundle, django, pack, sign, source, static_files, venv};
use crate::tree::Tree;
use crate::workshop;

/// The steps, in order.
pub const TABLE: &[Step<Build, Error>] = &[
    Step { name: "prepare", does: "make a folder to build in", run: prepare, undo: Undo::By(clear) },
    Step { name: "source", does: "take the app's files", run: take_source, undo: IN_WORK },
    Step {
        name: "interpreter",
        does: "ask the interpreter what it is",
        run: dependencies::find_interpreter,
        undo: IN_WORK,
    },
    Step { name: "bundle", does: "pack the interpreter", run: dependencies::bundle_interpreter, undo: IN_WORK },
    Step {
        name: "tools",
        does: "find uv and pip",
        run: dependencies::find_tools,
        undo: Undo::Nothing("the cache of tools is kept"),
    },
    Step { name: "wheels", does: "fetch the dependencies as wheels", run: dependencies::fetch_wheels, undo: IN_WORK },
    Step {
        name: "venv",
        does: "install the dependencies into an environment",
        run: dependencies::make_venv,
        undo: IN_WORK,
    },
    Step {
        name: "runner",
        does: "make an environment for this machine",
        run: dependencies::make_runner,
        undo: IN_WORK,
    },
    Step { name: "bytecode", does: "compile Python files", run: dependencies::compile, undo: IN_WORK },
    Step { name: "prove", does: "run the packed interpreter elsewhere", run: dependencies::prove, undo: IN_WORK },
    Step { name: "django", does: "ask Django about the project", run: ask_django, undo: IN_WORK },
    Step { name: "static", does: "collect static files", run: collect_static, undo: IN_WORK },
    Step { name: "describe", does: "write down what is in the release", run: describe, undo: IN_WORK },
    Step { name: "pack", does: "pack the tree into an archive", run: pack_tree, undo: IN_WORK },
    Step { name: "documents", does: "write down parts and provenance", run: write_documents, undo: IN_WORK },
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
    /// Whether the working tree has to be that of a commit.
    pub state: State,
    /// The key that signs the release's statement; [`rebuild`] needs none.
    pub key: Option<SigningKey>,
    /// The caller's environment.
    pub env: Ambient,
    /// Whether frames and twins of earlier builds may be taken.
    pub reuse: Reuse,
}

/// What of earlier builds may be taken. What comes of a build is the same with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Frames and twins that are in the cache.
    Made,
    /// None of what this program made; the tools' own caches are as they are set.
    Nothing,
}

/// A build under way: what was asked for, and what each step hands to those after it.
pub struct Build {
    request: Request,
    sink: Arc<dyn Sink>,
    project: PathBuf,
    work: PathBuf,
    held: Option<Lock>,
    staged: Slot<Staged>,
    /// The interpreter that runs here.
    python: Slot<Interpreter>,
    /// The interpreter that the release is for: the same, or a like one on another kind of machine.
    made_for: Slot<Interpreter>,
    /// That other kind of machine.
    cross: Option<Cross>,
    /// What is to be packed of the interpreter; nothing where the node brings it, as of the next one.
    bundle: Option<bundle::Plan>,
    packed: Option<Packed>,
    tools: Slot<Tools>,
    vendored: Slot<Vendored>,
    venv: Slot<Venv>,
    /// The C library that it needs.
    floor: Option<Floor>,
    /// The environment that the project's code runs in here: the release's own, if that is for this kind of machine.
    runner: Slot<Venv>,
    scratch: Slot<Scratch>,
    django: Slot<Project>,
    shelf: Shelf,
    tree: Slot<Tree>,
    artifact: Slot<Artifact>,
    /// The files that decided on the dependencies.
    requirements: BTreeMap<String, Digest>,
    documents: Slot<BTreeMap<DocumentName, Attached>>,
    signed: Slot<Digest>,
    delivered: Option<PathBuf>,
}

/// Builds a release.
pub fn build(request: Request, sink: &Arc<dyn Sink>) -> Result<Built, Box<Failed>> {
    let out = request.out.clone();
    let build = run(TABLE, request, sink)?;
    build.finish().map_err(|source| Box::new(Failed { out, does: "build", source, left: Vec::new() }))
}

fn run(table: &[Step<Build, Error>], request: Request, sink: &Arc<dyn Sink>) -> Result<Build, Box<Failed>> {
    let out = request.out.clone();
    let mut build = Build::new(request, sink);
    match steps::run(table, &mut build, sink.as_ref()) {
        Ok(()) => Ok(build),
        Err(failure) => {
            let does = table.iter().find(|step| step.name == failure.step).map_or("build", |step| step.does);
            Err(Box::new(Failed { out, does, source: failure.error, left: failure.left }))
        }
    }
}

impl Build {
    /// A build that has not begun; [`TABLE`] runs on it.
    pub fn new(request: Request, sink: &Arc<dyn Sink>) -> Self {
        let work = request.out.join(workshop::name());
        let cache = request.env.cache().filter(|_| request.reuse == Reuse::Made);
        let shelf = cache.map_or(Shelf::none(), |cache| Shelf::at(cache.join("made")));
        Self {
            project: request.project.clone(),
            request,
            sink: Arc::clone(sink),
            work,
            held: None,
            staged: Slot::EMPTY,
            python: Slot::EMPTY,
            made_for: Slot::EMPTY,
            cross: None,
            bundle: None,
            packed: None,
            tools: Slot::EMPTY,
            vendored: Slot::EMPTY,
            venv: Slot::EMPTY,
            floor: None,
            runner: Slot::EMPTY,
            scratch: Slot::EMPTY,
            django: Slot::EMPTY,
            shelf,
            tree: Slot::EMPTY,
            artifact: Slot::EMPTY,
            requirements: BTreeMap::new(),
            documents: Slot::EMPTY,
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
        shared: &settings.shared,
        largest: settings.largest_file.unwrap_or(LARGEST_FILE).saturating_mul(1024 * 1024),
        state: build.request.state,
        own_folders: &[build.work.clone(), out.to_owned()],
    };
    let app = build.tree_root().join("app");
    let staged = source::stage(&request, &app, &build.request.env, build.sink.as_ref())?;
    let staged = build.staged.fill(staged);
    Ok(Done::said(format!("manage.py is `{}`", staged.manage)).moved(staged.bytes, staged.files))
}

fn ask_django(build: &mut Build) -> Result<Done, Error> {
    let staged = build.staged.get()?;
    let settings = &build.request.settings;
    let run = Run { manage: &staged.manage, settings: settings.settings.as_deref(), placeholders: &settings.build.env };
    let (app, root) = (build.tree_root().join("app"), build.work.join("scratch"));
    let scratch = Scratch::copy_of(&app, &root, build.runner.get()?, run)?;
    let project = django::describe(&scratch, staged.folder(), &settings.migrations, build.sink.as_ref());
    let explained = |error: &django::Error| build.packed.as_ref()?.explain(&error.to_string());
    let project = project.map_err(|error| explained(&error).map_or(Error::Django(error), Error::Bundle))?;
    build.scratch.fill(scratch);
    let project = build.django.fill(project);
    let names: Vec<String> = settings.build.env.keys().map(|name| format!("`{name}`")).collect();
    let placeholders =
        if names.is_empty() { String::new() } else { format!("; placeholders for {}", names.join(", ")) };
    Ok(Done::said(format!("settings are `{}`{placeholders}", project.django.settings)))
}

fn collect_static(build: &mut Build) -> Result<Done, Error> {
    let settings = &build.request.settings;
    let wanted = static_files::Wanted {
        from: settings.static_files.unwrap_or(StaticFiles::Collect),
        commands: &settings.build.commands,
        twins: settings.compress.as_deref().unwrap_or(Encoding::ALL),
        shelf: &build.shelf,
    };
    let (project, scratch) = (build.django.get()?, build.scratch.get()?);
    let collected = static_files::gather(wanted, project, scratch, &build.tree_root(), build.sink.as_ref())?;
    let twins = Some(collected.twins).filter(|twins| *twins > 0);
    let said = twins.map(|twins| format!("{twins} of them compressed twins")).unwrap_or_default();
    Ok(Done::said(said).moved(collected.bytes, collected.files))
}

fn describe(build: &mut Build) -> Result<Done, Error> {
    let description = describe::description(build)?;
    let root = build.tree_root();
    let groups = describe::groups(build.venv.get()?, &build.vendored.get()?.wheels)?;
    venv::seal(build.venv.get()?)?;
    let mut text = serde_json::to_vec_pretty(&description).map_err(Error::Description)?;
    text.push(b'\n');
    fs::create_dir(&root.join(".pannier"))?;
    fs::write(&root.join(".pannier/release.json"), &text)?;
    build.tree.fill(Tree { root, description, groups });
    Ok(Done::default())
}

fn pack_tree(build: &mut Build) -> Result<Done, Error> {
    let tree = build.tree.get()?;
    let members = pack::members(&tree.root, |path| tree.groups.of(path))?;
    pack::check_shared(&members, &tree.description.running.shared)?;
    let options = Options { level: write::LEVEL, workers: available_parallelism().map_or(1, NonZero::get) };
    let out = build.outbox().join(ARTIFACT_FILE);
    let artifact = pack::pack(members, options, &build.shelf, &out, build.sink.as_ref())?;
    build.shelf.trim();
    let artifact = build.artifact.fill(artifact);
    Ok(Done::said(format!("from {}", human::bytes(artifact.unpacked))).moved(artifact.size, artifact.entries))
}

fn write_documents(build: &mut Build) -> Result<Done, Error> {
    let written = describe::documents(build)?;
    let names: Vec<&str> = build.documents.fill(written).keys().map(DocumentName::as_str).collect();
    Ok(Done::said(names.join(", ")))
}

fn digest_of(file: &Path) -> Result<Digest, Error> {
    Ok(digest::of_reader(fs::open(file)?).map_err(fs::failed("read", file))?.0)
}

fn sign_statement(build: &mut Build) -> Result<Done, Error> {
    let (description, artifact) = (build.tree.get()?.description.clone(), build.artifact.get()?.clone());
    let (documents, out) = (build.documents.get()?.clone(), build.outbox().join(STATEMENT_FILE));
    let key = build.request.key.as_ref().ok_or(Error::TooEarly("key"))?;
    let digest = sign::write(description, artifact, documents, key, &out)?;
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
