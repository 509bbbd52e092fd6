//! The mutants, by what they break.

/// A fault to be put into the code, and the test that must notice it.
pub(super) struct Mutant {
    /// What the faulty code does.
    pub(super) name: &'static str,
    /// The file that it stands in.
    pub(super) file: &'static str,
    /// Text that is there once.
    pub(super) find: &'static str,
    /// What stands there instead.
    pub(super) replace: &'static str,
    /// The cargo workspace of the test.
    pub(super) workspace: In,
    /// Its package.
    pub(super) package: &'static str,
    /// The arguments that choose its binary.
    pub(super) target: &'static [&'static str],
    /// Its full name in there.
    pub(super) test: &'static str,
}

/// A cargo workspace.
#[derive(Clone, Copy)]
pub(super) enum In {
    Root,
    Plugins,
}

impl In {
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Root => ".",
            Self::Plugins => "plugins",
        }
    }
}

const fn of(
    workspace: In,
    package: &'static str,
    file: &'static str,
    name: &'static str,
    [find, replace]: [&'static str; 2],
    test: &'static str,
) -> Mutant {
    Mutant {
        name,
        file,
        find,
        replace,
        workspace,
        package,
        target: &["--lib"],
        test,
    }
}

/// In the core.
const fn core(
    file: &'static str,
    name: &'static str,
    change: [&'static str; 2],
    test: &'static str,
) -> Mutant {
    of(In::Root, "phasegate-core", file, name, change, test)
}

/// In what speaks to Kubernetes.
const fn adapter(
    file: &'static str,
    name: &'static str,
    change: [&'static str; 2],
    test: &'static str,
) -> Mutant {
    of(In::Root, "phasegate-world", file, name, change, test)
}

/// In a plugin.
const fn plugin(
    package: &'static str,
    file: &'static str,
    name: &'static str,
    change: [&'static str; 2],
    test: &'static str,
) -> Mutant {
    of(In::Plugins, package, file, name, change, test)
}

/// All of them.
pub(super) const MUTANTS: &[Mutant] = &[
    core(
        "engine/core/src/judge.rs",
        "counts no data as a pass",
        [
            "Status::Pass => self.passed(policy, now),",
            "Status::Pass | Status::Inconclusive => self.passed(policy, now),",
        ],
        "judge::tests::no_data_neither_resets_nor_completes_a_breach",
    ),
    core(
        "engine/core/src/judge.rs",
        "lets no data reset a breach",
        [
            "self.inconclusive = self.inconclusive.saturating_add(1);",
            "self.inconclusive = self.inconclusive.saturating_add(1); self.breach_since = None;",
        ],
        "judge::tests::no_data_neither_resets_nor_completes_a_breach",
    ),
    core(
        "engine/core/src/judge.rs",
        "counts time in which nobody measured towards a soak",
        [
            "if gap <= every(policy).times(2) {",
            "if gap >= Span::ZERO {",
        ],
        "judge::tests::time_counts_only_where_verdicts_follow_closely",
    ),
    core(
        "engine/core/src/judge.rs",
        "starts a hold anew at every verdict",
        [
            "let since = *self.hold_since.get_or_insert(now);",
            "let since = now;",
        ],
        "judge::tests::a_hold_by_band_runs_out",
    ),
    core(
        "engine/core/src/judge.rs",
        "rolls back at the first sign of a breach that has to last",
        [
            "if now.since(since) >= policy.sustained {",
            "if now.since(since) >= Span::ZERO {",
        ],
        "judge::tests::only_a_breach_that_lasts_counts",
    ),
    core(
        "engine/core/src/workload.rs",
        "skips observedGeneration",
        [
            "self.observed_generation >= self.generation\n            && self.updated == wanted",
            "self.updated == wanted",
        ],
        "run::tests::scenarios::counts_of_an_earlier_specification_are_not_a_rollout_that_has_finished",
    ),
    core(
        "engine/core/src/run/retreat.rs",
        "removes the candidate before traffic has left it",
        [
            "if self.known.traffic.touched {\n            return self.unroute();",
            "if self.known.traffic.touched && self.next_to_undo().is_none() {\n            return self.unroute();",
        ],
        "run::tests::beside::a_warm_rollback_scales_up_and_waits_before_it_switches",
    ),
    core(
        "engine/core/src/run/retreat.rs",
        "switches back before stable has its capacity again",
        [
            "if known.changed && !known.restored {",
            "if known.changed && !known.restored && !known.traffic.touched {",
        ],
        "run::tests::beside::a_warm_rollback_scales_up_and_waits_before_it_switches",
    ),
    core(
        "engine/core/src/run/retreat.rs",
        "switches back without waiting until stable is ready",
        [
            "if self.needs_stable() && !self.known.ready {",
            "if self.needs_stable() && !self.known.ready && !self.known.traffic.touched {",
        ],
        "run::tests::beside::a_warm_rollback_scales_up_and_waits_before_it_switches",
    ),
    core(
        "engine/core/src/run/retreat.rs",
        "rolls back the first workload first",
        [
            "for place in (0..self.plan.workloads.len()).rev() {",
            "for place in 0..self.plan.workloads.len() {",
        ],
        "run::tests::beside::where_the_third_workload_fails_only_those_that_changed_go_back_the_last_first",
    ),
    core(
        "engine/core/src/run/traffic.rs",
        "retires or goes on before traffic has settled",
        [
            "taken.is_some_and(|taken| self.now.since(taken) >= settle)",
            "taken.is_some() && settle >= Span::ZERO",
        ],
        "run::tests::beside::traffic_has_settled_for_its_time_before_a_shift_is_done",
    ),
    core(
        "engine/core/src/run/traffic.rs",
        "shifts traffic on what was seen an hour ago",
        [
            "let stale = waiting.find(|o| due(o.phase) && self.needs_proof(&o.effect));",
            "let stale = waiting.find(|o| due(o.phase) && self.needs_proof(&o.effect) && !o.effect.request.changes());",
        ],
        "run::tests::beside::an_engine_that_stays_away_for_an_hour_finds_both_sides_again_before_it_goes_on",
    ),
    core(
        "engine/core/src/run/effects.rs",
        "loses an outcome: after a restart it repeats a write instead of probing",
        [
            "Phase::Intended | Phase::Missing | Phase::Probing => Phase::Missing,",
            "Phase::Intended | Phase::Missing | Phase::Probing => Phase::Ready,",
        ],
        "run::tests::faults::the_engine_may_die_before_and_after_every_record",
    ),
    core(
        "engine/core/src/run/effects.rs",
        "forgets at an abort what may still arrive",
        [
            "outstanding.effect.request.changes() && !sure",
            "outstanding.effect.request.changes() && sure",
        ],
        "run::tests::faults::an_abort_at_every_record_and_a_death_at_every_later_one",
    ),
    core(
        "engine/core/src/run/invariants.rs",
        "reuses a key",
        [
            "if effect.request.changes() && self.performed.contains(&effect.key) {",
            "if !effect.request.changes() && self.performed.contains(&effect.key) {",
        ],
        "run::invariants::tests::a_key_that_took_place_is_not_used_again",
    ),
    core(
        "engine/core/src/run/beside.rs",
        "scales a candidate whose autoscaler decides",
        [
            "if self.known.made.contains(&Piece::Autoscaler) {",
            "if self.known.made.contains(&Piece::Autoscaler) && count == 0 {",
        ],
        "run::tests::beside::where_an_autoscaler_decides_its_bounds_are_written_and_no_count",
    ),
    core(
        "engine/core/src/run/beside.rs",
        "lets stable's autoscaler shrink it while traffic is elsewhere",
        [
            "let minimum = autoscaler.minimum.max(known.replicas);",
            "let minimum = autoscaler.minimum.min(known.replicas);",
        ],
        "run::tests::beside::where_an_autoscaler_decides_its_bounds_are_written_and_no_count",
    ),
    core(
        "engine/core/src/run/approvals.rs",
        "takes an approval that has expired",
        [
            "let fresh = self.now.since(approval.at) < requirement.expires;",
            "let fresh = self.now >= approval.at;",
        ],
        "run::tests::people::an_approval_given_too_early_has_expired_when_it_is_needed",
    ),
    core(
        "engine/core/src/run/approvals.rs",
        "lets who started a run approve it alone",
        [
            "&& (requirement.starter_may_approve || !starter)",
            "&& (requirement.starter_may_approve || starter || !starter)",
        ],
        "run::tests::people::who_may_not_approve_is_told_why",
    ),
    adapter(
        "engine/world/src/kubernetes/observe.rs",
        "believes that a controller gave up on what it hasn't seen",
        [
            "deadline_exceeded: observed_generation >= generation && gave_up(found),",
            "deadline_exceeded: gave_up(found),",
        ],
        "kubernetes::tests::reads::an_observation_counts_own_pods_and_believes_a_deadline_only_when_it_is_current",
    ),
    adapter(
        "engine/world/src/kubernetes/family.rs",
        "counts another workload's pods",
        [
            "pods.retain(|pod| pod.metadata.owned_by(&owners));",
            "pods.retain(|pod| pod.metadata.owned_by(&owners) || !owners.is_empty());",
        ],
        "kubernetes::tests::reads::an_observation_counts_own_pods_and_believes_a_deadline_only_when_it_is_current",
    ),
    adapter(
        "engine/world/src/kubernetes/fence.rs",
        "writes though a later engine drives",
        [
            "if epoch > stamp.epoch {\n            return Err(fenced(target, epoch, stamp));",
            "if epoch > stamp.epoch.saturating_add(1_000) {\n            return Err(fenced(target, epoch, stamp));",
        ],
        "kubernetes::tests::writes::a_later_epoch_on_the_object_or_on_the_lease_fences_the_write",
    ),
    adapter(
        "engine/world/src/kubernetes/change.rs",
        "writes twice what had taken place",
        [
            "if ours && image_holds &&",
            "if ours && image_holds && change.uid.is_empty() &&",
        ],
        "kubernetes::tests::writes::a_write_that_took_place_is_not_made_again",
    ),
    adapter(
        "engine/world/src/kubernetes/change.rs",
        "writes over an image that somebody else set",
        [
            "Some(expected) if *expected != settings.image => Err(Failure::new(",
            "Some(expected) if expected.is_empty() => Err(Failure::new(",
        ],
        "kubernetes::tests::writes::an_image_that_somebody_else_set_is_not_written_over",
    ),
    plugin(
        "phasegate-canary",
        "plugins/canary/src/arithmetic.rs",
        "rounds the candidate's replicas down",
        ["exact.div_ceil(100)", "(exact / 100)"],
        "tests::table::by_replicas_as_argo_rollouts_approximates",
    ),
    plugin(
        "phasegate-canary",
        "plugins/canary/src/weighted.rs",
        "leaves the last weight out",
        [
            "if plan.weight < Percent::ALL {",
            "if plan.weight > Percent::ALL {",
        ],
        "tests::router::before_the_promotion_the_candidate_has_everything_whatever_the_last_weight",
    ),
    plugin(
        "phasegate-gateway-api",
        "plugins/gateway-api/src/rules.rs",
        "forgets the mirror",
        [
            "mirror(&mut rule, sides, split.mirror_weight);",
            "let _ = split.mirror_weight;",
        ],
        "tests::copies_are_a_filter_that_comes_and_goes",
    ),
    plugin(
        "phasegate-gateway-api",
        "plugins/gateway-api/src/rules.rs",
        "throws the route's other rules away",
        [
            "            shared.push(rule.clone());\n            continue;",
            "            continue;",
        ],
        "tests::other_rules_and_the_part_of_other_backends_are_kept",
    ),
    plugin(
        "phasegate-istio",
        "plugins/istio/src/lib.rs",
        "lets the candidate be talked to in another way than stable",
        [
            "policies::check(call, &http, &sides)?;",
            "let _ = policies::check(call, &http, &sides);",
        ],
        "tests::a_candidate_is_talked_to_as_stable_is_or_gets_no_traffic",
    ),
    plugin(
        "phasegate-nginx",
        "plugins/nginx/src/lib.rs",
        "leaves its Ingress behind",
        [
            "(Some(canary), None) if canary.is_ours() => self.remove(call, target),",
            "(Some(canary), None) if canary.is_ours() => Ok(()),",
        ],
        "tests::a_canary_ingress_comes_and_goes_and_the_own_one_is_never_written",
    ),
    plugin(
        "phasegate-blue-green",
        "plugins/blue-green/src/lib.rs",
        "switches to a preview that was never scaled up",
        [
            "if count.is_some() || steps.len() > 1 {",
            "if count.is_none() && steps.len() > 1 {",
        ],
        "tests::no_prefix_of_any_plan_takes_capacity_away",
    ),
    plugin(
        "phasegate-prometheus",
        "plugins/prometheus/src/judge.rs",
        "takes missing figures for good ones",
        [
            "..Self::of(Status::Inconclusive, \"normal\", reason)",
            "..Self::of(Status::Pass, \"normal\", reason)",
        ],
        "tests::no_data_is_never_a_pass",
    ),
    plugin(
        "phasegate-workload",
        "plugins/workload/src/lib.rs",
        "counts pods that are on their way out",
        ["pods.retain(Pod::is_active);", "pods.retain(|_| true);"],
        "tests::terminating_evicted_and_foreign_pods_do_not_count",
    ),
];
