use jiff::Timestamp;
use phasegate_plugin::testing::{Fake, question};
use phasegate_plugin::{Status, Verdict};
use serde_json::{Value, json};

use super::PLUGIN;

/// The verdict at a time, in UTC.
fn at(time: &str, config: Value) -> Verdict {
    let time: Timestamp = time.parse().unwrap();
    let ms = u64::try_from(time.as_millisecond()).unwrap();
    let mut world = Fake::new().at(ms);
    let verdict = world.run(|| PLUGIN.evaluate(&question("window", config)));
    verdict.unwrap()
}

fn status(time: &str, config: Value) -> Status {
    at(time, config).status
}

/// What the runbooks ask for: Tuesday to Thursday, 10:00 to 14:00 in New York, and never on the day
/// before a holiday. Thanksgiving of 2026 is Thursday, 26 November.
fn office() -> Value {
    json!({
        "zone": "America/New_York",
        "windows": [{ "days": ["tue", "wed", "thu"], "from": "10:00", "to": "14:00" }],
        "holidays": ["2026-11-26", "2026-12-25"],
        "denyDayBeforeHoliday": true,
    })
}

fn with(mut config: Value, name: &str, value: Value) -> Value {
    config[name] = value;
    config
}

#[test]
fn a_friday_afternoon_is_denied() {
    let verdict = at("2026-11-20T20:10:00Z", office());
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(
        verdict.reason,
        "closed: fri 2026-11-20 15:10 (America/New_York) is outside of tue wed thu 10:00-14:00; \
         it opens tue 2026-11-24 10:00 (America/New_York)"
    );
    let measured = &verdict.measurements[0];
    assert_eq!(
        (measured.candidate, measured.band.as_str()),
        (Some(0.0), "alert")
    );
    assert_eq!(measured.limit, "tue wed thu 10:00-14:00");

    let daily = json!({ "zone": "America/New_York", "windows": [
        { "days": ["mon", "tue", "wed", "thu"], "from": "09:00", "to": "17:00" },
        { "days": ["fri"], "from": "09:00", "to": "12:00" },
    ] });
    assert_eq!(status("2026-11-20T16:59:00Z", daily.clone()), Status::Pass);
    let afternoon = at("2026-11-20T17:00:00Z", daily);
    assert_eq!(afternoon.status, Status::Fail);
    let opens = "it opens mon 2026-11-23 09:00 (America/New_York)";
    assert!(afternoon.reason.ends_with(opens), "{}", afternoon.reason);
}

#[test]
fn the_day_before_a_holiday_and_the_holiday_are_denied() {
    let opens = "; it opens tue 2026-12-01 10:00 (America/New_York)";
    let before = at("2026-11-25T16:00:00Z", office());
    let reason = format!("closed: 2026-11-25 is the day before a holiday{opens}");
    assert_eq!((before.status, before.reason), (Status::Fail, reason));
    let holiday = at("2026-11-26T16:00:00Z", office());
    let reason = format!("closed: 2026-11-26 is a holiday{opens}");
    assert_eq!((holiday.status, holiday.reason), (Status::Fail, reason));

    let lenient = with(office(), "denyDayBeforeHoliday", json!(false));
    assert_eq!(
        status("2026-11-25T16:00:00Z", lenient.clone()),
        Status::Pass
    );
    assert_eq!(status("2026-11-26T16:00:00Z", lenient), Status::Fail);
}

#[test]
fn tuesday_at_eleven_in_new_york_is_allowed_before_and_after_the_clocks_change() {
    // On 1 November 2026 the clocks go back, on 8 March 2026 forward.
    for (eleven, ten, an_hour_before) in [
        (
            "2026-10-27T15:00:00Z",
            "2026-10-27T14:00:00Z",
            "2026-10-27T13:59:59Z",
        ),
        (
            "2026-11-03T16:00:00Z",
            "2026-11-03T15:00:00Z",
            "2026-11-03T14:59:59Z",
        ),
        (
            "2026-03-03T16:00:00Z",
            "2026-03-03T15:00:00Z",
            "2026-03-03T14:59:59Z",
        ),
        (
            "2026-03-10T15:00:00Z",
            "2026-03-10T14:00:00Z",
            "2026-03-10T13:59:59Z",
        ),
    ] {
        let verdict = at(eleven, office());
        assert_eq!(verdict.status, Status::Pass, "{eleven}");
        assert!(verdict.reason.ends_with("14:00 (America/New_York)"));
        assert_eq!(status(ten, office()), Status::Pass, "{ten}");
        assert_eq!(
            status(an_hour_before, office()),
            Status::Fail,
            "{an_hour_before}"
        );
    }
    let verdict = at("2026-10-29T18:00:00Z", office());
    let opens = "it opens tue 2026-11-03 10:00 (America/New_York)";
    assert!(verdict.reason.ends_with(opens), "{}", verdict.reason);
}

