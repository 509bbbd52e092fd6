//! The Job that drives a run from within the cluster, as a manifest.
//!
//! Its pod runs this program with `drive RUN` and reads all it needs from the journal, so that any number of pods may
//! come one after the other. What it is given is no secret: credentials come from a Secret that is named.

use std::collections::BTreeMap;
use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes, listed};
use phasegate_core::spec::release::{Credential, SecretSource};
use phasegate_world::connect;
use serde_json::{Value, json};

use crate::args::Away;
use crate::seat::{POD, Seat};

/// How often pods may fail one after the other. Each goes on where the one before was.
const BACKOFF_LIMIT: u32 = 100;
/// How long a Job stays after its end, in seconds: a day. The journal stays.
const KEPT_SECONDS: u32 = 86_400;
/// How long a pod that is to stop may take, in seconds; an engine leaves within five.
const GRACE_SECONDS: u32 = 30;
/// The user that the program runs as, who owns nothing.
const USER: u32 = 65_532;
/// Most characters of the run's id in the Job's name: pods' names are longer, and have at most 63.
const MAX_NAME: usize = 35;
/// Where compiled plugins are kept while the pod lives.
const CACHE: &str = "/cache";

/// What a pod is given besides its program.
struct Given {
    env: Vec<Value>,
    mounts: Vec<Value>,
    volumes: Vec<Value>,
}

/// What a Job needs to be made.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The run.
    pub run: &'a str,
    /// Where its journal is.
    pub seat: &'a Seat,
    /// What was asked for.
    pub away: &'a Away,
    /// The run's credentials, their files as absolute paths.
    pub credentials: &'a BTreeMap<String, Credential>,
}

