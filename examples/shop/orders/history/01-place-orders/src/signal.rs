//! Notices SIGTERM and SIGINT. The standard library has nothing for it, so this asks the C library it links anyway.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

#[expect(unsafe_code, reason = "the standard library cannot watch signals")]
mod c {
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    }

    pub fn on(number: i32, handler: extern "C" fn(i32)) {
        // SAFETY: the declaration is that of C's `signal`, and the handler does nothing but store to an atomic.
        unsafe { signal(number, handler) };
    }
}

extern "C" fn ask_to_stop(_number: i32) {
    ASKED_TO_STOP.store(true, Ordering::SeqCst);
}

/// Begins to notice the signals that ask the process to end.
pub fn watch() {
    c::on(SIGTERM, ask_to_stop);
    c::on(SIGINT, ask_to_stop);
}

/// Tells whether such a signal came.
pub fn asked_to_stop() -> bool {
    ASKED_TO_STOP.load(Ordering::SeqCst)
}
