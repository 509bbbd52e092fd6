//! The pod templates that a release brings along, and what its actions are to apply: in files beside it, or as
//! `kustomize build` and `helm template` print them.

#![expect(
    clippy::disallowed_methods,
    reason = "the room in which the command line reads what is beside a release, and runs the two programs that make manifests"
)]

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use phasegate_core::config::MAX_TEMPLATE;
use phasegate_core::diagnostic::{Diagnostic, Diagnostics, Place, codes, listed};
use phasegate_core::spec::objects as applied;
use phasegate_core::spec::release::{Loaded, Manifest, Manifests};
use phasegate_core::yaml;
use serde_json::Value;

use crate::files;

/// Most files of a folder.
const MAX_FILES: usize = 200;
/// Most bytes of all manifests of a workload.
const MAX_BYTES: usize = 8 << 20;
/// Most objects that they describe.
const MAX_OBJECTS: usize = 1000;
/// Most other objects that a plan names.
const MAX_OTHERS: usize = 10;
/// Most characters that it has of each.
const MAX_OTHER: usize = 120;
/// How long a program may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Most bytes that are read of what a program says on its standard error, and that a person is shown of it.
const MAX_COMPLAINT: usize = 64 << 10;
const SHOWN: usize = 600;
/// What the programs get of the environment: where programs are, and where they keep what is theirs.
const ENVIRONMENT: [&str; 6] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];

/// Reads what the release names, and runs the programs that it asks for.
///
/// # Errors
/// A coded fault for each workload whose pod template can't be had, and each action whose objects can't.
pub fn fill(loaded: &mut Loaded, folder: &Path) -> Result<(), Diagnostics> {
    let mut faults = Diagnostics::new();
    let mut found = std::collections::BTreeMap::new();
    for (pointer, workload) in loaded.release.workloads() {
        let Some(manifests) = &workload.manifests else {
            continue;
        };
        let deployment = workload.deployment.as_str();
        let texts = texts(manifests, folder, deployment, &loaded.namespace);
        match texts.and_then(|texts| template(&texts, deployment, &loaded.namespace)) {
            Ok(manifest) => {
                found.insert(deployment.to_owned(), manifest);
            }
            Err(fault) => {
                let place = loaded.document.place(&format!("{pointer}/manifests"));
                faults.push(fault.at(place));
            }
        }
    }
    loaded.manifests = found;
    let (name, namespace) = (
        loaded.release.metadata.name.clone(),
        loaded.namespace.clone(),
    );
    let read = |manifests: &Manifests| objects(&texts(manifests, folder, &name, &namespace)?);
    for fault in applied::fill(loaded, read) {
        faults.push(fault);
    }
    faults.into_result(())
}

/// What manifests come from, and their text.
struct Text {
    from: String,
    text: String,
}

fn texts(
    manifests: &Manifests,
    folder: &Path,
    name: &str,
    namespace: &str,
) -> Result<Vec<Text>, Diagnostic> {
    let whole = |path: &str| -> String {
        let path = folder.join(path);
        // One that began with a hyphen would be taken for an option.
        let path = std::path::absolute(&path).unwrap_or(path);
        path.display().to_string()
    };
    if let Some(path) = &manifests.path {
        return read(&folder.join(path));
    }
    if let Some(path) = &manifests.kustomize {
        return run("kustomize", &["build".to_owned(), whole(path)]);
    }
    let Some(helm) = &manifests.helm else {
        return Ok(Vec::new());
    };
    let release = helm.release.as_deref().unwrap_or(name);
    let mut arguments = vec![
        "template".to_owned(),
        release.to_owned(),
        whole(&helm.chart),
    ];
    arguments.extend(["--namespace".to_owned(), namespace.to_owned()]);
    for values in &helm.values {
        arguments.extend(["--values".to_owned(), whole(values)]);
    }
    run("helm", &arguments)
}

/// A file, or the manifests of a folder in the order of their names.
fn read(path: &Path) -> Result<Vec<Text>, Diagnostic> {
    let shown = path.display().to_string();
    if !path.is_dir() {
        return Ok(vec![text(path, MAX_BYTES)?]);
    }
    let unreadable = |error: io::Error| {
        let message = format!("the folder `{shown}` can't be read");
        Diagnostic::new(codes::FILE_UNREADABLE, message)
            .expected("a folder that can be read")
            .found(error.to_string())
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        if path.is_file() && matches!(kind, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let message = format!("the folder `{shown}` holds too many manifests");
            return Err(Diagnostic::new(codes::TOO_MANY, message)
                .expected(format!("at most {MAX_FILES} files"))
                .found("more"));
        }
    }
    files.sort();
    let mut room = MAX_BYTES;
    let mut texts = Vec::new();
    for file in files {
        let read = text(&file, room)?;
        room = room.saturating_sub(read.text.len());
        texts.push(read);
    }
    Ok(texts)
}

