//! What `wit-bindgen` makes of the contracts: one world with everything that can be imported, and
//! one export-only world per kind. In a component the worlds merge, and imports that nobody calls
//! vanish. Nothing here is part of the SDK's promise; its names are used by [`export!`](crate::export).

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    reason = "generated code"
)]

pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package phasegate:sdk;
            world imports {
                import phasegate:types/common@0.1.0;
                import phasegate:host/log@0.1.0;
                import phasegate:host/kubernetes@0.1.0;
                import phasegate:host/http@0.1.0;
                import phasegate:host/runner@0.1.0;
                import phasegate:host/artifacts@0.1.0;
                import wasi:clocks/wall-clock@0.2.12;
                import wasi:clocks/monotonic-clock@0.2.12;
            }
        ",
        world: "phasegate:sdk/imports",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

macro_rules! exported {
    ($module:ident, $world:literal, $inline:literal, $macro:literal, $path:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $inline,
                world: $world,
                with: {
                    "phasegate:types/common@0.1.0": crate::bindings::imports::phasegate::types::common,
                },
                additional_derives: [PartialEq, Clone],
                export_macro_name: $macro,
                pub_export_macro: true,
                default_bindings_module: $path,
                generate_all,
            });
        }
    };
}

exported!(
    meta,
    "phasegate:sdk/meta",
    "package phasegate:sdk; world meta { export phasegate:meta/meta@0.1.0; }",
    "__export_meta",
    "$crate::bindings::meta"
);
exported!(
    strategy,
    "phasegate:sdk/strategy",
    "package phasegate:sdk; world strategy { export phasegate:strategy/strategy@0.1.0; }",
    "__export_strategy",
    "$crate::bindings::strategy"
);
exported!(
    gate,
    "phasegate:sdk/gate",
    "package phasegate:sdk; world gate { export phasegate:gate/gate@0.1.0; }",
    "__export_gate",
    "$crate::bindings::gate"
);
exported!(
    migrator,
    "phasegate:sdk/migrator",
    "package phasegate:sdk; world migrator { export phasegate:migrator/migrator@0.1.0; }",
    "__export_migrator",
    "$crate::bindings::migrator"
);
exported!(
    router,
    "phasegate:sdk/router",
    "package phasegate:sdk; world router { export phasegate:router/router@0.1.0; }",
    "__export_router",
    "$crate::bindings::router"
);
exported!(
    action,
    "phasegate:sdk/action",
    "package phasegate:sdk; world action { export phasegate:action/action@0.1.0; }",
    "__export_action",
    "$crate::bindings::action"
);
exported!(
    notifier,
    "phasegate:sdk/notifier",
    "package phasegate:sdk; world notifier { export phasegate:notifier/notifier@0.1.0; }",
    "__export_notifier",
    "$crate::bindings::notifier"
);
