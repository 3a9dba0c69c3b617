//! Worked examples, step by step.

use super::{Engine, asynchronous, config, ngram};
use crate::scheduler::{FinishReason, Kind};
use crate::units::{Blocks, Tokens};

#[test]
fn synchronous_decode() {
    let mut engine = Engine::new(config());
    let r = engine.add("r0", 1, 6, 4);
    assert_eq!(engine.step(), [6]);
    assert_eq!(engine.blocks(r), [1, 2]);
    assert_eq!(engine.core.scheduler().cached_hashes(), 1);
    assert!(engine.pass().entries[0].prefill && engine.update().entries[0].first_token);
    assert_eq!(engine.step(), [1]);
    assert_eq!(engine.core.scheduler().cached_hashes(), 1);
    assert!(!engine.pass().entries[0].prefill && !engine.update().entries[0].first_token);
    assert_eq!(engine.step(), [1]);
    assert_eq!(engine.core.scheduler().cached_hashes(), 2);
    assert_eq!(engine.step(), [1]);
    let finished = engine.update().finished[0];
    assert_eq!((finished.reason, finished.blocks), (FinishReason::Length, Blocks(3)));
    assert_eq!(engine.free(), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 2, 1]);
    assert_eq!(engine.step(), [0; 0]);
    assert_eq!(engine.names(engine.pass().finished.clone()), ["r0"]);
    assert!(!engine.core.has_work());
    assert_eq!(engine.core.scheduler().passes(), 5);
}

#[test]
fn asynchronous_decode() {
    let mut engine = Engine::new(asynchronous(2));
    let r = engine.add("r0", 1, 6, 4);
    assert_eq!(engine.step(), [6]);
    assert_eq!(engine.core.scheduler().request(r).output_placeholders(), Tokens(1));
    assert!(engine.model.update.is_none());
    assert_eq!(engine.step(), [1]);
    assert!(engine.model.update.is_some());
    assert_eq!(engine.step(), [1]);
    assert_eq!(engine.step(), [1]);
    // The last token of block 2 was known only now.
    assert_eq!(engine.blocks(r), [1, 2, 3]);
    assert_eq!(engine.core.scheduler().cached_hashes(), 2);
    // Sure to end: not scheduled, but still in the running queue.
    assert_eq!(engine.step(), [0; 0]);
    assert_eq!(engine.update().finished[0].slot, r);
    assert_eq!(engine.step(), [0; 0]);
    assert_eq!(engine.core.scheduler().passes(), 6);
    assert_eq!(engine.core.in_flight().len(), 1);
    engine.step();
    assert!(engine.model.pass.is_none() && engine.model.update.is_some());
    assert!(!engine.core.has_work());
}

#[test]
fn draft_rejection_and_padding() {
    let mut engine = Engine::new(ngram(2));
    engine.model.proposed = Tokens(2);
    let r = engine.add("r0", 1, 6, 20);
    assert_eq!(engine.step(), [6]);
    engine.model.accepted = 1;
    assert_eq!(engine.step(), [3]);
    assert_eq!(engine.blocks(r), [1, 2, 3]);
    assert_eq!(engine.pass().entries[0].drafts, Tokens(2));
    let update = engine.update().entries[0];
    assert_eq!((update.appended, update.rejected), (Tokens(2), Tokens(1)));
    let request = engine.core.scheduler().request(r);
    assert_eq!((request.computed_tokens(), request.total_tokens()), (Tokens(8), Tokens(9)));

    // A one-token prompt is padded to a decode with drafts, none of which is accepted.
    engine.model.accepted = 0;
    let padded = engine.add("r1", 2, 1, 4);
    assert_eq!(engine.step(), [3, 3]);
    let entry = engine.pass().entries[1];
    assert_eq!((entry.kind, entry.drafts), (Kind::New, Tokens(2)));
    assert_eq!(engine.update().entries[1].rejected, Tokens(2));
    let request = engine.core.scheduler().request(padded);
    assert_eq!((request.computed_tokens(), request.total_tokens()), (Tokens(1), Tokens(2)));
}
