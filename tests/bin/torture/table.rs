//! What there is: the variables and functions that are tortured, what is done to them, and
//! which errors that may end with. The processes in Python are told the same, by [`text`].

use crate::message::PICKLE_MARGIN;
use robot_ipc::{FunctionOptions, VariableOptions};
use std::fmt::Write;

/// A variable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VariableKind {
    pub(crate) name: &'static str,
    pub(crate) slots: u32,
    pub(crate) max_size: u64,
    /// Whether it is removed now and then.
    pub(crate) is_mortal: bool,
}

const fn variable(name: &'static str, slots: u32, max_size: u64, is_mortal: bool) -> VariableKind {
    VariableKind {
        name,
        slots,
        max_size,
        is_mortal,
    }
}

/// Those that are never removed show at the end what all the kills have left behind.
pub(crate) const VARIABLES: [VariableKind; 5] = [
    variable("small", 14, 256, false),
    variable("two", 2, 65536, false),
    variable("few", 3, 512, true),
    variable("large", 3, 65536, true),
    variable("page", 14, 4096, true),
];

impl VariableKind {
    /// How it is opened.
    pub(crate) fn options(&self) -> VariableOptions {
        let options = VariableOptions::new().slots(self.slots);
        options.max_size(self.max_size)
    }

    /// How many bytes a value can have that is pickled then.
    pub(crate) fn room(&self) -> usize {
        self.max_size as usize - PICKLE_MARGIN
    }
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FunctionKind {
    pub(crate) name: &'static str,
    pub(crate) cells: u32,
    pub(crate) max_argument_size: u64,
    /// 0: nobody waits for a response.
    pub(crate) max_response_size: u64,
    /// Whether it is removed now and then.
    pub(crate) is_mortal: bool,
}

const fn function(
    name: &'static str,
    cells: u32,
    sizes: (u64, u64),
    is_mortal: bool,
) -> FunctionKind {
    FunctionKind {
        name,
        cells,
        max_argument_size: sizes.0,
        max_response_size: sizes.1,
        is_mortal,
    }
}

pub(crate) const FUNCTIONS: [FunctionKind; 5] = [
    function("echo", 16, (4096, 4096), false),
    function("notify", 4, (256, 0), false),
    function("scarce", 3, (512, 512), true),
    function("single", 1, (256, 256), true),
    function("bulk", 4, (65536, 65536), true),
];

impl FunctionKind {
    /// How it is opened, by both sides.
    pub(crate) fn options(&self) -> FunctionOptions {
        let options = FunctionOptions::new().cells(self.cells);
        let options = options.max_argument_size(self.max_argument_size);
        options.max_response_size(self.max_response_size)
    }

    pub(crate) fn is_one_way(&self) -> bool {
        self.max_response_size == 0
    }

    /// How many bytes a question can have that is pickled then.
    pub(crate) fn room(&self) -> usize {
        self.max_argument_size as usize - PICKLE_MARGIN
    }
}

/// How many objects there are: variables, then functions.
pub(crate) const OBJECTS: usize = VARIABLES.len() + FUNCTIONS.len();

/// The name of an object.
pub(crate) fn object_name(object: usize) -> &'static str {
    match object.checked_sub(VARIABLES.len()) {
        None => VARIABLES[object].name,
        Some(function) => FUNCTIONS[function].name,
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $text:literal, [$($error:literal),*];)*) => {
        /// What is done to an object, or with it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation { $($(#[$doc])* $name),* }

        impl Operation {
            /// All of them, with their names and the errors that they may end with.
            pub(crate) const ALL: &[(Operation, &str, &[&str])] =
                &[$((Operation::$name, $text, &[$($error),*])),*];
        }
    };
}

