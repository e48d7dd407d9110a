//! The bill of materials: CycloneDX 1.6, as JSON.
//!
//! It has no serial number, which would have to be random. Its graph of dependencies is flat: the release was assembled of
//! these parts, and which of them wanted which is the lock's knowledge.

use pannier_shared::statement::{Dependency, InterpreterOrigin};
use serde_json::{Value, json};

use super::{Facts, Licence, property, purl, python};

/// The bill of materials of a release.
pub fn of(facts: &Facts<'_>) -> Value {
    let release = facts.release;
    let app = format!("pkg:generic/{}@{}", release.app, release.version.as_str().replace('+', "%2B"));
    let mut components = vec![interpreter(facts)];
    components.extend(release.dependencies.iter().map(|dependency| package(facts, dependency)));
    let refs: Vec<&Value> = components.iter().map(|component| &component["bom-ref"]).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "pannier", "version": release.built_by}]},
            "component": site(facts, &app),
        },
        "dependencies": [{"ref": app, "dependsOn": refs}],
        "components": components,
    })
}

fn site(facts: &Facts<'_>, app: &str) -> Value {
    let release = facts.release;
    let mut properties = vec![property("target", &release.target)];
    if let Some(source) = &release.source {
        properties.push(property("commit", &source.commit));
        properties.push(property("dirty", source.dirty));
    }
    json!({
        "type": "application",
        "bom-ref": app,
        "name": release.app,
        "version": release.version,
        "purl": app,
        "hashes": [{"alg": "SHA-256", "content": facts.artifact.sha256}],
        "properties": properties,
    })
}

fn interpreter(facts: &Facts<'_>) -> Value {
    let (purl, version) = python(facts);
    let interpreter = &facts.release.interpreter;
    let origin = match interpreter.origin {
        InterpreterOrigin::Bundled => "bundled",
        InterpreterOrigin::System => "system",
    };
    json!({
        "type": "platform",
        "bom-ref": purl,
        "name": "python",
        "version": version,
        "purl": purl,
        "properties": [property("origin", origin), property("abi", &interpreter.abi)],
    })
}

fn package(facts: &Facts<'_>, dependency: &Dependency) -> Value {
    let purl = purl(&dependency.name, &dependency.version);
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": dependency.name,
        "version": dependency.version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": dependency.sha256}],
        "properties": [property("wheel", &dependency.wheel)],
    });
    let licences: Vec<Value> = match facts.licences.get(&dependency.name) {
        Some(Licence::Expression(expression)) => vec![json!({"expression": expression})],
        Some(Licence::Names(names)) => names.iter().map(|name| json!({"license": {"name": name}})).collect(),
        None => Vec::new(),
    };
    if !licences.is_empty() {
        component["licenses"] = licences.into();
    }
    component
}
