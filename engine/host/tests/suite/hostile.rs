//! Plugins that mean harm, or are just wrong. Each ends in its own failure, and the next call works.

use phasegate_core::failure::{Failure, Kind};
use phasegate_core::time::Span;
use phasegate_host::{HostConfig, Limits};
use phasegate_runtime::plugin_ports::Grants;
use phasegate_runtime::ports::Plugins;
use serde_json::json;

use crate::guest::{Guest, LOG, encode};
use crate::support::{World, call, component, situation, using};

/// Limits under which a test need not wait.
fn tight() -> Limits {
    Limits {
        compute: Span::from_millis(50),
        memory_bytes: 4 << 20,
        passed_bytes: 64 << 10,
        ..Limits::default()
    }
}

async fn plan(guest: Guest<'_>) -> Result<usize, Failure> {
    let world = World::new();
    let plugins = world.load(
        component("guest", "path:guest.wasm", guest.build()),
        tight(),
    );
    let strategy = using("guest", json!({}));
    let steps = plugins.plan(&strategy, &call(), &situation()).await;
    steps.map(|steps| steps.len())
}

async fn load(bytes: Vec<u8>) -> Failure {
    let plugins = World::new().load(component("guest", "path:guest.wasm", bytes), tight());
    plugins.describe("guest").await.unwrap_err()
}

fn assert_failure(failure: &Failure, kind: Kind, code: &str, says: &str) {
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert_eq!(failure.code.to_string(), code, "{failure:?}");
    assert!(failure.message.contains(says), "{failure:?}");
    assert!(
        failure.message.contains("`guest`"),
        "names the plugin: {failure:?}"
    );
    assert!(failure.message.len() < 10_000, "bounded");
}

#[tokio::test]
async fn a_small_honest_guest_works() {
    assert_eq!(plan(Guest::default()).await, Ok(0));
}

#[tokio::test]
async fn an_endless_loop_is_stopped() {
    let guest = Guest {
        plan: "(loop $again br $again) unreachable",
        ..Guest::default()
    };
    assert_failure(
        &plan(guest).await.unwrap_err(),
        Kind::Timeout,
        "PG0304",
        "computed for more",
    );
}

#[tokio::test]
async fn an_endless_loop_leaves_the_executor_to_others() {
    let world = World::new();
    let guest = Guest {
        plan: "(loop $again br $again) unreachable",
        ..Guest::default()
    };
    let config = HostConfig {
        limits: tight(),
        yields: true,
        ..HostConfig::default()
    };
    let plugins = world.waiting().host(config).load(
        vec![component("guest", "path:guest.wasm", guest.build())],
        Grants::default(),
    );
    plugins.describe("guest").await.unwrap();
    let others = tokio::spawn(async {
        tokio::task::yield_now().await;
        "had their turn"
    });
    let (strategy, call, situation) = (using("guest", json!({})), call(), situation());
    let failure = plugins
        .plan(&strategy, &call, &situation)
        .await
        .unwrap_err();
    assert_failure(&failure, Kind::Timeout, "PG0304", "computed for more");
    assert!(others.is_finished(), "the only thread was never given away");
}

#[tokio::test]
async fn an_endless_loop_in_describe_is_stopped() {
    let guest = Guest {
        describe: Some("(loop $again br $again) unreachable"),
        ..Guest::default()
    };
    assert_failure(
        &load(guest.build()).await,
        Kind::Timeout,
        "PG0304",
        "computed for more",
    );
}

#[tokio::test]
async fn a_loop_at_start_is_stopped() {
    let guest = Guest {
        fields: "(func $spin (loop $again br $again)) (start $spin)",
        ..Guest::default()
    };
    assert_failure(
        &load(guest.build()).await,
        Kind::Timeout,
        "PG0304",
        "computed for more",
    );
}

#[tokio::test]
async fn a_plugin_that_eats_memory_is_stopped() {
    let guest = Guest {
        plan: "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ..Guest::default()
    };
    let failure = plan(guest).await.unwrap_err();
    assert_failure(
        &failure,
        Kind::OutOfMemory,
        "PG0305",
        "than the 4194304 it may have",
    );
}

#[tokio::test]
async fn memory_that_is_refused_and_not_needed_is_no_failure() {
    let guest = Guest {
        plan: "(drop (memory.grow (i32.const 1000))) i32.const 1024",
        ..Guest::default()
    };
    assert_eq!(plan(guest).await, Ok(0));
}

#[tokio::test]
async fn a_memory_too_large_from_the_start_is_refused() {
    let guest = Guest {
        fields: "(memory 1000)",
        ..Guest::default()
    };
    // The second memory needs the multi-memory proposal; it counts together with the first.
    let failure = load(guest.build()).await;
    assert_failure(&failure, Kind::OutOfMemory, "PG0305", "it may have");
}

