//! What a cluster's folder holds, and with which arguments its programs are started.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

/// Who takes part, each with a token of its own, so that the audit log tells them apart.
///
/// All of them may do everything; with less rights the tests use service accounts.
const USERS: [&str; 4] = ["admin", "controllers", "scheduler", "kubelet"];

/// The controllers that would act on nodes for which nobody answers, or that need what isn't there.
const CONTROLLERS: &str = "*,-node-lifecycle-controller,-taint-eviction-controller,-node-ipam-controller,-node-route-controller";

/// Everything by its metadata once it is answered: who asked for what, and what came of it. What these users read
/// themselves would be most of it, and fill the disk.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [admin, controllers, scheduler, kubelet], verbs: [get, list, watch]}
- level: Metadata
";

/// A cluster's folder.
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
}

/// Where the programs listen, on loopback.
pub(crate) struct Ports {
    etcd: u16,
    peers: u16,
    server: u16,
    kubelet: u16,
}

impl Ports {
    /// Four that are free now. Somebody may take one before the programs do; then the start is tried again.
    pub(crate) fn free() -> anyhow::Result<Self> {
        // All are held until all are known, so that no two are the same.
        let mut held = Vec::new();
        let mut port = || -> anyhow::Result<u16> {
            let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            etcd: port()?,
            peers: port()?,
            server: port()?,
            kubelet: port()?,
        })
    }
}

impl Layout {
    /// A path in the folder, as an argument.
    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The file with which people and tests reach the cluster.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The same for one of the users, with the certificate as a file beside it.
    pub(crate) fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.folder.join("users").join(user)
    }

    pub(crate) fn log(&self, program: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{program}.log"))
    }

    /// Writes what must be there before the first program starts.
    pub(crate) fn write(&self, ports: &Ports, key: &str) -> anyhow::Result<()> {
        for name in ["logs", "users", "certificates", "manifests"] {
            fs::create_dir_all(self.folder.join(name))?;
        }
        fs::write(self.folder.join("audit-policy.yaml"), AUDIT_POLICY)?;
        fs::write(self.folder.join("kwok.yaml"), "")?;
        secret(&self.folder.join("service-accounts.key"), key)?;
        let mut tokens = String::new();
        for user in USERS {
            let token = token()?;
            tokens.push_str(&format!("{token},{user},{user},\"system:masters\"\n"));
            let config = self.config(ports, user, &token);
            secret(&self.kubeconfig_of(user), &config.to_string())?;
        }
        secret(&self.folder.join("tokens.csv"), &tokens)
    }

    fn config(&self, ports: &Ports, user: &str, token: &str) -> Value {
        let name = "phasegate-test";
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {
                "server": format!("https://127.0.0.1:{}", ports.server),
                // Made by the server when it starts.
                "certificate-authority": self.at("certificates/apiserver.crt"),
            }}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        })
    }

    pub(crate) fn etcd(&self, ports: &Ports) -> Vec<String> {
        let (client, peer) = (
            format!("http://127.0.0.1:{}", ports.etcd),
            format!("http://127.0.0.1:{}", ports.peers),
        );
        vec![
            format!("--data-dir={}", self.at("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--logger=zap".to_owned(),
        ]
    }

    pub(crate) fn server(&self, ports: &Ports) -> Vec<String> {
        let key = self.at("service-accounts.key");
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.server),
            format!("--cert-dir={}", self.at("certificates")),
            "--endpoint-reconciler-type=none".to_owned(),
            // Debian's etcd can't do what these watches need. Offered, they fail after ten seconds each;
            // refused, clients list first.
            "--feature-gates=WatchList=false".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            format!("--token-auth-file={}", self.at("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={key}"),
            format!("--service-account-signing-key-file={key}"),
            // Nobody takes the mark off that this one puts on new nodes.
            "--disable-admission-plugins=TaintNodesByCondition".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--audit-policy-file={}", self.at("audit-policy.yaml")),
            format!("--audit-log-path={}", self.at("logs/audit.log")),
        ]
    }

    pub(crate) fn controllers(&self) -> Vec<String> {
        vec![
            self.kubeconfig_argument("controllers"),
            format!("--root-ca-file={}", self.at("certificates/apiserver.crt")),
            format!(
                "--service-account-private-key-file={}",
                self.at("service-accounts.key")
            ),
            "--use-service-account-credentials=false".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--controllers={CONTROLLERS}"),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=300".to_owned(),
        ]
    }

    pub(crate) fn scheduler(&self) -> Vec<String> {
        vec![
            self.kubeconfig_argument("scheduler"),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }

    pub(crate) fn kubelet(&self, ports: &Ports) -> Vec<String> {
        vec![
            self.kubeconfig_argument("kubelet"),
            // Else it reads one from the user's home.
            format!("--config={}", self.at("kwok.yaml")),
            "--manage-all-nodes=true".to_owned(),
            "--enable-crds=Stage,Logs,ClusterLogs,Exec,ClusterExec".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            format!("--node-port={}", ports.kubelet),
            format!("--server-address=127.0.0.1:{}", ports.kubelet),
            "--cidr=10.244.0.0/16".to_owned(),
        ]
    }

    fn kubeconfig_argument(&self, user: &str) -> String {
        format!("--kubeconfig={}", self.kubeconfig_of(user).display())
    }
}

/// A token that nobody can guess.
fn token() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only its owner can read.
pub(crate) fn secret(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("can't write {}", file.display()))
}