impl Wanted<'_> {
    /// The manifest.
    ///
    /// # Errors
    /// Where there is no image, or a credential could not be had in the pod.
    pub fn manifest(&self) -> Result<Value, Diagnostic> {
        let image = self.away.image.as_deref().map(str::trim);
        let Some(image) = image.filter(|image| !image.is_empty()) else {
            return Err(Diagnostic::new(
                codes::NOT_FOR_A_CLUSTER,
                "it isn't said which image has this program",
            )
            .expected("--image IMAGE or PHASEGATE_IMAGE")
            .found("nothing")
            .hint("it has to be this version of the engine: plugins are pinned by their digests"));
        };
        let Given {
            env,
            mounts,
            volumes,
        } = self.given()?;
        let labels = json!({"app.kubernetes.io/managed-by": "phasegate", "app.kubernetes.io/component": "engine"});
        let state = Seat {
            context: connect::IN_CLUSTER.to_owned(),
            namespace: self.seat.namespace.clone(),
        };
        let container = json!({
            "name": "engine",
            "image": image,
            "command": ["phasegate"],
            "args": ["--state", state.path(), "drive", self.run],
            "env": env,
            "volumeMounts": mounts,
            "resources": {
                "requests": {"cpu": "100m", "memory": "256Mi"},
                "limits": {"memory": "1Gi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        });
        Ok(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "generateName": format!("phasegate-{}-", tail(self.run)),
                "namespace": self.seat.namespace,
                "labels": labels,
                "annotations": {"phasegate.dev/run": self.run},
            },
            "spec": {
                "backoffLimit": BACKOFF_LIMIT,
                "ttlSecondsAfterFinished": KEPT_SECONDS,
                "template": {
                    "metadata": {"labels": labels, "annotations": {"phasegate.dev/run": self.run}},
                    "spec": {
                        "restartPolicy": "OnFailure",
                        "serviceAccountName": self.away.service_account,
                        "terminationGracePeriodSeconds": GRACE_SECONDS,
                        "securityContext": {
                            "runAsNonRoot": true,
                            "runAsUser": USER,
                            "runAsGroup": USER,
                            "fsGroup": USER,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                        "volumes": volumes,
                    },
                },
            },
        }))
    }

    /// Environment, mounts and volumes: each credential by its name in the Secret, that of its variable or its file.
    fn given(&self) -> Result<Given, Diagnostic> {
        let mut given = Given {
            env: vec![
                json!({"name": "PHASEGATE_CACHE", "value": CACHE}),
                json!({"name": POD, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}),
            ],
            mounts: vec![json!({"name": "cache", "mountPath": CACHE})],
            volumes: vec![json!({"name": "cache", "emptyDir": {"sizeLimit": "512Mi"}})],
        };
        if self.credentials.is_empty() {
            return Ok(given);
        }
        let Some(secret) = self.away.credentials.as_deref() else {
            let names = self.credentials.keys().map(String::as_str);
            return Err(Diagnostic::new(
                codes::NOT_FOR_A_CLUSTER,
                "the release has credentials, and a pod has neither your environment nor your files",
            )
            .expected("--credentials SECRET, with a key for each variable or file")
            .found(listed(names))
            .hint("make a Secret in the journal's namespace; its keys are called as the variables, or as the files"));
        };
        for (key, source) in keys(self.credentials)? {
            match source {
                SecretSource::Env(variable) => given.env.push(json!({
                    "name": variable,
                    "valueFrom": {"secretKeyRef": {"name": secret, "key": key}},
                })),
                SecretSource::File(path) => given.mounts.push(json!({
                    "name": "credentials",
                    "mountPath": path,
                    "subPath": key,
                    "readOnly": true,
                })),
            }
        }
        given
            .volumes
            .push(json!({"name": "credentials", "secret": {"secretName": secret}}));
        Ok(given)
    }
}

/// What each key of the Secret is for. Two that would be given the same one are refused, or one would be sent where the
/// other belongs.
fn keys(
    credentials: &BTreeMap<String, Credential>,
) -> Result<BTreeMap<&str, &SecretSource>, Diagnostic> {
    let mut keys: BTreeMap<&str, &SecretSource> = BTreeMap::new();
    for credential in credentials.values() {
        let source = &credential.source;
        let key = match source {
            SecretSource::Env(variable) => variable.as_str(),
            SecretSource::File(path) => {
                let name = Path::new(path).file_name().and_then(|name| name.to_str());
                name.unwrap_or_default()
            }
        };
        if keys
            .insert(key, source)
            .is_some_and(|other| other != source)
        {
            return Err(Diagnostic::new(
                codes::NOT_FOR_A_CLUSTER,
                "two credentials would have the same key of the Secret",
            )
            .expected("variables and files, without their folders, that are called differently")
            .found(format!("`{key}` twice"))
            .hint("call one of them otherwise in the release"));
        }
    }
    Ok(keys)
}

/// The end of a run's id, which tells it from others.
fn tail(run: &str) -> String {
    let skipped = run.chars().count().saturating_sub(MAX_NAME);
    let tail: String = run.chars().skip(skipped).collect();
    tail.trim_start_matches(['-', '.']).replace('.', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(
        image: Option<&str>,
        secret: Option<&str>,
        file: Option<&str>,
    ) -> Result<Value, String> {
        let away = Away {
            in_cluster: true,
            image: image.map(str::to_owned),
            service_account: "phasegate".to_owned(),
            journal_namespace: None,
            credentials: secret.map(str::to_owned),
        };
        let credential = |source| Credential {
            source,
            hosts: vec!["sentry.io:443".into()],
            secrets: Vec::new(),
            header: "authorization: Bearer {secret}".into(),
            url: false,
        };
        let mut credentials = BTreeMap::new();
        if let Some(file) = file {
            credentials.insert("f".to_owned(), credential(SecretSource::File(file.into())));
            credentials.insert(
                "e".to_owned(),
                credential(SecretSource::Env("TOKEN".into())),
            );
        }
        let seat = Seat {
            context: "prod".to_owned(),
            namespace: "shop".to_owned(),
        };
        let wanted = Wanted {
            run: "a-release-with-quite-a-long-name-20261126-ab12cd",
            seat: &seat,
            away: &away,
            credentials: &credentials,
        };
        wanted.manifest().map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_pod_reaches_the_journal_by_its_own_account() {
        let job = manifest(Some("registry.test/phasegate:1"), None, None).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        let args = ["--state", "kubernetes:in-cluster/shop", "drive"];
        for (index, arg) in args.into_iter().enumerate() {
            assert_eq!(pod["containers"][0]["args"][index], arg);
        }
        assert_eq!(pod["serviceAccountName"], "phasegate");
        let name = job["metadata"]["generateName"].as_str().unwrap();
        assert!(
            name.len() < 52 && name.ends_with("20261126-ab12cd-"),
            "{name}"
        );
    }

    #[test]
    fn credentials_come_from_the_secret_that_is_named_or_the_run_is_refused() {
        let image = Some("registry.test/phasegate:1");
        let file = Some("/home/ada/keys/token");
        let fault = manifest(image, None, file).unwrap_err();
        assert!(
            fault.contains("PG0510") && fault.contains("--credentials"),
            "{fault}"
        );
        let job = manifest(image, Some("keys"), file).unwrap();
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        let key = &container["env"][2]["valueFrom"]["secretKeyRef"];
        assert_eq!(
            (&key["name"], &key["key"]),
            (&json!("keys"), &json!("TOKEN"))
        );
        assert_eq!(
            container["volumeMounts"][1]["mountPath"],
            "/home/ada/keys/token"
        );
        assert_eq!(container["volumeMounts"][1]["subPath"], "token");
    }

    #[test]
    fn without_an_image_there_is_no_job() {
        let fault = manifest(Some(" "), None, None).unwrap_err();
        assert!(
            fault.contains("PG0510") && fault.contains("--image"),
            "{fault}"
        );
    }

    #[test]
    fn credentials_that_would_share_a_key_are_refused_and_one_source_is_given_once() {
        let credential = |source: SecretSource| Credential {
            source,
            hosts: vec!["sentry.io:443".into()],
            secrets: Vec::new(),
            header: "authorization: Bearer {secret}".into(),
            url: false,
        };
        let file = |path: &str| credential(SecretSource::File(path.into()));
        let of = |first: Credential, second: Credential| {
            BTreeMap::from([("a".to_owned(), first), ("b".to_owned(), second)])
        };
        let same = of(file("/keys/token"), file("/keys/token"));
        assert_eq!(keys(&same).unwrap().len(), 1);
        let apart = of(file("/keys/sentry"), file("/keys/slack"));
        assert_eq!(keys(&apart).unwrap().len(), 2);
        for shared in [
            of(file("/keys/sentry/token"), file("/keys/slack/token")),
            of(
                file("/keys/TOKEN"),
                credential(SecretSource::Env("TOKEN".into())),
            ),
        ] {
            let refused = keys(&shared).unwrap_err();
            assert_eq!(refused.code(), codes::NOT_FOR_A_CLUSTER);
        }
    }
}
