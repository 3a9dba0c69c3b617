//! Rules that are easily got wrong, one by one.

use super::{Engine, asynchronous, config, ngram};
use crate::config::{Policy, SchedulerConfig, Speculative, SpeculativeMethod};
use crate::scheduler::{AdmissionStop, AllocationCheck, Kind, SchedulerAssertion, TokenBound};
use crate::units::{Blocks, Requests, Tokens};

#[test]
fn the_full_sequence_must_fit_at_admission_unless_switched_off() {
    let chunked = SchedulerConfig {
        num_gpu_blocks: Blocks(5),
        max_num_batched_tokens: Tokens(8),
        max_num_scheduled_tokens: Tokens(8),
        ..config()
    };
    let mut engine = Engine::new(chunked.clone());
    engine.add("r0", 1, 17, 4);
    engine.add("r1", 2, 1, 1);
    assert_eq!(engine.step(), [0; 0]);
    let Some(AdmissionStop::Memory(refusal)) = engine.pass().admission_stop else { panic!() };
    assert_eq!((refusal.check, refusal.needed), (AllocationCheck::FullSequence, Blocks(5)));
    assert_eq!(engine.waiting(), ["r0", "r1"]);

    let mut engine = Engine::new(SchedulerConfig { scheduler_reserve_full_isl: false, ..chunked });
    engine.add("r0", 1, 17, 4);
    assert_eq!(engine.step(), [8]);
}

#[test]
fn a_preemption_closes_admission_and_the_victim_hits_its_own_blocks_again() {
    let tight = SchedulerConfig { num_gpu_blocks: Blocks(5), ..config() };
    let mut engine = Engine::new(tight);
    let old = engine.add("old", 1, 8, 8);
    let young = engine.add("young", 2, 7, 8);
    engine.step();
    engine.add("new", 3, 1, 1);
    // old needs a third block, young gives way; one block is left over, yet nobody is admitted.
    assert_eq!(engine.step(), [1]);
    assert_eq!(
        (engine.preempted(), engine.waiting()),
        (vec!["young".into()], vec!["young".into(), "new".into()])
    );
    assert_eq!(engine.pass().admission_stop, Some(AdmissionStop::Preempted));
    let preemption = engine.pass().preempted[0];
    assert_eq!((preemption.by, preemption.blocks), (old, Blocks(2)));
    assert_eq!(engine.core.scheduler().free_blocks(), Blocks(1));
    // Its first block is still cached, but with the rest it does not fit.
    engine.step();
    let Some(AdmissionStop::Memory(refusal)) = engine.pass().admission_stop else { panic!() };
    assert_eq!((refusal.needed, refusal.free), (Blocks(2), Blocks(1)));
    engine.core.abort(old);
    assert_eq!(engine.step(), [4, 1]);
    let entry = engine.pass().entries[0];
    assert_eq!((entry.slot, entry.kind, entry.hit), (young, Kind::Resumed, Tokens(4)));
    assert!(entry.prefill && entry.samples);
}

#[test]
fn equal_prompts_of_one_pass_share_blocks() {
    let mut engine = Engine::new(config());
    let first = engine.add("r0", 1, 9, 2);
    let second = engine.add("r1", 1, 9, 2);
    assert_eq!(engine.step(), [9, 1]);
    assert_eq!((engine.blocks(first), engine.blocks(second)), (vec![1, 2, 3], vec![1, 2, 4]));
    // A whole number of blocks: the last one is computed again.
    engine.add("r2", 1, 8, 2);
    assert_eq!(engine.step(), [1, 1, 4]);
}

#[test]
fn hits_in_the_free_queue_use_up_free_blocks() {
    let mut engine = Engine::new(SchedulerConfig { num_gpu_blocks: Blocks(4), ..config() });
    engine.add("r0", 1, 8, 1);
    engine.step();
    engine.add("other", 2, 1, 9);
    engine.step();
    // Two free blocks, one of them hit; the request needs three.
    engine.add("r1", 1, 9, 1);
    engine.step();
    let Some(AdmissionStop::Memory(refusal)) = engine.pass().admission_stop else { panic!() };
    assert_eq!((refusal.needed, refusal.free), (Blocks(3), Blocks(2)));
}

#[test]
fn the_watermark_counts_once_somebody_runs() {
    let guarded =
        SchedulerConfig { num_gpu_blocks: Blocks(5), watermark_blocks: Blocks(2), ..config() };
    let mut engine = Engine::new(guarded);
    engine.add("r0", 1, 5, 2);
    engine.add("r1", 2, 1, 2);
    assert_eq!(engine.step(), [5]);
    let Some(AdmissionStop::Memory(refusal)) = engine.pass().admission_stop else { panic!() };
    assert!(refusal.watermark_binds());
    assert_eq!(refusal.watermark, Blocks(2));
}

