use super::*;

fn labels(words: &str) -> Labels {
    words
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Stable's labels with those of the candidate over them.
fn over(stable: &Labels, candidate: &Labels) -> Labels {
    let mut all = stable.clone();
    all.extend(candidate.clone());
    all
}

fn outside(
    stable: &str,
    service: &str,
    colour: Option<Colour<'_>>,
) -> Result<Labels, &'static str> {
    let (stable, service) = (labels(stable), labels(service));
    let facts = Facts {
        workload: "shop",
        stable: &stable,
        service: Some(&service),
        kept: None,
        colour,
    };
    facts.outside()
}

#[test]
fn routed_candidates_are_out_of_reach_of_the_service_and_of_stables_selector() {
    for (stable, service, expected) in [
        ("app=shop", "app=shop", "app=shop-candidate"),
        // The one that names the workload, not the first.
        (
            "app.kubernetes.io/instance=prod app.kubernetes.io/name=shop",
            "app.kubernetes.io/instance=prod app.kubernetes.io/name=shop",
            "app.kubernetes.io/name=shop-candidate",
        ),
        ("a=x b=y", "a=x b=y", "a=x-candidate"),
        ("app=shop tier=web", "tier=web", "tier=web-candidate"),
        (
            "app=shop track=stable",
            "app=shop track=stable",
            "track=candidate",
        ),
        // They share no label: one for each of the two.
        (
            "app=shop",
            "role=web",
            "app=shop-candidate role=web-candidate",
        ),
    ] {
        let chosen = outside(stable, service, None).unwrap();
        assert_eq!(chosen, labels(expected), "{stable} | {service}");
        let pods = over(&labels(&format!("{stable} {service}")), &chosen);
        assert!(!chooses(&labels(stable), &pods), "{stable} | {service}");
        assert!(!chooses(&labels(service), &pods), "{stable} | {service}");
    }
}

#[test]
fn the_way_back_to_the_first_labels_is_the_same_rule() {
    for stable in [
        "app=shop",
        "a=x b=y",
        "app.kubernetes.io/instance=prod app.kubernetes.io/name=shop",
        "app=shop track=stable",
    ] {
        let first = labels(stable);
        let there = over(&first, &outside(stable, stable, None).unwrap());
        let facts = Facts {
            workload: "shop",
            stable: &there,
            service: Some(&there),
            kept: None,
            colour: None,
        };
        assert_eq!(over(&there, &facts.outside().unwrap()), first, "{stable}");
    }
}

#[test]
fn what_is_kept_in_the_candidates_place_keeps_its_labels() {
    let (stable, kept) = (labels("app=shop"), labels("app=shop-b"));
    let facts = Facts {
        workload: "shop",
        stable: &stable,
        service: Some(&stable),
        kept: Some(&kept),
        colour: None,
    };
    assert_eq!(facts.outside().unwrap(), kept);
}

#[test]
fn unrouted_candidates_share_what_the_service_selects() {
    for (stable, service, expected) in [
        ("app=shop track=stable", Some("app=shop"), "track=candidate"),
        ("app=shop", Some("app=shop"), "phasegate.dev/slot=candidate"),
        ("app=shop", Some("role=web"), "app=shop-candidate"),
        // Without a Service nothing has to be shared.
        ("app=worker", None, "app=worker-candidate"),
    ] {
        let (own, service) = (labels(stable), service.map(labels));
        let facts = Facts {
            workload: "shop",
            stable: &own,
            service: service.as_ref(),
            kept: None,
            colour: None,
        };
        let chosen = facts.inside();
        assert_eq!(chosen, labels(expected), "{stable}");
        if let Some(service) = service {
            let pods = over(&over(&own, &service), &chosen);
            assert!(chooses(&service, &pods), "{stable}");
        }
    }
}

#[test]
fn a_colour_changes_with_all_that_is_named_after_it() {
    let green = Colour {
        label: "version",
        live: Some("blue"),
        candidate: "green",
    };
    for (stable, service, expected) in [
        (
            "app=shop version=blue",
            "app=shop version=blue",
            "version=green",
        ),
        ("app=shop version=blue", "version=blue", "version=green"),
        (
            "app=shop-blue version=blue",
            "version=blue",
            "app=shop-green version=green",
        ),
        // The selector doesn't say the colour, so that something else in it has to.
        (
            "app=shop",
            "app=shop version=blue",
            "app=shop-green version=green",
        ),
    ] {
        let chosen = outside(stable, service, Some(green)).unwrap();
        assert_eq!(chosen, labels(expected), "{stable} | {service}");
    }
    let adopted = Colour {
        live: None,
        candidate: "blue",
        ..green
    };
    assert_eq!(
        outside("app=shop", "app=shop", Some(adopted)).unwrap(),
        labels("app=shop-blue version=blue")
    );
}

#[test]
fn where_nothing_can_tell_them_apart_it_is_said() {
    let why = outside("", "app=shop", None).unwrap_err();
    assert!(why.contains("matchLabels"), "{why}");
    let why = outside("app=shop", "", None).unwrap_err();
    assert!(why.contains("selects nothing"), "{why}");
    let stable = labels("app=shop");
    let facts = Facts {
        workload: "shop",
        stable: &stable,
        service: None,
        kept: None,
        colour: None,
    };
    assert!(facts.outside().unwrap_err().contains("no Service"));
}

#[test]
fn names_that_would_be_too_long_are_cut_and_stay_distinct() {
    assert_eq!(within("shop", CANDIDATE), "shop-candidate");
    let long = "a".repeat(60);
    let (one, other) = (within(&long, "-blue"), within(&long, "-green"));
    assert_ne!(one, other);
    for name in [&one, &other] {
        assert_eq!(name.len(), MAX_LENGTH, "{name}");
    }
    // No name may have a point or two dashes where it was cut.
    let dotted = within(
        &format!("{}..{}", "a".repeat(53), "b".repeat(20)),
        CANDIDATE,
    );
    assert_eq!(dotted.len(), MAX_LENGTH - 1, "{dotted}");
    assert!(!dotted.contains(".-"), "{dotted}");
    assert_eq!(within(&long, "-ab"), format!("{long}-ab"));
}
