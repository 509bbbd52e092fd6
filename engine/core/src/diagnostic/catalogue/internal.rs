//! PG09xx: faults of the engine itself.

codes! {
    INTERNAL = 901,
    title: "Internal error",
    means: "The engine met a situation that it holds to be impossible. It stopped rather than guess.",
    cause: "A fault in the engine, or a journal that another engine wrote.",
    fix: "Report it with the whole message. Nothing was done that is not in the journal: the run can be resumed, by the engine that wrote the journal where this one can't make sense of it.",
    example: "phasegate history verify\nphasegate resume RUN";
}