fn text(file: &Path, room: usize) -> Result<Text, Diagnostic> {
    let from = file.display().to_string();
    let bytes = files::read_up_to(&from, room)?;
    utf8(from, bytes)
}

fn utf8(from: String, bytes: Vec<u8>) -> Result<Text, Diagnostic> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Text { from, text }),
        Err(error) => Err(
            Diagnostic::new(codes::NOT_UTF8, format!("`{from}` is not text"))
                .expected("UTF-8")
                .found(error.utf8_error().to_string()),
        ),
    }
}

/// The one Deployment of that name, and the others that there are.
fn template(texts: &[Text], deployment: &str, namespace: &str) -> Result<Manifest, Diagnostic> {
    let mut chosen: Vec<Value> = Vec::new();
    let mut others = Vec::new();
    for object in objects(texts)? {
        let of = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (kind, name) = (
            of("/kind").unwrap_or("?"),
            of("/metadata/name").unwrap_or("?"),
        );
        let here = of("/metadata/namespace").is_none_or(|said| said == namespace);
        if kind == "Deployment" && name == deployment && here {
            chosen.push(object);
        } else {
            let other = format!("{kind} {name}");
            others.push(other.chars().take(MAX_OTHER).collect());
        }
    }
    let [one] = chosen.as_slice() else {
        let found = match chosen.len() {
            0 => listed(others.iter().map(String::as_str)),
            several => format!("{several} of them"),
        };
        let message =
            format!("the manifests don't say what the Deployment `{deployment}` is to be");
        return Err(Diagnostic::new(codes::MANIFEST_UNFIT, message)
            .expected(format!(
                "one Deployment `{deployment}`, of namespace `{namespace}` or of none"
            ))
            .found(found));
    };
    let template = one.pointer("/spec/template").cloned().unwrap_or_default();
    if !template.is_object() {
        let message = format!("the manifest of the Deployment `{deployment}` has no pod template");
        return Err(Diagnostic::new(codes::MANIFEST_UNFIT, message)
            .expected("a mapping `spec.template`")
            .found("none"));
    }
    let bytes = template.to_string().len();
    if bytes > MAX_TEMPLATE {
        let message = format!("the pod template of the Deployment `{deployment}` is too big");
        return Err(Diagnostic::new(codes::FILE_TOO_BIG, message)
            .expected(format!("at most {MAX_TEMPLATE} bytes"))
            .found(format!("{bytes} bytes")));
    }
    if others.len() > MAX_OTHERS {
        let more = others.len().saturating_sub(MAX_OTHERS);
        others.truncate(MAX_OTHERS);
        others.push(format!("{more} more"));
    }
    Ok(Manifest { template, others })
}

/// All objects that manifests describe. A file may hold several documents, and a document a list.
fn objects(texts: &[Text]) -> Result<Vec<Value>, Diagnostic> {
    let mut found = Vec::new();
    for Text { from, text } in texts {
        for document in documents(text) {
            let value = yaml::read(from, document.as_bytes())?.value().clone();
            octal(from, &document)?;
            let list = value.get("kind").and_then(Value::as_str) == Some("List");
            match value.get("items").and_then(Value::as_array) {
                Some(items) if list => found.extend(items.iter().cloned()),
                _ if value.is_null() => {}
                _ => found.push(value),
            }
            if found.len() > MAX_OBJECTS {
                let message = format!("`{from}` describes too many objects");
                return Err(Diagnostic::new(codes::TOO_MANY, message)
                    .expected(format!("at most {MAX_OBJECTS}"))
                    .found("more"));
            }
        }
    }
    Ok(found)
}

