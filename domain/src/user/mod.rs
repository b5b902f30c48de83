//! People who sign in to the console. Passwords and second factors are no facts of the log: they lie in the key ring, and
//! the log says when they changed.

mod aggregate;
mod event;

pub use aggregate::{InviteUser, Role, User, UserChange, UserCommand, UserError};
pub use event::UserEvent;