#[test]
fn a_time_that_is_jumped_over_is_moved_forward() {
    // In Berlin it is 03:00 after 02:00 on Sunday, 29 March 2026.
    let night = |from: &str, to: &str| json!({ "zone": "Europe/Berlin", "windows": [{ "days": ["sun"], "from": from, "to": to }] });
    for (from, to, time, expected) in [
        ("02:30", "04:00", "2026-03-29T01:29:59Z", Status::Fail),
        ("02:30", "04:00", "2026-03-29T01:30:00Z", Status::Pass),
        ("01:00", "02:30", "2026-03-29T01:29:59Z", Status::Pass),
        ("01:00", "02:30", "2026-03-29T01:30:00Z", Status::Fail),
        // All of it lies in the hour that there isn't: it is moved as a whole.
        ("02:15", "02:45", "2026-03-29T01:30:00Z", Status::Pass),
        ("02:15", "02:45", "2026-03-29T01:45:00Z", Status::Fail),
        // Its beginning is moved to its end, and nothing is left of it.
        ("02:30", "03:30", "2026-03-29T01:30:00Z", Status::Fail),
    ] {
        assert_eq!(
            status(time, night(from, to)),
            expected,
            "{from}-{to} {time}"
        );
    }
}

#[test]
fn of_a_time_that_comes_twice_the_first_is_meant() {
    // In Berlin it is 02:00 again after 03:00 on Sunday, 25 October 2026.
    let night = |from: &str, to: &str| json!({ "zone": "Europe/Berlin", "windows": [{ "days": ["sun"], "from": from, "to": to }] });
    for (from, to, time, expected) in [
        ("02:30", "04:00", "2026-10-25T00:29:59Z", Status::Fail),
        ("02:30", "04:00", "2026-10-25T00:30:00Z", Status::Pass),
        ("02:30", "04:00", "2026-10-25T01:15:00Z", Status::Pass),
        ("02:30", "04:00", "2026-10-25T03:00:00Z", Status::Fail),
        ("01:00", "02:30", "2026-10-25T00:29:59Z", Status::Pass),
        ("01:00", "02:30", "2026-10-25T00:30:00Z", Status::Fail),
        ("01:00", "02:30", "2026-10-25T01:15:00Z", Status::Fail),
    ] {
        assert_eq!(
            status(time, night(from, to)),
            expected,
            "{from}-{to} {time}"
        );
    }
}

#[test]
fn a_freeze_closes_whatever_else_is_open() {
    let freeze = json!([{
        "from": "2026-12-15T17:00:00-05:00", "to": "2027-01-05T11:30:00-05:00", "reason": "peak season",
    }]);
    let frozen = with(office(), "freezes", freeze.clone());
    let verdict = at("2026-12-16T16:00:00Z", frozen.clone());
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(
        verdict.reason,
        "closed: frozen until tue 2027-01-05 11:30 (America/New_York): peak season; \
         it opens tue 2027-01-05 11:30 (America/New_York)"
    );
    assert_eq!(status("2026-12-15T16:00:00Z", frozen.clone()), Status::Pass);
    assert_eq!(status("2027-01-05T16:30:00Z", frozen), Status::Pass);

    // Without windows it is open at all other times.
    let alone = json!({ "zone": "America/New_York", "freezes": freeze });
    let before = at("2026-12-13T03:00:00Z", alone.clone());
    assert_eq!(before.status, Status::Pass);
    assert_eq!(
        before.reason,
        "open until tue 2026-12-15 17:00 (America/New_York)"
    );
    let after = at("2027-02-13T03:00:00Z", alone);
    assert_eq!(after.reason, "open, and no end is in sight");
}

#[test]
fn without_windows_holidays_alone_are_closed() {
    let config = json!({ "zone": "Europe/Berlin", "holidays": ["2026-12-25", "2026-12-26"] });
    let verdict = at("2026-12-24T22:59:00Z", config.clone());
    assert_eq!(
        verdict.reason,
        "open until fri 2026-12-25 00:00 (Europe/Berlin)"
    );
    let verdict = at("2026-12-24T23:00:00Z", config);
    assert_eq!(
        verdict.reason,
        "closed: 2026-12-25 is a holiday; it opens sun 2026-12-27 00:00 (Europe/Berlin)"
    );
}

#[test]
fn windows_that_touch_are_one() {
    let config = json!({ "zone": "UTC", "windows": [
        { "days": ["mon"], "from": "22:00", "to": "24:00" },
        { "days": ["tue"], "from": "00:00", "to": "02:00" },
    ] });
    let verdict = at("2026-11-23T23:00:00Z", config);
    assert_eq!(verdict.reason, "open until tue 2026-11-24 02:00 (UTC)");
}

