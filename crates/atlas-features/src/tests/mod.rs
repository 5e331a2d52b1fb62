//! Features on a real store, with a bag of words as the engine and a scripted model.

mod alerts;
mod ask;
mod demo;
mod logs;
mod rca;
mod records;

use atlas_domain::{RecordId, Timestamp};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + minute * 60).expect("in range")
}

fn id(id: &str) -> RecordId {
    RecordId::new(id).expect("an id")
}
