//! Values written and read in place, from C.

use super::status::{Failure, guard};
use super::variable::{ripc_sample, ripc_variable};
use super::{put, required, ripc_status};
use crate::codec::Encoding;
use crate::variable::{Borrow, Loan};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use static_assertions::const_assert;

/// A slot to be filled in place. Lives where the caller wants, and must not be
/// copied, nor be used for another loan before it has ended; ends with
/// `ripc_loan_publish` or `ripc_loan_free`. A loan that failed has ended.
#[repr(C)]
#[derive(Debug)]
pub struct ripc_loan {
    /// The library's.
    pub opaque: [u64; 12],
}

/// A value read in place. Lives where the caller wants, and must not be copied,
/// nor be used for another borrow before it has ended; ends with
/// `ripc_borrow_free`. A borrow that failed has ended.
#[repr(C)]
#[derive(Debug)]
pub struct ripc_borrow {
    /// The library's.
    pub opaque: [u64; 12],
}

/// In `opaque`, behind a word that says whether there is one.
#[repr(C)]
struct Kept<T> {
    magic: u64,
    value: MaybeUninit<T>,
}

const KEPT: u64 = 0x726F_626F_7449_5043;

const_assert!(size_of::<Kept<Loan<'static>>>() <= size_of::<ripc_loan>());
const_assert!(size_of::<Kept<Borrow<'static>>>() <= size_of::<ripc_borrow>());
const_assert!(align_of::<Kept<Loan<'static>>>() <= 8 && align_of::<Kept<Borrow<'static>>>() <= 8);

/// Takes a slot to fill it in place: `capacity` bytes at `data`, aligned to 64.
/// They hold some older value.
///
/// # Safety
/// `variable` is open; `loan` may be written, `data` and `capacity` too or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_loan(
    variable: *const ripc_variable,
    loan: *mut ripc_loan,
    data: *mut *mut c_void,
    capacity: *mut usize,
) -> ripc_status {
    guard(|| {
        if loan.is_null() {
            return Err(Failure::Null("loan"));
        }
        // SAFETY: as the caller promises. What fails leaves nothing to end.
        unsafe { (&raw mut (*loan.cast::<Kept<Loan<'static>>>()).magic).write(0) };
        // SAFETY: as the caller promises.
        let variable = unsafe { required(variable, "variable")? };
        let mut taken = variable.variable.loan()?.into_owned();
        // SAFETY: as the caller promises; there is room for it in `opaque`.
        unsafe {
            put(data, taken.as_mut_ptr().cast());
            put(capacity, taken.capacity());
            loan.cast::<Kept<Loan<'static>>>().write(Kept {
                magic: KEPT,
                value: MaybeUninit::new(taken),
            });
        }
        Ok(())
    })
}

/// Takes out what a loan or borrow holds, so that it is ended once only.
///
/// # Safety
/// `place` is null, or its first word may be read, and is `KEPT` only if `place`
/// was filled by this library and not copied.
unsafe fn take<T>(place: *mut Kept<T>) -> Option<T> {
    // SAFETY: as the caller promises.
    unsafe {
        if place.is_null() || (*place).magic != KEPT {
            return None;
        }
        (*place).magic = 0;
        Some((*place).value.as_ptr().read())
    }
}

/// Makes the first `size` bytes of a loan the latest value. The loan ends in any
/// case.
///
/// # Safety
/// `loan` was filled by `ripc_variable_loan` and not copied; `sample` is null or
/// may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_loan_publish(
    loan: *mut ripc_loan,
    size: usize,
    encoding: u32,
    sample: *mut ripc_sample,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let taken = unsafe { take(loan.cast::<Kept<Loan<'static>>>()) };
        let taken = taken.ok_or(Failure::Argument("the loan has ended already"))?;
        let written = taken.publish(size, Encoding(encoding))?;
        // SAFETY: as the caller promises.
        unsafe { put(sample, written.into()) };
        Ok(())
    })
}

/// Gives a loan back unpublished; the latest value stays. A loan that has ended
/// is ignored.
///
/// # Safety
/// `loan` is null or was filled by `ripc_variable_loan` and not copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_loan_free(loan: *mut ripc_loan) {
    guard(|| {
        // SAFETY: as the caller promises.
        drop(unsafe { take(loan.cast::<Kept<Loan<'static>>>()) });
        Ok(())
    });
}

/// Pins the latest value to read it where it lies: `sample->length` bytes at
/// `data`, aligned to 64, unchanged until `ripc_borrow_free`.
///
/// # Safety
/// `variable` is open; `borrow` may be written, `data` and `sample` too or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_borrow(
    variable: *const ripc_variable,
    borrow: *mut ripc_borrow,
    data: *mut *const c_void,
    sample: *mut ripc_sample,
) -> ripc_status {
    guard(|| {
        if borrow.is_null() {
            return Err(Failure::Null("borrow"));
        }
        // SAFETY: as the caller promises. What fails leaves nothing to end.
        unsafe { (&raw mut (*borrow.cast::<Kept<Borrow<'static>>>()).magic).write(0) };
        // SAFETY: as the caller promises.
        let variable = unsafe { required(variable, "variable")? };
        let pinned = variable.variable.borrow()?.into_owned();
        let mut found: ripc_sample = pinned.sample().into();
        // A damaged segment may tell more than there is.
        found.length = pinned.size() as u32;
        // SAFETY: as the caller promises; there is room for it in `opaque`.
        unsafe {
            put(data, pinned.as_ptr().cast());
            put(sample, found);
            borrow.cast::<Kept<Borrow<'static>>>().write(Kept {
                magic: KEPT,
                value: MaybeUninit::new(pinned),
            });
        }
        Ok(())
    })
}

/// Gives a borrowed value back. A borrow that has ended is ignored.
///
/// # Safety
/// `borrow` is null or was filled by `ripc_variable_borrow` and not copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_borrow_free(borrow: *mut ripc_borrow) {
    guard(|| {
        // SAFETY: as the caller promises.
        drop(unsafe { take(borrow.cast::<Kept<Borrow<'static>>>()) });
        Ok(())
    });
}