#[test]
fn breaking_the_glass_opens_with_a_reason_until_it_ends() {
    let glass = json!({
        "reason": "payments are down", "by": "ada", "until": "2026-11-20T16:00:00-05:00",
    });
    let config = with(office(), "breakGlass", glass);
    let closed = "closed: fri 2026-11-20 15:10 (America/New_York) is outside of \
                  tue wed thu 10:00-14:00; it opens tue 2026-11-24 10:00 (America/New_York)";
    let verdict = at("2026-11-20T20:10:00Z", config.clone());
    assert_eq!(verdict.status, Status::Pass);
    assert_eq!(verdict.measurements[0].band, "warn");
    assert_eq!(
        verdict.reason,
        format!(
            "break-glass by ada counts until fri 2026-11-20 16:00 (America/New_York): \
             payments are down; {closed}"
        )
    );
    let ended = at("2026-11-20T21:00:00Z", config.clone());
    assert_eq!(ended.status, Status::Fail);
    let reason =
        "break-glass by ada ended fri 2026-11-20 16:00 (America/New_York): payments are down";
    assert!(ended.reason.ends_with(reason), "{}", ended.reason);
    assert_eq!(status("2026-11-21T20:10:00Z", config.clone()), Status::Fail);
    // Where it is open there is no glass to break.
    let open = at("2026-11-17T16:00:00Z", config);
    assert_eq!(
        (open.status, open.measurements[0].band.as_str()),
        (Status::Pass, "normal")
    );
}

#[test]
fn an_opening_that_is_not_in_sight_is_said_so() {
    let freeze =
        json!([{ "from": "2026-01-01T00:00:00Z", "to": "2029-01-01T00:00:00Z", "reason": "sold" }]);
    let verdict = at("2026-11-20T20:10:00Z", with(office(), "freezes", freeze));
    assert!(
        verdict.reason.ends_with("; no opening is in sight"),
        "{}",
        verdict.reason
    );
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    let hours = |from: &str, to: &str, days: Value| {
        with(
            office(),
            "windows",
            json!([{ "days": days, "from": from, "to": to }]),
        )
    };
    let glass = |glass: Value| with(office(), "breakGlass", glass);
    let until = "2026-11-20T16:00:00Z";
    for (config, pointer) in [
        (json!({}), ""),
        (json!({ "zone": "UTC" }), ""),
        (with(office(), "zone", json!("New York")), "/zone"),
        (hours("10:00", "10:00", json!(["tue"])), "/windows/0/from"),
        (hours("22:00", "02:00", json!(["tue"])), "/windows/0/from"),
        (hours("9:00", "10:00", json!(["tue"])), "/windows/0/from"),
        (hours("09:00", "24:01", json!(["tue"])), "/windows/0/to"),
        (hours("09:60", "10:00", json!(["tue"])), "/windows/0/from"),
        (hours("09:00", "10:00", json!([])), "/windows/0/days"),
        (
            hours("09:00", "10:00", json!(["tuesday"])),
            "/windows/0/days/0",
        ),
        (
            with(office(), "holidays", json!(["2026-02-30"])),
            "/holidays/0",
        ),
        (
            with(office(), "holidays", json!(["2026-12-25T00:00"])),
            "/holidays/0",
        ),
        (
            with(office(), "holidays", json!([])),
            "/denyDayBeforeHoliday",
        ),
        (
            with(
                office(),
                "freezes",
                json!([{ "from": until, "to": until, "reason": "x" }]),
            ),
            "/freezes/0/to",
        ),
        (
            with(
                office(),
                "freezes",
                json!([{ "from": "2026-11-20T16:00:00", "to": until, "reason": "x" }]),
            ),
            "/freezes/0/from",
        ),
        (
            with(
                office(),
                "freezes",
                json!([{ "from": "2026-11-19T16:00:00Z", "to": until, "reason": " " }]),
            ),
            "/freezes/0/reason",
        ),
        (
            glass(json!({ "reason": "", "until": until })),
            "/breakGlass/reason",
        ),
        (glass(json!({ "until": until })), "/breakGlass"),
        (glass(json!({ "reason": "x" })), "/breakGlass"),
    ] {
        let found = PLUGIN.validate("gate", "window", &config.to_string());
        let first = found.first().map(|problem| problem.pointer.as_str());
        assert_eq!(first, Some(pointer), "{config}: {found:?}");
    }
    let many: Vec<_> = (0..51)
        .map(|_| json!({ "days": ["tue"], "from": "10:00", "to": "11:00" }))
        .collect();
    let found = PLUGIN.validate(
        "gate",
        "window",
        &with(office(), "windows", json!(many)).to_string(),
    );
    assert_eq!(found[0].message, "51 are more than 50");
    assert!(
        PLUGIN
            .validate("gate", "window", &office().to_string())
            .is_empty()
    );
}
