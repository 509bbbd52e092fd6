//! PG02xx: policy, approvals and windows.

codes! {
    POLICY_WIDENED = 201,
    title: "Release wider than the policy",
    means: "The release asks for less care than the policy demands. A release can tighten what the policy sets, never widen it.",
    cause: "A shorter soak, a higher failure limit or fewer approvals than the operator allows.",
    fix: "Use a value within the policy's bound, or ask the policy's owner to change it.",
    example: "policy:  gates: {maxFailureLimit: 2}\nrelease: policy: {failureLimit: 5}    # refused";
    UNKNOWN_ROLE = 202,
    title: "Unknown role",
    means: "An approval or attestation asks for a role that the policy does not define, so nobody could ever give it.",
    cause: "A typing error, or a role that was renamed.",
    fix: "Use one of the roles listed, or define it under `roles` in the policy.",
    example: "roles:\n  product-owner: [ada@example.com]";
    WINDOW_INVALID = 203,
    title: "Window that can't be read",
    means: "A window, holiday or freeze of the policy can't be computed.",
    cause: "An unknown time zone, a day that is no weekday, an end before its beginning, or a malformed date.",
    fix: "Correct the value named.",
    example: "{zone: America/New_York, days: [tue, wed, thu], from: \"10:00\", to: \"14:00\"}";
    APPROVAL_IMPOSSIBLE = 204,
    title: "Approval nobody can give",
    means: "An approval asks for more people than may give it: than hold the roles it names, not counting who starts the run where that person may not approve.",
    cause: "A count above the number of people, a role without people, or a run that is started by one of the few who could approve it.",
    fix: "Lower `count`, add people to the role, or have somebody else start the run.",
    example: "roles: {lead: [ada, grace]}\napprovals: [{roles: [lead], count: 2}]";
    APPROVAL_STALE = 205,
    title: "Approval of another plan",
    means: "The approval was given for a plan with another digest. What was approved is not what would run.",
    cause: "The release, a plugin or an image changed after the approval.",
    fix: "Look at the new plan and approve it again.",
    example: "phasegate plan release.yaml\nphasegate approve RUN";
    APPROVAL_EXPIRED = 206,
    title: "Approval expired",
    means: "The approval was given too long ago to count.",
    cause: "The run waited longer than the policy's `expires`.",
    fix: "Approve again.",
    example: "phasegate approve RUN";
    ATTESTATION_UNKNOWN = 207,
    title: "Attestation that nobody asked for",
    means: "The name is not one of the attestations that this run waits for.",
    cause: "A typing error, or an attestation of another environment.",
    fix: "Use one of the names that `phasegate status` lists.",
    example: "phasegate attest RUN backup-tested --text \"restored on staging\"";
}
