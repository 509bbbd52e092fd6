//! PG05xx: journal and state directory.

codes! {
    JOURNAL_TAIL_CUT = 501,
    title: "Journal's end is missing",
    means: "The journal ends before the head that was anchored when it was written. Records were lost, so the engine can't know what it did last.",
    cause: "A restored backup, a copied file, or a disk that lost writes.",
    fix: "Restore the state directory from where it is whole. If that is impossible, compare the target with `phasegate history` by hand before going on.",
    example: "phasegate history verify";
    JOURNAL_ALTERED = 502,
    title: "Journal was altered",
    means: "A record's hash does not fit: the journal is not what the engine wrote.",
    cause: "A flipped bit on disk, or somebody edited it.",
    fix: "Restore the state directory from a backup; `phasegate history verify` names the first record that is wrong.",
    example: "phasegate history verify";
    JOURNAL_NEWER = 503,
    title: "Journal of a newer engine",
    means: "The journal has a format that this engine does not know. It was left untouched.",
    cause: "An older engine opened the state directory of a newer one.",
    fix: "Use the newer engine.",
    example: "phasegate --version";
    JOURNAL_WRITE_FAILED = 504,
    title: "Journal can't be written",
    means: "A record could not be made durable. The engine stops, since it must not act without a record of what it is about to do.",
    cause: "A full disk, a read-only file system or a failing device.",
    fix: "Make room, then give the command again, or resume the run where one had begun; nothing was done that is not in the journal.",
    example: "df -h .\nphasegate resume RUN";
    STATE_IN_USE = 505,
    title: "State directory in use",
    means: "Another phasegate process works in this state directory.",
    cause: "A run in another terminal, or one that is still stopping.",
    fix: "Wait for it, or watch it from here.",
    example: "phasegate watch";
    RUN_NOT_FOUND = 506,
    title: "Run not found",
    means: "The state directory holds no run of this name.",
    cause: "A typing error, or another state directory.",
    fix: "Look at `phasegate history`, and check `--state`.",
    example: "phasegate history --state DIR";
    JOURNAL_UNREADABLE = 507,
    title: "Journal can't be read",
    means: "The journal can't be used: its file is not a database, or one without the tables of a journal, or the account that asks may not read or write it.",
    cause: "Another file of the same name, a state directory of another account, or a damaged disk.",
    fix: "Check `--state`; restore the directory from a backup if it is damaged. A state directory is its maker's alone unless it was shared: people of one group share a directory that the group may write to and that hands its group on, as in the example. What is put into it later is shared like it; for what is in it already, give the group the rights with `chmod -R g+rwX`.",
    example: "mkdir DIR && chgrp deployers DIR && chmod 2770 DIR\nphasegate history --state DIR";
    DISK_FULL = 508,
    title: "Disk is full",
    means: "A file could not be written, since its disk or the user's quota on it is used up. What was written of it was taken away again.",
    cause: "A disk that filled up, a quota, or a file system that takes no more files.",
    fix: "Make room and give the command again.",
    example: "df -h .\ndf -i .";
    STATE_MISPLACED = 509,
    title: "Journal can't be kept there",
    means: "A journal in a cluster is named `kubernetes:CONTEXT/NAMESPACE`, and holds runs whose targets are in this cluster: whoever goes on with a run reaches its target as he reaches its journal.",
    cause: "A namespace or context that is left out, a release for another cluster, or one for the simulated cluster.",
    fix: "Name a context of the kubeconfig and a namespace that it may write to, or a directory.",
    example: "phasegate --state kubernetes:prod/shop status";
    NOT_FOR_A_CLUSTER = 510,
    title: "Run can't be driven from within a cluster",
    means: "A run whose journal is in a cluster is driven by whoever comes by: a pod, a colleague. What it needs must be wherever an engine is, and something of it is on one machine only.",
    cause: "A plugin from a file, a credential without a Secret that holds it, no image of the engine, or `--supersede`.",
    fix: "Use what ships with the engine, name the Secret with `--credentials` and the image with `--image`, or run it with a state directory.",
    example: "phasegate run release.yaml --in-cluster --image registry/phasegate:1 --credentials release-keys";
}
