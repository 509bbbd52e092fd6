//! A Kubernetes control plane for tests, without containers: etcd, API server, controllers, scheduler, and
//! kwok, which plays the kubelets as `tools/cluster/kubelet` says.
//!
//! A cluster is a folder with all that its programs write. `cluster.json` in it records them, so that
//! `down` stops these and no others, and then takes the folder away.

mod layout;
mod process;
mod tools;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::layout::{Layout, Ports};
use self::process::Process;
use self::tools::Tools;
pub(crate) use self::tools::{Go, lint};
use crate::debian;
use crate::exec;
use crate::workspace::Workspace;

/// How often a start is tried: between choosing a port and taking it, somebody else may take it.
const STARTS: u32 = 3;
/// How often it is looked whether the cluster is ready, and how long is waited in between.
const LOOKS: u32 = 600;
const BETWEEN: Duration = Duration::from_millis(200);
/// How long kubectl waits for an answer.
const REQUEST_LIMIT: &str = "--request-timeout=240s";
/// How long for one that isn't needed, since the same is asked again.
const LOOK_LIMIT: &str = "--request-timeout=10s";
/// How long for a condition.
const WAIT_LIMIT: &str = "--timeout=240s";
/// Enough to spread pods over.
const NODES: u32 = 3;

/// What can be done with a cluster.
#[derive(Subcommand)]
pub(crate) enum Order {
    /// Starts it, waits until it is ready, and prints the path of its kubeconfig.
    Up,
    /// Stops its programs and takes its folder away.
    Down,
    /// Prints its programs, and the path of its kubeconfig.
    Status,
    /// Stops one of its programs, if it still runs, and starts it again as it was.
    Restart {
        /// As `status` calls it.
        program: String,
    },
}

/// Does what was ordered with the cluster in `folder`, or in the target folder.
pub(crate) fn run(
    workspace: &Workspace,
    order: &Order,
    folder: Option<PathBuf>,
) -> anyhow::Result<()> {
    let folder = folder.unwrap_or_else(|| workspace.target.join("cluster"));
    // The programs get it as an argument and would take a relative one for their own.
    let folder = std::path::absolute(folder)?;
    match order {
        Order::Up => {
            let go = Go::find(workspace).map_err(anyhow::Error::msg)?;
            let cluster = Cluster::up(workspace, &go, folder)?;
            println!("{}", cluster.layout.kubeconfig().display());
        }
        Order::Down => down(&folder)?,
        Order::Status => status(&folder)?,
        Order::Restart { program } => restart(&folder, program)?,
    }
    Ok(())
}

/// Builds the programs where there is a Go; where there is none, that is said.
pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<()> {
    match Go::find(workspace) {
        Ok(go) => Tools::ensure(workspace, &go).map(drop),
        Err(why) => {
            exec::say(format!("the control plane for tests is not built: {why}"));
            Ok(())
        }
    }
}

/// What runs, as recorded in the folder.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    processes: Vec<Process>,
}

impl Record {
    fn file(folder: &Path) -> PathBuf {
        folder.join("cluster.json")
    }

    /// `None` where there is no cluster.
    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = Self::file(folder);
        if !file.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        let record = serde_json::from_str(&text)
            .with_context(|| format!("{} isn't what was written", file.display()))?;
        Ok(Some(record))
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        // Replaced at once: half a record would leave programs that nobody knows.
        let new = folder.join("cluster.json.new");
        fs::write(&new, serde_json::to_string_pretty(self)?)?;
        fs::rename(new, Self::file(folder))?;
        Ok(())
    }

    fn is_alive(&self) -> bool {
        !self.processes.is_empty() && self.processes.iter().all(Process::is_alive)
    }

    /// Stops all, who came last first; goes on after one that can't be stopped.
    fn stop(&self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for process in self.processes.iter().rev() {
            result = result.and(process.stop());
        }
        result
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    layout: Layout,
    tools: Tools,
    record: Record,
}

impl Cluster {
    /// Starts a cluster in the folder; one that runs there already is taken as it is.
    pub(crate) fn up(workspace: &Workspace, go: &Go, folder: PathBuf) -> anyhow::Result<Self> {
        let tools = Tools::ensure(workspace, go)?;
        let _lock = lock(&folder)?;
        if let Some(record) = Record::read(&folder)?
            && record.is_alive()
            && folder.join("kubeconfig").is_file()
        {
            let layout = Layout { folder };
            return Ok(Self {
                layout,
                tools,
                record,
            });
        }
        clear(&folder)?;
        let mut cluster = Self {
            layout: Layout { folder },
            tools,
            record: Record::default(),
        };
        exec::say("starting the control plane for tests");
        for start in 1..=STARTS {
            let started = cluster.start(&workspace.root.join("tools/cluster/kubelet"));
            let Err(error) = started else { break };
            cluster.record.stop()?;
            cluster.record.processes.clear();
            if start == STARTS {
                return Err(error.context(format!(
                    "the control plane doesn't start; its logs are in {}",
                    cluster.layout.folder.display()
                )));
            }
            exec::say(format!("trying again: {error:#}"));
            clear(&cluster.layout.folder)?;
        }
        Ok(cluster)
    }

