mod payload;
mod random;
mod run;
mod stage;
mod template;
mod templates;
#[cfg(test)]
mod tests;
mod workload;

pub use payload::{Message, Payload};
pub use run::Run;
pub use workload::{Payloads, Workload};
