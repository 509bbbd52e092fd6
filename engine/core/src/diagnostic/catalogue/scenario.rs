//! PG07xx: scenarios and rehearsal.

codes! {
    SCENARIO_INVALID = 701,
    title: "Scenario can't be used",
    means: "The scenario file parses, but describes a world that can't be simulated.",
    cause: "A name that refers to nothing, or a time that lies before another it depends on.",
    fix: "Correct the value named; `phasegate schema scenario` prints all fields.",
    example: "phasegate rehearse release.yaml --scenario scenario.yaml --seed 1";
    INVARIANT_BROKEN = 702,
    title: "Invariant broken in rehearsal",
    means: "The rehearsal saw the engine or a plugin do what must never happen.",
    cause: "A fault in the engine or in a strategy plugin.",
    fix: "Report it with the seed: the same seed shows the same run.",
    example: "phasegate rehearse release.yaml --scenario scenario.yaml --seed 42";
}