/// The documents of a text, each with as many empty lines before it as lines come before it there, so that faults
/// name the right one. A line that begins with `---` begins a document wherever it stands.
fn documents(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut current = String::new();
    let mut empty = true;
    for (number, line) in text.lines().enumerate() {
        let begun = line.strip_prefix("---");
        let begun = begun.filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if begun.is_some() {
            if !empty {
                documents.push(std::mem::take(&mut current));
            }
            current = "\n".repeat(number);
            empty = true;
        }
        // A document may begin on that line.
        let line = begun.unwrap_or(line);
        let said = line.trim();
        empty &= said.is_empty() || said.starts_with('#');
        current.push_str(line);
        current.push('\n');
    }
    if !empty {
        documents.push(current);
    }
    documents
}

/// Refuses file modes that Kubernetes reads as octal numbers and YAML 1.2 as decimal ones.
fn octal(from: &str, document: &str) -> Result<(), Diagnostic> {
    for (number, line) in document.lines().enumerate() {
        let Some(digits) = mode(line) else {
            continue;
        };
        if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
        {
            let line = u32::try_from(number.saturating_add(1)).unwrap_or(u32::MAX);
            let message = "a file mode is an octal number to some readers of YAML and a decimal one to others";
            return Err(Diagnostic::new(codes::INVALID_VALUE, message)
                .at(Place::file(from).line(line, 1))
                .expected(format!("`0o{}`", digits.trim_start_matches('0')))
                .found(format!("`{digits}`")));
        }
    }
    Ok(())
}

/// What a line says of a file mode, wherever it stands in it.
fn mode(line: &str) -> Option<&str> {
    let said = line.split('#').next().unwrap_or_default();
    let (_, after) = ["mode:", "Mode:", "mode\":", "Mode\":"]
        .iter()
        .find_map(|key| said.split_once(key))?;
    let digits = after.trim_start();
    digits.split([' ', ',', '}', '\t']).next()
}

/// What a program prints. It gets its arguments and little of the environment, no shell is asked.
fn run(program: &str, arguments: &[String]) -> Result<Vec<Text>, Diagnostic> {
    let shown = format!("{program} {}", arguments.join(" "));
    let failed = |what: &str, found: String| {
        Diagnostic::new(codes::MANIFEST_PROGRAM, format!("`{shown}` {what}"))
            .expected(format!(
                "manifests from `{program}` within {} s",
                TIMEOUT.as_secs()
            ))
            .found(found)
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    for name in ENVIRONMENT {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let fault = failed("can't be started", error.to_string());
        fault.hint(format!(
            "install `{program}` where PATH leads, or give the manifests as files with `path`"
        ))
    })?;
    let (said, complaint) = (child.stdout.take(), child.stderr.take());
    let said = said.map(|pipe| collect(pipe, MAX_BYTES));
    let complaint = complaint.map(|pipe| collect(pipe, MAX_COMPLAINT));
    let status = ended(&mut child, said.as_ref());
    let (bytes, status) = match status {
        Ok(Some((bytes, status))) => (bytes, status),
        Ok(None) => {
            return Err(failed(
                "has not ended in time, and was stopped",
                "nothing".to_owned(),
            ));
        }
        Err(error) => return Err(failed("can't be read", error.to_string())),
    };
    if bytes.len() > MAX_BYTES {
        return Err(failed(
            "prints too much",
            format!("more than {MAX_BYTES} bytes"),
        ));
    }
    if !status.success() {
        let complaint = complaint
            .and_then(|from| from.recv_timeout(TIMEOUT).ok())
            .unwrap_or_default();
        let complaint = String::from_utf8_lossy(&complaint);
        let complaint: String = complaint.trim().chars().take(SHOWN).collect();
        return Err(failed(&format!("has failed with {status}"), complaint));
    }
    Ok(vec![utf8(program.to_owned(), bytes)?])
}

/// What comes out of a pipe, up to one byte more than allowed; the rest is read and dropped.
fn collect(mut pipe: impl Read + Send + 'static, most: usize) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        // A pipe that breaks has said what it had to say; the program's exit code tells.
        let _ = pipe.by_ref().take(limit).read_to_end(&mut bytes);
        // Whoever has stopped waiting needs it no more.
        let _ = send.send(bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
    });
    receive
}

