//! A full disk is named as what it is, and once there is room the same command works.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::desk::{Desk, Ended};
use crate::small_disk::on_small_disk;

const OPTIONS: &str = "size=6m,mode=700";

/// What is in a folder, without the file that fills the disk.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "filler").collect();
    names.sort();
    names
}

/// It says that the disk is full, and what to do.
#[track_caller]
fn told(said: &str, what: &str) {
    let coded = ["error[PG0504]", "error[PG0508]"];
    assert!(
        coded.iter().any(|code| said.contains(code)),
        "{what}: the disk is full, but it was said:\n{said}"
    );
    assert!(said.contains("make room"), "{what}:\n{said}");
}

/// Simulated clusters that play the desk's scenario.
fn clusters(desk: &Desk) -> usize {
    let scenario = desk.path("scenario.yaml").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains("simulate") && line.contains(&scenario))
        .count()
}

#[test]
fn a_run_that_finds_no_room_is_told_so_and_begins_once_there_is_some() {
    let name = "full::a_run_that_finds_no_room_is_told_so_and_begins_once_there_is_some";
    on_small_disk(name, OPTIONS, |disk| {
        // Nothing fits; the cluster's log would; the cluster; the tables; half of the plugins.
        for room in [0, 8, 17, 24, 60] {
            let desk = Desk::at(40, "30s", &disk.path().join(format!("state-{room}")));
            disk.fill_but(room);
            let ended = desk.run(&["run", "release.yaml"]);
            disk.free();
            let what = format!("room for {room} blocks");
            assert_eq!(ended.code, Some(3), "{what}:\n{}", ended.stderr);
            told(&ended.stderr, &what);
            let noted = desk.state().join("simulated.json").exists();
            assert_eq!(clusters(&desk), usize::from(noted), "{what}");
            desk.run(&["run", "release.yaml"]).expect(0);
            desk.run(&["history", "verify"]).expect(0);
            assert_eq!(clusters(&desk), 1);
            let left = names(&desk.state());
            let half = left
                .iter()
                .any(|name| name.contains("partial") || name.starts_with(".room"));
            assert!(!half, "{what}: {left:?}");
            let kept = desk.state();
            drop(desk);
            fs::remove_dir_all(kept).unwrap();
        }
    });
}

#[test]
fn a_disk_that_fills_up_during_a_run_stops_it_and_the_run_can_be_resumed() {
    let name = "full::a_disk_that_fills_up_during_a_run_stops_it_and_the_run_can_be_resumed";
    // Too small for the room that is made in the log ahead: what was reserved needs no more.
    on_small_disk(name, "size=2m,mode=700", |disk| {
        let desk = Desk::at(60, "10m", &disk.path().join("state"));
        let started = desk.start(&["run", "release.yaml"]);
        let run = started.until("step-started", "soak")["run"].clone();
        disk.fill_but(0);
        let ended = started.end();
        assert_eq!(ended.code, Some(5), "{}", ended.stderr);
        assert!(ended.stderr.contains("PG0504"), "{}", ended.stderr);
        let hint = format!("`phasegate resume {}`", run.as_str().unwrap());
        assert!(ended.stderr.contains(&hint), "{}", ended.stderr);
        disk.free();
        desk.run(&["history", "verify"]).expect(0);
        desk.run(&["resume"]).expect(0);
    });
}

#[test]
fn commands_that_look_say_that_the_disk_is_full() {
    let name = "full::commands_that_look_say_that_the_disk_is_full";
    on_small_disk(name, OPTIONS, |disk| {
        let desk = Desk::at(40, "30s", &disk.path().join("state"));
        desk.run(&["run", "release.yaml"]).expect(0);
        disk.fill_but(0);
        for arguments in [&["history"][..], &["history", "verify"], &["status"]] {
            let ended = desk.run(arguments).expect(3);
            told(&ended.stderr, &format!("{arguments:?}"));
        }
        let doctor = desk.run(&["doctor"]).expect(3);
        assert!(doctor.stdout.contains("PG0508"), "{}", doctor.stdout);
        disk.free();
        desk.run(&["history", "verify"]).expect(0);
    });
}

#[test]
fn a_plan_is_kept_whole_or_not_at_all() {
    let name = "full::a_plan_is_kept_whole_or_not_at_all";
    on_small_disk(name, OPTIONS, |disk| {
        let desk = Desk::quick();
        let out = disk.path().join("plan.json");
        let plan = ["plan", "release.yaml", "--out", out.to_str().unwrap()];
        for room in [0, 1] {
            disk.fill_but(room);
            desk.run(&plan).refused(3, "PG0508");
            assert_eq!(names(disk.path()), [""; 0], "room for {room} blocks");
            disk.free();
        }
        desk.run(&plan).expect(0);
        let run = ["run", "release.yaml", "--plan", out.to_str().unwrap()];
        desk.run(&run).expect(0);
    });
}

#[test]
fn files_to_begin_with_are_written_both_or_not_at_all() {
    let name = "full::files_to_begin_with_are_written_both_or_not_at_all";
    on_small_disk(name, OPTIONS, |disk| {
        let desk = Desk::quick();
        let folder = disk.path().to_str().unwrap();
        let init = ["init", folder, "--name", "shop"];
        for room in [0, 1] {
            disk.fill_but(room);
            desk.run(&init).refused(3, "PG0508");
            assert_eq!(names(disk.path()), [""; 0], "room for {room} blocks");
            disk.free();
        }
        desk.run(&init).expect(0);
        assert_eq!(names(disk.path()), ["release.yaml", "scenario.yaml"]);
    });
}

#[test]
fn a_compiled_cache_without_room_makes_a_command_slow_and_says_so() {
    let name = "full::a_compiled_cache_without_room_makes_a_command_slow_and_says_so";
    on_small_disk(name, OPTIONS, |disk| {
        let desk = Desk::quick();
        let cache = disk.path().join("cache");
        let validate = |more: &[&str]| {
            let mut command = desk.command(&["validate", "release.yaml"]);
            command.args(more).env("PHASEGATE_CACHE", &cache);
            Ended::of(command.output().unwrap()).expect(0).stderr
        };
        disk.fill_but(3);
        let said = validate(&[]);
        assert!(said.starts_with("warning[PG0508]"), "{said}");
        assert!(said.contains("make room"), "{said}");
        assert_eq!(names(&cache.join("compiled")), [""; 0]);
        assert_eq!(validate(&["--quiet"]), "");
        disk.free();
        assert_eq!(validate(&[]), "");
        assert!(!names(&cache.join("compiled")).is_empty());
    });
}

#[test]
fn data_that_standard_output_has_no_room_for_is_a_fault() {
    let desk = Desk::quick();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = desk.command(&["explain", "PG0508"]);
    command.stdout(full).stderr(Stdio::piped());
    let ended = Ended::of(command.output().unwrap()).expect(3);
    told(&ended.stderr, "standard output");
}
