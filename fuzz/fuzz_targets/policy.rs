//! The policy file: any bytes are either a policy or faults.

#![no_main]

use libfuzzer_sys::fuzz_target;
use phasegate_core::spec::policy::load;

fuzz_target!(|bytes: &[u8]| {
    if let Err(faults) = load("policy.yaml", bytes) {
        assert!(!faults.is_empty(), "refused without a fault");
        let text = faults.to_string();
        assert!(
            !text.contains('\u{1b}'),
            "an escape sequence reaches the terminal"
        );
    }
});
