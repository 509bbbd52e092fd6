use super::*;
use crate::diagnostic::{Code, Diagnostics, codes};

mod acting;

const HELLO: &str = include_str!("../../../../../examples/hello/release.yaml");
const BUILTIN: [&str; 5] = ["rolling", "recreate", "workload", "http", "webhook"];

/// A release in which every part occurs, and nothing is wrong.
const FULL: &str = r#"apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop, labels: {team: web}}
version: "2.0.0"
change: minor
environment: staging
environments:
  staging: {target: {simulated: {}}}
  production: {target: {kubernetes: {context: prod, namespace: shop-prod}}}
namespace: shop
workload:
  deployment: shop
  container: app
  image: registry.example:5000/shop:{version}
  service: shop
  configMaps: [shop-config]
  secrets: [shop-secret]
plugins:
  errors: {path: plugins/errors.wasm, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
  wave: {builtin: rolling}
credentials:
  prometheus: {env: PROMETHEUS_TOKEN, hosts: ["prometheus.example:443"]}
  pager: {file: /run/pager, hosts: [pager.example], header: "X-Token: {secret}"}
gates:
  pods: {plugin: workload}
  errors:
    plugin: errors
    offer: ratio
    config: {url: https://prometheus.example, credential: prometheus}
    policy:
      interval: 30s
      sustained: 5m
      bands: {normal: continue, warn: warn, alert: rollback}
      onInconclusive: {action: hold, rollbackAfter: 10m}
phases:
  - name: preflight
    steps:
      - check: [pods]
      - attest: {name: backup-tested, prompt: Was the last backup restored?}
      - approve: {prompt: Go?, roles: [lead], count: 2, expires: 2h}
  - name: deploy
    timeout: 1h
    strategy: {plugin: wave, gates: [pods, errors]}
  - name: verify
    steps:
      - soak: {for: 10m, every: 1m, gates: [errors]}
      - id: second-look
        soak: {for: 20m, gates: [pods]}
      - soak: {for: 30m}
      - notify: {notification: chat, title: verified}
approvals:
  - {before: deploy, roles: [owner]}
notifications:
  - {name: chat, plugin: webhook, on: [started, rolling-back], critical: true, fallback: pager}
  - {name: pager, plugin: webhook, config: {credential: pager}}
rollback: {target: 3m}
due:
  - {after: 48h, task: write it up, on: rolledBack}
minimumSoak: 10m
"#;

fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    load(
        "release.yaml",
        text.as_bytes(),
        &Overrides::default(),
        &BUILTIN,
    )
}

fn faults(text: &str) -> Vec<(Code, u32, String)> {
    let list = load_text(text).expect_err("the release should be refused");
    list.iter()
        .map(|d| {
            (
                d.code(),
                d.place().and_then(|p| p.line).unwrap_or_default(),
                d.to_string(),
            )
        })
        .collect()
}

/// `FULL` with one text replaced; the text must be there.
fn full_with(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    FULL.replacen(from, to, 1)
}

/// `FULL` changed gives exactly this fault, at the line of `marker` in the changed text.
fn refused(from: &str, to: &str, code: Code, marker: &str) {
    let text = full_with(from, to);
    let line = text
        .lines()
        .position(|l| l.contains(marker))
        .map(|i| i + 1)
        .unwrap_or_else(|| panic!("no {marker}"));
    let found = faults(&text);
    let got: Vec<(Code, usize)> = found
        .iter()
        .map(|(code, line, _)| (*code, *line as usize))
        .collect();
    assert_eq!(got, [(code, line)], "{from} -> {to}: {found:#?}");
}

#[test]
fn the_example_loads() {
    let loaded = load_text(HELLO).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (
            loaded.version.as_str(),
            loaded.environment.as_str(),
            loaded.namespace.as_str()
        ),
        ("1.1.0", "default", "hello")
    );
    assert_eq!(image(&loaded), "registry.example/hello:1.1.0");
    assert!(
        matches!(loaded.target, Target::Simulated(Simulated { scenario: Some(ref s), .. }) if s == "scenario.yaml")
    );
}

