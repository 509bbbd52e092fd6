//! Every number that bounds a report. What is left out is counted, and the report says so.

/// Characters of a sentence: a reason, a message, what somebody said.
pub const TEXT: usize = 400;
/// Characters of a name, a limit in words, an image.
pub const NAME: usize = 160;
/// Characters of a unit, which stands beside every figure.
pub const UNIT: usize = 24;
/// Steps in the table and on the timeline.
pub const STEPS: usize = 250;
/// Stretches of waiting, going back and resting on the timeline, apart from the steps.
pub const STRETCHES: usize = 120;
/// Marks on the timeline.
pub const MARKS: usize = 120;
/// Gates with a chart.
pub const GATES: usize = 16;
/// Figures of one gate.
pub const FIGURES: usize = 6;
/// Stretches of time in which one figure keeps its first, last, lowest and highest value.
pub const COLUMNS: usize = 80;
/// Different demands on one figure over time.
pub const DEMANDS: usize = 12;
/// Cells of the strip of a gate's verdicts.
pub const CELLS: usize = 160;
/// Rows of verdicts that say the same, one after the other.
pub const STREAKS: usize = 16;
/// Addresses that a gate's last verdict names.
pub const LINKS: usize = 6;
/// Changes of traffic or of pods, per workload.
pub const CHANGES: usize = 200;
/// Workloads with a chart of traffic or of pods.
pub const WORKLOADS: usize = 12;
/// Approvals, attestations and commands, of each.
pub const PEOPLE: usize = 100;
/// Ways back.
pub const BACKS: usize = 3;
/// Stages of one way back.
pub const STAGES: usize = 60;
/// Events and log lines of a diagnosis, of each.
pub const DIAGNOSIS: usize = 60;
/// Things owed.
pub const OWED: usize = 100;
/// Plugins.
pub const PLUGINS: usize = 100;
/// Lines of the story.
pub const STORY: usize = 300;