#[tokio::test]
async fn a_table_too_large_is_refused() {
    let guest = Guest {
        fields: "(table 200000 funcref)",
        ..Guest::default()
    };
    let failure = load(guest.build()).await;
    assert_failure(
        &failure,
        Kind::OutOfMemory,
        "PG0305",
        "a table of 200000 elements",
    );
}

#[tokio::test]
async fn a_trap_is_a_failure_and_the_next_call_starts_anew() {
    let world = World::new();
    let guest = Guest {
        // Traps where the state of an earlier call is left.
        plan: "(if (i32.load (i32.const 2048)) (then unreachable))
               (i32.store (i32.const 2048) (i32.const 1))
               i32.const 1024",
        ..Guest::default()
    };
    let plugins = world.load(
        component("guest", "path:guest.wasm", guest.build()),
        tight(),
    );
    for _ in 0..3 {
        let strategy = using("guest", json!({}));
        assert_eq!(
            plugins.plan(&strategy, &call(), &situation()).await,
            Ok(vec![])
        );
    }
    let guest = Guest {
        plan: "unreachable",
        ..Guest::default()
    };
    assert_failure(
        &plan(guest).await.unwrap_err(),
        Kind::Trap,
        "PG0303",
        "unreachable",
    );
}

#[tokio::test]
async fn a_trap_tells_what_the_plugin_said_before() {
    let world = World::new();
    let guest = Guest {
        fields: &format!(r#"{LOG} (data (i32.const 9000) "index 7 of 3")"#),
        plan:
            "(call $log (i32.const 3) (i32.const 9000) (i32.const 12) (i32.const 0) (i32.const 0))
               unreachable",
        ..Guest::default()
    };
    let plugins = world.load(
        component("guest", "path:guest.wasm", guest.build()),
        tight(),
    );
    let (strategy, call, situation) = (using("guest", json!({})), call(), situation());
    let failure = plugins
        .plan(&strategy, &call, &situation)
        .await
        .unwrap_err();
    assert_failure(&failure, Kind::Trap, "PG0303", "index 7 of 3");
}

#[tokio::test]
async fn endless_recursion_is_a_trap() {
    let guest = Guest {
        fields: "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
        plan: "(call $deep (i32.const 0))",
        ..Guest::default()
    };
    let failure = plan(guest).await.unwrap_err();
    assert_failure(&failure, Kind::Trap, "PG0303", "call stack exhausted");
}

#[tokio::test]
async fn a_giant_result_is_not_copied() {
    // ok(list of 2^24 steps at 0): far beyond the memory, and beyond what may be passed.
    let guest = Guest {
        plan: "(i32.store (i32.const 1032) (i32.const 16777216)) i32.const 1024",
        ..Guest::default()
    };
    let failure = plan(guest).await.unwrap_err();
    assert!(
        matches!(failure.kind, Kind::Trap | Kind::Permanent),
        "{failure:?}"
    );
    // A text of 100,000 bytes that is there, within permanent(text).
    let guest = Guest {
        plan: "(i32.store8 (i32.const 1024) (i32.const 1))
               (i32.store8 (i32.const 1028) (i32.const 2))
               (i32.store (i32.const 1032) (i32.const 8192))
               (i32.store (i32.const 1036) (i32.const 100000))
               i32.const 1024",
        ..Guest::default()
    };
    let failure = plan(guest).await.unwrap_err();
    assert_failure(
        &failure,
        Kind::Permanent,
        "PG0308",
        "more than 65536 bytes at once",
    );
}

#[tokio::test]
async fn a_long_message_is_cut() {
    let guest = Guest {
        plan: "(i32.store8 (i32.const 1024) (i32.const 1))
               (i32.store8 (i32.const 1028) (i32.const 2))
               (i32.store (i32.const 1032) (i32.const 8192))
               (i32.store (i32.const 1036) (i32.const 50000))
               i32.const 1024",
        ..Guest::default()
    };
    assert_failure(
        &plan(guest).await.unwrap_err(),
        Kind::Permanent,
        "PG0308",
        "plugin",
    );
}

#[tokio::test]
async fn a_text_that_is_not_utf8_is_a_trap() {
    let guest = Guest {
        fields: r#"(data (i32.const 9000) "\ff\fe")"#,
        plan: "(i32.store8 (i32.const 1024) (i32.const 1))
               (i32.store8 (i32.const 1028) (i32.const 2))
               (i32.store (i32.const 1032) (i32.const 9000))
               (i32.store (i32.const 1036) (i32.const 2))
               i32.const 1024",
        ..Guest::default()
    };
    assert_failure(
        &plan(guest).await.unwrap_err(),
        Kind::Trap,
        "PG0303",
        "utf-8",
    );
}

#[tokio::test]
async fn pending_says_when_to_ask_again() {
    let guest = Guest {
        plan: "(i32.store8 (i32.const 1024) (i32.const 1))
               (i32.store (i32.const 1032) (i32.const 1500))
               i32.const 1024",
        ..Guest::default()
    };
    let failure = plan(guest).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Pending);
    assert_eq!(failure.after, Some(Span::from_millis(1500)));
}