#[test]
fn a_release_with_every_part_loads_and_survives_json() {
    let loaded = load_text(FULL).unwrap_or_else(|e| panic!("{e}"));
    let json = serde_json::to_value(&loaded.release).unwrap();
    assert_eq!(
        serde_json::from_value::<Release>(json).unwrap(),
        loaded.release
    );
    let ids: Vec<String> = loaded
        .release
        .phases
        .iter()
        .flat_map(|p| p.steps().into_iter().map(|(id, _)| id))
        .collect();
    assert_eq!(
        ids,
        [
            "preflight/check-1",
            "preflight/attest-1",
            "preflight/approve-1",
            "verify/soak-1",
            "second-look",
            "verify/soak-3",
            "verify/notify-1"
        ]
    );
    assert_eq!(
        loaded.release.gates["errors"].policy.on_inconclusive.hold(),
        Span::from_mins(10)
    );
    assert_eq!(loaded.release.gates["pods"].policy, GatePolicy::default());
    assert_eq!(
        loaded.release.credentials["prometheus"].header_parts(),
        Some(("Authorization", "Bearer {secret}"))
    );
}

#[test]
fn the_command_line_wins_over_the_file() {
    let overrides = Overrides {
        version: Some("3.0.0".to_owned()),
        environment: Some("production".to_owned()),
    };
    let loaded = load("release.yaml", FULL.as_bytes(), &overrides, &BUILTIN).unwrap();
    assert_eq!(
        (image(&loaded).as_str(), loaded.namespace.as_str()),
        ("registry.example:5000/shop:3.0.0", "shop-prod")
    );
    assert!(matches!(loaded.target, Target::Kubernetes(_)));

    let without = full_with("version: \"2.0.0\"\n", "");
    assert_eq!(faults(&without)[0].0, codes::MISSING_FIELD);
    assert!(load("release.yaml", without.as_bytes(), &overrides, &BUILTIN).is_ok());

    let overrides = Overrides {
        version: Some("not a tag".to_owned()),
        environment: Some("prodction".to_owned()),
    };
    let text = load("release.yaml", FULL.as_bytes(), &overrides, &BUILTIN)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`--version` can't be a version")
            && text.contains("did you mean `production`?"),
        "{text}"
    );
}

#[test]
fn every_fault_is_reported_in_the_order_of_the_file() {
    let text = full_with("gates: [pods, errors]", "gates: [pods, eror]")
        .replace("before: deploy", "before: deply")
        .replace("name: shop,", "name: Shop,");
    let found: Vec<(Code, u32)> = faults(&text)
        .into_iter()
        .map(|(code, line, _)| (code, line))
        .collect();
    assert_eq!(
        found,
        [
            (codes::BAD_NAME, 3),
            (codes::DANGLING_NAME, 43),
            (codes::DANGLING_NAME, 52)
        ]
    );
}

