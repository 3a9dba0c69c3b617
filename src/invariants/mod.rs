//! The rules: one file each, in folders by family, and their sorted registry.
//!
//! A file holds the rule's page (its doc comment), its declaration and its check. Adding a rule is
//! adding a file, naming it in its family and in [`ALL`]; nothing else knows of single rules.

mod prelude;

pub mod between_files;
pub mod conformance;
pub mod form;
pub mod kv_cache;
pub mod liveness;
pub mod queues;
pub mod state;
pub mod time;
pub mod tokens;

use crate::check::Declaration;

/// Every rule, family by family.
pub static ALL: &[&Declaration] = &[
    &form::f001::F001,
    &form::f002::F002,
    &form::f003::F003,
    &form::f004::F004,
    &form::f005::F005,
    &form::f006::F006,
    &form::f007::F007,
    &form::f008::F008,
    &form::f009::F009,
    &form::f010::F010,
    &state::s001::S001,
    &state::s002::S002,
    &state::s003::S003,
    &state::s004::S004,
    &state::s005::S005,
    &state::s006::S006,
    &state::s007::S007,
    &state::s008::S008,
    &time::m001::M001,
    &time::m002::M002,
    &time::m003::M003,
    &time::m004::M004,
    &time::m005::M005,
    &time::m006::M006,
    &time::m007::M007,
    &time::m008::M008,
    &time::m009::M009,
    &time::m010::M010,
    &time::m011::M011,
    &time::m012::M012,
    &time::m013::M013,
    &time::m014::M014,
    &time::m015::M015,
    &time::m016::M016,
    &time::m017::M017,
    &time::m018::M018,
    &time::m019::M019,
    &time::m020::M020,
    &time::m021::M021,
    &time::t001::T001,
    &tokens::k001::K001,
    &tokens::k002::K002,
    &tokens::k003::K003,
    &tokens::k004::K004,
    &tokens::k005::K005,
    &tokens::k006::K006,
    &tokens::k007::K007,
    &tokens::k008::K008,
    &tokens::k009::K009,
    &tokens::k010::K010,
    &tokens::k011::K011,
    &tokens::k012::K012,
    &queues::q001::Q001,
    &queues::q002::Q002,
    &queues::q003::Q003,
    &queues::q004::Q004,
    &queues::q005::Q005,
    &queues::q006::Q006,
    &queues::q007::Q007,
    &queues::q008::Q008,
    &queues::q009::Q009,
    &queues::q010::Q010,
    &queues::q011::Q011,
    &kv_cache::c001::C001,
    &kv_cache::c002::C002,
    &kv_cache::c003::C003,
    &kv_cache::c004::C004,
    &kv_cache::c005::C005,
    &kv_cache::c006::C006,
    &kv_cache::c007::C007,
    &kv_cache::c008::C008,
    &kv_cache::c009::C009,
    &kv_cache::c010::C010,
    &kv_cache::c011::C011,
    &liveness::l001::L001,
    &liveness::l002::L002,
    &liveness::l003::L003,
    &between_files::x001::X001,
    &between_files::x002::X002,
    &between_files::x003::X003,
    &between_files::x004::X004,
    &between_files::x005::X005,
    &between_files::x006::X006,
    &between_files::x007::X007,
    &between_files::x008::X008,
    &between_files::x009::X009,
];

/// Rules that the streaming pass does not judge; whoever judges one adds its part to the report.
pub static JOINED: &[&Declaration] = &[&conformance::V001];

/// Every rule, judged by the pass or not.
pub fn every() -> impl Iterator<Item = &'static Declaration> {
    ALL.iter().chain(JOINED).copied()
}

/// The rule with this id, in any case.
#[must_use]
pub fn find(id: &str) -> Option<&'static Declaration> {
    every().find(|rule| rule.id.eq_ignore_ascii_case(id))
}