#[test]
fn the_threshold_spares_a_lone_request_and_grows_to_a_fair_share() {
    let capped = SchedulerConfig { long_prefill_token_threshold: Tokens(5), ..config() };
    let mut engine = Engine::new(capped.clone());
    engine.add("r0", 1, 20, 2);
    assert_eq!(engine.step(), [20]);
    engine.add("r1", 2, 20, 2);
    assert_eq!(engine.step(), [1, 5]);
    assert_eq!(engine.pass().entries[1].bound, TokenBound::PrefillThreshold);

    let adaptive = SchedulerConfig {
        long_prefill_token_threshold_adaptive: true,
        max_num_scheduled_tokens: Tokens(40),
        ..capped
    };
    let mut engine = Engine::new(adaptive);
    for id in ["r0", "r1", "r2", "r3"] {
        engine.add(id, id.len() as u64, 30, 1);
    }
    // A quarter of max_num_batched_tokens (64), not of max_num_scheduled_tokens.
    assert_eq!(engine.step()[0], 16);
}

#[test]
fn without_chunked_prefill_a_prompt_waits_for_a_budget_that_holds_it() {
    let whole = SchedulerConfig {
        enable_chunked_prefill: false,
        max_num_batched_tokens: Tokens(32),
        max_num_scheduled_tokens: Tokens(32),
        ..config()
    };
    let mut engine = Engine::new(whole);
    engine.add("r0", 1, 20, 2);
    engine.add("r1", 2, 20, 2);
    engine.add("r2", 3, 1, 2);
    assert_eq!(engine.step(), [20]);
    let stop = AdmissionStop::PromptNotChunked { needed: Tokens(20), room: Tokens(12) };
    assert_eq!(engine.pass().admission_stop, Some(stop));
}

#[test]
fn the_running_queue_is_limited_by_active_seqs() {
    let limit = Requests(1);
    let mut engine = Engine::new(SchedulerConfig { max_num_active_seqs: limit, ..config() });
    engine.add("r0", 1, 2, 2);
    engine.add("r1", 2, 2, 2);
    assert_eq!(engine.step(), [2]);
    assert_eq!(engine.pass().admission_stop, Some(AdmissionStop::MaxNumSeqs { limit }));
}

#[test]
fn urgency_orders_by_priority_then_arrival_then_id_as_text() {
    let mut engine = Engine::new(SchedulerConfig {
        policy: Policy::Priority,
        max_num_active_seqs: Requests(1),
        ..config()
    });
    for (id, priority, arrival) in [("r2", 1, 5), ("r10", 1, 5), ("late", 0, 9), ("early", 1, 4)] {
        engine.add_urgent(id, 1, 2, 4, priority, arrival);
    }
    assert_eq!(engine.waiting(), ["late", "early", "r10", "r2"]);
}

#[test]
fn the_least_urgent_gives_way_and_the_first_among_equals() {
    let mut engine = Engine::new(SchedulerConfig {
        policy: Policy::Priority,
        num_gpu_blocks: Blocks(5),
        ..config()
    });
    for (id, stream, priority) in [("a", 1, 0), ("b", 2, 1), ("c", 3, 1), ("d", 4, 0)] {
        engine.add_urgent(id, stream, 4, 9, priority, 0);
    }
    // Served by urgency, so the running queue is a d b c.
    engine.step();
    assert_eq!(engine.running(), ["a", "d", "b", "c"]);
    // a takes b's block, then d needs one and takes c's.
    assert_eq!(engine.step(), [1, 1]);
    assert_eq!(
        (engine.preempted(), engine.running()),
        (vec!["b".into(), "c".into()], vec!["a".into(), "d".into()])
    );
}

#[test]
fn a_victim_already_scheduled_leaves_the_batch_and_frees_its_budget() {
    let mut engine = Engine::new(SchedulerConfig {
        policy: Policy::Priority,
        num_gpu_blocks: Blocks(4),
        ..config()
    });
    let low = engine.add_urgent("low", 1, 1, 9, 5, 0);
    engine.step();
    engine.add_urgent("high", 2, 8, 9, 0, 0);
    engine.step();
    assert_eq!(engine.running(), ["low", "high"]);
    // low is scheduled first, then gives way to high.
    assert_eq!(engine.step(), [1]);
    let preemption = engine.pass().preempted[0];
    assert_eq!((preemption.slot, preemption.left_batch), (low, true));
    assert_eq!(engine.pass().budget.tokens, Tokens(63));
}

