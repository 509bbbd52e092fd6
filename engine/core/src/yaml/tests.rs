use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::diagnostic::Code;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code)]
struct File {
    name: String,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    count: u32,
    #[serde(default)]
    gates: BTreeMap<String, Gate>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code)]
struct Gate {
    interval: crate::time::Span,
    #[serde(default)]
    failure_limit: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
enum Step {
    Check(Vec<String>),
    Soak { interval: String },
}

fn fault(text: &str) -> Diagnostic {
    read("f.yaml", text.as_bytes()).unwrap_err()
}

fn faults(text: &str) -> String {
    parse::<File>("f.yaml", text.as_bytes())
        .unwrap_err()
        .to_string()
}

fn at(d: &Diagnostic) -> (Code, Option<u32>, Option<u32>) {
    (d.code(), d.place().unwrap().line, d.place().unwrap().column)
}

#[test]
fn values_and_positions_come_out_together() {
    let document = read("f.yaml", b"name: x\ngates:\n  a/b:\n    list: [1, two]\n").unwrap();
    assert_eq!(
        document.value(),
        &json!({"name": "x", "gates": {"a/b": {"list": [1, "two"]}}})
    );
    let place = document.place("/gates/a~1b/list/1");
    assert_eq!((place.line, place.column), (Some(4), Some(15)));
    assert_eq!(document.get("/gates/a~1b/list/1"), Some(&json!("two")));
    let key = document.key_place("/gates/a~1b/list");
    assert_eq!((key.line, key.column), (Some(4), Some(5)));
    // Where there is nothing, the nearest that is there.
    assert_eq!(document.place("/gates/a~1b/list/9/x").line, Some(4));
    assert_eq!(document.place("/nothing").line, Some(1));
}

#[test]
fn an_alias_is_found_where_it_is_used_and_its_parts_where_they_are_written() {
    let document = read("f.yaml", b"a: &x\n  k: 1\nb: *x\n").unwrap();
    assert_eq!(document.value(), &json!({"a": {"k": 1}, "b": {"k": 1}}));
    assert_eq!(document.place("/b").line, Some(3));
    assert_eq!(document.key_place("/b").line, Some(3));
    assert_eq!(document.place("/b/k").line, Some(2));
}

#[test]
fn every_unknown_field_is_named_with_its_line_and_what_was_meant() {
    insta::assert_snapshot!(faults("nam: x\nname: y\ngates:\n  errors:\n    interval: 30s\n    failurelimit: 2\n"), @r"
    error[PG0104]: the file has no field `nam`
      --> f.yaml:1:1
      expected: one of `name`, `critical`, `count`, `gates`, `steps`
         found: `nam`
          hint: did you mean `name`?

    error[PG0104]: `errors` has no field `failurelimit`
      --> f.yaml:6:5
      expected: one of `interval`, `failureLimit`
         found: `failurelimit`
          hint: did you mean `failureLimit`?
    ");
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    insta::assert_snapshot!(faults("name: x\ncritical: yes\n"), @r#"
    error[PG0105]: `critical` has the wrong type
      --> f.yaml:2:11
      expected: true or false
         found: the text "yes"
          hint: YAML 1.2 reads `yes` as text; write `true`
    "#);
    insta::assert_snapshot!(faults("name: 1.10\n"), @r"
    error[PG0105]: `name` has the wrong type
      --> f.yaml:1:7
      expected: a text
         found: the number `1.1`
          hint: put the value in quotes, so that it stays the text that is written
    ");
    insta::assert_snapshot!(faults("name: x\ncount: -1\n"), @r"
    error[PG0118]: `count` has a value that does not fit
      --> f.yaml:2:8
      expected: a whole number from 0 to 4294967295
         found: the number `-1`
          hint: Write a value that fits; the error says which do.
    ");
    insta::assert_snapshot!(faults("name: x\ngates:\n  - a\n"), @r"
    error[PG0105]: `gates` has the wrong type
      --> f.yaml:3:3
      expected: a mapping
         found: a list
          hint: Write the kind of value that is expected.
    ");
}

#[test]
fn missing_fields_and_bad_values_point_at_their_place() {
    insta::assert_snapshot!(faults("name: x\ngates:\n  a:\n    failureLimit: 1\n"), @r"
    error[PG0106]: `a` needs `interval`, which is not there
      --> f.yaml:3:3
      expected: a field `interval`
          hint: Add the field named in the message.
    ");
    insta::assert_snapshot!(faults("name: x\ngates: {a: {interval: 30}}\n"), @r"
    error[PG0105]: `interval` has the wrong type
      --> f.yaml:2:23
      expected: a text
         found: the number `30`
          hint: put the value in quotes, so that it stays the text that is written
    ");
    insta::assert_snapshot!(faults("name: x\ngates: {a: {interval: soon}}\n"), @r"
    error[PG0118]: `interval`: `soon` is not a duration; write a number and a unit, for example 90s, 5m, 1h30m or 250ms
      --> f.yaml:2:23
         found: `soon`
          hint: Write a value that fits; the error says which do.
    ");
    insta::assert_snapshot!(faults("name: x\nsteps:\n  - chek: [a]\n"), @r"
    error[PG0118]: `steps[0]` can't be `chek`
      --> f.yaml:3:5
      expected: one of `check`, `soak`
         found: `chek`
          hint: did you mean `check`?
    ");
    insta::assert_snapshot!(faults("name: x\nsteps:\n  - {check: [a], soak: {interval: x}}\n"), @r"
    error[PG0128]: `steps[0]` takes exactly one kind
      --> f.yaml:3:5
      expected: a mapping with a single key
         found: `check`, `soak`
          hint: Keep the one that is meant.
    ");
}

#[test]
fn what_could_mean_two_things_is_refused() {
    let cases = [
        ("a: 1\nb: 2\na: 3\n", codes::DUPLICATE_KEY, 3),
        ("a: {b: 1, 'b': 2}\n", codes::DUPLICATE_KEY, 1),
        ("8080: http\n", codes::KEY_NOT_STRING, 1),
        ("a: 1\n~: http\n", codes::KEY_NOT_STRING, 2),
        ("? [a, b]\n: x\n", codes::KEY_NOT_STRING, 1),
        ("true: x\n", codes::KEY_NOT_STRING, 1),
        ("a: &d {x: 1}\nb:\n  <<: *d\n", codes::MERGE_KEY, 3),
        ("a: 1\n---\nb: 2\n", codes::SEVERAL_DOCUMENTS, 2),
        ("a: !Ref b\n", codes::YAML_TAG, 1),
        ("a: !!python/object x\n", codes::YAML_TAG, 1),
        ("a: !!int x\n", codes::INVALID_VALUE, 1),
        ("a: .inf\n", codes::INVALID_VALUE, 1),
        ("a: [1, 2\n", codes::YAML_SYNTAX, 2),
        ("a: *nowhere\n", codes::YAML_SYNTAX, 1),
    ];
    for (text, code, line) in cases {
        let fault = fault(text);
        assert_eq!(
            (fault.code(), fault.place().unwrap().line),
            (code, Some(line)),
            "{text:?}: {fault}"
        );
    }
    assert!(
        fault("a: 1\nb: 2\na: 3\n")
            .found_text()
            .unwrap()
            .contains("line 1 and again on line 3")
    );
}

#[test]
fn names_that_yaml_1_1_took_for_booleans_are_names() {
    let document = read("f.yaml", b"on: [yes]\nn: !!str 12\n'12': x\n").unwrap();
    assert_eq!(
        document.value(),
        &json!({"on": ["yes"], "n": "12", "12": "x"})
    );
}

#[test]
fn tabs_and_missing_content_are_explained() {
    let tab = fault("a:\n\tb: 1\n");
    assert_eq!(tab.code(), codes::YAML_SYNTAX, "{tab}");
    assert_eq!(
        (tab.place().unwrap().line, tab.hint_text()),
        (Some(2), Some("indent with spaces only")),
        "{tab}"
    );
    for empty in ["", "# only a comment\n", "---\n", "\n\n", "~\n"] {
        assert_eq!(fault(empty).code(), codes::EMPTY_DOCUMENT, "{empty:?}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_found() {
    let fault = read("f.yaml", b"a: 1\nb: \xe4\n").unwrap_err();
    assert_eq!(at(&fault), (codes::NOT_UTF8, Some(2), Some(4)));
    assert_eq!(fault.found_text(), Some("byte 0xe4 at offset 8"));
    assert!(
        read("f.yaml", b"\xff\xfea\0")
            .unwrap_err()
            .hint_text()
            .unwrap()
            .contains("UTF-16")
    );
    assert!(
        read("f.yaml", b"\xef\xbb\xbfa: 1\n").is_ok(),
        "a byte order mark does no harm"
    );
}

#[test]
fn a_hundred_megabytes_are_refused_unread() {
    let bytes = vec![b'['; 100 * 1024 * 1024];
    let fault = read("f.yaml", &bytes).unwrap_err();
    assert_eq!(fault.code(), codes::FILE_TOO_BIG);
    assert_eq!(fault.found_text(), Some("104857600 bytes"));
}

#[test]
fn deep_nesting_is_refused_in_every_form() {
    let mut block = String::new();
    for depth in 0..500 {
        writeln!(block, "{}a:", " ".repeat(depth)).unwrap();
    }
    let mut through_aliases = "a0: &a0 [x]\n".to_owned();
    for n in 1..200 {
        writeln!(through_aliases, "a{n}: &a{n} [*a{}]", n - 1).unwrap();
    }
    let dashes = "- ".repeat(5000);
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(50_000),
        block,
        dashes,
        through_aliases,
    ] {
        assert_eq!(
            fault(&text).code(),
            codes::TOO_DEEP,
            "{}",
            text.get(..20).unwrap()
        );
    }
    let fits = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(read("f.yaml", fits.as_bytes()).is_ok());
}

#[test]
fn exploding_anchors_are_refused() {
    let mut laughs = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h", "i"]
        .iter()
        .zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        let refs = vec![format!("*{of}"); 9].join(", ");
        writeln!(laughs, "{name}: &{name} [{refs}]").unwrap();
    }
    // Few values but much text, and anchors within anchors that would all be kept.
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(500_000),
        vec!["*a"; 1000].join(", ")
    );
    let mut nested = String::new();
    for n in 0..60 {
        write!(nested, "&n{n} [").unwrap();
    }
    nested.push_str(&"1,".repeat(40_000));
    nested.push_str(&"]".repeat(60));
    for text in [laughs, long, nested, "a: &a [*a]\n".to_owned()] {
        assert_eq!(
            fault(&text).code(),
            codes::ALIAS_EXPLOSION,
            "{}",
            text.get(..20).unwrap_or(&text)
        );
    }
}

#[test]
fn too_many_values_are_refused() {
    let text = format!("[{}]", "1,".repeat(MAX_NODES + 1));
    assert_eq!(fault(&text).code(), codes::TOO_MANY_NODES);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse::<File>("f.yaml", &bytes);
    }

    #[test]
    fn no_text_of_yaml_marks_makes_the_parser_panic(text in r"([-?:,\[\]{}#&*!|>'%@` \t\n~<a-c0-9.\\]|\x22|---|\.\.\.|\r\n|é){0,120}") {
        let _ = parse::<File>("f.yaml", text.as_bytes());
    }

    #[test]
    fn json_is_read_as_the_same_value(values in proptest::collection::btree_map("[a-z~/]{1,6}", proptest::collection::vec("\\PC{0,8}", 0..4), 1..5)) {
        let value = json!(values);
        let document = read("f.json", value.to_string().as_bytes()).unwrap();
        prop_assert_eq!(document.value(), &value);
    }
}
