//! PG06xx: runs, commands and rollback.

codes! {
    COMMAND_ILLEGAL = 601,
    title: "Command not possible now",
    means: "The run is in a state in which this command has no meaning.",
    cause: "The run went on, or ended, before the command arrived.",
    fix: "Look at the run's state and at the commands that it takes now.",
    example: "phasegate status RUN";
    PLAN_REFUSED = 602,
    title: "Plan refused",
    means: "The steps break one of the engine's invariants, so nothing was started.",
    cause: "A strategy plugin that drops a gate, removes what serves too early, or names what does not exist.",
    fix: "Read which invariant it is; correct the strategy's config, or report it to the plugin's author.",
    example: "phasegate plan release.yaml";
    PLAN_DRIFTED = 603,
    title: "Plan no longer fits",
    means: "The plan was made of facts that have changed since: the workload, a plugin or an image is another one now.",
    cause: "Time passed, or another release came between.",
    fix: "Look at what changed, then plan again and have it approved again.",
    example: "phasegate plan release.yaml --save plan.json";
    STEP_UNSUPPORTED = 604,
    title: "Step not supported",
    means: "The plan holds a step of a kind that this engine can't perform.",
    cause: "A strategy made for a newer engine, or one that needs a router that the release does not have.",
    fix: "Use a strategy that fits, or update the engine.",
    example: "rolling and recreate need no router";
    APPROVER_NOT_ALLOWED = 605,
    title: "Not allowed to approve",
    means: "This person's approval does not count here.",
    cause: "A role that the policy does not ask for, or the person who started the run.",
    fix: "Ask one of the people or roles listed.",
    example: "phasegate status RUN    # lists who is awaited";
    WINDOW_CLOSED = 606,
    title: "Window is closed",
    means: "The policy does not allow forward steps at this time. Rolling back is always allowed.",
    cause: "A Friday afternoon, the day before a holiday, or a freeze.",
    fix: "Wait until the window opens at the time named.",
    example: "windows:\n  - {zone: America/New_York, days: [tue, wed, thu], from: \"10:00\", to: \"14:00\"}";
    ROLLBACK_IMPOSSIBLE = 607,
    title: "Can't roll back",
    means: "The run can't be brought back to its baseline any more.",
    cause: "The point of no return was passed, a later release came after it, or the old version is gone.",
    fix: "Stay forward, or release the old version as a new release.",
    example: "phasegate run release.yaml --version OLD";
    GATE_FAILED = 608,
    title: "Gate failed",
    means: "A gate's verdicts reached the limit of its policy, so the release does not go on.",
    cause: "The new version is worse than the policy allows.",
    fix: "Read the gate's reason and measurements in the run's record.",
    example: "phasegate status RUN";
    GATE_INCONCLUSIVE = 609,
    title: "Gate without an answer",
    means: "A gate had no data, or did not answer, too often. No data is never taken for a pass.",
    cause: "Metrics that are not scraped, a query without a result, or a service out of reach.",
    fix: "Make the data available; the run is held or rolled back as `onInconclusive` says.",
    example: "onInconclusive: {action: hold, rollbackAfter: 30m}";
    STEP_TIMED_OUT = 610,
    title: "Step took too long",
    means: "A step did not finish within its time.",
    cause: "Pods that don't become ready, or a rollout that can't be scheduled.",
    fix: "Look at the diagnostics captured with the failure: events, container states and last logs.",
    example: "phasegate status RUN";
    COMPENSATION_FAILED = 611,
    title: "Rollback is stuck",
    means: "A step of the rollback fails again and again. Traffic stays on ready capacity, and a person is needed.",
    cause: "The cluster refuses what the way back needs.",
    fix: "Remove the cause, then `retry`; or `skip` the step by name, or hand over.",
    example: "phasegate retry RUN";
    DRIFT = 612,
    title: "Target drifted",
    means: "What this run set was changed by another while it ran.",
    cause: "A manual change, or a tool that reconciles the same object.",
    fix: "Adopt the change, force the run's own, or abort.",
    example: "phasegate status RUN    # shows what differs";
}
