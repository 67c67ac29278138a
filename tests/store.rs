//! The store on real files: what was told durable is there after every kind of end.

#[path = "store/backing_up.rs"]
mod backing_up;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/deletion.rs"]
mod deletion;
#[allow(dead_code)]
#[path = "core/dice.rs"]
mod dice;
#[path = "store/endings.rs"]
mod endings;
#[path = "store/erasing.rs"]
mod erasing;
#[path = "store/folding.rs"]
mod folding;
#[path = "store/imports_under_way.rs"]
mod imports_under_way;
#[path = "store/past.rs"]
mod past;
#[allow(dead_code)]
#[path = "power/plan.rs"]
mod plan;
#[path = "store/rebuilding.rs"]
mod rebuilding;
#[path = "store/retention.rs"]
mod retention;
#[path = "store/rig.rs"]
mod rig;
#[path = "store/transfers.rs"]
mod transfers;
#[path = "store/user_erasing.rs"]
mod user_erasing;
