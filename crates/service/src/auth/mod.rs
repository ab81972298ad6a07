//! Who may do what: tokens with scopes, what each route needs, and the refusal of everything else.

mod describe;
mod guard;
mod line;
mod metrics;
mod refusal;
mod routes;
mod scope;
mod tokens;

pub(crate) use describe::schemes as describe_schemes;
pub use guard::{Granted, Guard};
pub use line::{Line, Problem};
pub use routes::{Access, Routes};
pub(crate) use routes::{Merged, behind};
pub use scope::{Scope, Scopes};
pub use tokens::{Tokens, append, generate};
