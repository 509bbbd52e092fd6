//! What `bindgen!` makes of `wit/`: one world that imports all that the engine provides and exports
//! all kinds, so that the kinds share their Rust types. Nothing is ever instantiated as this world:
//! a plugin exports only some kinds, which are looked up one by one.
#![allow(missing_docs, unreachable_pub, clippy::all)]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package phasegate:engine;

        world every-kind {
            import phasegate:host/log@0.1.0;
            import phasegate:host/http@0.1.0;
            import phasegate:host/kubernetes@0.1.0;
            import phasegate:host/runner@0.1.0;
            import phasegate:host/artifacts@0.1.0;
            export phasegate:meta/meta@0.1.0;
            export phasegate:strategy/strategy@0.1.0;
            export phasegate:gate/gate@0.1.0;
            export phasegate:migrator/migrator@0.1.0;
            export phasegate:router/router@0.1.0;
            export phasegate:action/action@0.1.0;
            export phasegate:notifier/notifier@0.1.0;
        }
    ",
    imports: { default: async | trappable },
    exports: { default: async },
});
