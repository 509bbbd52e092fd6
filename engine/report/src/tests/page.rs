//! What the page shows, and that nobody's text gets out of its place.

use phasegate_core::time::Span;
use phasegate_core::verdict::{Link, Status};
use phasegate_core::workload::Diagnosis;

use super::plans::{minutes, plan};
use super::strict::read;
use super::world::{START, World, verdict};
use crate::limits;
use crate::model::{Moment, Report, Share, Traffic};
use crate::page;
use phasegate_core::time::Timestamp;

fn good() -> Report {
    let mut world = World::new(plan(minutes(10), &["errors"]), |_, _| {
        Some(verdict(Status::Pass, Some(1.0), Some(0.5)))
    });
    world.rest();
    world.report()
}

#[test]
fn a_page_is_whole_and_asks_nothing_of_anybody() {
    let text = page(&good());
    let read = read(&text);
    for (element, attributes) in &read.elements {
        let outside = [
            "script", "link", "img", "iframe", "object", "embed", "base", "form",
        ];
        assert!(!outside.contains(&element.as_str()), "{element}");
        for (name, value) in attributes {
            let own = name != "href" || value.starts_with('#');
            assert!(own && name != "src", "{name}={value}");
        }
    }
    assert!(!text.contains("@import") && !text.contains("@font-face"));
    let urls = text.matches("url(").count();
    assert_eq!(
        urls,
        text.matches("url(#").count(),
        "an address in the style sheet"
    );
    assert_eq!(read.count("html", "lang", "en"), 1);
    let scheme = read.count("meta", "content", "light dark");
    assert_eq!(scheme, 1);
}

#[test]
fn every_section_and_every_chart_is_there_for_whoever_can_not_see_it() {
    let read = read(&page(&good()));
    for id in [
        "timeline", "traffic", "gates", "people", "owed", "plugins", "journal", "story",
    ] {
        assert_eq!(read.count("section", "id", id), 1, "{id}");
        assert_eq!(read.count("a", "href", &format!("#{id}")), 1, "{id}");
    }
    let drawings = read.elements.iter().filter(|(name, attributes)| {
        name == "svg" && attributes.iter().any(|(a, v)| a == "role" && v == "img")
    });
    let mut labelled = 0;
    for (_, attributes) in drawings {
        let label = attributes.iter().find(|(name, _)| name == "aria-label");
        assert!(
            label.is_some_and(|(_, label)| label.len() > 20),
            "{attributes:?}"
        );
        labelled += 1;
    }
    // The timeline, the pods, one figure and the strip of its verdicts.
    assert_eq!(labelled, 4);
    for words in [
        "shop 1.5.0 serves.",
        "10m measured",
        "+0.5 % (+100.0 %)",
        "<= 5",
        "tag the release",
        "sha256:0123",
        "cafe",
        "verified",
        "os-account:1000",
    ] {
        assert!(read.text.contains(words), "{words} is not on the page");
    }
}

#[test]
fn bands_are_shaded_and_a_line_ends_where_there_is_no_data() {
    let mut world = World::new(plan(minutes(6), &["errors"]), |_, since| {
        match since.as_millis() / 60_000 {
            2 => Some(verdict(Status::Inconclusive, None, Some(0.5))),
            _ => Some(verdict(Status::Pass, Some(1.0), Some(0.5))),
        }
    });
    world.rest();
    let read = read(&page(&world.report()));
    let lines = |class: &str| read.count("polyline", "class", class);
    assert_eq!(lines("line candidate"), 2, "before and after the gap");
    assert_eq!(lines("line stable"), 1, "stable was measured all along");
    assert_eq!(lines("limit"), 1);
    assert_eq!(read.count("rect", "class", "band-normal"), 1);
    assert_eq!(read.count("rect", "class", "band-alert"), 1);
    assert!(read.count("rect", "class", "unknown") >= 1);
    assert!(read.count("rect", "class", "cell-inconclusive") > 1);
    assert!(read.count("circle", "class", "mark-inconclusive") > 1);
}

#[test]
fn a_band_without_limits_is_shaded_where_it_was_measured() {
    let mut world = World::new(plan(minutes(6), &["errors"]), |_, since| {
        let mut verdict = verdict(Status::Pass, Some(1.0), None);
        let warns = since > minutes(2) && since < minutes(4);
        verdict.measurements[0].limit = "as few as can be".to_owned();
        verdict.measurements[0].band = if warns { "warn" } else { "normal" }.to_owned();
        Some(verdict)
    });
    world.rest();
    let read = read(&page(&world.report()));
    let bands = |class: &str| read.count("rect", "class", class);
    assert_eq!((bands("band-warn"), bands("band-alert")), (1, 0));
    assert_eq!(read.count("polyline", "class", "limit"), 0);
}

