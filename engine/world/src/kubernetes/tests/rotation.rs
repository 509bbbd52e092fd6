//! Secrets whose keys get new values.

use std::collections::BTreeMap;

use phasegate_core::config::{
    Alphabet, ConfigCopy, ConfigKind, Content, NewValue, Random, Source, original,
};
use phasegate_core::diagnostic::codes;
use phasegate_core::spec::release::Rotate;
use phasegate_runtime::plugin_ports::{CredentialError, CredentialHeader, Credentials, Secret};
use phasegate_runtime::ports::{Cluster, ConfigAsked};
use serde_json::json;

use super::*;

const DB: &str = "/api/v1/namespaces/shop/secrets/db";
const LIVE: &str = "/api/v1/namespaces/shop/secrets/db-pg0123456789";
const SECRETS: &str = "/api/v1/namespaces/shop/secrets";

/// One credential, for one key.
struct Vault;

#[async_trait]
impl Credentials for Vault {
    async fn header(
        &self,
        name: &str,
        authority: &str,
    ) -> Result<CredentialHeader, CredentialError> {
        let (name, authority) = (name.to_owned(), authority.to_owned());
        Err(CredentialError::NotFor { name, authority })
    }

    async fn value(&self, name: &str, secret: &str, key: &str) -> Result<Secret, CredentialError> {
        match (name, secret, key) {
            ("fresh", "db", "password") => Ok(Secret::new("pl4nt3d")),
            _ => Err(CredentialError::Unknown(name.to_owned())),
        }
    }
}

fn using(name: &str) -> Value {
    let mut object = deployment();
    object["spec"]["template"]["spec"]["containers"][1]["envFrom"] =
        json!([{"secretRef": {"name": name}}]);
    object
}

fn db(version: &str) -> Value {
    json!({
        "metadata": {"name": "db", "namespace": "shop", "uid": "s-1", "resourceVersion": version},
        "type": "example/db", "data": {"user": "c2hvcA==", "password": "b2xk", "token": "//79"},
    })
}

/// The copy that a release left when the Secret had version 8.
fn live(rotated: &str) -> Value {
    let mut object = db("20");
    object["metadata"]["name"] = "db-pg0123456789".into();
    object["metadata"]["uid"] = "c-1".into();
    object["metadata"]["annotations"] = json!({
        "phasegate.dev/made-by": "earlier", "phasegate.dev/copy-of": "db",
        "phasegate.dev/rotated": rotated, "phasegate.dev/rotated-from": "s-1/8",
    });
    object["immutable"] = true.into();
    object["data"]["password"] = "bmV3ZXI=".into();
    object
}

fn from_credential(name: &str) -> Rotate {
    Rotate {
        credential: Some(name.to_owned()),
        random: None,
        new: false,
    }
}

fn by_chance() -> Rotate {
    Rotate {
        credential: None,
        random: Some(Random {
            length: 24,
            alphabet: Alphabet::Hex,
        }),
        new: false,
    }
}

fn keys(all: &[(&str, Rotate)]) -> BTreeMap<String, Rotate> {
    all.iter()
        .map(|(key, rotate)| ((*key).to_owned(), rotate.clone()))
        .collect()
}

fn asked(rotate: Option<&BTreeMap<String, Rotate>>, afresh: bool) -> ConfigAsked<'_> {
    ConfigAsked {
        kind: ConfigKind::Secret,
        of: "db",
        data: None,
        rotate,
        afresh,
    }
}

/// A world in which the pods refer to the copy, and the Secret has this version.
fn rotated_before(rotated: &str, version: &str) -> Server {
    Server::default()
        .ok("GET", DEPLOYMENT, using("db-pg0123456789"))
        .ok("GET", LIVE, live(rotated))
        .ok("GET", DB, db(version))
}

