//! The provenance: an in-toto Statement (v1) with a SLSA provenance (v1) about the artifact and the bill of materials.
//!
//! It is not in an envelope of its own: the signed release statement holds its digest. Who built is therefore what the
//! key says, and the builder's id only says by which program. It is no proof of a hermetic or isolated build.

use pannier_shared::statement::Attached;
use serde_json::{Value, json};

use super::{Facts, SBOM_FILE, purl, python};
use crate::publish::ARTIFACT_FILE;

/// How a release is made of the parameters below; described in docs/builder.md.
const BUILD_TYPE: &str = "pannier:build/v1";
/// The program that built.
const BUILDER: &str = "pannier:builder/v1";

/// The provenance of a release that has this bill of materials.
pub fn of(facts: &Facts<'_>, sbom: &Attached) -> Value {
    let release = facts.release;
    let mut parameters = json!({
        "app": release.app,
        "version": release.version,
        "target": release.target,
        "settings": release.django.settings,
        "requirements": facts.requirements,
    });
    if let Some(source) = &release.source {
        parameters["commit"] = source.commit.as_str().into();
        parameters["dirty"] = source.dirty.into();
    }
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": ARTIFACT_FILE, "digest": {"sha256": facts.artifact.sha256}},
            {"name": SBOM_FILE, "digest": {"sha256": sbom.sha256}},
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": parameters,
                "internalParameters": {},
                "resolvedDependencies": resolved(facts),
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"pannier": release.built_by}}},
        },
    })
}

/// What was put in: the commit, the interpreter, every wheel.
fn resolved(facts: &Facts<'_>) -> Vec<Value> {
    let release = facts.release;
    let commit = release.source.as_ref().map(|source| {
        json!({"name": "source", "digest": {"gitCommit": source.commit}, "annotations": {"dirty": source.dirty}})
    });
    let interpreter = json!({"uri": python(facts).0, "annotations": {"abi": release.interpreter.abi}});
    let wheels = release.dependencies.iter().map(|dependency| {
        let uri = purl(&dependency.name, &dependency.version);
        json!({"uri": uri, "name": dependency.wheel, "digest": {"sha256": dependency.sha256}})
    });
    commit.into_iter().chain([interpreter]).chain(wheels).collect()
}
