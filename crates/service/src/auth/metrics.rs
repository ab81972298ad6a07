//! What is counted of tokens. No label holds anything that a client chose.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::refusal::Refusal;
use crate::Error;

#[derive(Debug)]
pub struct Metrics {
    pub refusals: IntCounterVec,
    pub tokens: IntGauge,
    pub broken: IntGauge,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let refusals = IntCounterVec::new(
            Opts::new(
                "emberlog_auth_refusals_total",
                "Requests refused for want of a token that allows them, by reason",
            ),
            &["reason"],
        )?;
        for reason in Refusal::REASONS {
            refusals.with_label_values(&[reason]);
        }
        let tokens = IntGauge::new("emberlog_auth_tokens", "Tokens in force; 0 without a tokens file")?;
        let broken = IntGauge::new(
            "emberlog_auth_file_broken",
            "1 while the tokens file cannot be used, and those read before stay in force",
        )?;
        registry.register(Box::new(refusals.clone()))?;
        registry.register(Box::new(tokens.clone()))?;
        registry.register(Box::new(broken.clone()))?;
        Ok(Self { refusals, tokens, broken })
    }
}
