//! State directories that others look at or share.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::desk::{Desk, Ended};
use crate::small_disk::on_small_disk;

/// An account that every system has, and its group.
const NOBODY: u32 = 65534;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A command of somebody else. Only root can give one.
fn elsewhere(desk: &Desk, arguments: &[&str]) -> Ended {
    let mut command = desk.command(arguments);
    // The cache of compiled plugins is root's.
    command
        .env("HOME", "/nonexistent")
        .env_remove("PHASEGATE_CACHE");
    Ended::of(command.uid(NOBODY).gid(NOBODY).output().unwrap())
}

/// Whether this account may act as another one, and that one may start the program.
fn two_accounts() -> bool {
    let program = env!("CARGO_BIN_EXE_phasegate");
    let started = Command::new(program)
        .arg("--version")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    started.is_ok_and(|output| output.status.success())
}

#[test]
fn everything_in_a_shared_state_directory_is_shared() {
    let desk = Desk::quick();
    fs::create_dir(desk.state()).unwrap();
    allow(&desk.state(), 0o2770);
    desk.run(&["run", "release.yaml"]).expect(0);
    let mut found = 0;
    let mut folders = vec![desk.state()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            let wanted = if about.is_dir() { 0o2070 } else { 0o060 };
            let mode = about.permissions().mode();
            let path = entry.path();
            assert_eq!(mode & wanted, wanted, "{} has {mode:o}", path.display());
            assert_eq!(mode & 0o002, 0, "{} has {mode:o}", path.display());
            found += 1;
            if about.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(found > 8, "{found}");
}

/// Somebody has to agree, who is nobody.
pub(crate) const POLICY: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Policy
roles: {lead: [nobody]}
approvals:
  - {roles: [lead]}
";

#[test]
fn somebody_else_approves_in_a_shared_directory_and_is_told_of_one_that_is_not() {
    if !two_accounts() {
        // Modes are looked at above; without a second account there is nobody to ask.
        return;
    }
    let desk = Desk::quick();
    allow(desk.path("release.yaml").parent().unwrap(), 0o755);
    desk.write("policy.yaml", POLICY);
    let run = [
        "run",
        "release.yaml",
        "--policy",
        "policy.yaml",
        "--no-wait",
    ];
    desk.run(&run).expect(5);
    for arguments in [&["status"][..], &["history"], &["abort"], &["approve"]] {
        let ended = elsewhere(&desk, arguments).refused(2, "PG0507");
        assert!(ended.stderr.contains("another account"), "{}", ended.stderr);
    }
    let doctor = elsewhere(&desk, &["doctor"]).expect(3);
    assert!(doctor.stdout.contains("PG0507"), "{}", doctor.stdout);
    desk.run(&["abort"]).expect(3);
    desk.end_cluster();
    fs::remove_dir_all(desk.state()).unwrap();

    fs::create_dir(desk.state()).unwrap();
    rustix::fs::chown(desk.state(), None, Some(rustix::fs::Gid::from_raw(NOBODY))).unwrap();
    allow(&desk.state(), 0o2770);
    desk.run(&run).expect(5);
    let status = elsewhere(&desk, &["status"]).expect(0).stdout;
    assert!(status.contains("phasegate approve"), "{status}");
    // Whoever approves drives, too, with what the other account has left there.
    elsewhere(&desk, &["approve"]).expect(0);
    let id = desk.only_run();
    let history = desk.run(&["history", &id]).expect(0).stdout;
    assert!(history.contains("nobody"), "{history}");
    desk.run(&["history", "verify"]).expect(0);
}

#[test]
fn what_only_looks_works_on_a_read_only_disk() {
    let name = "shared::what_only_looks_works_on_a_read_only_disk";
    on_small_disk(name, "size=48m,mode=700", |disk| {
        let desk = Desk::at(40, "30s", &disk.path().join("state"));
        desk.run(&["run", "release.yaml"]).expect(0);
        let id = desk.only_run();
        // It writes its log there.
        desk.end_cluster();
        disk.only_read();
        for arguments in [
            &["status"][..],
            &["status", &id],
            &["history"],
            &["history", &id],
            &["history", "verify"],
            &["report", &id],
            &["due"],
            &["watch", &id],
        ] {
            desk.run(arguments).expect(0);
        }
        let status = desk.json(&["status", &id]);
        assert_eq!(status["driven"], false);
        let ended = desk.run(&["rollback", &id]).refused(2, "PG0507");
        assert!(ended.stderr.contains("read-only disk"), "{}", ended.stderr);
    });
}
