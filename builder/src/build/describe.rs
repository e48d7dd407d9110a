//! What a release says of itself, and what is said of it beside the archive, put together from what the stages found.

use std::collections::BTreeMap;

use pannier_shared::id::DocumentName;
use pannier_shared::statement::{
    Attached, Dependency, Description, Interpreter as DescribedInterpreter, InterpreterOrigin,
};

use super::{Build, Error};
use crate::stages::bundle::Packed;
use crate::stages::documents::{self, Facts};
use crate::stages::interpreter::{IMPLEMENTATION, Interpreter};
use crate::stages::venv::{self, Venv};
use crate::stages::wheels::Wheel;
use crate::tree::Groups;

/// What the release says of itself.
pub fn description(build: &Build) -> Result<Description, Error> {
    let (python, wheels) = (build.made_for.get()?, &build.vendored.get()?.wheels);
    Ok(Description {
        app: build.request.app.clone(),
        version: build.request.version.clone(),
        target: python.target.clone(),
        source: build.staged.get()?.source.clone(),
        interpreter: described(python, build.packed.as_ref()),
        built_on: build.cross.as_ref().map(|cross| cross.here.clone()),
        libc_floor: build.floor.as_ref().map(|floor| floor.version.to_string()),
        libc_floor_of: build.floor.as_ref().map(|floor| floor.file.clone()),
        dependencies: wheels.iter().map(dependency).collect(),
        django: build.django.get()?.django.clone(),
        running: build.request.settings.running(),
        migrations: build.django.get()?.migrations.clone(),
        built_by: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn described(python: &Interpreter, packed: Option<&Packed>) -> DescribedInterpreter {
    DescribedInterpreter {
        origin: if packed.is_some() { InterpreterOrigin::Bundled } else { InterpreterOrigin::System },
        implementation: IMPLEMENTATION.to_owned(),
        python: python.python.clone(),
        version: python.version.clone(),
        abi: python.abi.clone(),
        cache_tag: python.cache_tag.clone(),
        link: "venv/bin/python".to_owned(),
    }
}

fn dependency(wheel: &Wheel) -> Dependency {
    Dependency {
        name: wheel.name.name.clone(),
        version: wheel.name.version.clone(),
        wheel: wheel.file.clone(),
        sha256: wheel.sha256,
    }
}

/// Writes the documents beside the archive.
pub fn documents(build: &Build) -> Result<BTreeMap<DocumentName, Attached>, Error> {
    let facts = Facts {
        release: &build.tree.get()?.description,
        artifact: build.artifact.get()?,
        licences: &documents::licences(build.venv.get()?)?,
        requirements: &build.requirements,
    };
    Ok(documents::write(&facts, &build.outbox())?)
}

/// Which of its files change together.
pub fn groups(venv: &Venv, wheels: &[Wheel]) -> Result<Groups, Error> {
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