#[test]
fn the_timeline_shows_what_was_folded_who_was_away_and_the_turn_back() {
    let mut world = World::new(plan(minutes(24 * 60), &["errors"]), |_, since| {
        let fails = since > minutes(90);
        let status = if fails { Status::Fail } else { Status::Pass };
        Some(verdict(status, Some(1.0), None))
    });
    world.until_step("verify/soak");
    world.until(|run| run.now().as_millis() > START + minutes(30).as_millis());
    world.die(minutes(10));
    world.rest();
    let read = read(&page(&world.report()));
    let bars = |class: &str| read.count("rect", "class", class);
    assert_eq!(bars("bar step"), 2, "the deployment and the check");
    assert_eq!(bars("bar failed"), 1, "the soak");
    assert_eq!(bars("bar away"), 1);
    assert_eq!(bars("bar back"), 2, "among the phases and among the steps");
    // The soak before and after the engine was away, and the time between: on the timeline and below.
    assert_eq!(bars("fold"), 3 + 3);
    for words in ["10m undriven", "folded", "resumed", "measured 1h1"] {
        let shown = read.text.contains(words);
        assert!(shown, "{words} is not on the page");
    }
    assert!(read.count("circle", "class", "pin bad") >= 1);
    assert_eq!(read.count("circle", "class", "pin info"), 1);
}

#[test]
fn traffic_is_drawn_as_asked_and_as_read_back() {
    let mut report = good();
    let share = |minute: u64, asked: f64, read: Option<f64>| Share {
        at: Moment(Timestamp::from_millis(START).plus(minutes(minute))),
        asked: Some(asked),
        read,
        message: format!("traffic to the candidate: {asked} %"),
    };
    assert!(page(&report).contains("shared no traffic by weight"));
    report.traffic = vec![Traffic {
        workload: String::new(),
        shares: vec![
            share(1, 10.0, None),
            share(2, 10.0, Some(10.0)),
            share(5, 50.0, Some(50.0)),
        ],
    }];
    let text = page(&report);
    assert!(!text.contains("shared no traffic by weight"));
    let read = read(&text);
    // Until it was read back nobody can tell: the line of what was read has a gap, the other none.
    assert_eq!(read.count("rect", "class", "unknown"), 1);
    let pods = 1;
    assert_eq!(read.count("polyline", "class", "line read"), 2 + pods);
    assert_eq!(read.count("polyline", "class", "line asked"), 1 + pods);
    assert!(read.text.contains("traffic to the candidate: 50 %"));
}

/// Texts as strangers write them.
const NASTY: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'; --> ]]> &lt;b&gt; </style></title>",
    "abc\u{202e}txt.exe\u{2066}\u{200b}\u{feff}",
    "\u{1b}[31mred\u{0}\u{7f}",
];

#[test]
fn strangers_texts_stay_texts() {
    for nasty in NASTY {
        let mut plan = plan(minutes(2), &["errors"]);
        plan.subject.name = nasty.to_owned();
        plan.subject.version = nasty.to_owned();
        plan.due[1].task = nasty.to_owned();
        let mut world = World::new(plan, move |_, since| {
            let status = if since > minutes(1) {
                Status::Fail
            } else {
                Status::Pass
            };
            let mut verdict = verdict(status, Some(1.0), Some(2.0));
            verdict.reason = nasty.to_owned();
            verdict.links = vec![
                Link {
                    title: nasty.to_owned(),
                    url: format!("https://example/{nasty}"),
                },
                Link {
                    title: "run this".to_owned(),
                    url: "javascript:alert(1)".to_owned(),
                },
            ];
            for measurement in &mut verdict.measurements {
                measurement.name = nasty.to_owned();
                measurement.unit = nasty.to_owned();
                measurement.limit = nasty.to_owned();
                measurement.band = nasty.to_owned();
            }
            Some(verdict)
        });
        world.diagnosis = Diagnosis {
            events: vec![nasty.to_owned()],
            logs: vec![nasty.to_owned()],
        };
        world.rest();
        let report = world.report();
        let text = page(&report);
        let read = read(&text);
        for unwanted in ["script", "img", "b"] {
            assert!(
                read.elements.iter().all(|(name, _)| name != unwanted),
                "{unwanted}"
            );
        }
        assert!(
            !text.contains("javascript:"),
            "an address that is a program"
        );
        for hidden in [
            '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{1b}', '\u{0}', '\u{7f}',
        ] {
            assert!(!text.contains(hidden), "{hidden:?}");
        }
        // What is visible of it is there as it was written, several times.
        let visible: String = nasty
            .chars()
            .take_while(|c| !c.is_control())
            .take(3)
            .collect();
        assert!(read.text.matches(visible.as_str()).count() > 5, "{visible}");
        let left = &report.left_out;
        assert!(
            left.iter().any(|left| left.what.starts_with("addresses")),
            "{left:?}"
        );
    }
}

#[test]
fn long_texts_are_cut_and_say_so() {
    let long = "x".repeat(100_000);
    let copy = long.clone();
    let mut world = World::new(plan(Span::from_secs(30), &["errors"]), move |_, _| {
        let mut verdict = verdict(Status::Pass, Some(1.0), None);
        verdict.reason = copy.clone();
        verdict.measurements[0].name = copy.clone();
        verdict.measurements[0].limit = copy.clone();
        Some(verdict)
    });
    world.rest();
    let text = page(&world.report());
    assert!(text.len() < 100_000, "{}", text.len());
    let more = 100_000 - limits::NAME;
    assert!(text.contains(&format!("… ({more} more characters)")));
    assert!(!text.contains(&"x".repeat(limits::TEXT + 1)));
}
