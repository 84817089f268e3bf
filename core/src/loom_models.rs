//! Running models: every order of every thread, and each site weakened in turn.
//!
//! The models stand beside the protocols they run ([`variable`](crate::variable),
//! [`tunnel`](crate::tunnel)). Each asserts what must never happen. A protocol is
//! right as far as a model goes if no order of its steps, and no stale value that
//! the memory model allows, makes the model fail; a site is needed if the model
//! fails once that site alone is weakened.

extern crate std;

use crate::sync::weakened::{self, AnySite};
use std::panic::catch_unwind;
use std::string::String;

/// Runs `model` in every order with up to three preemptions, or
/// `LOOM_MAX_PREEMPTIONS`.
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    check_within(3, model);
}

/// Runs a large `model` in every order with so many preemptions, or fewer.
pub(crate) fn check_within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = builder.preemption_bound.unwrap_or(3);
    builder.preemption_bound = Some(bound.min(preemptions));
    builder.check(model);
}

/// Runs `model` with `site` weakened.
pub(crate) fn check_weakened(site: impl Into<AnySite>, model: fn()) {
    weakened::set(Some(site.into()));
    let outcome = catch_unwind(|| check(model));
    weakened::set(None);
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure);
    }
}

/// Expects that `check` fails, and by what its model asserts.
pub(crate) fn fails(check: impl FnOnce() + std::panic::UnwindSafe) {
    let failure = catch_unwind(check).expect_err("no execution fails without it");
    let message = failure
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| failure.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert!(
        !message.contains("exceeded"),
        "the checker gave up: {message}"
    );
}

/// One test for each site: that a model fails when just that one is weakened. A
/// site that is named in no line does not compile; what is `not caught` breaks
/// nothing when it is weakened, and ARCHITECTURE.md says why it stays.
macro_rules! each_site_is_needed {
    (
        $kind:ident, not caught: [$($not_caught:ident),*] in [$($unmoved:ident),*];
        $($(#[$against:meta])* $name:ident: $site:ident in $model:ident;)*
    ) => {
        $($(#[$against])* #[test] fn $name() {
            crate::loom_models::fails(|| {
                crate::loom_models::check_weakened($kind::$site, $model);
            });
        })*

        /// Against a site that is called unneeded although a model needs it by now.
        #[test]
        fn what_is_not_caught_breaks_nothing() {
            let sites: &[$kind] = &[$($kind::$not_caught),*];
            let models: &[fn()] = &[$($unmoved),*];
            for site in sites {
                for model in models {
                    crate::loom_models::check_weakened(*site, *model);
                }
            }
        }

        /// A site that is in no model, or in both lists, does not compile.
        #[deny(unreachable_patterns)]
        const _: fn($kind) = |site| match site {
            $($kind::$site => (),)*
            $($kind::$not_caught => (),)*
        };
    };
}
pub(crate) use each_site_is_needed;
