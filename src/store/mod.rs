//! stub
use crate::mailbox::*;
use crate::node::ports::*;
pub struct ShardEnds {
    pub to_log: Sender<ToLog>,
    pub from_log: Receiver<FromLog>,
    pub to_readers: Sender<LoadRequest>,
    pub from_readers: Receiver<LoadAnswer>,
}
