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

/// `wasi:http` for those plugins that speak it. Streams and pollables are those of `wasmtime-wasi`.
pub(crate) mod wasi_http {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package phasegate:engine;

            world wasi-http {
                import wasi:http/types@0.2.12;
                import wasi:http/outgoing-handler@0.2.12;
            }
        ",
        imports: { default: trappable },
        require_store_data_send: true,
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:http/types.fields": crate::capability::wasi_http::Fields,
            "wasi:http/types.future-incoming-response": crate::capability::wasi_http::FutureResponse,
            "wasi:http/types.future-trailers": crate::capability::wasi_http::FutureTrailers,
            "wasi:http/types.incoming-body": crate::capability::wasi_http::IncomingBody,
            "wasi:http/types.incoming-request": crate::capability::wasi_http::IncomingRequest,
            "wasi:http/types.incoming-response": crate::capability::wasi_http::IncomingResponse,
            "wasi:http/types.outgoing-body": crate::capability::wasi_http::OutgoingBody,
            "wasi:http/types.outgoing-request": crate::capability::wasi_http::OutgoingRequest,
            "wasi:http/types.outgoing-response": crate::capability::wasi_http::OutgoingResponse,
            "wasi:http/types.request-options": crate::capability::wasi_http::RequestOptions,
            "wasi:http/types.response-outparam": crate::capability::wasi_http::ResponseOutparam,
        },
    });
}
