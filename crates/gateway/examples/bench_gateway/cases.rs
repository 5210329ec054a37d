//! What is measured.

mod counting;
mod grpc;
mod http1;
mod idle;
mod metrics;
mod swap;
mod tcp;
mod tls;
mod websocket;

use tokio::runtime::Runtime;

use crate::Outcome;
use crate::measure::Amount;

/// One thing that is measured.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How much, where nothing else is asked for.
    pub(crate) amount: Amount,
    pub(crate) run: fn(&Runtime, Amount) -> Outcome<()>,
}

/// All of them, in the order in which they are printed.
pub(crate) const CASES: [Case; 14] = [
    Case { name: "small", amount: Amount { rounds: 5, requests: 60_000 }, run: http1::small },
    Case { name: "16k", amount: Amount { rounds: 5, requests: 30_000 }, run: http1::medium },
    Case { name: "1m", amount: Amount { rounds: 5, requests: 1_000 }, run: http1::large },
    Case { name: "grpc", amount: Amount { rounds: 5, requests: 40_000 }, run: grpc::unary },
    Case { name: "websocket", amount: Amount { rounds: 5, requests: 60_000 }, run: websocket::echo },
    Case { name: "idle", amount: Amount { rounds: 1, requests: 9_000 }, run: idle::measure },
    Case { name: "tls", amount: Amount { rounds: 5, requests: 60_000 }, run: tls::kept },
    Case { name: "handshakes", amount: Amount { rounds: 5, requests: 2_000 }, run: tls::handshakes },
    Case { name: "tcp", amount: Amount { rounds: 5, requests: 60_000 }, run: tcp::small },
    Case { name: "tcp-1m", amount: Amount { rounds: 5, requests: 1_000 }, run: tcp::large },
    Case { name: "tcp-connections", amount: Amount { rounds: 5, requests: 8_000 }, run: tcp::connections },
    Case { name: "swap", amount: Amount { rounds: 5, requests: 60_000 }, run: swap::measure },
    Case { name: "metrics", amount: Amount { rounds: 50, requests: 60_000 }, run: metrics::measure },
    Case { name: "counting", amount: Amount { rounds: 7, requests: 60_000 }, run: counting::measure },
];
