//! A claim that somebody breaks, and what becomes of the run that had it.

use rustix::process::Signal;

use crate::desk::Desk;

/// A run that was killed in its soak, and whose claim somebody has broken since.
fn orphaned(desk: &Desk) -> String {
    let started = desk.start(&["run", "release.yaml"]);
    let run = started.until("step-started", "soak")["run"].clone();
    started.signal(Signal::KILL);
    started.end();
    desk.run(&[
        "lock",
        "break",
        "simulated/hello/hello",
        "--reason",
        "its laptop is gone",
    ])
    .expect(0);
    run.as_str().unwrap().to_owned()
}

#[test]
fn what_another_run_has_released_since_is_not_written_over() {
    let desk = Desk::new(240, "10m");
    let first = orphaned(&desk);
    desk.run(&["run", "release.yaml", "--version", "1.2.0"])
        .expect(0);
    let image = desk.image();
    assert!(image.ends_with("1.2.0"), "{image}");

    // Stuck, and people are needed.
    let aborted = desk.run(&["abort", &first]).expect(4);
    assert!(aborted.stderr.contains("was broken"), "{}", aborted.stderr);
    assert_eq!(desk.image(), image);
    // Whoever tries again is told that somebody else has released.
    desk.run(&["retry", &first]).expect(4);
    assert_eq!(desk.image(), image);
    desk.run(&["hand-over", &first, "--reason", "1.2.0 stays"])
        .expect(4);
    assert_eq!(desk.image(), image);
    let unfinished = desk.json(&["status"]);
    assert_eq!(unfinished.as_array().map(Vec::len), Some(0), "{unfinished}");
    desk.run(&["history", "verify"]).expect(0);
}

#[test]
fn a_run_whose_claim_is_gone_can_be_taken_back_where_nothing_has_changed() {
    let desk = Desk::new(240, "10m");
    let run = orphaned(&desk);
    desk.run(&["resume", &run]).expect(4);
    desk.run(&["retry", &run]).expect(1);
    let image = desk.image();
    assert!(image.ends_with("1.0.0"), "{image}");
}