/// What the program has said and how it ended; none where it had to be stopped.
fn ended(
    child: &mut Child,
    said: Option<&mpsc::Receiver<Vec<u8>>>,
) -> io::Result<Option<(Vec<u8>, ExitStatus)>> {
    let deadline = Instant::now().checked_add(TIMEOUT);
    let bytes = said.and_then(|said| said.recv_timeout(TIMEOUT).ok());
    let too_much = bytes.as_ref().is_none_or(|bytes| bytes.len() > MAX_BYTES);
    // One whose output has ended may go on all the same.
    while !too_much && deadline.is_some_and(|deadline| Instant::now() < deadline) {
        if let Some(status) = child.try_wait()? {
            return Ok(bytes.map(|bytes| (bytes, status)));
        }
        thread::sleep(LOOK);
    }
    // One that is gone already needs no stopping.
    let _ = child.kill();
    let status = child.wait()?;
    Ok(bytes.filter(|_| too_much).map(|bytes| (bytes, status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# of a chart\n---\napiVersion: v1\nkind: Service\nmetadata: {name: shop}\n--- \napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec: {template: {spec: {containers: [{name: app}]}}}\n---\n";

    fn made(text: &str) -> Result<Manifest, Diagnostic> {
        let (from, text) = ("shop.yaml".to_owned(), text.to_owned());
        template(&[Text { from, text }], "shop", "shop")
    }

    #[test]
    fn the_workloads_deployment_is_chosen_and_the_rest_is_named() {
        let manifest = made(TWO).unwrap();
        assert_eq!(
            manifest.template,
            serde_json::json!({"spec": {"containers": [{"name": "app"}]}})
        );
        assert_eq!(manifest.others, ["Service shop"]);
    }

    #[test]
    fn none_several_and_another_namespaces_are_refused() {
        let code = |text: &str| made(text).unwrap_err().code();
        assert_eq!(
            code("kind: Deployment\nmetadata: {name: web}\n"),
            codes::MANIFEST_UNFIT
        );
        assert_eq!(code(&format!("{TWO}{TWO}")), codes::MANIFEST_UNFIT);
        assert_eq!(
            code(&TWO.replace("{name: shop}", "{name: shop, namespace: other}")),
            codes::MANIFEST_UNFIT
        );
        assert_eq!(
            code("kind: Deployment\nmetadata: {name: shop}\n"),
            codes::MANIFEST_UNFIT
        );
    }

    #[test]
    fn a_fault_names_the_line_of_the_whole_file() {
        let fault = made(&format!("{TWO}a: 1\nb: [\n")).unwrap_err();
        assert!(fault.to_string().contains("shop.yaml:1"), "{fault}");
        let mode = format!("{TWO}kind: Pod\ndefaultMode: 0400\n");
        let fault = made(&mode).unwrap_err();
        assert_eq!(fault.code(), codes::INVALID_VALUE);
        assert!(fault.to_string().contains("shop.yaml:13"), "{fault}");
    }

    #[test]
    fn octal_modes_are_found_wherever_they_stand() {
        for line in [
            "defaultMode: 0400 # secret",
            "secret: {secretName: x, defaultMode: 0400}",
            "- {key: a, mode: 0640, path: a}",
        ] {
            let text = format!("kind: List\nitems:\n- kind: Pod\n  volumes:\n  {line}\n");
            let fault = octal("shop.yaml", &text).unwrap_err();
            assert_eq!(fault.code(), codes::INVALID_VALUE, "{line}");
        }
        for line in [
            "defaultMode: 0o400",
            "defaultMode: 256",
            "mode: 0",
            "mode: RELEASE",
        ] {
            assert!(octal("shop.yaml", line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_document_may_begin_on_the_line_of_its_marker() {
        let text = "--- # the first\n--- {kind: Service, metadata: {name: a}}\n---\nkind: Job\n";
        let (from, text) = ("shop.yaml".to_owned(), text.to_owned());
        let found = objects(&[Text { from, text }]).unwrap();
        let kinds: Vec<&str> = found
            .iter()
            .filter_map(|one| one["kind"].as_str())
            .collect();
        assert_eq!(kinds, ["Service", "Job"]);
    }

    #[test]
    fn a_program_that_is_missing_or_fails_is_told_apart() {
        let missing = run("phasegate-no-such-program", &[]).err().unwrap();
        assert_eq!(missing.code(), codes::MANIFEST_PROGRAM);
        let said = run("false", &[]).err().unwrap().to_string();
        assert!(said.contains("has failed"), "{said}");
        let texts = run("echo", &["kind: List".to_owned()]).unwrap();
        assert_eq!(texts[0].text, "kind: List\n");
        let much = run("seq", &["10000000".to_owned()]).err().unwrap();
        assert!(much.to_string().contains("prints too much"), "{much}");
    }
}
