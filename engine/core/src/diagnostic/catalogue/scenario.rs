//! PG07xx: scenarios and rehearsal.

codes! {
    SCENARIO_INVALID = 701,
    title: "Scenario can't be used",
    means: "The scenario file parses, but describes a world that can't be simulated.",
    cause: "A name that refers to nothing, or a time that lies before another it depends on.",
    fix: "Correct the value named; `phasegate schema scenario` prints all fields.",
    example: "phasegate rehearse release.yaml --scenario scenario.yaml --seed 1";
    INVARIANT_BROKEN = 702,
    title: "Rehearsal not as it must be",
    means: "The rehearsal ended otherwise than its scenario expects, or the engine or a plugin did what must never happen.",
    cause: "An expectation, a release and a series of the scenario that don't fit each other; else a fault in the engine or in a strategy plugin.",
    fix: "Compare what was found with the transcript. If an invariant was broken, report it with the seed: the same seed shows the same run.",
    example: "phasegate rehearse release.yaml --scenario scenario.yaml --seed 42";
}
