//! The scenario file: any bytes are either a scenario, whose cluster can be set up or refused, or faults.

#![no_main]

use libfuzzer_sys::fuzz_target;
use phasegate_rehearsal::scenario::load;

fuzz_target!(|bytes: &[u8]| {
    match load("scenario.yaml", bytes) {
        Ok(loaded) => {
            let _ = loaded.scenario.cluster(1);
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