operations! {
    OpenVariable = "open variable", ["BeingRemoved", "NotFound"];
    Write = "write", ["NoFreeSlot", "Contended", "Retired"];
    WriteIf = "write if unchanged", ["NoFreeSlot", "Contended", "Retired", "Changed"];
    Update = "update", ["NoFreeSlot", "Contended", "Retired"];
    Loan = "loan", ["CannotBorrow", "Contended", "Retired"];
    Read = "read", ["NeverWritten", "Contended", "Retired"];
    ReadOnly = "read by a read-only handle", ["NeverWritten", "Contended", "Retired"];
    Look = "look at the version", ["NeverWritten", "Contended", "Retired"];
    Wait = "wait for a value", ["TimedOut", "Contended", "Retired"];
    Borrow = "borrow", ["NeverWritten", "CannotBorrow", "Contended", "Retired"];
    RemoveVariable = "remove variable", ["Retired", "BeingRemoved", "NotFound"];
    OpenFunction = "open function", ["BeingRemoved"];
    Call = "call and wait", ["CallTimedOut", "DispatcherDied", "NotServed", "TunnelFull",
        "Retired", "RetiredCall", "Raised", "ResponseTooLarge"];
    Send = "send", ["TunnelFull", "Retired"];
    Fetch = "fetch a response", ["CallTimedOut", "DispatcherDied", "NotServed", "Retired",
        "RetiredCall", "Raised", "ResponseTooLarge"];
    Cancel = "cancel", ["Retired"];
    Notify = "call one-way", ["TunnelFull", "Retired"];
    Hoard = "hoard calls", ["TunnelFull", "Retired", "Unfetched"];
    RemoveFunction = "remove function", ["Retired", "BeingRemoved", "NotFound"];
    Offer = "offer a function", ["BeingRemoved", "Retired"];
    Serve = "run dispatcher", ["NothingToServe", "Retired", "Stopped"];
    Answer = "serve a call", [];
    Fork = "fork", [];
    /// Counted by a hook: what a dead one had of a function's cells.
    TakeBack = "take a cell back from the dead", [];
}

impl Operation {
    /// Whether an object of which this succeeds is in full use: a variable that can be read
    /// may still be stuck.
    pub(crate) fn proves_use(self) -> bool {
        use Operation::{Answer, Call, Fetch, Update, Write, WriteIf};
        matches!(self, Write | WriteIf | Update | Call | Fetch | Answer)
    }
}

/// What can go wrong, of what may.
pub(crate) const ERRORS: [&str; 20] = [
    "NoFreeSlot",
    "Contended",
    "Changed",
    "CannotBorrow",
    "NeverWritten",
    "Retired",
    "TimedOut",
    "BeingRemoved",
    "NotFound",
    "DispatcherDied",
    "NotServed",
    "CallTimedOut",
    "TunnelFull",
    "Unfetched",
    "RetiredCall",
    "Raised",
    "ResponseTooLarge",
    "NothingToServe",
    "Stopped",
    "Forked",
];

/// All of this, as the processes in Python read it.
pub(crate) fn text() -> String {
    let mut text = String::new();
    for kind in VARIABLES {
        let (name, slots, size) = (kind.name, kind.slots, kind.max_size);
        let is_mortal = u8::from(kind.is_mortal);
        let _ = writeln!(text, "variable;{name};{slots};{size};{is_mortal}");
    }
    for kind in FUNCTIONS {
        let (name, cells) = (kind.name, kind.cells);
        let (argument, response) = (kind.max_argument_size, kind.max_response_size);
        let is_mortal = u8::from(kind.is_mortal);
        let _ = writeln!(
            text,
            "function;{name};{cells};{argument};{response};{is_mortal}"
        );
    }
    for (operation, name, allowed) in Operation::ALL {
        let (allowed, proves_use) = (allowed.join(","), u8::from(operation.proves_use()));
        let _ = writeln!(text, "operation;{name};{allowed};{proves_use}");
    }
    for error in ERRORS {
        let _ = writeln!(text, "error;{error}");
    }
    text
}