#[tokio::test]
async fn a_flood_of_log_lines_is_dammed() {
    let world = World::new();
    let guest = Guest {
        fields: LOG,
        plan: "(local $n i32)
               (loop $again
                 (call $log (i32.const 1) (i32.const 8192) (i32.const 50000) (i32.const 0) (i32.const 0))
                 (local.set $n (i32.add (local.get $n) (i32.const 1)))
                 (br_if $again (i32.lt_u (local.get $n) (i32.const 500))))
               i32.const 1024",
        ..Guest::default()
    };
    let limits = Limits {
        log_lines: 10,
        ..Limits::default()
    };
    let plugins = world.load(component("guest", "path:guest.wasm", guest.build()), limits);
    let strategy = using("guest", json!({}));
    plugins
        .plan(&strategy, &call(), &situation())
        .await
        .unwrap();
    let lines = world.lines.lock().unwrap();
    assert_eq!(lines.len(), 11);
    assert!(lines[0].message.len() < 5000 && lines[0].key == call().key);
    assert!(lines[10].message.contains("left out"), "{:?}", lines[10]);
}

#[tokio::test]
async fn what_is_no_component_is_told_apart() {
    let module = wat::parse_str("(module)").unwrap();
    let failure = load(module).await;
    assert_failure(&failure, Kind::Incompatible, "PG0301", "core module");
    let failure = load(b"GIF89a and then some".to_vec()).await;
    assert_failure(
        &failure,
        Kind::Incompatible,
        "PG0301",
        "not a WebAssembly component",
    );
    assert_failure(
        &load(Vec::new()).await,
        Kind::Incompatible,
        "PG0301",
        "empty",
    );
}

#[tokio::test]
async fn a_damaged_component_is_refused_wherever_it_is_cut() {
    let whole = Guest::default().build();
    for cut in (0..whole.len()).step_by(whole.len() / 40) {
        let failure = load(whole[..cut].to_vec()).await;
        assert_eq!(
            failure.kind,
            Kind::Incompatible,
            "cut at {cut}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn another_interface_is_named() {
    let empty = encode("(module)", "package test:empty; world empty {}");
    let failure = load(empty).await;
    assert_failure(
        &failure,
        Kind::Incompatible,
        "PG0302",
        "phasegate:meta/meta@0.1.0",
    );

    let other = wat::parse_str(r#"(component (import "acme:teleport/teleport@3.0.0" (instance)))"#)
        .unwrap();
    let failure = load(other).await;
    assert_failure(
        &failure,
        Kind::Incompatible,
        "PG0302",
        "acme:teleport/teleport@3.0.0",
    );

    let newer = wat::parse_str(
        r#"(component (instance $i) (export "phasegate:meta/meta@0.1.0" (instance $i))
                      (export "phasegate:gate/gate@0.2.0" (instance $i)))"#,
    )
    .unwrap();
    let failure = load(newer).await;
    assert_failure(
        &failure,
        Kind::Incompatible,
        "PG0302",
        "exports phasegate:gate/gate@0.2.0",
    );
    assert!(
        failure.message.contains("speaks phasegate:gate/gate@0.1.0"),
        "{failure:?}"
    );

    let hollow = wat::parse_str(
        r#"(component (instance $i) (export "phasegate:meta/meta@0.1.0" (instance $i))
                      (export "phasegate:gate/gate@0.1.0" (instance $i)))"#,
    )
    .unwrap();
    assert_eq!(load(hollow).await.code.to_string(), "PG0302");
}

#[tokio::test]
async fn a_description_that_does_not_hold_is_refused() {
    let gate = Guest {
        kind: "gate",
        ..Guest::default()
    };
    let failure = load(gate.build()).await;
    assert_failure(
        &failure,
        Kind::Permanent,
        "PG0308",
        "does not export phasegate:gate/gate",
    );
    for (schema, says) in [
        ("{", "not JSON"),
        (r##"{"$ref": "#"}"##, "without end"),
        (r#"{"$ref": "https://example.com/s.json"}"#, "config schema"),
    ] {
        let guest = Guest {
            schema: schema.into(),
            ..Guest::default()
        };
        let failure = load(guest.build()).await;
        assert_failure(&failure, Kind::Permanent, "PG0308", says);
    }
}

#[tokio::test]
async fn an_offer_that_is_not_there_is_answered_with_those_that_are() {
    let plugins = World::new().load(
        component("guest", "path:guest.wasm", Guest::default().build()),
        tight(),
    );
    let failure = plugins
        .validate("gate", &using("guest", json!({})))
        .await
        .unwrap_err();
    assert_eq!(failure.code.to_string(), "PG0311");
    assert!(
        failure.message.contains("it offers strategy `guest`"),
        "{failure:?}"
    );
    let failure = plugins.describe("nobody").await.unwrap_err();
    assert_eq!(failure.code.to_string(), "PG0309");
}