#[test]
fn a_dangling_name_reads_like_this() {
    let found = faults(&full_with("gates: [pods, errors]", "gates: [pods, eror]"));
    insta::assert_snapshot!(found[0].2, @r"
    error[PG0120]: there is no gate named `eror`
      --> release.yaml:43:44
      expected: one of `errors`, `pods`
         found: `eror`
          hint: did you mean `errors`?
    ");
}

#[test]
fn names_must_lead_somewhere_and_differ() {
    refused(
        "check: [pods]",
        "check: [pod]",
        codes::DANGLING_NAME,
        "check: [pod]",
    );
    refused(
        "plugin: wave",
        "plugin: waves",
        codes::DANGLING_NAME,
        "plugin: waves",
    );
    refused(
        "pods: {plugin: workload}",
        "pods: {plugin: workloads}",
        codes::DANGLING_NAME,
        "workloads",
    );
    refused(
        "credential: prometheus",
        "credential: prometeus",
        codes::DANGLING_NAME,
        "prometeus",
    );
    refused(
        "fallback: pager",
        "fallback: page",
        codes::DANGLING_NAME,
        "fallback: page",
    );
    refused(
        "notification: chat",
        "notification: chatt",
        codes::DANGLING_NAME,
        "chatt",
    );
    refused(
        "name: verify",
        "name: preflight # again",
        codes::DUPLICATE_NAME,
        "# again",
    );
}

#[test]
fn duplicates_say_both_lines() {
    let two = full_with(
        "      - soak: {for: 30m}\n",
        "      - {id: second-look, soak: {for: 30m}}\n",
    );
    let found = faults(&two);
    assert_eq!(
        (found.len(), found[0].0, found[0].1),
        (1, codes::DUPLICATE_NAME, 49),
        "{found:#?}"
    );
    assert!(
        found[0].2.contains("`second-look` here and on line 47"),
        "{}",
        found[0].2
    );
    let chats =
        full_with("name: pager, plugin", "name: chat, plugin").replace(", fallback: pager", "");
    assert_eq!(
        faults(&chats).iter().map(|f| f.0).collect::<Vec<_>>(),
        [codes::DUPLICATE_NAME]
    );
}

#[test]
fn impossible_numbers_are_refused() {
    let number = codes::IMPOSSIBLE_NUMBER;
    refused("interval: 30s", "interval: 0s", number, "interval: 0s");
    refused("sustained: 5m", "sustained: 10s", number, "sustained: 10s");
    refused("sustained: 5m", "timeout: 0s", number, "timeout: 0s");
    refused(
        "{for: 10m, every: 1m",
        "{for: 10m, every: 11m",
        number,
        "every: 11m",
    );
    refused("{for: 20m,", "{for: 5m,", number, "for: 5m");
    refused("count: 2", "count: 0", number, "count: 0");
    refused("count: 2", "count: 500", number, "count: 500");
    refused("expires: 2h", "expires: 0s", number, "expires: 0s");
    refused("timeout: 1h", "timeout: 60d", number, "timeout: 60d");
    refused("target: 3m", "target: 0s", number, "target: 0s");
    refused("target: 3m", "retries: 1000", number, "retries: 1000");
    refused("target: 3m", "retries: 4294967295", number, "retries:");
    refused(
        "{simulated: {}}",
        "{simulated: {scale: 0}}",
        number,
        "scale: 0",
    );
    // More than a simulated cluster takes.
    refused(
        "{simulated: {}}",
        "{simulated: {scale: 100001}}",
        number,
        "scale: 100001",
    );
    refused("after: 48h", "after: 9999d", number, "after: 9999d");
    refused("check: [pods]", "check: []", number, "check: []");
    refused("roles: [owner]", "roles: []", number, "roles: []");
    refused("sustained: 5m", "sustained: 15m", number, "for: 10m");
}

#[test]
fn what_is_versioned_is_one_config_map_or_one_secret() {
    let with = |configs: &str| format!("  secrets: [shop-secret]\n  configs: [{configs}]");
    let wrong = |configs: &str, code| {
        refused("  secrets: [shop-secret]", &with(configs), code, "configs:");
    };
    wrong("{from: config}", codes::MISSING_FIELD);
    wrong("{configMap: a, secret: b}", codes::CONTRADICTION);
    wrong("{secret: a, from: config}", codes::CONTRADICTION);
    wrong("{configMap: a}, {configMap: a}", codes::DUPLICATE_NAME);
    wrong("{configMap: A_}", codes::BAD_NAME);
    wrong("{configMap: a-pg0123456789}", codes::INVALID_VALUE);
    let long = format!("{{configMap: {}}}", "a".repeat(60));
    wrong(&long, codes::INVALID_VALUE);
    let many: Vec<String> = (0..17).map(|n| format!("{{secret: s{n}}}")).collect();
    wrong(&many.join(", "), codes::TOO_MANY);
    let good = full_with(
        "  secrets: [shop-secret]",
        &with("{configMap: a, from: config}, {secret: a}"),
    );
    assert!(load_text(&good).is_ok());
}

#[test]
fn contradictions_are_refused() {
    let contradiction = codes::CONTRADICTION;
    refused(
        "warn: warn, alert: rollback",
        "warn: rollback, alert: hold",
        contradiction,
        "alert: hold",
    );
    refused(
        "action: hold,",
        "action: rollback,",
        contradiction,
        "action: rollback",
    );
    refused(
        "sustained: 5m",
        "sustained: 5m\n      failureLimit: 2",
        contradiction,
        "failureLimit: 2",
    );
    refused(
        "critical: true, fallback: pager",
        "fallback: pager",
        contradiction,
        "fallback: pager",
    );
    refused(
        "{credential: pager}}",
        "{credential: pager}, critical: true, fallback: pager}",
        contradiction,
        "{credential: pager}, critical",
    );
    refused(
        "{env: PROMETHEUS_TOKEN,",
        "{env: A, file: b,",
        contradiction,
        "file: b",
    );
    refused("{builtin: rolling}", "{}", contradiction, "wave: {}");
    refused(
        "- check: [pods]",
        "- {check: [pods], soak: {for: 1m}}",
        contradiction,
        "soak: {for: 1m}",
    );
    refused(
        "- soak: {for: 30m}",
        "- id: nothing",
        contradiction,
        "id: nothing",
    );
}

#[test]
fn there_is_one_point_of_no_return_and_the_new_version_serves_by_then() {
    let (early, deploy, last) = ("- check: [pods]", "timeout: 1h", "- soak: {for: 30m}\n");
    let contradiction = codes::CONTRADICTION;
    refused(
        early,
        "- check: [pods]\n        pointOfNoReturn: true",
        contradiction,
        "pointOfNoReturn",
    );
    refused(
        "- name: preflight\n",
        "- name: preflight\n    pointOfNoReturn: true\n",
        contradiction,
        "pointOfNoReturn",
    );
    let both = full_with(deploy, "timeout: 1h\n    pointOfNoReturn: true").replacen(
        last,
        "- soak: {for: 30m}\n        pointOfNoReturn: true # again\n",
        1,
    );
    let found = faults(&both);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].0, found[0].1), (contradiction, 51), "{found:#?}");
    for (from, to) in [
        (deploy, "timeout: 1h\n    pointOfNoReturn: true"),
        (last, "- soak: {for: 30m}\n        pointOfNoReturn: true\n"),
    ] {
        let loaded = load_text(&full_with(from, to)).unwrap_or_else(|e| panic!("{e}"));
        let json = serde_json::to_value(&loaded.release).unwrap();
        assert!(json.to_string().contains("\"pointOfNoReturn\":true"));
        assert_eq!(
            serde_json::from_value::<Release>(json).unwrap(),
            loaded.release
        );
    }
    refused(
        deploy,
        "pointOfNoReturn: perhaps",
        codes::WRONG_TYPE,
        "perhaps",
    );
}

