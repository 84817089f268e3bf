//! A process on a processor of the other byte order gets an error that says so.
//!
//! `ROBOT_IPC_TEST_CHILD` names its program; `tests/targets/run` builds it and says so. That
//! a header of the other byte order is refused is also checked without one, in `hostile.rs`.

use robot_ipc::Reason;
use robot_ipc::function::FunctionStatus;
use robot_ipc_core::header::HeaderError;
use support::process::Partner;
use support::{OTHER_CHILD, Scratch, function, open, other_child, skipped};

const TEXT: &str = "it was made on a machine of the other byte order";

fn told(partner: &mut Partner, line: &str) -> String {
    partner.say(line);
    partner.hear()
}

/// Against values, sizes and offsets that are taken for others.
#[test]
fn the_other_byte_order_is_refused_by_both_sides() {
    if other_child().is_none() {
        let why = format!("{OTHER_CHILD} names no child program of the other byte order");
        return skipped("the other byte order", &why);
    }
    let refused = Reason::Header(HeaderError::ForeignByteOrder);
    let scratch = Scratch::new();
    let mut foreigner = Partner::start(&scratch, "", &["visit"]);
    foreigner.expect("ready");

    let ours = open(&scratch, "ours");
    ours.write(b"value").expect("room");
    let caller = function::open(&scratch, "ours");
    for line in ["open", "peek"] {
        for kind in ["variable", "function"] {
            let said = told(&mut foreigner, &format!("{line} {kind} ours"));
            assert!(
                said.starts_with("no Header") && said.contains(TEXT),
                "{said}"
            );
        }
    }
    for line in ["offer ours", "remove variable ours", "remove function ours"] {
        let said = told(&mut foreigner, line);
        assert!(
            said.starts_with("no Header") && said.contains(TEXT),
            "{line}: {said}"
        );
    }
    assert_eq!(ours.sample().expect("still there").0, b"value");
    drop(caller);
    assert!(FunctionStatus::of(scratch.place(), "ours").is_ok());

    // And among themselves all goes well.
    for line in ["open variable theirs", "write theirs 5", "offer theirs"] {
        assert_eq!(told(&mut foreigner, line), "ok");
    }
    assert_eq!(told(&mut foreigner, "read theirs"), "ok 5");
    assert_eq!(told(&mut foreigner, "open function theirs"), "ok");
    assert_eq!(told(&mut foreigner, "call theirs ab"), "ok abab");
    for read_only in [false, true] {
        let opened = scratch.options().read_only(read_only).open("theirs");
        assert_eq!(*opened.expect_err("of the other order").reason(), refused);
    }
    let opened = function::options(&scratch).open("theirs");
    assert_eq!(*opened.expect_err("of the other order").reason(), refused);
    foreigner.finish();
}
