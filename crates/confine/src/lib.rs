//! Confines what services and commands of builds may read, write and signal, with what the kernel offers (Landlock).
//!
//! Between whoever starts a program and the program stands the *step*: this program itself, called with [`WORD`]. It
//! takes a [`Launch`] from its standard input, confines itself, and becomes the program (`exec`): the process id stays.
//! The step exists because code between `fork` and `exec` would have to be `unsafe`. Invariant: where the kernel can
//! confine, a program that was not confined is not started.

mod apply;
mod launch;
pub mod policy;
pub mod root;
mod step;

pub use self::apply::{Confinement, available};
pub use self::launch::{Handshake, Launch, NotStarted, User};
pub use self::policy::Policy;
pub use self::root::Root;
pub use self::step::main;

/// The first argument that makes a program the step; it has to call [`main`] then.
pub const WORD: &str = "confine";