#[test]
fn names_images_and_environments_are_checked() {
    refused(
        "deployment: shop",
        "deployment: Shop_1",
        codes::BAD_NAME,
        "Shop_1",
    );
    refused("container: app", "container: a.b", codes::BAD_NAME, "a.b");
    refused("second-look", "Second/Look", codes::BAD_NAME, "Second/Look");
    refused(
        "environment: staging",
        "environment: stagin",
        codes::UNKNOWN_ENVIRONMENT,
        "environment: stagin",
    );
}

#[test]
fn an_image_must_follow_from_the_version() {
    let image = "image: registry.example:5000/shop:{version}";
    for wrong in [
        "registry.example:5000/shop",
        "shop:latest",
        "shop:1.0",
        "shop:{tag}",
        "shop:",
    ] {
        refused(
            image,
            &format!("image: \"{wrong}\""),
            codes::IMAGE_WITHOUT_VERSION,
            "image: ",
        );
    }
    refused(
        image,
        "image: shop@sha256:abc",
        codes::INVALID_VALUE,
        "image: ",
    );
    let digest = format!("image: shop@sha256:{}", "0".repeat(64));
    assert!(load_text(&full_with(image, &digest)).is_ok());
    let configuration =
        full_with(image, "image: shop:1.0").replace("change: minor", "change: configuration");
    assert!(load_text(&configuration).is_ok());
}

#[test]
fn exactly_one_phase_has_a_strategy() {
    let strategy = "strategy: {plugin: wave, gates: [pods, errors]}";
    refused(
        strategy,
        "steps: [{check: [pods]}]",
        codes::NO_STRATEGY,
        "- name: preflight",
    );
    let two = "strategy: {plugin: wave}\n  - name: again\n    strategy: {plugin: recreate}";
    refused(strategy, two, codes::NO_STRATEGY, "plugin: recreate");
    let target = full_with("  staging: {target: {simulated: {}}}", "  staging: {}");
    assert_eq!(faults(&target)[0].0, codes::MISSING_TARGET);
}

#[test]
fn secrets_in_plain_sight_are_refused_and_not_repeated() {
    let config = "config: {url: https://prometheus.example, credential: prometheus}";
    for (wrong, planted) in [
        (
            "config: {headers: {Authorization: Bearer s3cr3t}}",
            "s3cr3t",
        ),
        (
            "config: {headers: [{name: X-Api-Key, value: s3cr3t}]}",
            "s3cr3t",
        ),
        (
            "config: {url: 'https://u:s3cr3t@prometheus.example'}",
            "s3cr3t",
        ),
        ("config: {deep: [{token: s3cr3t}]}", "s3cr3t"),
        ("config: {anything: ghp_s3cr3t}", "s3cr3t"),
    ] {
        refused(config, wrong, codes::SECRET_IN_CONFIG, planted);
        let text = &faults(&full_with(config, wrong))[0].2;
        assert!(
            !text.contains(planted) && text.contains("credentials"),
            "{text}"
        );
    }
    let list = faults(&full_with(
        "{env: PROMETHEUS_TOKEN, hosts: [\"prometheus.example:443\"]}",
        "ghp_s3cr3t",
    ));
    assert!(!list[0].2.contains("s3cr3t"), "{}", list[0].2);
    let list = faults(&full_with("env: PROMETHEUS_TOKEN", "env: s3cr3t-token"));
    assert!(!list[0].2.contains("s3cr3t"), "{}", list[0].2);
}

