//! stub
use crate::model::*;
pub struct Verifier;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct TokenError;
impl TokenError {
    pub fn close_reason(&self) -> CloseReason {
        CloseReason::TokenInvalid
    }
}
impl Verifier {
    pub fn verify(&self, _: &str, _: Wall) -> Result<Identity, TokenError> {
        Err(TokenError)
    }
}
