//! The release file: any bytes are either a release or faults that point into the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use phasegate_core::spec::release::{Overrides, load};

fuzz_target!(|bytes: &[u8]| {
    let builtin = [
        "blue-green",
        "canary",
        "gateway-api",
        "http",
        "istio",
        "nginx",
        "prometheus",
        "recreate",
        "rolling",
        "service-selector",
        "slack",
        "webhook",
        "window",
        "workload",
    ];
    match load("release.yaml", bytes, &Overrides::default(), &builtin) {
        Ok(loaded) => {
            assert!(!loaded.version.is_empty());
            assert!(!loaded.namespace.is_empty());
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            let text = faults.to_string();
            assert!(
                !text.contains('\u{1b}'),
                "an escape sequence reaches the terminal"
            );
        }
    }
});
