//! PG09xx: faults of the engine itself.

codes! {
    INTERNAL = 901,
    title: "Internal error",
    means: "The engine met a situation that it holds to be impossible. It stopped rather than guess.",
    cause: "A fault in the engine.",
    fix: "Report it with the whole message; the journal is intact and the run can be resumed.",
    example: "phasegate history verify\nphasegate resume RUN";
}