#[test]
fn credentials_say_where_they_may_go() {
    let hosts = "hosts: [\"prometheus.example:443\"]";
    refused(hosts, "hosts: []", codes::IMPOSSIBLE_NUMBER, "hosts: []");
    refused(
        hosts,
        "hosts: [\"https://prometheus.example/api\"]",
        codes::INVALID_VALUE,
        "https://prometheus.example/api",
    );
    refused(
        "X-Token: {secret}",
        "X-Token",
        codes::INVALID_VALUE,
        "\"X-Token\"",
    );
    refused(
        "X-Token: {secret}",
        "X Token: {secret}",
        codes::INVALID_VALUE,
        "X Token",
    );
    // What would follow the secret has no place in what is kept of a header.
    refused(
        "X-Token: {secret}",
        "X-Token: key={secret};v=1",
        codes::INVALID_VALUE,
        "v=1",
    );
}

/// A release that rotates keys of a Secret, with this in place of that.
fn rotating(from: &str, to: &str) -> String {
    let rotates = "  secrets: [shop-secret]\n  configs:\n    - {secret: db, rotate: {password: {credential: fresh}, token: {random: {length: 32}}}}\n";
    let fresh = "credentials:\n  fresh: {env: FRESH, secrets: [db/password]}\n";
    full_with("  secrets: [shop-secret]\n", rotates)
        .replace("credentials:\n", fresh)
        .replace(from, to)
}

#[test]
fn a_rotated_key_gets_its_value_from_one_place_that_is_meant_for_it() {
    let loaded = load_text(&rotating("", ""));
    assert!(loaded.is_ok(), "{loaded:?}");
    for (from, to, code) in [
        (
            "secrets: [db/password]",
            "hosts: [db.example]",
            codes::CREDENTIAL_FOR_NO_SECRET,
        ),
        (
            "secrets: [db/password]",
            "secrets: [db/user]",
            codes::CREDENTIAL_FOR_NO_SECRET,
        ),
        (
            "secrets: [db/password]",
            "secrets: [db]",
            codes::INVALID_VALUE,
        ),
        (
            "credential: fresh",
            "credential: stale",
            codes::DANGLING_NAME,
        ),
        ("{credential: fresh}", "{}", codes::MISSING_FIELD),
        (
            "{credential: fresh}",
            "{credential: fresh, random: {length: 32}}",
            codes::CONTRADICTION,
        ),
        ("length: 32", "length: 15", codes::IMPOSSIBLE_NUMBER),
        ("length: 32", "length: 257", codes::IMPOSSIBLE_NUMBER),
        ("token:", "\"a key\":", codes::INVALID_VALUE),
        ("secret: db,", "configMap: db,", codes::CONTRADICTION),
    ] {
        let found = faults(&rotating(from, to));
        assert!(found.iter().any(|fault| fault.0 == code), "{to}: {found:?}");
    }
}

#[test]
fn another_kind_of_file_is_named_as_such() {
    for (from, to, line) in [
        ("kind: Release", "kind: Policy", 2),
        ("v1alpha1", "v9", 1),
        ("kind: Release\n", "", 1),
    ] {
        let found = faults(&full_with(from, to));
        assert_eq!((found[0].0, found[0].1), (codes::WRONG_KIND, line));
    }
}

#[test]
fn lists_have_limits() {
    let many: String = (0..100)
        .map(|n| format!("  - {{name: p{n}, steps: [{{check: [pods]}}]}}\n"))
        .collect();
    let found = faults(&full_with("phases:\n", &format!("phases:\n{many}")));
    assert_eq!(found[0].0, codes::TOO_MANY, "{}", found[0].2);
}

fn image(loaded: &Loaded) -> String {
    let workloads = loaded.release.workloads();
    workloads[0].1.image_for(&loaded.version)
}

/// The limit that is told is the one that holds, not that of the type a number is kept in.
#[test]
fn numbers_beyond_every_type_are_told_with_their_limit() {
    let told = |from: &str, to: &str| {
        let text = FULL.replace(from, to);
        assert_ne!(text, FULL);
        load("release.yaml", text.as_bytes(), &Overrides::default(), &[])
            .unwrap_err()
            .to_string()
    };
    let retries = told("target: 3m", "retries: 4294967296");
    assert!(
        retries.contains("a whole number from 0 to 100\n"),
        "{retries}"
    );
    assert!(retries.contains("the number `4294967296`"), "{retries}");
    let long = told("target: 3m", "target: 99999999999999999999h");
    assert!(
        long.contains("the longest that a file may give is 8784h"),
        "{long}"
    );
}
