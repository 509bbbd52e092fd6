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
    means: "The strategy plans a step that can't be performed, here or by this engine at all.",
    cause: "A step that needs a router, or one that can do more than the release's; a strategy made for a newer engine.",
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
    SUPERSEDE_REFUSED = 613,
    title: "The run can't be superseded",
    means: "A new run can't take the place of the one that holds the target, and nothing was changed.",
    cause: "It is past its point of no return, it is all but done, its rollback is stuck, or it belongs to another state directory.",
    fix: "Wait until it has ended and start the new run then, or do what the message says.",
    example: "phasegate status RUN    # shows where it is";
    SUPERSEDED_ALREADY = 614,
    title: "Another run comes after it already",
    means: "The target is promised to one run, and only one can come next.",
    cause: "Two runs were started with `--supersede` at about the same time, or one of them was stopped before it began.",
    fix: "Let that run begin and supersede it then; or, if it never comes, start it with `resume` or free the target with `lock break`.",
    example: "phasegate resume RUN    # starts the run that the target is kept for";
    PREDECESSOR_STUCK = 615,
    title: "The run before it is not back",
    means: "The new run begins once the old version serves again, and the way there is stuck or was handed over to people. The new run has not started.",
    cause: "The cluster refuses what the way back needs, or somebody changed the target meanwhile.",
    fix: "Help the old run first with `retry`, `skip` or `hand-over`; `resume` of the new run goes on from there.",
    example: "phasegate retry OLD\nphasegate resume NEW";
    ALREADY_SERVES = 616,
    title: "That version serves already",
    means: "Every workload of the release runs the image that would be deployed, so that the run would change nothing. It is not begun.",
    cause: "The release was done before, or its version was not raised.",
    fix: "Give another version. Where a tag was pushed anew, release it by its digest or under a tag of its own: what a cluster runs under one name can't be told apart.",
    example: "phasegate run release.yaml --version 1.5.1";
}