    /// Where its kubeconfig and its record are.
    pub(crate) fn folder(&self) -> &Path {
        &self.layout.folder
    }

    fn start(&mut self, kubelet: &Path) -> anyhow::Result<()> {
        let ports = Ports::free()?;
        let key = exec::output(&mut Command::new(self.tools.program("keys")))?;
        self.layout.write(&ports, &key)?;
        // Of the same version as the server; the machine's own may be of any.
        let kubectl = self.layout.folder.join("kubectl");
        debian::point(&kubectl, &self.tools.program("kubectl"))?;
        debian::point(
            &self.layout.folder.join("renderers"),
            self.tools.renderers(),
        )?;
        self.begin("etcd", self.layout.etcd(&ports))?;
        self.begin("kube-apiserver", self.layout.server(&ports))?;
        self.until("the API server is ready", |cluster| {
            cluster.answers(&["get", "--raw", "/readyz"])
        })?;
        let definitions = self.tools.kwok_definitions();
        self.define(&definitions)?;
        self.begin("kube-controller-manager", self.layout.controllers())?;
        self.begin("kube-scheduler", self.layout.scheduler())?;
        self.begin("kwok", self.layout.kubelet(&ports))?;
        self.apply(kubelet)?;
        fs::write(self.layout.folder.join("pod.log"), POD_LOG)?;
        let manifests = self.layout.folder.join("manifests");
        fs::write(manifests.join("cluster.json"), self.objects().to_string())?;
        self.apply(&manifests)?;
        for folder in self.tools.definitions() {
            self.define(&folder)?;
        }
        self.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "nodes",
            "--all",
            WAIT_LIMIT,
        ])?;
        self.until("the default namespace has its service account", |cluster| {
            cluster.answers(&["get", "serviceaccount", "default"])
        })?;
        let users = self.call(&["config", "view", "--raw", "--flatten"]);
        layout::secret(&self.layout.kubeconfig(), &exec::output(&mut { users })?)
    }

    /// Starts one of the programs and records it.
    fn begin(&mut self, name: &str, mut arguments: Vec<String>) -> anyhow::Result<()> {
        // Which lets go of what this tool inherited: a lock of its caller's, for instance.
        let launch = self.tools.program("launch");
        arguments.insert(0, self.tools.program(name).display().to_string());
        let process = Process::start(name, launch, arguments, self.layout.log(name))?;
        self.record.processes.push(process);
        self.record.write(&self.layout.folder)
    }

    /// Waits until something is so, or a program has ended.
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        for _ in 0..LOOKS {
            self.record.processes.iter().try_for_each(Process::check)?;
            if is_so(self) {
                return Ok(());
            }
            thread::sleep(BETWEEN);
        }
        bail!("it was waited in vain until {what}")
    }

    /// Nodes, and the log of every pod that names none of its own.
    fn objects(&self) -> serde_json::Value {
        let nodes = (1..=NODES).map(|number| {
            let name = format!("node-{number}");
            json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            })
        });
        let log = self.layout.folder.join("pod.log");
        let logs = json!({
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "ClusterLogs",
            "metadata": {"name": "every-pod"},
            "spec": {"logs": [{"logsFile": log, "previousLogsFile": log}]},
        });
        let items: Vec<_> = nodes.chain([logs]).collect();
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }

    /// Applies custom resource definitions and waits until the server serves them.
    fn define(&self, folder: &Path) -> anyhow::Result<()> {
        self.apply(folder)?;
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            WAIT_LIMIT,
        ])
    }

    fn apply(&self, folder: &Path) -> anyhow::Result<()> {
        // On the server's side: some definitions are too large for the annotation of the other way.
        let folder = folder.display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &folder])
    }

    /// Calls kubectl; what it says is of interest only if it fails.
    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.call(arguments);
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` failed: {}", exec::shown(&command), said.trim());
        }
        Ok(())
    }

    /// Whether a call succeeds, without a word.
    fn answers(&self, arguments: &[&str]) -> bool {
        let mut command = self.call(arguments);
        // The last one counts.
        command.arg(LOOK_LIMIT);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn call(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.tools.program("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(self.layout.kubeconfig_of("admin"))
            // Else it is in the user's home.
            .arg("--cache-dir")
            .arg(self.layout.folder.join("kubectl-cache"))
            .arg(REQUEST_LIMIT)
            .args(arguments);
        command
    }
}

/// What every pod has said, as the container runtime writes it.
const POD_LOG: &str = "2026-01-01T00:00:00.000000000Z stdout F ready to serve\n";

/// Stops the cluster in the folder and takes the folder away.
pub(crate) fn down(folder: &Path) -> anyhow::Result<()> {
    let _lock = lock(folder)?;
    clear(folder)
}

fn clear(folder: &Path) -> anyhow::Result<()> {
    if let Some(record) = Record::read(folder)? {
        record.stop()?;
    } else if folder.exists() && !is_ours(folder) {
        bail!(
            "{} is no cluster's folder: it is left alone",
            folder.display()
        );
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Whether a folder without a record was begun by `up`, which writes the tokens first, or is empty.
fn is_ours(folder: &Path) -> bool {
    folder.join("audit-policy.yaml").is_file()
        || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn status(folder: &Path) -> anyhow::Result<()> {
    let Some(record) = Record::read(folder)? else {
        println!("no cluster in {}", folder.display());
        return Ok(());
    };
    for process in &record.processes {
        let state = if process.is_alive() {
            "runs"
        } else {
            "has ended"
        };
        println!("{:<24} {:>7} {state}", process.name, process.pid);
    }
    println!("{}", folder.join("kubeconfig").display());
    Ok(())
}

fn restart(folder: &Path, program: &str) -> anyhow::Result<()> {
    let _lock = lock(folder)?;
    let mut record = Record::read(folder)?.context("there is no cluster")?;
    let mut processes = record.processes.iter_mut();
    let Some(process) = processes.find(|process| process.name == program) else {
        bail!("the cluster has no program {program}");
    };
    process.stop()?;
    *process = process.again()?;
    record.write(folder)
}

/// One change of a cluster at a time.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let name = folder.file_name().context("a cluster needs a folder")?;
    let parent = folder.parent().context("a cluster needs a folder")?;
    fs::create_dir_all(parent)?;
    let file = parent.join(format!("{}.lock", name.display()));
    let lock = File::create(&file).with_context(|| format!("can't write {}", file.display()))?;
    lock.lock().context("can't lock the cluster")?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that does nothing, with its log in the folder.
    fn asleep(name: &str, folder: &Path) -> Process {
        let arguments = vec!["600".to_owned()];
        Process::start(name, "sleep".into(), arguments, folder.join(name)).unwrap()
    }

    #[test]
    fn down_stops_what_is_recorded_and_leaves_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("c");
        fs::create_dir(&folder).unwrap();
        let start = |name| asleep(name, outer.path());
        let bystander = start("bystander");
        let record = Record {
            processes: vec![start("one"), start("two")],
        };
        record.write(&folder).unwrap();
        assert!(record.is_alive());
        down(&folder).unwrap();
        assert!(record.processes.iter().all(|process| !process.is_alive()));
        assert!(!folder.exists());
        assert!(bystander.is_alive());
        bystander.stop().unwrap();
        // Where nothing is, nothing is to be done.
        down(&folder).unwrap();
    }

    #[test]
    fn one_program_is_started_again_and_down_still_knows_all() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("c");
        fs::create_dir(&folder).unwrap();
        let start = |name| asleep(name, outer.path());
        let before = Record {
            processes: vec![start("one"), start("two")],
        };
        before.write(&folder).unwrap();
        restart(&folder, "one").unwrap();
        let after = Record::read(&folder).unwrap().unwrap();
        assert!(after.is_alive());
        assert!(!before.processes[0].is_alive());
        assert!(before.processes[1].is_alive());
        assert!(restart(&folder, "three").is_err());
        down(&folder).unwrap();
        assert!(after.processes.iter().all(|process| !process.is_alive()));
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("c");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("thesis.txt"), "").unwrap();
        assert!(
            down(&folder)
                .unwrap_err()
                .to_string()
                .contains("left alone")
        );
        assert!(folder.join("thesis.txt").exists());
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_its_folder() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(Record::file(outer.path()), "{").unwrap();
        assert!(down(outer.path()).is_err());
        assert!(Record::file(outer.path()).exists());
    }

    #[test]
    fn a_cluster_without_all_its_programs_is_not_alive() {
        assert!(!Record::default().is_alive());
    }
}
