//! Both documents against what their specifications demand, and their bytes.

use super::*;
use crate::testing::{X86, statement};

const COMMIT: &str = "0123456789012345678901234567890123456789";

fn release() -> Description {
    let mut release = statement("v1+2", X86).release;
    let source = json!({"commit": COMMIT, "dirty": true});
    let wheel = |name: &str, version: &str| {
        let file = format!("{name}-{version}-py3-none-any.whl");
        json!({"name": name, "version": version, "wheel": file, "sha256": Digest::of(file.as_bytes())})
    };
    let dependencies = [wheel("django", "5.2"), wheel("torch", "1!2.0+cpu")];
    release.source = Some(serde_json::from_value(source).unwrap());
    release.dependencies = dependencies.map(|value| serde_json::from_value(value).unwrap()).into();
    release
}

/// Both documents as they lie on the disk, and what the statement says of them.
fn written() -> (Value, Value, BTreeMap<DocumentName, Attached>) {
    let (release, artifact) = (release(), statement("v1", X86).artifact);
    let licences = [
        ("django".to_owned(), Licence::Expression("BSD-3-Clause".to_owned())),
        ("torch".to_owned(), Licence::Names(vec!["BSD License".to_owned(), "Other".to_owned()])),
    ];
    let requirements = [("requirements.txt".to_owned(), Digest::of(b"django"))].into();
    let facts =
        Facts { release: &release, artifact: &artifact, licences: &licences.into(), requirements: &requirements };
    let folder = tempfile::tempdir().unwrap();
    let attached = write(&facts, folder.path()).unwrap();
    let read = |name: &str| {
        let bytes = fs::read(&folder.path().join(name), 1 << 20).unwrap();
        let said = attached[&name.parse::<DocumentName>().unwrap()];
        assert_eq!((said.size, said.sha256), (bytes.len() as u64, Digest::of(&bytes)));
        serde_json::from_slice(&bytes).unwrap()
    };
    (read(SBOM_FILE), read(PROVENANCE_FILE), attached.clone())
}

#[test]
fn the_same_facts_give_the_same_bytes_without_a_time() {
    let ((sbom, provenance, first), (.., second)) = (written(), written());
    assert_eq!(first, second);
    for text in [sbom.to_string(), provenance.to_string()] {
        assert!(!text.contains("timestamp") && !text.contains("startedOn") && !text.contains("serialNumber"), "{text}");
    }
}

/// The schema of CycloneDX 1.6, for what of it is used: required fields, allowed fields, enumerations, patterns, and
/// that references are unique and lead somewhere.
#[test]
fn the_bill_of_materials_is_cyclonedx_1_6() {
    let (sbom, ..) = written();
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"], &sbom["version"]),
        (&json!("CycloneDX"), &json!("1.6"), &json!(1))
    );
    assert_fields(&sbom, &["$schema", "bomFormat", "specVersion", "version", "metadata", "dependencies", "components"]);
    let main = &sbom["metadata"]["component"];
    let mut components = vec![main];
    components.extend(sbom["components"].as_array().unwrap());
    let mut refs = std::collections::BTreeSet::new();
    for component in &components {
        let fields = ["type", "bom-ref", "name", "version", "purl", "hashes", "properties", "licenses"];
        assert_fields(component, &fields);
        assert!(["application", "library", "platform"].contains(&component["type"].as_str().unwrap()));
        assert!(!component["name"].as_str().unwrap().is_empty());
        assert!(refs.insert(component["bom-ref"].as_str().unwrap()), "doubled: {component}");
        for hash in component["hashes"].as_array().into_iter().flatten() {
            assert_fields(hash, &["alg", "content"]);
            assert_eq!(hash["alg"], "SHA-256");
            assert!(hash["content"].as_str().unwrap().parse::<Digest>().is_ok());
        }
        for property in component["properties"].as_array().unwrap() {
            assert_fields(property, &["name", "value"]);
            assert!(property["value"].is_string());
        }
    }
    for edge in sbom["dependencies"].as_array().unwrap() {
        assert_fields(edge, &["ref", "dependsOn"]);
        let ends = edge["dependsOn"].as_array().unwrap().iter().chain([&edge["ref"]]);
        assert!(ends.into_iter().all(|end| refs.contains(end.as_str().unwrap())), "{edge}");
    }
}

fn assert_fields(object: &Value, allowed: &[&str]) {
    for name in object.as_object().unwrap().keys() {
        assert!(allowed.contains(&name.as_str()), "{name} in {object}");
    }
}

#[test]
fn packages_have_a_url_a_hash_and_a_licence() {
    let (sbom, ..) = written();
    let lines = sbom["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| format!("{} {} {}", component["type"], component["purl"], component["licenses"]));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    "platform" "pkg:generic/python@3.11.7" null
    "library" "pkg:pypi/django@5.2" [{"expression":"BSD-3-Clause"}]
    "library" "pkg:pypi/torch@1%212.0%2Bcpu" [{"license":{"name":"BSD License"}},{"license":{"name":"Other"}}]
    "#);
    assert_eq!(sbom["metadata"]["component"]["purl"], "pkg:generic/polls@v1%2B2");
}

/// What in-toto's Statement v1 and SLSA's provenance v1 demand.
#[test]
fn the_provenance_is_an_in_toto_statement_about_artifact_and_bill() {
    let (_, provenance, attached) = written();
    assert_eq!(provenance["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
    let subjects = provenance["subject"].as_array().unwrap();
    let artifact = statement("v1", X86).artifact.sha256;
    assert_eq!(subjects[0], json!({"name": "artifact.tar.zst", "digest": {"sha256": artifact}}));
    let sbom = attached[&SBOM_FILE.parse::<DocumentName>().unwrap()].sha256;
    assert_eq!(subjects[1], json!({"name": "sbom.cdx.json", "digest": {"sha256": sbom}}));
    let definition = &provenance["predicate"]["buildDefinition"];
    assert!(definition["buildType"].is_string() && definition["externalParameters"].is_object());
    for resolved in definition["resolvedDependencies"].as_array().unwrap() {
        assert_fields(resolved, &["uri", "digest", "name", "annotations"]);
        assert!(resolved["uri"].is_string() || resolved["digest"].is_object(), "{resolved}");
    }
    assert!(provenance["predicate"]["runDetails"]["builder"]["id"].is_string());
    insta::assert_snapshot!(definition["externalParameters"], @r#"{"app":"polls","commit":"0123456789012345678901234567890123456789","dirty":true,"requirements":{"requirements.txt":"7d8a0838ce8e19b26e45fdd0b72954aac7e712a8d8f0cd7bedca3281217b5c76"},"settings":"polls.settings","target":"x86_64-linux-gnu","version":"v1+2"}"#);
}