#[tokio::test]
async fn a_plan_says_where_a_value_comes_from_and_keeps_other_keys() {
    let server = Server::default()
        .ok("GET", DEPLOYMENT, using("db"))
        .ok("GET", DB, db("8"));
    let rotate = keys(&[
        ("password", from_credential("fresh")),
        ("token", by_chance()),
    ]);
    let cluster = server.cluster();
    let asked = [asked(Some(&rotate), false)];
    let versions = cluster.versions(&target(), &asked).await.unwrap();
    let version = &versions[0];
    assert_eq!(version.before, "db");
    assert_eq!(original(&version.copy.name), "db");
    assert!(!version.there && !version.serves());
    assert_eq!(
        version.changes,
        [
            "password: rotated from credential fresh",
            "token: rotated to 24 random hexadecimal digits"
        ]
    );
    let Content::Rotated {
        base,
        version: of,
        earlier,
        ..
    } = &version.copy.content
    else {
        panic!("{version:?}");
    };
    assert_eq!((base.as_str(), of.as_str()), ("db", "8"));
    assert!(earlier.is_empty());
    let told = serde_json::to_string(version).unwrap();
    assert!(!told.contains("b2xk") && !told.contains("//79"), "{told}");
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn a_name_that_an_earlier_run_left_is_not_taken_for_this_ones() {
    let rotate = keys(&[("password", from_credential("fresh"))]);
    let first = {
        let server = Server::default()
            .ok("GET", DEPLOYMENT, using("db"))
            .ok("GET", DB, db("8"));
        let asked = [asked(Some(&rotate), false)];
        let versions = server.cluster().versions(&target(), &asked).await.unwrap();
        versions[0].copy.name.clone()
    };
    let path: &'static str = Box::leak(format!("{SECRETS}/{first}").into_boxed_str());
    let server = Server::default()
        .ok("GET", DEPLOYMENT, using("db"))
        .ok("GET", DB, db("8"))
        .ok("GET", path, live("password"));
    let asked = [asked(Some(&rotate), false)];
    let versions = server.cluster().versions(&target(), &asked).await.unwrap();
    assert_ne!(versions[0].copy.name, first);
    assert!(!versions[0].there);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_refused_unless_it_is_to_be_new() {
    let server = Server::default()
        .ok("GET", DEPLOYMENT, using("db"))
        .ok("GET", DB, db("8"));
    let cluster = server.cluster();
    let mut rotate = keys(&[("pasword", from_credential("fresh"))]);
    let failure = cluster
        .versions(&target(), &[asked(Some(&rotate), false)])
        .await
        .unwrap_err();
    assert_eq!(failure.code, codes::KEY_NOT_THERE);
    for part in ["pasword", "password", "token", "user"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    rotate.get_mut("pasword").unwrap().new = true;
    let versions = cluster
        .versions(&target(), &[asked(Some(&rotate), false)])
        .await
        .unwrap();
    assert_eq!(versions[0].changes, ["pasword: new, from credential fresh"]);
}

#[tokio::test]
async fn a_plain_release_keeps_what_was_rotated_while_the_secret_is_as_it_was() {
    let server = rotated_before("password", "8");
    let versions = server
        .cluster()
        .versions(&target(), &[asked(None, false)])
        .await
        .unwrap();
    let version = &versions[0];
    assert!(version.serves() && version.there, "{version:?}");
    assert_eq!(version.copy.name, "db-pg0123456789");
}

#[tokio::test]
async fn a_secret_that_was_changed_since_is_refused_with_the_keys_that_would_be_lost() {
    let server = rotated_before("password,token", "9");
    let cluster = server.cluster();
    let only_one = keys(&[("token", by_chance())]);
    for rotate in [None, Some(&only_one)] {
        let failure = cluster
            .versions(&target(), &[asked(rotate, false)])
            .await
            .unwrap_err();
        assert_eq!(failure.code, codes::ROTATED_KEYS_LOST);
        assert!(failure.message.contains("`password`") || failure.message.contains("password"));
        assert!(failure.message.contains("base: source"), "{failure}");
    }
    // Whoever says so gets the Secret as it is; whoever rotates the same again loses nothing.
    let versions = cluster
        .versions(&target(), &[asked(None, true)])
        .await
        .unwrap();
    assert!(!versions[0].serves());
    assert_eq!(versions[0].changes, ["password changes"]);
    let both = keys(&[
        ("password", from_credential("fresh")),
        ("token", by_chance()),
    ]);
    let versions = cluster
        .versions(&target(), &[asked(Some(&both), false)])
        .await
        .unwrap();
    let Content::Rotated { base, earlier, .. } = &versions[0].copy.content else {
        panic!("{versions:?}");
    };
    assert_eq!(base, "db");
    assert!(earlier.is_empty());
}

#[tokio::test]
async fn another_key_is_rotated_on_top_of_what_was() {
    let server = rotated_before("password", "8");
    let rotate = keys(&[("token", by_chance())]);
    let versions = server
        .cluster()
        .versions(&target(), &[asked(Some(&rotate), false)])
        .await
        .unwrap();
    let Content::Rotated {
        base,
        uid,
        version,
        earlier,
        ..
    } = &versions[0].copy.content
    else {
        panic!("{versions:?}");
    };
    assert_eq!(
        (base.as_str(), uid.as_str(), version.as_str()),
        ("db-pg0123456789", "c-1", "20")
    );
    assert_eq!(earlier.iter().collect::<Vec<_>>(), ["password"]);
}

fn copy(base: &str, uid: &str, version: &str, earlier: &[&str]) -> ConfigCopy {
    ConfigCopy {
        kind: ConfigKind::Secret,
        of: "db".to_owned(),
        name: "db-pgaaaaaaaaaa".to_owned(),
        content: Content::Rotated {
            base: base.to_owned(),
            uid: uid.to_owned(),
            version: version.to_owned(),
            source: Source {
                uid: "s-1".to_owned(),
                version: "8".to_owned(),
            },
            keys: [
                (
                    "password".to_owned(),
                    NewValue::Credential("fresh".to_owned()),
                ),
                ("token".to_owned(), by_chance().value().unwrap()),
            ]
            .into(),
            earlier: earlier.iter().map(|key| (*key).to_owned()).collect(),
        },
    }
}

#[tokio::test]
async fn a_copy_has_every_other_key_byte_for_byte_and_the_secret_is_not_written() {
    let server = Server::default()
        .ok("GET", DB, db("8"))
        .ok("POST", SECRETS, json!({}));
    let cluster = server.cluster().with_values(Arc::new(Vault), Some(7));
    let copy = copy("db", "s-1", "8", &["user"]);
    cluster.copy(&target(), &copy, &stamp()).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    let body = &writes[0].body;
    assert_eq!(
        (writes[0].method.as_str(), body["metadata"]["name"].as_str()),
        ("POST", Some("db-pgaaaaaaaaaa"))
    );
    assert_eq!(body["data"], db("8")["data"]);
    assert_eq!(body["type"], "example/db");
    assert_eq!(body["immutable"], true);
    let new = body["stringData"].as_object().unwrap();
    assert_eq!(new.keys().collect::<Vec<_>>(), ["password", "token"]);
    assert_eq!(new["password"], "pl4nt3d");
    assert_eq!(new["token"].as_str().map(str::len), Some(24));
    let notes = &body["metadata"]["annotations"];
    assert_eq!(notes["phasegate.dev/rotated"], "password,token,user");
    assert_eq!(notes["phasegate.dev/rotated-from"], "s-1/8");
    assert!(!notes.to_string().contains("pl4nt3d"));
}

#[tokio::test]
async fn without_its_value_or_what_it_is_made_of_no_copy_is_made() {
    let server = Server::default().ok("GET", DB, db("8"));
    let nobody = server.cluster();
    let content = copy("db", "s-1", "8", &[]);
    let failure = failed(nobody.copy(&target(), &content, &stamp()).await);
    assert_eq!(failure.code, codes::CREDENTIAL_UNAVAILABLE);
    let cluster = server.cluster().with_values(Arc::new(Vault), None);
    let content = copy("db", "s-1", "7", &[]);
    let failure = failed(cluster.copy(&target(), &content, &stamp()).await);
    assert_eq!(failure.code, codes::CONFLICT);
    assert!(!failure.message.contains("pl4nt3d"));
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn what_the_api_server_says_of_a_copy_it_refuses_holds_no_value() {
    let server = Server::default().ok("GET", DB, db("8")).on(
        "POST",
        SECRETS,
        vec![status(403, "Forbidden", "secrets is forbidden")],
    );
    let cluster = server.cluster().with_values(Arc::new(Vault), None);
    let failure = failed(
        cluster
            .copy(&target(), &copy("db", "s-1", "8", &[]), &stamp())
            .await,
    );
    assert!(!format!("{failure:?}").contains("pl4nt3d"), "{failure:?}");
}
