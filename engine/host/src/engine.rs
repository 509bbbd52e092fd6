//! The one wasmtime engine and its settings. All of them go into the key of the compiled cache.

use wasmtime::{Config, Engine, Strategy};

/// The engine that every plugin of this host is compiled for.
///
/// The same input gives the same result on every machine (canonical NaNs, deterministic relaxed
/// SIMD); epochs interrupt; proposals that no supported language needs are off.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        // Addresses in stripped code tell an operator nothing.
        .wasm_backtrace_max_frames(None)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_features(wasmtime::WasmFeatures::GC, false)
        .wasm_features(wasmtime::WasmFeatures::EXCEPTIONS, false);
    Engine::new(&config)
}