#[test]
fn outputs_in_flight_keep_a_victim_out_until_they_are_back() {
    let tight = SchedulerConfig {
        num_gpu_blocks: Blocks(4),
        scheduler_reserve_full_isl: false,
        ..asynchronous(3)
    };
    let mut engine = Engine::new(tight);
    let old = engine.add("old", 1, 7, 20);
    let young = engine.add("young", 2, 3, 20);
    engine.step();
    engine.step();
    engine.step();
    assert_eq!(engine.preempted(), ["young"]);
    engine.core.abort(old);
    engine.step();
    assert_eq!(engine.pass().set_aside, [young]);
    assert!(engine.update().entries.iter().any(|entry| entry.stale && entry.appended == Tokens(1)));
    while engine.core.scheduler().running().is_empty() {
        engine.step();
    }
    assert_eq!(engine.pass().entries[0].kind, Kind::Resumed);
}

#[test]
fn an_abort_in_flight_drops_the_output_and_keeps_the_slot_until_it_is_back() {
    let mut engine = Engine::new(asynchronous(2));
    let r = engine.add("r0", 1, 6, 9);
    engine.step();
    engine.core.abort(r).unwrap();
    assert!(engine.core.abort(r).is_none());
    assert_eq!(engine.core.scheduler().used_blocks(), Blocks(0));
    let other = engine.add("r1", 2, 6, 9);
    assert_ne!(r, other);
    engine.step();
    assert!(engine.update().entries[0].gone);
    // The pass that handed out its end has to come back as well.
    engine.step();
    engine.step();
    assert_eq!(engine.add("r2", 3, 6, 9), r);
}

#[test]
fn sequences_stop_at_the_model_length() {
    let mut engine = Engine::new(config());
    let r = engine.add("r0", 1, 28, 30);
    for _ in 0..3 {
        engine.step();
        assert!(engine.update().finished.is_empty());
    }
    engine.step();
    assert_eq!(engine.update().finished[0].slot, r);
    assert_eq!(engine.core.scheduler().request(r).total_tokens(), Tokens(32));
}

#[test]
fn a_sequence_larger_than_the_cache_waits_forever() {
    let mut engine = Engine::new(SchedulerConfig { num_gpu_blocks: Blocks(3), ..config() });
    engine.add("r0", 1, 8, 9);
    assert_eq!(engine.step(), [8]);
    assert_eq!(engine.step(), [0; 0]);
    assert_eq!(engine.preempted(), ["r0"]);
    for _ in 0..3 {
        assert_eq!(engine.step(), [0; 0]);
        assert!(engine.pass().preempted.is_empty());
    }
}

#[test]
fn a_padded_admission_cut_by_the_threshold_is_the_known_assertion() {
    let mut engine =
        Engine::new(SchedulerConfig { long_prefill_token_threshold: Tokens(4), ..ngram(5) });
    engine.add("r0", 1, 3, 20);
    engine.step();
    let slot = engine.add("r1", 2, 1, 20);
    let assertion = SchedulerAssertion::PaddingCut { slot, padded: Tokens(6), cut: Tokens(4) };
    assert_eq!(engine.try_step(), Err(assertion));
}

#[test]
fn a_draft_model_costs_a_slot_and_eagle_drops_the_last_hit() {
    let speculative = Speculative::new(SpeculativeMethod::DraftModel, Tokens(2));
    let mut engine = Engine::new(SchedulerConfig {
        speculative: Some(speculative),
        max_num_batched_tokens: Tokens(10),
        max_num_scheduled_tokens: Tokens(10),
        ..config()
    });
    engine.add("r0", 1, 20, 2);
    assert_eq!(engine.step(), [9]);

    let speculative = Speculative::new(SpeculativeMethod::Eagle, Tokens(2));
    let mut engine = Engine::new(SchedulerConfig { speculative: Some(speculative), ..config() });
    engine.add("r0", 1, 9, 2);
    engine.add("r1", 1, 9, 2);
    assert_eq!(engine.step(), [9, 5]);
    assert_eq!(engine.pass().entries[1].hit, Tokens(4));
}

#[test]
fn salts_separate_and_opting_out_still_feeds_the_cache() {
    let mut engine = Engine::new(config());
    let request = |id: &str, salt: Option<&str>, skip| crate::scheduler::NewRequest {
        id: id.into(),
        prompt: vec![crate::units::TokenRun { first: crate::units::TokenId(0), len: Tokens(9) }],
        max_tokens: Tokens(2),
        priority: crate::units::Priority(0),
        arrival_time: crate::units::Nanos(0),
        cache_salt: salt.map(str::to_owned),
        skip_reading_prefix_cache: skip,
    };
    for (id, salt, skip) in [
        ("feeds", None, true),
        ("reads", None, false),
        ("empty salt", Some(""), false),
        ("salted", Some("a"), false),
        ("skips", None, true),
    ] {
        engine.core.add_request(request(id, salt, skip));
    }
    assert_eq!(engine.step(), [9, 1, 1, 9, 9]);
}
