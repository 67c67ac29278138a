//! stub
use crate::model::*;
#[derive(Default)]
pub struct Decoder;
pub struct JsonRules {
    pub depth: usize,
    pub keys: usize,
    pub content_chars: usize,
    pub version: Version,
}
pub struct Rejected {
    pub refusal: Refusal,
    pub reference: Option<String>,
}
impl Decoder {
    pub fn decode<'a>(&mut self, _: &'a mut [u8], _: &JsonRules) -> Result<Request<'a>, Rejected> {
        todo!()
    }
}
pub fn event(_: &mut Vec<u8>, _: &Event, _: Option<&str>) {}
pub fn signal(_: &mut Vec<u8>, _: &Signal) {}
pub fn reply(_: &mut Vec<u8>, _: &Reply) {}
pub fn replayed_message(_: &mut Vec<u8>, _: &MessageState, _: &[UserId], _: bool) {}
